package northbound_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"huawei_iot_batch_exporter/collector/northbound"
)

const (
	base   = "https://platform.example:8743"
	appID  = "fleet"
	secret = "s3cret-of-the-fleet"

	loginPath   = "/iocm/app/sec/v1.1.0/login"
	refreshPath = "/iocm/app/sec/v1.1.0/refreshToken"
	tasksPath   = "/iocm/app/batchtask/v1.1.0/tasks/"

	emptyPage = `{"pageNo":0,"pageSize":250,"totalCount":0,"taskDetails":[]}`
	dead      = `{"error_code":"1010005","error_desc":"App_key or access_token is invalid"}`
	throttled = `{"error_code":"1010009","error_desc":"app throttle exceed"}`
	refused   = `{"error_code":"100208","error_desc":"AppId or secret is not right"}`
)

// transport is a network without sockets, for fake time too.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func answer(status int, contentType, body string) *http.Response {
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {contentType}},
		Body:       io.NopCloser(strings.NewReader(body)),
	}
}

func jsonAnswer(status int, body string) *http.Response {
	return answer(status, "application/json", body)
}

// hook answers instead of the platform, or returns nil and nil.
type hook func(*http.Request) (*http.Response, error)

// platform issues tokens token-1, token-2, … of which only the last is valid.
type platform struct {
	life string // expiresIn, as JSON; an hour by default

	onLogin, onRefresh, onGet hook

	mu    sync.Mutex
	n     int
	valid string
	calls []string
}

func (p *platform) RoundTrip(r *http.Request) (*http.Response, error) {
	op, hook := "get", p.onGet
	switch r.URL.Path {
	case loginPath:
		op, hook = "login", p.onLogin
	case refreshPath:
		op, hook = "refresh", p.onRefresh
	}
	p.mu.Lock()
	p.calls = append(p.calls, op)
	p.mu.Unlock()
	if hook != nil {
		if response, err := hook(r); response != nil || err != nil {
			return response, err
		}
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if op != "get" {
		p.n++
		p.valid = fmt.Sprintf("token-%d", p.n)
		life := p.life
		if life == "" {
			life = "3600"
		}
		return jsonAnswer(http.StatusOK, fmt.Sprintf(`{"accessToken":%q,"tokenType":"bearer","refreshToken":"refresh-%d","expiresIn":%s,"scope":"default"}`,
			p.valid, p.n, life)), nil
	}
	if r.Header.Get("Authorization") != "Bearer "+p.valid || r.Header.Get("app_key") != appID {
		return jsonAnswer(http.StatusForbidden, dead), nil
	}
	return jsonAnswer(http.StatusOK, emptyPage), nil
}

// kill makes the token invalid, as a sign-in of another program does.
func (p *platform) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.valid = "of another program"
}

// took returns the calls since the last time that it was called.
func (p *platform) took() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := strings.Join(p.calls, " ")
	p.calls = nil
	return calls
}

func withSecret() northbound.Credentials {
	return northbound.Credentials{AppID: appID, Secret: func() (string, error) { return secret, nil }}
}

func newClient(t *testing.T, rt http.RoundTripper, opts ...northbound.Option) *northbound.Client {
	t.Helper()
	c, err := northbound.NewClient(base, withSecret(), append([]northbound.Option{northbound.WithTransport(rt)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read asks for a page of a task.
func read(ctx context.Context, c *northbound.Client) error {
	_, err := c.TaskDetails(ctx, northbound.TaskDetailsQuery{TaskID: "t", Page: &northbound.Page{Size: 250}})
	return err
}

func mustRead(t *testing.T, c *northbound.Client) {
	t.Helper()
	if err := read(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// expectCalls compares what the platform was asked since the last time.
func expectCalls(t *testing.T, p *platform, want string) {
	t.Helper()
	if got := p.took(); got != want {
		t.Fatalf("calls: %q, want %q", got, want)
	}
}
