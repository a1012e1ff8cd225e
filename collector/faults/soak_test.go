package faults

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

var (
	soakTime = flag.Duration("soak", 5*time.Second, "for how long TestSoak breaks things")
	soakPlot = flag.String("soak.plot", "", "file for a plot (SVG) of what TestSoak measured")
	soakSeed = flag.Uint64("soak.seed", rand.Uint64(), "seed of TestSoak's chance")
)

const (
	soakMove  = 500 * time.Millisecond // until the next subtask of a task moves
	soakCalls = 3000                   // a minute
	// soakLong is from when on a soak has faults that the exporter rests after,
	// for minutes, and is judged by what it measured.
	soakLong = 10 * time.Minute
)

// TestSoak: two exporters and two Prometheus servers that scrape both every
// second, while platforms, network, machine and other scrapers break at random,
// several at once. Whatever happens the exporters live, serve what adds up and
// tell no secret; in the end they are well again, and hold no more than before.
func TestSoak(t *testing.T) {
	t.Logf("-soak.seed=%d", *soakSeed)
	worlds := []*soaked{newSoaked(t, 0), newSoaked(t, 1)}
	watchers := watch(t, worlds)

	ctx, cancel := context.WithTimeout(t.Context(), *soakTime)
	defer cancel()
	var moves, troubles sync.WaitGroup
	for _, w := range worlds {
		moves.Go(func() { w.move(ctx) })
		for i, chain := range troubleChains {
			chance := rand.New(rand.NewPCG(*soakSeed+w.number, uint64(i)))
			troubles.Go(func() { w.trouble(ctx, chain, chance) })
		}
	}
	for began := time.Now(); ctx.Err() == nil; sleep(ctx, time.Second) {
		for _, w := range worlds {
			w.look(t, time.Since(began))
		}
		watchers.check(t)
	}
	moves.Wait()
	troubles.Wait()

	for _, w := range worlds {
		w.recover(t)
		w.checkSecrets(t)
		w.checkCalls(t)
	}
	watchers.finish(t)
	for _, w := range worlds {
		w.report(t)
		w.checkLeaks(t)
	}
	judge(t, worlds)
	if *soakPlot != "" {
		if err := os.WriteFile(*soakPlot, []byte(plot(worlds)), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// soaked is a world of the soak.
type soaked struct {
	*realWorld
	number   uint64
	taken    string // the end of what was taken from the log
	begun    map[string]int
	mu       sync.Mutex // for begun
	measured []measurement
	looks    int
	up       map[string]int // looks at which an application was up
}

// newSoaked starts a world whose large tasks have enough subtasks to be on the
// move until the end.
func newSoaked(t *testing.T, number uint64) *soaked {
	w := &soaked{realWorld: newRealWorld(t), number: number, begun: make(map[string]int), up: make(map[string]int)}
	w.limit = soakCalls
	w.fleet.Set(northboundtest.WithCallLimit(soakCalls+300), northboundtest.WithTokenLifetime(20*time.Second))
	w.other.Set(northboundtest.WithCallLimit(soakCalls+300), northboundtest.WithTokenLifetime(20*time.Second))
	w.edit("calls_per_minute: 900", fmt.Sprintf("calls_per_minute: %d", soakCalls))
	if w.long() {
		w.edit("call_timeout: 2s", "call_timeout: 1s") // now and then it may be too short
	}
	w.hangUp()
	for task, app := range map[string]string{"victim": "fleet", "neighbour": "other", "unlisted": "fleet"} {
		p := w.fleet
		if app == "other" {
			p = w.other
		}
		p.AddTask(northboundtest.Task{
			ID: task, AppID: app + "-id",
			Subtasks: northboundtest.Uniform(soakRows(), northboundtest.Subtask{Status: northboundtest.Pending}),
		})
		p.Truth(task)
	}
	if w.long() {
		w.probeAtRandom(600) // more than are remembered: from then on they take no more room
	}
	return w
}

// long tells whether the soak is more than a trial of itself.
func (w *soaked) long() bool { return *soakTime >= soakLong }

// soakRows is how many subtasks large tasks have: more than move until the end,
// and than a page holds.
func soakRows() int { return 1000 + int(*soakTime/soakMove/2) }

// move has subtasks be sent and end, one after the other. Few of them fail: what
// is known of those is kept, and would be measured. The small task is through
// soon, and rests.
func (w *soaked) move(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		position, status, code := n/2, northboundtest.WaitResult, ""
		if n%2 == 1 {
			status = northboundtest.Success
			switch position % 20 {
			case 5:
				status, code = northboundtest.Fail, fmt.Sprint(100400+position%40)
			case 15:
				status = northboundtest.Timeout
			}
		}
		for task, p := range map[string]*platform{"victim": w.fleet, "sound": w.fleet, "unlisted": w.fleet, "neighbour": w.other} {
			if position < rows-1 || task != "sound" {
				p.SetStatus(task, position, status, code)
			}
		}
		sleep(ctx, soakMove)
	}
}

// look scrapes, measures, and checks what always has to hold.
func (w *soaked) look(t *testing.T, at time.Duration) {
	t.Helper()
	w.checkLog(t)
	families, err := w.gather(t.Context(), "/metrics")
	if err != nil {
		t.Fatalf("exporter %d: %v\nlog:\n%s", w.number, err, w.taken)
	}
	w.measured = append(w.measured, measure(at, families))
	w.looks++
	for _, m := range families["huawei_iot_batch_application_up"].GetMetric() {
		w.up[label(m, "application")] += int(m.GetGauge().GetValue())
	}
	if diff := unequalSums(families); diff != "" {
		t.Errorf("exporter %d, after %s: %s", w.number, at, diff)
	}
	if w.looks%60 == 0 {
		w.checkSecrets(t)
		w.checkCalls(t)
	}
}

// gather scrapes as Prometheus does.
func (w *soaked) gather(ctx context.Context, path string) (map[string]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	response, err := w.do(ctx, http.MethodGet, path, "X-Prometheus-Scrape-Timeout-Seconds", "1")
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", path, response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}

// unequalSums tells of a status whose subtasks by error code are not as many as
// those by status.
func unequalSums(families map[string]*dto.MetricFamily) string {
	sums := make(map[[4]string]float64)
	add := func(family string, sign float64) {
		for _, m := range families["huawei_iot_batch_"+family].GetMetric() {
			if status := label(m, "status"); status == northboundtest.Fail || status == northboundtest.Timeout {
				sums[[4]string{label(m, "application"), label(m, "task"), label(m, "task_id"), status}] += sign * m.GetGauge().GetValue()
			}
		}
	}
	add("subtasks", 1)
	add("subtask_errors", -1)
	maps.DeleteFunc(sums, func(_ [4]string, difference float64) bool { return difference == 0 })
	if len(sums) == 0 {
		return ""
	}
	return fmt.Sprintf("subtasks less subtask_errors: %v", sums)
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// checkLog looks at what was logged since it was last called, and keeps little
// of it.
func (w *soaked) checkLog(t *testing.T) {
	t.Helper()
	lines := w.log.take()
	for _, s := range append(w.secrets(), "DATA RACE", "panic") {
		if i := strings.Index(lines, s); i >= 0 {
			t.Errorf("exporter %d: the log holds a secret, or worse: %s", w.number, lines[max(0, i-80):i])
		}
	}
	w.taken += lines
	w.taken = w.taken[max(0, len(w.taken)-6000):]
}

// take returns the lines that came since it was last called, and forgets them.
func (o *output) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text.Next(bytes.LastIndexByte(o.text.Bytes(), '\n') + 1))
}

// recover waits until all is well and exact.
func (w *soaked) recover(t *testing.T) {
	t.Helper()
	within := 2 * time.Minute
	if w.long() {
		within += 5 * time.Minute // for which sign-ins may rest
	}
	for began := time.Now(); ; time.Sleep(w.interval) {
		got := w.scrape(t)
		diff := w.wrong(got)
		w.checkLog(t)
		if diff == "" && got["exporter_config_last_reload_successful{}"] == 1 {
			t.Logf("exporter %d is well again after %s", w.number, time.Since(began).Round(time.Second))
			return
		}
		if time.Since(began) > within {
			t.Errorf("exporter %d is not well again after %s:\n%s\nlog:\n%s", w.number, within, diff, w.taken)
			return
		}
	}
}

// report tells what the soak consisted of.
func (w *soaked) report(t *testing.T) {
	t.Helper()
	calls := len(w.fleet.Calls()) + len(w.other.Calls())
	t.Logf("exporter %d: %d calls, at most %d in a minute; applications up in %v of %d looks; troubles: %v",
		w.number, calls, w.fleet.MaxCallsIn(time.Minute), w.up, w.looks, w.begun)
	if w.up["fleet"] == 0 {
		t.Error("the application was never up: nothing was tested")
	}
	if w.up["other"] < w.looks*9/10 {
		t.Error("the other application was down, though nothing happened to it")
	}
}

// sleep ends with the context, too.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
