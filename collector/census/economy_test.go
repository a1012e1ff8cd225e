package census_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// watched is a platform that notes what it is asked: "task" for the totals, else
// status, page and page size, as in "Fail 0/250" or, under no status, "all 0/250".
type watched struct {
	census.Platform
	asked  []string
	before func(call string) error               // if not nil: what happens before a call, and its error
	after  func(string, *northbound.TaskDetails) // if not nil: what becomes of an answer
	totals func(*northbound.Task)                // likewise
}

func (w *watched) note(call string) error {
	w.asked = append(w.asked, call)
	if w.before != nil {
		return w.before(call)
	}
	return nil
}

func (w *watched) TaskDetails(ctx context.Context, q northbound.TaskDetailsQuery) (*northbound.TaskDetails, error) {
	status := string(q.Status)
	if status == "" {
		status = "all"
	}
	call := fmt.Sprintf("%s %d/%d", status, q.Page.No, q.Page.Size)
	if err := w.note(call); err != nil {
		return nil, err
	}
	d, err := w.Platform.TaskDetails(ctx, q)
	if err == nil && w.after != nil {
		w.after(call, d)
	}
	return d, err
}

func (w *watched) Task(ctx context.Context, q northbound.TaskQuery) (*northbound.Task, error) {
	if err := w.note("task"); err != nil {
		return nil, err
	}
	t, err := w.Platform.Task(ctx, q)
	if err == nil && w.totals != nil {
		w.totals(t)
	}
	return t, err
}

