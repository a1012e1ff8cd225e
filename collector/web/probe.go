package web

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/config"
)

// probeParameters are the parameters of /probe, in the order in which they are
// named to users. Each but application sets a key of the task.
var probeParameters = []string{
	"application", "task_id", "name", "app_id", "status", "device_id", "command_id", "index", "node_id",
}

// parseProbe reads the parameters of /probe. Each line of the error is a
// complaint that says what to do.
func parseProbe(rawQuery string) (application string, task config.Task, err error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return "", task, errors.New("the query cannot be read: escape the values of its parameters")
	}
	var errs []error
	complain := func(parameter, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", parameter, fmt.Sprintf(format, args...)))
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch values := query[name]; {
		case !slices.Contains(probeParameters, name):
			errs = append(errs, fmt.Errorf("%q is no parameter: remove it; parameters are %s", name, strings.Join(probeParameters, ", ")))
		case len(values) > 1:
			complain(name, "is given %d times: give it once", len(values))
		case !utf8.ValidString(values[0]):
			complain(name, "is not UTF-8: give it in that encoding")
		case len(values[0]) > maxParameter:
			complain(name, "is %d bytes long: give at most %d", len(values[0]), maxParameter)
		case strings.ContainsFunc(values[0], unicode.IsControl):
			complain(name, "has control characters: remove them")
		}
	}
	task = config.Task{
		TaskID:    query.Get("task_id"),
		Name:      query.Get("name"),
		AppID:     query.Get("app_id"),
		Status:    query.Get("status"),
		DeviceID:  query.Get("device_id"),
		CommandID: query.Get("command_id"),
		NodeID:    query.Get("node_id"),
	}
	if application = query.Get("application"); application == "" {
		complain("application", "is missing: give the name of an application in %s", configPath)
	}
	if task.TaskID == "" {
		complain("task_id", "is missing: give the task's identifier on the platform")
	}
	if s := northbound.Status(task.Status); s != "" && !slices.Contains(northbound.Statuses(), s) {
		complain("status", "%q is none: give one of %s", s, joined(northbound.Statuses()))
	}
	if text := query.Get("index"); text != "" {
		index, err := strconv.Atoi(text)
		if err != nil || index < 0 {
			complain("index", "%q is none: give a line of the uploaded file, a whole number from 0", text)
		}
		task.Index = &index
	}
	return application, task, errors.Join(errs...)
}

// maxParameter bounds a parameter in bytes: tasks that were probed are remembered
// for a while.
const maxParameter = 256

// probeURL returns a link to /probe, relative to the status page, for a task.
func probeURL(parameters map[string]string) string {
	query := make(url.Values)
	for name, value := range parameters {
		if value != "" {
			query.Set(name, value)
		}
	}
	return relative(probePath) + "?" + query.Encode()
}

func joined[T ~string](texts []T) string {
	words := make([]string, 0, len(texts))
	for _, t := range texts {
		words = append(words, string(t))
	}
	return strings.Join(words, ", ")
}
