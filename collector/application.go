package collector

import (
	"context"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"huawei_iot_batch_exporter/collector/allowance"
	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/config"
)

// platformIdentity is what an application is to the platform, which limits its
// calls and gives it one token at a time, whatever the configuration calls it.
type platformIdentity struct{ url, appID string }

func identityOf(a config.Application) platformIdentity {
	identity := platformIdentity{a.URL, a.AppID}
	if u, err := url.Parse(a.URL); err == nil {
		u.Host = strings.ToLower(u.Host)
		if port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]; port != "" {
			u.Host = strings.TrimSuffix(u.Host, port)
		}
		u.Path = strings.TrimRight(u.Path, "/")
		identity.url = u.String()
	}
	return identity
}

// application is one application of the platform: its client, its allowance and
// its tasks.
type application struct {
	identity  platformIdentity
	exporter  *Exporter
	allowance *allowance.Allowance
	traits    *census.Traits

	ctx    context.Context // of its work
	cancel context.CancelFunc

	mu        sync.Mutex
	logger    log.Logger
	cfg       config.Application
	client    *northbound.Client
	transport closer
	telemetry *telemetry
	tasks     map[taskIdentity]*task
	watches   []watch // the configured tasks, in the order of the configuration
	lanes     [2]lane // configured tasks, and what is only probed
	waits     map[*wait]struct{}
	giveUp    *time.Timer // until scrapes that wait in vain are answered; nil: none do
	wanted    float64
	health    health
	reported  report
}

// closer is a transport that can let go of connections nobody uses.
type closer interface{ CloseIdleConnections() }

func newApplication(e *Exporter, identity platformIdentity, calls *allowance.Allowance) *application {
	a := &application{
		identity:  identity,
		exporter:  e,
		allowance: calls,
		traits:    new(census.Traits),
		tasks:     make(map[taskIdentity]*task),
		waits:     make(map[*wait]struct{}),
		lanes:     [2]lane{{workers: 4}, {workers: 2}},
	}
	a.ctx, a.cancel = context.WithCancel(e.ctx)
	return a
}

// prepare readies a configuration and returns the change that puts it in force.
func (a *application) prepare(cfg config.Application) (func(), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	client, transport := a.client, a.transport
	if client == nil || !sameConnection(a.cfg, cfg) {
		var err error
		if client, transport, err = a.newClient(cfg); err != nil {
			return nil, err
		}
	}
	return func() { a.change(cfg, client, transport) }, nil
}

func (a *application) newClient(cfg config.Application) (*northbound.Client, closer, error) {
	transport, err := a.exporter.transport(cfg)
	if err != nil {
		return nil, nil, err
	}
	credentials := northbound.Credentials{AppID: cfg.AppID}
	if cfg.AccessTokenFile != "" {
		credentials.AccessToken = cfg.ReadAccessToken
	} else {
		credentials.Secret = cfg.ReadSecret
	}
	client, err := northbound.NewClient(cfg.URL, credentials,
		northbound.WithTransport(transport),
		northbound.WithLimiter(a),
		northbound.WithObserver(a.observe),
		northbound.WithCallTimeout(cfg.Settings.CallTimeout),
	)
	c, _ := transport.(closer)
	return client, c, err
}

// sameConnection tells whether two configurations reach the platform alike.
func sameConnection(a, b config.Application) bool {
	connection := func(c config.Application) config.Application {
		return config.Application{
			URL: c.URL, AppID: c.AppID,
			Secret: c.Secret, SecretFile: c.SecretFile, AccessTokenFile: c.AccessTokenFile,
			TLSConfig: c.TLSConfig, ProxyConfig: c.ProxyConfig,
			Settings: config.Settings{CallTimeout: c.Settings.CallTimeout},
		}
	}
	return reflect.DeepEqual(connection(a), connection(b))
}

