package faults

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

const (
	secret         = "a-secret-that-nobody-sees"
	callsPerMinute = 60
	rows           = 200 // subtasks of a task
)

// world is the exporter between two platforms and those who scrape it. The
// application "fleet" is on the platform that breaks, with the tasks "victim" and
// "sound"; the application "other" is on another platform, with the task
// "neighbour".
type world struct {
	fleet, other *platform
	dir          string // of the configuration
	log          *output
	interval     time.Duration // between scrapes
	staleness    time.Duration
	limit        int // calls a minute

	// get sends a request to the exporter.
	get func(t *testing.T, path string, headers ...string) *http.Response

	moves int // subtasks of each task that are done

	// shares is how old numbers may be where others scrape as well: scrapes that
	// overlap share what was read for one of them.
	shares time.Duration
	asked  time.Time // when the last scrape began
	past   []past
}

// past is what was the truth a moment ago.
type past struct {
	until  time.Time
	truths map[string]metrics // by task
}

// platform is a simulated platform with a switch for faults.
type platform struct {
	*northboundtest.Platform
	broken  atomic.Pointer[breakage]
	severed atomic.Pointer[error] // why it cannot be reached, in fake time
	tokens  sync.Map              // every token that was given out
	hosts   sync.Map              // every host that was asked for
}

// breakage answers a call in the platform's place, or has it answer.
type breakage func(w http.ResponseWriter, r *http.Request, sound http.Handler)

func newPlatform(opts ...northboundtest.Option) *platform {
	p := new(platform)
	p.Platform = northboundtest.New(append(opts, northboundtest.WithMiddleware(p.middleware))...)
	return p
}

func (p *platform) middleware(sound http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.hosts.Store(r.Host, nil)
		p.tokens.Store(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), nil)
		if b := p.broken.Load(); b != nil {
			(*b)(w, r, sound)
			return
		}
		sound.ServeHTTP(w, r)
	})
}

// breaks has the platform answer otherwise, from now on.
func (p *platform) breaks(b breakage) { p.broken.Store(&b) }

// severs has calls fail on their way to the platform.
func (p *platform) severs(err error) { p.severed.Store(&err) }

func (p *platform) mend() {
	p.broken.Store(nil)
	p.severed.Store(nil)
}

// populate gives the platforms their applications and tasks.
func (w *world) populate() {
	for app, p := range map[string]*platform{"fleet": w.fleet, "other": w.other} {
		p.AddApplication(northboundtest.App{ID: app + "-id", Secret: secret})
		for _, task := range map[string][]string{"fleet": {"victim", "sound"}, "other": {"neighbour"}}[app] {
			p.AddTask(northboundtest.Task{
				ID: task, AppID: app + "-id", Name: "name of " + task,
				Subtasks: northboundtest.Uniform(rows, northboundtest.Subtask{Status: northboundtest.Pending}),
			})
			p.Truth(task) // which makes it ready to be moved
		}
	}
}

// configure writes the configuration; each application's tls_config may be empty.
func (w *world) configure(t *testing.T, timeout time.Duration, fleetURL, fleetTLS, otherURL, otherTLS string) {
	t.Helper()
	w.write(t, "app.secret", secret+"\n")
	w.write(t, "huawei_iot_batch.yml", fmt.Sprintf(`global:
  call_timeout: %s
  max_staleness: %s
  calls_per_minute: %d
applications:
- name: fleet
  url: %s
  app_id: fleet-id
  secret_file: app.secret
  tasks: [{task_id: victim}, {task_id: sound}]
  task_files: ['*.tasks.yml']
  tls_config: {%s}
- name: other
  url: %s
  app_id: other-id
  secret: %s
  tasks: [{task_id: neighbour}]
  tls_config: {%s}
`, timeout, w.staleness, w.limit, fleetURL, fleetTLS, otherURL, secret, otherTLS))
}

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rewrite is write for a fault to begin or end with.
func (w *world) rewrite(name, text string) {
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		panic(err)
	}
}

// advance has a subtask of every task end.
func (w *world) advance() {
	outcomes := []struct{ status, code string }{
		{northboundtest.Success, ""}, {northboundtest.Fail, "100428"}, {northboundtest.Timeout, ""}, {northboundtest.Fail, "100431"},
	}
	outcome := outcomes[w.moves%len(outcomes)]
	if w.shares > 0 {
		w.past = append(w.past, past{time.Now(), map[string]metrics{
			"victim": w.truth("fleet", "victim"), "sound": w.truth("fleet", "sound"), "neighbour": w.truth("other", "neighbour"),
		}})
	}
	for task, p := range map[string]*platform{"victim": w.fleet, "sound": w.fleet, "neighbour": w.other} {
		p.SetStatus(task, w.moves%(rows-1), outcome.status, outcome.code)
	}
	w.moves++
}

// settle scrapes until the exporter has told what there is to tell.
func (w *world) settle(t *testing.T) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(w.interval) {
		w.advance()
		diff := w.wrong(w.scrape(t))
		if diff == "" && w.moves > 4 {
			return
		}
		if time.Since(began) > max(40*w.interval, patience) {
			t.Fatalf("never well:\n%s\nlog:\n%s", diff, w.log.tail(6000))
		}
	}
}

// scrape has the exporter read what is due, and returns its own metrics.
func (w *world) scrape(t *testing.T) metrics {
	t.Helper()
	w.asked = time.Now()
	families := w.families(t, "/metrics")
	got := make(metrics)
	for name, family := range families {
		short, own := strings.CutPrefix(name, "huawei_iot_batch_")
		if !own {
			continue
		}
		for _, m := range family.GetMetric() {
			got[series(short, m)] = value(m)
		}
	}
	return got
}

