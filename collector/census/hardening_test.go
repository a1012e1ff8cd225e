package census_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// A list that is one row longer in totalCount than in rows for one moment (the
// platform counts and lists in two steps) must not make the census read pages of
// that few rows for ever.
func TestShortPageIsNotBelievedForEver(t *testing.T) {
	glitch := true
	b := newBench(t, northboundtest.LieTotalCount(func(asked url.Values, n int) int {
		if glitch && asked.Get("status") == "Fail" {
			return n + 1
		}
		return n
	}))
	rows := make(northboundtest.Rows, 3000)
	for i := range rows {
		rows[i] = northboundtest.Subtask{Status: "Pending"}
		if i < 2 {
			rows[i] = northboundtest.Subtask{Status: "Fail", Code: "1"}
		}
	}
	b.addTask(rows)
	c := newCensus()
	_, _ = b.refresh(t.Context(), c, defaults, 0)
	glitch = false
	b.mustRefresh(t, c)
	for i := range 1500 {
		b.SetStatus(taskID, i, "Fail", "1")
	}
	b.ResetCalls()
	for range 3 {
		b.mustRefresh(t, c)
	}
	if calls := len(b.Calls()); calls > 40 {
		t.Errorf("%d calls to read 1,500 failures, the last: %s", calls, b.Calls()[calls-1].RawQuery)
	}
}

// ignores makes the platform take a filter that it does not know for none.
func ignores(status string) northboundtest.Option {
	return northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); q.Get("status") == status {
				q.Del("status")
				r.URL.RawQuery = q.Encode()
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				body := rec.Body.Bytes()
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write(body)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
}

// A platform that ignores a filter it does not know (rather than refuse it) must
// not have wrong numbers published.
func TestUnknownFilterIgnored(t *testing.T) {
	for _, status := range []string{"WaitResult", "Cancelled"} {
		t.Run(status, func(t *testing.T) {
			b := newBench(t, ignores(status))
			rows := make(northboundtest.Rows, 3000)
			for i := range rows {
				rows[i] = northboundtest.Subtask{Status: []string{"Success", "Pending", "WaitResult", status}[i%4]}
			}
			b.addTask(rows)
			c := newCensus()
			for i := range 4 {
				s, err := b.refresh(t.Context(), c, defaults, 10)
				if err != nil {
					t.Errorf("refresh %d: %v", i, err)
					continue
				}
				got := shown(s).Statuses
				if got["Pending"] != b.truth().Statuses["Pending"] {
					t.Errorf("refresh %d: %v, want %v", i, got, b.truth().Statuses)
				}
				b.SetStatus(taskID, 4*i+1, "Success", "") // one Pending moves on
			}
		})
	}
}

// One total that is too large for a moment, while rows of a finished task are
// read, must not have error codes published that add up to more than the status.
func TestSumsAfterALie(t *testing.T) {
	lie := false
	b := newBench(t, northboundtest.LieTotalCount(func(asked url.Values, n int) int {
		if lie && asked.Get("status") == "Fail" {
			return n + 1
		}
		return n
	}))
	b.addTask(northboundtest.Uniform(3000, northboundtest.Subtask{Status: "Fail", Code: "1"}))
	c := newCensus()
	if _, err := b.refresh(t.Context(), c, defaults, 1); err != nil {
		t.Fatal(err)
	}
	lie = true
	if _, err := c.ReadRows(t.Context(), b.client); err == nil {
		t.Fatal("the lie was not noticed")
	}
	lie = false
	s, err := c.Count(t.Context(), b.client, defaults)
	if err != nil {
		t.Fatal(err)
	}
	if err := sane(s, 3000); err != nil {
		t.Error(err)
	}
}

// A status that becomes a documented one once it is cut to a label must not
// break the sum of its error codes.
func TestStatusLikeADocumentedOne(t *testing.T) {
	b := newBench(t)
	b.addTask(northboundtest.Rows{{Status: "Fail", Code: "1"}, {Status: "Fail ", Code: "2"}, {Status: "Success"}})
	if err := sane(b.mustRefresh(t, newCensus()), 3); err != nil {
		t.Error(err)
	}
}

