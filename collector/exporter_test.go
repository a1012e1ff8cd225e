package collector_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	commoncfg "github.com/prometheus/common/config"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
	"huawei_iot_batch_exporter/config"
)

// site is an exporter and a platform that it watches, in fake time.
type site struct {
	*northboundtest.Platform
	exporter *collector.Exporter
	cfg      *config.Config
}

// newSite starts a platform with the application "fleet" and an exporter of the
// given tasks. It must be called in a synctest bubble.
func newSite(t *testing.T, tasks []config.Task, opts ...northboundtest.Option) *site {
	t.Helper()
	p := northboundtest.New(opts...)
	p.AddApplication(northboundtest.App{ID: "app", Secret: "secret"})
	transport, stop := p.PipeTransport()
	e := collector.New(collector.WithTransport(func(config.Application) (http.RoundTripper, error) { return transport, nil }))
	t.Cleanup(func() {
		e.Close()
		stop()
	})
	s := &site{Platform: p, exporter: e, cfg: &config.Config{
		Applications: []config.Application{{
			Name: "fleet", URL: "https://platform.example", AppID: "app", Secret: commoncfg.Secret("secret"),
			Settings: config.DefaultSettings(),
			Tasks:    tasks,
		}},
	}}
	s.apply(t)
	return s
}

func (s *site) apply(t *testing.T) {
	t.Helper()
	if err := s.exporter.Apply(s.cfg); err != nil {
		t.Fatal(err)
	}
}

func (s *site) settings() *config.Settings { return &s.cfg.Applications[0].Settings }

func (s *site) addTask(id string, rows northboundtest.Subtasks) {
	s.AddTask(northboundtest.Task{ID: id, AppID: "app", Name: "name of " + id, Subtasks: rows})
}

// scrape answers a scrape with a timeout of 10 s, by metric and labels.
func (s *site) scrape(t *testing.T) series {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return gather(t, s.exporter.Scrape(ctx))
}

func (s *site) probe(t *testing.T, task config.Task) series {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := s.exporter.Probe(ctx, "fleet", task)
	if err != nil {
		t.Fatal(err)
	}
	return gather(t, c)
}

func gather(t *testing.T, c prometheus.Collector) series {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := series{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			got[seriesName(family.GetName(), m.GetLabel())] = value(m)
		}
	}
	return got
}

// series are the values of a scrape by metric and labels, such as
// `task_up{task="a"}`, without the namespace and the application's label.
type series map[string]float64

