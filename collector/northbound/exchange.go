package northbound

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxSmallAnswer = 64 << 10 // bytes of a refusal and of the answer to a sign-in
	maxDescription = 500      // bytes of a refusal's description
)

// decoder reads an answer to its end. A refusal counts even if an error came
// after it.
type decoder[T any] func(io.Reader) (*T, refusal, error)

// exchange is one call.
type exchange struct {
	operation Operation
	request   *http.Request
	sending   func(http.Header) // called when the limiter has let the call pass; may be nil
	limit     int64             // bytes of a good answer
	decode    func(io.Reader) (refusal, error)
	secrets   func() []string // what neither answer nor error may show
}

// get sends an authorized call. It is repeated once if the token is refused.
func get[T any](ctx context.Context, c *Client, op Operation, u *url.URL, decode decoder[T]) (*T, error) {
	token, err := c.tokens.token(ctx)
	if err != nil {
		return nil, err
	}
	answer, token, err := getOnce(ctx, c, op, u, token, decode)
	var refused *Error
	if !errors.Is(err, ErrTokenInvalid) || !errors.As(err, &refused) {
		return answer, err
	}

	token, err = c.tokens.renew(ctx, token, refused)
	if err != nil {
		return nil, err
	}
	answer, token, err = getOnce(ctx, c, op, u, token, decode)
	if errors.Is(err, ErrTokenInvalid) && errors.As(err, &refused) {
		c.tokens.reject(token, refused)
	}
	return answer, err
}

// getOnce returns the token that the call was sent with: while it waited for
// the limiter, the one it was given may have been replaced.
func getOnce[T any](ctx context.Context, c *Client, op Operation, u *url.URL, token string, decode decoder[T]) (*T, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), unrepeatable{})
	if err != nil {
		return nil, token, fmt.Errorf("%s: %w", op, stripURL(err))
	}
	request.Header.Set("Content-Type", "application/json") // as the platform's SDKs do
	request.Header.Set("app_key", c.appID)

	var answer *T
	secrets := func() []string { return append(c.tokens.secrets(), token) }
	err = c.send(ctx, exchange{
		operation: op,
		request:   request,
		limit:     c.maxAnswerSize,
		sending: func(header http.Header) {
			token = c.tokens.latest(token)
			header.Set("Authorization", "Bearer "+token)
		},
		decode: func(r io.Reader) (ref refusal, err error) {
			answer, ref, err = decode(r)
			return ref, err
		},
		secrets: secrets,
	})
	if err != nil {
		return nil, token, err
	}
	if a, ok := any(answer).(interface{ clean(secrets []string) }); ok {
		a.clean(secrets())
	}
	return answer, token, nil
}

// unrepeatable is an empty body that cannot be had again. Without it, net/http
// repeats a GET whose connection breaks before the answer begins: a call that
// has passed no limiter and that nobody counts.
type unrepeatable struct{}

func (unrepeatable) Read([]byte) (int, error) { return 0, io.EOF }

// signIn sends a login or a refresh. Once sent, it is not given up when the
// context ends, but only by the call timeout: it may have ended the old token.
func (c *Client) signIn(ctx context.Context, op Operation, path, contentType string, body []byte, secrets ...string) (*grant, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(path).String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, stripURL(err))
	}
	request.Header.Set("Content-Type", contentType)

	var granted *grant
	var sent time.Time
	err = c.send(ctx, exchange{
		operation: op,
		request:   request,
		limit:     maxSmallAnswer,
		sending:   func(http.Header) { sent = time.Now() },
		decode: func(r io.Reader) (ref refusal, err error) {
			granted, ref, err = decodeGrant(r)
			return ref, err
		},
		secrets: func() []string { return secrets },
	})
	if err != nil {
		return nil, err
	}
	granted.since = sent
	return granted, nil
}

// login signs in with the secret. It ends the application's earlier token,
// whoever holds it.
func (c *Client) login(ctx context.Context, secret string) (*grant, error) {
	form := url.Values{"appId": {c.appID}, "secret": {secret}}.Encode()
	return c.signIn(ctx, OperationLogin, "/iocm/app/sec/v1.1.0/login",
		"application/x-www-form-urlencoded", []byte(form), secret)
}

func (c *Client) refresh(ctx context.Context, secret, refreshToken string) (*grant, error) {
	body, err := json.Marshal(map[string]string{"appId": c.appID, "secret": secret, "refreshToken": refreshToken})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", OperationRefreshToken, err)
	}
	return c.signIn(ctx, OperationRefreshToken, "/iocm/app/sec/v1.1.0/refreshToken",
		"application/json", body, secret, refreshToken)
}

// send asks the limiter, sends the call, and tells both limiter and observer
// how it ended. The error is nil, an [*unsentError] or an [*Error].
func (c *Client) send(ctx context.Context, x exchange) error {
	release, err := c.limiter.Acquire(ctx)
	if err != nil {
		return &unsentError{x.operation, err}
	}
	if x.operation == OperationLogin || x.operation == OperationRefreshToken {
		ctx = context.WithoutCancel(ctx)
	}
	if x.sending != nil {
		x.sending(x.request.Header)
	}
	call := Call{Operation: x.operation, Start: time.Now()}
	if failed := c.do(ctx, x, &call.Bytes); failed != nil {
		failed.clean(x.secrets())
		call.Err = failed
	}
	call.Duration = time.Since(call.Start)
	release(call.Err)
	c.observe(call)
	return call.Err
}

