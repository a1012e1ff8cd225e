package northboundtest

import (
	"fmt"
	"maps"
	"time"
)

// Statuses of subtasks. The last three are final.
const (
	Pending    = "Pending"
	WaitResult = "WaitResult"
	Success    = "Success"
	Fail       = "Fail"
	Timeout    = "Timeout"
)

var statuses = []string{Pending, WaitResult, Success, Fail, Timeout}

// Types of tasks. The type says by what the rows of a task are known.
const (
	DeviceCmd = "DeviceCmd" // deviceId and commandId
	DeviceReg = "DeviceReg" // index and nodeId
)

// Task is a batch task. Only ID and AppID are mandatory.
type Task struct {
	ID       string
	AppID    string // owner
	Name     string
	Type     string // empty: DeviceCmd
	Operator string
	From     string    // taskFrom; empty: Northbound
	Start    time.Time // zero: when it was added
	Timeout  int       // as sent; the documents name no unit
	Status   string    // of the task as a whole; empty: Pending, Running or Complete, as the subtasks are
	Param    any       // sent as JSON
	Tags     any       // sent as JSON to those who ask for it
	Subtasks Subtasks  // nil: none
}

// task is a task with the courses of its subtasks.
type task struct {
	Task
	courses  []course
	outcomes []outcome
	index    map[outcome]int
	changed  map[int]bool // positions that SetStatus changed
	params   []param      // whom the subtasks are for; nil until a filter asks for it
}

// course is what [Subtask] says of the life of a subtask, in few bytes.
type course struct {
	sent, done time.Duration
	outcome    int // index of outcomes
}

type outcome struct{ status, code string }

// Indices of the outcomes that every task has.
const (
	outcomePending = iota
	outcomeWaitResult
)

// AddTask puts a task on the platform, in place of one with the same ID. Its
// subtasks are not looked at before somebody asks for them.
func (p *Platform) AddTask(t Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.app(t.AppID) // panics if unknown
	if t.Type == "" {
		t.Type = DeviceCmd
	}
	if t.From == "" {
		t.From = "Northbound"
	}
	if t.Start.IsZero() {
		t.Start = time.Now()
	}
	if t.Subtasks == nil {
		t.Subtasks = Rows(nil)
	}
	p.tasks[t.ID] = &task{Task: t, changed: make(map[int]bool)}
}

// RemoveTask takes a task off the platform.
func (p *Platform) RemoveTask(taskID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.task(taskID) // panics if unknown
	delete(p.tasks, taskID)
}

// SetStatus changes a subtask, by its position in the task, from now on. It
// keeps the status until it is set again. code is its error code, or empty.
func (p *Platform) SetStatus(taskID string, position int, status, code string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.task(taskID)
	c := &t.courses[position]
	c.done = time.Since(t.Start)
	c.outcome = t.outcome(status, code)
	t.changed[position] = true
}

// task is the task with this ID, made ready to be read. The caller holds the lock.
func (p *Platform) task(id string) *task {
	t, ok := p.tasks[id]
	if !ok {
		panic(fmt.Sprintf("northboundtest: the platform has no task %q", id))
	}
	t.prepare()
	return t
}

// prepare reads the courses of the subtasks, once.
func (t *task) prepare() {
	if t.courses != nil {
		return
	}
	t.index = make(map[outcome]int)
	t.outcome(Pending, "")
	t.outcome(WaitResult, "")
	t.courses = make([]course, t.Subtasks.Len())
	for i := range t.courses {
		s := t.Subtasks.At(i)
		t.courses[i] = course{s.Sent, s.Done, t.outcome(s.Status, s.Code)}
	}
}

// outcome is the index of an outcome, which it adds if it is new.
func (t *task) outcome(status, code string) int {
	o := outcome{status, code}
	i, ok := t.index[o]
	if !ok {
		i = len(t.outcomes)
		t.index[o] = i
		t.outcomes = append(t.outcomes, o)
	}
	return i
}

