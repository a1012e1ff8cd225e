package allowance_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"huawei_iot_batch_exporter/collector/allowance"
)

// resting returns how long the rest still lasts.
func resting(a *allowance.Allowance) time.Duration {
	if until := a.Stats().RestingUntil; !until.IsZero() {
		return time.Until(until)
	}
	return 0
}

func wantRest(t *testing.T, a *allowance.Allowance, atLeast time.Duration) {
	t.Helper()
	if got := resting(a); got < atLeast || got > atLeast+atLeast/10 {
		t.Errorf("rests for %v, want %v and up to 10%% more", got, atLeast)
	}
}

func wantLimit(t *testing.T, a *allowance.Allowance, want int) {
	t.Helper()
	if got := a.Stats().Limit; got != want {
		t.Errorf("limit in force %d, want %d", got, want)
	}
}

// sitOut sleeps until the rest is over.
func sitOut(a *allowance.Allowance) { time.Sleep(resting(a)) }

func TestRestAsLongAsThePlatformAsks(t *testing.T) {
	for _, test := range []struct{ asked, want time.Duration }{
		{-time.Second, 15 * time.Second},
		{0, 15 * time.Second},
		{time.Nanosecond, time.Nanosecond},
		{time.Second, time.Second},
		{3 * time.Minute, 3 * time.Minute},
		{time.Hour, 10 * time.Minute},
		{1<<63 - 1, 10 * time.Minute},
	} {
		t.Run(test.asked.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := allowance.New(60)
				call(t, a, 1, allowance.Outcome{Throttled: true, RetryAfter: test.asked})
				wantRest(t, a, test.want)

				over := a.Stats().RestingUntil
				call(t, a, 1, answered)
				if got := time.Now(); !got.Equal(over) {
					t.Errorf("granted %v after the rest", got.Sub(over))
				}
				if got := a.Stats().RestingUntil; !got.IsZero() {
					t.Errorf("still rests until %v", got)
				}
			})
		})
	}
}

func TestRestsDoubleUntilQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(640)
		for _, want := range []time.Duration{15, 30, 60, 120, 120} {
			call(t, a, 1, throttled)
			wantRest(t, a, want*time.Second)
			sitOut(a)
		}
		if got := a.Stats().Throttled; got != 5 {
			t.Errorf("%d throttle answers, want 5", got)
		}
		time.Sleep(5*time.Minute - time.Second)
		call(t, a, 1, throttled)
		wantRest(t, a, 2*time.Minute)
		sitOut(a)
		time.Sleep(5 * time.Minute)
		call(t, a, 1, throttled)
		wantRest(t, a, 15*time.Second)
	})
}

func TestAnswersOfOneEventCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(60)
		var flight []allowance.Release
		for range 8 {
			flight = append(flight, mustAcquire(t, a, allowance.Configured))
		}
		flight[0](throttled)
		time.Sleep(time.Second)
		until := a.Stats().RestingUntil
		flight[1](throttled)
		flight[2](allowance.Outcome{Throttled: true, RetryAfter: time.Second})
		wantLimit(t, a, 30)
		if got := a.Stats().RestingUntil; !got.Equal(until) {
			t.Errorf("the same event moved the end of the rest by %v", got.Sub(until))
		}

		// If the platform asks for more, it gets more.
		flight[3](allowance.Outcome{Throttled: true, RetryAfter: time.Minute})
		wantLimit(t, a, 30)
		if got := resting(a); got != time.Minute {
			t.Errorf("rests for %v, want 1m", got)
		}

		// Late answers tell nothing about the trial, nor about what follows it.
		sitOut(a)
		trial := mustAcquire(t, a, allowance.Configured)
		flight[4](allowance.Outcome{Throttled: true, RetryAfter: time.Minute})
		flight[5](answered)
		if _, ok := a.TryAcquire(context.Background()); ok {
			t.Error("another call's answer ended the trial")
		}
		trial(answered)
		flight[6](throttled)
		wantLimit(t, a, 30)
		if got := resting(a); got != 0 {
			t.Errorf("rests for %v, want no rest", got)
		}
		if got := a.Stats().Throttled; got != 6 {
			t.Errorf("%d throttle answers, want 6", got)
		}
		time.Sleep(time.Minute - time.Nanosecond)
		wantLimit(t, a, 30) // grows from the end of the longer rest
		time.Sleep(time.Nanosecond)
		wantLimit(t, a, 36)
		flight[7](answered)
	})
}

func TestLimitNeverFallsBelowOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(7)
		for _, want := range []int{3, 1, 1} {
			call(t, a, 1, throttled)
			wantLimit(t, a, want)
		}
	})
}