// do carries out one exchange and judges the answer: first by a code at its top
// level, whatever the HTTP status; then by the status; then by its shape.
func (c *Client) do(caller context.Context, x exchange, read *int64) *Error {
	ctx, cancel := context.WithTimeout(caller, c.callTimeout)
	defer cancel()

	failed := &Error{Operation: x.operation, Kind: KindMalformed}
	response, err := c.transport.RoundTrip(x.request.WithContext(ctx))
	if err != nil {
		failed.Kind, failed.Err = c.sortError(caller, ctx, err)
		return failed
	}
	defer response.Body.Close() //nolint:errcheck // only read from

	media := mediaType(response.Header)
	good := response.StatusCode == http.StatusOK && mayHoldJSON(media)
	body := &boundedReader{r: response.Body, left: x.limit}
	if !good {
		body.left = min(x.limit, maxSmallAnswer)
		x.decode = decodeRefusal
	}
	ref, err := x.decode(body)
	*read = body.read
	if good && ref.code == "" && err == nil {
		return nil
	}

	failed.HTTPStatus = response.StatusCode
	failed.RetryAfter = retryAfter(response.Header)
	failed.Code, failed.Description = ref.code, ref.description
	switch {
	case ref.code != "":
		failed.Kind = KindPlatform
	case body.failed():
		failed.Kind, failed.Err = c.sortError(caller, ctx, body.err)
	case body.err != nil && good:
		failed.Err = notJSON(body.err)
	case response.StatusCode >= 300 && response.StatusCode < 400:
		failed.Err = errors.New("a redirect, which is never followed; check the base URL")
	case !good:
		failed.Err = fmt.Errorf("no answer of the platform, but %s without an error code; check the base URL and proxies", media)
	default:
		failed.Err = err
	}
	return failed
}

// sortError says what kind an error of the transport is, and takes the URL out
// of it.
func (c *Client) sortError(caller, call context.Context, err error) (Kind, error) {
	err = stripURL(err)
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		return KindCanceled, context.Canceled
	case caller.Err() != nil:
		return KindTimeout, fmt.Errorf("the caller's time was over: %w", caller.Err())
	case call.Err() != nil:
		return KindTimeout, fmt.Errorf("no complete answer within %s: %w", c.callTimeout, call.Err())
	}
	return transportKind(err), err
}

// stripURL unwraps the errors of net/http and net/url that repeat a whole URL.
func stripURL(err error) error {
	var withURL *url.Error
	for errors.As(err, &withURL) {
		err = withURL.Err
	}
	return err
}

// clean takes secrets out of what a platform or a transport may have echoed,
// and bounds what becomes a label and a line of a log.
func (e *Error) clean(secrets []string) {
	e.Code, e.Description = cover(e.Code, secrets), cover(e.Description, secrets)
	if e.Err != nil {
		if text := e.Err.Error(); cover(text, secrets) != text {
			e.Err = errors.New(cover(text, secrets))
		}
	}
	e.Code = cut(e.Code, maxCode)
	e.Description = cut(e.Description, maxDescription)
}

// clean takes secrets out of what a platform may have echoed.
func (d *TaskDetails) clean(secrets []string) {
	for i := range d.Subtasks {
		s := &d.Subtasks[i]
		s.Status = Status(cover(string(s.Status), secrets))
		s.Output = cover(s.Output, secrets)
		s.Error.Code, s.Error.Description = cover(s.Error.Code, secrets), cover(s.Error.Description, secrets)
	}
}

func (t *Task) clean(secrets []string) {
	t.TaskName, t.TaskType = cover(t.TaskName, secrets), cover(t.TaskType, secrets)
	t.Operator, t.TaskFrom, t.Status = cover(t.Operator, secrets), cover(t.TaskFrom, secrets), cover(t.Status, secrets)
}

func cover(text string, secrets []string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "<secret>")
		}
	}
	return text
}

// mediaType describes the content without anything that the answer could have
// smuggled in.
func mediaType(header http.Header) string {
	value := header.Get("Content-Type")
	if value == "" {
		return "content of no type"
	}
	media, _, _ := mime.ParseMediaType(value) // also without the error: parameters do not matter
	if media == "" || len(media) > 100 {
		return "content of an unknown type"
	}
	return media
}

// mayHoldJSON lets pass what careless servers call JSON.
func mayHoldJSON(media string) bool {
	return strings.Contains(media, "json") || media == "content of no type" ||
		media == "text/plain" || media == "application/octet-stream"
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(header http.Header) time.Duration {
	const most = 24 * time.Hour
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(most/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(time.Until(date), 0), most)
	}
	return 0
}

// boundedReader reads up to a number of bytes, and remembers what went wrong.
type boundedReader struct {
	r          io.Reader
	left, read int64
	err        error // other than io.EOF
}

type tooLargeError int64

func (e tooLargeError) Error() string {
	return fmt.Sprintf("the answer is larger than %d bytes", int64(e))
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if int64(len(p)) > b.left { // one more, to see whether there is more
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	b.left -= int64(n)
	if b.left < 0 {
		b.err = tooLargeError(b.read - 1)
		return 0, b.err
	}
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// failed tells whether the connection failed, not the content.
func (b *boundedReader) failed() bool {
	var (
		tooLarge tooLargeError
		corrupt  flate.CorruptInputError
	)
	switch {
	case b.err == nil, errors.As(b.err, &tooLarge), errors.As(b.err, &corrupt),
		errors.Is(b.err, io.ErrUnexpectedEOF), errors.Is(b.err, gzip.ErrHeader), errors.Is(b.err, gzip.ErrChecksum):
		return false
	}
	return true
}
