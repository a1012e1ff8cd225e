package northbound

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	defaultCallTimeout   = 30 * time.Second
	defaultMaxAnswerSize = 64 << 20
)

// Credentials are how an application proves itself to the platform. Exactly one
// of Secret and AccessToken is set.
type Credentials struct {
	// AppID is the application's id.
	AppID string
	// Secret returns the application's secret. It is read whenever a sign-in
	// is due, a paused one too, so that a new secret is taken up.
	Secret func() (string, error)
	// AccessToken returns a token that another program keeps fresh. It is read
	// before every call, from several goroutines at once.
	AccessToken func() (string, error)
}

// Limiter is asked before every call, sign-in included.
type Limiter interface {
	// Acquire returns when the call may be sent. Each release is called once,
	// with nil or the [*Error] that the call ended with; that of a sign-in may
	// come after the context has ended, since a sign-in is seen through.
	//
	// An error means that the call is not sent. Callers of the client find it
	// with [errors.Is] and [errors.As].
	Acquire(ctx context.Context) (release func(err error), err error)
}

type unlimited struct{}

func (unlimited) Acquire(context.Context) (func(error), error) { return func(error) {}, nil }

// Call is a call that was sent and has ended.
type Call struct {
	Operation Operation
	Start     time.Time
	Duration  time.Duration
	Err       error // nil or an [*Error]
	Bytes     int64 // read of the answer's body, after decompression
}

// Option sets what is not mandatory.
type Option func(*Client)

// WithTransport sets what carries the requests; the default is
// [http.DefaultTransport]. It is a RoundTripper so that redirects are never
// followed and credentials stay with the platform's address.
func WithTransport(transport http.RoundTripper) Option {
	return func(c *Client) { c.transport = transport }
}

// WithLimiter sets the limiter; the default has no limit.
func WithLimiter(limiter Limiter) Option { return func(c *Client) { c.limiter = limiter } }

// WithObserver sets a function that is told of every call that was sent, when
// it has ended. It is called from several goroutines at once.
func WithObserver(observe func(Call)) Option { return func(c *Client) { c.observe = observe } }

// WithCallTimeout bounds one exchange from the request to the end of the
// answer; the default is 30 s. Waiting for the limiter does not count.
func WithCallTimeout(timeout time.Duration) Option {
	return func(c *Client) { c.callTimeout = timeout }
}

// WithMaxAnswerSize bounds the body of an answer, after decompression; the
// default is 64 MiB, in which a whole task of 30,000 subtasks fits.
func WithMaxAnswerSize(bytes int64) Option { return func(c *Client) { c.maxAnswerSize = bytes } }

// Client calls the API as one application. Its methods may be called from
// several goroutines at once.
//
// A call that was sent and failed ends with an [*Error], and so does one whose
// context ended while it waited for a sign-in. A call that was not sent ends
// with the limiter's error, the error of reading the credentials,
// [ErrSignInPaused] or, where the query itself is wrong, [ErrInvalidInput].
//
// The only call that is ever repeated is one whose token was refused, and that
// once.
type Client struct {
	base          *url.URL
	appID         string
	tokens        tokens
	transport     http.RoundTripper
	limiter       Limiter
	observe       func(Call)
	callTimeout   time.Duration
	maxAnswerSize int64
}

// NewClient returns a client of the platform at baseURL, such as
// https://198.51.100.7:8743. It sends nothing.
func NewClient(baseURL string, creds Credentials, opts ...Option) (*Client, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, fmt.Errorf("base URL: %w", err)
	}
	if !headerSafe(creds.AppID) {
		return nil, errors.New("application id: must be set, without blanks or control characters")
	}
	if (creds.Secret == nil) == (creds.AccessToken == nil) {
		return nil, errors.New("credentials: set either a secret or an access token")
	}

	c := &Client{base: base, appID: creds.AppID, callTimeout: defaultCallTimeout, maxAnswerSize: defaultMaxAnswerSize}
	for _, opt := range opts {
		opt(c)
	}
	if c.transport == nil {
		c.transport = http.DefaultTransport
	}
	if c.limiter == nil {
		c.limiter = unlimited{}
	}
	if c.observe == nil {
		c.observe = func(Call) {}
	}
	if c.callTimeout <= 0 {
		return nil, fmt.Errorf("call timeout: must be positive, is %s", c.callTimeout)
	}
	if c.maxAnswerSize <= 0 {
		return nil, fmt.Errorf("size of an answer: must be positive, is %d", c.maxAnswerSize)
	}

	if creds.Secret != nil {
		c.tokens = loginTokens{client: c, secret: creds.Secret, account: new(account)}
	} else {
		c.tokens = &givenTokens{read: creds.AccessToken}
	}
	return c, nil
}

