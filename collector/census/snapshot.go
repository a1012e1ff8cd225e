package census

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"huawei_iot_batch_exporter/collector/northbound"
)

// Error codes that stand for something else than a code of the platform.
const (
	CodeUnknown = "unknown" // the platform gave no code
	CodeUnread  = "unread"  // counted, but the row has not been read yet
	CodeOther   = "other"   // one of more codes than are kept apart
)

// StatusOther stands for undocumented statuses that have no name yet, or of
// which there are too many.
const StatusOther = "other"

// Snapshot is what is known of a task's subtasks at one moment. It never changes.
type Snapshot struct {
	Total    int           // subtasks; the sum of Subtasks
	Subtasks []StatusCount // the documented statuses in the order of a subtask's life, then others; just one under a status filter
	Errors   []ErrorCount  // what failed and timed out by error code; only what is not zero; adds up to the status' count
	Unread   int           // failed and timed-out subtasks whose code was not read yet
	Finished bool          // every subtask is final, and nothing is left to read
	TaskName string        // empty until the platform was asked
	TaskType string
	Remarks  []string // what the numbers suffer from, in words
}

// StatusCount is the number of subtasks in one status.
type StatusCount struct {
	Status string
	Count  int
}

// ErrorCount is the number of subtasks in one status with one error code.
type ErrorCount struct {
	Status string
	Code   string
	Count  int
}

// Count is the number of subtasks in a status.
func (s *Snapshot) Count(status northbound.Status) int {
	for _, sc := range s.Subtasks {
		if sc.Status == string(status) {
			return sc.Count
		}
	}
	return 0
}

func (c *Census) makeSnapshot() *Snapshot {
	s := &Snapshot{
		Finished: c.Finished(),
		TaskName: c.name,
		TaskType: c.typ,
	}
	if c.query.Status != "" {
		s.Subtasks = []StatusCount{{string(c.query.Status), c.reading.counts[c.query.Status]}}
	} else {
		s.Subtasks = c.statusCounts()
	}
	for _, sc := range s.Subtasks {
		s.Total += sc.Count
		if t := c.failed[northbound.Status(sc.Status)]; t != nil {
			s.Errors = append(s.Errors, t.errorCounts(sc.Status)...)
			s.Unread += t.unread()
		}
	}
	s.Remarks = c.remarks()
	return s
}

func (c *Census) statusCounts() []StatusCount {
	counts := make([]StatusCount, 0, 5)
	for _, status := range northbound.Statuses() {
		counts = append(counts, StatusCount{string(status), c.reading.counts[status]})
	}
	for _, status := range c.reading.odd() {
		counts = append(counts, StatusCount{string(status), c.reading.counts[status]})
	}
	if c.reading.other > 0 {
		counts = append(counts, StatusCount{StatusOther, c.reading.other})
	}
	return counts
}

func (t *tally) errorCounts(status string) []ErrorCount {
	var counts []ErrorCount
	for code, n := range t.codes {
		if n > 0 && code != CodeUnread {
			counts = append(counts, ErrorCount{status, code, n})
		}
	}
	if unread := t.unread() + t.codes[CodeUnread]; unread > 0 {
		counts = append(counts, ErrorCount{status, CodeUnread, unread})
	}
	slices.SortFunc(counts, func(a, b ErrorCount) int { return strings.Compare(a.Code, b.Code) })
	return counts
}

func (c *Census) remarks() []string {
	var remarks []string
	for _, status := range []northbound.Status{northbound.StatusFail, northbound.StatusTimeout} {
		t := c.failed[status]
		if t.unread() > 0 && t.exhausted(c.rowsPerPage()) {
			remarks = append(remarks, "some rows of "+string(status)+" never came, though totalCount counts them; their error codes stay unread")
		}
	}
	if c.witness.broken {
		remarks = append(remarks, "the totals of tasks/{taskId} do not go with the subtasks and are not used")
	}
	if c.reading.other > 0 {
		remarks = append(remarks, "some subtasks are in a status that no document names")
	}
	return remarks
}

// Finished tells whether every subtask is final and nothing is left to read.
func (c *Census) Finished() bool { return c.settled() && !c.Unread() }

// Nameless tells whether the task's name and type are not known, and may be
// asked for.
func (c *Census) Nameless() bool { return !c.described && c.namelessFor == 0 }

// Describe asks for the task's name and type, which cost a call of their own
// and are worth waiting with. A platform that cannot tell is not asked again
// for a while.
func (c *Census) Describe(ctx context.Context, p Platform) (*Snapshot, error) {
	task, err := p.Task(ctx, northbound.TaskQuery{TaskID: c.query.TaskID, AppID: c.query.AppID})
	switch {
	case err == nil:
		c.describe(task)
	case unanswered(err):
		c.namelessFor = auditEvery
	default:
		return nil, err
	}
	if c.snapshot != nil {
		named := *c.snapshot
		named.TaskName, named.TaskType = c.name, c.typ
		c.snapshot = &named
	}
	return c.snapshot, nil
}

func (c *Census) describe(t *northbound.Task) {
	c.described, c.name, c.typ = true, Label(t.TaskName), Label(t.TaskType)
}

// maxLabel is the length of a label value in runes: far more than a status, a
// code or a name has, and little enough for a platform gone mad.
const maxLabel = 128

// Label makes text from the platform fit for a label value: valid, on one line,
// nothing in it that hides or turns round what is beside it, and not endless.
func Label(s string) string {
	if len(s) > maxLabel*utf8.UTFMax {
		s = s[:maxLabel*utf8.UTFMax]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(strings.TrimSpace(s), string(utf8.RuneError)))
	if utf8.RuneCountInString(s) > maxLabel {
		s = string([]rune(s)[:maxLabel-1]) + "…"
	}
	return s
}
