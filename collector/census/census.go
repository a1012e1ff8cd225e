// Package census finds out how many subtasks of a batch task are in which
// status, and why those that failed did, for the fewest calls that can tell.
//
// It decides what to ask and adds up the answers. It has no clock, no goroutine
// and no network of its own: the platform is handed in.
//
// How the calls are saved:
//
//   - A task that fits in one page, or in a few, is read row by row.
//   - Of a larger one, totalCount under a status filter counts a whole status in
//     one call. WaitResult is what the total leaves over, so that a platform
//     that refuses it as a filter is no special case.
//   - Only rows of Fail and Timeout are read, for their error codes, and each
//     just once, because these statuses are final. Rows counted but not read yet
//     stand under the code [CodeUnread], so that the sums hold at every moment.
//   - The task's own totals (GET tasks/{taskId}) never become a number here. Once
//     they have proved to move as the rows do, they vouch for the final statuses
//     that did not move, and those are not asked again.
//
// The statuses are asked in the order of a subtask's life. So a subtask that
// moves on meanwhile may be counted twice, but is never missed: what is too much
// is taken from where it came, and what is missing proves a status that no
// document names.
package census

import (
	"context"
	"errors"
	"fmt"

	"huawei_iot_batch_exporter/collector/northbound"
)

// Platform is what a census asks: the two reading calls of the northbound API.
type Platform interface {
	TaskDetails(context.Context, northbound.TaskDetailsQuery) (*northbound.TaskDetails, error)
	Task(context.Context, northbound.TaskQuery) (*northbound.Task, error)
}

// Settings of a census.
type Settings struct {
	PageSize      int // rows to ask for in one call
	MaxErrorCodes int // error codes kept apart per status; the rest counts as [CodeOther]
}

// ErrContradiction is returned when the platform's answers cannot all be true,
// so that no number can be derived from them.
var ErrContradiction = errors.New("the platform's answers contradict each other")

// errFilterIgnored: the platform takes a status for none.
var errFilterIgnored = fmt.Errorf("%w: the status filter is ignored", ErrContradiction)

// filterRefused tells whether the platform cannot count a status by filter.
func filterRefused(err error) bool {
	return errors.Is(err, northbound.ErrInvalidInput) || errors.Is(err, errFilterIgnored)
}

const (
	// maxPaged is the number of pages up to which reading all rows is cheaper
	// than counting: the five statuses and the total cost six calls.
	maxPaged = 5
	// auditEvery is the number of refreshes after which everything is counted
	// anew, whatever the task's own totals say.
	auditEvery = 10
	// minClamp is the smallest page that a platform is believed to send in place
	// of a larger one without saying so; fewer rows are a slip.
	minClamp = 10
	// maxOddStatuses is how many undocumented statuses are told apart.
	maxOddStatuses = 10
)

// failedFirst are the final statuses; what alerts are made of is asked first.
var failedFirst = []northbound.Status{northbound.StatusFail, northbound.StatusTimeout, northbound.StatusSuccess}

// Census is what is known of one task. It is used by one goroutine at a time;
// the snapshots that it gives away are immutable.
type Census struct {
	query    northbound.TaskDetailsQuery
	traits   *Traits
	settings Settings

	reading  reading // the last count that worked
	counted  bool    // there is one
	snapshot *Snapshot
	calls    int // what the last Count cost

	failed   map[northbound.Status]*tally // Fail and Timeout
	odd      []northbound.Status          // undocumented statuses met so far
	pageRows int                          // rows that really come in a page; 0: as many as asked for
	shaky    bool                         // paging did not show every row: pages shift under the reader
	refused  int                          // how often a first page was refused as invalid
	sampled  int                          // pages looked through for statuses without a name

	witness    witness
	since      int     // refreshes since everything was counted
	audit      bool    // count everything next time
	unbalanced reading // the last full count as it was read

	described   bool
	namelessFor int // counts to wait before the name is asked for again
	name, typ   string
}