func seriesName(name string, labels []*dto.LabelPair) string {
	var pairs []string
	for _, l := range labels {
		if l.GetName() != "application" && l.GetName() != "task_id" {
			pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
	}
	return strings.TrimPrefix(name, "huawei_iot_batch_") + "{" + strings.Join(pairs, ",") + "}"
}

func value(m *dto.Metric) float64 {
	switch {
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	default:
		return float64(m.GetHistogram().GetSampleCount())
	}
}

// only keeps the series of some metrics.
func (s series) only(metrics ...string) series {
	kept := maps.Clone(s)
	maps.DeleteFunc(kept, func(name string, _ float64) bool {
		metric, _, _ := strings.Cut(name, "{")
		return !slices.Contains(metrics, metric)
	})
	return kept
}

func pending(n int) northboundtest.Subtasks {
	return northboundtest.Uniform(n, northboundtest.Subtask{Status: "Pending"})
}

func TestExposition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{
			{TaskID: "t1", Name: "firmware-42", Labels: map[string]string{"team": "fleet"}},
			{TaskID: "t2", Name: "gone"},
			{TaskID: "t1", Name: "failed", Status: "Fail"},
		})
		s.addTask("t1", northboundtest.Rows{
			{Status: "Success"},
			{Status: "Fail", Code: "100428"},
			{Status: "Fail", Code: "100428"},
			{Status: "Fail"},
			{Status: "Timeout", Code: "100501"},
			{Status: "Pending"},
			{Status: "Cancelled"},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		const want = `
# HELP huawei_iot_batch_application_up Whether the platform is reachable and the credentials hold.
# TYPE huawei_iot_batch_application_up gauge
huawei_iot_batch_application_up{application="fleet"} 1
# HELP huawei_iot_batch_subtask_errors Failed and timed-out subtasks by error code. unknown: the platform gave no code; unread: the row has not been read yet; other: over max_error_codes.
# TYPE huawei_iot_batch_subtask_errors gauge
huawei_iot_batch_subtask_errors{application="fleet",error_code="100428",status="Fail",task="failed",task_id="t1"} 2
huawei_iot_batch_subtask_errors{application="fleet",error_code="100428",status="Fail",task="firmware-42",task_id="t1"} 2
huawei_iot_batch_subtask_errors{application="fleet",error_code="100501",status="Timeout",task="firmware-42",task_id="t1"} 1
huawei_iot_batch_subtask_errors{application="fleet",error_code="unknown",status="Fail",task="failed",task_id="t1"} 1
huawei_iot_batch_subtask_errors{application="fleet",error_code="unknown",status="Fail",task="firmware-42",task_id="t1"} 1
# HELP huawei_iot_batch_subtasks Subtasks of a batch task by status.
# TYPE huawei_iot_batch_subtasks gauge
huawei_iot_batch_subtasks{application="fleet",status="Cancelled",task="firmware-42",task_id="t1"} 1
huawei_iot_batch_subtasks{application="fleet",status="Fail",task="failed",task_id="t1"} 3
huawei_iot_batch_subtasks{application="fleet",status="Fail",task="firmware-42",task_id="t1"} 3
huawei_iot_batch_subtasks{application="fleet",status="Pending",task="firmware-42",task_id="t1"} 1
huawei_iot_batch_subtasks{application="fleet",status="Success",task="firmware-42",task_id="t1"} 1
huawei_iot_batch_subtasks{application="fleet",status="Timeout",task="firmware-42",task_id="t1"} 1
huawei_iot_batch_subtasks{application="fleet",status="WaitResult",task="firmware-42",task_id="t1"} 0
# HELP huawei_iot_batch_task_info What the platform calls the task, and the labels configured for it.
# TYPE huawei_iot_batch_task_info gauge
huawei_iot_batch_task_info{application="fleet",task="failed",task_id="t1",task_name="name of t1",task_type="DeviceCmd"} 1
huawei_iot_batch_task_info{application="fleet",task="firmware-42",task_id="t1",task_name="name of t1",task_type="DeviceCmd",team="fleet"} 1
huawei_iot_batch_task_info{application="fleet",task="gone",task_id="t2",task_name="",task_type=""} 1
# HELP huawei_iot_batch_task_last_refresh_timestamp_seconds When the numbers shown of the task were read.
# TYPE huawei_iot_batch_task_last_refresh_timestamp_seconds gauge
huawei_iot_batch_task_last_refresh_timestamp_seconds{application="fleet",task="failed",task_id="t1"} 9.466848e+08
huawei_iot_batch_task_last_refresh_timestamp_seconds{application="fleet",task="firmware-42",task_id="t1"} 9.466848e+08
# HELP huawei_iot_batch_task_up Whether the last attempt to read the task worked.
# TYPE huawei_iot_batch_task_up gauge
huawei_iot_batch_task_up{application="fleet",task="failed",task_id="t1"} 1
huawei_iot_batch_task_up{application="fleet",task="firmware-42",task_id="t1"} 1
huawei_iot_batch_task_up{application="fleet",task="gone",task_id="t2"} 0
`
		metrics := []string{"application_up", "subtask_errors", "subtasks", "task_info", "task_last_refresh_timestamp_seconds", "task_up"}
		for i := range metrics {
			metrics[i] = "huawei_iot_batch_" + metrics[i]
		}
		if err := testutil.CollectAndCompare(s.exporter.Scrape(ctx), strings.NewReader(want), metrics...); err != nil {
			t.Error(err)
		}
		problems, err := testutil.CollectAndLint(s.exporter.Scrape(ctx))
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v %v", problems, err)
		}
	})
}

func TestTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}, {TaskID: "t2", Name: "gone"}})
		s.addTask("t1", pending(10))
		got := s.scrape(t)
		want := series{
			`api_requests_total{operation="login"}`:                   1,
			`api_requests_total{operation="refresh_token"}`:           0,
			`api_requests_total{operation="task_details"}`:            2,
			`api_requests_total{operation="task"}`:                    1,
			`api_deferred_total{}`:                                    0,
			`api_calls_per_minute_limit{}`:                            60,
			`api_calls_available{}`:                                   56,
			`api_calls_per_minute_wanted{}`:                           2,
			`api_throttled_total{operation="login"}`:                  0,
			`api_throttled_total{operation="refresh_token"}`:          0,
			`api_throttled_total{operation="task_details"}`:           0,
			`api_throttled_total{operation="task"}`:                   0,
			`api_request_duration_seconds{operation="login"}`:         1,
			`api_request_duration_seconds{operation="refresh_token"}`: 0,
			`api_request_duration_seconds{operation="task_details"}`:  2,
			`api_request_duration_seconds{operation="task"}`:          1,
		}
		if diff := cmp.Diff(want, got.only("api_requests_total", "api_deferred_total", "api_calls_per_minute_limit", "api_calls_available",
			"api_calls_per_minute_wanted", "api_throttled_total", "api_request_duration_seconds")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for name, value := range got.only("api_errors_total") {
			want := 0.0
			if name == `api_errors_total{error_code="105005",http_status="404",operation="task_details"}` {
				want = 1
			}
			if value != want {
				t.Errorf("%s = %v, want %v", name, value, want)
			}
		}
		for _, code := range []string{
			`error_code="100022",http_status="400"`, `error_code="100203",http_status="403"`, `error_code="100217",http_status="403"`,
			`error_code="1010009",http_status="403"`, `error_code="1010005",http_status="403"`, `error_code="105005",http_status="404"`,
			`error_code="100203",http_status="500"`, `error_code="50252",http_status="500"`,
		} {
			if _, ok := got[`api_errors_total{`+code+`,operation="task_details"}`]; !ok {
				t.Errorf("no series for the documented error %s", code)
			}
		}
	})
}

func TestOverlappingScrapesShareOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}, {TaskID: "t2", Name: "b"}}, slow(time.Second))
		s.addTask("t1", pending(10))
		s.addTask("t2", pending(10))
		s.scrape(t)
		s.ResetCalls()
		done := make(chan series)
		for i := range 50 {
			go func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				done <- s.scrape(t)
			}()
		}
		for range 50 {
			got := <-done
			if got[`subtasks{status="Pending",task="a"}`] != 10 || got[`subtasks{status="Pending",task="b"}`] != 10 {
				t.Fatalf("%v", got.only("subtasks"))
			}
		}
		if calls := len(s.Calls()); calls != 2 {
			t.Errorf("%d calls for 50 scrapes that overlap, want 2", calls)
		}
	})
}

func slow(d time.Duration) northboundtest.Option {
	return northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(d)
			h.ServeHTTP(w, r)
		})
	})
}

func TestScrapeAnswersBeforeItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}}, slow(8*time.Second))
		s.addTask("t1", pending(10))
		start := time.Now()
		got := s.scrape(t) // the sign-in alone takes 8 s
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("answered after %v, want 10s", took)
		}
		if diff := cmp.Diff(series{`task_up{task="a"}`: 0}, got.only("task_up", "subtasks")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		time.Sleep(7 * time.Second) // what was begun goes on without a scrape
		got = s.scrape(t)
		if got[`subtasks{status="Pending",task="a"}`] != 10 {
			t.Errorf("the refresh under way was lost: %v", got.only("subtasks", "task_up"))
		}
	})
}

func TestLastNumbersUntilMaxStaleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}})
		s.addTask("t1", northboundtest.Rows{{Status: "Fail", Code: "1"}, {Status: "Fail", Code: "1"}, {Status: "Pending"}})
		read := s.scrape(t)
		s.RemoveTask("t1")
		start := time.Now()
		for range 25 {
			time.Sleep(15 * time.Second)
			got := s.scrape(t)
			if got[`task_up{task="a"}`] != 0 {
				t.Fatal("task_up of a task that is gone")
			}
			if got[`task_last_refresh_timestamp_seconds{task="a"}`] != read[`task_last_refresh_timestamp_seconds{task="a"}`] {
				t.Fatal("the timestamp moved without a refresh")
			}
			want := read.only("subtasks", "subtask_errors")
			if time.Since(start) > 5*time.Minute {
				want = series{}
			}
			if diff := cmp.Diff(want, got.only("subtasks", "subtask_errors")); diff != "" {
				t.Fatalf("after %v (-want +got):\n%s", time.Since(start), diff)
			}
		}
		s.addTask("t1", pending(4))
		time.Sleep(5 * time.Minute)
		if got := s.scrape(t); got[`task_up{task="a"}`] != 1 || got[`subtasks{status="Pending",task="a"}`] != 4 {
			t.Errorf("not back: %v", got.only("task_up", "subtasks"))
		}
	})
}

func TestFinishedTaskCostsNothingUntilItsRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "small", Name: "small"}, {TaskID: "large", Name: "large"}})
		s.addTask("small", northboundtest.Uniform(100, northboundtest.Subtask{Status: "Fail", Code: "1"}))
		s.addTask("large", northboundtest.Uniform(5000, northboundtest.Subtask{Status: "Success"}))
		first := s.scrape(t)
		s.ResetCalls()
		for range 239 {
			time.Sleep(15 * time.Second)
			if diff := cmp.Diff(first.only("subtasks", "subtask_errors", "task_up"), s.scrape(t).only("subtasks", "subtask_errors", "task_up")); diff != "" {
				t.Fatalf("(-first +now):\n%s", diff)
			}
		}
		if calls := s.Calls(); len(calls) != 0 {
			t.Errorf("%d calls within the recheck interval, the first at %v", len(calls), calls[0].Time)
		}
		s.SetStatus("small", 0, "Success", "")
		time.Sleep(15 * time.Second)
		if got := s.scrape(t); got[`subtasks{status="Success",task="small"}`] != 1 {
			t.Errorf("not asked again after an hour: %v", got.only("subtasks"))
		}
	})
}

func TestReloadKeepsWhatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}, {TaskID: "t2", Name: "b"}})
		for _, id := range []string{"t1", "t2", "t3"} {
			s.addTask(id, northboundtest.Uniform(10, northboundtest.Subtask{Status: "Success"}))
		}
		s.scrape(t)
		s.ResetCalls()
		app := s.cfg.Applications[0]
		app.Tasks = []config.Task{{TaskID: "t1", Name: "renamed"}, {TaskID: "t3", Name: "c"}}
		app.Settings.CallsPerMinute = 30
		app.Settings.CallTimeout = 20 * time.Second // another client, the same token
		s.cfg = &config.Config{Applications: []config.Application{app}}
		s.apply(t)
		got := s.scrape(t)
		want := series{
			`task_up{task="renamed"}`: 1, `task_up{task="c"}`: 1,
			`api_calls_per_minute_limit{}`: 30, `api_calls_available{}`: 30 - 5 - 2,
			`api_requests_total{operation="login"}`: 1, `api_requests_total{operation="refresh_token"}`: 0,
			`api_requests_total{operation="task_details"}`: 3, `api_requests_total{operation="task"}`: 3,
		}
		if diff := cmp.Diff(want, got.only("task_up", "api_calls_per_minute_limit", "api_calls_available", "api_requests_total")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, call := range s.Calls() {
			if call.Query().Get("taskId") == "t1" || call.Operation == northboundtest.OperationLogin {
				t.Errorf("a reload cost the call %s %s", call.Operation, call.RawQuery)
			}
		}
	})
}

func TestAllowanceIsNeverOverstepped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tasks []config.Task
		for i := range 40 {
			tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
		}
		s := newSite(t, tasks, northboundtest.WithCallLimit(20))
		for _, task := range tasks {
			s.addTask(task.TaskID, pending(10))
		}
		s.settings().CallsPerMinute = 20
		s.apply(t)
		refreshed := map[string]float64{}
		for range 40 {
			start := time.Now()
			got := s.scrape(t)
			if took := time.Since(start); took > 10*time.Second {
				t.Fatalf("a scrape took %v", took)
			}
			for name, value := range got.only("task_last_refresh_timestamp_seconds") {
				refreshed[name] = value
			}
			time.Sleep(15 * time.Second)
		}
		if most := s.MaxCallsIn(time.Minute); most > 20 {
			t.Errorf("%d calls in a minute, want at most 20", most)
		}
		got := s.scrape(t)
		if got[`api_throttled_total{operation="task_details"}`] != 0 {
			t.Error("throttled, though nobody else uses the application")
		}
		if got[`api_deferred_total{}`] == 0 {
			t.Error("nothing counted as put off")
		}
		if len(refreshed) != len(tasks) {
			t.Errorf("%d of %d tasks were ever read", len(refreshed), len(tasks))
		}
		for name, at := range refreshed {
			if age := float64(time.Now().UnixMilli())/1000 - at; age > 4*60 {
				t.Errorf("%s: %v s old; 40 tasks at 20 calls a minute take 2 minutes", name, age)
			}
		}
	})
}

func TestThrottledApplicationRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}, {TaskID: "t2", Name: "b"}})
		s.addTask("t1", pending(10))
		s.addTask("t2", pending(10))
		s.scrape(t)
		s.Set(northboundtest.WithCallLimit(4)) // used up
		time.Sleep(15 * time.Second)
		s.ResetCalls()
		got := s.scrape(t)
		if got[`api_calls_per_minute_limit{}`] != 30 {
			t.Errorf("limit in force %v, want half of 60", got[`api_calls_per_minute_limit{}`])
		}
		if got[`application_up{}`] != 1 {
			t.Error("application_up 0, though it is only throttled")
		}
		time.Sleep(time.Second)
		s.scrape(t)
		if calls := len(s.Calls()); calls > 2 {
			t.Errorf("%d calls while the platform throttles", calls)
		}
		s.Set(northboundtest.WithCallLimit(0))
		time.Sleep(time.Minute)
		s.scrape(t)
		time.Sleep(time.Minute)
		if got := s.scrape(t); got[`task_up{task="a"}`] != 1 || got[`task_up{task="b"}`] != 1 {
			t.Errorf("not back: %v", got.only("task_up"))
		}
		time.Sleep(time.Hour)
		if got := s.scrape(t); got[`api_calls_per_minute_limit{}`] != 60 {
			t.Errorf("limit in force %v an hour later, want 60", got[`api_calls_per_minute_limit{}`])
		}
	})
}

func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "t1", Name: "a", Labels: map[string]string{"team": "x"}}})
		s.addTask("t1", pending(10))
		s.addTask("t2", pending(20))
		got := s.probe(t, config.Task{TaskID: "t2"})
		want := series{`task_up{task="t2"}`: 1, `task_info{task="t2",task_name="name of t2",task_type="DeviceCmd"}`: 1}
		if diff := cmp.Diff(want, got.only("task_up", "task_info")); diff != "" {
			t.Errorf("not configured (-want +got):\n%s", diff)
		}
		if got[`subtasks{status="Pending",task="t2"}`] != 20 || got[`application_up{}`] != 1 {
			t.Errorf("%v", got)
		}
		got = s.probe(t, config.Task{TaskID: "t1"})
		want = series{`task_up{task="a"}`: 1, `task_info{task="a",task_name="name of t1",task_type="DeviceCmd",team="x"}`: 1}
		if diff := cmp.Diff(want, got.only("task_up", "task_info")); diff != "" {
			t.Errorf("configured (-want +got):\n%s", diff)
		}
		if got := s.probe(t, config.Task{TaskID: "gone", Name: "n"}); got[`task_up{task="n"}`] != 0 || len(got.only("subtasks")) > 0 {
			t.Errorf("unknown: %v", got)
		}
		if got := s.scrape(t).only("task_up"); len(got) != 1 {
			t.Errorf("what was probed is on /metrics: %v", got)
		}
	})
}

func TestProbeFloodDoesNotStarveConfiguredTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tasks []config.Task
		for i := range 5 {
			tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
		}
		s := newSite(t, tasks, northboundtest.WithCallLimit(60), slow(100*time.Millisecond))
		for _, task := range tasks {
			s.addTask(task.TaskID, pending(10))
		}
		s.scrape(t)
		time.Sleep(15 * time.Second)
		s.scrape(t)
		ctx, cancel := context.WithCancel(t.Context())
		flood := make(chan struct{})
		for i := range 20 {
			go func() {
				for n := 0; ctx.Err() == nil; n++ {
					s.probe(t, config.Task{TaskID: fmt.Sprint("random", i, "-", n)})
					s.probe(t, tasks[n%5])
					time.Sleep(time.Second)
				}
				flood <- struct{}{}
			}()
		}
		for range 20 {
			time.Sleep(15 * time.Second)
			now := float64(time.Now().UnixMilli()) / 1000
			for name, at := range s.scrape(t).only("task_last_refresh_timestamp_seconds") {
				if now-at > 20 {
					t.Fatalf("%s: %v s old under a flood of probes", name, now-at)
				}
			}
		}
		cancel()
		for range 20 {
			<-flood
		}
		if most := s.MaxCallsIn(time.Minute); most > 60 {
			t.Errorf("%d calls in a minute", most)
		}
	})
}