// change puts a configuration in force: what stays is moved over, what is new
// begins, what is gone ends.
func (a *application) change(cfg config.Application, client *northbound.Client, transport closer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != client {
		if a.client != nil {
			client.Adopt(a.client)
		}
		if a.transport != nil {
			a.transport.CloseIdleConnections()
		}
		a.client, a.transport = client, transport
	}
	if a.cfg.Secret != cfg.Secret || a.cfg.SecretFile != cfg.SecretFile || a.cfg.AccessTokenFile != cfg.AccessTokenFile {
		a.health.forgive()
	}
	if a.telemetry == nil || a.cfg.Name != cfg.Name {
		a.telemetry = newTelemetry(cfg.Name)
		a.logger = log.With(a.exporter.logger, "application", cfg.Name)
	}
	a.cfg = cfg
	a.allowance.SetLimit(cfg.Settings.CallsPerMinute)

	for _, t := range a.tasks {
		t.configured = false
	}
	a.watches = nil
	for _, tasks := range [][]config.Task{cfg.Tasks, cfg.FileTasks} {
		for _, tc := range tasks {
			t := a.task(tc)
			t.configured = true
			a.watches = append(a.watches, watch{task: t, name: tc.Name, labels: tc.Labels})
		}
	}
	for id, t := range a.tasks {
		if !t.configured && t.lastProbe.IsZero() {
			delete(a.tasks, id)
			a.unqueue(configuredLane, t)
		}
		if t.configured {
			a.unqueue(probeLane, t)
		}
	}
}

// task returns the task of a configuration, new if there is none yet.
func (a *application) task(tc config.Task) *task {
	if tc.AppID == a.identity.appID {
		tc.AppID = "" // the platform wants it for tasks of others only
	}
	id := identifyTask(tc)
	t := a.tasks[id]
	if t == nil {
		t = newTask(id, tc, a.traits)
		a.tasks[id] = t
	}
	return t
}

// wants tells whether a task is still configured or probed.
func (a *application) wants(t *task) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tasks[t.identity] == t
}

// stop ends the application's work.
func (a *application) stop() {
	a.cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.transport != nil {
		a.transport.CloseIdleConnections()
	}
}

func (a *application) name() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cfg.Name
}

func (a *application) watched() []watch {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.watches
}

// refresh has the configured tasks read that are due.
func (a *application) refresh(ctx context.Context, since time.Time) {
	a.mu.Lock()
	a.health.turn()
	tasks := make([]*task, 0, len(a.watches))
	for _, w := range a.watches {
		tasks = append(tasks, w.task)
	}
	client := a.client
	a.mu.Unlock()
	if len(tasks) == 0 {
		a.signIn(ctx, client)
	} else {
		a.await(ctx, configuredLane, tasks, since)
	}
	a.report()
}

// signIn is all that shows whether an application without tasks can work.
func (a *application) signIn(ctx context.Context, client *northbound.Client) {
	done := make(chan struct{})
	a.exporter.work.start(func() {
		defer close(done)
		if err := client.SignIn(a.ctx); err != nil && a.ctx.Err() == nil {
			if _, sent := asError(err); !sent {
				a.cannotAsk(err)
			}
		}
	})
	select {
	case <-done:
	case <-ctx.Done():
	case <-a.ctx.Done():
	}
}

// Acquire lets a call pass when the allowance does. It makes the application
// the limiter of its client.
func (a *application) Acquire(ctx context.Context) (func(error), error) {
	release, ok := a.allowance.TryAcquire(ctx)
	if !ok {
		if onlySpare(ctx) {
			return nil, errNoSpareCall
		}
		lane := laneOf(ctx)
		a.block(lane, +1)
		var err error
		release, err = a.allowance.Acquire(ctx)
		a.block(lane, -1)
		if err != nil {
			return nil, err
		}
	}
	return func(err error) {
		release(outcome(err))
		a.block(laneOf(ctx), 0)
	}, nil
}

// block notes that a call begins or ceases to wait for the allowance.
func (a *application) block(id laneID, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lanes[id].blocked += n
	a.reconsider()
}

// grace is how long what a call brought may take to be shown.
const grace = 50 * time.Millisecond

// reconsider has scrapes answered that wait in vain, soon: when nothing is under
// way and the allowance has no call for them in time.
func (a *application) reconsider() {
	if a.stuck() && a.giveUp == nil {
		a.giveUp = time.AfterFunc(grace, a.giveUpWaiting)
	}
}

