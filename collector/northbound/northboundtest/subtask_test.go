package northboundtest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	nt "huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

func TestRow(t *testing.T) {
	raw := func(field, text string) map[string]json.RawMessage {
		return map[string]json.RawMessage{field: json.RawMessage(text)}
	}
	const param = `"param":{"deviceId":"d"}`
	for name, tt := range map[string]struct {
		row  nt.Subtask
		want string
	}{
		"success": {
			nt.Subtask{Status: nt.Success},
			`{"status":"Success","output":"","error":null,` + param + `}`,
		},
		"failure": {
			nt.Subtask{Status: nt.Fail, Code: "100428"},
			`{"status":"Fail","output":"","error":"{\"error_code\":\"100428\",\"error_desc\":\"The device is not online.\"}",` + param + `}`,
		},
		"described": {
			nt.Subtask{Status: nt.Timeout, Code: "7654321", Description: "Gone."},
			`{"status":"Timeout","output":"","error":"{\"error_code\":\"7654321\",\"error_desc\":\"Gone.\"}",` + param + `}`,
		},
		"no code": {
			nt.Subtask{Status: nt.Fail, Description: "Gone."},
			`{"status":"Fail","output":"","error":"{\"error_desc\":\"Gone.\"}",` + param + `}`,
		},
		"neither code nor description": {
			nt.Subtask{Status: nt.Fail},
			`{"status":"Fail","output":"","error":null,` + param + `}`,
		},
		"output text": {
			nt.Subtask{Status: nt.Success, Output: "done"},
			`{"status":"Success","output":"done","error":null,` + param + `}`,
		},
		"output object": {
			nt.Subtask{Status: nt.Success, Output: map[string]int{"rssi": -70}},
			`{"status":"Success","output":{"rssi":-70},"error":null,` + param + `}`,
		},
		"not done": {
			nt.Subtask{Status: nt.Fail, Code: "100428", Output: "x", Done: time.Hour, Raw: raw("status", `"Odd"`)},
			`{"error":null,"output":"",` + param + `,"status":"WaitResult"}`,
		},
		"raw error missing": {
			nt.Subtask{Status: nt.Fail, Code: "100428", Raw: map[string]json.RawMessage{"error": nil}},
			`{"output":"",` + param + `,"status":"Fail"}`,
		},
		"raw error empty": {
			nt.Subtask{Status: nt.Fail, Raw: raw("error", `""`)},
			`{"error":"","output":"",` + param + `,"status":"Fail"}`,
		},
		"raw error object with a number": {
			nt.Subtask{Status: nt.Fail, Raw: raw("error", `{"error_code":100428}`)},
			`{"error":{"error_code":100428},"output":"",` + param + `,"status":"Fail"}`,
		},
		"raw param": {
			nt.Subtask{Status: nt.Success, Raw: raw("param", `null`)},
			`{"error":null,"output":"","param":null,"status":"Success"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.row.DeviceID = "d"
			d := decode[struct{ TaskDetails []json.RawMessage }](t, query(t, withTask(newPlatform(), nt.Rows{tt.row}), ""))
			if diff := cmp.Diff(tt.want, string(d.TaskDetails[0])); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBrokenRowIsToldInWords(t *testing.T) {
	p := withTask(newPlatform(), nt.Rows{{Raw: map[string]json.RawMessage{"error": json.RawMessage("{")}}})
	if a := query(t, p, ""); a.Status != http.StatusInternalServerError || json.Valid([]byte(a.Body)) {
		t.Errorf("got %+v, want a 500 in words", a)
	}
}

func TestMadeUpIdentities(t *testing.T) {
	p := newPlatform()
	p.AddTask(nt.Task{ID: "cmd", AppID: fleet, Subtasks: nt.Uniform(250, nt.Subtask{Status: nt.Success})})
	p.AddTask(nt.Task{ID: "reg", AppID: fleet, Type: nt.DeviceReg, Subtasks: nt.Uniform(250, nt.Subtask{Status: nt.Success})})
	token := signIn(t, p, fleet).AccessToken
	for task, fields := range map[string][]string{"cmd": {"deviceId", "commandId"}, "reg": {"index", "nodeId"}} {
		t.Run(task, func(t *testing.T) {
			d := decode[details](t, get(t, p, fleet, token, nt.TaskDetailsPath, "taskId="+task+"&pageSize=250"))
			seen := make(map[string]bool)
			for _, row := range d.TaskDetails {
				var param map[string]any
				if err := json.Unmarshal(row["param"], &param); err != nil {
					t.Fatal(err)
				}
				if len(param) != len(fields) {
					t.Fatalf("param %v, want the fields %v", param, fields)
				}
				for _, f := range fields {
					text, err := json.Marshal(param[f])
					if err != nil || string(text) == "null" {
						t.Fatalf("param %v, want the fields %v", param, fields)
					}
					seen[f+string(text)] = true
				}
			}
			if len(seen) != 500 {
				t.Errorf("%d different values, want 500", len(seen))
			}
			// The filters find a row by what was sent.
			var param map[string]any
			if err := json.Unmarshal(d.TaskDetails[41]["param"], &param); err != nil {
				t.Fatal(err)
			}
			for _, f := range fields {
				value, ok := param[f].(string)
				if !ok {
					value = strconv.FormatFloat(param[f].(float64), 'f', -1, 64)
				}
				one := decode[details](t, get(t, p, fleet, token, nt.TaskDetailsPath, "taskId="+task+"&"+f+"="+value))
				if diff := cmp.Diff(d.TaskDetails[41:42], one.TaskDetails); diff != "" {
					t.Errorf("row by %s (-want +got):\n%s", f, diff)
				}
			}
		})
	}
}

func TestSubtaskLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := withTask(newPlatform(), nt.Rows{
			{Sent: 10 * time.Second, Done: 20 * time.Second, Status: nt.Fail, Code: "100428"},
			{Sent: 30 * time.Second, Done: 30 * time.Second, Status: nt.Timeout},
		})
		for _, want := range [][]string{
			{nt.Pending, nt.Pending},    // 0 s
			{nt.WaitResult, nt.Pending}, // 10 s
			{nt.Fail, nt.Pending},       // 20 s
			{nt.Fail, nt.Timeout},       // 30 s
			{nt.Fail, nt.Timeout},
		} {
			if diff := cmp.Diff(want, mustQuery(t, p, "").statuses(t)); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
			time.Sleep(10*time.Second - time.Nanosecond)
			if diff := cmp.Diff(want, mustQuery(t, p, "").statuses(t)); diff != "" {
				t.Errorf("statuses just before the next change (-want +got):\n%s", diff)
			}
			time.Sleep(time.Nanosecond)
		}
	})
}

func TestTaskThatStartsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform()
		p.AddTask(nt.Task{
			ID: taskID, AppID: fleet, Start: time.Now().Add(time.Minute),
			Subtasks: nt.Uniform(1, nt.Subtask{Status: nt.Success}),
		})
		if diff := cmp.Diff([]string{nt.Pending}, mustQuery(t, p, "").statuses(t)); diff != "" {
			t.Errorf("before its start (-want +got):\n%s", diff)
		}
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{nt.Success}, mustQuery(t, p, "").statuses(t)); diff != "" {
			t.Errorf("after its start (-want +got):\n%s", diff)
		}
	})
}

func TestSetStatus(t *testing.T) {
	p := withTask(newPlatform(), nt.Rows{
		{Status: nt.Pending, DeviceID: "d"},
		{Status: nt.Fail, Code: "1", Description: "Old.", DeviceID: "d", Raw: map[string]json.RawMessage{"error": nil}},
	})
	p.SetStatus(taskID, 0, nt.Fail, "100432")
	p.SetStatus(taskID, 1, nt.Fail, "100432")
	want := json.RawMessage(`"{\"error_code\":\"100432\",\"error_desc\":\"The device command is muted.\"}"`)
	for i, row := range mustQuery(t, p, "&status=Fail").TaskDetails {
		if diff := cmp.Diff(want, row["error"]); diff != "" {
			t.Errorf("error of row %d (-want +got):\n%s", i, diff)
		}
	}
	wantTruth := nt.Truth{Total: 2, Statuses: counts(0, 0, 0, 2, 0), Errors: map[nt.Failure]int{{nt.Fail, "100432"}: 2}}
	if diff := cmp.Diff(wantTruth, p.Truth(taskID)); diff != "" {
		t.Errorf("truth (-want +got):\n%s", diff)
	}
}

// counts are subtasks by status.
func counts(pending, waitResult, success, fail, timeout int) map[string]int {
	return map[string]int{
		nt.Pending: pending, nt.WaitResult: waitResult, nt.Success: success, nt.Fail: fail, nt.Timeout: timeout,
	}
}

func TestTruth(t *testing.T) {
	p := withTask(newPlatform(), nt.Rows{
		{Status: nt.Pending, Code: "1", DeviceID: "a"}, // a code counts only where the subtask failed
		{Status: nt.Fail, Code: "1", DeviceID: "a"},
		{Status: nt.Fail, Code: "1", DeviceID: "b"},
		{Status: nt.Fail, DeviceID: "b"},
		{Status: nt.Timeout, Code: "1", DeviceID: "a"},
		{Status: "Suspended", DeviceID: "a"},
	})
	all := counts(1, 0, 0, 3, 1)
	all["Suspended"] = 1
	for name, tt := range map[string]struct {
		filter nt.Filter
		want   nt.Truth
	}{
		"all": {nt.Filter{}, nt.Truth{
			Total: 6, Statuses: all,
			Errors: map[nt.Failure]int{{nt.Fail, "1"}: 2, {nt.Fail, ""}: 1, {nt.Timeout, "1"}: 1},
		}},
		"filtered": {nt.Filter{Status: nt.Fail, DeviceID: "b"}, nt.Truth{
			Total: 2, Statuses: counts(0, 0, 0, 2, 0),
			Errors: map[nt.Failure]int{{nt.Fail, "1"}: 1, {nt.Fail, ""}: 1},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, p.TruthOf(taskID, tt.filter)); diff != "" {
				t.Errorf("truth (-want +got):\n%s", diff)
			}
		})
	}
}

func TestScripted(t *testing.T) {
	profile := nt.Profile{
		Duration: time.Hour,
		Outcomes: []nt.Outcome{
			{Share: 0.01, Status: nt.Fail, Code: "100428"},
			{Share: 0.002, Status: nt.Fail},
			{Share: 0.05, Status: nt.Timeout, Code: "100435"},
			{Share: 0.001, Status: nt.Pending},
			{Share: 0.003, Status: nt.WaitResult},
		},
	}
	synctest.Test(t, func(t *testing.T) {
		p := withTask(newPlatform(), nt.Scripted(30000, 42, profile))

		// On the way everything moves, in one direction only.
		before := p.Truth(taskID)
		for range 11 {
			time.Sleep(5 * time.Minute)
			now := p.Truth(taskID)
			if now.Total != 30000 {
				t.Fatalf("total %d, want 30000", now.Total)
			}
			for _, s := range []string{nt.Success, nt.Fail, nt.Timeout} {
				if now.Statuses[s] <= before.Statuses[s] {
					t.Errorf("%s went from %d to %d, want more", s, before.Statuses[s], now.Statuses[s])
				}
			}
			if now.Statuses[nt.Pending] >= before.Statuses[nt.Pending] || now.Statuses[nt.WaitResult] == 0 {
				t.Errorf("went from %v to %v", before.Statuses, now.Statuses)
			}
			before = now
		}

		time.Sleep(5 * time.Minute)
		want := nt.Truth{
			Total:    30000,
			Statuses: counts(30, 90, 30000-30-90-360-1500, 360, 1500),
			Errors:   map[nt.Failure]int{{nt.Fail, "100428"}: 300, {nt.Fail, ""}: 60, {nt.Timeout, "100435"}: 1500},
		}
		if diff := cmp.Diff(want, p.Truth(taskID)); diff != "" {
			t.Errorf("in the end (-want +got):\n%s", diff)
		}
	})
}

func TestScriptedIsAFunctionOfItsSeed(t *testing.T) {
	rows := func(seed uint64) (list nt.Rows) {
		s := nt.Scripted(100, seed, nt.Profile{
			Duration: time.Hour,
			Outcomes: []nt.Outcome{{Share: 0.5, Status: nt.Fail, Code: "1"}},
		})
		for i := range s.Len() {
			list = append(list, s.At(i))
		}
		return list
	}
	if diff := cmp.Diff(rows(1), rows(1)); diff != "" {
		t.Errorf("the same seed (-first +second):\n%s", diff)
	}
	if cmp.Equal(rows(1), rows(2)) {
		t.Error("two seeds gave the same subtasks")
	}
}

func TestScriptedWithoutDurationIsDoneAtOnce(t *testing.T) {
	p := withTask(newPlatform(), nt.Scripted(8, 1, nt.Profile{Outcomes: []nt.Outcome{{Share: 0.25, Status: nt.Timeout}}}))
	want := nt.Truth{Total: 8, Statuses: counts(0, 0, 6, 0, 2), Errors: map[nt.Failure]int{{nt.Timeout, ""}: 2}}
	if diff := cmp.Diff(want, p.Truth(taskID)); diff != "" {
		t.Errorf("truth (-want +got):\n%s", diff)
	}
}

func TestMistakesPanic(t *testing.T) {
	p := newPlatform()
	for name, mistake := range map[string]func(){
		"task of nobody":      func() { p.AddTask(nt.Task{ID: "x", AppID: "nobody"}) },
		"unknown task":        func() { p.Truth("x") },
		"unknown task gone":   func() { p.RemoveTask("x") },
		"unknown application": func() { p.Spend("nobody", 1) },
		"more than all": func() {
			nt.Scripted(1, 1, nt.Profile{Outcomes: []nt.Outcome{{Share: 0.6, Status: nt.Fail}, {Share: 0.6, Status: nt.Timeout}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			mistake()
		})
	}
}

func TestRemovedTaskIsUnknown(t *testing.T) {
	p := withTask(newPlatform(), nil)
	p.RemoveTask(taskID)
	if got, want := refusal(t, query(t, p, "")), `Not Found "105005"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func BenchmarkPage(b *testing.B) {
	for name, bb := range map[string]struct {
		query string
		opts  []nt.Option
	}{
		"all":      {"&pageNo=100&pageSize=250", nil},
		"failed":   {"&pageNo=0&pageSize=250&status=Fail", nil},
		"count":    {"&pageNo=0&pageSize=1&status=Success", nil},
		"newest":   {"&pageNo=0&pageSize=250&status=Fail", []nt.Option{nt.WithRowOrder(nt.NewestFinishedFirst)}},
		"shuffled": {"&pageNo=0&pageSize=250", []nt.Option{nt.WithShuffledRows(1)}},
		"device":   {"&deviceId=x", nil},
	} {
		b.Run(name, func(b *testing.B) {
			p := newPlatform(append(bb.opts, nt.WithCallLimit(0))...)
			p.AddTask(nt.Task{
				ID: taskID, AppID: fleet, Start: time.Now().Add(-time.Hour),
				Subtasks: nt.Scripted(30000, 1, nt.Profile{
					Duration: time.Hour,
					Outcomes: []nt.Outcome{{Share: 0.01, Status: nt.Fail, Code: "100428"}},
				}),
			})
			p.Truth(taskID) // the first look costs more
			token := p.StealToken(fleet)
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, nt.TaskDetailsPath+"?taskId="+taskID+bb.query, nil)
				r.Header.Set("app_key", fleet)
				r.Header.Set("Authorization", "Bearer "+token)
				w := httptest.NewRecorder()
				p.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