// at is the index of what a subtask is some time after the task's start.
func (c *course) at(elapsed time.Duration) int {
	switch {
	case elapsed >= c.done:
		return c.outcome
	case elapsed >= c.sent:
		return outcomeWaitResult
	default:
		return outcomePending
	}
}

// finished tells whether a subtask has a final status.
func (t *task) finished(i int, elapsed time.Duration) bool {
	switch t.outcomes[t.courses[i].at(elapsed)].status {
	case Pending, WaitResult:
		return false
	default:
		return true
	}
}

// Filter narrows the subtasks of a task, as the parameters of taskDetails do.
// A zero field lets every subtask pass.
type Filter struct {
	Status    string
	Index     *int
	NodeID    string
	DeviceID  string
	CommandID string
}

// match returns the positions of the subtasks that pass the filter, ascending.
// They hold until the next call.
func (p *Platform) match(t *task, f Filter, elapsed time.Duration) []int {
	p.scratch = t.match(p.scratch[:0], f, elapsed)
	return p.scratch
}

// match appends the positions of the subtasks that pass the filter to dst.
func (t *task) match(dst []int, f Filter, elapsed time.Duration) []int {
	passes := make([]bool, len(t.outcomes)) // by outcome, so that a large task is read fast
	for i, o := range t.outcomes {
		passes[i] = f.Status == "" || f.Status == o.status
	}
	byParam := f.Index != nil || f.NodeID != "" || f.DeviceID != "" || f.CommandID != ""
	if byParam && t.params == nil {
		t.params = make([]param, len(t.courses))
		for i := range t.params {
			t.params[i] = t.param(i, t.Subtasks.At(i))
		}
	}
	for i := range t.courses {
		if passes[t.courses[i].at(elapsed)] && (!byParam || f.passes(&t.params[i])) {
			dst = append(dst, i)
		}
	}
	return dst
}

func (f *Filter) passes(p *param) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(f.NodeID, p.NodeID) && is(f.DeviceID, p.DeviceID) && is(f.CommandID, p.CommandID) &&
		(f.Index == nil || p.Index != nil && *f.Index == *p.Index)
}

// Truth is what the subtasks of a task are at one moment.
type Truth struct {
	Total    int
	Statuses map[string]int  // subtasks by status: the documented ones, zeros too, and others that occur
	Errors   map[Failure]int // those that failed or timed out; only what is not zero
}

// Failure is how a subtask ended badly.
type Failure struct {
	Status string // Fail or Timeout
	Code   string // empty if it has none
}

// Truth counts the subtasks of a task at this moment.
func (p *Platform) Truth(taskID string) Truth {
	return p.TruthOf(taskID, Filter{})
}

// TruthOf counts the subtasks of a task that pass a filter at this moment.
func (p *Platform) TruthOf(taskID string, f Filter) Truth {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.task(taskID)
	return p.truth(t, f, time.Since(t.Start))
}

func (p *Platform) truth(t *task, f Filter, elapsed time.Duration) Truth {
	counts := make([]int, len(t.outcomes))
	for _, i := range p.match(t, f, elapsed) {
		counts[t.courses[i].at(elapsed)]++
	}
	truth := Truth{Statuses: make(map[string]int), Errors: make(map[Failure]int)}
	for _, s := range statuses {
		truth.Statuses[s] = 0
	}
	for i, n := range counts {
		if n == 0 {
			continue
		}
		o := t.outcomes[i]
		truth.Total += n
		truth.Statuses[o.status] += n
		if o.status == Fail || o.status == Timeout {
			truth.Errors[Failure{o.status, o.code}] += n
		}
	}
	return truth
}

// subtask is the content of a row, without what SetStatus made obsolete.
func (t *task) subtask(i int) Subtask {
	s := t.Subtasks.At(i)
	if t.changed[i] {
		s.Code, s.Description = t.outcomes[t.courses[i].outcome].code, ""
		s.Raw = maps.Clone(s.Raw)
		delete(s.Raw, "status")
		delete(s.Raw, "error")
	}
	return s
}
