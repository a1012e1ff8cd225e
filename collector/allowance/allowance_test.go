package allowance_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"huawei_iot_batch_exporter/collector/allowance"
)

var (
	answered  = allowance.Outcome{Answered: true}
	throttled = allowance.Outcome{Answered: true, Throttled: true}
)

func with(p allowance.Priority) context.Context {
	return allowance.WithPriority(context.Background(), p)
}

func mustAcquire(t *testing.T, a *allowance.Allowance, p allowance.Priority) allowance.Release {
	t.Helper()
	release, err := a.Acquire(with(p))
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return release
}

// call makes calls that take no time.
func call(t *testing.T, a *allowance.Allowance, n int, o allowance.Outcome) {
	t.Helper()
	for range n {
		mustAcquire(t, a, allowance.Configured)(o)
	}
}

// arrivals lets callers queue one after the other, each ending its call at once
// with the outcome given, and records who was granted a call, and when.
type arrivals struct {
	a     *allowance.Allowance
	begin time.Time // when the first one came

	mu    sync.Mutex
	names []string
	times []time.Duration // since begin
}

func (r *arrivals) come(name string, p allowance.Priority, o allowance.Outcome) {
	if r.begin.IsZero() {
		r.begin = time.Now()
	}
	go func() {
		release, err := r.a.Acquire(with(p))
		if err != nil {
			panic(err) // its context never ends
		}
		r.mu.Lock()
		r.names = append(r.names, name)
		r.times = append(r.times, time.Since(r.begin))
		r.mu.Unlock()
		release(o)
	}()
	synctest.Wait()
}

// granted returns the names of those granted a call up to now, in order.
func (r *arrivals) granted() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.names)
}

// at returns when they were.
func (r *arrivals) at() []time.Duration {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.times)
}

func TestSlotIsFreeAMinuteAfterTheEndOfItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(2)
		slow := mustAcquire(t, a, allowance.Configured)
		call(t, a, 1, answered)
		time.Sleep(10 * time.Second)
		slow(answered)
		slow(throttled) // a second time counts for nothing

		begin := time.Now()
		for _, want := range []time.Duration{50 * time.Second, time.Minute} {
			call(t, a, 1, answered)
			if got := time.Since(begin); got != want {
				t.Errorf("granted after %v, want %v", got, want)
			}
		}
		want := allowance.Stats{Configured: 2, Limit: 2}
		if diff := cmp.Diff(want, a.Stats()); diff != "" {
			t.Errorf("Stats (-want +got):\n%s", diff)
		}
		time.Sleep(time.Minute)
		want.Available = 2
		if diff := cmp.Diff(want, a.Stats()); diff != "" {
			t.Errorf("Stats a minute later (-want +got):\n%s", diff)
		}
	})
}

func TestStatsCountWhatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(3)
		release := mustAcquire(t, a, allowance.Configured)
		call(t, a, 1, answered)
		want := allowance.Stats{Configured: 3, Limit: 3, Available: 1, InFlight: 1}
		if diff := cmp.Diff(want, a.Stats()); diff != "" {
			t.Errorf("Stats (-want +got):\n%s", diff)
		}
		call(t, a, 1, answered)
		r := arrivals{a: a}
		r.come("waiting", allowance.Probe, answered)
		want = allowance.Stats{Configured: 3, Limit: 3, InFlight: 1, Waiting: 1}
		if diff := cmp.Diff(want, a.Stats()); diff != "" {
			t.Errorf("Stats (-want +got):\n%s", diff)
		}
		release(answered)
		time.Sleep(2 * time.Minute)
	})
}

func TestLessThanOneCallIsOne(t *testing.T) {
	a := allowance.New(0)
	if got := a.Stats().Limit; got != 1 {
		t.Errorf("Limit %d after New(0), want 1", got)
	}
	a.SetLimit(-3)
	if got := a.Stats().Limit; got != 1 {
		t.Errorf("Limit %d after SetLimit(-3), want 1", got)
	}
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(1)
		call(t, a, 1, answered)
		r := arrivals{a: a}
		for _, c := range []struct {
			name string
			p    allowance.Priority
		}{
			{"background 1", allowance.Background},
			{"probe 1", allowance.Probe},
			{"configured 1", allowance.Configured},
			{"beyond", allowance.Background + 7},
			{"probe 2", allowance.Probe},
			{"configured 2", allowance.Configured},
			{"before", allowance.Configured - 7},
			{"background 2", allowance.Background},
		} {
			r.come(c.name, c.p, answered)
		}
		time.Sleep(time.Hour)
		want := []string{"configured 1", "configured 2", "before", "probe 1", "probe 2", "background 1", "beyond", "background 2"}
		if diff := cmp.Diff(want, r.granted()); diff != "" {
			t.Errorf("granted (-want +got):\n%s", diff)
		}
	})
}

