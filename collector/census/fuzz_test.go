package census_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
)

// What an oracle does not do as the documents say. The first three are true to
// its rows all the same.
const (
	refusesWaitResult = 1 << iota
	refusesLargePages
	refusesTotals
	namesNobody
	repeatsRows
	miscounts
	ignoresFilters
	lies = namesNobody | repeatsRows | miscounts | ignoresFilters
)

// auditEvery is the number of refreshes after which nothing is taken on trust.
const auditEvery = 11

// oracle is a platform with rows of any content.
type oracle struct {
	rows   []northbound.Subtask
	quirks uint8
	calls  int
}

// oracleRows makes a row of each line: status and error code with a tab between.
func oracleRows(text string, quirks uint8) []northbound.Subtask {
	lines := strings.Split(text, "\n")
	rows := make([]northbound.Subtask, 0, len(lines))
	for i, line := range lines {
		status, code, _ := strings.Cut(line, "\t")
		if status == "" { // such an answer is malformed
			continue
		}
		row := northbound.Subtask{Status: northbound.Status(status), Error: northbound.SubtaskError{Code: code}}
		if quirks&namesNobody == 0 {
			row.Param.Index = fmt.Sprint(i)
		}
		rows = append(rows, row)
	}
	return rows
}

func (o *oracle) refuse(op northbound.Operation, code string) error {
	return &northbound.Error{Operation: op, Kind: northbound.KindPlatform, HTTPStatus: 400, Code: code}
}

func (o *oracle) count(status northbound.Status) int {
	n := 0
	for _, row := range o.rows {
		if row.Status == status || status == "" {
			n++
		}
	}
	return n
}

func (o *oracle) TaskDetails(_ context.Context, q northbound.TaskDetailsQuery) (*northbound.TaskDetails, error) {
	o.calls++
	size := q.Page.Size
	if q.Status == northbound.StatusWaitResult && o.quirks&refusesWaitResult != 0 || size > 25 && o.quirks&refusesLargePages != 0 {
		return nil, o.refuse(northbound.OperationTaskDetails, "100022")
	}
	var rows []northbound.Subtask
	for _, row := range o.rows {
		if q.Status == "" || row.Status == q.Status || o.quirks&ignoresFilters != 0 {
			rows = append(rows, row)
		}
	}
	d := &northbound.TaskDetails{PageNo: q.Page.No, PageSize: size, TotalCount: len(rows)}
	if o.quirks&miscounts != 0 {
		d.TotalCount += o.calls%3 - 1
	}
	if o.quirks&repeatsRows != 0 && len(rows) > 1 {
		rows[1] = rows[0]
	}
	begin := min(q.Page.No*size, len(rows))
	d.Subtasks = rows[begin:min(begin+size, len(rows))]
	return d, nil
}

func (o *oracle) Task(context.Context, northbound.TaskQuery) (*northbound.Task, error) {
	o.calls++
	if o.quirks&refusesTotals != 0 {
		return nil, o.refuse(northbound.OperationTask, "105005")
	}
	t := &northbound.Task{
		TaskID: taskID, TotalCount: len(o.rows),
		SuccessCount: o.count(northbound.StatusSuccess), FailCount: o.count(northbound.StatusFail), TimeoutCount: o.count(northbound.StatusTimeout),
	}
	t.CompleteCount = t.SuccessCount + t.FailCount + t.TimeoutCount
	if len(o.rows) > 0 {
		t.TaskName, t.TaskType = string(o.rows[0].Status), o.rows[0].Error.Code
	}
	return t, nil
}

// checkLabels fails if the snapshot cannot be shown: series that are doubled,
// values that are not fit for a label, or too many of them.
func checkLabels(t *testing.T, s *census.Snapshot, maxCodes int) {
	t.Helper()
	statuses, codes, apart := map[string]bool{}, map[census.ErrorCount]bool{}, map[string]int{}
	values := []string{s.TaskName, s.TaskType}
	for _, sc := range s.Subtasks {
		if statuses[sc.Status] {
			t.Errorf("twice: %+v", sc)
		}
		statuses[sc.Status] = true
		values = append(values, sc.Status)
	}
	for _, ec := range s.Errors {
		series := census.ErrorCount{Status: ec.Status, Code: ec.Code}
		if codes[series] || !statuses[ec.Status] {
			t.Errorf("twice, or of no status: %+v", ec)
		}
		codes[series] = true
		if !slices.Contains([]string{census.CodeUnknown, census.CodeUnread, census.CodeOther}, ec.Code) {
			apart[ec.Status]++
		}
		values = append(values, ec.Code)
	}
	if len(statuses) > 5+10+1 || apart["Fail"] > maxCodes || apart["Timeout"] > maxCodes {
		t.Errorf("%d statuses, %d and %d codes of at most %d", len(statuses), apart["Fail"], apart["Timeout"], maxCodes)
	}
	for _, value := range values {
		checkLabel(t, value)
		if census.Label(value) != value {
			t.Errorf("%q was made a label, but is %q as one", value, census.Label(value))
		}
	}
}

