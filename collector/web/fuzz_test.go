package web

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/config"
)

// asked is a platform that has one subtask under every filter, and keeps
// the queries of the pages that it was asked for.
type asked struct {
	mu      sync.Mutex
	queries []url.Values
}

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	query := r.URL.Query()
	body := `{"taskId":"t","taskName":"firmware","taskType":"DeviceCmd"}`
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/login"):
		body = `{"accessToken":"token","expiresIn":3600}`
	case strings.HasSuffix(path, "/taskDetails"):
		a.mu.Lock()
		a.queries = append(a.queries, query)
		a.mu.Unlock()
		status := query.Get("status")
		if status == "" {
			status = "Fail"
		}
		body = fmt.Sprintf(`{"totalCount":1,"taskDetails":[{"status":%q,"error":"100428","param":{"deviceId":"d"}}]}`, status)
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(strings.NewReader(body)),
	}, nil
}

// probeable returns what a query asks for, if /probe has to answer it.
func probeable(rawQuery string) (url.Values, bool) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil || values.Get("application") != "fleet" || values.Get("task_id") == "" {
		return nil, false
	}
	for name, given := range values {
		value := given[0]
		ok := slices.Contains([]string{"application", "task_id", "name", "app_id", "device_id", "command_id", "node_id"}, name)
		switch {
		case value == "" && (name == "status" || name == "index"):
			ok = true
		case name == "status":
			ok = slices.Contains([]string{"Pending", "WaitResult", "Success", "Fail", "Timeout"}, value)
		case name == "index":
			n, err := strconv.Atoi(value)
			ok = err == nil && n >= 0
		}
		if !ok || len(given) > 1 || len(value) > 256 || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return nil, false
		}
	}
	return values, true
}

// FuzzProbe has a real exporter answer any query of /probe: it is refused in
// words and without a call, or the platform is asked for just that, and the
// metrics say so. Whatever the scrape timeout announced with it, it is sane.
func FuzzProbe(f *testing.F) {
	const must = "application=fleet&task_id=5bf8f8567dd2d86eab87edd9"
	for _, query := range []string{
		"", must, must + "&name=n&app_id=a&status=Fail&device_id=d&command_id=c&index=7&node_id=o", must + "&status=WaitResult&name=&index=",
		must + "&index=-1", must + "&index=%2B007", must + "&index=99999999999999999999", must + "&status=fail", must + "&name=a%0ab", must + "&name=%ff",
		must + "&name=%22%5C%F0%9F%98%80+%E2%80%A8", must + "&task_id=u", must + "&color=red", must + "&%00=1", must + "&name=%zz", must + ";name=x",
		"application=fleet&task_id=.", "application=fleet&task_id=..%2f%3fappId=x%26y", "application=none&task_id=t", "application=%66leet&task_id=+",
		"task_id=t", must + "&node_id=" + strings.Repeat("x", 257), must + "&&=&name=\xff",
	} {
		f.Add(query, "10")
	}
	for _, timeout := range []string{"", "0.1", "-1", "NaN", "+Inf", "1e-300", "1e300", "0x1p-2", "10s"} {
		f.Add(must, timeout)
	}
	f.Fuzz(func(t *testing.T, rawQuery, timeout string) {
		if d := scrapeTimeout(timeout, 500*time.Millisecond); d < 0 || d > time.Hour {
			t.Errorf("a timeout of %q is %s", timeout, d)
		}

		platform := new(asked)
		exporter := collector.New(collector.WithTransport(func(config.Application) (http.RoundTripper, error) { return platform, nil }))
		if err := exporter.Apply(&config.Config{Applications: []config.Application{{
			Name: "fleet", URL: "https://platform.example", AppID: "app", Secret: "secret", Settings: config.DefaultSettings(),
		}}}); err != nil {
			t.Fatal(err)
		}
		h := newHandler(t, nil, func(o *Options) { o.Exporter = exporter })
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, probePath, http.NoBody)
		r.URL.RawQuery = rawQuery
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		exporter.Close() // nothing is asked from here on

		if values, ok := probeable(rawQuery); ok {
			checkProbe(t, values, w, platform.queries)
			return
		}
		if w.Code != http.StatusBadRequest || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || len(platform.queries) > 0 {
			t.Errorf("not refused: status %d, %s, %d calls", w.Code, w.Header().Get("Content-Type"), len(platform.queries))
		}
		for line := range strings.Lines(w.Body.String()) {
			if line = strings.TrimSuffix(line, "\n"); !strings.Contains(line, ": ") || !utf8.ValidString(line) || strings.ContainsFunc(line, unicode.IsControl) {
				t.Errorf("not in words: %q", line)
			}
		}
	})
}

// checkProbe looks at the answer to a probe, and at what the platform was asked.
func checkProbe(t *testing.T, values url.Values, w *httptest.ResponseRecorder, queries []url.Values) {
	t.Helper()
	if w.Code != http.StatusOK || !utf8.Valid(w.Body.Bytes()) {
		t.Fatalf("status %d: %q", w.Code, w.Body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, w.Body)
	}
	task := values.Get("name")
	if task == "" {
		task = values.Get("task_id")
	}
	up := families["huawei_iot_batch_task_up"].GetMetric()
	if len(up) != 1 || up[0].GetGauge().GetValue() != 1 {
		t.Fatalf("task_up: %v", up)
	}
	got := map[string]string{}
	for _, label := range up[0].GetLabel() {
		got[label.GetName()] = label.GetValue()
	}
	if diff := cmp.Diff(map[string]string{"application": "fleet", "task": task, "task_id": values.Get("task_id")}, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}

	want := url.Values{}
	for parameter, asked := range map[string]string{
		"task_id": "taskId", "app_id": "appId", "status": "status", "device_id": "deviceId", "command_id": "commandId", "index": "index", "node_id": "nodeId",
	} {
		if value := values.Get(parameter); value != "" {
			want.Set(asked, value)
		}
	}
	if index, err := strconv.Atoi(want.Get("index")); err == nil {
		want.Set("index", strconv.Itoa(index))
	}
	if len(queries) == 0 {
		t.Error("the platform was not asked")
	}
	for _, query := range queries {
		if query.Get("pageNo") == "" || query.Get("pageSize") == "" {
			t.Errorf("not a page: %v", query)
		}
		query.Del("pageNo")
		query.Del("pageSize")
		if diff := cmp.Diff(want, query); diff != "" {
			t.Errorf("query (-want +got):\n%s", diff)
		}
	}
}
