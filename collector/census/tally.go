package census

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"huawei_iot_batch_exporter/collector/northbound"
)

// maxSweeps is how often all pages are read in search of a row before the search
// is given up. Where rows are shuffled between calls, a row stays unseen through
// a sweep with a chance of 1 in e.
const maxSweeps = 8

// maxEmpty is how many pages may come empty, one after the other, that should
// hold rows.
const maxEmpty = 3

// tally counts the rows of one final status by error code. A row once read is
// never read again, since it cannot change; its identity is kept as a hash of 8
// bytes, so that 30,000 failures take 240 kB.
//
// No document tells the order of rows. New ones are looked for from the end of
// the list where the last were found, then from the other, page by page towards
// the middle.
type tally struct {
	count     int            // rows that there are, as the platform last said
	seen      []uint64       // identities of the rows counted in codes, ascending
	anonymous int            // rows counted in codes that have no identity
	codes     map[string]int // rows by error code

	sweeping  bool
	low, high int  // pages not read yet in this sweep
	fromHigh  bool // the end where new rows were found last
	fruitless int  // pages read in a row that held nothing new
	empty     int  // pages in a row that held nothing at all
}

func (t *tally) read() int   { return len(t.seen) + t.anonymous }
func (t *tally) unread() int { return t.count - t.read() }

// wanting tells whether rows are unread and worth looking for.
func (t *tally) wanting(size int) bool {
	return t.unread() > 0 && !t.exhausted(size)
}

func (t *tally) exhausted(size int) bool {
	return t.empty >= maxEmpty || t.fruitless >= maxSweeps*pages(t.count, size)
}

// next is the page where an unread row is likeliest.
func (t *tally) next(size int) int {
	last := pages(t.count, size) - 1
	if !t.sweeping || t.low > t.high || t.high > last {
		t.sweeping, t.low, t.high = true, 0, last
	}
	if t.fromHigh {
		return t.high
	}
	return t.low
}

// absorb counts the rows of a page that were not read before.
func (t *tally) absorb(status northbound.Status, page, size int, d *northbound.TaskDetails, maxCodes int) {
	grown := d.TotalCount > t.count
	if d.TotalCount < t.count {
		*t = tally{} // final rows never vanish: the list was begun anew
	}
	if d.TotalCount != t.count {
		t.fruitless, t.empty = 0, 0
	}
	t.count = d.TotalCount
	before := t.read()
	if page == 0 && len(d.Subtasks) == t.count {
		t.recount(status, d.Subtasks, maxCodes)
		t.count = d.TotalCount
	} else {
		t.add(status, d.Subtasks, maxCodes)
	}
	t.advance(page, t.read() > before, len(d.Subtasks) == 0)
	if last := pages(t.count, size) - 1; grown && t.sweeping && last > t.high {
		// The list has become longer than it was thought to be: its new end may
		// be what was looked for.
		t.high, t.fromHigh = last, t.fromHigh || page > 0
	}
}

// advance moves the sweep past a page that was read.
func (t *tally) advance(page int, found, empty bool) {
	if t.unread() <= 0 {
		t.sweeping, t.fruitless, t.empty = false, 0, 0
		return
	}
	switch page {
	case t.low:
		t.low++
	case t.high:
		t.high--
	}
	if found {
		t.fruitless, t.empty = 0, 0
		return
	}
	t.fruitless++
	t.fromHigh = !t.fromHigh
	if empty {
		t.empty++
	} else {
		t.empty = 0
	}
}

// add counts the rows whose identity is new.
func (t *tally) add(status northbound.Status, rows []northbound.Subtask, maxCodes int) {
	var fresh []uint64
	for _, row := range rows {
		id, ok := identity(row.Param)
		if !ok || row.Status != status {
			continue
		}
		if _, known := slices.BinarySearch(t.seen, id); known || slices.Contains(fresh, id) {
			continue
		}
		fresh = append(fresh, id)
		t.put(row.Error.Code, maxCodes)
	}
	t.seen = merge(t.seen, fresh)
}

// recount counts anew from all rows there are. Codes that have a label keep it.
func (t *tally) recount(status northbound.Status, rows []northbound.Subtask, maxCodes int) {
	t.count, t.seen, t.anonymous = 0, nil, 0
	for code := range t.codes {
		t.codes[code] = 0
	}
	for _, row := range rows {
		if row.Status != status {
			continue
		}
		t.count++
		if _, ok := identity(row.Param); !ok {
			t.anonymous++
			t.put(row.Error.Code, maxCodes)
		}
	}
	t.add(status, rows, maxCodes)
}

