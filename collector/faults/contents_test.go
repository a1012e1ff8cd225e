package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// failures are rows that failed, each with one of the codes; they come as JSON
// text, so that they may hold what no Go string would.
func failures(codes ...string) breakage {
	rows := make([]string, 0, len(codes))
	for i, code := range codes {
		inner, _ := json.Marshal(`{"error_code":` + code + `}`) // a string cannot fail
		rows = append(rows, fmt.Sprintf(`{"status":"Fail","error":%s,"param":{"deviceId":"%d"}}`, inner, i))
	}
	return page(rows...)
}

// page answers with rows, which are all that there are, and one that is pending,
// so that the task is asked again.
func page(rows ...string) breakage {
	rows = append(rows, `{"status":"Pending","param":{"deviceId":"p"}}`)
	return saysJSON(fmt.Sprintf(`{"totalCount":%d,"taskDetails":[%s]}`, len(rows), strings.Join(rows, ",")))
}

const inexact = "task cannot be told exactly"

// many are n rows or codes.
func many(n int, format string) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf(format, i)
	}
	return texts
}

// TestContents: rows of one task hold what nobody expects. All that can be shown
// is shown, and adds up; no other task suffers.
func TestContents(t *testing.T) {
	// codes shows the failures by code.
	codes := func(want map[string]float64) func(*testing.T, metrics) {
		return func(t *testing.T, got metrics) {
			t.Helper()
			adds(t, got)
			shown := make(map[string]float64)
			for series, n := range got {
				if labels, ok := strings.CutPrefix(series, `subtask_errors{application="fleet",error_code=`); ok {
					var code string
					if _, err := fmt.Sscanf(labels, "%q", &code); err != nil {
						t.Fatal(err)
					}
					shown[code] = n
				}
			}
			if diff := cmp.Diff(want, shown); diff != "" {
				t.Errorf("failures by code (-want +got):\n%s", diff)
			}
		}
	}
	// few checks that there are not more series than a label may have values.
	few := func(t *testing.T, got metrics) {
		t.Helper()
		adds(t, got)
		if len(got) > 70 { // 50 codes, 10 statuses, and those of our own
			t.Errorf("%d series", len(got))
		}
	}
	row := func(name string, victim func(*testing.T, metrics), b breakage) fault {
		return fault{name: name, hits: nothing, begin: toVictim(b), victim: victim, maySay: []string{inexact}}
	}
	inFakeTime(t, []fault{
		// Error codes.
		row("codes with quotes and backslashes", codes(map[string]float64{`a"b`: 1, `c\d`: 1, `{e="f"}`: 1}),
			failures(`"a\"b"`, `"c\\d"`, `"{e=\"f\"}"`)),
		row("codes with control characters, which are taken out", codes(map[string]float64{"a\ufffdb": 1, "c\ufffdd": 1, "\ufffde": 1}),
			failures(`"a\nb"`, `"c\u001bd"`, `"\u0000e"`)),
		row("codes that are alike once they can be shown", codes(map[string]float64{"a\ufffd": 3}),
			failures(`"a\u0001"`, `"a\u0002"`, `"a\ufffd"`)),
		row("codes of 10 kB", codes(map[string]float64{strings.Repeat("x", 64): 2}),
			failures(`"`+strings.Repeat("x", 10_000)+`"`, `"`+strings.Repeat("x", 20_000)+`"`)),
		row("codes that are no UTF-8", codes(map[string]float64{"a\ufffd": 1}),
			page("{\"status\":\"Fail\",\"error\":\"{\\\"error_code\\\":\\\"a\xff\\\"}\"}")),
		row("codes in every form", codes(map[string]float64{"7": 2, "1.5": 1, "unknown": 2, "{}": 1, "[]": 1, "true": 1}),
			failures(`7`, `"7"`, `1.5`, `null`, `""`, `{}`, `[]`, `true`)),
		row("codes by the names of our own", codes(map[string]float64{"unknown": 1, "unread": 1, "other": 1}),
			failures(`"unknown"`, `"unread"`, `"other"`)),
		row("errors in every form", codes(map[string]float64{"unknown": 7, "7": 1, "5": 1}), page(
			`{"status":"Fail"}`, `{"status":"Fail","error":null}`, `{"status":"Fail","error":""}`, `{"status":"Fail","error":"broken"}`,
			`{"status":"Fail","error":"{"}`, `{"status":"Fail","error":7}`, `{"status":"Fail","error":[]}`, `{"status":"Fail","error":"null"}`,
			`{"status":"Fail","error":{"error_code":"5"}}`)),
		row("30,000 distinct codes", few, failures(many(30_000, `"%d"`)...)),

		// Statuses.
		row("statuses that nobody documents", adds, page(`{"status":"Paused"}`, `{"status":"pending"}`, `{"status":"a\"b\n"}`)),
		row("statuses of 10 kB", few, page(`{"status":"`+strings.Repeat("x", 10_000)+`"}`, `{"status":"`+strings.Repeat("x", 20_000)+`"}`)),
		row("a status by the name of our own", adds, page(`{"status":"other"}`, `{"status":"unread"}`)),

		// Everything else of a row.
		row("rows without identity", codes(map[string]float64{"1": 2}), page(
			`{"status":"Fail","error":"{\"error_code\":\"1\"}"}`, `{"status":"Fail","error":"{\"error_code\":\"1\"}","param":null}`)),
		row("params and outputs in every form", adds, page(
			`{"status":"Success","output":{"a":[1]},"param":"text"}`, `{"status":"Success","output":7,"param":{"deviceId":7,"index":"8"}}`,
			`{"status":"Success","output":null,"param":[]}`, `{"status":"Success","output":"","param":{"deviceId":null,"more":{"x":1}}}`)),
		{name: "every row twice", hits: oneTask, begin: toVictim(edited(doubled)), within: time.Minute},
	})
}