// refresh has a census taken to its end, or to the given number of pages of
// rows, and returns what was asked for it.
func (w *watched) refresh(t *testing.T, c *census.Census, s census.Settings, pages int) []string {
	t.Helper()
	w.asked = nil
	if _, err := c.Count(t.Context(), w, s); err != nil {
		t.Fatal(err)
	}
	if c.Calls() != len(w.asked) {
		t.Errorf("Calls() = %d after %d calls", c.Calls(), len(w.asked))
	}
	for ; pages > 0 && c.Unread(); pages-- {
		if _, err := c.ReadRows(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	return w.asked
}

// part is n rows of one kind.
func part(n int, status, code string) northboundtest.Rows {
	rows := make(northboundtest.Rows, n)
	for i := range rows {
		rows[i] = northboundtest.Subtask{Status: status, Code: code}
	}
	return rows
}

func rowsOf(parts ...northboundtest.Rows) northboundtest.Rows {
	var rows northboundtest.Rows
	for _, p := range parts {
		rows = append(rows, p...)
	}
	return rows
}

// each is the same calls in several refreshes.
func each(n int, calls ...string) [][]string {
	refreshes := make([][]string, n)
	for i := range refreshes {
		refreshes[i] = calls
	}
	return refreshes
}

// What is asked in thirteen refreshes of a task at rest. The eleventh after the
// first counts everything anew, whatever the totals say.
func TestCallsAtRest(t *testing.T) {
	count := func(statuses string) []string {
		return strings.Split("all 0/250,task,"+statuses, ",")
	}
	pages := func(n int) (calls []string) {
		for no := range n {
			calls = append(calls, fmt.Sprintf("all %d/250", no))
		}
		return calls
	}
	everything := "Pending 0/1,WaitResult 0/1,Fail 0/250,Timeout 0/250,Success 0/1"
	audit := slices.Insert(pages(5), 1, "task") // the totals too, to compare with from then on
	tests := map[string]struct {
		rows northboundtest.Rows
		want [][]string
	}{
		"one page": {
			rowsOf(part(240, "Success", ""), part(10, "Fail", "1")),
			each(13, pages(1)...),
		},
		"two pages": {
			rowsOf(part(241, "Success", ""), part(10, "Pending", "")),
			each(13, pages(2)...),
		},
		"two pages, finished": {
			rowsOf(part(241, "Success", ""), part(10, "Fail", "1")),
			slices.Concat(each(1, pages(2)...), each(10, "task"), each(1, pages(2)...), each(1, "task")),
		},
		"five pages": {
			rowsOf(part(1240, "Success", ""), part(10, "Pending", "")),
			slices.Concat(each(1, pages(5)...), each(10, "task", "Pending 0/1"), each(1, audit...), each(1, "task", "Pending 0/1")),
		},
		"five pages, finished": {
			part(1250, "Success", ""),
			slices.Concat(each(1, pages(5)...), each(10, "task"), each(1, audit...), each(1, "task")),
		},
		"six pages": {
			rowsOf(part(1241, "Success", ""), part(10, "Pending", "")),
			slices.Concat(each(1, count(everything)...), each(10, "task", "Pending 0/1"), each(1, count(everything)...), each(1, "task", "Pending 0/1")),
		},
		"six pages, finished": {
			part(1251, "Success", ""),
			slices.Concat(each(1, count("Fail 0/250,Timeout 0/250,Success 0/1")...), each(10, "task"), each(1, count("Fail 0/250,Timeout 0/250,Success 0/1")...), each(1, "task")),
		},
		"six pages, nothing final that the totals could vouch for": {
			part(1251, "Pending", ""),
			each(13, count(everything)...),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.addTask(test.rows)
			w := &watched{Platform: b.client}
			c := newCensus()
			var got [][]string
			for range test.want {
				got = append(got, w.refresh(t, c, defaults, 100))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Under a filter nothing is asked that does not pass it, however often, and the
// totals of the whole task, which do not know the filter, are left alone.
func TestCallsUnderAFilter(t *testing.T) {
	index := 3
	tests := map[string]struct {
		query northbound.TaskDetailsQuery
		want  string
	}{
		"Pending":    {northbound.TaskDetailsQuery{Status: northbound.StatusPending}, "Pending 0/1"},
		"WaitResult": {northbound.TaskDetailsQuery{Status: northbound.StatusWaitResult}, "WaitResult 0/1"},
		"Success":    {northbound.TaskDetailsQuery{Status: northbound.StatusSuccess}, "Success 0/1"},
		"Fail":       {northbound.TaskDetailsQuery{Status: northbound.StatusFail}, "Fail 0/250"},
		"Timeout":    {northbound.TaskDetailsQuery{Status: northbound.StatusTimeout}, "Timeout 0/250"},
		"index":      {northbound.TaskDetailsQuery{Index: &index}, ""},
		"node":       {northbound.TaskDetailsQuery{NodeID: "n"}, ""},
		"device":     {northbound.TaskDetailsQuery{DeviceID: "d"}, ""},
		"command":    {northbound.TaskDetailsQuery{CommandID: "c"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			// Every row is of this index, node, device and command.
			b := newBench(t, withoutParameters("index", "nodeId", "deviceId", "commandId"))
			b.addTask(rowsOf(part(100, "Pending", ""), part(100, "WaitResult", ""), part(1600, "Success", ""), part(100, "Fail", "1"), part(100, "Timeout", "2")))
			test.query.TaskID = taskID
			w := &watched{Platform: b.client}
			c := census.New(test.query, new(census.Traits))
			everything := []string{"all 0/250", "Pending 0/1", "WaitResult 0/1", "Fail 0/250", "Timeout 0/250", "Success 0/1"}
			for i := range 3 {
				got := w.refresh(t, c, defaults, 0)
				want := everything
				if test.want != "" {
					want = []string{test.want}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("refresh %d (-want +got):\n%s", i, diff)
				}
				if s := c.Snapshot(); s.Finished {
					t.Error("finished, though only one status was counted")
				}
			}
		})
	}
}

// withoutParameters has the platform not see parameters.
func withoutParameters(names ...string) northboundtest.Option {
	return northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			for _, name := range names {
				q.Del(name)
			}
			r.URL.RawQuery = q.Encode()
			h.ServeHTTP(w, r)
		})
	})
}

// Of a finished task only the rows left to read are asked for, but everything
// is counted anew now and then.
func TestCallsWhileRowsAreUnread(t *testing.T) {
	b := newBench(t)
	b.addTask(part(3750, "Fail", "1"))
	w := &watched{Platform: b.client}
	c := newCensus()
	var got []string
	for range 14 {
		got = append(got, strings.Join(w.refresh(t, c, defaults, 1), ","))
	}
	want := []string{"all 0/250,task,Fail 0/250,Timeout 0/250,Success 0/1,Fail 1/250"}
	for no := 2; no < 12; no++ {
		want = append(want, fmt.Sprintf("Fail %d/250", no))
	}
	want = append(want,
		"all 0/250,task,Fail 12/250,Timeout 0/250,Success 0/1,Fail 13/250",
		"Fail 14/250", // the last row
		"task",
	)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Pages that come smaller than asked for are remembered where no first page
// shows them, until another size is wished for.
func TestCallsOfClampedPages(t *testing.T) {
	b := newBench(t, northboundtest.WithMaxPageSize(25), northboundtest.WithPageSizeClampedSilently())
	b.addTask(rowsOf(part(200, "Pending", ""), part(1800, "Success", "")))
	w := &watched{Platform: b.client}
	c := newCensus()
	w.refresh(t, c, defaults, 100)
	fail := func(from, to int) {
		for i := from; i < to; i++ {
			b.SetStatus(taskID, i, "Fail", "1")
		}
	}

	fail(0, 60)
	want := []string{"task", "Pending 0/1", "Fail 0/25", "Fail 1/25", "Fail 2/25"}
	if diff := cmp.Diff(want, w.refresh(t, c, defaults, 100)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	fail(60, 80)
	want = []string{"task", "Pending 0/1", "Fail 0/20"}
	got := w.refresh(t, c, census.Settings{PageSize: 20, MaxErrorCodes: 50}, 0)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with a smaller page (-want +got):\n%s", diff)
	}
}

// A count that fails loses nothing that was read.
func TestCallsAfterAFailedCount(t *testing.T) {
	b := newBench(t)
	b.addTask(rowsOf(part(10, "Pending", ""), part(1500, "Success", ""), part(600, "Fail", "1")))
	w := &watched{Platform: b.client}
	c := newCensus()
	w.refresh(t, c, defaults, 100)

	down := errors.New("down")
	w.before = func(call string) error {
		if call == "Pending 0/1" {
			return down
		}
		return nil
	}
	if _, err := c.Count(t.Context(), w, defaults); !errors.Is(err, down) {
		t.Fatalf("err = %v", err)
	}
	w.before = nil
	// Not "task" alone: totals of a count that failed have not been compared.
	want := []string{"task", "Pending 0/1"}
	if diff := cmp.Diff(want, w.refresh(t, c, defaults, 100)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(b.truth(), shown(c.Snapshot())); diff != "" {
		t.Errorf("(-truth +shown):\n%s", diff)
	}
}

// What moved on while it was counted is counted anew, not compared with.
func TestCallsAfterASkewedCount(t *testing.T) {
	b := newBench(t)
	b.addTask(rowsOf(part(100, "Pending", ""), part(1500, "Success", "")))
	moved := 0
	w := &watched{Platform: b.client, before: func(call string) error {
		if call == "Success 0/1" && moved < 10 { // after Pending
			b.SetStatus(taskID, moved, "Success", "")
			moved++
		}
		return nil
	}}
	c := newCensus()
	everything := []string{"all 0/250", "task", "Pending 0/1", "WaitResult 0/1", "Fail 0/250", "Timeout 0/250", "Success 0/1"}
	for i := range 2 {
		if diff := cmp.Diff(everything, w.refresh(t, c, defaults, 0)); diff != "" {
			t.Errorf("refresh %d (-want +got):\n%s", i, diff)
		}
		if diff := cmp.Diff(b.truth(), shown(c.Snapshot())); diff != "" {
			t.Errorf("refresh %d (-truth +shown):\n%s", i, diff)
		}
	}
}

// A platform without WaitResult as a filter is asked for it once, be it for a
// small task; one that refuses the task itself has not said anything of it.
func TestWaitResultIsNotAskedAgain(t *testing.T) {
	b := newBench(t, northboundtest.WithoutWaitResultFilter())
	b.addTask(mixed(90))
	query := northbound.TaskDetailsQuery{TaskID: taskID, Status: northbound.StatusWaitResult}
	c := census.New(query, new(census.Traits))
	w := &watched{Platform: b.client}
	for i, want := range [][]string{{"WaitResult 0/1", "all 0/250"}, {"all 0/250"}} {
		if diff := cmp.Diff(want, w.refresh(t, c, defaults, 0)); diff != "" {
			t.Errorf("refresh %d (-want +got):\n%s", i, diff)
		}
	}

	b = newBench(t)
	b.addTask(mixed(90))
	w = &watched{Platform: b.client, before: func(string) error { return northbound.ErrInvalidInput }}
	c = census.New(query, new(census.Traits))
	if _, err := c.Count(t.Context(), w, defaults); !errors.Is(err, northbound.ErrInvalidInput) {
		t.Fatalf("err = %v", err)
	}
	w.before = nil
	if diff := cmp.Diff([]string{"WaitResult 0/1"}, w.refresh(t, c, defaults, 0)); diff != "" {
		t.Errorf("after a refusal of the task (-want +got):\n%s", diff)
	}
}

// cancelling is a platform that calls a status of its own what others call
// Timeout.
type cancelling struct{ census.Platform }

func (p cancelling) TaskDetails(ctx context.Context, q northbound.TaskDetailsQuery) (*northbound.TaskDetails, error) {
	switch q.Status {
	case northbound.StatusTimeout:
		return &northbound.TaskDetails{}, nil
	case "Cancelled":
		q.Status = northbound.StatusTimeout
	}
	d, err := p.Platform.TaskDetails(ctx, q)
	if err == nil {
		for i := range d.Subtasks {
			if d.Subtasks[i].Status == northbound.StatusTimeout {
				d.Subtasks[i].Status = "Cancelled"
			}
		}
	}
	return d, err
}

// A status without a name is looked for on one page after the other, and from
// then on counted like any other, whatever the task's totals say.
func TestHiddenStatusIsFound(t *testing.T) {
	b := newBench(t)
	b.addTask(rowsOf(part(10, "Pending", ""), part(1740, "Success", ""), part(20, "Timeout", "")))
	w := &watched{Platform: cancelling{b.client}, totals: func(t *northbound.Task) { t.TimeoutCount = 0 }}
	c := newCensus()
	var pages []string
	for range 10 {
		pages = append(pages, w.refresh(t, c, defaults, 0)[0])
		if got := c.Snapshot().Count("Cancelled") + c.Snapshot().Count(census.StatusOther); got != 20 {
			t.Errorf("%d subtasks under Cancelled or other, want 20", got)
		}
	}
	want := []string{"all 0/250", "all 1/250", "all 2/250", "all 3/250", "all 4/250", "all 5/250", "all 6/250", "all 7/250", "all 0/250", "all 0/250"}
	if diff := cmp.Diff(want, pages); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	b.SetStatus(taskID, 0, "Timeout", "")
	w.refresh(t, c, defaults, 0)
	if got := c.Snapshot().Count("Cancelled"); got != 21 {
		t.Errorf("%d Cancelled, want 21", got)
	}
}

// Where a few pages hold every row, none is left out for the sake of statuses
// without a name.
func TestNamelessStatusesOnAFewPages(t *testing.T) {
	b := newBench(t)
	rows := mixed(1250)
	for i := range 12 {
		rows.(northboundtest.Rows)[i].Status = fmt.Sprintf("Odd%02d", i)
	}
	b.addTask(rows)
	w := &watched{Platform: b.client}
	c := newCensus()
	for range 3 {
		asked := w.refresh(t, c, defaults, 0)
		if asked[0] != "all 0/250" {
			t.Errorf("asked %q", asked)
		}
		if got := c.Snapshot().Count(census.StatusOther); got != 2 {
			t.Errorf("%d under other, want 2", got)
		}
	}
}

// Totals that say too early that a task is complete do not hide what is not.
func TestCompleteTooEarly(t *testing.T) {
	b := newBench(t)
	b.addTask(rowsOf(part(300, "Pending", ""), part(1500, "Success", "")))
	w := &watched{Platform: b.client, totals: func(t *northbound.Task) { t.CompleteCount = t.TotalCount }}
	c := newCensus()
	got := w.refresh(t, c, defaults, 0)
	want := []string{"all 0/250", "task", "Fail 0/250", "Timeout 0/250", "Success 0/1", "Pending 0/1", "WaitResult 0/1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(b.truth(), shown(c.Snapshot())); diff != "" {
		t.Errorf("(-truth +shown):\n%s", diff)
	}
}

// Rows that nothing tells apart can be trusted on one page, but not on two.
func TestCallsOfRowsWithoutIdentity(t *testing.T) {
	rows := mixed(300).(northboundtest.Rows)
	for i := range rows {
		rows[i].Raw = raw("param", "")
	}
	for n, want := range map[int][]string{
		250: {"all 0/250"},
		300: {"all 0/250", "all 1/250", "Pending 0/1", "WaitResult 0/1", "Fail 0/250", "Timeout 0/250", "Success 0/1"},
	} {
		b := newBench(t, northboundtest.WithShuffledRows(3))
		b.addTask(rows[:n])
		w := &watched{Platform: b.client}
		c := newCensus()
		if diff := cmp.Diff(want, w.refresh(t, c, defaults, 0)); diff != "" {
			t.Errorf("%d rows (-want +got):\n%s", n, diff)
		}
		if diff := cmp.Diff(b.truth().Statuses, shown(c.Snapshot()).Statuses); diff != "" {
			t.Errorf("%d rows (-truth +shown):\n%s", n, diff)
		}
	}
}

// A first page that is refused as invalid is tried smaller at the first time and
// at every tenth from then on; nothing else is.
func TestSmallerPagesAreTriedNowAndThen(t *testing.T) {
	b := newBench(t)
	b.addTask(mixed(20))
	w := &watched{Platform: b.client}
	c := newCensus()
	fail := func(why error, want ...string) {
		t.Helper()
		w.asked, w.before = nil, func(string) error { return why }
		if _, err := c.Count(t.Context(), w, defaults); !errors.Is(err, why) {
			t.Errorf("err = %v, want %v", err, why)
		}
		if diff := cmp.Diff(want, w.asked); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	fail(northbound.ErrTaskNotFound, "all 0/250")
	for range 2 {
		fail(northbound.ErrInvalidInput, "all 0/250", "all 0/100", "all 0/25")
		for range 9 {
			fail(northbound.ErrInvalidInput, "all 0/250")
		}
	}
	w.before = nil
	w.refresh(t, c, defaults, 0)
	for range 2 { // the size is known to be fine
		fail(northbound.ErrInvalidInput, "all 0/250")
	}
}

// Fewer rows than asked for are the platform's page, or a slip if they are very
// few and it does not say so.
func TestSmallestClamp(t *testing.T) {
	tests := map[string]struct {
		rows   int
		clamp  northboundtest.Option
		refuse bool
	}{
		"10 without a word":      {10, northboundtest.WithPageSizeClampedSilently(), false},
		"9 without a word":       {9, northboundtest.WithPageSizeClampedSilently(), true},
		"9 as the answer states": {9, northboundtest.WithPageSizeClamped(), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, northboundtest.WithMaxPageSize(test.rows), test.clamp)
			b.addTask(mixed(30))
			s, err := newCensus().Count(t.Context(), b.client, defaults)
			if refused := errors.Is(err, census.ErrContradiction); refused != test.refuse {
				t.Fatalf("err = %v", err)
			}
			if err == nil {
				if diff := cmp.Diff(b.truth(), shown(s)); diff != "" {
					t.Errorf("(-truth +shown):\n%s", diff)
				}
			}
		})
	}
}

// A sum that is too large once is explained by what moved meanwhile, the same
// sum again is not.
func TestSumsThatStayTooLarge(t *testing.T) {
	b := newBench(t, northboundtest.LieTotalCount(func(asked url.Values, n int) int {
		if asked.Get("status") == "Pending" {
			return n + 5
		}
		return n
	}))
	b.addTask(rowsOf(part(500, "Pending", ""), part(1500, "Success", "")))
	c := newCensus()
	for _, refuse := range []bool{false, true} {
		s, err := c.Count(t.Context(), b.client, defaults)
		if errors.Is(err, census.ErrContradiction) != refuse {
			t.Errorf("err = %v, want a contradiction: %v", err, refuse)
		}
		if err == nil {
			if err := sane(s, 2000); err != nil {
				t.Error(err)
			}
		}
	}
}

// Rows found while those of failures are read come out of where they were
// before, be it a status without a name.
func TestFailuresOutOfAHiddenStatus(t *testing.T) {
	b := newBench(t)
	b.addTask(rowsOf(part(1400, "Success", ""), part(300, "Fail", "1"), part(100, "Cancelled", "")))
	c := newCensus()
	if _, err := b.refresh(t.Context(), c, defaults, 0); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		b.SetStatus(taskID, 1700+i, "Fail", "2")
	}
	s, err := c.ReadRows(t.Context(), b.client)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"Pending": 0, "WaitResult": 0, "Success": 1400, "Fail": 310, "Timeout": 0, "other": 90}
	if diff := cmp.Diff(want, shown(s).Statuses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := sane(s, 1800); err != nil {
		t.Error(err)
	}
}

// The search for rows that never come is given up after eight times all pages,
// or after three pages that are empty.
func TestSearchIsGivenUp(t *testing.T) {
	rows := part(1200, "Fail", "1") // five pages
	tests := map[string]struct {
		lie  northboundtest.Option
		want int // pages read in vain
	}{
		"a row in place of another": {sameRow, 8 * 5},
		"empty pages": {northboundtest.LieRows(func(asked url.Values, rows []int) []int {
			if asked.Get("pageNo") != "0" {
				return nil
			}
			return rows
		}), 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, test.lie)
			b.addTask(rows)
			query := northbound.TaskDetailsQuery{TaskID: taskID, Status: northbound.StatusFail}
			w := &watched{Platform: b.client}
			c := census.New(query, new(census.Traits))
			vain := 0
			for asked := w.refresh(t, c, defaults, 0); len(asked) < 100 && c.Unread(); asked = w.asked {
				read := c.Snapshot()
				if len(read.Remarks) > 0 {
					t.Errorf("given up already: %q", read.Remarks)
				}
				s, err := c.ReadRows(t.Context(), w)
				if err != nil {
					t.Fatal(err)
				}
				if s.Unread == read.Unread {
					vain++
				}
				if c.Unread() && c.Fruitless() != (vain >= 5) {
					t.Errorf("fruitless after %d pages in vain: %v", vain, c.Fruitless())
				}
			}
			if vain != test.want {
				t.Errorf("%d pages read in vain, want %d", vain, test.want)
			}
			if s := c.Snapshot(); len(s.Remarks) != 1 || s.Unread == 0 {
				t.Errorf("%d unread, remarks %q", s.Unread, s.Remarks)
			}
		})
	}
}

