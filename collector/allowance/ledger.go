package allowance

import (
	"math/rand/v2"
	"slices"
	"time"
)

const (
	window        = time.Minute      // what a limit counts in, how long a slot is kept after its call, and how often the limit grows
	firstRest     = 15 * time.Second // doubles with each further rest
	longestRest   = 2 * time.Minute  // unless the platform asks for more
	maxRetryAfter = 10 * time.Minute // of what the platform asks for
	quiet         = 5 * time.Minute  // after a rest, without another: the next one is a first one again
	jitter        = 10               // a rest is longer by a random part of up to 1/jitter
)

// ledger is what is known of past calls, and the rules that follow from it for
// the next. It knows no queue and reads no clock, so that a copy can be played
// forward. Times passed to its methods must not decrease. The zero value with a
// configured limit is ready for use.
type ledger struct {
	configured int
	reserve    int

	inFlight int
	endings  []time.Time // of the calls that ended within the window, oldest first

	reduced    int       // the limit as throttling left it at growsFrom; 0: never reduced
	growsFrom  time.Time // since when it grows
	throttled  int       // throttle answers
	rests      int       // rests begun
	rest       time.Duration
	restUntil  time.Time
	halfOpen   bool      // since the rest began, no call has been answered yet
	trial      *call     // the only one let through while half open, in flight
	lastGrant  time.Time // of any call
	spaceUntil time.Time // until then, grants keep a distance
}

// call is one granted call.
type call struct {
	granted time.Time
	before  time.Time // the grant before this one
	rests   int       // rests begun before it was granted
}

// next returns the earliest time, now or later, at which a call of priority p
// may be granted if no other call is granted and none in flight ends before. If
// only the end of a call in flight can tell, known is false.
func (l *ledger) next(p Priority, now time.Time) (at time.Time, known bool) {
	if l.trial != nil {
		return time.Time{}, false
	}
	l.forget(now)
	from := later(now, l.restUntil)
	for {
		// All that holds a call back eases as time passes; only the limit does
		// so in steps: look from step to step.
		limit := l.limit(from)
		grows, growing := l.growsAfter(from)
		at, known = l.under(limit, p, from)
		if known && (!growing || !at.After(grows)) {
			return at, true
		}
		if !growing {
			return time.Time{}, false
		}
		from = grows
	}
}

// under is next for a given limit, from a time without rest and trial.
func (l *ledger) under(limit int, p Priority, from time.Time) (at time.Time, known bool) {
	slots := limit
	if p != Configured {
		slots = max(1, limit-l.reserve)
	}
	at = from
	if over := l.used() + 1 - slots; over > len(l.endings) {
		return time.Time{}, false
	} else if over > 0 {
		at = later(at, l.endings[over-1].Add(window))
	}
	spaced := l.lastGrant.Add(window / time.Duration(limit))
	if l.spaceUntil.Before(spaced) {
		spaced = l.spaceUntil
	}
	return later(at, spaced), true
}

// grant takes a slot at now, which next must have allowed.
func (l *ledger) grant(now time.Time) *call {
	c := &call{granted: now, before: l.lastGrant, rests: l.rests}
	l.inFlight++
	l.lastGrant = now
	if l.halfOpen {
		l.trial = c
	}
	return c
}

// undo takes back the grant of a call that was not sent.
func (l *ledger) undo(c *call) {
	l.inFlight--
	if l.trial == c {
		l.trial = nil
	}
	// Only while grants keep a distance does the last one matter, and then it
	// is the only one of its moment.
	if l.lastGrant.Equal(c.granted) {
		l.lastGrant = c.before
	}
}

// end books the end of a call.
func (l *ledger) end(c *call, o Outcome, now time.Time) {
	l.inFlight--
	l.forget(now)
	l.endings = append(l.endings, now)
	if l.trial == c {
		// A trial without an answer proves nothing: another one follows, at a
		// distance too.
		l.trial = nil
		l.halfOpen = !o.Answered
		l.spaceUntil = now.Add(window)
	}
	if o.Throttled {
		l.throttle(c, o.RetryAfter, now)
	}
}

// throttle books a throttle answer. Those to calls that were granted before the
// current rest began tell nothing new, except a longer time to wait.
func (l *ledger) throttle(c *call, retryAfter time.Duration, now time.Time) {
	l.throttled++
	retryAfter = min(retryAfter, maxRetryAfter)
	if c.rests < l.rests {
		if until := now.Add(retryAfter); now.Before(l.restUntil) && until.After(l.restUntil) {
			l.restUntil, l.growsFrom = until, until
		}
		return
	}

	if now.Sub(l.restUntil) < quiet {
		l.rest = min(2*l.rest, longestRest)
	} else {
		l.rest = firstRest
	}
	rest := l.rest
	if retryAfter > 0 {
		rest = retryAfter
	}
	rest += rand.N(rest/jitter + 1) //nolint:gosec // spreads load, guards nothing

	l.reduced = max(1, l.limit(now)/2)
	l.rests++
	l.restUntil = now.Add(rest)
	l.growsFrom = l.restUntil // a rest is no proof that more would go
	l.halfOpen = true
	l.spaceUntil = time.Time{} // the rest is distance enough for the trial
}

// limit returns the limit in force at now.
func (l *ledger) limit(now time.Time) int {
	if l.reduced == 0 {
		return l.configured
	}
	return min(l.configured, l.reduced+l.steps(now)*l.step())
}

// step is what the limit grows by in each window after a rest.
func (l *ledger) step() int { return max(1, l.configured/10) }

// steps is how often it has grown by now.
func (l *ledger) steps(now time.Time) int {
	return int(max(0, now.Sub(l.growsFrom)) / window)
}

// growsAfter returns when the limit grows next, if it does.
func (l *ledger) growsAfter(now time.Time) (at time.Time, growing bool) {
	if l.limit(now) == l.configured {
		return time.Time{}, false
	}
	return l.growsFrom.Add(time.Duration(l.steps(now)+1) * window), true
}

// configure changes the configured limit.
func (l *ledger) configure(callsPerMinute int, now time.Time) {
	if limit, steps := l.limit(now), l.steps(now); limit < l.configured {
		l.reduced = limit
		l.growsFrom = l.growsFrom.Add(time.Duration(steps) * window)
	} else {
		l.reduced = 0
	}
	l.configured = max(1, callsPerMinute)
}

// used returns how many slots are taken, as of the last forget.
func (l *ledger) used() int { return l.inFlight + len(l.endings) }

// forget frees the slots of calls that ended a window ago.
func (l *ledger) forget(now time.Time) {
	free := 0
	for free < len(l.endings) && !now.Before(l.endings[free].Add(window)) {
		free++
	}
	// Once there is no room behind them, append moves those that are left.
	l.endings = l.endings[free:]
}

// foresee returns a copy in which all calls in flight end well at now, which is
// the earliest they can.
func (l *ledger) foresee(now time.Time) ledger {
	f := *l
	f.endings = slices.Clone(f.endings)
	if f.trial != nil {
		f.end(f.trial, Outcome{Answered: true}, now)
	}
	f.endings = append(f.endings, slices.Repeat([]time.Time{now}, f.inFlight)...)
	f.inFlight = 0
	return f
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