func TestReserve(t *testing.T) {
	t.Run("stays free under a flood", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := allowance.New(5)
			a.SetReserve(2)
			r := arrivals{a: a}
			for range 10 {
				r.come("probe", allowance.Probe, answered)
				r.come("background", allowance.Background, answered)
			}
			want := []string{"probe", "background", "probe"}
			if diff := cmp.Diff(want, r.granted()); diff != "" {
				t.Errorf("granted (-want +got):\n%s", diff)
			}
			if release, ok := a.TryAcquire(with(allowance.Configured)); ok {
				release(answered)
			} else {
				t.Error("the waiting flood holds up TryAcquire of Configured")
			}
			begin := time.Now()
			call(t, a, 1, answered)
			if waited := time.Since(begin); waited != 0 {
				t.Errorf("Configured waited %v", waited)
			}
			time.Sleep(time.Hour)
			if got := a.Stats().Waiting; got != 0 {
				t.Errorf("%d wait for ever", got)
			}
		})
	})
	t.Run("leaves one slot however large", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := allowance.New(3)
			a.SetReserve(100)
			mustAcquire(t, a, allowance.Background)(answered)
			if _, ok := a.TryAcquire(with(allowance.Probe)); ok {
				t.Error("a second one was granted")
			}
		})
	})
	t.Run("given up lets waiters in at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := allowance.New(3)
			a.SetReserve(2)
			r := arrivals{a: a}
			for range 4 {
				r.come("probe", allowance.Probe, answered)
			}
			a.SetReserve(-1)
			if got := len(r.granted()); got != 3 {
				t.Errorf("%d granted, want 3", got)
			}
			time.Sleep(time.Minute)
		})
	})
}

// Who comes at the very moment at which a slot becomes free finds it taken by
// the one that waited for it.
func TestNobodyJumpsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(1)
		call(t, a, 1, answered)
		var wg sync.WaitGroup
		jump := func() {
			time.Sleep(time.Minute)
			if _, ok := a.TryAcquire(context.Background()); ok {
				t.Error("TryAcquire jumped the queue")
			}
		}
		for range 20 {
			wg.Go(jump)
		}
		synctest.Wait()
		r := arrivals{a: a}
		r.come("", allowance.Configured, answered)
		for range 20 {
			wg.Go(jump)
		}
		wg.Wait()
		if diff := cmp.Diff([]time.Duration{time.Minute}, r.at()); diff != "" {
			t.Errorf("granted at (-want +got):\n%s", diff)
		}
	})
}

func TestEndedContext(t *testing.T) {
	a := allowance.New(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Acquire(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire: %v, want %v", err, context.Canceled)
	}
	if _, ok := a.TryAcquire(ctx); ok {
		t.Error("TryAcquire granted a call")
	}
	if got := a.Stats().Available; got != 1 {
		t.Errorf("%d slots available, want 1", got)
	}
}

func TestWhoGivesUpLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(1)
		call(t, a, 1, answered)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := arrivals{a: a}
		go func() {
			if _, err := a.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Acquire: %v, want %v", err, context.DeadlineExceeded)
			}
		}()
		synctest.Wait()
		r.come("next", allowance.Configured, answered)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := a.Stats().Waiting; got != 1 {
			t.Errorf("%d wait, want 1", got)
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]time.Duration{time.Minute}, r.at()); diff != "" {
			t.Errorf("the next one was granted at (-want +got):\n%s", diff)
		}
	})
}

// A caller may be granted a slot between the end of its context and its leaving
// the queue. Whichever comes first, the slot is somebody's.
func TestSlotOfOneWhoGaveUpGoesToTheNext(t *testing.T) {
	tests := map[string]struct {
		exhaust func(*testing.T, *allowance.Allowance)
		open    func(*allowance.Allowance)
	}{
		"open": {
			exhaust: func(t *testing.T, a *allowance.Allowance) { call(t, a, 1, answered) },
			open:    func(a *allowance.Allowance) { a.SetLimit(2) },
		},
		"as the trial after a rest": {
			exhaust: func(t *testing.T, a *allowance.Allowance) {
				call(t, a, 1, throttled)
				time.Sleep(17 * time.Second) // the rest, but not the minute that the slot is kept
			},
			open: func(a *allowance.Allowance) { a.SetLimit(2) },
		},
		"while calls are spaced": {
			exhaust: func(t *testing.T, a *allowance.Allowance) {
				call(t, a, 1, throttled)
				call(t, a, 1, answered)
				time.Sleep(30 * time.Second)
			},
			open: func(a *allowance.Allowance) { a.SetLimit(10) },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for range 100 {
				synctest.Test(t, func(t *testing.T) {
					a := allowance.New(1)
					test.exhaust(t, a)
					ctx, cancel := context.WithCancel(t.Context())
					go func() {
						if release, err := a.Acquire(ctx); err == nil {
							release(answered)
							t.Error("granted after its context ended")
						}
					}()
					synctest.Wait()
					r := arrivals{a: a}
					r.come("next", allowance.Configured, answered)
					cancel()
					test.open(a)
					synctest.Wait()
					if diff := cmp.Diff([]time.Duration{0}, r.at()); diff != "" {
						t.Errorf("the next one was granted at (-want +got):\n%s", diff)
					}
					if got := a.Stats().InFlight; got != 0 {
						t.Errorf("%d in flight, want 0", got)
					}
				})
			}
		})
	}
}

func TestSetLimitKeepsHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(4)
		for range 4 {
			call(t, a, 1, answered)
			time.Sleep(time.Second)
		}
		r := arrivals{a: a}
		for range 3 {
			r.come("", allowance.Configured, answered)
		}
		a.SetLimit(5) // one at once
		synctest.Wait()
		a.SetLimit(2) // the next when but one of the first four is left, besides that one
		time.Sleep(time.Hour)
		want := []time.Duration{0, 59 * time.Second, time.Minute}
		if diff := cmp.Diff(want, r.at()); diff != "" {
			t.Errorf("granted at (-want +got):\n%s", diff)
		}
	})
}
