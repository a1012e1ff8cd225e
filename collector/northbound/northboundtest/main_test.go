package northboundtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	nt "huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fleet  = "fleetApp" // owns task
	other  = "otherApp"
	secret = "s3cret"
	taskID = "5bf8f8567dd2d86eab87edd9"
)

// newPlatform has two applications with the same secret.
func newPlatform(opts ...nt.Option) *nt.Platform {
	p := nt.New(opts...)
	p.AddApplication(nt.App{ID: fleet, Secret: secret})
	p.AddApplication(nt.App{ID: other, Secret: secret})
	return p
}

// withTask adds a task of fleet.
func withTask(p *nt.Platform, s nt.Subtasks) *nt.Platform {
	p.AddTask(nt.Task{ID: taskID, AppID: fleet, Subtasks: s})
	return p
}

// answer is a response with its body.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// decode reads the body as JSON.
func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.Body), &v); err != nil {
		t.Fatalf("status %d, body %q: %v", a.Status, a.Body, err)
	}
	return v
}

// refusal is what an answer says of an error: HTTP status and code, or "200".
func refusal(t *testing.T, a answer) string {
	t.Helper()
	e := decode[struct {
		Code json.RawMessage `json:"error_code"`
	}](t, a)
	if e.Code == nil {
		return http.StatusText(a.Status)
	}
	return strings.Join([]string{http.StatusText(a.Status), string(e.Code)}, " ")
}

func do(t *testing.T, h http.Handler, r *http.Request) answer {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// post signs in or refreshes.
func post(t *testing.T, h http.Handler, path, contentType, body string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return do(t, h, r)
}

type tokens struct {
	AccessToken  string
	TokenType    string
	RefreshToken *string
	ExpiresIn    json.RawMessage
	Scope        string
}

func login(t *testing.T, h http.Handler, app string) answer {
	t.Helper()
	form := url.Values{"appId": {app}, "secret": {secret}}
	return post(t, h, nt.LoginPath, "application/x-www-form-urlencoded", form.Encode())
}

// signIn logs in and must succeed.
func signIn(t *testing.T, h http.Handler, app string) tokens {
	t.Helper()
	a := login(t, h, app)
	if a.Status != http.StatusOK {
		t.Fatalf("login: %+v", a)
	}
	return decode[tokens](t, a)
}

// get makes a call as an application.
func get(t *testing.T, h http.Handler, app, token, path, query string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.URL.RawQuery = query
	r.Header.Set("app_key", app)
	r.Header.Set("Authorization", "Bearer "+token)
	return do(t, h, r)
}

// details is the answer of taskDetails.
type details struct {
	PageNo      int
	PageSize    int
	TotalCount  *int
	TaskDetails []map[string]json.RawMessage
}

// statuses are those of the rows.
func (d details) statuses(t *testing.T) []string {
	t.Helper()
	list := []string{}
	for _, row := range d.TaskDetails {
		var s string
		if err := json.Unmarshal(row["status"], &s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// indices are those of the rows of a registration task.
func (d details) indices(t *testing.T) []int {
	t.Helper()
	list := []int{}
	for _, row := range d.TaskDetails {
		var p struct{ Index int }
		if err := json.Unmarshal(row["param"], &p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p.Index)
	}
	return list
}

// query asks for taskID as its owner, who signs in first.
func query(t *testing.T, p *nt.Platform, more string) answer {
	t.Helper()
	token := signIn(t, p, fleet).AccessToken
	return get(t, p, fleet, token, nt.TaskDetailsPath, "taskId="+taskID+more)
}

func mustQuery(t *testing.T, p *nt.Platform, more string) details {
	t.Helper()
	a := query(t, p, more)
	if a.Status != http.StatusOK {
		t.Fatalf("taskDetails%s: %+v", more, a)
	}
	return decode[details](t, a)
}
