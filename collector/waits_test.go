package collector

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"huawei_iot_batch_exporter/collector/allowance"
)

// Nobody is told that waiting is in vain while a call is under way, and nobody
// needs to be where no call waits.
func TestStuck(t *testing.T) {
	for name, test := range map[string]struct {
		blocked [2]int
		waits   int
		calls   int // in flight
		want    bool
	}{
		"configured task":   {[2]int{1, 0}, 1, 0, true},
		"probe":             {[2]int{0, 1}, 1, 0, true},
		"no call waits":     {[2]int{}, 1, 0, false},
		"nobody waits":      {[2]int{1, 1}, 0, 0, false},
		"a call under way":  {[2]int{1, 1}, 1, 1, false},
		"nothing whatever":  {[2]int{}, 0, 0, false},
		"only a call flies": {[2]int{}, 0, 1, false},
	} {
		e := New()
		a := newApplication(e, platformIdentity{}, allowance.New(9))
		for range test.calls {
			a.allowance.TryAcquire(t.Context())
		}
		for range test.waits {
			a.waits[new(wait)] = struct{}{}
		}
		for lane, n := range test.blocked {
			a.lanes[lane].blocked = n
		}
		a.reconsider()
		timer := a.giveUp
		if got := timer != nil; got != test.want {
			t.Errorf("%s: %v", name, got)
		}
		if a.reconsider(); timer != a.giveUp {
			t.Errorf("%s: the grace begins anew", name)
		}
		if timer != nil {
			timer.Stop()
		}
		e.Close()
	}
}

// Those are answered whose time is over before there is a call.
func TestWhoGivesUpWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New()
		t.Cleanup(e.Close)
		a := newApplication(e, platformIdentity{}, allowance.New(1))
		release, _ := a.allowance.TryAcquire(t.Context())
		release(allowance.Outcome{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go a.allowance.Acquire(ctx) //nolint:errcheck // nothing is to be had for a minute
		synctest.Wait()
		var ends []time.Duration
		try := func(waiting int) []time.Duration {
			a.lanes[configuredLane].blocked, a.waits, ends = waiting, map[*wait]struct{}{}, nil
			for _, end := range []time.Duration{0, time.Minute - 1, time.Minute} {
				w := &wait{done: make(chan struct{})}
				if end > 0 {
					w.deadline = time.Now().Add(end)
				}
				a.waits[w] = struct{}{}
			}
			a.giveUpWaiting()
			for w := range a.waits {
				if w.finished {
					ends = append(ends, time.Until(w.deadline))
				}
			}
			return ends
		}
		if diff := cmp.Diff([]time.Duration{time.Minute - 1}, try(1)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := try(0); got != nil {
			t.Errorf("no call waits, yet those gave up who had %v left", got)
		}
	})
}

func TestLeave(t *testing.T) {
	many := func(n int, p phase) (tasks []*task) {
		for range n {
			tasks = append(tasks, &task{phase: p})
		}
		return tasks
	}
	for name, test := range map[string]struct {
		queued, running int // tasks that are waited for
		blocked         int // calls
		want            float64
	}{
		"nothing left":                 {0, 0, 1, 0},
		"the platform is slow":         {3, 2, 0, 0},
		"both wait for the allowance":  {3, 2, 2, 5},
		"one waits, the other is slow": {3, 2, 1, 4},
		"one waits, none is queued":    {0, 2, 1, 1},
		"others wait as well":          {0, 1, 3, 1},
	} {
		a := &application{telemetry: newTelemetry("fleet")}
		a.lanes[configuredLane].blocked = test.blocked
		w := &wait{pending: make(map[*task]struct{})}
		for _, t := range append(many(test.queued, queued), many(test.running, running)...) {
			w.pending[t] = struct{}{}
		}
		a.leave(w)
		if got := testutil.ToFloat64(a.telemetry.deferred); got != test.want {
			t.Errorf("%s: %v deferred, want %v", name, got, test.want)
		}
	}
}

func TestAbandonedProbes(t *testing.T) {
	for name, test := range map[string]struct {
		lane    laneID
		task    *task
		awaited bool // by another
		want    bool // to be read
	}{
		"abandoned":          {probeLane, &task{phase: queued}, false, false},
		"awaited by another": {probeLane, &task{phase: queued}, true, true},
		"configured by now":  {probeLane, &task{phase: queued, configured: true}, false, true},
		"being read":         {probeLane, &task{phase: running}, false, true},
		"no probe":           {configuredLane, &task{phase: queued}, false, true},
	} {
		a := &application{waits: make(map[*wait]struct{})}
		tt, was := test.task, test.task.phase
		a.lanes[probeLane].queue = []*task{tt}
		w := &wait{lane: test.lane, pending: map[*task]struct{}{tt: {}}}
		a.waits[w] = struct{}{}
		if test.awaited {
			a.waits[&wait{lane: probeLane, pending: map[*task]struct{}{tt: {}}}] = struct{}{}
		}
		a.leave(w)
		if got := len(a.lanes[probeLane].queue) == 1 && tt.phase == was; got != test.want {
			t.Errorf("%s: goes on: %v", name, got)
		}
	}
}
