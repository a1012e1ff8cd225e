package census

import (
	"context"
	"fmt"
	"slices"

	"huawei_iot_batch_exporter/collector/northbound"
)

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
		if no > 0 {
			return c.countAll(ctx, p)
		}
	}
	if pages := c.pagesOf(first); pages > maxPaged || c.shaky || pages > 2 && c.counted {
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
	pages := c.pagesOf(first)
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

// pagesOf is how many pages hold all rows: one, if that came with all of them,
// whatever was asked for.
func (c *Census) pagesOf(first *northbound.TaskDetails) int {
	if len(first.Subtasks) == first.TotalCount {
		return 1
	}
	return c.pages(first.TotalCount)
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
	if c.audit {
		r.other = max(0, remainder)
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
