package web

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"huawei_iot_batch_exporter/collector"
)

const (
	// timeoutHeader is how Prometheus announces how long it will wait, in seconds.
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	// defaultTimeout is how long a scrape may take that announces nothing.
	defaultTimeout = 10 * time.Second
	// maxTimeout is the longest that is believed.
	maxTimeout = time.Hour
)

// metrics answers a scrape of all configured tasks.
func (h *handler) metrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := h.untilDeadline(w, r)
	defer cancel()
	h.serve(w, r, func(own *prometheus.Registry) prometheus.Gatherer {
		own.MustRegister(h.Exporter.Scrape(ctx))
		return prometheus.Gatherers{own, h.Registry} // in this order, so that the process is seen after the work
	})
}

// probe answers a scrape of one task.
func (h *handler) probe(w http.ResponseWriter, r *http.Request) {
	application, task, err := parseProbe(r.URL.RawQuery)
	if err != nil {
		say(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := h.untilDeadline(w, r)
	defer cancel()
	probed, err := h.Exporter.Probe(ctx, application, task)
	switch {
	case errors.Is(err, collector.ErrUnknownApplication):
		say(w, http.StatusBadRequest, fmt.Sprintf("application: %q is not configured: give the name of an application in %s", application, configPath))
		return
	case err != nil:
		say(w, http.StatusInternalServerError, err.Error())
		return
	}
	h.serve(w, r, func(own *prometheus.Registry) prometheus.Gatherer {
		own.MustRegister(probed)
		return own
	})
}

// serve writes the metrics of a registry of the request's own, and of what goes
// with it.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, gatherer func(own *prometheus.Registry) prometheus.Gatherer) {
	promhttp.HandlerFor(gatherer(prometheus.NewRegistry()), promhttp.HandlerOpts{
		ErrorLog:          errorLog{h.Logger},
		ErrorHandling:     promhttp.ContinueOnError,
		Registry:          h.Registry,
		EnableOpenMetrics: true,
	}).ServeHTTP(w, r)
}

// untilDeadline returns a context that ends when a scrape has to be answered, or
// when nobody waits for the answer any more.
func (h *handler) untilDeadline(w http.ResponseWriter, r *http.Request) (context.Context, context.CancelFunc) {
	timeout := scrapeTimeout(r.Header.Get(timeoutHeader), h.TimeoutOffset)
	allowTime(w, timeout)
	return context.WithTimeout(r.Context(), timeout)
}

// scrapeTimeout returns how long a scrape may take: what was announced less an
// offset, or half of it if the offset leaves nothing. What cannot be meant is no
// announcement.
func scrapeTimeout(announced string, offset time.Duration) time.Duration {
	seconds, err := strconv.ParseFloat(announced, 64)
	if err != nil || math.IsNaN(seconds) || math.IsInf(seconds, 0) || seconds <= 0 {
		return defaultTimeout
	}
	timeout := time.Duration(min(seconds, maxTimeout.Seconds()) * float64(time.Second))
	if timeout > offset {
		return timeout - offset
	}
	return timeout / 2
}

// errorLog takes promhttp's errors.
type errorLog struct{ logger log.Logger }

func (l errorLog) Println(v ...any) {
	level.Error(l.logger).Log("msg", "metrics could not be served completely", "err", strings.TrimSpace(fmt.Sprintln(v...)))
}
