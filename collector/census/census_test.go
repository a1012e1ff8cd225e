package census_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

const (
	taskID = "5bf8f8567dd2d86eab87edd9"
	appID  = "app"
)

// handlerTransport calls the platform without a network between.
type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// bench is a platform with a signed-in client, on which censuses are taken.
type bench struct {
	*northboundtest.Platform
	client *northbound.Client
	ctx    context.Context
}

func newBench(tb testing.TB, opts ...northboundtest.Option) *bench {
	tb.Helper()
	p := northboundtest.New(append([]northboundtest.Option{northboundtest.WithCallLimit(0)}, opts...)...)
	p.AddApplication(northboundtest.App{ID: appID, Secret: "secret"})
	client, err := northbound.NewClient("https://platform.example", northbound.Credentials{
		AppID:  appID,
		Secret: func() (string, error) { return "secret", nil },
	}, northbound.WithTransport(handlerTransport{p}))
	if err != nil {
		tb.Fatal(err)
	}
	if err := client.SignIn(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	p.ResetCalls()
	return &bench{p, client, tb.Context()}
}

func (b *bench) addTask(rows northboundtest.Subtasks) {
	b.AddTask(northboundtest.Task{ID: taskID, AppID: appID, Name: "firmware", Type: northboundtest.DeviceCmd, Subtasks: rows})
}

// refresh takes a census to its end, or to the given number of pages of rows.
func (b *bench) refresh(ctx context.Context, c *census.Census, s census.Settings, pages int) (*census.Snapshot, error) {
	snapshot, err := c.Count(ctx, b.client, s)
	for ; err == nil && pages > 0 && c.Unread(); pages-- {
		snapshot, err = c.ReadRows(ctx, b.client)
	}
	return snapshot, err
}

func (b *bench) mustRefresh(tb testing.TB, c *census.Census) *census.Snapshot {
	tb.Helper()
	s, err := b.refresh(tb.Context(), c, defaults, 1000)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

var defaults = census.Settings{PageSize: 250, MaxErrorCodes: 50}

func newCensus() *census.Census {
	return census.New(northbound.TaskDetailsQuery{TaskID: taskID}, new(census.Traits))
}

// numbers makes a snapshot and the platform's truth comparable.
type numbers struct {
	Statuses map[string]int
	Errors   map[northboundtest.Failure]int
}

func shown(s *census.Snapshot) numbers {
	n := numbers{map[string]int{}, map[northboundtest.Failure]int{}}
	for _, sc := range s.Subtasks {
		n.Statuses[sc.Status] += sc.Count
	}
	for _, ec := range s.Errors {
		code := ec.Code
		if code == census.CodeUnknown {
			code = ""
		}
		n.Errors[northboundtest.Failure{Status: ec.Status, Code: code}] += ec.Count
	}
	return n
}

func (b *bench) truth() numbers {
	t := b.Truth(taskID)
	return numbers{t.Statuses, t.Errors}
}

// sane returns what is wrong with a snapshot by itself.
func sane(s *census.Snapshot, total int) error {
	statuses, errs := map[string]int{}, map[string]int{}
	sum := 0
	for _, sc := range s.Subtasks {
		if sc.Count < 0 {
			return fmt.Errorf("%s is %d", sc.Status, sc.Count)
		}
		statuses[sc.Status] = sc.Count
		sum += sc.Count
	}
	if sum != total || s.Total != total {
		return fmt.Errorf("statuses add up to %d, Total is %d, want %d", sum, s.Total, total)
	}
	for _, ec := range s.Errors {
		if ec.Count <= 0 {
			return fmt.Errorf("%s with %q is %d", ec.Status, ec.Code, ec.Count)
		}
		errs[ec.Status] += ec.Count
	}
	for _, status := range []string{"Fail", "Timeout"} {
		if errs[status] != statuses[status] {
			return fmt.Errorf("error codes of %s add up to %d of %d", status, errs[status], statuses[status])
		}
	}
	return nil
}

// mixed are n finished and unfinished subtasks in every status, some failed
// without a code.
func mixed(n int) northboundtest.Subtasks {
	rows := make(northboundtest.Rows, n)
	kinds := []northboundtest.Subtask{
		{Status: "Success"},
		{Status: "Success"},
		{Status: "Pending"},
		{Status: "WaitResult"},
		{Status: "Fail", Code: "100428"},
		{Status: "Fail", Code: "100431"},
		{Status: "Fail"},
		{Status: "Timeout", Code: "100501"},
		{Status: "Timeout"},
	}
	for i := range rows {
		rows[i] = kinds[i%len(kinds)]
	}
	return rows
}

func TestCensusTellsTheTruth(t *testing.T) {
	platforms := map[string][]northboundtest.Option{
		"as documented":               nil,
		"WaitResult refused":          {northboundtest.WithoutWaitResultFilter()},
		"small pages refused":         {northboundtest.WithMaxPageSize(25)},
		"odd maximum refused":         {northboundtest.WithMaxPageSize(120)},
		"pages clamped":               {northboundtest.WithMaxPageSize(25), northboundtest.WithPageSizeClamped()},
		"pages clamped silently":      {northboundtest.WithMaxPageSize(25), northboundtest.WithPageSizeClampedSilently()},
		"errors under 200":            {northboundtest.WithErrorsUnder200(), northboundtest.WithoutWaitResultFilter()},
		"newest rows first":           {northboundtest.WithRowOrder(northboundtest.NewestFinishedFirst)},
		"rows shuffled":               {northboundtest.WithShuffledRows(1)},
		"no totals of tasks":          {northboundtest.WithoutTaskSummary()},
		"totals late by half an hour": {northboundtest.WithCounterLag(30 * time.Minute)},
	}
	for name, opts := range platforms {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{0, 1, 249, 250, 251, 500, 501, 1250, 1251, 3000} {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					b := newBench(t, opts...)
					b.addTask(mixed(n))
					c := newCensus()
					for i := range 3 {
						s := b.mustRefresh(t, c)
						if err := sane(s, n); err != nil {
							t.Error(err)
						}
						if diff := cmp.Diff(b.truth(), shown(s)); diff != "" {
							t.Errorf("refresh %d (-truth +shown):\n%s", i, diff)
						}
					}
				})
			}
		})
	}
}

