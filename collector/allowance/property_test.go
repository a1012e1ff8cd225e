package allowance_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"huawei_iot_batch_exporter/collector/allowance"
)

// caller is one that wants a call during a random run.
type caller struct {
	comes    time.Duration
	priority allowance.Priority
	patience time.Duration // 0: waits for ever
	tries    bool          // does not wait at all
	latency  time.Duration
	outcome  allowance.Outcome
}

// change is one of a setting during a random run; the other one is 0.
type change struct {
	comes          time.Duration
	limit, reserve int
}

// plan is a random run.
type plan struct {
	limit   int
	callers []caller
	changes []change
}

func drawPlan(t *rapid.T) plan {
	tenths := func(name string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, name)) * 100 * time.Millisecond
	}
	p := plan{limit: rapid.IntRange(1, 25).Draw(t, "limit")}
	crowd := rapid.SampledFrom([]int{10, 600, 3000}).Draw(t, "crowd") // how far apart callers come, in tenths
	for i := range rapid.IntRange(1, 120).Draw(t, "callers") {
		c := caller{
			comes:    tenths("comes", crowd),
			priority: allowance.Priority(rapid.IntRange(0, 2).Draw(t, "priority")),
			latency:  tenths("latency", 300),
			outcome:  allowance.Outcome{Answered: true},
		}
		switch rapid.IntRange(0, 19).Draw(t, "kind") {
		case 19, 18, 17:
			c.patience = tenths("patience", 900) + 1
		case 16, 15:
			c.tries = true
		case 14:
			c.outcome.Answered = false
		case 13:
			c.outcome.Throttled = true
			if rapid.Bool().Draw(t, "says") {
				c.outcome.RetryAfter = tenths("retryAfter", 1200)
			}
			// The limit falls at a moment of its own, so that each grant has but
			// one limit.
			c.latency += time.Duration(i+1) * time.Microsecond
		}
		p.callers = append(p.callers, c)
	}
	for i := range rapid.IntRange(0, 5).Draw(t, "changes") {
		c := change{comes: tenths("changes at", crowd) + time.Duration(i+1)*time.Nanosecond}
		if value := rapid.IntRange(1, 25).Draw(t, "value"); rapid.Bool().Draw(t, "of the limit") {
			c.limit = value
		} else {
			c.reserve = value
		}
		p.changes = append(p.changes, c)
	}
	return p
}

// granted is one call of a run; its time is counted from the start.
type granted struct {
	priority   allowance.Priority
	start, end time.Duration
	outcome    allowance.Outcome
	limit      int // in force when it was granted
	configured int
	reserve    int
	rest       time.Duration // end of the rest in force after it ended throttled
}

// run plays a plan and returns its calls by start, and who waited in vain.
func run(t *testing.T, p plan) (calls []granted, unserved int, final allowance.Stats) {
	synctest.Test(t, func(*testing.T) {
		var (
			begin   = time.Now()
			a       = allowance.New(p.limit)
			mu      sync.Mutex
			reserve int
			wg      sync.WaitGroup
		)
		for _, c := range p.changes {
			wg.Go(func() {
				time.Sleep(c.comes)
				if c.limit > 0 {
					a.SetLimit(c.limit)
				}
				if c.reserve > 0 {
					mu.Lock()
					reserve = c.reserve
					a.SetReserve(c.reserve)
					mu.Unlock()
				}
			})
		}
		for _, c := range p.callers {
			wg.Go(func() {
				time.Sleep(c.comes)
				ctx := allowance.WithPriority(context.Background(), c.priority)
				if c.patience > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, c.patience)
					defer cancel()
				}
				var release allowance.Release
				if c.tries {
					var ok bool
					if release, ok = a.TryAcquire(ctx); !ok {
						return
					}
				} else {
					var err error
					if release, err = a.Acquire(ctx); err != nil {
						if c.patience == 0 {
							mu.Lock()
							unserved++
							mu.Unlock()
						}
						return
					}
				}
				s := a.Stats()
				g := granted{priority: c.priority, start: time.Since(begin), outcome: c.outcome, limit: s.Limit, configured: s.Configured}
				mu.Lock()
				g.reserve = reserve
				mu.Unlock()
				time.Sleep(c.latency)
				release(c.outcome)
				g.end = time.Since(begin)
				if c.outcome.Throttled {
					g.rest = a.Stats().RestingUntil.Sub(begin) // hugely negative if there is none
				}
				mu.Lock()
				calls = append(calls, g)
				mu.Unlock()
			})
		}
		wg.Wait()
		final = a.Stats()
	})
	slices.SortFunc(calls, func(a, b granted) int { return int(a.start - b.start) })
	return calls, unserved, final
}

