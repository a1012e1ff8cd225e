package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/config"
)

// fake is an exporter and a reloader that do what they are told.
type fake struct {
	status []collector.ApplicationStatus
	probed config.Task
	scrape func(context.Context) // before the metrics are there
	config *config.Config
	err    error // of a reload
	calls  int
}

type metrics func(chan<- prometheus.Metric)

func (metrics) Describe(chan<- *prometheus.Desc)              {}
func (m metrics) Collect(ch chan<- prometheus.Metric)         { m(ch) }
func (f *fake) Status() []collector.ApplicationStatus         { return f.status }
func (f *fake) Current() *config.Config                       { return f.config }
func (f *fake) Reload() error                                 { f.calls++; return f.err }
func (f *fake) Scrape(c context.Context) prometheus.Collector { return f.metrics(c) }

func (f *fake) Probe(ctx context.Context, application string, t config.Task) (prometheus.Collector, error) {
	if application != "fleet" {
		return nil, fmt.Errorf("%w: %q", collector.ErrUnknownApplication, application)
	}
	f.probed = t
	return f.metrics(ctx), nil
}

func (f *fake) metrics(ctx context.Context) prometheus.Collector {
	return metrics(func(ch chan<- prometheus.Metric) {
		if f.scrape != nil {
			f.scrape(ctx)
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("own", "Help.", nil, nil), prometheus.GaugeValue, 1)
	})
}

func newHandler(t *testing.T, f *fake, change func(*Options)) http.Handler {
	t.Helper()
	o := Options{Exporter: f, Reloader: f, Registry: prometheus.NewRegistry(), Logger: log.NewNopLogger()}
	if change != nil {
		change(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ask(t *testing.T, h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody)
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestMethods(t *testing.T) {
	f := &fake{config: new(config.Config)}
	h := newHandler(t, f, nil)
	for _, path := range []string{"/", "/metrics", "/probe?application=fleet&task_id=t", "/config", "/-/healthy", "/-/ready"} {
		for _, method := range []string{"GET", "HEAD"} {
			if w := ask(t, h, method, path); w.Code != http.StatusOK {
				t.Errorf("%s %s: status %d", method, path, w.Code)
			}
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
			if w := ask(t, h, method, path); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: status %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
	}
	for _, path := range []string{"/none", "/metrics/", "/-/", "/probe/x"} {
		if w := ask(t, h, "GET", path); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "/metrics") {
			t.Errorf("%s: status %d: %s", path, w.Code, w.Body)
		}
	}
}

func TestReload(t *testing.T) {
	broken := errors.New("c.yml:1: first\nc.yml:2: second")
	for name, tc := range map[string]struct {
		method  string
		off     bool
		headers []string
		err     error
		status  int
		body    string
		calls   int
	}{
		"POST":              {method: "POST", status: 200, body: "is reloaded", calls: 1},
		"PUT":               {method: "PUT", status: 200, body: "is reloaded", calls: 1},
		"GET":               {method: "GET", status: 405, body: "POST"},
		"DELETE":            {method: "DELETE", status: 405, body: "POST"},
		"off":               {method: "POST", off: true, status: 403, body: "--web.enable-lifecycle"},
		"broken":            {method: "POST", err: broken, status: 500, body: broken.Error() + "\n", calls: 1},
		"from another page": {method: "POST", headers: []string{"Sec-Fetch-Site", "cross-site"}, status: 403},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{err: tc.err}
			h := newHandler(t, f, func(o *Options) { o.EnableLifecycle = !tc.off })
			w := ask(t, h, tc.method, "/-/reload", tc.headers...)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.body) || f.calls != tc.calls {
				t.Errorf("status %d, want %d; %d reloads, want %d; body, want %q:\n%s", w.Code, tc.status, f.calls, tc.calls, tc.body, w.Body)
			}
			if tc.status == 405 && w.Header().Get("Allow") != "POST, PUT" {
				t.Errorf("Allow %q", w.Header().Get("Allow"))
			}
		})
	}
}