// TestCensusFollows has random tasks make random progress on random platforms
// between refreshes that are cut short at random.
func TestCensusFollows(t *testing.T) {
	orders := map[string]northboundtest.Option{
		"by position":  northboundtest.WithRowOrder(northboundtest.ByPosition),
		"newest first": northboundtest.WithRowOrder(northboundtest.NewestFinishedFirst),
		"oldest first": northboundtest.WithRowOrder(northboundtest.OldestFinishedFirst),
		"shuffled":     northboundtest.WithShuffledRows(7),
	}
	oddities := map[string]northboundtest.Option{
		"none":                   northboundtest.WithCallLimit(0),
		"WaitResult refused":     northboundtest.WithoutWaitResultFilter(),
		"pages clamped silently": northboundtest.WithPageSizeClampedSilently(),
		"no totals":              northboundtest.WithoutTaskSummary(),
		"totals late":            northboundtest.WithCounterLag(time.Minute),
		"expired apart":          northboundtest.WithExpiredApart(),
	}
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 3000).Draw(rt, "subtasks")
		order := rapid.SampledFrom(sortedKeys(orders)).Draw(rt, "order")
		oddity := rapid.SampledFrom(sortedKeys(oddities)).Draw(rt, "oddity")
		maxPage := rapid.SampledFrom([]int{250, 100, 25}).Draw(rt, "largest page")
		pageSize := rapid.SampledFrom([]int{250, 100, 17}).Draw(rt, "page size")
		fails := rapid.Float64Range(0, .5).Draw(rt, "failures")
		timeouts := rapid.Float64Range(0, .3).Draw(rt, "timeouts")
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, northboundtest.WithMaxPageSize(maxPage), orders[order], oddities[oddity])
			b.addTask(northboundtest.Scripted(n, seed, northboundtest.Profile{
				Duration: time.Hour,
				Outcomes: []northboundtest.Outcome{
					{Share: fails / 2, Status: "Fail", Code: "100428"},
					{Share: fails / 2, Status: "Fail", Code: "100431"},
					{Share: timeouts, Status: "Timeout", Code: "100501"},
				},
			}))
			c := newCensus()
			random := rand.New(rand.NewPCG(seed, 0))
			settings := census.Settings{PageSize: pageSize, MaxErrorCodes: 50}
			for range 30 {
				time.Sleep(time.Duration(random.Int64N(int64(4 * time.Minute))))
				s, err := b.refresh(t.Context(), c, settings, random.IntN(4))
				if err != nil {
					rt.Fatal(err)
				}
				if err := sane(s, n); err != nil {
					rt.Fatal(err)
				}
				if oddity != "totals late" {
					// Nothing moves while a snapshot is taken in fake time.
					if diff := cmp.Diff(b.truth().Statuses, shown(s).Statuses); diff != "" {
						rt.Fatalf("statuses (-truth +shown):\n%s", diff)
					}
				}
			}
			time.Sleep(2 * time.Hour)
			var s *census.Snapshot
			for range 15 {
				var err error
				if s, err = b.refresh(t.Context(), c, settings, 2000); err != nil {
					rt.Fatal(err)
				}
			}
			if diff := cmp.Diff(b.truth(), shown(s)); diff != "" {
				rt.Fatalf("in the end (-truth +shown):\n%s", diff)
			}
		})
	})
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	// rapid needs the same order every time.
	for i := range keys {
		for j := i + 1; j < len(keys); j++ {
			if keys[j] < keys[i] {
				keys[i], keys[j] = keys[j], keys[i]
			}
		}
	}
	return keys
}