func (w *world) families(t *testing.T, path string) map[string]*dto.MetricFamily {
	t.Helper()
	text := w.body(t, path, "X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint((10 * time.Second).Seconds()))
	w.hides(t, path, text)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%s cannot be parsed: %v", path, err)
	}
	return families
}

func series(name string, m *dto.Metric) string {
	var pairs []string
	for _, l := range m.GetLabel() {
		if l.GetName() != "task_id" {
			pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
	}
	return name + "{" + strings.Join(pairs, ",") + "}"
}

func value(m *dto.Metric) float64 {
	switch {
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	default:
		return float64(m.GetHistogram().GetSampleCount())
	}
}

// truth is what has to be shown of a task.
func (w *world) truth(app, task string) metrics {
	p := w.fleet
	if app == "other" {
		p = w.other
	}
	want := make(metrics)
	truth := p.Truth(task)
	for status, n := range truth.Statuses {
		want[fmt.Sprintf(`subtasks{application=%q,status=%q,task=%q}`, app, status, task)] = float64(n)
	}
	for failure, n := range truth.Errors {
		code := failure.Code
		if code == "" {
			code = "unknown"
		}
		want[fmt.Sprintf(`subtask_errors{application=%q,error_code=%q,status=%q,task=%q}`, app, code, failure.Status, task)] = float64(n)
	}
	return want
}

func (w *world) isFresh(got metrics, task string) bool {
	return maps.Equal(w.truth("fleet", task), got.numbers("fleet", task))
}

// checkExact checks that a task is up and its numbers are the truth.
func (w *world) checkExact(t *testing.T, got metrics, app, task string) {
	t.Helper()
	if diff := w.inexact(got, app, task); diff != "" {
		t.Errorf("%s of %s (-want +got):\n%s", task, app, diff)
	}
}

func (w *world) inexact(got metrics, app, task string) string {
	want, shown := w.truth(app, task), got.numbers(app, task)
	for _, p := range w.past {
		if maps.Equal(p.truths[task], shown) && w.asked.Sub(p.until) < w.shares {
			want = maps.Clone(p.truths[task])
		}
	}
	up := fmt.Sprintf("task_up{application=%q,task=%q}", app, task)
	want[up], shown[up] = 1, got[up]
	return cmp.Diff(want, shown)
}

// wrong tells what is not as it should be when nothing is broken.
func (w *world) wrong(got metrics) string {
	for app, tasks := range map[string][]string{"fleet": {"victim", "sound"}, "other": {"neighbour"}} {
		if up := got[fmt.Sprintf("application_up{application=%q}", app)]; up != 1 {
			return fmt.Sprintf("application_up of %s is %v", app, up)
		}
		for _, task := range tasks {
			if diff := w.inexact(got, app, task); diff != "" {
				return task + " (-want +got):\n" + diff
			}
		}
	}
	return ""
}

// checkCalls checks that no application made more calls than it may.
func (w *world) checkCalls(t *testing.T) {
	t.Helper()
	for _, p := range []*platform{w.fleet, w.other} {
		if n := p.MaxCallsIn(time.Minute); n > w.limit {
			t.Errorf("%d calls in a minute, of %d", n, w.limit)
		}
	}
}

// checkSecrets looks for secrets and tokens wherever people look.
func (w *world) checkSecrets(t *testing.T) {
	t.Helper()
	w.hides(t, "the log", w.log.String())
	for _, path := range []string{"/", "/metrics", "/config", "/probe?application=fleet&task_id=victim"} {
		w.hides(t, path, w.body(t, path))
	}
}

// body gets a page of the exporter.
func (w *world) body(t *testing.T, path string, headers ...string) string {
	t.Helper()
	response := w.get(t, path, headers...)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %s: %v\nlog:\n%s", path, response.Status, err, w.log.tail(3000))
	}
	return string(text)
}

// hides fails if a text holds what nobody may see.
func (w *world) hides(t *testing.T, place, text string) {
	t.Helper()
	for _, s := range w.secrets() {
		if i := strings.Index(text, s); i >= 0 {
			t.Errorf("%s holds a secret: …%s", place, text[max(0, i-80):i])
		}
	}
}

// secrets are what nobody may see: secrets, and every token that was used.
func (w *world) secrets() []string {
	secrets := []string{secret}
	for _, p := range []*platform{w.fleet, w.other} {
		p.tokens.Range(func(token, _ any) bool {
			if token != "" {
				secrets = append(secrets, token.(string))
			}
			return true
		})
	}
	return secrets
}

// output takes what the exporter logs while others read it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Len()
}

func (o *output) tail(n int) string {
	text := o.String()
	return text[max(0, len(text)-n):]
}

var message = regexp.MustCompile(`^(?:ts=\S+ )?level=(?:info|warn|error) .*?\bmsg=("(?:[^"\\]|\\.)*"|\S+)`)

// messages are those that were logged from an offset on, of level info and above,
// up to a colon or semicolon.
func (o *output) messages(from int) []string {
	var messages []string
	for line := range strings.Lines(o.String()[from:]) {
		if found := message.FindStringSubmatch(line); found != nil {
			text, _, _ := strings.Cut(strings.Trim(found[1], `"`), ";")
			text, _, _ = strings.Cut(text, ":")
			messages = append(messages, text)
		}
	}
	return messages
}
