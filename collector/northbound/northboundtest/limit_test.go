package northboundtest_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	nt "huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// try makes n calls at once and returns how many of them the limit allowed.
func try(t *testing.T, p *nt.Platform, token string, n int) int {
	t.Helper()
	allowed := 0
	for range n {
		if get(t, p, fleet, token, nt.TaskDetailsPath, "taskId="+taskID).Status == http.StatusOK {
			allowed++
		}
	}
	return allowed
}

func TestCallLimit(t *testing.T) {
	// A step waits, makes calls, and says how many are allowed. The fake clock
	// of a bubble begins at a full minute.
	type step struct {
		wait        time.Duration
		calls, want int
	}
	for name, tt := range map[string]struct {
		opts  []nt.Option
		steps []step
	}{
		"sliding, 100 by default": {nil, []step{
			{40 * time.Second, 60, 60},
			{30 * time.Second, 60, 40}, // another minute of the clock
			{30*time.Second - 1, 1, 0},
			{1, 70, 60}, // the first 60 are out of the window
		}},
		"fixed": {[]nt.Option{nt.WithFixedMinute()}, []step{
			{40 * time.Second, 120, 100},
			{20*time.Second - 1, 1, 0},
			{1, 120, 100},
		}},
		"sliding, refused calls count": {[]nt.Option{nt.WithRefusedCallsCounted()}, []step{
			{0, 101, 100},
			{59 * time.Second, 100, 0},
			{time.Second, 1, 0}, // the last 100 were refused but count
			{time.Minute, 1, 1},
		}},
		"fixed, refused calls count": {[]nt.Option{nt.WithFixedMinute(), nt.WithRefusedCallsCounted()}, []step{
			{0, 150, 100},
			{time.Minute, 150, 100},
		}},
		"other limit": {[]nt.Option{nt.WithCallLimit(3)}, []step{{0, 5, 3}, {time.Minute, 5, 3}}},
		"off":         {[]nt.Option{nt.WithCallLimit(0)}, []step{{0, 500, 500}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := withTask(newPlatform(tt.opts...), nil)
				token := p.StealToken(fleet)
				for i, s := range tt.steps {
					time.Sleep(s.wait)
					if got := try(t, p, token, s.calls); got != s.want {
						t.Errorf("step %d: %d of %d calls allowed, want %d", i, got, s.calls, s.want)
					}
				}
			})
		})
	}
}

func TestWhatCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		opts []nt.Option
		do   func(*testing.T, *nt.Platform, string)
		want int // calls left of 10
	}{
		"nothing":         {nil, func(*testing.T, *nt.Platform, string) {}, 10},
		"login":           {nil, func(t *testing.T, p *nt.Platform, _ string) { login(t, p, fleet) }, 9},
		"refresh":         {nil, func(t *testing.T, p *nt.Platform, _ string) { refresh(t, p, "guess") }, 9},
		"uncounted login": {[]nt.Option{nt.WithUncountedSignIn()}, func(t *testing.T, p *nt.Platform, _ string) { login(t, p, fleet) }, 10},
		"task": {nil, func(t *testing.T, p *nt.Platform, token string) {
			get(t, p, fleet, token, nt.TasksPath+taskID, "")
		}, 9},
		"refused input": {nil, func(t *testing.T, p *nt.Platform, token string) {
			get(t, p, fleet, token, nt.TaskDetailsPath, "")
		}, 9},
		"dead token": {nil, func(t *testing.T, p *nt.Platform, _ string) {
			get(t, p, fleet, "dead", nt.TaskDetailsPath, "taskId="+taskID)
		}, 9},
		"not another application's": {nil, func(t *testing.T, p *nt.Platform, _ string) { login(t, p, other) }, 10},
		"another user's": {nil, func(_ *testing.T, p *nt.Platform, _ string) {
			p.Spend(fleet, 4)
		}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			p := withTask(newPlatform(append(tt.opts, nt.WithCallLimit(10))...), nil)
			token := p.StealToken(fleet)
			tt.do(t, p, token)
			token = p.StealToken(fleet) // a login may have killed the first
			if got := try(t, p, token, 20); got != tt.want {
				t.Errorf("%d calls left, want %d", got, tt.want)
			}
		})
	}
}

func TestSpendIsLimitedToo(t *testing.T) {
	p := newPlatform()
	if got := p.Spend(fleet, 130); got != 100 {
		t.Errorf("130 calls: %d allowed, want 100", got)
	}
	if got, want := refusal(t, login(t, p, fleet)), `Forbidden "1010009"`; got != want {
		t.Errorf("login after that: got %s, want %s", got, want)
	}
}

func TestRefusedSignInChangesNothing(t *testing.T) {
	p := withTask(newPlatform(nt.WithCallLimit(1)), nil)
	token := p.StealToken(fleet)
	p.Spend(fleet, 1)
	login(t, p, fleet)
	p.Set(nt.WithCallLimit(0))
	if !alive(t, p, token) {
		t.Error("a refused login killed the token")
	}
}

func TestThrottleAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		opts             []nt.Option
		want, retryAfter string
	}{
		"default":    {nil, `Forbidden "1010009"`, ""},
		"congestion": {[]nt.Option{nt.WithThrottle(503, "100501", 0)}, `Service Unavailable "100501"`, ""},
		"429":        {[]nt.Option{nt.WithThrottle(429, "1010009", 1500*time.Millisecond)}, `Too Many Requests "1010009"`, "2"},
		"under 200":  {[]nt.Option{nt.WithErrorsUnder200()}, `OK "1010009"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(tt.opts...)
			p.Spend(fleet, 100)
			a := login(t, p, fleet)
			if got := refusal(t, a); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if got := a.Header.Get("Retry-After"); got != tt.retryAfter {
				t.Errorf("Retry-After: got %q, want %q", got, tt.retryAfter)
			}
			if decode[map[string]any](t, a)["error_desc"] == "" {
				t.Error("error_desc is empty")
			}
		})
	}
}

func TestMaxCallsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(nt.WithCallLimit(0))
		for _, wait := range []time.Duration{0, 30 * time.Second, 30 * time.Second, 10 * time.Second, 19 * time.Second} {
			time.Sleep(wait)
			login(t, p, fleet) // at 0, 30, 60, 70 and 89 s
			login(t, p, other)
		}
		got := map[time.Duration]int{}
		for _, w := range []time.Duration{10 * time.Second, 30 * time.Second, 60 * time.Second, time.Hour} {
			got[w] = p.MaxCallsIn(w)
		}
		want := map[time.Duration]int{10 * time.Second: 1, 30 * time.Second: 3, 60 * time.Second: 4, time.Hour: 5}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("calls by window (-want +got):\n%s", diff)
		}
		p.ResetCalls()
		if n := p.MaxCallsIn(time.Hour); n != 0 {
			t.Errorf("%d calls after a reset, want 0", n)
		}
	})
}
