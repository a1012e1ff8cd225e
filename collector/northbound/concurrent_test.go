package northbound_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"huawei_iot_batch_exporter/collector/northbound"
)

func TestConcurrentCallersShareASignIn(t *testing.T) {
	for name, fails := range map[string]bool{"works": false, "fails": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &platform{onLogin: func(*http.Request) (*http.Response, error) {
					time.Sleep(time.Second)
					if fails {
						return nil, errors.New("no route")
					}
					return nil, nil
				}}
				c := newClient(t, p)
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() {
						if err := c.SignIn(t.Context()); (err != nil) != fails {
							t.Errorf("error: %v", err)
						}
					})
				}
				wg.Wait()
				expectCalls(t, p, "login")
			})
		})
	}
}

// A login that was sent has ended the old token: it has to be seen through.
func TestSignInOutlivesTheCallerThatBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{onLogin: func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(10 * time.Second):
				return nil, nil
			case <-r.Context().Done():
				return nil, context.Cause(r.Context())
			}
		}}
		c := newClient(t, p)
		first, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := c.SignIn(first); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("first caller: %v", err)
			}
		})
		time.Sleep(500 * time.Millisecond)
		wg.Go(func() {
			if err := c.SignIn(t.Context()); err != nil {
				t.Errorf("second caller: %v", err)
			}
		})
		wg.Wait()
		expectCalls(t, p, "login")
	})
}

func TestNextCallerTakesOverAtTheLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		l := &limiter{acquire: func(ctx context.Context, _ int) error {
			select {
			case <-time.After(5 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		c := newClient(t, p, northbound.WithLimiter(l))
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := c.SignIn(first); !errors.Is(err, context.Canceled) {
				t.Errorf("first caller: %v", err)
			}
		})
		synctest.Wait()
		for range 3 {
			wg.Go(func() {
				if err := c.SignIn(t.Context()); err != nil {
					t.Errorf("another caller: %v", err)
				}
			})
		}
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		expectCalls(t, p, "login")
	})
}

func TestDeadTokenIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{onGet: func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return nil, nil
		}}
		c := newClient(t, p)
		mustRead(t, c)
		p.kill()
		p.took()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := read(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		expectCalls(t, p, "get get get login get get get")
		if got := c.Session().EarlyDeaths; got != 1 {
			t.Errorf("%d early deaths", got)
		}
	})
}

// A call that was slow finds its token dead because another call replaced it.
func TestTokenReplacedMeanwhileNeedsNoSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := true
		p := &platform{}
		p.onGet = func(*http.Request) (*http.Response, error) {
			if slow {
				slow = false
				time.Sleep(time.Minute)
			}
			return nil, nil
		}
		c := newClient(t, p)
		done := make(chan error)
		go func() { done <- read(t.Context(), c) }()
		synctest.Wait()
		p.kill()
		mustRead(t, c)
		expectCalls(t, p, "login get get login get")
		if err := <-done; err != nil {
			t.Error(err)
		}
		expectCalls(t, p, "get")
	})
}

func TestAdopt(t *testing.T) {
	given := northbound.Credentials{AppID: appID, AccessToken: func() (string, error) { return "token-1", nil }}
	other := withSecret()
	other.AppID = "other"
	for name, test := range map[string]struct {
		url   string
		creds northbound.Credentials
		want  string
	}{
		"the same":          {base, withSecret(), "get"},
		"written otherwise": {"HTTPS://Platform.Example:8743/", withSecret(), "get"},
		"other application": {base, other, "login get"},
		"other port":        {"https://platform.example", withSecret(), "login get"},
		"other scheme":      {"http://platform.example:8743", withSecret(), "login get"},
		"token is given":    {base, given, "get"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &platform{}
			prev := newClient(t, p)
			mustRead(t, prev)
			p.took()
			next, err := northbound.NewClient(test.url, test.creds, northbound.WithTransport(p))
			if err != nil {
				t.Fatal(err)
			}
			next.Adopt(prev)
			_ = read(t.Context(), next)
			if got := strings.TrimSuffix(p.took(), " login get"); got != test.want {
				t.Errorf("calls: %q, want %q", got, test.want)
			}
		})
	}
}

func TestAdoptImpliedPort(t *testing.T) {
	p := &platform{}
	var prev *northbound.Client
	for i, url := range []string{"https://platform.example", "https://platform.example:443"} {
		c, err := northbound.NewClient(url, withSecret(), northbound.WithTransport(p))
		if err != nil {
			t.Fatal(err)
		}
		c.Adopt(prev)
		mustRead(t, c)
		expectCalls(t, p, []string{"login get", "get"}[i])
		prev = c
	}
}

func TestAdoptGivenToken(t *testing.T) {
	p := &platform{}
	prev, err := northbound.NewClient(base, northbound.Credentials{AppID: appID, AccessToken: func() (string, error) { return "given", nil }}, northbound.WithTransport(p))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, p)
	c.Adopt(prev)
	mustRead(t, c)
	expectCalls(t, p, "login get")
}

func TestAdoptKeepsThePauseAndTheRuleOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{onLogin: func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return jsonAnswer(401, refused), nil
		}}
		prev, next := newClient(t, p), newClient(t, p)
		next.Adopt(nil)
		next.Adopt(prev)
		var wg sync.WaitGroup
		for _, c := range []*northbound.Client{prev, next} {
			wg.Go(func() { _ = c.SignIn(t.Context()) })
		}
		wg.Wait()
		expectCalls(t, p, "login")
		if err := next.SignIn(t.Context()); !errors.Is(err, northbound.ErrSignInPaused) {
			t.Errorf("error: %v", err)
		}
		if diff := cmp.Diff(prev.Session(), next.Session(), cmpopts.EquateErrors()); diff != "" {
			t.Errorf("sessions differ: %s", diff)
		}
	})
}