// put counts one row under its error code, or under CodeOther where there are
// too many.
func (t *tally) put(code string, maxCodes int) {
	if code == "" {
		code = CodeUnknown
	}
	code = Label(code)
	if t.codes == nil {
		t.codes = make(map[string]int)
	}
	if _, ok := t.codes[code]; !ok && code != CodeUnknown && t.distinct() >= maxCodes {
		code = CodeOther
	}
	t.codes[code]++
}

// distinct is the number of codes that have a label of their own.
func (t *tally) distinct() int {
	n := len(t.codes)
	for _, code := range []string{CodeUnknown, CodeOther} {
		if _, ok := t.codes[code]; ok {
			n--
		}
	}
	return n
}

// Unread tells whether there are rows left whose error code was not read yet,
// and that are worth looking for.
func (c *Census) Unread() bool {
	_, ok := c.nextFailed()
	return ok
}

// Fruitless tells whether the search for unread rows has gone through every page
// at least once without finding them all.
func (c *Census) Fruitless() bool {
	status, ok := c.nextFailed()
	return ok && c.failed[status].fruitless >= c.pages(c.failed[status].count)
}

// ReadRows reads one more page of rows whose error code is not known yet, if
// there are any. It fails with the platform's error or with [ErrContradiction].
func (c *Census) ReadRows(ctx context.Context, p Platform) (*Snapshot, error) {
	status, ok := c.nextFailed()
	if !ok {
		return c.snapshot, nil
	}
	if err := c.readFailed(ctx, p, status); err != nil {
		c.restoreCounts()
		return nil, err
	}
	r := c.reading.clone()
	c.takeCounts(&r)
	if !c.wholeTask() {
		r.total = r.counts[status]
	}
	if err := r.balance(); err != nil {
		c.audit = true
		c.restoreCounts()
		return nil, err
	}
	c.reading = r
	c.snapshot = c.makeSnapshot()
	return c.snapshot, nil
}

// nextFailed is the status of which rows are to be read next.
func (c *Census) nextFailed() (northbound.Status, bool) {
	fail, timeout := c.failed[northbound.StatusFail], c.failed[northbound.StatusTimeout]
	size := c.rowsPerPage()
	switch {
	case timeout.wanting(size) && (!fail.wanting(size) || timeout.fruitless < fail.fruitless):
		return northbound.StatusTimeout, true
	case fail.wanting(size):
		return northbound.StatusFail, true
	default:
		return "", false
	}
}

func (c *Census) readFailed(ctx context.Context, p Platform, status northbound.Status) error {
	t := c.failed[status]
	no := t.next(c.rowsPerPage())
	d, err := c.fullPage(ctx, p, status, no)
	if err != nil {
		return err
	}
	t.absorb(status, no, c.rowsPerPage(), d, c.settings.MaxErrorCodes)
	if t.unread() < 0 {
		return fmt.Errorf("%w: totalCount of %s is %d, but %d rows came", ErrContradiction, status, t.count, t.read())
	}
	return nil
}

// seed makes identities differ between processes, so that nobody can make two
// rows look alike.
var seed = maphash.MakeSeed()

// identity is what tells a row from the others; not ok where it has nothing.
func identity(p northbound.Param) (uint64, bool) {
	return maphash.Comparable(seed, p), p != northbound.Param{}
}

// merge adds fresh identities to ascending ones.
func merge(seen, fresh []uint64) []uint64 {
	slices.Sort(fresh)
	i, j := len(seen)-1, len(fresh)-1
	seen = append(seen, fresh...)
	for k := len(seen) - 1; j >= 0; k-- {
		if i >= 0 && seen[i] > fresh[j] {
			seen[k] = seen[i]
			i--
		} else {
			seen[k] = fresh[j]
			j--
		}
	}
	return seen
}

// distinct are rows of several pages, each once.
type distinct struct {
	rows      []northbound.Subtask
	at        map[uint64]int
	anonymous int
}

func (d *distinct) add(rows []northbound.Subtask) {
	if d.at == nil {
		d.at = make(map[uint64]int, len(rows))
	}
	for _, row := range rows {
		id, ok := identity(row.Param)
		if !ok {
			d.anonymous++
			d.rows = append(d.rows, row)
			continue
		}
		if i, met := d.at[id]; met {
			d.rows[i] = row
			continue
		}
		d.at[id] = len(d.rows)
		d.rows = append(d.rows, row)
	}
}