func checkLabel(t *testing.T, label string) {
	t.Helper()
	if !utf8.ValidString(label) || utf8.RuneCountInString(label) > 128 || strings.ContainsFunc(label, unicode.IsControl) {
		t.Errorf("label %q", label)
	}
}

// FuzzCensus takes the census of a task whose rows are any statuses and codes,
// and then any others, of a platform that differs from the documents or lies:
// what is shown is always sane, and true if the platform is.
func FuzzCensus(f *testing.F) {
	const some = "Fail\t100428\nFail\nTimeout\t100428\nSuccess\nPending\nWaitResult\nFail \t1\nStopped\t2\nother\nFail\tunread\nFail\tother"
	many := strings.Repeat("Success\nFail\t1\nPending\nTimeout\t2\n", 8)
	odd := ""
	for i := range 12 {
		odd += fmt.Sprintf("odd%d\nFail\tcode%d\n", i, i)
	}
	for _, text := range []string{
		"", some, many, odd, "\xff\t\xff\nFail\t\xff\nFail\t\x00\nFail\t 1 \n\u2028", "Fail\t" + strings.Repeat("7", 999) + "\nTimeout\t" + strings.Repeat("ü", 600),
	} {
		f.Add(text, text, "", uint8(250), uint8(50), uint8(0))
		f.Add(text, many, "", uint8(3), uint8(2), uint8(refusesWaitResult|refusesTotals))
		f.Add(text, text+"\n"+text, "Fail", uint8(7), uint8(1), uint8(refusesLargePages))
	}
	f.Add(many, strings.ReplaceAll(many, "Pending", "Fail\t9"), "", uint8(3), uint8(2), uint8(0))
	f.Add(many, "", "WaitResult", uint8(30), uint8(1), uint8(refusesWaitResult|refusesLargePages))
	for _, lie := range []uint8{namesNobody, repeatsRows, miscounts, ignoresFilters} {
		f.Add(many, many, "", uint8(4), uint8(3), lie)
		f.Add(odd, some, "Timeout", uint8(4), uint8(3), lie)
	}
	f.Fuzz(func(t *testing.T, before, after, status string, pageSize, maxCodes, quirks uint8) {
		checkLabel(t, census.Label(before))
		if status != "" && !slices.Contains(northbound.Statuses(), northbound.Status(status)) || pageSize == 0 || maxCodes == 0 {
			t.Skip()
		}
		settings := census.Settings{PageSize: int(pageSize), MaxErrorCodes: int(maxCodes)}
		c := census.New(northbound.TaskDetailsQuery{TaskID: taskID, Status: northbound.Status(status)}, new(census.Traits))
		o := &oracle{quirks: quirks}
		most := 1000
		if quirks&miscounts != 0 {
			most = 20
		}
		check := func(s *census.Snapshot, err error) bool {
			t.Helper()
			if _, answered := errors.AsType[*northbound.Error](err); err != nil && !answered && !errors.Is(err, census.ErrContradiction) {
				t.Errorf("%T: %v", err, err)
			}
			if err != nil {
				return false
			}
			sum := 0
			for _, sc := range s.Subtasks {
				if status == "" || sc.Status == status {
					sum += sc.Count
				}
			}
			if err := sane(s, sum); err != nil {
				t.Error(err)
			}
			checkLabels(t, s, int(maxCodes))
			return true
		}
		for refresh := range 1 + auditEvery {
			text := after
			if refresh == 0 {
				text = before
			}
			if o.rows = oracleRows(text, quirks); len(o.rows) > 100 {
				t.Skip()
			}
			o.calls = 0
			counted := check(c.Count(t.Context(), o, settings))
			if o.calls > 40 {
				t.Errorf("%d calls to count %d rows", o.calls, len(o.rows))
			}
			o.calls = 0
			for counted && c.Unread() && o.calls < most {
				counted = check(c.ReadRows(t.Context(), o))
			}
			if o.calls == most && quirks&miscounts == 0 { // each new total makes the rows a new list
				t.Fatal("never gives up")
			}
			if quirks&lies == 0 && (refresh == 0 || refresh == auditEvery) {
				checkTruth(t, c.Snapshot(), o, northbound.Status(status))
			}
		}
	})
}

// checkTruth compares with the rows what every platform lets the census know.
func checkTruth(t *testing.T, s *census.Snapshot, o *oracle, status northbound.Status) {
	t.Helper()
	least, most := o.count(status), o.count(status)
	if status == northbound.StatusWaitResult && o.quirks&refusesWaitResult != 0 {
		// Then it is what the total leaves over, undocumented statuses too.
		most = o.count("")
		for _, other := range northbound.Statuses() {
			if other != status {
				most -= o.count(other)
			}
		}
	}
	if s == nil || s.Unread > 0 || s.Total < least || s.Total > most {
		t.Fatalf("of %d to %d rows: %+v", least, most, s)
	}
	for _, want := range []northbound.Status{northbound.StatusPending, northbound.StatusSuccess, northbound.StatusFail, northbound.StatusTimeout} {
		if status != "" && status != want {
			continue
		}
		if got := s.Count(want); got != o.count(want) {
			t.Errorf("%d of %d in status %s: %+v", got, o.count(want), want, s)
		}
	}
}