// parseBase never repeats the text in an error: it may hold a password.
func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, stripURL(err)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("must begin with https://")
	case u.Hostname() == "":
		return nil, errors.New("must name a host")
	case u.User != nil:
		return nil, errors.New("must not hold a user or a password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("must not hold a query or a fragment")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// TaskDetails reads a page of a task's subtasks.
func (c *Client) TaskDetails(ctx context.Context, q TaskDetailsQuery) (*TaskDetails, error) {
	if q.TaskID == "" {
		return nil, invalid(OperationTaskDetails, "the task's id is empty")
	}
	values := make(url.Values)
	set := func(name, value string) {
		if value != "" {
			values.Set(name, value)
		}
	}
	set("taskId", q.TaskID)
	set("appId", q.AppID)
	set("status", string(q.Status))
	set("nodeId", q.NodeID)
	set("deviceId", q.DeviceID)
	set("commandId", q.CommandID)
	if q.Index != nil {
		values.Set("index", strconv.Itoa(*q.Index))
	}
	if q.Page != nil {
		if q.Page.No < 0 || q.Page.Size < 1 {
			return nil, invalid(OperationTaskDetails, fmt.Sprintf("there is no page %d of %d rows", q.Page.No, q.Page.Size))
		}
		values.Set("pageNo", strconv.Itoa(q.Page.No))
		values.Set("pageSize", strconv.Itoa(q.Page.Size))
	}

	u := c.url("/iocm/app/batchtask/v1.1.0/taskDetails")
	u.RawQuery = values.Encode()
	return get(ctx, c, OperationTaskDetails, u, decodeTaskDetails)
}

// Task reads what the platform says of a task as a whole.
func (c *Client) Task(ctx context.Context, q TaskQuery) (*Task, error) {
	// Dots alone would be taken for a step in the path, escaped or not.
	if q.TaskID == "" || q.TaskID == "." || q.TaskID == ".." {
		return nil, invalid(OperationTask, fmt.Sprintf("%q is no task's id", q.TaskID))
	}
	values := make(url.Values)
	if q.AppID != "" {
		values.Set("appId", q.AppID)
	}
	if q.Tags {
		values.Set("select", "tag")
	}
	u := c.url("/iocm/app/batchtask/v1.1.0/tasks/" + url.PathEscape(q.TaskID))
	u.RawQuery = values.Encode()
	return get(ctx, c, OperationTask, u, decodeTask)
}

// SignIn makes sure of a token. It sends no call if there is a valid one.
func (c *Client) SignIn(ctx context.Context) error {
	_, err := c.tokens.token(ctx)
	return err
}

// Session is the state of the sign-in now.
func (c *Client) Session() Session { return c.tokens.session() }

// Adopt lets the client share prev's sign-in – token, back-off and the rule of
// one sign-in at a time – if both are of the same base URL and application and
// sign in with a secret; otherwise it does nothing. A program calls it when it
// replaces a client after its configuration changed.
//
// Call it before anything else is done with the client. Calls that prev has
// under way may end as they will; start no new ones.
func (c *Client) Adopt(prev *Client) {
	if prev == nil || origin(c.base) != origin(prev.base) || c.appID != prev.appID {
		return
	}
	own, ok := c.tokens.(loginTokens)
	other, same := prev.tokens.(loginTokens)
	if ok && same {
		own.account = other.account
		c.tokens = own
	}
}

// origin is the base URL with what is implied by the scheme spelled out.
func origin(base *url.URL) string {
	port := base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	return base.Scheme + "://" + strings.ToLower(base.Hostname()) + ":" + port + base.EscapedPath()
}

// url returns an address of the platform. The path is escaped already.
func (c *Client) url(path string) *url.URL {
	u := *c.base
	u.RawPath = c.base.EscapedPath() + path
	u.Path, _ = url.PathUnescape(u.RawPath) // cannot fail: both parts are escaped
	return &u
}

func invalid(op Operation, text string) error {
	return fmt.Errorf("%s: not sent: %w: %s", op, ErrInvalidInput, text)
}

// headerSafe tells whether the text can stand in a header as it is.
func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
