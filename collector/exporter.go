// Package collector keeps what is known of the configured batch tasks up to
// date, within each application's share of the platform's calls, and shows it as
// Prometheus metrics.
//
// Data flows one way: a configuration is applied ([Exporter.Apply]); a scrape
// ([Exporter.Scrape], [Exporter.Probe]) has the tasks that are due read by the
// client; what was read becomes one immutable snapshot per task; metrics and
// pages are made of snapshots alone.
package collector

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"huawei_iot_batch_exporter/collector/allowance"
	"huawei_iot_batch_exporter/config"
)

// ErrUnknownApplication is returned for an application that is not configured.
var ErrUnknownApplication = errors.New("no such application is configured")

// Exporter watches the tasks of a configuration. Its methods may be called from
// several goroutines at once.
type Exporter struct {
	logger    log.Logger
	transport TransportFunc

	ctx    context.Context // of all work; ends with Close
	cancel context.CancelFunc
	work   workers

	mu      sync.Mutex
	apps    []*application // in the order of the configuration
	rhythm  rhythm
	scrapes map[*scrape]struct{}                      // scrapes of all tasks that were not answered yet
	retired map[platformIdentity]*allowance.Allowance // of applications no longer configured
}

// TransportFunc makes what carries the calls of an application.
type TransportFunc func(config.Application) (http.RoundTripper, error)

// Option sets what is not mandatory.
type Option func(*Exporter)

// WithLogger sets the logger; the default logs nothing.
func WithLogger(logger log.Logger) Option {
	return func(e *Exporter) { e.logger = logger }
}

// WithTransport replaces what carries the calls. The default is made from the
// application's tls_config and proxy settings.
func WithTransport(transport TransportFunc) Option {
	return func(e *Exporter) { e.transport = transport }
}

// New returns an exporter that watches nothing until a configuration is applied.
// Close ends its work.
func New(opts ...Option) *Exporter {
	e := &Exporter{
		logger:    log.NewNopLogger(),
		transport: newTransport,
		scrapes:   make(map[*scrape]struct{}),
		retired:   make(map[platformIdentity]*allowance.Allowance),
	}
	for _, opt := range opts {
		opt(e)
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// Apply puts a configuration in force. Allowances, tokens and what is known of
// tasks are kept wherever the configuration still means the same. On an error,
// which says what to do, nothing has changed.
func (e *Exporter) Apply(cfg *config.Config) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	kept := make(map[platformIdentity]*application, len(e.apps))
	for _, a := range e.apps {
		kept[a.identity] = a
	}
	changes := make([]func(), 0, len(cfg.Applications))
	apps := make([]*application, 0, len(cfg.Applications))
	for _, ac := range cfg.Applications {
		identity := identityOf(ac)
		a := kept[identity]
		if a == nil {
			a = newApplication(e, identity, e.allowanceOf(identity))
		}
		change, err := a.prepare(ac)
		if err != nil {
			return fmt.Errorf("application %q: %w", ac.Name, err)
		}
		changes = append(changes, change)
		apps = append(apps, a)
		delete(kept, a.identity)
	}
	for _, change := range changes {
		change()
	}
	e.retire(kept)
	for _, a := range apps {
		delete(e.retired, a.identity)
	}
	e.apps = apps
	e.rhythm.forecast = false
	return nil
}

// allowanceOf returns the allowance of an application, with the calls that it
// has made even if it was not configured for a moment.
func (e *Exporter) allowanceOf(identity platformIdentity) *allowance.Allowance {
	if calls := e.retired[identity]; calls != nil {
		return calls
	}
	return allowance.New(1)
}

// retire keeps the allowances of applications that are no longer configured, as
// long as they differ from new ones.
func (e *Exporter) retire(gone map[platformIdentity]*application) {
	for id, a := range gone {
		a.stop()
		e.retired[id] = a.allowance
	}
	for id, calls := range e.retired {
		s := calls.Stats()
		rested := s.RestingUntil.IsZero() && s.Limit == s.Configured && s.Available == s.Limit
		if rested && gone[id] == nil {
			delete(e.retired, id)
		}
	}
}

// Close ends all work and waits until it has ended.
func (e *Exporter) Close() {
	e.cancel()
	e.work.close()
	for _, a := range e.applications() {
		a.stop()
	}
}

// workers are the goroutines of an exporter.
type workers struct {
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

// start runs f in a goroutine, unless the exporter is closed.
func (w *workers) start(f func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.group.Go(f)
	}
	return !w.closed
}

// close waits until all have ended, and lets no other start.
func (w *workers) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.group.Wait()
}

