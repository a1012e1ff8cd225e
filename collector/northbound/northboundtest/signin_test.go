package northboundtest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	nt "huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

const (
	form  = "application/x-www-form-urlencoded"
	jsonT = "application/json"
)

func TestLogin(t *testing.T) {
	p := newPlatform()
	p.AddApplication(nt.App{ID: "frozenApp", Secret: secret})
	p.SetFrozen("frozenApp", true)
	for name, tt := range map[string]struct{ contentType, body, want string }{
		"right":               {form, "appId=fleetApp&secret=s3cret", "OK"},
		"with charset":        {form + "; charset=UTF-8", "appId=fleetApp&secret=s3cret", "OK"},
		"no appId":            {form, "secret=s3cret", `Bad Request "102202"`},
		"no secret":           {form, "appId=fleetApp&secret=", `Bad Request "102202"`},
		"JSON":                {jsonT, `{"appId":"fleetApp","secret":"s3cret"}`, `Bad Request "102202"`},
		"wrong secret":        {form, "appId=fleetApp&secret=guess", `Unauthorized "100208"`},
		"unknown application": {form, "appId=nobody&secret=s3cret", `Unauthorized "100208"`},
		"frozen":              {form, "appId=frozenApp&secret=s3cret", `Bad Request "100247"`},
		"frozen, wrong":       {form, "appId=frozenApp&secret=guess", `Unauthorized "100208"`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := refusal(t, post(t, p, nt.LoginPath, tt.contentType, tt.body)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestTokensInTheAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		opts          []nt.Option
		wantExpiresIn string
		wantRefresh   bool
	}{
		"default":          {nil, `3600`, true},
		"text":             {[]nt.Option{nt.WithExpiresInAsText()}, `"3600"`, true},
		"lifetime":         {[]nt.Option{nt.WithTokenLifetime(90 * time.Second)}, `90`, true},
		"no refresh token": {[]nt.Option{nt.WithoutRefreshToken()}, `3600`, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := login(t, newPlatform(tt.opts...), fleet)
			got := decode[tokens](t, a)
			if string(got.ExpiresIn) != tt.wantExpiresIn {
				t.Errorf("expiresIn: got %s, want %s", got.ExpiresIn, tt.wantExpiresIn)
			}
			if (got.RefreshToken != nil) != tt.wantRefresh {
				t.Errorf("refreshToken: got %v, want one: %v", got.RefreshToken, tt.wantRefresh)
			}
			if _, there := decode[map[string]json.RawMessage](t, a)["refreshToken"]; !there {
				t.Error("refreshToken is missing, want it there even if null")
			}
			if got.AccessToken == "" || got.TokenType != "bearer" || got.Scope != "default" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// alive tells whether the platform takes a token of fleet.
func alive(t *testing.T, p *nt.Platform, token string) bool {
	t.Helper()
	switch got := refusal(t, get(t, p, fleet, token, nt.TaskDetailsPath, "taskId="+taskID)); got {
	case "OK":
		return true
	case `Forbidden "1010005"`:
		return false
	default:
		t.Fatalf("unexpected answer %s", got)
		return false
	}
}

// refresh asks for new tokens.
func refresh(t *testing.T, p *nt.Platform, refreshToken string) answer {
	t.Helper()
	body, err := json.Marshal(map[string]string{"appId": fleet, "secret": secret, "refreshToken": refreshToken})
	if err != nil {
		t.Fatal(err)
	}
	return post(t, p, nt.RefreshTokenPath, jsonT, string(body))
}

func TestTokenDies(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(*testing.T, *nt.Platform, tokens)
		want bool
	}{
		"not by itself":                 {func(*testing.T, *nt.Platform, tokens) {}, true},
		"not just before its end":       {func(*testing.T, *nt.Platform, tokens) { time.Sleep(time.Hour - 1) }, true},
		"at its end":                    {func(*testing.T, *nt.Platform, tokens) { time.Sleep(time.Hour) }, false},
		"on the next login":             {func(t *testing.T, p *nt.Platform, _ tokens) { signIn(t, p, fleet) }, false},
		"on a refresh":                  {func(t *testing.T, p *nt.Platform, k tokens) { refresh(t, p, *k.RefreshToken) }, false},
		"not on a refused refresh":      {func(t *testing.T, p *nt.Platform, _ tokens) { refresh(t, p, "guess") }, true},
		"not on another's login":        {func(t *testing.T, p *nt.Platform, _ tokens) { signIn(t, p, other) }, true},
		"when revoked":                  {func(_ *testing.T, p *nt.Platform, _ tokens) { p.RevokeToken(fleet) }, false},
		"when another program signs in": {func(_ *testing.T, p *nt.Platform, _ tokens) { p.StealToken(fleet) }, false},
		"when frozen":                   {func(_ *testing.T, p *nt.Platform, _ tokens) { p.SetFrozen(fleet, true) }, false},
		"not with a new secret":         {func(_ *testing.T, p *nt.Platform, _ tokens) { p.SetSecret(fleet, "new") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := withTask(newPlatform(), nil)
				k := signIn(t, p, fleet)
				tt.do(t, p, k)
				if got := alive(t, p, k.AccessToken); got != tt.want {
					t.Errorf("token alive: %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestStolenTokenWorks(t *testing.T) {
	p := withTask(newPlatform(), nil)
	if !alive(t, p, p.StealToken(fleet)) {
		t.Error("the token of the other program is dead")
	}
}

func TestSecretChanges(t *testing.T) {
	p := newPlatform()
	p.SetSecret(fleet, "new")
	if got, want := refusal(t, login(t, p, fleet)), `Unauthorized "100208"`; got != want {
		t.Errorf("the old secret: got %s, want %s", got, want)
	}
	if got := refusal(t, post(t, p, nt.LoginPath, form, "appId=fleetApp&secret=new")); got != "OK" {
		t.Errorf("the new secret: got %s, want OK", got)
	}
}

func TestThawedApplicationSignsIn(t *testing.T) {
	p := newPlatform()
	p.SetFrozen(fleet, true)
	p.SetFrozen(fleet, false)
	signIn(t, p, fleet)
}

func TestRefresh(t *testing.T) {
	for name, tt := range map[string]struct {
		opts []nt.Option
		do   func(*testing.T, *nt.Platform, tokens)
		want string
	}{
		"valid":               {nil, func(*testing.T, *nt.Platform, tokens) {}, "OK"},
		"token expired":       {nil, func(*testing.T, *nt.Platform, tokens) { time.Sleep(2 * time.Hour) }, "OK"},
		"token revoked":       {nil, func(_ *testing.T, p *nt.Platform, _ tokens) { p.RevokeToken(fleet) }, "OK"},
		"used":                {nil, func(t *testing.T, p *nt.Platform, k tokens) { refresh(t, p, *k.RefreshToken) }, `Bad Request "50400"`},
		"killed by a login":   {nil, func(t *testing.T, p *nt.Platform, _ tokens) { signIn(t, p, fleet) }, `Bad Request "50400"`},
		"expired after a day": {nil, func(*testing.T, *nt.Platform, tokens) { time.Sleep(24 * time.Hour) }, `Bad Request "50400"`},
		"lives for a month": {
			[]nt.Option{nt.WithRefreshTokenLifetime(30 * 24 * time.Hour)},
			func(*testing.T, *nt.Platform, tokens) { time.Sleep(29 * 24 * time.Hour) },
			"OK",
		},
		"frozen and thawed": {nil, func(_ *testing.T, p *nt.Platform, _ tokens) {
			p.SetFrozen(fleet, true)
			p.SetFrozen(fleet, false)
		}, `Bad Request "50400"`},
		"secret changed": {nil, func(_ *testing.T, p *nt.Platform, _ tokens) { p.SetSecret(fleet, "new") }, `Unauthorized "100208"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := withTask(newPlatform(tt.opts...), nil)
				k := signIn(t, p, fleet)
				tt.do(t, p, k)
				a := refresh(t, p, *k.RefreshToken)
				if got := refusal(t, a); got != tt.want {
					t.Fatalf("got %s, want %s", got, tt.want)
				}
				if tt.want != "OK" {
					return
				}
				fresh := decode[tokens](t, a)
				if *fresh.RefreshToken == *k.RefreshToken {
					t.Error("the refresh token is the old one, want a new one")
				}
				if !alive(t, p, fresh.AccessToken) {
					t.Error("the new token is dead")
				}
			})
		})
	}
}

func TestRefreshInput(t *testing.T) {
	for name, tt := range map[string]struct{ contentType, body, want string }{
		"not JSON":         {jsonT, "appId=fleetApp", `Bad Request "50400"`},
		"a form":           {form, `{"appId":"fleetApp","secret":"s3cret","refreshToken":"x"}`, `Bad Request "50400"`},
		"no refresh token": {jsonT, `{"appId":"fleetApp","secret":"s3cret","refreshToken":null}`, `Bad Request "102202"`},
		"no secret":        {jsonT, `{"appId":"fleetApp","refreshToken":"x"}`, `Bad Request "102202"`},
		"unknown":          {jsonT, `{"appId":"nobody","secret":"s3cret","refreshToken":"x"}`, `Unauthorized "100208"`},
		"guessed":          {jsonT, `{"appId":"fleetApp","secret":"s3cret","refreshToken":"x"}`, `Bad Request "50400"`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := refusal(t, post(t, newPlatform(), nt.RefreshTokenPath, tt.contentType, tt.body)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAuthentication(t *testing.T) {
	p := withTask(newPlatform(), nil)
	token := signIn(t, p, fleet).AccessToken
	for name, tt := range map[string]struct {
		header map[string]string
		want   string
	}{
		"both headers":      {map[string]string{"app_key": fleet, "Authorization": "Bearer " + token}, "OK"},
		"scheme in lower":   {map[string]string{"app_key": fleet, "Authorization": "bearer " + token}, "OK"},
		"no app_key":        {map[string]string{"Authorization": "Bearer " + token}, `Forbidden "1010005"`},
		"unknown app_key":   {map[string]string{"app_key": "nobody", "Authorization": "Bearer " + token}, `Forbidden "1010005"`},
		"another's app_key": {map[string]string{"app_key": other, "Authorization": "Bearer " + token}, `Forbidden "1010005"`},
		"no token":          {map[string]string{"app_key": fleet}, `Forbidden "1010005"`},
		"empty token":       {map[string]string{"app_key": other, "Authorization": "Bearer "}, `Forbidden "1010005"`},
		"bare token":        {map[string]string{"app_key": fleet, "Authorization": token}, `Forbidden "1010005"`},
		"another scheme":    {map[string]string{"app_key": fleet, "Authorization": "Basic " + token}, `Forbidden "1010005"`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{nt.TaskDetailsPath + "?taskId=" + taskID, nt.TasksPath + taskID} {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
				for k, v := range tt.header {
					r.Header.Set(k, v)
				}
				if got := refusal(t, do(t, p, r)); got != tt.want {
					t.Errorf("%s: got %s, want %s", path, got, tt.want)
				}
			}
		})
	}
}
