package northbound_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"huawei_iot_batch_exporter/collector/northbound"
)

func TestTokenIsUsedUntilShortlyBeforeItExpires(t *testing.T) {
	const assumed = 30 * time.Minute
	for life, want := range map[string]time.Duration{
		`3600`:    58 * time.Minute,
		`"3600"`:  58 * time.Minute,
		`" 60 "`:  54 * time.Second,
		`60`:      54 * time.Second,
		`60.0`:    54 * time.Second,
		`null`:    assumed - 2*time.Minute,
		`""`:      assumed - 2*time.Minute,
		`"soon"`:  assumed - 2*time.Minute,
		`0`:       assumed - 2*time.Minute,
		`-1`:      assumed - 2*time.Minute,
		`{}`:      assumed - 2*time.Minute,
		`1e300`:   365*24*time.Hour - 2*time.Minute,
		`1,"x":1`: 900 * time.Millisecond,
	} {
		t.Run(life, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &platform{life: life}
				c := newClient(t, p)
				mustRead(t, c)
				time.Sleep(want - time.Nanosecond)
				mustRead(t, c)
				expectCalls(t, p, "login get get")
				time.Sleep(time.Nanosecond)
				mustRead(t, c)
				expectCalls(t, p, "refresh get")
			})
		})
	}
}

func TestRefresh(t *testing.T) {
	reply := func(status int, body string) hook {
		return func(*http.Request) (*http.Response, error) { return jsonAnswer(status, body), nil }
	}
	fail := func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }
	for name, test := range map[string]struct {
		onRefresh   hook
		first, next string // calls of the reading that finds the token old, and of the one after it
	}{
		"works":         {nil, "refresh get", "get"},
		"refused":       {reply(400, `{"error_code":"50400"}`), "refresh login get", "get"},
		"not known":     {reply(404, `<html>`), "refresh login get", "get"},
		"internal":      {reply(500, `{"error_code":"50252"}`), "refresh login get", "get"},
		"no connection": {fail, "refresh get", "login get"},
		"bad gateway":   {reply(502, `<html>`), "refresh get", "login get"},
		"bad server":    {reply(500, `<html>`), "refresh get", "login get"},
		"throttled":     {reply(403, throttled), "refresh", "refresh"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &platform{onRefresh: test.onRefresh}
				c := newClient(t, p)
				mustRead(t, c)
				p.took()
				time.Sleep(59 * time.Minute)
				first := read(t.Context(), c)
				expectCalls(t, p, test.first)
				if worked := strings.HasSuffix(test.first, "get"); worked != (first == nil) {
					t.Errorf("error: %v", first)
				}
				_ = read(t.Context(), c)
				expectCalls(t, p, test.next)
				if s := c.Session(); s.EarlyDeaths != 0 {
					t.Errorf("session: %+v", s)
				}
			})
		})
	}
}

// A new token is as good as it was if the call fails for another reason.
func TestOtherFailureKeepsTheNewToken(t *testing.T) {
	p := &platform{}
	c := newClient(t, p)
	mustRead(t, c)
	p.kill()
	p.onLogin = func(*http.Request) (*http.Response, error) {
		p.onGet = func(*http.Request) (*http.Response, error) { return jsonAnswer(404, `{"error_code":"105005"}`), nil }
		return nil, nil
	}
	p.took()
	for _, want := range []string{"get login get", "get"} {
		if err := read(t.Context(), c); !errors.Is(err, northbound.ErrTaskNotFound) {
			t.Errorf("error: %v", err)
		}
		expectCalls(t, p, want)
	}
}

func TestNoRefreshTokenMeansLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{life: `60,"refreshToken":null`}
		c := newClient(t, p)
		mustRead(t, c)
		time.Sleep(time.Minute)
		mustRead(t, c)
		expectCalls(t, p, "login get login get")
	})
}

func TestGrantsThatAreNone(t *testing.T) {
	for name, body := range map[string]string{ //nolint:gosec // nobody's tokens
		"no token":     `{"expiresIn":3600}`,
		"empty":        `{"accessToken":""}`,
		"null":         `{"accessToken":null}`,
		"object":       `{"accessToken":{"a":"b"}}`,
		"line break":   `{"accessToken":"a\r\nb"}`,
		"odd refresh":  `{"accessToken":"tok","refreshToken":[]}`,
		"list":         `[]`,
		"not an end":   `{"accessToken":"tok"`,
		"text":         `welcome`,
		"far too long": `{"x":"` + strings.Repeat("x", 100_000) + `","accessToken":"tok"}`,
	} {
		t.Run(name, func(t *testing.T) {
			p := &platform{onLogin: func(*http.Request) (*http.Response, error) { return jsonAnswer(http.StatusOK, body), nil }}
			err := newClient(t, p).SignIn(t.Context())
			var failed *northbound.Error
			if !errors.As(err, &failed) || failed.Kind != northbound.KindMalformed || failed.Operation != northbound.OperationLogin {
				t.Errorf("error: %v", err)
			}
		})
	}
}