// Scrape returns a collector of all metrics of the configured tasks and their
// applications. Its Collect first has the tasks read that are due, and answers
// when that is done or ctx ends, whichever is sooner, with what is known then;
// the work goes on and serves the next scrape.
func (e *Exporter) Scrape(ctx context.Context) prometheus.Collector {
	return collectorFunc(func(ch chan<- prometheus.Metric) {
		e.Refresh(ctx)
		for _, v := range e.views() {
			v.collect(ch)
			for _, w := range v.watches {
				v.collectTask(ch, w)
			}
		}
	})
}

// Probe returns a collector of one task, configured or not, and its application.
// Of the task's fields, labels are not used; a configured task brings its own
// name and labels where t has no name. It fails with [ErrUnknownApplication].
func (e *Exporter) Probe(ctx context.Context, application string, t config.Task) (prometheus.Collector, error) {
	for _, a := range e.applications() {
		if a.name() == application {
			return collectorFunc(func(ch chan<- prometheus.Metric) {
				w := a.probe(ctx, t)
				v := a.view()
				v.collect(ch)
				v.collectTask(ch, w)
			}), nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownApplication, application)
}

// Refresh has the configured tasks read that are due. It returns when that is
// done, when nothing more can be had before ctx ends, or when ctx ends. Scrapes
// that overlap share one refresh.
func (e *Exporter) Refresh(ctx context.Context) {
	s, since := e.begin()
	defer e.end(s)
	var wait sync.WaitGroup
	for _, a := range e.applications() {
		wait.Go(func() { a.refresh(ctx, since) })
	}
	wait.Wait()
}

// AllUp tells whether the last attempt to read each configured task worked.
func (e *Exporter) AllUp() bool {
	for _, a := range e.applications() {
		for _, w := range a.watched() {
			if !w.task.state.Load().Up() {
				return false
			}
		}
	}
	return true
}

// scrape is a scrape of all tasks that is not answered yet.
type scrape struct{ arrived time.Time }

// sharing bounds how old a number may be that a scrape takes over from one that
// it overlaps with.
const sharing = 10 * time.Second

// begin opens a scrape. What was read since the returned time is fresh for it:
// since it arrived, or since the oldest of the scrapes that it overlaps with.
func (e *Exporter) begin() (*scrape, time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &scrape{arrived: time.Now()}
	since := s.arrived
	for other := range e.scrapes {
		if other.arrived.Before(since) {
			since = other.arrived
		}
	}
	if oldest := s.arrived.Add(-sharing); since.Before(oldest) {
		since = oldest
	}
	e.scrapes[s] = struct{}{}
	e.rhythm.note(s.arrived)
	interval := e.rhythm.interval()
	for _, a := range e.apps {
		a.foresee(interval)
	}
	return s, since
}

func (e *Exporter) end(s *scrape) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.scrapes, s)
	if e.rhythm.ready() {
		for _, a := range e.apps {
			a.logForecast(e.rhythm.interval())
		}
	}
}

// views are all applications at one moment, between two configurations.
func (e *Exporter) views() []view {
	e.mu.Lock()
	defer e.mu.Unlock()
	views := make([]view, 0, len(e.apps))
	for _, a := range e.apps {
		views = append(views, a.view())
	}
	return views
}

func (e *Exporter) applications() []*application {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.apps
}

// rhythm is how often all tasks are scraped, by all servers together.
type rhythm struct {
	arrivals []time.Time // the last few, oldest first
	forecast bool        // the calls that this wants were logged
}

const (
	// rhythmLength is how many scrapes the interval is averaged over.
	rhythmLength = 10
	// assumedInterval stands until two scrapes were seen: Prometheus' default.
	assumedInterval = time.Minute
)

func (r *rhythm) note(now time.Time) {
	r.arrivals = append(r.arrivals, now)
	if len(r.arrivals) > rhythmLength {
		r.arrivals = r.arrivals[1:]
	}
}

// interval is the average time between scrapes, at least a second.
func (r *rhythm) interval() time.Duration {
	n := len(r.arrivals)
	if n < 2 {
		return assumedInterval
	}
	return max(time.Second, r.arrivals[n-1].Sub(r.arrivals[0])/time.Duration(n-1))
}

// ready tells, once, that enough was seen for a forecast.
func (r *rhythm) ready() bool {
	if r.forecast || len(r.arrivals) < 3 {
		return false
	}
	r.forecast = true
	return true
}

// collectorFunc is an unchecked collector: what it sends is known only when it
// has run.
type collectorFunc func(chan<- prometheus.Metric)

func (collectorFunc) Describe(chan<- *prometheus.Desc) {}

func (f collectorFunc) Collect(ch chan<- prometheus.Metric) { f(ch) }
