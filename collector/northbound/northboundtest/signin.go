package northboundtest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// App is an application, the platform's unit of credentials, authorizations and
// call limits.
type App struct {
	ID     string
	Secret string
}

type application struct {
	App
	frozen    bool
	readers   map[string]bool // applications that may read the tasks of this one
	access    token
	refresher token
	log       callLog
}

// token is a secret that holds for a time; the zero token never does.
type token struct {
	text   string
	expiry time.Time
}

func newToken(now time.Time, lifetime time.Duration) token {
	return token{rand.Text(), now.Add(lifetime)}
}

func (t token) holds(text string, now time.Time) bool {
	return t.text != "" && t.text == text && now.Before(t.expiry)
}

// AddApplication registers an application, in place of one with the same ID.
func (p *Platform) AddApplication(a App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps[a.ID] = &application{App: a, readers: make(map[string]bool)}
}

// Authorize lets another application read the owner's tasks.
func (p *Platform) Authorize(owner, other string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.app(owner).readers[p.app(other).ID] = true
}

// SetFrozen freezes an application or thaws it. A frozen one cannot sign in
// (400/100247). The documents do not say what becomes of its token; here it dies.
func (p *Platform) SetFrozen(appID string, frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.app(appID)
	a.frozen = frozen
	if frozen {
		a.access, a.refresher = token{}, token{}
	}
}

// SetSecret changes the secret of an application. Its tokens live on.
func (p *Platform) SetSecret(appID, secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.app(appID).Secret = secret
}

// RevokeToken ends the access token of an application before its time. The
// refresh token lives on.
func (p *Platform) RevokeToken(appID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.app(appID).access = token{}
}

// StealToken signs in as another program that shares the application: the
// tokens that were given out before die. It returns that program's access token.
// It costs nothing of the call limit; see [Platform.Spend].
func (p *Platform) StealToken(appID string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.app(appID)
	a.issue(time.Now(), &p.opts)
	return a.access.text
}

// app is the application with this ID. The caller holds the lock.
func (p *Platform) app(id string) *application {
	a, ok := p.apps[id]
	if !ok {
		panic(fmt.Sprintf("northboundtest: the platform has no application %q", id))
	}
	return a
}

// issue replaces the application's tokens.
func (a *application) issue(now time.Time, o *options) {
	a.access = newToken(now, o.tokenLifetime)
	a.refresher = token{}
	if !o.noRefreshToken {
		a.refresher = newToken(now, o.refreshTokenLifetime)
	}
}

// credentials are what sign-in calls carry.
type credentials struct {
	AppID        string `json:"appId"`
	Secret       string `json:"secret"`
	RefreshToken string `json:"refreshToken"`
}

// parseForm reads the body of a login. What is not a form has no fields.
func parseForm(contentType string, body []byte) credentials {
	if mediaType(contentType) != "application/x-www-form-urlencoded" {
		return credentials{}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return credentials{}
	}
	return credentials{AppID: form.Get("appId"), Secret: form.Get("secret")}
}

// parseJSON reads the body of a refreshToken call.
func parseJSON(contentType string, body []byte) (c credentials, ok bool) {
	if mediaType(contentType) != "application/json" {
		return credentials{}, false
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return credentials{}, false
	}
	return c, true
}

func mediaType(contentType string) string {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return t
}

// login answers POST /iocm/app/sec/v1.1.0/login.
func (p *Platform) login(r *request) (any, *refusal) {
	c := parseForm(r.Header.Get("Content-Type"), r.body)
	if c.AppID == "" || c.Secret == "" {
		return nil, errEmptyParameter
	}
	a, no := p.identify(c, r.now)
	if no != nil {
		return nil, no
	}
	a.issue(r.now, &p.opts)
	return a.tokens(&p.opts), nil
}

// refreshToken answers POST /iocm/app/sec/v1.1.0/refreshToken. The documents
// do not name the refusal of a dead refresh token; 400/50400 is the only code
// that they have for this call and not for login.
func (p *Platform) refreshToken(r *request) (any, *refusal) {
	c, ok := parseJSON(r.Header.Get("Content-Type"), r.body)
	switch {
	case !ok:
		return nil, errSignInInput
	case c.AppID == "" || c.Secret == "" || c.RefreshToken == "":
		return nil, errEmptyParameter
	}
	a, no := p.identify(c, r.now)
	if no != nil {
		return nil, no
	}
	if !a.refresher.holds(c.RefreshToken, r.now) {
		return nil, errSignInInput
	}
	a.issue(r.now, &p.opts)
	return a.tokens(&p.opts), nil
}

// identify finds the application that signs in.
func (p *Platform) identify(c credentials, now time.Time) (*application, *refusal) {
	a, ok := p.apps[c.AppID]
	if !ok {
		return nil, errCredentials
	}
	if !p.opts.uncountedSignIn && !a.log.admit(now, &p.opts) {
		return nil, p.opts.throttled
	}
	if a.Secret != c.Secret {
		return nil, errCredentials
	}
	if a.frozen {
		return nil, errFrozen
	}
	return a, nil
}

// tokens is the answer to a sign-in.
func (a *application) tokens(o *options) any {
	type answer struct {
		AccessToken  string  `json:"accessToken"`
		TokenType    string  `json:"tokenType"`
		RefreshToken *string `json:"refreshToken"`
		ExpiresIn    any     `json:"expiresIn"`
		Scope        string  `json:"scope"`
	}
	t := answer{AccessToken: a.access.text, TokenType: "bearer", Scope: "default"}
	if a.refresher.text != "" {
		t.RefreshToken = &a.refresher.text
	}
	seconds := int64(o.tokenLifetime / time.Second)
	t.ExpiresIn = seconds
	if o.expiresInText {
		t.ExpiresIn = strconv.FormatInt(seconds, 10)
	}
	return t
}

// authenticate finds the application that makes a call with its token. Calls
// with a bad token count against the limit of the application they name.
func (p *Platform) authenticate(r *request) (*application, *refusal) {
	a, ok := p.apps[r.Header.Get("app_key")]
	if !ok {
		return nil, errToken
	}
	if !a.log.admit(r.now, &p.opts) {
		return nil, p.opts.throttled
	}
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || !a.access.holds(text, r.now) {
		return nil, errToken
	}
	return a, nil
}

// visible finds a task as an application sees it. owner is the call's appId: an
// application's own ID is as good as none.
func (p *Platform) visible(a *application, owner, taskID string) (*task, *refusal) {
	if owner == "" {
		owner = a.ID
	}
	if owner != a.ID {
		other, ok := p.apps[owner]
		switch {
		case !ok:
			return nil, p.opts.unknownApplicationAs
		case !other.readers[a.ID]:
			return nil, errNotAuthorized
		}
	}
	t, ok := p.tasks[taskID]
	if !ok || t.AppID != owner {
		return nil, errNoTask
	}
	return t, nil
}

// signInApp is the application that a sign-in call names, for the record.
func signInApp(operation string, h http.Header, body []byte) string {
	if operation == OperationLogin {
		return parseForm(h.Get("Content-Type"), body).AppID
	}
	c, _ := parseJSON(h.Get("Content-Type"), body)
	return c.AppID
}
