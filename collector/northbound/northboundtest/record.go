package northboundtest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Names of the API's operations in [Call.Operation].
const (
	OperationLogin        = "login"
	OperationRefreshToken = "refresh_token"
	OperationTaskDetails  = "task_details"
	OperationTask         = "task"
)

const (
	loginPattern        = "POST " + LoginPath
	refreshTokenPattern = "POST " + RefreshTokenPath
	taskDetailsPattern  = "GET " + TaskDetailsPath
	taskPattern         = "GET " + TasksPath + "{taskId}"
)

// operations are the names of the patterns.
var operations = map[string]string{
	loginPattern:        OperationLogin,
	refreshTokenPattern: OperationRefreshToken,
	taskDetailsPattern:  OperationTaskDetails,
	taskPattern:         OperationTask,
}

// Call is one call that reached the platform, refused ones too.
type Call struct {
	Time      time.Time // when it arrived
	Method    string
	Path      string
	RawQuery  string
	AppID     string // application that it names; empty if none
	Operation string // empty if the API has no such call
	Status    int    // HTTP status; 0 while it is under way, and if it was cut off
	ErrorCode string // the platform's; empty if all went well, or if middleware answered
	Rows      int    // subtasks sent
	Bytes     int64  // length of the body sent
}

// Query parses RawQuery.
func (c Call) Query() url.Values {
	q, _ := url.ParseQuery(c.RawQuery) // what cannot be parsed is left out, as servers do
	return q
}

// Calls returns the calls since the platform was made or [Platform.ResetCalls],
// in the order of arrival.
func (p *Platform) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := make([]Call, len(p.calls))
	for i, c := range p.calls {
		calls[i] = *c
	}
	return calls
}

// ResetCalls empties the record. The call limit does not forget.
func (p *Platform) ResetCalls() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = nil
}

// MaxCallsIn is the largest number of recorded calls of any one application
// that lie less than window apart: two calls exactly window apart are not in the
// same one.
func (p *Platform) MaxCallsIn(window time.Duration) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := 0
	within := make(map[string][]time.Time)
	for _, c := range p.calls {
		times := within[c.AppID]
		times = append(times, c.Time)
		for c.Time.Sub(times[0]) >= window && len(times) > 1 {
			times = times[1:]
		}
		within[c.AppID] = times
		most = max(most, len(times))
	}
	return most
}

// note is what a handler adds to the record of its call.
type note struct {
	errorCode string
	rows      int
}

type noteKey struct{}

// noteOf finds the note of a call, or one that nobody reads where middleware
// replaced the context.
func noteOf(r *http.Request) *note {
	if n, ok := r.Context().Value(noteKey{}).(*note); ok {
		return n
	}
	return new(note)
}

// record notes every call.
func (p *Platform) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := p.mux.Handler(r)
		c := &Call{
			Method:    r.Method,
			Path:      r.URL.Path,
			RawQuery:  r.URL.RawQuery,
			AppID:     r.Header.Get("app_key"),
			Operation: operations[pattern],
		}
		if c.Operation == OperationLogin || c.Operation == OperationRefreshToken {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
			if err != nil {
				http.Error(w, "cannot read the request", http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			c.AppID = signInApp(c.Operation, r.Header, body)
		}
		p.mu.Lock()
		c.Time = time.Now()
		p.calls = append(p.calls, c)
		p.mu.Unlock()

		n := new(note)
		rec := &recorder{ResponseWriter: w}
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			c.Status, c.Bytes, c.ErrorCode, c.Rows = rec.status, rec.bytes, n.errorCode, n.rows
		}()
		next.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), noteKey{}, n)))
		if rec.status == 0 && !rec.hijacked {
			rec.status = http.StatusOK // net/http sends it for a handler that wrote nothing
		}
	})
}

// recorder counts what is sent.
type recorder struct {
	http.ResponseWriter
	status   int
	bytes    int64
	hijacked bool
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Hijack hands the connection to middleware.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap is for [http.ResponseController].
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