func TestReadyOnceAConfigurationIsInForce(t *testing.T) {
	f := new(fake)
	h := newHandler(t, f, nil)
	for path, want := range map[string]int{"/-/healthy": 200, "/-/ready": 503, "/config": 503} {
		if w := ask(t, h, "GET", path); w.Code != want {
			t.Errorf("%s: status %d before, want %d", path, w.Code, want)
		}
	}
	f.config = new(config.Config)
	for _, path := range []string{"/-/healthy", "/-/ready", "/config"} {
		if w := ask(t, h, "GET", path); w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
			t.Errorf("%s: status %d, %s", path, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

func TestTelemetryPath(t *testing.T) {
	for path, ok := range map[string]bool{
		"": true, "/metrics": true, "/a/b": true, "/-": false, "/-metrics": true, "/~a": true,
		"/": false, "metrics": false, "/metrics/": false, "//metrics": false, "/a/../b": false,
		"/probe": false, "/config": false, "/-/ready": false, "/-/x": false,
		"/{x}": false, "/a b": false, "/a?b": false, "/a#b": false, "/%61": false, "/é": false,
	} {
		_, err := New(Options{Exporter: new(fake), Reloader: new(fake), Registry: prometheus.NewRegistry(), Logger: log.NewNopLogger(), TelemetryPath: path})
		if (err == nil) != ok {
			t.Errorf("%q: error %v, want one: %v", path, err, !ok)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	h := newHandler(t, new(fake), nil)
	for _, path := range []string{"/", "/metrics", "/probe", "/config", "/none", "/-/reload"} {
		w := ask(t, h, "GET", path)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Cache-Control": "no-store", "Content-Security-Policy": contentSecurityPolicy,
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestScrapeTimeout(t *testing.T) {
	const offset = 500 * time.Millisecond
	for announced, want := range map[string]time.Duration{
		"": 10 * time.Second, "soon": 10 * time.Second, "0": 10 * time.Second, "-5": 10 * time.Second,
		"NaN": 10 * time.Second, "Inf": 10 * time.Second, "-Inf": 10 * time.Second, "1e999": 10 * time.Second,
		"10": 9500 * time.Millisecond, "2.5": 2 * time.Second, "1e300": time.Hour - offset,
		"0.5": 250 * time.Millisecond, "0.2": 100 * time.Millisecond,
	} {
		if got := scrapeTimeout(announced, offset); got != want {
			t.Errorf("%q: %s, want %s", announced, got, want)
		}
	}
}

func TestScrapeEndsAtTheDeadlineWithWhatIsKnown(t *testing.T) {
	for _, path := range []string{"/metrics", "/probe?application=fleet&task_id=t"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{scrape: func(ctx context.Context) { <-ctx.Done() }}
				h := newHandler(t, f, func(o *Options) { o.TimeoutOffset = time.Second })
				began := time.Now()
				w := ask(t, h, "GET", path, timeoutHeader, "15")
				if took := time.Since(began); took != 14*time.Second {
					t.Errorf("took %s", took)
				}
				if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "\nown 1\n") {
					t.Errorf("status %d:\n%s", w.Code, w.Body)
				}
			})
		})
	}
}

func TestProcessIsSeenAfterTheWork(t *testing.T) {
	calls := prometheus.NewCounter(prometheus.CounterOpts{Name: "calls_total", Help: "Help."})
	registry := prometheus.NewRegistry()
	registry.MustRegister(calls)
	f := &fake{scrape: func(context.Context) { calls.Inc() }}
	h := newHandler(t, f, func(o *Options) { o.Registry = registry })
	if w := ask(t, h, "GET", "/metrics"); !strings.Contains(w.Body.String(), "\ncalls_total 1\n") {
		t.Errorf("metrics:\n%s", w.Body)
	}
	if w := ask(t, h, "GET", "/probe?application=fleet&task_id=t"); strings.Contains(w.Body.String(), "calls_total") {
		t.Errorf("a probe shows more than its task:\n%s", w.Body)
	}
}

func TestOneBrokenMetricHarmsNoOther(t *testing.T) {
	var logged bytes.Buffer
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics(func(ch chan<- prometheus.Metric) {
		ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("broken", "Help.", nil, nil), errors.New("does not work"))
	}))
	h := newHandler(t, new(fake), func(o *Options) { o.Registry, o.Logger = registry, log.NewLogfmtLogger(&logged) })
	if w := ask(t, h, "GET", "/metrics"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "\nown 1\n") {
		t.Errorf("status %d:\n%s", w.Code, w.Body)
	}
	if !strings.Contains(logged.String(), "does not work") {
		t.Errorf("logged %q", &logged)
	}
}

func TestProbeParameters(t *testing.T) {
	const must = "application=fleet&task_id=t"
	seven := 7
	for query, want := range map[string]config.Task{
		must: {TaskID: "t"},
		must + "&name=n&app_id=a&status=Fail&device_id=d&command_id=c&index=7&node_id=o": {
			TaskID: "t", Name: "n", AppID: "a", Status: "Fail", DeviceID: "d", CommandID: "c", Index: &seven, NodeID: "o",
		},
		must + "&name=&status=&index=":                          {TaskID: "t"},
		must + "&index=0":                                       {TaskID: "t", Index: new(int)},
		must + "&device_id=" + strings.Repeat("x", 256):         {TaskID: "t", DeviceID: strings.Repeat("x", 256)},
		"application=fleet&task_id=" + url.QueryEscape("a b&c"): {TaskID: "a b&c"},
	} {
		f := new(fake)
		if w := ask(t, newHandler(t, f, nil), "GET", "/probe?"+query); w.Code != http.StatusOK {
			t.Errorf("%s: status %d: %s", query, w.Code, w.Body)
		}
		if diff := cmp.Diff(want, f.probed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	for query, want := range map[string][]string{ // beginnings of lines
		"":                                   {"application: is missing", "task_id: is missing"},
		"application=fleet":                  {"task_id: is missing"},
		"task_id=t":                          {"application: is missing"},
		"application=fleet&task_id=":         {"task_id: is missing"},
		"application=none&task_id=t":         {`application: "none" is not configured`},
		must + "&task_id=u":                  {"task_id: is given 2 times"},
		must + "&color=red":                  {`"color" is no parameter`},
		must + "&Status=Fail":                {`"Status" is no parameter`},
		must + "&status=fail":                {`status: "fail" is none: give one of Pending, WaitResult, Success, Fail, Timeout`},
		must + "&index=-1":                   {`index: "-1" is none`},
		must + "&index=1.5":                  {`index: "1.5" is none`},
		must + "&index=99999999999999999999": {`index: "9`},
		must + "&name=%ff":                   {"name: is not UTF-8"},
		must + "&name=a%0ab":                 {"name: has control characters"},
		must + "&device_id=" + strings.Repeat("x", 257): {"device_id: is 257 bytes long"},
		must + "&name=%zz":             {"the query cannot be read"},
		must + "&x=1&status=x&index=x": {`"x" is no parameter`, "status: ", "index: "},
	} {
		w := ask(t, newHandler(t, new(fake), nil), "GET", "/probe?"+query)
		lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
		ok := w.Code == http.StatusBadRequest && len(lines) == len(want)
		for i := 0; ok && i < len(want); i++ {
			ok = strings.HasPrefix(lines[i], want[i])
		}
		if !ok {
			t.Errorf("%s: status %d, want 400; lines, want %q:\n%s", query, w.Code, want, w.Body)
		}
	}
}