// TestCensusSkewed has the task move between the calls of one refresh.
func TestCensusSkewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(20 * time.Second)
				h.ServeHTTP(w, r)
			})
		}))
		const n = 5000
		b.addTask(northboundtest.Scripted(n, 1, northboundtest.Profile{
			Duration: 10 * time.Minute,
			Outcomes: []northboundtest.Outcome{{Share: .3, Status: "Fail", Code: "100428"}},
		}))
		c := newCensus()
		for range 20 {
			s, err := b.refresh(t.Context(), c, defaults, 2)
			if err != nil {
				t.Fatal(err)
			}
			if err := sane(s, n); err != nil {
				t.Fatal(err)
			}
			for _, sc := range s.Subtasks {
				if sc.Status == census.StatusOther && sc.Count > 0 {
					t.Fatalf("%d subtasks in no status, though all have one", sc.Count)
				}
			}
		}
		if diff := cmp.Diff(b.truth(), shown(b.mustRefresh(t, c))); diff != "" {
			t.Errorf("in the end (-truth +shown):\n%s", diff)
		}
	})
}

func TestCallsOfARefresh(t *testing.T) {
	failures := func(n, failed int) northboundtest.Rows {
		rows := make(northboundtest.Rows, n)
		for i := range rows {
			rows[i] = northboundtest.Subtask{Status: "Success"}
			if i < failed {
				rows[i] = northboundtest.Subtask{Status: "Fail", Code: "100428"}
			} else if i%10 == 0 {
				rows[i].Status = "Pending"
			}
		}
		return rows
	}
	move := func(b *bench, from, n int) {
		for i := range n {
			b.SetStatus(taskID, from+10*i, "Fail", "100431")
		}
	}
	tests := map[string]struct {
		rows                         northboundtest.Rows
		first, second, moved, atRest int // calls at most
	}{
		"one page":       {failures(250, 10), 1, 1, 1, 1},
		"two pages":      {failures(500, 10), 2, 2, 2, 2},
		"1,000":          {failures(1000, 10), 5, 2, 3, 2},
		"30,000":         {failures(30000, 300), 8, 2, 4, 2},
		"30,000, failed": {failures(30000, 29000), 8 + 116, 2, 4, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.addTask(test.rows)
			c := newCensus()
			check := func(what string, most int) {
				t.Helper()
				b.ResetCalls()
				s := b.mustRefresh(t, c)
				if diff := cmp.Diff(b.truth(), shown(s)); diff != "" {
					t.Errorf("%s (-truth +shown):\n%s", what, diff)
				}
				if calls := len(b.Calls()); calls > most {
					t.Errorf("%s: %d calls, want at most %d", what, calls, most)
					for _, c := range b.Calls() {
						t.Log(c.Operation, c.RawQuery, c.Status, c.ErrorCode, c.Rows)
					}
				}
			}
			check("first", test.first)
			check("second", test.second)
			move(b, len(test.rows)-len(test.rows)%10-100, 5)
			check("moved", test.moved)
			check("at rest", test.atRest)
		})
	}
}