// New returns the census of the subtasks that match the query, whose page is
// ignored. Traits are what is known of the platform, shared by the tasks of an
// application.
func New(query northbound.TaskDetailsQuery, traits *Traits) *Census {
	query.Page = nil
	c := &Census{query: query, traits: traits}
	c.reset()
	return c
}

// reset forgets all numbers. The page size stays: it is the platform's.
func (c *Census) reset() {
	c.reading, c.counted, c.unbalanced = reading{}, false, reading{}
	c.failed = map[northbound.Status]*tally{
		northbound.StatusFail:    {},
		northbound.StatusTimeout: {},
	}
	c.odd, c.shaky = nil, false
	c.witness, c.since, c.audit = witness{}, 0, false
}

// Snapshot is the outcome of the last Count, ReadRows or Describe that worked;
// nil before the first.
func (c *Census) Snapshot() *Snapshot { return c.snapshot }

// Calls is what the last Count cost.
func (c *Census) Calls() int { return c.calls }

// Count brings the number of subtasks in each status up to date. It fails with
// the platform's error or with [ErrContradiction]; what was known before then
// stays as it was.
func (c *Census) Count(ctx context.Context, p Platform, s Settings) (*Snapshot, error) {
	if s.MaxErrorCodes != c.settings.MaxErrorCodes {
		c.reset()
	}
	if s.PageSize != c.settings.PageSize {
		c.pageRows = 0
	}
	c.settings = s
	meter := &meter{Platform: p}
	r, err := c.count(ctx, meter)
	c.calls = meter.calls
	if err != nil {
		c.witness.dismiss()
		c.restoreCounts()
		return nil, err
	}
	c.reading, c.counted = r, true
	c.namelessFor = max(0, c.namelessFor-1)
	c.witness.swear()
	c.snapshot = c.makeSnapshot()
	return c.snapshot, nil
}

func (c *Census) count(ctx context.Context, p Platform) (reading, error) {
	refusedFilter := false
	if !c.wholeTask() {
		r, err := c.countOne(ctx, p)
		refusedFilter = c.query.Status == northbound.StatusWaitResult && filterRefused(err)
		if !refusedFilter {
			return r, err
		}
	}
	if c.settled() && c.Unread() && !c.Fruitless() && c.since < auditEvery {
		c.since++
		return c.reading, nil // only rows are left to read
	}
	if !c.audit && c.since < auditEvery && c.worthComparing() {
		if r, ok, err := c.countMoved(ctx, p); ok || err != nil {
			c.since++
			return r, err
		}
	}
	c.since = 0
	r, err := c.countAll(ctx, p)
	if refusedFilter && err == nil {
		// So it was the filter that was refused, not the task.
		c.traits.refusesWaitResult.Store(true)
	}
	return r, err
}

// settled tells whether every subtask is final.
func (c *Census) settled() bool {
	return c.wholeTask() && c.reading.total > 0 && c.reading.finals() == c.reading.total
}

// wholeTask tells whether subtasks in every status are counted.
func (c *Census) wholeTask() bool { return c.query.Status == "" || c.derived() }

// derived tells whether the one status asked for must be worked out from the
// others, because the platform refuses it as a filter.
func (c *Census) derived() bool {
	return c.query.Status == northbound.StatusWaitResult && c.traits.refusesWaitResult.Load()
}

// worthComparing tells whether asking for the task's totals can save calls: not
// where all rows fit in a page, or in two of which some may have moved.
func (c *Census) worthComparing() bool {
	pages := c.pages(c.reading.total)
	return pages > 2 || c.shaky || pages == 2 && c.settled()
}

// meter counts the calls that pass through it.
type meter struct {
	Platform
	calls int
}

func (m *meter) TaskDetails(ctx context.Context, q northbound.TaskDetailsQuery) (*northbound.TaskDetails, error) {
	m.calls++
	return m.Platform.TaskDetails(ctx, q)
}

func (m *meter) Task(ctx context.Context, q northbound.TaskQuery) (*northbound.Task, error) {
	m.calls++
	return m.Platform.Task(ctx, q)
}
