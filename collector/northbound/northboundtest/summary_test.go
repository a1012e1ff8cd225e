package northboundtest_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	nt "huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// summary asks for taskID as its owner.
func summary(t *testing.T, p *nt.Platform, query string) answer {
	t.Helper()
	return get(t, p, fleet, signIn(t, p, fleet).AccessToken, nt.TasksPath+taskID, query)
}

func TestTaskSummary(t *testing.T) {
	p := newPlatform()
	p.AddTask(nt.Task{
		ID: taskID, AppID: fleet, Name: "firmware-42", Type: nt.DeviceReg, Operator: "jo", From: "Portal",
		Start:   time.Date(2015, 12, 12, 13, 12, 12, 0, time.FixedZone("", 3600)),
		Timeout: 48, Param: map[string]string{"file": "f.csv"}, Tags: []string{"north"},
		Subtasks: nt.Rows{
			{Status: nt.Pending},
			{Status: nt.WaitResult},
			{Status: nt.Success},
			{Status: nt.Success},
			{Status: nt.Success},
			{Status: nt.Fail},
			{Status: nt.Fail},
			{Status: nt.Timeout},
		},
	})
	const body = `{"taskId":"5bf8f8567dd2d86eab87edd9","taskName":"firmware-42","appId":"fleetApp","operator":"jo",` +
		`"taskFrom":"Portal","taskType":"DeviceReg","status":"Running","startTime":"20151212T121212Z","timeout":48,` +
		`"progress":750,"totalCnt":8,"successCnt":3,"failCnt":2,"timeoutCnt":1,"expiredCnt":0,"completeCnt":6,` +
		`"successRate":500,"param":{"file":"f.csv"}`
	for query, want := range map[string]string{
		"":           body + `}`,
		"select=tag": body + `,"tags":["north"]}`,
	} {
		if diff := cmp.Diff(want, summary(t, p, query).Body); diff != "" {
			t.Errorf("%q (-want +got):\n%s", query, diff)
		}
	}
}

func TestTaskSummaryRefuses(t *testing.T) {
	p := withTask(newPlatform(), nil)
	for query, want := range map[string]string{
		"select=all": `Bad Request "100019"`,
		"select=":    `Bad Request "100022"`,
		"appId=":     `Bad Request "100022"`,
	} {
		if got := refusal(t, summary(t, p, query)); got != want {
			t.Errorf("%q: got %s, want %s", query, got, want)
		}
	}
}

func TestTaskStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		task nt.Task
		want string
	}{
		"nothing done": {nt.Task{Subtasks: nt.Rows{{Status: nt.Pending}, {Status: nt.Pending}}}, "Pending"},
		"some sent":    {nt.Task{Subtasks: nt.Rows{{Status: nt.Pending}, {Status: nt.WaitResult}}}, "Running"},
		"some done":    {nt.Task{Subtasks: nt.Rows{{Status: nt.Pending}, {Status: nt.Success}}}, "Running"},
		"all done":     {nt.Task{Subtasks: nt.Rows{{Status: nt.Fail}, {Status: nt.Success}}}, "Complete"},
		"empty":        {nt.Task{}, "Complete"},
		"given":        {nt.Task{Status: "Timeout"}, "Timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform()
			tt.task.ID, tt.task.AppID = taskID, fleet
			p.AddTask(tt.task)
			if got := decode[struct{ Status string }](t, summary(t, p, "")).Status; got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestCounters(t *testing.T) {
	type counters struct{ SuccessCnt, TimeoutCnt, ExpiredCnt, CompleteCnt, Progress int }
	rows := nt.Rows{
		{Sent: 10 * time.Second, Done: 20 * time.Second, Status: nt.Success},
		{Sent: 10 * time.Second, Done: 40 * time.Second, Status: nt.Timeout},
		{Sent: 40 * time.Second, Done: 40 * time.Second, Status: nt.Timeout}, // never sent
	}
	for name, tt := range map[string]struct {
		opts []nt.Option
		want counters // after 45 s
	}{
		"exact":         {nil, counters{1, 2, 0, 3, 1000}},
		"lagging":       {[]nt.Option{nt.WithCounterLag(15 * time.Second)}, counters{1, 0, 0, 1, 333}},
		"lagging more":  {[]nt.Option{nt.WithCounterLag(time.Minute)}, counters{}},
		"expired apart": {[]nt.Option{nt.WithExpiredApart()}, counters{1, 1, 1, 2, 1000}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := withTask(newPlatform(tt.opts...), rows)
				time.Sleep(45 * time.Second)
				if diff := cmp.Diff(tt.want, decode[counters](t, summary(t, p, ""))); diff != "" {
					t.Errorf("counters (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestScriptedTasksExpireInPart(t *testing.T) {
	p := newPlatform(nt.WithExpiredApart())
	p.AddTask(nt.Task{
		ID: taskID, AppID: fleet, Start: time.Now().Add(-time.Hour),
		Subtasks: nt.Scripted(1000, 1, nt.Profile{
			Duration: time.Hour,
			Outcomes: []nt.Outcome{{Share: 1, Status: nt.Timeout}},
		}),
	})
	got := decode[struct{ ExpiredCnt int }](t, summary(t, p, "")).ExpiredCnt
	if got < 400 || got > 600 {
		t.Errorf("%d of 1000 expired, want about half", got)
	}
}

func TestTaskSummaryMissing(t *testing.T) {
	a := summary(t, withTask(newPlatform(nt.WithoutTaskSummary()), nil), "")
	if a.Status != http.StatusNotFound || json.Valid([]byte(a.Body)) {
		t.Errorf("got %+v, want a 404 without JSON", a)
	}
}