func TestFinished(t *testing.T) {
	tests := map[string]struct {
		rows northboundtest.Subtasks
		want bool
	}{
		"empty":        {nil, false},
		"all final":    {northboundtest.Uniform(10, northboundtest.Subtask{Status: "Timeout"}), true},
		"large, final": {northboundtest.Uniform(2000, northboundtest.Subtask{Status: "Fail", Code: "1"}), true},
		"one pending":  {append(northboundtest.Rows{{Status: "Pending"}}, northboundtest.Subtask{Status: "Fail"}), false},
		"one waiting":  {northboundtest.Rows{{Status: "WaitResult"}}, false},
		"odd":          {northboundtest.Rows{{Status: "Cancelled"}}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.addTask(test.rows)
			c := newCensus()
			if got := b.mustRefresh(t, c).Finished; got != test.want {
				t.Errorf("Finished = %v, want %v", got, test.want)
			}
		})
	}
	t.Run("not before its rows are read", func(t *testing.T) {
		b := newBench(t)
		b.addTask(northboundtest.Uniform(2000, northboundtest.Subtask{Status: "Fail", Code: "1"}))
		s, err := b.refresh(t.Context(), newCensus(), defaults, 0)
		if err != nil {
			t.Fatal(err)
		}
		if s.Finished || s.Unread == 0 {
			t.Errorf("Finished = %v with %d unread", s.Finished, s.Unread)
		}
	})
}

func TestNarrowedQueries(t *testing.T) {
	index := 3
	queries := map[string]northbound.TaskDetailsQuery{
		"Fail":                  {Status: northbound.StatusFail},
		"Timeout":               {Status: northbound.StatusTimeout},
		"Success":               {Status: northbound.StatusSuccess},
		"Pending":               {Status: northbound.StatusPending},
		"WaitResult":            {Status: northbound.StatusWaitResult},
		"index":                 {Index: &index},
		"index, another status": {Index: &index, Status: northbound.StatusFail},
	}
	platforms := map[string][]northboundtest.Option{
		"as documented":      nil,
		"WaitResult refused": {northboundtest.WithoutWaitResultFilter()},
		"pages refused":      {northboundtest.WithMaxPageSize(25)},
	}
	for platform, opts := range platforms {
		for name, query := range queries {
			t.Run(platform+"/"+name, func(t *testing.T) {
				b := newBench(t, opts...)
				b.AddTask(northboundtest.Task{ID: taskID, AppID: appID, Type: northboundtest.DeviceReg, Subtasks: mixed(3000)})
				query.TaskID = taskID
				c := census.New(query, new(census.Traits))
				for range 2 {
					s := b.mustRefresh(t, c)
					truth := b.TruthOf(taskID, northboundtest.Filter{Status: string(query.Status), Index: query.Index})
					want := numbers{maps.Clone(truth.Statuses), truth.Errors}
					if query.Status != "" {
						want.Statuses = map[string]int{string(query.Status): truth.Statuses[string(query.Status)]}
					}
					if diff := cmp.Diff(want, shown(s)); diff != "" {
						t.Fatalf("(-truth +shown):\n%s", diff)
					}
				}
			})
		}
	}
}

