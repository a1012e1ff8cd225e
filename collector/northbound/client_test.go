package northbound_test

import (
	"context"
	"errors"
	"io"
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

func TestNewClientRefuses(t *testing.T) {
	read := func() (string, error) { return "x", nil }
	good := northbound.Credentials{AppID: appID, Secret: read}
	for name, test := range map[string]struct {
		url   string
		creds northbound.Credentials
		opts  []northbound.Option
	}{
		"no scheme":            {url: "platform.example:8743", creds: good},
		"no URL":               {url: "", creds: good},
		"other scheme":         {url: "ftp://platform.example", creds: good},
		"no host":              {url: "https://:8743", creds: good},
		"password":             {url: "https://user:hunter2@platform.example", creds: good}, //nolint:gosec // nobody's password
		"password, bad port":   {url: "https://user:hunter2@platform.example:port", creds: good},
		"query":                {url: base + "?a=b", creds: good},
		"empty query":          {url: base + "?", creds: good},
		"fragment":             {url: base + "#a", creds: good},
		"no credentials":       {url: base, creds: northbound.Credentials{AppID: appID}},
		"both credentials":     {url: base, creds: northbound.Credentials{AppID: appID, Secret: read, AccessToken: read}},
		"no application":       {url: base, creds: northbound.Credentials{Secret: read}},
		"line break in its id": {url: base, creds: northbound.Credentials{AppID: "a\r\nb", Secret: read}},
		"blank in its id":      {url: base, creds: northbound.Credentials{AppID: "a b", Secret: read}},
		"no time":              {url: base, creds: good, opts: []northbound.Option{northbound.WithCallTimeout(0)}},
		"no size":              {url: base, creds: good, opts: []northbound.Option{northbound.WithMaxAnswerSize(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := northbound.NewClient(test.url, test.creds, test.opts...)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// Every character that a header can hold may be part of an application's id.
func TestNewClientTakesOddIDs(t *testing.T) {
	for _, id := range []string{"!", "~", "3RQ9UnhymV409MfKPuiin75XroQa"} {
		creds := northbound.Credentials{AppID: id, Secret: func() (string, error) { return "x", nil }}
		if _, err := northbound.NewClient(base, creds); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestRequests(t *testing.T) {
	details := func(q northbound.TaskDetailsQuery) func(context.Context, *northbound.Client) error {
		return func(ctx context.Context, c *northbound.Client) error {
			_, err := c.TaskDetails(ctx, q)
			return err
		}
	}
	task := func(q northbound.TaskQuery) func(context.Context, *northbound.Client) error {
		return func(ctx context.Context, c *northbound.Client) error {
			_, err := c.Task(ctx, q)
			return err
		}
	}
	index := 0
	const detailsPath = "/iocm/app/batchtask/v1.1.0/taskDetails"
	for name, test := range map[string]struct {
		base string
		call func(context.Context, *northbound.Client) error
		want string
	}{
		"mandatory only": {
			call: details(northbound.TaskDetailsQuery{TaskID: "t"}),
			want: base + detailsPath + "?taskId=t",
		},
		"every parameter": {
			call: details(northbound.TaskDetailsQuery{
				TaskID: "t", AppID: "other", Status: northbound.StatusFail, Index: &index,
				NodeID: "n", DeviceID: "d", CommandID: "c", Page: &northbound.Page{No: 0, Size: 250},
			}),
			want: base + detailsPath + "?appId=other&commandId=c&deviceId=d&index=0&nodeId=n&pageNo=0&pageSize=250&status=Fail&taskId=t",
		},
		"escaped values": {
			call: details(northbound.TaskDetailsQuery{TaskID: "a&appId=b#c", NodeID: "ü +"}),
			want: base + detailsPath + "?nodeId=%C3%BC+%2B&taskId=a%26appId%3Db%23c",
		},
		"path prefix": {
			base: base + "/gate%2Fway/",
			call: details(northbound.TaskDetailsQuery{TaskID: "t"}),
			want: base + "/gate%2Fway" + detailsPath + "?taskId=t",
		},
		"one row": {
			call: details(northbound.TaskDetailsQuery{TaskID: "t", Page: &northbound.Page{No: 7, Size: 1}}),
			want: base + detailsPath + "?pageNo=7&pageSize=1&taskId=t",
		},
		"task": {
			call: task(northbound.TaskQuery{TaskID: "5bf8"}),
			want: base + tasksPath + "5bf8",
		},
		"task with everything": {
			call: task(northbound.TaskQuery{TaskID: "5bf8", AppID: "other", Tags: true}),
			want: base + tasksPath + "5bf8?appId=other&select=tag",
		},
		"task that climbs": {
			call: task(northbound.TaskQuery{TaskID: "../x"}),
			want: base + tasksPath + "..%2Fx",
		},
		"task that adds a query": {
			call: task(northbound.TaskQuery{TaskID: "a?b=c#d%2F"}),
			want: base + tasksPath + "a%3Fb=c%23d%252F",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got *http.Request
			p := &platform{onGet: func(r *http.Request) (*http.Response, error) {
				got = r
				if strings.Contains(r.URL.Path, "/tasks/") {
					return jsonAnswer(http.StatusOK, `{"taskId":"t"}`), nil
				}
				return nil, nil
			}}
			if test.base == "" {
				test.base = base
			}
			c, err := northbound.NewClient(test.base, withSecret(), northbound.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, loginPath) {
					r.URL.Path = loginPath
				}
				return p.RoundTrip(r)
			})))
			if err != nil {
				t.Fatal(err)
			}
			if err := test.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if got.Method != http.MethodGet || got.URL.String() != test.want {
				t.Errorf("sent %s %s\nwant GET %s", got.Method, got.URL, test.want)
			}
			want := http.Header{
				"App_key":       {appID},
				"Authorization": {"Bearer token-1"},
				"Content-Type":  {"application/json"},
			}
			if diff := cmp.Diff(want, got.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSignInRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type request struct {
			Method, URL, Body string
			Header            http.Header
		}
		var got []request
		p := &platform{}
		c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				got = append(got, request{r.Method, r.URL.String(), string(body), r.Header})
			}
			return p.RoundTrip(r)
		}))
		mustRead(t, c)
		time.Sleep(time.Hour - time.Minute)
		mustRead(t, c)
		want := []request{
			{
				"POST", base + loginPath, "appId=fleet&secret=s3cret-of-the-fleet",
				http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
			},
			{
				"POST", base + refreshPath, `{"appId":"fleet","refreshToken":"refresh-1","secret":"s3cret-of-the-fleet"}`,
				http.Header{"Content-Type": {"application/json"}},
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestWrongQueriesAreNotSent(t *testing.T) {
	p := &platform{}
	c := newClient(t, p)
	for name, q := range map[string]northbound.TaskDetailsQuery{
		"no task":       {},
		"no rows":       {TaskID: "t", Page: &northbound.Page{No: 1}},
		"negative page": {TaskID: "t", Page: &northbound.Page{No: -1, Size: 1}},
	} {
		if _, err := c.TaskDetails(t.Context(), q); !errors.Is(err, northbound.ErrInvalidInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"", ".", ".."} {
		if _, err := c.Task(t.Context(), northbound.TaskQuery{TaskID: id}); !errors.Is(err, northbound.ErrInvalidInput) {
			t.Errorf("task %q: %v", id, err)
		}
	}
	expectCalls(t, p, "")
}

// limiter records what it is told.
type limiter struct {
	acquire func(ctx context.Context, n int) error // n is 1 for the first call

	mu       sync.Mutex
	acquired int
	released []error
}

func (l *limiter) Acquire(ctx context.Context) (func(error), error) {
	l.mu.Lock()
	l.acquired++
	n := l.acquired
	l.mu.Unlock()
	if l.acquire != nil {
		if err := l.acquire(ctx, n); err != nil {
			return nil, err
		}
	}
	return func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.released = append(l.released, err)
	}, nil
}

func TestLimiterAndObserverSeeEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{onGet: func(r *http.Request) (*http.Response, error) {
			time.Sleep(2 * time.Second)
			if r.Header.Get("Authorization") == "Bearer token-1" {
				return jsonAnswer(http.StatusForbidden, dead), nil
			}
			return nil, nil
		}}
		l := &limiter{acquire: func(context.Context, int) error { time.Sleep(time.Minute); return nil }}
		var calls []northbound.Call
		c := newClient(t, p, northbound.WithLimiter(l), northbound.WithObserver(func(call northbound.Call) { calls = append(calls, call) }))
		start := time.Now()
		mustRead(t, c)

		const grantSize = 108 // bytes that the platform above answers to a login
		failure := &northbound.Error{
			Operation: "task_details", Kind: "platform", HTTPStatus: 403,
			Code: "1010005", Description: "App_key or access_token is invalid",
		}
		want := []northbound.Call{
			{Operation: "login", Start: start.Add(time.Minute), Bytes: grantSize},
			{Operation: "task_details", Start: start.Add(2 * time.Minute), Duration: 2 * time.Second, Err: failure, Bytes: int64(len(dead))},
			{Operation: "login", Start: start.Add(3*time.Minute + 2*time.Second), Bytes: grantSize},
			{Operation: "task_details", Start: start.Add(4*time.Minute + 2*time.Second), Duration: 2 * time.Second, Bytes: int64(len(emptyPage))},
		}
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Errorf("observed (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]error{nil, failure, nil, nil}, l.released); diff != "" {
			t.Errorf("limiter was told (-want +got):\n%s", diff)
		}
	})
}

func TestLimitersRefusalReachesTheCaller(t *testing.T) {
	full := errors.New("allowance is used up")
	p := &platform{}
	l := &limiter{acquire: func(_ context.Context, n int) error {
		if n == 2 {
			return full
		}
		return nil
	}}
	c := newClient(t, p, northbound.WithLimiter(l), northbound.WithObserver(func(call northbound.Call) {
		if call.Operation != northbound.OperationLogin {
			t.Errorf("told of a call that was not sent: %v", call)
		}
	}))
	err := read(t.Context(), c)
	var failed *northbound.Error
	if !errors.Is(err, full) || errors.As(err, &failed) {
		t.Errorf("error: %#v", err)
	}
	if diff := cmp.Diff([]error{nil}, l.released, cmpopts.EquateErrors()); diff != "" {
		t.Errorf("released: %s", diff)
	}
	expectCalls(t, p, "login")
}

// While a call waits for the limiter, its token may be replaced.
func TestCallTakesTheNewestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		l := &limiter{acquire: func(_ context.Context, n int) error {
			if n == 3 {
				time.Sleep(2 * time.Minute) // the token gets old meanwhile
			}
			return nil
		}}
		c := newClient(t, p, northbound.WithLimiter(l))
		mustRead(t, c)
		p.took()
		time.Sleep(time.Hour - 3*time.Minute)
		done := make(chan error)
		go func() { done <- read(t.Context(), c) }()
		time.Sleep(90 * time.Second)
		if err := c.SignIn(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		expectCalls(t, p, "refresh get")
	})
}

func TestCallTimeout(t *testing.T) {
	hang := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	hangInBody := func(r *http.Request) (*http.Response, error) {
		response := jsonAnswer(http.StatusOK, "")
		response.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"taskDetails":[`), readerFunc(func([]byte) (int, error) {
			<-r.Context().Done()
			return 0, context.Cause(r.Context())
		})))
		return response, nil
	}
	for name, test := range map[string]struct {
		platform *platform
		cancel   time.Duration // by the caller; 0: never
		deadline time.Duration // of the caller; 0: none
		want     northbound.Kind
		after    time.Duration
		status   int
	}{
		"no answer":              {platform: &platform{onGet: hang}, want: northbound.KindTimeout, after: 10 * time.Second},
		"half an answer":         {platform: &platform{onGet: hangInBody}, want: northbound.KindTimeout, after: 10 * time.Second, status: 200},
		"no sign-in":             {platform: &platform{onLogin: hang}, want: northbound.KindTimeout, after: 10 * time.Second},
		"caller gives up":        {platform: &platform{onGet: hang}, cancel: time.Second, want: northbound.KindCanceled, after: time.Second},
		"caller leaves the body": {platform: &platform{onGet: hangInBody}, cancel: time.Second, want: northbound.KindCanceled, after: time.Second, status: 200},
		"caller leaves sign-in":  {platform: &platform{onLogin: hang}, cancel: time.Second, want: northbound.KindCanceled, after: time.Second},
		"caller's deadline":      {platform: &platform{onGet: hang}, deadline: time.Second, want: northbound.KindTimeout, after: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, test.platform, northbound.WithCallTimeout(10*time.Second))
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if test.cancel != 0 {
					time.AfterFunc(test.cancel, func() { cancel(errors.New("enough")) })
				}
				if test.deadline != 0 {
					var stop context.CancelFunc
					ctx, stop = context.WithTimeout(ctx, test.deadline)
					defer stop()
				}
				start := time.Now()
				err := read(ctx, c)
				var failed *northbound.Error
				if !errors.As(err, &failed) || failed.Kind != test.want || failed.HTTPStatus != test.status {
					t.Errorf("error: %v, want kind %s, HTTP status %d", err, test.want, test.status)
				}
				if took := time.Since(start); took != test.after {
					t.Errorf("after %s, want %s", took, test.after)
				}
				if failed.Temporary() {
					t.Error("temporary")
				}
				time.Sleep(time.Minute) // what was left behind ends by itself
			})
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
