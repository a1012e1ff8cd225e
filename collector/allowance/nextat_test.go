package allowance_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"huawei_iot_batch_exporter/collector/allowance"
)

func TestNextAt(t *testing.T) {
	tests := map[string]struct {
		before func(*testing.T, *allowance.Allowance)
		want   time.Duration
	}{
		"at once": {
			before: func(*testing.T, *allowance.Allowance) {},
			want:   0,
		},
		"with slots that become free": {
			before: func(t *testing.T, a *allowance.Allowance) {
				mustAcquire(t, a, allowance.Configured)
				call(t, a, 19, answered)
				time.Sleep(10 * time.Second)
			},
			want: 50 * time.Second,
		},
		"with all calls in flight": {
			before: func(t *testing.T, a *allowance.Allowance) {
				for range 20 {
					mustAcquire(t, a, allowance.Configured)
				}
				time.Sleep(10 * time.Second)
			},
			want: time.Minute,
		},
		"beside a trial": {
			before: func(t *testing.T, a *allowance.Allowance) {
				call(t, a, 1, throttled)
				mustAcquire(t, a, allowance.Configured)
				time.Sleep(time.Second)
			},
			want: 5 * time.Second, // ten calls a minute are in force
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := allowance.New(20)
				test.before(t, a)
				for _, p := range []allowance.Priority{allowance.Configured, allowance.Background + 7} {
					if got := time.Until(a.NextAt(p)); got != test.want {
						t.Errorf("priority %d: in %v, want %v", p, got, test.want)
					}
				}
			})
		})
	}
}

func TestNextAtIsWhenACallerGetsIt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		p.changes = nil
		reserve := rapid.IntRange(0, 25).Draw(rt, "reserve")
		asks := time.Duration(rapid.IntRange(0, 2000).Draw(rt, "asks")) * 100 * time.Millisecond
		priority := allowance.Priority(rapid.IntRange(0, 2).Draw(rt, "its priority"))
		waiting := rapid.SliceOfN(rapid.IntRange(0, 2), 0, 60).Draw(rt, "waiting")

		var foreseen, got time.Duration
		var inFlight int
		synctest.Test(t, func(*testing.T) {
			a := allowance.New(p.limit)
			a.SetReserve(reserve)
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			for _, c := range p.callers {
				wg.Go(func() {
					select {
					case <-time.After(c.comes):
					case <-ctx.Done():
					}
					release, err := a.Acquire(allowance.WithPriority(ctx, c.priority))
					if err != nil {
						return
					}
					time.Sleep(c.latency)
					release(c.outcome)
				})
			}
			// From here on nobody else comes; those in the queue end at once.
			time.Sleep(asks)
			cancel()
			synctest.Wait()
			inFlight = a.Stats().InFlight
			for _, p := range waiting {
				wg.Go(func() {
					release, err := a.Acquire(allowance.WithPriority(context.Background(), allowance.Priority(p)))
					if err != nil {
						panic(err) // its context never ends
					}
					release(allowance.Outcome{Answered: true})
				})
			}
			synctest.Wait()
			begin := time.Now()
			foreseen = a.NextAt(priority).Sub(begin)
			release, err := a.Acquire(allowance.WithPriority(context.Background(), priority))
			if err != nil {
				panic(err) // its context never ends
			}
			got = time.Since(begin)
			release(allowance.Outcome{Answered: true})
			wg.Wait()
		})
		if inFlight == 0 && got != foreseen {
			rt.Errorf("foreseen in %v, granted in %v", foreseen, got)
		}
		if got < foreseen {
			rt.Errorf("granted in %v, before what was foreseen: %v", got, foreseen)
		}
	})
}

func TestNextGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(1)
		if _, ok := a.NextGrant(); ok {
			t.Error("nobody waits, yet somebody is granted a call")
		}
		release, err := a.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		granted := make(chan time.Time)
		for range 2 {
			go func() {
				release, err := a.Acquire(t.Context())
				if err == nil {
					granted <- time.Now()
					release(allowance.Outcome{Answered: true})
				}
			}()
		}
		synctest.Wait()
		if at, ok := a.NextGrant(); ok {
			t.Errorf("%v, though the call in flight has not ended", at)
		}
		release(allowance.Outcome{Answered: true})
		for n := range 2 {
			at, ok := a.NextGrant()
			if want := start.Add(time.Duration(n+1) * time.Minute); !ok || !at.Equal(want) {
				t.Errorf("%v %v, want %v", at, ok, want)
			}
			if got := <-granted; !got.Equal(at) {
				t.Errorf("granted at %v, said %v", got, at)
			}
			synctest.Wait()
		}
	})
}