func TestUndocumentedStatuses(t *testing.T) {
	odd := func(n int, kinds ...string) northboundtest.Rows {
		rows := make(northboundtest.Rows, n)
		for i := range rows {
			rows[i].Status = "Success"
			if i%50 == 7 {
				rows[i].Status = kinds[i/50%len(kinds)]
			}
		}
		return rows
	}
	many := make([]string, 14)
	for i := range many {
		many[i] = fmt.Sprintf("Odd%02d", i)
	}
	for _, n := range []int{200, 1000, 30000} {
		t.Run(fmt.Sprintf("%d subtasks, one status", n), func(t *testing.T) {
			b := newBench(t)
			b.addTask(odd(n, "Cancelled"))
			c := newCensus()
			for range 3 {
				s := b.mustRefresh(t, c)
				if err := sane(s, n); err != nil {
					t.Fatal(err)
				}
				if got, want := shown(s).Statuses["Cancelled"]+shown(s).Statuses["other"], n/50; got != want {
					t.Errorf("%d subtasks under an odd status, want %d", got, want)
				}
			}
		})
	}
	t.Run("more than can be told apart", func(t *testing.T) {
		b := newBench(t)
		b.addTask(odd(1200, many...))
		s := b.mustRefresh(t, newCensus())
		statuses := shown(s).Statuses
		if len(statuses) != 5+10+1 || statuses["other"] == 0 {
			t.Errorf("statuses: %v", statuses)
		}
		if err := sane(s, 1200); err != nil {
			t.Error(err)
		}
	})
	t.Run("unfit for a label", func(t *testing.T) {
		b := newBench(t)
		b.addTask(northboundtest.Rows{
			{Status: "a\x00b\nc\xff"},
			{Status: strings.Repeat("x", 100_000)},
		})
		s := b.mustRefresh(t, newCensus())
		for _, sc := range s.Subtasks {
			if len(sc.Status) > 600 || strings.ContainsAny(sc.Status, "\x00\n") || !utf8.ValidString(sc.Status) {
				t.Errorf("status %q", sc.Status)
			}
		}
		if err := sane(s, 2); err != nil {
			t.Error(err)
		}
	})
}

