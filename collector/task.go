package collector

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/config"
)

// taskIdentity is what is asked of the platform. Tasks that ask the same are
// read once, whatever they are called.
type taskIdentity struct {
	taskID, appID, status, index, nodeID, deviceID, commandID string
}

func identifyTask(t config.Task) taskIdentity {
	id := taskIdentity{
		taskID: t.TaskID, appID: t.AppID, status: t.Status,
		nodeID: t.NodeID, deviceID: t.DeviceID, commandID: t.CommandID,
	}
	if t.Index != nil {
		id.index = strconv.Itoa(*t.Index)
	}
	return id
}

// phase is where a task stands between two scrapes.
type phase int

const (
	idle phase = iota
	queued
	running
)

// task is a task that is watched: what was read of it, and when it is due.
type task struct {
	identity taskIdentity
	state    atomic.Pointer[TaskState] // never nil

	// Used by the one worker whose turn it is.
	census *census.Census

	// Guarded by the application's mutex.
	phase      phase
	rowsOnly   bool      // queued for, or reading, nothing but rows that are still unread
	attempted  time.Time // when its last turn began
	configured bool
	lastProbe  time.Time // zero: never probed
	reported   time.Time // since when it fails, as the log says; zero: the log says that it does not
}

// TaskState is what is known of a task at one moment. It never changes.
type TaskState struct {
	Numbers     *census.Snapshot // nil: never read
	RefreshedAt time.Time        // when Numbers were read
	AttemptedAt time.Time        // when the last attempt ended; zero: there was none
	FailingFrom time.Time        // when the first of the attempts ended that failed in a row
	Err         error            // why the last attempt failed

	cost int // calls that a refresh takes
}

// Up tells whether the last attempt to read the task worked.
func (s *TaskState) Up() bool { return s.Err == nil && !s.AttemptedAt.IsZero() }

// Fresh returns the numbers as long as they may be shown: until they have not
// been refreshed for too long, though they should have been.
func (s *TaskState) Fresh(now time.Time, settings config.Settings) *census.Snapshot {
	if s.Numbers == nil {
		return nil
	}
	due := s.RefreshedAt
	if s.Numbers.Finished {
		if settings.FinishedRecheckInterval == 0 {
			return s.Numbers
		}
		due = due.Add(settings.FinishedRecheckInterval)
	}
	if now.Sub(due) > settings.MaxStaleness {
		return nil
	}
	return s.Numbers
}

func newTask(id taskIdentity, tc config.Task, traits *census.Traits) *task {
	t := &task{
		identity: id,
		census: census.New(northbound.TaskDetailsQuery{
			TaskID: tc.TaskID, AppID: tc.AppID, Status: northbound.Status(tc.Status),
			Index: tc.Index, NodeID: tc.NodeID, DeviceID: tc.DeviceID, CommandID: tc.CommandID,
		}, traits),
	}
	t.state.Store(&TaskState{cost: 1})
	return t
}

// maxRefusalPause is the longest time for which a task that is refused is left
// alone.
const maxRefusalPause = 5 * time.Minute

// due tells whether a scrape has the task read.
func (t *task) due(now, since time.Time, settings config.Settings) bool {
	s := t.state.Load()
	switch {
	case s.AttemptedAt.IsZero():
		return true
	case !t.attempted.Before(since):
		return false // read for a scrape that this one overlaps with
	case s.Err == nil && s.Numbers.Finished:
		recheck := settings.FinishedRecheckInterval
		return recheck > 0 && now.Sub(s.RefreshedAt) >= recheck
	case refused(s.Err):
		// It will not be granted a moment later: half as long as it has been
		// refused so far is soon enough.
		pause := min(s.AttemptedAt.Sub(s.FailingFrom)/2, maxRefusalPause)
		return now.Sub(s.AttemptedAt) >= pause
	default:
		return true
	}
}