// TestMillions: more in one answer than a batch can hold, and more than is read.
func TestMillions(t *testing.T) {
	if testing.Short() {
		t.Skip("a matter of seconds")
	}
	bounded := func(t *testing.T, got metrics) {
		t.Helper()
		adds(t, got)
		if len(got) > 70 || got.sum("subtasks", "") != 1_000_001 {
			t.Errorf("%v subtasks in %d series", got.sum("subtasks", ""), len(got))
		}
	}
	inFakeTime(t, []fault{
		{name: "a million distinct codes", hits: nothing, scrapes: 1, victim: bounded, maySay: []string{inexact}, begin: func(w *world) {
			toVictim(page(many(1_000_000, `{"status":"Fail","error":"{\"error_code\":\"%d\"}"}`)...))(w)
		}},
		{name: "a million distinct statuses", hits: nothing, scrapes: 1, victim: bounded, maySay: []string{inexact}, begin: func(w *world) {
			toVictim(page(many(1_000_000, `{"status":"s%d"}`)...))(w)
		}},
		{name: "a gigabyte of blanks", hits: oneTask, scrapes: 1, counted: []string{"task_details 200 malformed"}, begin: toVictim(gigabyte("", " "))},
	})
}

// TestRefusalTexts: refusals hold what nobody expects.
func TestRefusalTexts(t *testing.T) {
	refusal := func(name, label, code, description string) fault {
		return fault{
			name: name, hits: oneTask, counted: []string{"task_details 400 " + label},
			begin: toVictim(says(400, "application/json", fmt.Sprintf(`{"error_code":%s,"error_desc":%s}`, code, description))),
			check: func(t *testing.T, w *world, _ metrics) {
				for line := range strings.Lines(w.log.String()) {
					if len(line) > 2000 || !strings.HasPrefix(line, "level=") {
						t.Fatalf("a line of the log: %.300q", line)
					}
				}
			},
		}
	}
	faults := []fault{
		refusal("quotes", `a"b\c`, `"a\"b\\c"`, `"\"quoted\""`),
		refusal("control characters", "a b", `"a\u0007b"`, `"line\nlevel=error msg=\"forged\"\u001b[31m"`),
		refusal("10 kB", strings.Repeat("x", 64), `"`+strings.Repeat("x", 10_000)+`"`, `"`+strings.Repeat("y", 10_000)+`"`),
		refusal("a description that is none", "7", `7`, `{"a":[1]}`),
	}

	var calls atomic.Int64
	distinct := toVictim(func(w http.ResponseWriter, r *http.Request, sound http.Handler) {
		refuses(500, fmt.Sprint("code", calls.Add(1)))(w, r, sound)
	})
	faults = append(faults, fault{
		name: "a code of its own in every refusal", hits: oneTask, scrapes: 150, begin: distinct, countsOthers: true,
		check: func(t *testing.T, _ *world, got metrics) {
			if n := len(got.errors()); n > 110 {
				t.Errorf("%d series of failed calls", n)
			}
		},
	})
	inFakeTime(t, faults)
}

// adds checks that every failure has a code, and nothing is negative.
func adds(t *testing.T, got metrics) {
	t.Helper()
	if got.sum("subtasks", "") == 0 {
		t.Errorf("no subtasks are shown: %v", got)
	}
	for _, status := range []string{"Fail", "Timeout"} {
		of := fmt.Sprintf("status=%q", status)
		if all, coded := got.sum("subtasks", of), got.sum("subtask_errors", of); all != coded {
			t.Errorf("%s: %v subtasks, %v of them with a code", status, all, coded)
		}
	}
	for series, n := range got {
		if n < 0 {
			t.Errorf("%s is %v", series, n)
		}
	}
}

// doubled repeats every row of an answer.
func doubled(answer []byte) []byte {
	var a map[string]any
	if err := json.Unmarshal(answer, &a); err != nil {
		panic(err)
	}
	rows, _ := a["taskDetails"].([]any)
	a["taskDetails"] = append(rows, rows...)
	text, _ := json.Marshal(a) // which has just been read
	return text
}