func TestErrorCodes(t *testing.T) {
	tests := map[string]struct {
		max  int
		rows northboundtest.Rows
		want map[string]int
	}{
		"no code": {50, northboundtest.Rows{
			{Status: "Fail", Raw: raw("error", "null")},
			{Status: "Fail", Raw: raw("error", `""`)},
			{Status: "Fail", Raw: raw("error", `"device said no"`)},
			{Status: "Fail", Raw: raw("error", "")},
			{Status: "Fail", Raw: raw("error", `"{\"error_desc\":\"no\"}"`)},
		}, map[string]int{"unknown": 5}},
		"number, object, text": {50, northboundtest.Rows{
			{Status: "Fail", Raw: raw("error", `{"error_code":100428}`)},
			{Status: "Fail", Raw: raw("error", `{"error_code":"100428"}`)},
			{Status: "Fail", Raw: raw("error", `"{\"error_code\":\"100428\"}"`)},
		}, map[string]int{"100428": 3}},
		"more than are kept apart": {2, northboundtest.Rows{
			{Status: "Fail", Code: "1"},
			{Status: "Fail", Code: "2"},
			{Status: "Fail", Code: "3"},
			{Status: "Fail", Code: "4"},
			{Status: "Fail", Code: "1"},
			{Status: "Fail"},
		}, map[string]int{"1": 2, "2": 1, "other": 2, "unknown": 1}},
		"what has no code takes no code's place": {2, northboundtest.Rows{
			{Status: "Fail"},
			{Status: "Fail", Code: "1"},
			{Status: "Fail", Code: "2"},
			{Status: "Fail", Code: "3"},
			{Status: "Fail", Code: "4"},
		}, map[string]int{"1": 1, "2": 1, "other": 2, "unknown": 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.addTask(test.rows)
			c := newCensus()
			for range 2 {
				s, err := b.refresh(t.Context(), c, census.Settings{PageSize: 250, MaxErrorCodes: test.max}, 10)
				if err != nil {
					t.Fatal(err)
				}
				got := map[string]int{}
				for _, ec := range s.Errors {
					got[ec.Code] = ec.Count
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

// raw replaces one field of a row; empty text leaves the field out.
func raw(field, text string) map[string]json.RawMessage {
	if text == "" {
		return map[string]json.RawMessage{field: nil}
	}
	return map[string]json.RawMessage{field: json.RawMessage(text)}
}

func TestRowsWithoutIdentity(t *testing.T) {
	rows := make(northboundtest.Rows, 3000)
	for i := range rows {
		rows[i] = northboundtest.Subtask{Status: "Success", Raw: raw("param", "")}
		if i < 20 {
			rows[i] = northboundtest.Subtask{Status: "Fail", Code: "100428", Raw: raw("param", "")}
		}
	}
	for _, n := range []int{30, 300, 3000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b := newBench(t)
			b.addTask(rows[:n])
			if diff := cmp.Diff(b.truth(), shown(b.mustRefresh(t, newCensus()))); diff != "" {
				t.Errorf("(-truth +shown):\n%s", diff)
			}
		})
	}
}

func TestTaskBegunAnew(t *testing.T) {
	for _, n := range []int{100, 3000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b := newBench(t)
			c := newCensus()
			b.addTask(northboundtest.Uniform(n, northboundtest.Subtask{Status: "Fail", Code: "1"}))
			b.mustRefresh(t, c)
			b.addTask(northboundtest.Uniform(n/2, northboundtest.Subtask{Status: "Fail", Code: "2"}))
			if diff := cmp.Diff(b.truth(), shown(b.mustRefresh(t, c))); diff != "" {
				t.Errorf("(-truth +shown):\n%s", diff)
			}
		})
	}
}

// TestLies: what cannot be true is not shown, and no lie makes the census ask
// for ever.
func TestLies(t *testing.T) {
	growing := 0
	tests := map[string]struct {
		lie     northboundtest.Option
		n       int
		refused bool // no numbers at all
		unread  bool // numbers, but not all error codes
	}{
		"no totalCount":                {northboundtest.LieNoTotalCount(), 100, true, false},
		"no totalCount, large":         {northboundtest.LieNoTotalCount(), 3000, true, false},
		"empty first page":             {northboundtest.LieEmptyPage(0), 100, true, false},
		"empty first page, large":      {northboundtest.LieEmptyPage(0), 3000, true, false},
		"empty second page":            {northboundtest.LieEmptyPage(1), 1000, true, false},
		"empty second page, large":     {northboundtest.LieEmptyPage(1), 3000, false, true},
		"duplicate rows":               {northboundtest.LieDuplicateRows(), 100, true, false},
		"duplicate rows, large":        {northboundtest.LieDuplicateRows(), 30000, false, true},
		"a row in place of another":    {sameRow, 100, false, true},
		"totals too large":             {northboundtest.LieTotalCount(func(_ url.Values, n int) int { return n + 5 }), 100, true, false},
		"totals too small":             {northboundtest.LieTotalCount(func(_ url.Values, n int) int { return n / 2 }), 100, true, false},
		"totals ignore the filter":     {northboundtest.LieTotalCount(func(url.Values, int) int { return 3000 }), 3000, true, false},
		"totals grow with every call":  {northboundtest.LieTotalCount(func(_ url.Values, n int) int { growing++; return n + growing }), 3000, false, true},
		"status filter answers others": {northboundtest.LieRows(func(_ url.Values, rows []int) []int { return rows[:len(rows)/2] }), 3000, false, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, test.lie)
			b.addTask(mixed(test.n))
			c := newCensus()
			var last error
			for range 3 {
				b.ResetCalls()
				s, err := b.refresh(t.Context(), c, defaults, 20)
				if calls := len(b.Calls()); calls > 30 {
					t.Errorf("%d calls for one refresh", calls)
				}
				last = err
				if err != nil {
					continue
				}
				sum := 0
				for _, sc := range s.Subtasks {
					sum += sc.Count
				}
				if err := sane(s, sum); err != nil {
					t.Error(err)
				}
				if test.unread != (s.Unread > 0) {
					t.Errorf("%d unread", s.Unread)
				}
			}
			if refused := errors.Is(last, census.ErrContradiction); refused != test.refused {
				t.Errorf("err = %v, want a contradiction: %v", last, test.refused)
			}
			pages := 0
			for ; c.Unread(); pages++ {
				if _, err := c.ReadRows(t.Context(), b.client); err != nil {
					break
				}
				if pages > 2000 {
					t.Fatal("never gives up")
				}
			}
		})
	}
}