func TestUnreadableSecretIsNotSent(t *testing.T) {
	broken := errors.New("permission denied")
	for name, read := range map[string]func() (string, error){
		"unreadable": func() (string, error) { return "", broken },
		"empty":      func() (string, error) { return "", nil },
	} {
		t.Run(name, func(t *testing.T) {
			p := &platform{}
			c, err := northbound.NewClient(base, northbound.Credentials{AppID: appID, Secret: read}, northbound.WithTransport(p))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.SignIn(t.Context()); err == nil || name == "unreadable" && !errors.Is(err, broken) {
				t.Errorf("error: %v", err)
			}
			if c.Session().Err == nil {
				t.Error("the session does not know")
			}
			expectCalls(t, p, "")
		})
	}
}

// The limiter may hold a call for longer than its token lives.
func TestExpiryIsNoEarlyDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{life: "60"}
		l := &limiter{acquire: func(_ context.Context, n int) error {
			if n%4 == 3 { // the second reading of each round below
				time.Sleep(15 * time.Second)
				p.kill()
			}
			return nil
		}}
		c := newClient(t, p, northbound.WithLimiter(l))
		mustRead(t, c)
		p.took()
		time.Sleep(50 * time.Second)
		for range 3 {
			mustRead(t, c)
			expectCalls(t, p, "get login get")
			time.Sleep(10 * time.Second)
			mustRead(t, c)
			expectCalls(t, p, "get")
			time.Sleep(40 * time.Second)
		}
		if s := c.Session(); s.EarlyDeaths != 0 {
			t.Errorf("session: %+v", s)
		}
	})
}

func TestSessionTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		c := newClient(t, p)
		if diff := cmp.Diff(northbound.Session{}, c.Session()); diff != "" {
			t.Errorf("before: %s", diff)
		}
		start := time.Now()
		mustRead(t, c)
		want := northbound.Session{SignedIn: true, Since: start, ExpiresAt: start.Add(time.Hour)}
		if diff := cmp.Diff(want, c.Session()); diff != "" {
			t.Errorf("signed in: %s", diff)
		}
		time.Sleep(time.Hour)
		if diff := cmp.Diff(northbound.Session{}, c.Session()); diff != "" {
			t.Errorf("expired: %s", diff)
		}
		p.onRefresh = func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }
		_ = read(t.Context(), c)
		if c.Session().Err == nil {
			t.Error("the failure is not told")
		}
	})
}

// While a call waits for the limiter, the file may get another token.
func TestGivenTokenReplacedAtTheLimiter(t *testing.T) {
	token := "first"
	p := &platform{valid: "second"}
	l := &limiter{acquire: func(context.Context, int) error { token = "second"; return nil }}
	c, err := northbound.NewClient(base, northbound.Credentials{AppID: appID, AccessToken: func() (string, error) { return token, nil }},
		northbound.WithTransport(p), northbound.WithLimiter(l))
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, c)
	expectCalls(t, p, "get")
}

func TestGivenToken(t *testing.T) {
	token := "from-a-file\n"
	var broken error
	p := &platform{valid: "from-a-file"}
	c, err := northbound.NewClient(base, northbound.Credentials{AppID: appID, AccessToken: func() (string, error) { return token, broken }}, northbound.WithTransport(p))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SignIn(t.Context()); err != nil {
		t.Error(err)
	}
	mustRead(t, c)
	expectCalls(t, p, "get")
	if s := c.Session(); !s.SignedIn || s.Since.IsZero() || s.Err != nil {
		t.Errorf("session: %+v", s)
	}

	// Replaced in time.
	p.valid, token = "second", "second"
	mustRead(t, c)
	expectCalls(t, p, "get")

	// Replaced between the call and its refusal.
	p.onGet = func(*http.Request) (*http.Response, error) {
		p.valid, token, p.onGet = "third", "third", nil
		return nil, nil
	}
	mustRead(t, c)
	expectCalls(t, p, "get get")

	// Not replaced.
	p.kill()
	err = read(t.Context(), c)
	if !errors.Is(err, northbound.ErrTokenInvalid) || !strings.Contains(err.Error(), "hands the new one over") {
		t.Errorf("error: %v", err)
	}
	expectCalls(t, p, "get")
	if s := c.Session(); s.SignedIn || !errors.Is(s.Err, northbound.ErrTokenInvalid) {
		t.Errorf("session: %+v", s)
	}

	// Unusable.
	for _, bad := range []string{"", " \n", "two words", "a\nb"} {
		token = bad
		if err := read(t.Context(), c); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("token %q: %v", bad, err)
		}
	}
	broken = errors.New("permission denied")
	if err := read(t.Context(), c); !errors.Is(err, broken) {
		t.Errorf("error: %v", err)
	}
	expectCalls(t, p, "")
}
