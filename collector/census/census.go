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
	"maps"
	"slices"

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

// reading is the outcome of one count.
type reading struct {
	total  int
	counts map[northbound.Status]int
	other  int // subtasks in none of the statuses in counts
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
	if c.settled() && c.Unread() && c.since < auditEvery {
		c.since++
		return c.reading, nil // only rows are left to read
	}
	if c.counted && !c.small() && !c.audit && c.since < auditEvery && !c.settled() {
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
	return c.counted && c.wholeTask() && c.reading.total > 0 && c.reading.finals() == c.reading.total
}

// wholeTask tells whether subtasks in every status are counted.
func (c *Census) wholeTask() bool { return c.query.Status == "" || c.derived() }

// derived tells whether the one status asked for must be worked out from the
// others, because the platform refuses it as a filter.
func (c *Census) derived() bool {
	return c.query.Status == northbound.StatusWaitResult && c.traits.refusesWaitResult.Load()
}

// small tells whether the task is best read row by row each time.
func (c *Census) small() bool {
	return c.pages(c.reading.total) <= 2 && !c.shaky
}

// countOne counts the one status that the query is narrowed to.
func (c *Census) countOne(ctx context.Context, p Platform) (reading, error) {
	status := c.query.Status
	n, err := c.countStatus(ctx, p, status)
	if err != nil {
		return reading{}, err
	}
	return reading{total: n, counts: map[northbound.Status]int{status: n}}, nil
}

// countAll counts everything anew.
func (c *Census) countAll(ctx context.Context, p Platform) (reading, error) {
	no := 0
	if pages := c.pages(c.reading.total); c.reading.other > 0 && pages > maxPaged {
		// Statuses without a name hide in rows that were not seen yet.
		c.sampled++
		no = c.sampled % pages
	}
	first, err := c.fullPage(ctx, p, "", no)
	if err != nil {
		return reading{}, err
	}
	if rows := len(first.Subtasks); no == 0 && rows == 0 && first.TotalCount > 0 || rows > first.TotalCount {
		return reading{}, fmt.Errorf("%w: totalCount is %d, but %d rows came", ErrContradiction, first.TotalCount, rows)
	}
	if first.TotalCount < c.reading.total {
		// Subtasks never vanish from a task: it was begun anew.
		c.reset()
	}
	if pages := c.pages(first.TotalCount); pages > maxPaged || c.shaky || pages > 2 && c.counted {
		if err := c.readTotals(ctx, p); err != nil {
			return reading{}, err
		}
	}
	rows, complete, err := c.pageAll(ctx, p, first)
	switch {
	case err != nil:
		return reading{}, err
	case complete:
		return c.countRows(rows), nil
	default:
		return c.countStatuses(ctx, p, first)
	}
}

// pageAll reads the rows that the first page left over, where this is cheap. It
// is complete if every row was seen.
func (c *Census) pageAll(ctx context.Context, p Platform, first *northbound.TaskDetails) ([]northbound.Subtask, bool, error) {
	pages := c.pages(first.TotalCount)
	if pages > maxPaged || c.shaky {
		return nil, false, nil
	}
	rows, came := distinct{}, len(first.Subtasks)
	rows.add(first.Subtasks)
	for no := 1; no < pages; no++ {
		next, err := c.page(ctx, p, "", no, c.rowsPerPage())
		if err != nil {
			return nil, false, err
		}
		if next.TotalCount != first.TotalCount {
			return nil, false, nil // the task is growing: no page is like the one before
		}
		rows.add(next.Subtasks)
		came += len(next.Subtasks)
	}
	if came != first.TotalCount {
		return nil, false, fmt.Errorf("%w: totalCount is %d, but %d rows came on %d pages", ErrContradiction, first.TotalCount, came, pages)
	}
	c.shaky = len(rows.rows) != came || rows.anonymous > 0 && pages > 1
	return rows.rows, !c.shaky, nil
}

// countRows counts a task of which all rows were read.
func (c *Census) countRows(rows []northbound.Subtask) reading {
	r := reading{total: len(rows), counts: make(map[northbound.Status]int, 5)}
	c.learnOdd(rows)
	for _, row := range rows {
		if c.known(row.Status) {
			r.counts[row.Status]++
		} else {
			r.other++
		}
	}
	for status, t := range c.failed {
		t.recount(status, rows, c.settings.MaxErrorCodes)
	}
	c.audit = false
	return r
}

// countStatuses counts a task too large to be read, status by status.
func (c *Census) countStatuses(ctx context.Context, p Platform, first *northbound.TaskDetails) (reading, error) {
	c.learnOdd(first.Subtasks)
	r := reading{total: first.TotalCount, counts: make(map[northbound.Status]int, 5)}
	begun := []northbound.Status{northbound.StatusPending}
	if !c.traits.refusesWaitResult.Load() {
		begun = append(begun, northbound.StatusWaitResult)
	}
	statuses := slices.Concat(begun, failedFirst, c.odd)
	if c.witness.complete() {
		// Then the final ones are likely to be all that there is.
		if err := c.ask(ctx, p, &r, failedFirst); err != nil {
			return reading{}, err
		}
		statuses = slices.Concat(begun, c.odd)
		if r.finals() == r.total {
			statuses = nil
		}
	}
	if err := c.ask(ctx, p, &r, statuses); err != nil {
		return reading{}, err
	}
	_, waitResultAsked := r.counts[northbound.StatusWaitResult]
	remainder := r.total - r.sum()
	if remainder < 0 && r.same(c.unbalanced) {
		return reading{}, fmt.Errorf("%w: nothing moves, yet the statuses add up to %d of %d subtasks", ErrContradiction, r.sum(), r.total)
	}
	c.unbalanced = r.clone()
	c.audit = waitResultAsked && remainder != 0
	if c.audit && remainder > 0 {
		r.other = remainder
	}
	return r, r.balance()
}

// ask counts the given statuses. What the platform refuses as a filter stays in
// the remainder.
func (c *Census) ask(ctx context.Context, p Platform, r *reading, statuses []northbound.Status) error {
	for _, status := range statuses {
		n, err := c.countStatus(ctx, p, status)
		switch {
		case filterRefused(err) && status == northbound.StatusWaitResult:
			c.traits.refusesWaitResult.Store(true)
		case filterRefused(err) && !documented(status):
		case err != nil:
			return err
		default:
			r.counts[status] = n
		}
	}
	return nil
}

// countMoved counts what moved since the last reading, as far as the task's own
// totals can be trusted to tell. It is not ok where they cannot.
func (c *Census) countMoved(ctx context.Context, p Platform) (_ reading, ok bool, err error) {
	if len(c.odd) > 0 || c.reading.other > 0 || c.reading.finals() == 0 {
		return reading{}, false, nil
	}
	if err := c.readTotals(ctx, p); err != nil {
		return reading{}, false, err
	}
	if !c.witness.vouches(c.reading) {
		return reading{}, false, nil
	}
	r := c.reading.clone()
	ask := func(status northbound.Status) {
		if err == nil {
			r.counts[status], err = c.countStatus(ctx, p, status)
		}
	}
	// A status that can only shrink and is 0 stays 0.
	if r.counts[northbound.StatusPending] > 0 {
		ask(northbound.StatusPending)
	}
	for _, status := range failedFirst {
		if c.witness.moved(status) {
			ask(status)
		}
	}
	if err != nil {
		return reading{}, false, err
	}
	c.takeCounts(&r)
	r.counts[northbound.StatusWaitResult] = 0
	return r, true, r.balance()
}

// takeCounts takes over what the pages of failed rows said last.
func (c *Census) takeCounts(r *reading) {
	for status, t := range c.failed {
		if c.wholeTask() || status == c.query.Status {
			r.counts[status] = t.count
		}
	}
}

// restoreCounts has the tallies agree with the last reading again. What was read
// meanwhile stays read, unless it is more than there is.
func (c *Census) restoreCounts() {
	for status, t := range c.failed {
		if t.count = c.reading.counts[status]; t.unread() < 0 {
			*t = tally{count: t.count}
		}
	}
}

// countStatus counts the subtasks in one status. For those that failed it reads
// a page of them along, where new ones are likeliest.
func (c *Census) countStatus(ctx context.Context, p Platform, status northbound.Status) (int, error) {
	if t := c.failed[status]; t != nil {
		err := c.readFailed(ctx, p, status)
		return t.count, err
	}
	d, err := c.page(ctx, p, status, 0, 1)
	if err != nil {
		return 0, err
	}
	if len(d.Subtasks) > 0 && d.Subtasks[0].Status != status {
		return 0, fmt.Errorf("%w: asked for %s, it sent %s", errFilterIgnored, status, Label(string(d.Subtasks[0].Status)))
	}
	return d.TotalCount, nil
}

// readTotals reads what the task says of itself: its name, its type, and the
// totals that may vouch for the next count. Where the platform cannot answer,
// the census does without.
func (c *Census) readTotals(ctx context.Context, p Platform) error {
	if c.narrowed() || !c.witness.wanted() {
		return nil
	}
	task, err := p.Task(ctx, northbound.TaskQuery{TaskID: c.query.TaskID, AppID: c.query.AppID})
	switch {
	case err == nil:
		c.witness.call(task)
		c.describe(task)
	case unanswered(err):
		c.namelessFor = auditEvery
		c.witness.silence()
	default:
		return err
	}
	return nil
}

// narrowed tells whether the query leaves out some subtasks, so that the task's
// totals say nothing of those that are counted.
func (c *Census) narrowed() bool {
	q := c.query
	return q.Index != nil || q.NodeID != "" || q.DeviceID != "" || q.CommandID != ""
}

// page asks for one page of the rows in a status; the empty status means all
// that match the query.
func (c *Census) page(ctx context.Context, p Platform, status northbound.Status, no, size int) (*northbound.TaskDetails, error) {
	q := c.query
	q.Status = status
	q.Page = &northbound.Page{No: no, Size: size}
	d, err := p.TaskDetails(ctx, q)
	if err != nil {
		return nil, err
	}
	if d.TotalCount < 0 {
		return nil, fmt.Errorf("%w: without totalCount an answer does not tell whether it is all", ErrContradiction)
	}
	return d, nil
}

// fullPage asks for a page of the largest size. A platform may refuse the size,
// with the code of any invalid input, or send fewer rows without a word.
func (c *Census) fullPage(ctx context.Context, p Platform, status northbound.Status, no int) (*northbound.TaskDetails, error) {
	size := c.rowsPerPage()
	start := no == 0 && (status == "" || !c.wholeTask()) // of the list of all that is counted
	if start {
		size = c.traits.pageSize(c.settings.PageSize)
	}
	d, err := c.page(ctx, p, status, no, size)
	switch {
	case err == nil:
		c.traits.accept(size)
	case errors.Is(err, northbound.ErrInvalidInput) && !c.traits.accepts(size):
		// Is it the size that is refused, or the task? A smaller page tells; to
		// learn that it is the task does not have to cost that much each time.
		try := c.refused%auditEvery == 0
		c.refused++
		if try {
			size, d, err = c.smallerPage(ctx, p, status, size, err)
		}
	}
	if err != nil {
		return nil, err
	}
	c.refused = 0
	if start {
		c.pageRows = 0
		if rows := len(d.Subtasks); rows > 0 && rows < min(size, d.TotalCount) && (rows >= minClamp || rows == d.PageSize) {
			c.pageRows = rows // believe the rows that came, not the size asked for
		}
	}
	return d, nil
}

func (c *Census) smallerPage(ctx context.Context, p Platform, status northbound.Status, size int, refusal error) (int, *northbound.TaskDetails, error) {
	for _, smaller := range [...]int{250, 100, 25} {
		if smaller >= size {
			continue
		}
		d, err := c.page(ctx, p, status, 0, smaller)
		if err == nil {
			c.traits.refuse(size, smaller)
			return smaller, d, nil
		}
		if !errors.Is(err, northbound.ErrInvalidInput) {
			return 0, nil, err
		}
	}
	return 0, nil, refusal
}

// rowsPerPage is the number of rows to ask for, and to expect.
func (c *Census) rowsPerPage() int {
	if c.pageRows > 0 {
		return c.pageRows
	}
	return c.traits.pageSize(c.settings.PageSize)
}

func (c *Census) pages(rows int) int {
	return pages(rows, c.rowsPerPage())
}

func pages(rows, size int) int {
	return max(1, (rows+size-1)/size)
}

// learnOdd remembers statuses that no document names, if they are fit to be shown.
func (c *Census) learnOdd(rows []northbound.Subtask) {
	for _, row := range rows {
		name := string(row.Status)
		if len(c.odd) < maxOddStatuses && name != "" && name == Label(name) && name != StatusOther && !c.known(row.Status) {
			c.odd = append(c.odd, row.Status)
		}
	}
}

func (c *Census) known(s northbound.Status) bool {
	return documented(s) || slices.Contains(c.odd, s)
}

func documented(s northbound.Status) bool {
	return s.Final() || s == northbound.StatusPending || s == northbound.StatusWaitResult
}

func (r *reading) sum() int {
	n := r.other
	for _, count := range r.counts {
		n += count
	}
	return n
}

func (r *reading) finals() int {
	return r.counts[northbound.StatusSuccess] + r.counts[northbound.StatusFail] + r.counts[northbound.StatusTimeout]
}

func (r *reading) clone() reading {
	return reading{total: r.total, counts: maps.Clone(r.counts), other: r.other}
}

func (r *reading) same(other reading) bool {
	return r.total == other.total && maps.Equal(r.counts, other.counts)
}

// balance makes the statuses add up to the total: what is missing waits for its
// result, and what is too much moved on while it was counted.
func (r *reading) balance() error {
	if r.finals() > r.total {
		return fmt.Errorf("%w: %d of %d subtasks are final", ErrContradiction, r.finals(), r.total)
	}
	excess := r.sum() - r.total
	if excess < 0 {
		r.counts[northbound.StatusWaitResult] -= excess
		return nil
	}
	for _, status := range append([]northbound.Status{northbound.StatusWaitResult, northbound.StatusPending}, r.odd()...) {
		taken := min(r.counts[status], excess)
		r.counts[status] -= taken
		excess -= taken
	}
	r.other -= excess
	return nil
}

// odd are the undocumented statuses of the reading, in the order of their names.
func (r *reading) odd() []northbound.Status {
	var odd []northbound.Status
	for status := range r.counts {
		if !documented(status) {
			odd = append(odd, status)
		}
	}
	slices.Sort(odd)
	return odd
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