// Where failures vanish (somebody has them repeated) while rows are unread, what
// was read of them is void: the codes shown must be true or unread.
func TestStatusShrinksWhileUnread(t *testing.T) {
	b := newBench(t)
	rows := make(northboundtest.Rows, 3000)
	for i := range rows {
		switch {
		case i < 500:
			rows[i] = northboundtest.Subtask{Status: "Fail", Code: "A"}
		case i < 1000:
			rows[i] = northboundtest.Subtask{Status: "Fail", Code: "B"}
		default:
			rows[i] = northboundtest.Subtask{Status: "Success"}
		}
	}
	b.addTask(rows)
	c := newCensus()
	if _, err := b.refresh(t.Context(), c, defaults, 0); err != nil { // 250 rows of A are read along
		t.Fatal(err)
	}
	for i := range 500 {
		b.SetStatus(taskID, i, "Pending", "")
	}
	for range 15 {
		b.mustRefresh(t, c)
	}
	if diff := cmp.Diff(b.truth(), shown(b.mustRefresh(t, c))); diff != "" {
		t.Errorf("(-truth +shown):\n%s", diff)
	}
}

// One row with a mad status must not make a large task unreadable, because a
// proxy refuses the URL that it makes.
func TestOddStatusAsFilter(t *testing.T) {
	b := newBench(t, northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(r.URL.RawQuery) > 8192 {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(http.StatusRequestURITooLong)
				return
			}
			h.ServeHTTP(w, r)
		})
	}))
	rows := make(northboundtest.Rows, 3000)
	for i := range rows {
		rows[i] = northboundtest.Subtask{Status: "Pending"}
	}
	rows[0].Status = strings.Repeat("x", 10_000)
	b.addTask(rows)
	c := newCensus()
	for range 3 {
		if _, err := b.refresh(t.Context(), c, defaults, 10); err != nil {
			t.Errorf("%.200v", err)
		}
	}
}

// The same as for a whole task, of one narrowed to a status.
func TestShortPageUnderAFilter(t *testing.T) {
	glitch := true
	b := newBench(t, northboundtest.WithRowOrder(northboundtest.OldestFinishedFirst),
		northboundtest.LieTotalCount(func(_ url.Values, n int) int {
			if glitch {
				return n + 1
			}
			return n
		}))
	rows := make(northboundtest.Rows, 3000)
	for i := range rows {
		rows[i] = northboundtest.Subtask{Status: "Pending"}
		if i < 2 {
			rows[i] = northboundtest.Subtask{Status: "Fail", Code: "1"}
		}
	}
	b.addTask(rows)
	c := census.New(northbound.TaskDetailsQuery{TaskID: taskID, Status: northbound.StatusFail}, new(census.Traits))
	_, _ = b.refresh(t.Context(), c, defaults, 0)
	glitch = false
	for i := range 1500 {
		b.SetStatus(taskID, i, "Fail", "1")
	}
	b.ResetCalls()
	for range 3 {
		b.mustRefresh(t, c)
	}
	if calls := len(b.Calls()); calls > 40 {
		t.Errorf("%d calls to read 1,500 failures, the last: %s", calls, b.Calls()[calls-1].RawQuery)
	}
}

// A status of which more rows come than totalCount says must not have error
// codes published that add up to more than the status.
func TestMoreRowsThanTotal(t *testing.T) {
	lie := false
	b := newBench(t, northboundtest.LieTotalCount(func(asked url.Values, n int) int {
		if lie && asked.Get("status") == "Fail" {
			return n - 1
		}
		return n
	}))
	rows := make(northboundtest.Rows, 3000)
	for i := range rows {
		rows[i] = northboundtest.Subtask{Status: []string{"Pending", "Fail"}[i%100/99], Code: "1"}
	}
	b.addTask(rows)
	c := newCensus()
	b.mustRefresh(t, c)
	lie = true
	for range 12 {
		s, err := b.refresh(t.Context(), c, defaults, 10)
		if err != nil {
			if !errors.Is(err, census.ErrContradiction) {
				t.Fatal(err)
			}
			continue
		}
		if err := sane(s, 3000); err != nil {
			t.Fatal(err)
		}
	}
}