func TestApplicationDown(t *testing.T) {
	refuse := func(app *site) { app.SetSecret("app", "another"); app.RevokeToken("app") }
	tests := map[string]struct {
		fault  func(*site)
		mend   func(*site)
		mended time.Duration // after which all is well again
	}{
		"credentials refused": {refuse, func(s *site) { s.SetSecret("app", "secret") }, 6 * time.Minute},
		"frozen":              {func(s *site) { s.SetFrozen("app", true) }, func(s *site) { s.SetFrozen("app", false) }, 6 * time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}, {TaskID: "t2", Name: "b"}})
				s.addTask("t1", pending(10))
				s.addTask("t2", pending(10))
				if got := s.scrape(t); got[`application_up{}`] != 1 {
					t.Fatal("not up at first")
				}
				test.fault(s)
				s.ResetCalls()
				for range 20 {
					time.Sleep(15 * time.Second)
					got := s.scrape(t)
					if got[`application_up{}`] != 0 || got[`task_up{task="a"}`] != 0 || got[`task_up{task="b"}`] != 0 {
						t.Fatalf("%v", got.only("application_up", "task_up"))
					}
				}
				if calls := len(s.Calls()); calls > 10 {
					t.Errorf("%d calls in 5 minutes", calls)
				}
				test.mend(s)
				time.Sleep(test.mended)
				if got := s.scrape(t); got[`application_up{}`] != 1 || got[`task_up{task="a"}`] != 1 {
					t.Errorf("not back: %v", got.only("application_up", "task_up"))
				}
			})
		})
	}
}

func TestApplicationWithoutTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		for range 100 {
			if got := s.scrape(t); got[`application_up{}`] != 1 {
				t.Fatalf("%v", got)
			}
			time.Sleep(15 * time.Second)
		}
		if calls := len(s.Calls()); calls != 1 {
			t.Errorf("%d calls in 25 minutes, want one login", calls)
		}
	})
}

func TestHugeTaskIsReadOverSeveralScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks := []config.Task{{TaskID: "huge", Name: "huge"}}
		for i := range 10 {
			tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
		}
		s := newSite(t, tasks, northboundtest.WithCallLimit(60))
		s.addTask("huge", northboundtest.Uniform(30000, northboundtest.Subtask{Status: "Fail", Code: "100428"}))
		for _, task := range tasks[1:] {
			s.addTask(task.TaskID, pending(10))
		}
		got := s.scrape(t)
		if got[`subtasks{status="Fail",task="huge"}`] != 30000 {
			t.Errorf("the first scrape does not tell the failures: %v", got.only("subtasks"))
		}
		unread := got[`subtask_errors{error_code="unread",status="Fail",task="huge"}`]
		if known := got[`subtask_errors{error_code="100428",status="Fail",task="huge"}`]; known+unread != 30000 || known == 0 {
			t.Errorf("%v known and %v unread", known, unread)
		}
		for n := 0; unread > 0; n++ {
			if n == 120 {
				t.Fatalf("%v unread after half an hour", unread)
			}
			time.Sleep(15 * time.Second)
			got := s.scrape(t)
			now := float64(time.Now().UnixMilli()) / 1000
			for name, at := range got.only("task_last_refresh_timestamp_seconds") {
				if now-at > 60 {
					t.Errorf("%s: %v s old", name, now-at)
				}
			}
			unread = got[`subtask_errors{error_code="unread",status="Fail",task="huge"}`]
		}
		if most := s.MaxCallsIn(time.Minute); most > 60 {
			t.Errorf("%d calls in a minute", most)
		}
	})
}
