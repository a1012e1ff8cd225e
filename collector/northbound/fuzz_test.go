package northbound_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode"
	"unicode/utf8"

	"huawei_iot_batch_exporter/collector/northbound"
)

const (
	granted        = "t0ken-of-the-fleet"
	fuzzAnswerSize = 4 << 10 // that the client takes, in bytes
)

// echo answers every call alike.
type echo struct {
	status                  int
	contentType, retryAfter string
	body                    []byte
	truncated               bool // the connection ends after the body, which should have gone on

	sent  []*http.Request
	ended []northbound.Call
}

func (e *echo) RoundTrip(r *http.Request) (*http.Response, error) {
	e.sent = append(e.sent, r)
	var body io.Reader = bytes.NewReader(e.body)
	if e.truncated {
		body = io.MultiReader(body, iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	header := http.Header{}
	header.Set("Content-Type", e.contentType)
	header.Set("Retry-After", e.retryAfter)
	return &http.Response{StatusCode: e.status, Header: header, Body: io.NopCloser(body)}, nil
}

func (e *echo) client(t *testing.T, creds northbound.Credentials) *northbound.Client {
	t.Helper()
	creds.AppID = appID
	c, err := northbound.NewClient(base, creds, northbound.WithTransport(e), northbound.WithMaxAnswerSize(fuzzAnswerSize),
		northbound.WithObserver(func(call northbound.Call) { e.ended = append(e.ended, call) }))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refusal is the code at the top level of the answer, if there is one that can be
// shown as it is.
func (e *echo) refusal() string {
	var members map[string]json.RawMessage
	var code string
	if json.Unmarshal(e.body, &members) != nil || json.Unmarshal(members["error_code"], &code) != nil || strings.ContainsFunc(code, unicode.IsControl) {
		return ""
	}
	return strings.TrimSpace(code)
}

// check looks at how the last call ended.
func (e *echo) check(t *testing.T, op northbound.Operation, err error) {
	t.Helper()
	request, call := e.sent[len(e.sent)-1], e.ended[len(e.ended)-1]
	if len(e.sent) != len(e.ended) || call.Operation != op || call.Duration < 0 {
		t.Errorf("%s: %d calls sent, %d observed, the last: %+v", op, len(e.sent), len(e.ended), call)
	}
	for name, values := range request.Header {
		if strings.ContainsFunc(values[0], unicode.IsControl) {
			t.Errorf("%s: %s: %q", op, name, values[0])
		}
	}
	signIn := op == northbound.OperationLogin
	if !signIn && call.Bytes > fuzzAnswerSize+1 {
		t.Errorf("%s: %d bytes read", op, call.Bytes)
	}
	if err == nil {
		if e.status != http.StatusOK || e.truncated || !json.Valid(e.body) || e.refusal() != "" || !signIn && len(e.body) > fuzzAnswerSize {
			t.Errorf("%s: no answer, but taken for one", op)
		}
		return
	}

	failed, ok := errors.AsType[*northbound.Error](err)
	switch {
	case !ok:
		t.Fatalf("%s: %T: %v", op, err, err)
	case failed.Operation != op || failed.HTTPStatus != e.status || call.Err == nil:
		t.Errorf("%s: %+v, observed: %v", op, failed, call.Err)
	case failed.Kind != northbound.KindPlatform && failed.Kind != northbound.KindMalformed, (failed.Kind == northbound.KindPlatform) != (failed.Code != ""):
		t.Errorf("%s: kind %q with the code %q: it was answered", op, failed.Kind, failed.Code)
	case strings.ContainsFunc(failed.Description, unicode.IsControl):
		t.Errorf("%s: no line of text: %q", op, failed.Description)
	case failed.RetryAfter < 0 || failed.RetryAfter > 24*time.Hour:
		t.Errorf("%s: retry after %s", op, failed.RetryAfter)
	case e.status == http.StatusTooManyRequests && !errors.Is(err, northbound.ErrThrottled), errors.Is(err, northbound.ErrThrottled) && failed.Temporary():
		t.Errorf("%s: throttled: %v, temporary: %v", op, errors.Is(err, northbound.ErrThrottled), failed.Temporary())
	}
	if label := failed.Label(); label == "" || len(label) > 64 || !utf8.ValidString(label) {
		t.Errorf("%s: label %q", op, label)
	}
	text := err.Error()
	if len(text) > 4096 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		t.Errorf("%s: no line of text: %q", op, text)
	}
	if strings.Contains(text, secret) && signIn || strings.Contains(text, granted) && request.Header.Get("Authorization") == "Bearer "+granted {
		t.Errorf("%s: a secret is in %q", op, text)
	}
	// A code counts under every status. Where rows are to come, it may be cut off
	// by rows that are none.
	if code := e.refusal(); code != "" && len(e.body) <= fuzzAnswerSize && op != northbound.OperationTaskDetails {
		if failed.Kind != northbound.KindPlatform {
			t.Errorf("%s: refused with %q, but the error is %v", op, code, err)
		}
		if len(code) <= 64 && !strings.Contains(code, secret) && !strings.Contains(code, granted) && failed.Code != code {
			t.Errorf("%s: refused with %q, but the code is %q", op, code, failed.Code)
		}
	}
}

// checkTask looks at an answer that was taken.
func checkTask(t *testing.T, task *northbound.Task) {
	t.Helper()
	for _, n := range []int{
		task.Timeout, task.Progress, task.TotalCount, task.SuccessCount, task.FailCount, task.TimeoutCount, task.ExpiredCount, task.CompleteCount, task.SuccessRate,
	} {
		if n < -1 {
			t.Errorf("negative: %+v", task)
		}
	}
	for _, s := range []string{
		task.TaskID, task.TaskName, task.AppID, task.Operator, task.TaskFrom, task.TaskType, task.Status, string(task.Param), string(task.Tags),
	} {
		if !utf8.ValidString(s) {
			t.Errorf("not UTF-8: %q", s)
		}
	}
	for _, raw := range []json.RawMessage{task.Param, task.Tags} {
		if raw != nil && !json.Valid(raw) {
			t.Errorf("not JSON: %q", raw)
		}
	}
	if task.TaskID == "" {
		t.Errorf("no id: %+v", task)
	}
}

// FuzzAnswer has the client take any answer for that to a sign-in, to a page of
// subtasks and to a task: it is understood, or it ends in an error that says how
// and shows no secret.
func FuzzAnswer(f *testing.F) {
	const grant = `{"accessToken":"` + granted + `","tokenType":"bearer","refreshToken":"r","expiresIn":3600,"scope":"default"`
	for _, body := range []string{
		grant + `}`,
		grant + `,"totalCount":0}`, // a page too
		grant + `,"totalCount":"` + granted + `"}`,
		grant + `,"totalCount":0,"taskId":"t","error_code":"100208"}`,
		`{"accessToken":"a","refreshToken":null,"expiresIn":"1e99"}`,
		`{"accessToken":"a b"}`, `{"accessToken":["` + secret + `"],"expiresIn":-1}`,
		emptyPage, dead, throttled, refused,
		`{"error_code":100208,"error_desc":"` + secret + ` or ` + granted + ` is not right"}`,
		`{"error_code":"` + secret + granted + `","error_desc":"\u0000\n\u0074` + granted[1:] + `"}`,
		`{"error_code":"50252","error_desc":"` + strings.Repeat("ü", 300) + `"}`,
		`{"error_code":"` + strings.Repeat("7", 63) + `ü","error_desc":null}`,
		`{"taskId":"5bf8","taskName":"firmware","taskType":"DeviceCmd","status":"Running","startTime":"20151212T121213Z","timeout":"60","progress":500,` +
			`"totalCnt":"10","successCnt":3,"failCnt":1.0,"timeoutCnt":1,"expiredCnt":0,"completeCnt":5,"successRate":300,"param":{"a":1},"tags":[{"tagName":"x"}]}`,
		`{"taskId":5,"failCnt":-3,"tags":null}`, `{"taskId":5,"totalCnt":1e99}`,
		`{"pageNo":0,"pageSize":1,"totalCount":-7,"taskDetails":[{"status":"Fail","error":"{\"error_code\":\"1\"}","param":{"deviceId":"d"}}]}`,
		`{"taskDetails":[{"status":` + granted + `}]}`,
		emptyPage + emptyPage, emptyPage + strings.Repeat(" ", fuzzAnswerSize),
		"<html>" + secret + granted, `{"error_code":`, "{}", "[]", "null", "", "\xff",
	} {
		f.Add(200, "application/json", "", []byte(body), false)
		f.Add(403, "application/json;charset=UTF-8", "120", []byte(body), false)
	}
	f.Add(503, "text/html; charset=iso-8859-1", "Wed, 21 Oct 2099 07:28:00 GMT", []byte("<html>"), false)
	f.Add(404, `text/html; x="`+strings.Repeat("x", 9999)+`"`, "0", []byte("<html>"), false)
	f.Add(429, "", "-1", []byte(emptyPage), true)
	f.Add(302, "text/"+strings.Repeat("x", 200), "99999999999999999999", []byte(nil), false)
	f.Add(200, granted+"/json", "Wed, 21 Oct 2015 07:28:00 GMT", []byte(grant), true)
	f.Add(200, "application/json", "soon", bytes.Repeat([]byte(" "), fuzzAnswerSize+1), false)

	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter string, body []byte, truncated bool) {
		e := &echo{status: status, contentType: contentType, retryAfter: retryAfter, body: body, truncated: truncated}
		read := func(c *northbound.Client) {
			page, err := c.TaskDetails(t.Context(), northbound.TaskDetailsQuery{TaskID: "t", Page: &northbound.Page{Size: 250}})
			e.check(t, northbound.OperationTaskDetails, err)
			switch {
			case (page == nil) != (err != nil):
				t.Errorf("page %v with error %v", page, err)
			case page != nil && (page.PageNo < 0 || page.PageSize < 0 || page.TotalCount < -1):
				t.Errorf("negative: %+v", page)
			}
		}

		fresh := e.client(t, northbound.Credentials{Secret: func() (string, error) { return secret, nil }})
		err := fresh.SignIn(t.Context())
		e.check(t, northbound.OperationLogin, err)
		now, s := time.Now(), fresh.Session()
		if s.SignedIn != (err == nil) || (s.Err == nil) != (err == nil) {
			t.Errorf("sign-in: %v, but the session is %+v", err, s)
		}
		if s.SignedIn && (s.ExpiresAt.Before(s.Since) || s.ExpiresAt.After(now.AddDate(1, 0, 1))) {
			t.Errorf("a token from %s to %s", s.Since, s.ExpiresAt)
		}
		// A token that lives too short to be used is no token for the next call.
		if s.SignedIn && s.ExpiresAt.Sub(now) > time.Minute {
			read(fresh)
		}

		given := e.client(t, northbound.Credentials{AccessToken: func() (string, error) { return granted, nil }})
		read(given)
		task, err := given.Task(t.Context(), northbound.TaskQuery{TaskID: "t"})
		e.check(t, northbound.OperationTask, err)
		if (task == nil) != (err != nil) {
			t.Errorf("task %v with error %v", task, err)
		}
		if task != nil {
			checkTask(t, task)
		}
		if len(e.sent) > 4 {
			t.Errorf("%d calls", len(e.sent))
		}
	})
}
