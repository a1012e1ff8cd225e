package northboundtest

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Paths of the calls that the platform answers.
const (
	LoginPath        = "/iocm/app/sec/v1.1.0/login"
	RefreshTokenPath = "/iocm/app/sec/v1.1.0/refreshToken" //nolint:gosec // a path, not a credential
	TaskDetailsPath  = "/iocm/app/batchtask/v1.1.0/taskDetails"
	TasksPath        = "/iocm/app/batchtask/v1.1.0/tasks/" // followed by the task's ID
)

// maxBody bounds the body of a request; a sign-in has a few hundred bytes.
const maxBody = 64 << 10

// Platform is a simulated platform. It is an [http.Handler] and safe for
// concurrent use. Methods that name an application or a task panic if the
// platform does not have it: that is a mistake in the test.
type Platform struct {
	mux *http.ServeMux

	mu       sync.Mutex
	opts     options
	handler  http.Handler // record, then middleware, then mux
	apps     map[string]*application
	tasks    map[string]*task
	calls    []*Call
	shuffles uint64 // calls that shuffled
	scratch  []int  // of match
}

// New makes a platform without applications and tasks. It does not listen.
func New(opts ...Option) *Platform {
	p := &Platform{
		mux:   http.NewServeMux(),
		opts:  defaults(),
		apps:  make(map[string]*application),
		tasks: make(map[string]*task),
	}
	p.mux.HandleFunc(loginPattern, p.serve(p.login))
	p.mux.HandleFunc(refreshTokenPattern, p.serve(p.refreshToken))
	p.mux.HandleFunc(taskDetailsPattern, p.serve(p.taskDetails))
	p.mux.HandleFunc(taskPattern, p.serve(p.taskSummary))
	p.Set(opts...)
	return p
}

// Set changes a platform while it runs, as an operator would. Options that were
// given before stay in force; middleware is added to what there is.
func (p *Platform) Set(opts ...Option) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range opts {
		o(&p.opts)
	}
	var h http.Handler = p.mux
	for i := len(p.opts.middleware) - 1; i >= 0; i-- {
		h = p.opts.middleware[i](h)
	}
	p.handler = p.record(h)
}

// ServeHTTP answers one call of the API.
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	h := p.handler
	p.mu.Unlock()
	h.ServeHTTP(w, r)
}

// request is a call on its way through a handler.
type request struct {
	*http.Request
	body []byte
	now  time.Time
	note *note
}

// refusal is an answer that reports an error.
type refusal struct {
	status     int
	code, desc string
	retryAfter time.Duration
}

// The documented refusals.
var (
	errFrozen          = &refusal{status: http.StatusBadRequest, code: "100247", desc: "The application is freezed"}
	errEmptyParameter  = &refusal{status: http.StatusBadRequest, code: "102202", desc: "Required Parameter is null or empty"}
	errCredentials     = &refusal{status: http.StatusUnauthorized, code: "100208", desc: "AppId or secret is not right"}
	errSignInInput     = &refusal{status: http.StatusBadRequest, code: "50400", desc: "The input is invalid"}
	errInput           = &refusal{status: http.StatusBadRequest, code: "100022", desc: "The input is invalid"}
	errIllegalRequest  = &refusal{status: http.StatusBadRequest, code: "100019", desc: "Illegal request"}
	errNoApplication   = &refusal{status: http.StatusForbidden, code: "100203", desc: "The application is not existed"}
	errNoApplication5  = &refusal{status: http.StatusInternalServerError, code: "100203", desc: "The application is not existed"}
	errNotAuthorized   = &refusal{status: http.StatusForbidden, code: "100217", desc: "The application hasn't been authorized"}
	errToken           = &refusal{status: http.StatusForbidden, code: "1010005", desc: "App_key or access_token is invalid"}
	errThrottled       = &refusal{status: http.StatusForbidden, code: "1010009", desc: "app throttle exceed"}
	errNoTask          = &refusal{status: http.StatusNotFound, code: "105005", desc: "The batchTask is not existed"}
	errNoSuchOperation = &refusal{status: http.StatusNotFound} // answered as by a server that has no such path
)

// serve turns a handler of the API into one of HTTP. Handlers run under the
// platform's lock; the body is read before and the answer written after.
func (p *Platform) serve(h func(*request) (any, *refusal)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "cannot read the request", http.StatusBadRequest)
			return
		}
		n := noteOf(r)

		p.mu.Lock()
		answer, no := h(&request{Request: r, body: body, now: time.Now(), note: n})
		o := p.opts
		p.mu.Unlock()

		switch {
		case no == errNoSuchOperation:
			http.NotFound(w, r)
		case no != nil:
			n.errorCode = no.code
			no.write(w, &o)
		default:
			writeJSON(w, http.StatusOK, answer)
		}
	}
}

func (no *refusal) write(w http.ResponseWriter, o *options) {
	if no.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatFloat(math.Ceil(no.retryAfter.Seconds()), 'f', 0, 64))
	}
	status := no.status
	if o.errorsUnder200 {
		status = http.StatusOK
	}
	var code any = no.code
	if o.numericErrorCodes {
		code = json.Number(no.code)
	}
	writeJSON(w, status, struct {
		Code any    `json:"error_code"`
		Desc string `json:"error_desc"`
	}{code, no.desc})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // a panic would be lost in net/http
		http.Error(w, fmt.Sprintf("northboundtest: a task holds what cannot be sent as JSON: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller may have gone
}
