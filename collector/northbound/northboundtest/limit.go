package northboundtest

import "time"

// minute is the span of the call limit.
const minute = time.Minute

// callLog holds the calls of one application that count against the limit now,
// oldest first.
type callLog []time.Time

// admit tells whether the limit allows one more call, and notes it if it counts.
func (l *callLog) admit(now time.Time, o *options) bool {
	l.forget(now, o)
	allowed := o.callLimit == 0 || len(*l) < o.callLimit
	if allowed || o.countRefused {
		*l = append(*l, now)
	}
	return allowed
}

// forget drops calls that count no longer.
func (l *callLog) forget(now time.Time, o *options) {
	counts := func(t time.Time) bool { return now.Sub(t) < minute }
	if o.fixedMinute {
		begin := now.Truncate(minute)
		counts = func(t time.Time) bool { return !t.Before(begin) }
	}
	old := 0
	for old < len(*l) && !counts((*l)[old]) {
		old++
	}
	*l = (*l)[old:]
}

// Spend makes n calls at once as another user of the application, whose calls
// count against the same limit but not in [Platform.Calls]. It returns how many
// of them the limit allowed.
func (p *Platform) Spend(appID string, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.app(appID)
	allowed := 0
	for range n {
		if a.log.admit(time.Now(), &p.opts) {
			allowed++
		}
	}
	return allowed
}
