package northbound

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeTaskDetails(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		want   TaskDetails
	}{
		"command task": {
			answer: `{"pageNo":0,"pageSize":2,"totalCount":300,"taskDetails":[
				{"status":"Fail","output":null,"error":"{\"error_code\": \"100428\", \"error_desc\":\"The device is not online.\"}","param":{"deviceId":"d1","commandId":"c1"}},
				{"status":"Success","output":"done","error":null,"param":{"deviceId":"d2","commandId":"c2"}}]}`,
			want: TaskDetails{PageSize: 2, TotalCount: 300, Subtasks: []Subtask{
				{Status: StatusFail, Error: SubtaskError{"100428", "The device is not online."}, Param: Param{DeviceID: "d1", CommandID: "c1"}},
				{Status: StatusSuccess, Output: "done", Param: Param{DeviceID: "d2", CommandID: "c2"}},
			}},
		},
		"registration task, numbers as text and text as numbers": {
			answer: `{"pageNo":"3","pageSize":"250","totalCount":"751","taskDetails":[{"status":"Pending","param":{"index":7,"nodeId":8613}},{"status":"Pending","param":{"index":"8","nodeId":"n"}}]}`,
			want: TaskDetails{PageNo: 3, PageSize: 250, TotalCount: 751, Subtasks: []Subtask{
				{Status: StatusPending, Param: Param{Index: "7", NodeID: "8613"}},
				{Status: StatusPending, Param: Param{Index: "8", NodeID: "n"}},
			}},
		},
		"numbers of a careless library": {
			answer: `{"pageNo":0.0,"pageSize":2.5e2,"totalCount":2147483647.0,"taskDetails":[]}`,
			want:   TaskDetails{PageSize: 250, TotalCount: 2147483647, Subtasks: []Subtask{}},
		},
		"no total": {
			answer: `{"taskDetails":[]}`,
			want:   TaskDetails{TotalCount: -1, Subtasks: []Subtask{}},
		},
		"null total": {
			answer: `{"totalCount":null,"pageNo":null,"taskDetails":[]}`,
			want:   TaskDetails{TotalCount: -1, Subtasks: []Subtask{}},
		},
		"no rows, as the total says": {
			answer: `{"totalCount":0,"taskDetails":null}`,
		},
		"rows come first and something unknown, deep and long": {
			answer: `{"taskDetails":[{"status":"Timeout","x":{"status":"Fail"}}],"y":[[{"error_code":"1"}]],"z":"` + strings.Repeat("z", 9999) + `","totalCount":1,"error_code":null,"error_desc":""}` + "\n ",
			want:   TaskDetails{TotalCount: 1, Subtasks: []Subtask{{Status: StatusTimeout}}},
		},
		"a row does not inherit from the one before": {
			answer: `{"totalCount":2,"taskDetails":[{"status":"Fail","output":"o","error":"e","param":{"deviceId":"d"}},{"status":"Pending"}]}`,
			want: TaskDetails{TotalCount: 2, Subtasks: []Subtask{
				{Status: StatusFail, Output: "o", Error: SubtaskError{Description: "e"}, Param: Param{DeviceID: "d"}},
				{Status: StatusPending},
			}},
		},
		"status that nobody documents": {
			answer: `{"totalCount":1,"taskDetails":[{"status":"Stopped"}]}`,
			want:   TaskDetails{TotalCount: 1, Subtasks: []Subtask{{Status: "Stopped"}}},
		},
		"outputs": {
			answer: `{"totalCount":5,"taskDetails":[{"status":"Success","output":"\\\\"},{"status":"Success","output":{"a": [1]}},{"status":"Success","output":""},{"status":"Success","output":7},{"status":"Success","output":"{\"a\":1}"}]}`,
			want: TaskDetails{TotalCount: 5, Subtasks: []Subtask{
				{Status: StatusSuccess, Output: `\\`},
				{Status: StatusSuccess, Output: `{"a": [1]}`},
				{Status: StatusSuccess},
				{Status: StatusSuccess, Output: "7"},
				{Status: StatusSuccess, Output: `{"a":1}`},
			}},
		},
		"params": {
			answer: `{"totalCount":9,"taskDetails":[{"status":"Fail","param":{"index":0}},{"status":"Fail","param":[]},{"status":"Fail","param":"word"},{"status":"Fail","param":{"deviceId":{},"index":1}},{"status":"Fail","param":null},{"status":"Fail","param":""},{"status":"Fail","param":"{\"deviceId\":\"d\",\"index\":1}"},{"status":"Fail","param":{"deviceId":null}},{"status":"Fail","param":"null"}]}`,
			want: TaskDetails{TotalCount: 9, Subtasks: []Subtask{
				{Status: StatusFail, Param: Param{Index: "0"}},
				{Status: StatusFail},
				{Status: StatusFail},
				{Status: StatusFail},
				{Status: StatusFail},
				{Status: StatusFail},
				{Status: StatusFail, Param: Param{DeviceID: "d", Index: "1"}},
				{Status: StatusFail},
				{Status: StatusFail},
			}},
		},
		"not UTF-8": {
			answer: "{\"totalCount\":2,\"taskDetails\":[{\"status\":\"Fail\",\"output\":\"a\xffb\",\"error\":\"\xfe\",\"param\":{\"deviceId\":\"\xff\"}},{\"status\":\"Fail\",\"output\":{\"x\":\"\xff\"}},{\"status\":\"Fail\",\"output\":\"\x80\"}]}",
			want: TaskDetails{TotalCount: 2, Subtasks: []Subtask{
				{Status: StatusFail, Output: "a\uFFFDb", Error: SubtaskError{Description: "\uFFFD"}, Param: Param{DeviceID: "\uFFFD"}},
				{Status: StatusFail, Output: "{\"x\":\"\uFFFD\"}"},
				{Status: StatusFail, Output: "\uFFFD"},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, ref, err := decodeTaskDetails(strings.NewReader(test.answer))
			if err != nil || ref.code != "" {
				t.Fatalf("refusal %q, error %v", ref, err)
			}
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeSubtaskError(t *testing.T) {
	offline := SubtaskError{Code: "100428", Description: "The device is not online."}
	quote := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const object = `{"error_code": "100428", "error_desc":"The device is not online."}`
	for name, test := range map[string]struct {
		raw  string
		want SubtaskError
	}{
		"missing":                   {``, SubtaskError{}},
		"null":                      {`null`, SubtaskError{}},
		"empty":                     {`""`, SubtaskError{}},
		"blank":                     {`"  "`, SubtaskError{}},
		"null in a string":          {`"null"`, SubtaskError{}},
		"object in a string":        {quote(object), offline},
		"object":                    {object, offline},
		"encoded twice":             {quote(quote(object)), offline},
		"encoded thrice":            {quote(quote(quote(object))), offline},
		"blanks around":             {quote("\n " + object + " "), offline},
		"code is a number":          {quote(`{"error_code":100428,"error_desc":"The device is not online."}`), offline},
		"object, code is a number":  {`{"error_code":100428,"error_desc":"The device is not online."}`, offline},
		"bare number":               {`100428`, SubtaskError{Code: "100428"}},
		"bare number in a string":   {`"100428"`, SubtaskError{Code: "100428"}},
		"text":                      {`"device is gone"`, SubtaskError{Description: "device is gone"}},
		"text that looks like JSON": {`"{not json"`, SubtaskError{Description: "{not json"}},
		"no code":                   {quote(`{"error_desc":"gone"}`), SubtaskError{Description: "gone"}},
		"null code":                 {quote(`{"error_code":null,"error_desc":"gone"}`), SubtaskError{Description: "gone"}},
		"empty code":                {quote(`{"error_code":" ","error_desc":"gone"}`), SubtaskError{Description: "gone"}},
		"no description":            {quote(`{"error_code":"1"}`), SubtaskError{Code: "1"}},
		"empty object":              {`{}`, SubtaskError{}},
		"other object":              {`{"reason":"gone"}`, SubtaskError{Description: `{"reason":"gone"}`}},
		"list":                      {`["gone"]`, SubtaskError{Description: `["gone"]`}},
		"other number":              {`-1.5`, SubtaskError{Description: "-1.5"}},
		"truth":                     {`true`, SubtaskError{Description: "true"}},
		"more after the object":     {quote(object + "x"), SubtaskError{Description: object + "x"}},
		"quotation mark in quotes":  {quote(`"a"b"`), SubtaskError{Description: `"a"b"`}},
		"only quotation marks":      {quote(`"""`), SubtaskError{Description: `"""`}},
		"line break in quotes":      {quote("\"\n\""), SubtaskError{Description: "\"\n\""}},
		"quotes that do not end":    {quote(`"gone`), SubtaskError{Description: `"gone`}},
		"long code":                 {quote(`{"error_code":"` + strings.Repeat("7", 100) + `"}`), SubtaskError{Code: strings.Repeat("7", 64)}},
		"description is an object":  {`{"error_code":"1","error_desc":{"en":"gone"}}`, SubtaskError{Code: "1", Description: `{"en":"gone"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, decodeSubtaskError(json.RawMessage(test.raw))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeTask(t *testing.T) {
	const whole = `{"taskId":"5bf8","taskName":"firmware","appId":"fleet","operator":"me","taskFrom":"Portal","taskType":"DeviceCmd","status":"Running",
		"startTime":"20151212T121213Z","timeout":"60","progress":500,"totalCnt":"10","successCnt":3,"failCnt":1,"timeoutCnt":1,"expiredCnt":0,"completeCnt":5,
		"successRate":300,"param":{"a":1},"tags":[{"tagName":"x"}]}`
	none := Task{
		TaskID: "5", Timeout: -1, Progress: -1, TotalCount: -1, SuccessCount: -1, FailCount: -1, TimeoutCount: -1,
		ExpiredCount: -1, CompleteCount: -1, SuccessRate: -1,
	}
	for name, test := range map[string]struct {
		answer string
		want   Task
	}{
		"whole": {whole, Task{
			TaskID: "5bf8", TaskName: "firmware", AppID: "fleet", Operator: "me", TaskFrom: "Portal", TaskType: "DeviceCmd", Status: "Running",
			StartTime: time.Date(2015, 12, 12, 12, 12, 13, 0, time.UTC), Timeout: 60, Progress: 500, TotalCount: 10, SuccessCount: 3, FailCount: 1,
			TimeoutCount: 1, CompleteCount: 5, SuccessRate: 300, Param: json.RawMessage(`{"a":1}`), Tags: json.RawMessage(`[{"tagName":"x"}]`),
		}},
		"little":            {`{"taskId":5}`, none},
		"nulls":             {`{"taskId":"5","taskName":null,"totalCnt":null,"startTime":null,"param":null,"tags":null}`, none},
		"what only informs": {`{"taskId":"5","startTime":"yesterday","timeout":{},"progress":"half","successRate":0.5}`, none},
	} {
		t.Run(name, func(t *testing.T) {
			got, ref, err := decodeTask(strings.NewReader(test.answer))
			if err != nil || ref.code != "" {
				t.Fatalf("refusal %q, error %v", ref, err)
			}
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for name, answer := range map[string]string{
		"no id":               `{"taskName":"firmware"}`,
		"negative count":      `{"taskId":"5","failCnt":-3}`,
		"count is a list":     `{"taskId":"5","failCnt":[]}`,
		"name is an object":   `{"taskId":"5","taskName":{}}`,
		"truncated":           whole[:100],
		"something behind it": whole + whole,
		"list":                `[` + whole + `]`,
	} {
		if _, _, err := decodeTask(strings.NewReader(answer)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFinal(t *testing.T) {
	final := map[Status]bool{StatusSuccess: true, StatusFail: true, StatusTimeout: true}
	for _, status := range append(Statuses(), "Stopped", "") {
		if got := status.Final(); got != final[status] {
			t.Errorf("%q: %v", status, got)
		}
	}
}

func TestBoundedReader(t *testing.T) {
	for limit, want := range map[int64]error{3: nil, 2: tooLargeError(2)} {
		b := &boundedReader{r: strings.NewReader("abc"), left: limit}
		if _, err := b.Read(make([]byte, 3)); !errors.Is(err, want) {
			t.Errorf("3 bytes of at most %d: %v", limit, err)
		}
	}
}

func FuzzDecodeTaskDetails(f *testing.F) {
	for _, seed := range []string{
		`{"pageNo":0,"pageSize":1,"totalCount":1,"taskDetails":[{"status":"Fail","output":"o","error":"{\"error_code\":\"1\"}","param":{"deviceId":"d","commandId":"c"}}]}`,
		`{"taskDetails":[{"status":"Success","output":{},"error":{"error_code":1},"param":"{\"index\":1}"},{"status":"Pending","param":null}]}`,
		`{"error_code":1010009,"error_desc":"x"}`,
		`{"totalCount":"0","taskDetails":null}`,
		`{"taskDetails":[{"status":"Fail"},`,
		`{"taskDetails":{}}`, `[]`, `null`, `{}`, ``, `<html>`, `{}{}`, "{\"a\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		details, _, err := decodeTaskDetails(bytes.NewReader(answer))
		if err != nil {
			return
		}
		if !json.Valid(answer) {
			t.Fatalf("taken, but not JSON: %q", answer)
		}
		if details.TotalCount < -1 || details.PageNo < 0 || details.PageSize < 0 {
			t.Errorf("negative: %+v", details)
		}
		for _, row := range details.Subtasks {
			if row.Status == "" {
				t.Errorf("no status: %+v", row)
			}
			for _, s := range []string{string(row.Status), row.Output, row.Error.Code, row.Error.Description, row.Param.DeviceID, row.Param.Index} {
				if !utf8.ValidString(s) {
					t.Errorf("not UTF-8: %q", s)
				}
			}
		}
	})
}

func FuzzSubtaskError(f *testing.F) {
	for _, seed := range []string{
		`"{\"error_code\": \"100428\", \"error_desc\":\"The device is not online.\"}"`,
		`{"error_code":1,"error_desc":null}`, `"text"`, `"\"{}\""`, `null`, `""`, `1`, `[]`, `"{"`, ``, "\"\xff\"", `{"error_code":{"a":"b"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e := decodeSubtaskError(raw)
		if !utf8.ValidString(e.Code) || !utf8.ValidString(e.Description) {
			t.Errorf("not UTF-8: %+v", e)
		}
		if len(e.Code) > maxCode {
			t.Errorf("code of %d bytes", len(e.Code))
		}
		if e.Code != strings.TrimSpace(e.Code) {
			t.Errorf("blanks around the code %q", e.Code)
		}
		// However often it is encoded as a string, it stays the same.
		if object := json.Valid(raw) && len(raw) > 0 && raw[0] == '{' && utf8.Valid(raw); object {
			quoted, err := json.Marshal(string(raw))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e, decodeSubtaskError(quoted)); diff != "" {
				t.Errorf("as a string it is something else:\n%s", diff)
			}
		}
	})
}

func BenchmarkDecodeTaskDetails(b *testing.B) {
	for _, rows := range []int{250, 30_000} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			var answer bytes.Buffer
			fmt.Fprintf(&answer, `{"pageNo":0,"pageSize":%d,"totalCount":%d,"taskDetails":[`, rows, rows)
			for i := range rows {
				if i > 0 {
					answer.WriteByte(',')
				}
				fmt.Fprintf(&answer, `{"status":"Fail","output":null,"error":"{\"error_code\": \"100428\", \"error_desc\":\"The device is not online.\"}","param":{"deviceId":"%08d-0000-4000-8000-000000000000","commandId":"%08d"}}`, i, i)
			}
			answer.WriteString(`]}`)
			b.SetBytes(int64(answer.Len()))
			b.ReportAllocs()
			for b.Loop() {
				details, _, err := decodeTaskDetails(bytes.NewReader(answer.Bytes()))
				if err != nil || len(details.Subtasks) != rows {
					b.Fatal(err)
				}
			}
		})
	}
}
