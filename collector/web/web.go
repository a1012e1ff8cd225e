// Package web serves the exporter over HTTP: metrics, pages, and what keeps the
// exporter alive and reloads it.
package web

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/config"
)

// Exporter is what metrics and pages are made of: a [collector.Exporter].
type Exporter interface {
	Scrape(ctx context.Context) prometheus.Collector
	Probe(ctx context.Context, application string, task config.Task) (prometheus.Collector, error)
	Status() []collector.ApplicationStatus
}

// Reloader holds the configuration in force: a [config.Reloader].
type Reloader interface {
	Current() *config.Config // nil if there is none yet
	Reload() error           // each line of an error is a complaint
}

// Registry has the metrics of the process as a whole.
type Registry interface {
	prometheus.Registerer
	prometheus.Gatherer
}

// Options are what the handler works with. Exporter, Reloader, Registry and
// Logger are mandatory.
type Options struct {
	Exporter Exporter
	Reloader Reloader
	// Registry is shown on the telemetry path, after the exporter's own metrics.
	// The handler adds its promhttp metrics to it.
	Registry Registry
	Logger   log.Logger

	// TelemetryPath is where the metrics are; empty means /metrics.
	TelemetryPath string
	// TimeoutOffset is taken off the scrape timeout that Prometheus announces.
	TimeoutOffset time.Duration
	// EnableLifecycle allows reloads over HTTP.
	EnableLifecycle bool
}

const (
	probePath  = "/probe"
	configPath = "/config"
	adminPath  = "/-/"
)

type handler struct {
	Options
	now func() time.Time
}

// New returns the handler of everything that the exporter serves. It fails, and
// says what to do, if an option is impossible.
func New(o Options) (http.Handler, error) {
	if o.TelemetryPath == "" {
		o.TelemetryPath = "/metrics"
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	h := &handler{Options: o, now: time.Now}
	mux := http.NewServeMux()
	mux.Handle("/{$}", readOnly(h.status))
	mux.Handle(o.TelemetryPath, readOnly(promhttp.InstrumentMetricHandler(o.Registry, http.HandlerFunc(h.metrics)).ServeHTTP))
	mux.Handle(probePath, readOnly(h.probe))
	mux.Handle(configPath, readOnly(h.config))
	mux.Handle(adminPath+"healthy", readOnly(h.healthy))
	mux.Handle(adminPath+"ready", readOnly(h.ready))
	mux.Handle(adminPath+"reload", http.NewCrossOriginProtection().Handler(http.HandlerFunc(h.reload)))
	mux.HandleFunc("/", h.notFound)
	return guard(mux), nil
}

// check complains about an offset that would be an addition, and about a path
// that means something else to the server or is taken.
func (o *Options) check() error {
	if o.TimeoutOffset < 0 {
		return fmt.Errorf("--scrape.timeout-offset: %s is negative: give a duration such as 0.5s", o.TimeoutOffset)
	}
	if err := checkPath(o.TelemetryPath); err != nil {
		return fmt.Errorf("--web.telemetry-path: %w", err)
	}
	return nil
}

func checkPath(p string) error {
	switch {
	case !strings.HasPrefix(p, "/"):
		return fmt.Errorf("%q does not begin with /: choose a path such as /metrics", p)
	case p == "/":
		return fmt.Errorf("%q is the status page: choose another path, such as /metrics", p)
	case path.Clean(p) != p || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`{}?#%"<>\`, r) }):
		return fmt.Errorf("%q is not a plain path: choose one such as /metrics, without a / at its end", p)
	case p == probePath || p == configPath || strings.HasPrefix(p+"/", adminPath):
		return fmt.Errorf("%q is taken: choose another path, such as /metrics", p)
	}
	return nil
}

const (
	// readTimeout bounds how long a request's body may take. None is wanted.
	readTimeout = 10 * time.Second
	// writeTimeout bounds how long it takes to hand over an answer.
	writeTimeout = 30 * time.Second
)

// guard gives every answer its security headers and a time by which it has to
// be handed over.
func guard(next http.Handler) http.Handler {
	headers := map[string]string{
		"Cache-Control":           "no-store",
		"Content-Security-Policy": contentSecurityPolicy,
		"Referrer-Policy":         "no-referrer",
		"X-Content-Type-Options":  "nosniff",
		"X-Frame-Options":         "DENY",
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range headers {
			if w.Header().Get(name) == "" { // else --web.config.file sets it
				w.Header().Set(name, value)
			}
		}
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout))
		}
		allowTime(w, 0)
		next.ServeHTTP(w, r)
	})
}

// allowTime sets how long an answer may take to be made; it is handed over
// within writeTimeout. Test recorders have no deadlines to set.
func allowTime(w http.ResponseWriter, d time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d + writeTimeout))
}

// readOnly refuses requests that would change something.
func readOnly(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			say(w, http.StatusMethodNotAllowed, "Send a GET request.")
			return
		}
		next(w, r)
	})
}

func (h *handler) notFound(w http.ResponseWriter, r *http.Request) {
	say(w, http.StatusNotFound, fmt.Sprintf("There is nothing at %q. See %s for metrics, %s for one task, %s for the configuration, / for the status.",
		r.URL.Path, h.TelemetryPath, probePath, configPath))
}