// New failures are looked for at the end where the last were, each time anew.
func TestNewFailuresComeFirst(t *testing.T) {
	b := newBench(t, northboundtest.WithRowOrder(northboundtest.NewestFinishedFirst))
	b.addTask(rowsOf(part(1000, "Fail", "1"), part(1000, "Pending", "")))
	w := &watched{Platform: b.client}
	c := newCensus()
	w.refresh(t, c, defaults, 100)
	for i := range 3 {
		b.SetStatus(taskID, 1000+i, "Fail", "2")
		want := []string{"task", "Pending 0/1", "Fail 0/250"}
		if diff := cmp.Diff(want, w.refresh(t, c, defaults, 100)); diff != "" {
			t.Errorf("failure %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestRemarks(t *testing.T) {
	tests := map[string]struct {
		rows   northboundtest.Rows
		totals func(*northbound.Task)
		want   int
	}{
		"all is well":      {rowsOf(part(1000, "Success", ""), part(1000, "Fail", "1")), nil, 0},
		"totals are wrong": {rowsOf(part(1000, "Success", ""), part(1000, "Pending", "")), func(t *northbound.Task) { t.SuccessCount = 7 }, 1},
		"hidden status":    {rowsOf(part(1900, "Success", ""), part(100, "Cancelled", "")), nil, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.addTask(test.rows)
			w := &watched{Platform: b.client, totals: test.totals}
			c := newCensus()
			for range 2 {
				w.refresh(t, c, defaults, 0)
			}
			if got := c.Snapshot().Remarks; len(got) != test.want {
				t.Errorf("%q, want %d", got, test.want)
			}
		})
	}
}

// A count does without the totals if the platform cannot tell them, but not if no
// call could be made at all.
func TestTotalsThatDoNotCome(t *testing.T) {
	failed := func(op northbound.Operation, kind northbound.Kind, code string) error {
		return &northbound.Error{Operation: op, Kind: kind, Code: code}
	}
	for name, test := range map[string]struct {
		err  error
		does bool // without
	}{
		"refused":        {failed(northbound.OperationTask, northbound.KindPlatform, "100019"), true},
		"out of reach":   {failed(northbound.OperationTask, northbound.KindConnection, ""), true},
		"throttled":      {failed(northbound.OperationTask, northbound.KindPlatform, "1010009"), false},
		"token is dead":  {failed(northbound.OperationTask, northbound.KindPlatform, "1010005"), false},
		"canceled":       {failed(northbound.OperationTask, northbound.KindCanceled, ""), false},
		"sign-in failed": {failed(northbound.OperationLogin, northbound.KindConnection, ""), false},
		"not sent":       {errors.New("no call to spare"), false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.addTask(mixed(2000))
			w := &watched{Platform: b.client, before: func(call string) error {
				if call == "task" {
					return test.err
				}
				return nil
			}}
			c := newCensus()
			_, err := c.Count(t.Context(), w, defaults)
			if test.does != (err == nil) || !test.does && !errors.Is(err, test.err) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// A name is asked for once, and again after ten counts if it could not be told.
func TestNameless(t *testing.T) {
	b := newBench(t, northboundtest.WithoutTaskSummary())
	b.addTask(mixed(10))
	w := &watched{Platform: b.client}
	c := newCensus()
	w.refresh(t, c, defaults, 0)
	for range 2 {
		if !c.Nameless() {
			t.Error("the name is not asked for")
		}
		if _, err := c.Describe(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			if c.Nameless() {
				t.Errorf("asked for again after %d counts", i)
			}
			w.refresh(t, c, defaults, 0)
		}
	}
	able := newBench(t)
	able.addTask(mixed(10))
	if _, err := c.Describe(t.Context(), able.client); err != nil {
		t.Fatal(err)
	}
	if c.Nameless() || c.Snapshot().TaskName != "firmware" {
		t.Errorf("name %q", c.Snapshot().TaskName)
	}
}

func TestLabel(t *testing.T) {
	for in, want := range map[string]string{
		"\tblanks\n":             "blanks",
		strings.Repeat("ü", 128): strings.Repeat("ü", 128),
		strings.Repeat("ü", 129): strings.Repeat("ü", 127) + "…",
		strings.Repeat("x", 1e6): strings.Repeat("x", 127) + "…",
		"a\x00b\nc\xff":          "a\uFFFDb\uFFFDc\uFFFD",
		strings.Repeat("𝄞", 128): strings.Repeat("𝄞", 128),
	} {
		if got := census.Label(in); got != want {
			t.Errorf("%.20q: %q, want %q", in, got, want)
		}
	}
}

// A code that is gone leaves no series behind; one that is called as ours adds up
// with ours.
func TestCodesThatAreGoneOrOurs(t *testing.T) {
	b := newBench(t)
	b.addTask(part(2, "Fail", "1"))
	c := newCensus()
	b.mustRefresh(t, c)
	for i := range 2 {
		b.SetStatus(taskID, i, "Fail", "2")
	}
	want := []census.ErrorCount{{Status: "Fail", Code: "2", Count: 2}}
	if diff := cmp.Diff(want, b.mustRefresh(t, c).Errors); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	b.addTask(part(1500, "Fail", census.CodeUnread))
	want = []census.ErrorCount{{Status: "Fail", Code: census.CodeUnread, Count: 1500}}
	for pages := range 3 {
		s, err := b.refresh(t.Context(), newCensus(), defaults, pages)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, s.Errors); diff != "" {
			t.Errorf("%d pages (-want +got):\n%s", pages, diff)
		}
	}
}