func (a *application) stuck() bool {
	return a.lanes[configuredLane].blocked+a.lanes[probeLane].blocked > 0 && len(a.waits) > 0 && a.allowance.Stats().InFlight == 0
}

func (a *application) giveUpWaiting() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.giveUp = nil
	next, known := a.allowance.NextGrant()
	if !a.stuck() || !known {
		return
	}
	for w := range a.waits {
		if !w.deadline.IsZero() && next.After(w.deadline) {
			w.finish()
		}
	}
}

// observe counts a call that has ended.
func (a *application) observe(call northbound.Call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.telemetry.observe(call)
	a.health.note(call, !a.client.Session().SignedIn)
}

// cannotAsk notes that no call could be sent: its credentials cannot be read.
func (a *application) cannotAsk(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.health.silence(err)
}

// report is what was last said of an application in the log.
type report struct {
	down        bool
	earlyDeaths int
	throttled   bool
}

// report logs what changed since the last scrape, once.
func (a *application) report() {
	a.mu.Lock()
	defer a.mu.Unlock()
	up, known := a.health.up()
	session, stats := a.client.Session(), a.allowance.Stats()
	was, is := a.reported, report{
		down:        known && !up,
		earlyDeaths: session.EarlyDeaths,
		throttled:   !stats.RestingUntil.IsZero() || stats.Limit < stats.Configured,
	}
	a.reported = is
	switch {
	case is.down && !was.down:
		level.Error(a.logger).Log("msg", "application is down", "err", a.health.err)
	case !is.down && was.down:
		level.Info(a.logger).Log("msg", "application is up again")
	}
	for _, t := range a.tasks {
		a.reportTask(t, up)
	}
	if session.EarlyDeaths > was.earlyDeaths {
		level.Warn(a.logger).Log("msg", "the access token died before its time: it was revoked, or another program signs in as the same application; if this comes again, give the exporter an application of its own",
			"early_deaths", session.EarlyDeaths)
	}
	switch {
	case is.throttled && !was.throttled:
		level.Warn(a.logger).Log("msg", "the platform throttles: the application rests, and its allowance shrinks",
			"until", stats.RestingUntil.UTC().Format(time.RFC3339), "calls_per_minute_limit", stats.Limit)
	case !is.throttled && was.throttled:
		level.Info(a.logger).Log("msg", "the allowance is whole again", "calls_per_minute_limit", stats.Limit)
	}
}

// foresee works out how many calls a minute the configured tasks want when all
// are refreshed at every scrape, and keeps so many free of probes.
func (a *application) foresee(interval time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls := 0
	counted := make(map[*task]bool, len(a.watches))
	for _, w := range a.watches {
		if !counted[w.task] {
			counted[w.task] = true
			calls += w.task.state.Load().cost
		}
	}
	a.wanted = float64(calls) * float64(time.Minute) / float64(interval)
	a.allowance.SetReserve(min(a.cfg.Settings.CallsPerMinute/2, int(a.wanted)+1))
}

func (a *application) logForecast(interval time.Duration) {
	a.foresee(interval)
	a.mu.Lock()
	defer a.mu.Unlock()
	logger := level.Info(a.logger)
	msg := "the allowance covers the configured tasks"
	if a.wanted > float64(a.cfg.Settings.CallsPerMinute) {
		logger = level.Warn(a.logger)
		msg = "the allowance does not cover the configured tasks: their numbers will be older than a scrape; scrape less often, watch fewer tasks, or raise calls_per_minute"
	}
	logger.Log("msg", msg, "calls_per_minute_wanted", int(a.wanted+0.5), "calls_per_minute", a.cfg.Settings.CallsPerMinute,
		"tasks", len(a.watches), "scrape_interval", interval.Round(time.Second/10))
}

// outcome tells the allowance how a call ended.
func outcome(err error) allowance.Outcome {
	e, failed := asError(err)
	if !failed {
		return allowance.Outcome{Answered: err == nil}
	}
	return allowance.Outcome{
		Throttled:  e.Is(northbound.ErrThrottled),
		RetryAfter: e.RetryAfter,
		Answered:   e.Kind == northbound.KindPlatform || e.Kind == northbound.KindMalformed,
	}
}
