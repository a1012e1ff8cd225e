package faults

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
)

// TestEchoes: the platform, or what stands in its place, says again what nobody
// may see. [fault.run] looks for it.
func TestEchoes(t *testing.T) {
	var faults []fault
	for _, echo := range []struct {
		name    string
		status  int
		headers string // of the answer
		says    string // %s is the credential
		counted string
	}{
		{"in a description", 400, "application/json", `{"error_code":"100022","error_desc":"bad token %s"}`, "task_details 400 100022"},
		{"in a description under 200", 200, "application/json", `{"error_code":"100022","error_desc":"bad token %s"}`, "task_details 200 100022"},
		{"in an error code", 400, "application/json", `{"error_code":"%s","error_desc":"x"}`, "task_details 400 <secret>"},
		{"in a page", 502, "text/html", `<html>GET / Authorization: Bearer %s</html>`, "task_details 502 malformed"},
		{"in what is no JSON", 200, "application/json", `Bearer %s`, "task_details 200 malformed"},
		{"in a type of content", 502, "text/%s", ``, "task_details 502 malformed"},
		{"in a number", 200, "application/json", `{"totalCount":"%s","taskDetails":[]}`, "task_details 200 malformed"},
		{"in a status", 200, "application/json", `{"totalCount":2,"taskDetails":[{"status":"Pending"},{"status":"%s"}]}`, ""},
		{"in a row's error code", 200, "application/json", `{"totalCount":2,"taskDetails":[{"status":"Pending"},{"status":"Fail","error":"{\"error_code\":\"x%sx\"}"}]}`, ""},
		{"in a redirect", 302, "text/html", `<a href="https://x/?token=%s">moved</a>`, "task_details 302 malformed"},
	} {
		answer := func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			w.Header().Set("Content-Type", strings.ReplaceAll(echo.headers, "%s", token))
			w.Header().Set("Location", "https://evil.example/"+token)
			w.Header().Set("Retry-After", token)
			w.WriteHeader(echo.status)
			_, _ = io.WriteString(w, strings.ReplaceAll(echo.says, "%s", token)) //nolint:gosec // which is what the exporter must stand
		}
		row := fault{name: "a token " + echo.name, hits: oneTask, counted: []string{echo.counted}, within: time.Minute, begin: toVictim(answer)}
		if echo.counted == "" {
			row.hits, row.counted, row.maySay, row.victim = nothing, nil, []string{inexact}, func(t *testing.T, got metrics) {
				if got.sum("subtasks", "<secret>")+got.sum("subtask_errors", "<secret>") == 0 {
					t.Errorf("nothing stands in the secret's place: %v", got)
				}
			}
		}
		faults = append(faults, row)
	}
	inFakeTime(t, faults)
}

// TestEscapes: text that is meant to be more than text is shown as text.
func TestEscapes(t *testing.T) {
	const evil = `"'><script><img src=x>` + "x\x00\x07\x1b[31m\r\n\u0085\u200e\u202e\u2066\u2028\ufeff\U000e0041x"
	quoted := strconv.QuoteToASCII(evil)
	quoted = strings.NewReplacer(`\x00`, `\u0000`, `\a`, `\u0007`, `\x1b`, `\u001b`, `\U000e0041`, `\udb40\udc41`).Replace(quoted)
	inner := strings.ReplaceAll(strings.ReplaceAll(quoted, `\`, `\\`), `"`, `\"`)
	const open = `{"status":"Pending","param":{"deviceId":"o"}}` // so that the task is asked for again
	for name, answer := range map[string]string{
		"an error code":  `{"totalCount":2,"taskDetails":[` + open + `,{"status":"Fail","error":"{\"error_code\":` + inner + `}","param":{"deviceId":"d"}}]}`,
		"a status":       `{"totalCount":2,"taskDetails":[` + open + `,{"status":` + quoted + `,"param":{"deviceId":"d"}}]}`,
		"a task's name":  `{"taskId":"victim","taskName":` + quoted + `,"taskType":` + quoted + `,"totalCount":2,"taskDetails":[` + open + `,{"status":"Fail","param":{"deviceId":"d"}}]}`,
		"a description":  `{"error_code":"100022","error_desc":` + quoted + `}`,
		"a refusal code": `{"error_code":` + quoted + `,"error_desc":"x"}`,
	} {
		inFakeTime(t, []fault{{
			name: name, hits: nothing, victim: func(*testing.T, metrics) {}, countsOthers: true, within: 5 * 60e9,
			maySay: []string{"task could not be read", "task is read again", "task cannot be told exactly"},
			begin:  toVictim(saysJSON(answer)),
			check: func(t *testing.T, w *world, _ metrics) {
				for _, path := range []string{"/", "/metrics", "/config", "/probe?application=fleet&task_id=victim"} {
					response := w.get(t, path)
					text, _ := io.ReadAll(response.Body) // a recorder's
					_ = response.Body.Close()
					isPage := strings.HasPrefix(response.Header.Get("Content-Type"), "text/html")
					if isPage && (strings.Contains(string(text), "<script") || strings.Contains(string(text), "<img")) {
						t.Errorf("%s shows tags", path)
					}
					for _, r := range string(text) {
						if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028') {
							t.Errorf("%s shows %U", path, r)
							break
						}
					}
				}
				for _, r := range w.log.String() {
					if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
						t.Errorf("the log shows %U", r)
						break
					}
				}
			},
		}})
	}
}
