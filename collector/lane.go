package collector

import (
	"context"
	"errors"
	"slices"
	"time"

	"huawei_iot_batch_exporter/collector/allowance"
)

// laneID tells configured tasks from those that are only probed. Each kind has
// workers of its own, so that probes cannot occupy all of them.
type laneID int

const (
	configuredLane laneID = iota
	probeLane
)

func (l laneID) priority() allowance.Priority {
	if l == probeLane {
		return allowance.Probe
	}
	return allowance.Configured
}

type laneKey struct{}

// context is that of the calls of a lane.
func (l laneID) context(ctx context.Context) context.Context {
	return context.WithValue(allowance.WithPriority(ctx, l.priority()), laneKey{}, l)
}

// laneOf tells for which lane a call is.
func laneOf(ctx context.Context) laneID {
	id, _ := ctx.Value(laneKey{}).(laneID)
	return id
}

// lane is a queue of tasks that are due, and those who work on it.
type lane struct {
	workers int // at most
	active  int
	blocked int // calls that wait for the allowance
	queue   []*task
}

// pop takes the task that has waited longest since its last attempt.
func (l *lane) pop() *task {
	if len(l.queue) == 0 {
		return nil
	}
	first := 0
	for i, t := range l.queue {
		if t.attempted.Before(l.queue[first].attempted) {
			first = i
		}
	}
	t := l.queue[first]
	l.queue = slices.Delete(l.queue, first, first+1)
	return t
}

// wait is somebody who waits for tasks to be read.
type wait struct {
	lane     laneID
	deadline time.Time // zero: none
	pending  map[*task]struct{}
	done     chan struct{} // closed when nothing is pending, or waiting is of no use
	finished bool
}

func (w *wait) finish() {
	if !w.finished {
		w.finished = true
		close(w.done)
	}
}

// await has the tasks read that are due and were not read since the given time.
// It returns when that is done, when the allowance lets nothing more be had
// before the deadline of ctx, or when ctx ends.
func (a *application) await(ctx context.Context, id laneID, tasks []*task, since time.Time) {
	w := a.enqueue(ctx, id, tasks, since)
	select {
	case <-w.done:
	case <-ctx.Done():
	case <-a.ctx.Done(): // nothing will be read any more
	}
	a.leave(w)
}

func (a *application) enqueue(ctx context.Context, id laneID, tasks []*task, since time.Time) *wait {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &wait{lane: id, pending: make(map[*task]struct{}), done: make(chan struct{})}
	w.deadline, _ = ctx.Deadline()
	l := &a.lanes[id]
	now := time.Now()
	for _, t := range tasks {
		switch {
		case t.phase == idle && !t.due(now, since, a.cfg.Settings):
			continue
		case t.phase == idle:
			t.phase, t.rowsOnly = queued, false
			l.queue = append(l.queue, t)
		case t.attempted.Before(since):
			t.rowsOnly = false // if that is what it is queued for or at
		}
		w.pending[t] = struct{}{}
	}
	for range min(l.workers-l.active, len(l.queue)) {
		if a.exporter.work.start(func() { a.workOn(l, id) }) {
			l.active++
		}
	}
	if len(w.pending) == 0 {
		w.finish()
	}
	a.waits[w] = struct{}{}
	a.reconsider()
	return w
}

// leave ends a wait. What the allowance kept from being read was put off.
func (a *application) leave(w *wait) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waits, w)
	if waiting := a.lanes[w.lane].blocked; waiting > 0 {
		for t := range w.pending {
			if t.phase == queued || waiting > 0 {
				a.telemetry.deferred.Inc()
			}
			if t.phase != queued {
				waiting--
			}
		}
	}
	if w.lane != probeLane {
		return
	}
	// A probe that nobody waits for any more is not worth a call.
	for t := range w.pending {
		if t.phase == queued && !t.configured && !a.awaited(t) {
			a.unqueue(probeLane, t)
		}
	}
}

func (a *application) awaited(t *task) bool {
	for w := range a.waits {
		if _, ok := w.pending[t]; ok {
			return true
		}
	}
	return false
}

// workOn reads the tasks of a lane one after the other until there are none.
func (a *application) workOn(l *lane, id laneID) {
	ctx := id.context(a.ctx)
	for {
		a.mu.Lock()
		t := l.pop()
		if t == nil || a.ctx.Err() != nil {
			l.active--
			a.mu.Unlock()
			return
		}
		t.phase = running
		turn := turn{app: a, task: t, lane: l, platform: &retrier{client: a.client, app: a}, settings: a.cfg.Settings}
		rowsOnly := t.rowsOnly
		t.attempted = time.Now()
		a.mu.Unlock()

		again := turn.take(ctx, rowsOnly)

		a.mu.Lock()
		if again && a.tasks[t.identity] == t {
			t.phase = queued
			l.queue = append(l.queue, t)
		} else {
			t.phase = idle
			a.settle(t)
		}
		a.mu.Unlock()
	}
}

// unqueue takes a task out of a lane before its turn.
func (a *application) unqueue(id laneID, t *task) {
	l := &a.lanes[id]
	if i := slices.Index(l.queue, t); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
		t.phase = idle
		a.settle(t)
	}
}

// settle tells those who wait for a task that its turn is over.
func (a *application) settle(t *task) {
	for w := range a.waits {
		delete(w.pending, t)
		if len(w.pending) == 0 {
			w.finish()
		}
	}
}

// errNoSpareCall: a call that can wait was not sent, because the allowance is
// needed for others.
var errNoSpareCall = errors.New("no call to spare")

type spareKey struct{}

// withSpare returns a context of calls that are sent only if the allowance has
// one to spare at once.
func withSpare(ctx context.Context) context.Context {
	return context.WithValue(allowance.WithPriority(ctx, allowance.Background), spareKey{}, true)
}

func onlySpare(ctx context.Context) bool {
	spare, _ := ctx.Value(spareKey{}).(bool)
	return spare
}
