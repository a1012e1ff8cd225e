package northbound_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"huawei_iot_batch_exporter/collector/northbound"
)

func TestRefusedLoginPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{onLogin: func(*http.Request) (*http.Response, error) { return jsonAnswer(401, refused), nil }}
		c := newClient(t, p)
		for _, wait := range []time.Duration{30, 60, 120, 240, 300, 300} {
			wait *= time.Second
			err := read(t.Context(), c)
			if !errors.Is(err, northbound.ErrCredentials) || errors.Is(err, northbound.ErrSignInPaused) {
				t.Fatalf("refused: %v", err)
			}
			if got := c.Session(); !got.PausedUntil.Equal(time.Now().Add(wait)) || !errors.Is(got.Err, northbound.ErrCredentials) {
				t.Errorf("session: %+v", got)
			}
			expectCalls(t, p, "login")
			time.Sleep(wait - time.Nanosecond)
			err = read(t.Context(), c)
			if !errors.Is(err, northbound.ErrSignInPaused) || !errors.Is(err, northbound.ErrCredentials) {
				t.Errorf("paused: %v", err)
			}
			expectCalls(t, p, "")
			time.Sleep(time.Nanosecond)
		}
		p.onLogin = nil
		mustRead(t, c)
		if s := c.Session(); s.Err != nil || !s.PausedUntil.IsZero() {
			t.Errorf("session: %+v", s)
		}

		// After a success it begins anew.
		no := func(*http.Request) (*http.Response, error) { return jsonAnswer(401, refused), nil }
		p.onLogin, p.onRefresh = no, no
		time.Sleep(time.Hour)
		_ = read(t.Context(), c)
		if s := c.Session(); !s.PausedUntil.Equal(time.Now().Add(30 * time.Second)) {
			t.Errorf("session: %+v", s)
		}
	})
}

func TestWhichLoginsPause(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		pauses bool
	}{
		"wrong secret":           {401, refused, true},
		"wrong secret under 200": {200, refused, true},
		"frozen":                 {400, `{"error_code":100247}`, true},
		"unknown code":           {403, `{"error_code":"42"}`, true},
		"refused by a proxy":     {403, `<html>`, true},
		"bad request of a proxy": {400, `<html>`, true},
		"the last client error":  {499, `<html>`, true},
		"a redirect":             {399, `<html>`, false},
		"not the platform":       {200, `<html>`, false},
		"internal, of a proxy":   {500, `<html>`, false},
		"throttled":              {403, throttled, false},
		"too many requests":      {429, `slow down`, false},
		"congested":              {503, `{"error_code":"100501"}`, false},
		"internal error":         {500, `{"error_code":"50252"}`, false},
		"bad gateway":            {502, `<html>`, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &platform{onLogin: func(*http.Request) (*http.Response, error) { return jsonAnswer(test.status, test.body), nil }}
				c := newClient(t, p)
				if err := c.SignIn(t.Context()); err == nil {
					t.Error("signed in")
				}
				if err := c.SignIn(t.Context()); errors.Is(err, northbound.ErrSignInPaused) != test.pauses {
					t.Errorf("second sign-in: %v", err)
				}
			})
		})
	}
}

// A login that got no answer may be repeated once at once, then after pauses that
// double.
func TestLostLoginsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{onLogin: func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }}
		c := newClient(t, p)
		for _, wait := range []time.Duration{0, 5, 10, 20, 40, 60, 60} {
			_ = read(t.Context(), c)
			expectCalls(t, p, "login")
			if wait > 0 {
				time.Sleep(wait*time.Second - time.Nanosecond)
				if err := read(t.Context(), c); !errors.Is(err, northbound.ErrSignInPaused) {
					t.Errorf("within %d s: %v", wait, err)
				}
				expectCalls(t, p, "")
				time.Sleep(time.Nanosecond)
			}
		}
	})
}

func TestNewSecretEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		current := "wrong"
		p := &platform{onLogin: func(r *http.Request) (*http.Response, error) {
			if err := r.ParseForm(); err != nil {
				return nil, err
			}
			if r.PostForm.Get("secret") != secret {
				return jsonAnswer(401, refused), nil
			}
			return nil, nil
		}}
		c, err := northbound.NewClient(base, northbound.Credentials{AppID: appID, Secret: func() (string, error) { return current, nil }}, northbound.WithTransport(p))
		if err != nil {
			t.Fatal(err)
		}
		_ = read(t.Context(), c)
		current = "wrong again"
		_ = read(t.Context(), c)
		_ = read(t.Context(), c)
		expectCalls(t, p, "login login")
		current = secret
		mustRead(t, c)
		expectCalls(t, p, "login get")
	})
}

func TestTokensThatKeepDying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		c := newClient(t, p)
		mustRead(t, c)
		time.Sleep(20 * time.Minute)

		// The first death of a token that lived long, and of its successor.
		p.kill()
		mustRead(t, c)
		expectCalls(t, p, "login get get login get")
		for _, wait := range []time.Duration{30, 60, 120, 240, 300, 300} {
			wait *= time.Second
			p.kill()
			err := read(t.Context(), c)
			if !errors.Is(err, northbound.ErrSignInPaused) || !errors.Is(err, northbound.ErrTokenInvalid) {
				t.Fatalf("error: %v", err)
			}
			expectCalls(t, p, "get")
			time.Sleep(wait - time.Nanosecond)
			if err := read(t.Context(), c); !errors.Is(err, northbound.ErrSignInPaused) {
				t.Fatalf("error after %s: %v", wait, err)
			}
			expectCalls(t, p, "")
			time.Sleep(time.Nanosecond)
			mustRead(t, c)
			expectCalls(t, p, "login get")
		}
		if got := c.Session().EarlyDeaths; got != 7 {
			t.Errorf("%d early deaths", got)
		}

		// One that lived for a while makes good for them.
		time.Sleep(10 * time.Minute)
		p.kill()
		mustRead(t, c)
		expectCalls(t, p, "get login get")
		p.kill()
		_ = read(t.Context(), c)
		if s := c.Session(); !s.PausedUntil.Equal(time.Now().Add(30 * time.Second)) {
			t.Errorf("session: %+v", s)
		}
	})
}

func TestNewTokenThatIsDeadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{onGet: func(*http.Request) (*http.Response, error) { return jsonAnswer(403, dead), nil }}
		c := newClient(t, p)
		err := read(t.Context(), c)
		var failed *northbound.Error
		if !errors.As(err, &failed) || failed.Code != "1010005" || errors.Is(err, northbound.ErrSignInPaused) {
			t.Errorf("error: %v", err)
		}
		expectCalls(t, p, "login get login get")
		if err := read(t.Context(), c); !errors.Is(err, northbound.ErrSignInPaused) {
			t.Errorf("error: %v", err)
		}
		expectCalls(t, p, "")
	})
}