var sameRow = northboundtest.LieRows(func(_ url.Values, rows []int) []int {
	for i, row := range rows {
		if row == 4 { // failed, and the same as the row 13
			rows[i] = 13
		}
	}
	return rows
})

func TestPlatformErrors(t *testing.T) {
	b := newBench(t)
	c := newCensus()
	if _, err := c.Count(t.Context(), b.client, defaults); !errors.Is(err, northbound.ErrTaskNotFound) {
		t.Errorf("unknown task: %v", err)
	}
	if c.Snapshot() != nil {
		t.Error("a snapshot of nothing")
	}
	b.addTask(mixed(3000))
	want := shown(b.mustRefresh(t, c))
	b.RemoveTask(taskID)
	if _, err := c.Count(t.Context(), b.client, defaults); !errors.Is(err, northbound.ErrTaskNotFound) {
		t.Errorf("removed task: %v", err)
	}
	if diff := cmp.Diff(want, shown(c.Snapshot())); diff != "" {
		t.Errorf("the last numbers were lost:\n%s", diff)
	}
}

func TestDescribe(t *testing.T) {
	for _, n := range []int{10, 3000} {
		b := newBench(t)
		b.addTask(mixed(n))
		c := newCensus()
		b.mustRefresh(t, c)
		if c.Nameless() {
			if _, err := c.Describe(t.Context(), b.client); err != nil {
				t.Fatal(err)
			}
		}
		if s := c.Snapshot(); s.TaskName != "firmware" || s.TaskType != northboundtest.DeviceCmd {
			t.Errorf("%d subtasks: name %q, type %q", n, s.TaskName, s.TaskType)
		}
	}
}

// TestRecheckOfFinishedTask: while the task's own totals say the same, one call
// shows that a finished task is as it was.
func TestRecheckOfFinishedTask(t *testing.T) {
	b := newBench(t)
	rows := make(northboundtest.Rows, 3000)
	for i := range rows {
		rows[i] = northboundtest.Subtask{Status: "Success"}
		if i%10 == 0 {
			rows[i] = northboundtest.Subtask{Status: "Fail", Code: "100428"}
		}
	}
	b.addTask(rows)
	c := newCensus()
	b.mustRefresh(t, c)
	b.ResetCalls()
	if s := b.mustRefresh(t, c); !s.Finished || len(b.Calls()) != 1 {
		t.Errorf("finished: %v, after %d calls", s.Finished, len(b.Calls()))
	}
	b.SetStatus(taskID, 1, "Pending", "") // somebody has it done again
	b.SetStatus(taskID, 2, "Fail", "100431")
	for range 2 {
		if diff := cmp.Diff(b.truth(), shown(b.mustRefresh(t, c))); diff != "" {
			t.Errorf("(-truth +shown):\n%s", diff)
		}
	}
}