func TestRandomRunsKeepThePromise(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		calls, unserved, final := run(t, drawPlan(rt))
		if unserved > 0 {
			rt.Errorf("%d callers waited in vain", unserved)
		}
		if final.Waiting != 0 || final.InFlight != 0 {
			rt.Errorf("after the last call: %+v", final)
		}
		for _, violation := range slices.Concat(overLimit(calls), intoReserve(calls), duringRest(calls), unspaced(calls)) {
			rt.Error(violation)
		}
	})
}

// overLimit looks for 60 seconds in which the platform may have received more
// calls than allowed. It may receive a call at any moment from its grant to its
// end, so each call that touches the 60 seconds counts. It suffices to look at
// those that begin with the end of a call: they can not begin later without
// losing it.
func overLimit(calls []granted) (violations []string) {
	for _, first := range calls {
		from, to := first.end, first.end+time.Minute
		var received int
		var last granted
		for _, c := range calls {
			if c.start < to && c.end >= from {
				received++
				last = c
			}
		}
		if received > last.limit || received > last.configured {
			violations = append(violations, fmt.Sprintf("%d calls in %v to %v, limit %d of %d", received, from, to, last.limit, last.configured))
		}
	}
	return violations
}

// intoReserve looks for calls that took what is kept for Configured. Those of
// Configured at the same moment may have come after.
func intoReserve(calls []granted) (violations []string) {
	for _, c := range calls {
		if c.priority == allowance.Configured {
			continue
		}
		used := 0
		for _, o := range calls {
			before := o.start < c.start || o.start == c.start && o.priority != allowance.Configured
			if before && o.end+time.Minute > c.start {
				used++
			}
		}
		if used > max(1, c.limit-c.reserve) {
			violations = append(violations, fmt.Sprintf("priority %d is number %d at %v, limit %d, reserve %d", c.priority, used, c.start, c.limit, c.reserve))
		}
	}
	return violations
}

// duringRest looks for calls that were granted before a rest was over.
func duringRest(calls []granted) (violations []string) {
	for _, t := range calls {
		for _, c := range calls {
			if t.outcome.Throttled && c.start > t.end && c.start < t.rest {
				violations = append(violations, fmt.Sprintf("granted at %v, resting from %v to %v", c.start, t.end, t.rest))
			}
		}
	}
	return violations
}

// unspaced looks for calls after a rest that did not go one by one until one
// was answered, or then for a minute less than 60s/limit apart.
func unspaced(calls []granted) (violations []string) {
	for _, t := range calls {
		if !t.outcome.Throttled || t.rest < t.end {
			continue
		}
		var previous *granted
		halfOpen, until := true, time.Duration(0)
		for i, c := range calls {
			if c.start < t.rest {
				continue
			}
			if previous != nil {
				if halfOpen && previous.outcome.Throttled {
					break // the next rest is looked at on its own
				}
				if halfOpen {
					if c.start < previous.end {
						violations = append(violations, fmt.Sprintf("granted at %v beside the trial that ended at %v", c.start, previous.end))
					}
					until = previous.end + time.Minute
					halfOpen = !previous.outcome.Answered
				}
				if c.start >= until {
					if !halfOpen {
						break
					}
				} else if apart := c.start - previous.start; apart < time.Minute/time.Duration(c.limit) {
					if !restsBetween(calls, previous.start, c.start) {
						violations = append(violations, fmt.Sprintf("granted at %v, %v after the one before it, limit %d", c.start, apart, c.limit))
					}
				}
			}
			previous = &calls[i]
		}
	}
	return violations
}

func restsBetween(calls []granted, from, to time.Duration) bool {
	return slices.ContainsFunc(calls, func(c granted) bool {
		return c.outcome.Throttled && c.end > from && c.end <= to
	})
}
