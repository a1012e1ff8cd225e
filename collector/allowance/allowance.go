// Package allowance keeps the calls of one application within its share of the
// platform's calls per minute.
//
// The promise: in any 60 seconds, whichever clock they are measured on, the
// platform receives at most as many calls as the limit in force when the last
// of them was granted. It holds whatever the latency, because a call takes its
// slot when it is granted and gives it back 60 seconds after it has ended: the
// platform receives it at an unknown moment in between. Were more calls than
// the limit received within 60 seconds, all but the last granted of them would
// have ended less than 60 seconds before that grant, or not at all; so no slot
// would have been free for it.
//
// Others may use up the same application's calls. When the platform refuses one
// for its flow control, the limit in force is halved and the allowance rests.
// After the rest a single call tries; once it has been answered, calls are
// spaced evenly for a minute, so that those who waited do not rush in together,
// and the limit grows back step by step.
package allowance

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Allowance grants calls. It is safe for concurrent use, starts no goroutine of
// its own, and sets a timer only where somebody has to wait.
type Allowance struct {
	mu     sync.Mutex
	ledger ledger
	queues [Background + 1]list.List // of *waiter; by priority, each in order of arrival
	timer  *time.Timer               // serves the first waiter; nil until somebody had to wait
}

// waiter is one blocked Acquire.
type waiter struct {
	call  *call // set before ready is closed
	ready chan struct{}
}

// Release reports that a call has ended. It must be called once for every call
// granted, also if the call failed or was never sent; further calls do nothing.
type Release func(Outcome)

// Outcome is how a call ended.
type Outcome struct {
	Throttled  bool          // the platform refused it for its flow control
	RetryAfter time.Duration // how long the platform asked to wait; 0 if it did not say
	Answered   bool          // the platform answered at all, be it with an error
}

// Stats is the state of an allowance at one moment.
type Stats struct {
	Configured   int       // calls per minute, as configured
	Limit        int       // calls per minute in force
	Available    int       // slots free now under the limit in force; during a rest they wait too
	InFlight     int       // calls granted and not yet ended
	Waiting      int       // callers that wait for a call
	RestingUntil time.Time // end of the rest; zero if the allowance does not rest
	Throttled    int       // throttle answers so far
}

// New returns an allowance of callsPerMinute calls in any 60 seconds. Less than
// one counts as one.
func New(callsPerMinute int) *Allowance {
	return &Allowance{ledger: ledger{configured: max(1, callsPerMinute)}}
}

// SetLimit changes the configured calls per minute at once. Calls already made
// still count. A limit that is reduced by throttle answers stays reduced, and
// grows towards the new one.
func (a *Allowance) SetLimit(callsPerMinute int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.ledger.configure(callsPerMinute, now)
	a.dispatch(now)
}

// SetReserve changes the number of slots that Probe and Background leave free
// for Configured: with a reserve of r they use at most limit-r slots in any 60
// seconds, and none while Configured uses that many. One slot at least is left
// to them, however large the reserve.
func (a *Allowance) SetReserve(calls int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ledger.reserve = max(0, calls)
	a.dispatch(time.Now())
}

// Acquire waits until a call may be sent: the highest priority goes first, and
// within one priority whoever came first. If ctx ends first, it returns ctx's
// error and no slot is used.
func (a *Allowance) Acquire(ctx context.Context) (Release, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := priorityOf(ctx)

	w := &waiter{ready: make(chan struct{})}
	a.mu.Lock()
	place := a.queues[p].PushBack(w)
	a.dispatch(time.Now())
	a.mu.Unlock()

	select {
	case <-w.ready:
		return a.release(w.call), nil
	case <-ctx.Done():
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	if w.call == nil {
		a.queues[p].Remove(place)
	} else { // granted at the same moment: nothing was sent, so the next one may have it
		a.ledger.undo(w.call)
	}
	a.dispatch(time.Now())
	return nil, ctx.Err()
}

// TryAcquire grants a call if one may be sent right now and nobody of the same
// or a higher priority waits.
func (a *Allowance) TryAcquire(ctx context.Context) (Release, bool) {
	if ctx.Err() != nil {
		return nil, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p, now := priorityOf(ctx), time.Now()
	if a.waiting(p) > 0 {
		return nil, false
	}
	if at, known := a.ledger.next(p, now); !known || at.After(now) {
		return nil, false
	}
	return a.release(a.ledger.grant(now)), true
}

// Stats returns the present state.
func (a *Allowance) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.ledger.forget(now)
	limit := a.ledger.limit(now)
	s := Stats{
		Configured: a.ledger.configured,
		Limit:      limit,
		Available:  max(0, limit-a.ledger.used()),
		InFlight:   a.ledger.inFlight,
		Waiting:    a.waiting(Background),
		Throttled:  a.ledger.throttled,
	}
	if now.Before(a.ledger.restUntil) {
		s.RestingUntil = a.ledger.restUntil
	}
	return s
}

// NextAt returns the earliest time at which a new caller of priority p could be
// granted a call, as far as is known now: behind the rest, the slots in use and
// the callers that wait before it. Calls in flight, and those of the callers
// before it, are taken to end as early as they can and to be answered well, so
// it may become later, but not earlier unless somebody gives up waiting or the
// settings change. If a call could be granted at once, that is now.
func (a *Allowance) NextAt(p Priority) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	p = p.clamp()
	at := time.Now()
	foreseen := a.ledger.foresee(at)
	for before := range p + 1 {
		for range a.queues[before].Len() {
			at, _ = foreseen.next(before, at)
			foreseen.end(foreseen.grant(at), Outcome{Answered: true}, at)
		}
	}
	at, _ = foreseen.next(p, at)
	return at
}

// NextGrant returns when the first of those who wait will be granted a call. It
// is not ok if nobody waits, or if that depends on when a call in flight ends.
func (a *Allowance) NextGrant() (at time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for p := range a.queues {
		if a.queues[p].Len() > 0 {
			return a.ledger.next(Priority(p), time.Now())
		}
	}
	return time.Time{}, false
}

// waiting returns how many callers of priority p or a higher one wait.
func (a *Allowance) waiting(p Priority) int {
	n := 0
	for i := range p + 1 {
		n += a.queues[i].Len()
	}
	return n
}

// dispatch grants what may be granted now, and sets the timer for what may be
// granted later. It must follow every change. A priority is never held up by a
// lower one, and where the first in line has to wait, so has everybody else:
// nothing is open to a lower priority that is closed to a higher one.
func (a *Allowance) dispatch(now time.Time) {
	for p := range a.queues {
		for queue := &a.queues[p]; queue.Len() > 0; {
			at, known := a.ledger.next(Priority(p), now)
			if !known { // until a call in flight ends
				return
			}
			if at.After(now) {
				a.wakeIn(at.Sub(now))
				return
			}
			w := queue.Remove(queue.Front()).(*waiter)
			w.call = a.ledger.grant(now)
			close(w.ready)
		}
	}
}

// wakeIn has dispatch called in d. Where that turns out to be in vain, it does
// no harm.
func (a *Allowance) wakeIn(d time.Duration) {
	if a.timer != nil {
		a.timer.Reset(d)
		return
	}
	a.timer = time.AfterFunc(d, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.dispatch(time.Now())
	})
}

func (a *Allowance) release(c *call) Release {
	ended := false
	return func(o Outcome) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if ended {
			return
		}
		ended = true
		now := time.Now()
		a.ledger.end(c, o, now)
		a.dispatch(now)
	}
}