func TestAfterARestOneCallGoesFirst(t *testing.T) {
	tests := map[string]struct {
		trial allowance.Outcome
		then  func(t *testing.T, a *allowance.Allowance, r *arrivals)
	}{
		"answered: the others follow, spaced for a minute": {
			trial: answered,
			then: func(t *testing.T, a *allowance.Allowance, r *arrivals) {
				wantLimit(t, a, 10)
				time.Sleep(2 * time.Second)
				r.come("late", allowance.Configured, answered)
				time.Sleep(30 * time.Second)
				want := []time.Duration{7 * time.Second, 13 * time.Second, 19 * time.Second, 25 * time.Second, 31 * time.Second}
				if diff := cmp.Diff(want, r.at()); diff != "" {
					t.Errorf("granted after the rest at (-want +got):\n%s", diff)
				}
				// Until a minute after the trial: then six may go together.
				time.Sleep(66*time.Second - time.Since(r.begin))
				synctest.Wait()
				if !canSend(a) {
					t.Error("no call can be sent")
				}
				if canSend(a) {
					t.Error("two calls can be sent at once within the minute")
				}
				time.Sleep(time.Second)
				for range 2 {
					if !canSend(a) {
						t.Error("calls are still spaced after the minute")
					}
				}
			},
		},
		"not answered: another trial, at the same distance": {
			trial: allowance.Outcome{},
			then: func(t *testing.T, a *allowance.Allowance, r *arrivals) {
				wantLimit(t, a, 10)
				time.Sleep(13*time.Second - time.Since(r.begin))
				synctest.Wait()
				want := []time.Duration{7 * time.Second, 13 * time.Second}
				if diff := cmp.Diff(want, r.at()); diff != "" {
					t.Errorf("granted after the rest at (-want +got):\n%s", diff)
				}
				time.Sleep(time.Minute)
			},
		},
		"throttled: a longer rest": {
			trial: throttled,
			then: func(t *testing.T, a *allowance.Allowance, r *arrivals) {
				wantLimit(t, a, 5)
				wantRest(t, a, 30*time.Second)
				sitOut(a)
				if got := len(r.at()); got != 1 {
					t.Errorf("%d granted at the end of the second rest, want 1", got)
				}
				time.Sleep(3 * time.Minute)
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := allowance.New(20)
				call(t, a, 1, throttled)
				sitOut(a)
				trial := mustAcquire(t, a, allowance.Configured)
				r := arrivals{a: a}
				for range 4 {
					r.come("", allowance.Configured, answered)
				}
				time.Sleep(7 * time.Second)
				if got := len(r.at()); got != 0 {
					t.Fatalf("%d granted beside the trial", got)
				}
				trial(test.trial)
				synctest.Wait()
				test.then(t, a, &r)
			})
		})
	}
}

func TestTrialsGoOneByOneUntilOneIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(20)
		call(t, a, 1, throttled)
		call(t, a, 1, allowance.Outcome{}) // the first trial: no answer
		time.Sleep(time.Minute)
		second := mustAcquire(t, a, allowance.Configured)
		time.Sleep(10 * time.Second) // more than grants are apart
		if canSend(a) {
			t.Error("a call can be sent beside the second trial")
		}
		second(answered)
		if !canSend(a) {
			t.Error("no call can be sent once a trial has been answered")
		}
	})
}

func TestRestEndsTheSpacingOfTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(40)
		call(t, a, 1, throttled)
		call(t, a, 1, answered)
		call(t, a, 1, allowance.Outcome{Throttled: true, RetryAfter: time.Second})
		over := a.Stats().RestingUntil
		call(t, a, 1, answered)
		if got := time.Since(over); got != 0 {
			t.Errorf("the trial was granted %v after the rest", got)
		}
	})
}

// canSend sends a call if it can be sent right now.
func canSend(a *allowance.Allowance) bool {
	release, ok := a.TryAcquire(context.Background())
	if ok {
		release(answered)
	}
	return ok
}

func TestLimitGrowsBackStepByStep(t *testing.T) {
	tests := map[string]struct {
		configured int
		limits     []int // at the end of the rest, and after each minute
	}{
		"by a tenth":   {60, []int{30, 36, 42, 48, 54, 60, 60}},
		"by the rest":  {64, []int{32, 38, 44, 50, 56, 62, 64, 64}},
		"by one":       {6, []int{3, 4, 5, 6, 6}},
		"is never low": {1, []int{1, 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := allowance.New(test.configured)
				call(t, a, 1, throttled)
				wantLimit(t, a, test.limits[0])
				sitOut(a)
				for _, want := range test.limits {
					wantLimit(t, a, want)
					time.Sleep(time.Minute - time.Nanosecond)
					wantLimit(t, a, want)
					time.Sleep(time.Nanosecond)
				}
			})
		})
	}
}

func TestGrowthWakesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(4)
		held := []allowance.Release{mustAcquire(t, a, allowance.Configured), mustAcquire(t, a, allowance.Configured)}
		call(t, a, 1, throttled) // two in force, both held
		sitOut(a)
		r := arrivals{a: a}
		r.come("", allowance.Configured, answered)
		time.Sleep(time.Hour)
		if diff := cmp.Diff([]time.Duration{time.Minute}, r.at()); diff != "" {
			t.Errorf("granted after the rest at (-want +got):\n%s", diff)
		}
		for _, release := range held {
			release(answered)
		}
	})
}

func TestSetLimitWhileReduced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowance.New(60)
		call(t, a, 1, throttled)
		sitOut(a)
		time.Sleep(90 * time.Second)
		wantLimit(t, a, 36)
		a.SetLimit(100) // forgets neither the throttling nor the half minute
		wantLimit(t, a, 36)
		time.Sleep(30 * time.Second)
		wantLimit(t, a, 46)
		a.SetLimit(20)
		wantLimit(t, a, 20)
		a.SetLimit(100) // 20 was in force in full
		wantLimit(t, a, 100)
	})
}
