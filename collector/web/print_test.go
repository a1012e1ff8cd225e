package web

import (
	"testing"
	"time"

	"huawei_iot_batch_exporter/collector"
)

func TestHowFar(t *testing.T) {
	unread := counts(0, 0, 0, 7, 0)
	unread.Unread = 5
	done := read(time.Now(), "done", 0, counts(0, 0, 1, 0, 0))
	fresh := collector.TaskStatus{State: new(collector.TaskState)}
	for want, tasks := range map[string][]collector.TaskStatus{
		"0 of 0 tasks read":                         nil,
		"0 of 2 tasks read":                         {fresh, fresh},
		"2 of 3 tasks read":                         {done, fresh, failing(fresh, time.Now(), "no")},
		"3 of 4 tasks read, 10 error codes to read": {read(time.Now(), "a", 0, unread), done, fresh, read(time.Now(), "b", 0, unread)},
	} {
		half := len(tasks) / 2
		if got := howFar([]collector.ApplicationStatus{{Tasks: tasks[:half]}, {Tasks: tasks[half:]}}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