// refused tells whether the platform answered that it will not tell of the task.
func refused(err error) bool {
	for _, refusal := range []error{
		northbound.ErrTaskNotFound, northbound.ErrNotAuthorized, northbound.ErrInvalidInput,
		northbound.ErrApplicationNotFound, census.ErrContradiction,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// turn is a task's turn to be read.
type turn struct {
	app      *application
	task     *task
	lane     *lane
	platform census.Platform
	settings config.Settings
}

// take reads what is due of the task. It returns true when there is more to
// read, but other tasks come first, or newer numbers are wanted.
func (t *turn) take(ctx context.Context, rowsOnly bool) (again bool) {
	c := t.task.census
	first := t.task.state.Load().Numbers == nil
	asked := true
	if !rowsOnly {
		numbers, err := c.Count(ctx, t.platform, census.Settings{
			PageSize:      t.settings.PageSize,
			MaxErrorCodes: t.settings.MaxErrorCodes,
		})
		if err != nil {
			t.fail(ctx, err)
			return false
		}
		// Where only rows are left, nothing is known anew before they were read.
		if asked = c.Calls() > 0; asked {
			t.publish(numbers, time.Now())
		}
		t.app.onlyRows(t.task)
	}
	counted := t.task.state.Load().RefreshedAt
	for pages := 0; c.Unread() && t.app.wants(t.task); pages++ {
		// The codes of this task come after the numbers of others, but for one
		// page, so that they come at all.
		own := pages == 0 && !first
		if !own && t.app.crowded(t.lane) || t.app.wantsNumbers(t.task) {
			return true
		}
		rows := ctx
		if !own || rowsOnly || c.Fruitless() {
			rows = withSpare(ctx)
		}
		numbers, err := c.ReadRows(rows, t.platform)
		if errors.Is(err, errNoSpareCall) {
			return false
		}
		if err != nil {
			t.fail(ctx, err)
			return false
		}
		if !asked {
			asked, counted = true, time.Now()
		}
		t.publish(numbers, counted)
	}
	if c.Nameless() {
		// The name is worth no failure.
		if numbers, err := c.Describe(withSpare(ctx), t.platform); err == nil {
			t.publish(numbers, counted)
		}
	}
	return false
}

// onlyRows notes that a task has been counted, and wantsNumbers tells whether a
// scrape has come since then that wants it counted anew.
func (a *application) onlyRows(t *task) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t.rowsOnly = true
}

func (a *application) wantsNumbers(t *task) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !t.rowsOnly
}

// crowded tells whether other tasks wait for their turn.
func (a *application) crowded(l *lane) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(l.queue) > 0
}

// publish makes numbers that were counted at a time the task's state.
func (t *turn) publish(numbers *census.Snapshot, counted time.Time) {
	was := t.task.state.Load()
	cost := max(1, t.task.census.Calls())
	if numbers.Finished {
		cost = 0
	}
	t.task.state.Store(&TaskState{Numbers: numbers, RefreshedAt: counted, AttemptedAt: time.Now(), cost: cost})
	logger := t.logger()
	for _, remark := range numbers.Remarks {
		if was.Numbers == nil || !slices.Contains(was.Numbers.Remarks, remark) {
			level.Warn(logger).Log("msg", "task cannot be told exactly", "reason", remark)
		}
	}
}

// fail keeps the task's numbers and says that they could not be refreshed.
func (t *turn) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // the exporter stops, or the task is no longer wanted
	}
	if _, sent := asError(err); !sent && !refused(err) {
		t.app.cannotAsk(err)
	}
	was := t.task.state.Load()
	s := &TaskState{Numbers: was.Numbers, RefreshedAt: was.RefreshedAt, AttemptedAt: time.Now(), FailingFrom: was.FailingFrom, Err: err, cost: max(was.cost, 1)}
	if was.Err == nil {
		s.FailingFrom = s.AttemptedAt
	}
	t.task.state.Store(s)
	level.Debug(t.logger()).Log("msg", "attempt to read the task failed", "err", err)
}

func (t *turn) logger() log.Logger {
	t.app.mu.Lock()
	defer t.app.mu.Unlock()
	return t.app.loggerOf(t.task)
}

// loggerOf returns a logger that names a task.
func (a *application) loggerOf(t *task) log.Logger {
	name := t.identity.taskID
	for _, w := range a.watches {
		if w.task == t {
			name = w.name
			break
		}
	}
	return log.With(a.logger, "task", name, "task_id", t.identity.taskID)
}

// reportTask logs, once, that a task cannot be read or is read again. Where the
// application as a whole is down or throttled, that is said instead.
func (a *application) reportTask(t *task, up bool) {
	switch s := t.state.Load(); {
	case s.Err != nil && t.reported.IsZero() && up && !errors.Is(s.Err, northbound.ErrThrottled):
		t.reported = s.FailingFrom
		level.Warn(a.loggerOf(t)).Log("msg", "task could not be read", "err", s.Err)
	case s.Up() && !t.reported.IsZero():
		level.Info(a.loggerOf(t)).Log("msg", "task is read again", "failed_for", s.AttemptedAt.Sub(t.reported).Round(time.Second))
		t.reported = time.Time{}
	}
}
