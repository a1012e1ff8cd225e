package collector

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"huawei_iot_batch_exporter/collector/allowance"
	"huawei_iot_batch_exporter/config"
)

var (
	taskLabels        = []string{"application", "task", "task_id"}
	applicationLabels = []string{"application"}

	subtasksDesc = newDesc("subtasks",
		"Subtasks of a batch task by status.", append(slices.Clone(taskLabels), "status"))
	subtaskErrorsDesc = newDesc("subtask_errors",
		"Failed and timed-out subtasks by error code. unknown: the platform gave no code; unread: the row has not been read yet; other: over max_error_codes.",
		append(slices.Clone(taskLabels), "status", "error_code"))
	taskUpDesc = newDesc("task_up",
		"Whether the last attempt to read the task worked.", taskLabels)
	taskLastRefreshDesc = newDesc("task_last_refresh_timestamp_seconds",
		"When the numbers shown of the task were read.", taskLabels)
	applicationUpDesc = newDesc("application_up",
		"Whether the platform is reachable and the credentials hold.", applicationLabels)
	limitDesc = newDesc("api_calls_per_minute_limit",
		"Calls to the platform allowed in any 60 seconds, as now in force.", applicationLabels)
	availableDesc = newDesc("api_calls_available",
		"Calls to the platform that could be sent now.", applicationLabels)
	wantedDesc = newDesc("api_calls_per_minute_wanted",
		"Calls a minute that the configured tasks would use if all were refreshed at every scrape.", applicationLabels)
)

const taskInfoHelp = "What the platform calls the task, and the labels configured for it."

func newDesc(name, help string, labels []string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// utf8Text makes what somebody probed for fit for a label value.
func utf8Text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// view is what is known of an application at one moment.
type view struct {
	now       time.Time
	name      string
	settings  config.Settings
	watches   []watch
	telemetry *telemetry
	allowance allowance.Stats
	wanted    float64
	up, known bool
}

func (a *application) view() view {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := view{
		now:       time.Now(),
		name:      a.cfg.Name,
		settings:  a.cfg.Settings,
		watches:   a.watches,
		telemetry: a.telemetry,
		allowance: a.allowance.Stats(),
		wanted:    a.wanted,
	}
	v.up, v.known = a.health.up()
	return v
}

// collect sends what is known of an application.
func (v *view) collect(ch chan<- prometheus.Metric) {
	if v.known {
		ch <- gauge(applicationUpDesc, number(v.up), v.name)
	}
	ch <- gauge(limitDesc, float64(v.allowance.Limit), v.name)
	ch <- gauge(availableDesc, float64(v.allowance.Available), v.name)
	ch <- gauge(wantedDesc, v.wanted, v.name)
	v.telemetry.collect(ch)
}

// watch is a task under the name and with the labels that it is shown by.
type watch struct {
	task   *task
	name   string
	labels map[string]string
}

// collectTask sends what is known of a task.
func (v *view) collectTask(ch chan<- prometheus.Metric, w watch) {
	s := w.task.state.Load()
	id := []string{v.name, utf8Text(w.name), utf8Text(w.task.identity.taskID)}
	with := func(more ...string) []string { return append(slices.Clone(id), more...) }

	ch <- gauge(taskUpDesc, number(s.Up()), id...)
	info := map[string]string{"task_name": "", "task_type": ""}
	if s.Numbers != nil {
		info["task_name"], info["task_type"] = s.Numbers.TaskName, s.Numbers.TaskType
		ch <- gauge(taskLastRefreshDesc, float64(s.RefreshedAt.UnixMilli())/1000, id...)
	}
	maps.Copy(info, w.labels)
	names := slices.Sorted(maps.Keys(info))
	values := make([]string, 0, len(names))
	for _, name := range names {
		values = append(values, info[name])
	}
	ch <- gauge(newDesc("task_info", taskInfoHelp, append(slices.Clone(taskLabels), names...)), 1, with(values...)...)

	numbers := s.Fresh(v.now, v.settings)
	if numbers == nil {
		return
	}
	for _, sc := range numbers.Subtasks {
		ch <- gauge(subtasksDesc, float64(sc.Count), with(sc.Status)...)
	}
	for _, ec := range numbers.Errors {
		ch <- gauge(subtaskErrorsDesc, float64(ec.Count), with(ec.Status, ec.Code)...)
	}
}
