package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hit is how far the damage of a fault may go.
type hit int

const (
	// nothing: every number stays exact and on time.
	nothing hit = iota
	// oneTask: the victim cannot be read. All other tasks stay exact.
	oneTask
	// allTasks: the application's tasks are not read in time, though the
	// application is up. Other applications stay exact.
	allTasks
	// application: the application is down. Others stay exact.
	application
)

// fault is a row of the matrix.
type fault struct {
	name  string
	begin func(w *world)
	end   func(w *world) // nil: the platform answers as it should again
	hits  hit

	// counted are the failed calls of the faulty application, as "operation
	// http_status error_code"; each of them happens, and no others do.
	counted []string
	// mayCount are those that happen or not, as chance has it.
	mayCount []string
	// countsOthers allows for any others.
	countsOthers bool
	// says are the messages of the log, of level info and above, each once, while
	// the fault lasts; afterwards those of recovered. The usual ones stand where
	// they are nil.
	says, recovered []string
	// maySay are messages that come any number of times, as chance has it.
	maySay []string
	// scrapes is how often the exporter is scraped while the fault lasts; longer
	// than numbers may be shown that cannot be refreshed, if it is not set.
	scrapes int
	// within is how soon all is well again once the fault has ended; the time
	// from one scrape to the next but one if it is not set.
	within time.Duration
	// goesOn has the fault last longer than usual, until it is false.
	goesOn func() bool
	// victim says what the victim's numbers are while the fault lasts, where they
	// are neither the truth nor the last that were known.
	victim func(t *testing.T, got metrics)
	// check looks at more than what holds for every fault, at every scrape.
	check func(t *testing.T, w *world, got metrics)
}

// run checks what always has to hold: the process lives and serves; other tasks
// and applications stay exact and on time; what is hit shows it, keeps its last
// numbers until max_staleness and recovers by itself; failures are counted under
// the right code; the log tells each change of state once; calls stay within the
// allowance; no secret is seen anywhere.
func (f fault) run(t *testing.T, w *world) {
	w.settle(t)
	errorsBefore, logged := w.scrape(t).errors(), w.log.Len()

	f.begin(w)
	f.last(t, w)
	during := w.log.messages(logged)
	logged = w.log.Len()

	if f.end != nil {
		f.end(w)
	}
	w.fleet.mend()
	f.recover(t, w)

	f.checkCounted(t, errorsBefore, w.scrape(t).errors())
	f.checkLog(t, during, w.log.messages(logged))
	w.checkCalls(t)
	w.checkSecrets(t)
	if t.Failed() {
		t.Logf("log:\n%s", w.log.tail(6000))
	}
}

// last scrapes while the fault lasts: longer than numbers may be shown, where
// they cannot be refreshed.
func (f fault) last(t *testing.T, w *world) {
	began := time.Now()
	known := w.shown(t)
	lasts := w.staleness + 2*w.interval
	if f.hits == nothing {
		lasts = 3 * w.interval
	}
	if f.scrapes > 0 {
		lasts = time.Duration(f.scrapes) * w.interval
	}
	var got metrics
	for (time.Since(began) < lasts || f.goesOn != nil && f.goesOn()) && !t.Failed() {
		time.Sleep(w.interval)
		w.advance()
		got = w.scrape(t)
		w.checkExact(t, got, "other", "neighbour")
		if up := got[`application_up{application="other"}`]; up != 1 {
			t.Errorf("the other application is shown as down: %v", up)
		}
		if f.hits <= oneTask {
			w.checkExact(t, got, "fleet", "sound")
		}
		switch {
		case f.victim != nil:
			f.victim(t, got.numbers("fleet", "victim"))
		case f.hits == nothing:
			w.checkExact(t, got, "fleet", "victim")
		default:
			known.check(t, w, got, "victim")
		}
		if f.hits >= allTasks {
			known.check(t, w, got, "sound")
		}
		f.checkUp(t, got)
		w.hides(t, "/", w.body(t, "/"))
		if f.check != nil {
			f.check(t, w, got)
		}
	}
	if f.hits == allTasks && got[`task_up{application="fleet",task="victim"}`] == 1 && got.sum("api_deferred_total", `application="fleet"`) == 0 {
		t.Error("nothing shows that the tasks are not read")
	}
}

// checkUp checks what a scrape says of what is hit.
func (f fault) checkUp(t *testing.T, got metrics) {
	t.Helper()
	want := 1.0
	if f.hits == application {
		want = 0
	}
	if up := got[`application_up{application="fleet"}`]; up != want {
		t.Errorf("application_up is %v, want %v", up, want)
	}
	if f.hits == oneTask || f.hits == application {
		if up, ok := got[`task_up{application="fleet",task="victim"}`]; up != 0 || !ok {
			t.Errorf("task_up of the victim is %v", up)
		}
	}
	if f.hits == application {
		if up, ok := got[`task_up{application="fleet",task="sound"}`]; up != 0 || !ok {
			t.Errorf("task_up of the other task is %v", up)
		}
	}
}

// recover scrapes until all is well again, and stays so.
func (f fault) recover(t *testing.T, w *world) {
	t.Helper()
	const stays = 3 // scrapes
	within := f.within
	if within == 0 {
		within = 2 * w.interval
	}
	for began, well := time.Now(), 0; well < stays; {
		time.Sleep(w.interval)
		w.advance()
		got := w.scrape(t)
		w.checkExact(t, got, "other", "neighbour")
		diff := w.wrong(got)
		if well++; diff != "" {
			well = 0
		}
		if left := within - time.Since(began) + w.interval/2; left < 0 && well == 0 {
			t.Fatalf("not well again after %s:\n%s\nlog:\n%s", time.Since(began), diff, w.log.tail(6000))
		}
	}
}

func (f fault) checkCounted(t *testing.T, before, after map[string]float64) {
	t.Helper()
	var got []string
	for failure, n := range after {
		if n > before[failure] && !f.countsOthers && !slices.Contains(f.mayCount, failure) {
			got = append(got, failure)
		}
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(f.counted))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("failed calls counted (-want +got):\n%s", diff)
	}
}

func (f fault) checkLog(t *testing.T, during, afterwards []string) {
	t.Helper()
	says, recovered := f.says, f.recovered
	if says == nil {
		says = map[hit][]string{
			oneTask:     {"task could not be read"},
			application: {"application is down"},
		}[f.hits]
	}
	if recovered == nil {
		recovered = map[hit][]string{
			oneTask:     {"task is read again"},
			application: {"application is up again"},
		}[f.hits]
	}
	for _, part := range []struct {
		when      string
		want, got []string
	}{{"while it lasts", says, during}, {"afterwards", recovered, afterwards}} {
		got := slices.DeleteFunc(part.got, func(message string) bool { return slices.Contains(f.maySay, message) })
		if diff := cmp.Diff(slices.Sorted(slices.Values(part.want)), slices.Sorted(slices.Values(got))); diff != "" {
			t.Errorf("log %s (-want +got):\n%s", part.when, diff)
		}
	}
}

// knowledge is what was last shown of tasks before something broke.
type knowledge map[string]struct {
	at      float64
	numbers metrics
}

func (w *world) shown(t *testing.T) knowledge {
	t.Helper()
	got := w.scrape(t)
	known := make(knowledge)
	for _, task := range []string{"victim", "sound"} {
		k := known[task]
		k.at, k.numbers = got.refreshed(task), got.numbers("fleet", task)
		known[task] = k
	}
	return known
}

// check checks that the last numbers are shown, as such, until they are too old.
func (k knowledge) check(t *testing.T, w *world, got metrics, task string) {
	t.Helper()
	if at := got.refreshed(task); at != k[task].at {
		if w.isFresh(got, task) {
			return // a call that was under way when the fault began, or by chance
		}
		t.Errorf("numbers of %s are said to be from %v, not %v", task, at, k[task].at)
		return
	}
	read := time.UnixMilli(int64(k[task].at * 1000))
	age := time.Since(read)
	if vanish := read.Add(w.staleness); vanish.After(w.asked.Add(-w.interval/5)) && time.Until(vanish) < w.interval/5 {
		return // while it was scraped
	}
	want := k[task].numbers
	if age > w.staleness {
		want = metrics{}
	}
	if diff := cmp.Diff(want, got.numbers("fleet", task)); diff != "" {
		t.Errorf("numbers of %s, %s old (-want +got):\n%s", task, age, diff)
	}
}

// metrics are the exporter's own series of a scrape by name and labels, such as
// `task_up{application="fleet",task="victim"}`, without the namespace.
type metrics map[string]float64

func (m metrics) refreshed(task string) float64 {
	return m[fmt.Sprintf(`task_last_refresh_timestamp_seconds{application="fleet",task=%q}`, task)]
}

// numbers are the counts of a task's subtasks.
func (m metrics) numbers(application, task string) metrics {
	of := fmt.Sprintf("application=%q", application)
	and := fmt.Sprintf("task=%q", task)
	kept := maps.Clone(m)
	maps.DeleteFunc(kept, func(series string, _ float64) bool {
		return !strings.HasPrefix(series, "subtask") || !strings.Contains(series, of) || !strings.Contains(series, and)
	})
	return kept
}

// errors are the failed calls of the faulty application, as in fault.counted.
func (m metrics) errors() map[string]float64 {
	errors := make(map[string]float64)
	for series, n := range m {
		if labels, ok := strings.CutPrefix(series, `api_errors_total{application="fleet",`); ok {
			var code, status, operation string
			if _, err := fmt.Sscanf(labels, "error_code=%q,http_status=%q,operation=%q}", &code, &status, &operation); err != nil {
				panic(fmt.Sprintf("%s: %v", series, err))
			}
			errors[strings.Join(strings.Fields(operation+" "+status+" "+code), " ")] = n
		}
	}
	return errors
}

// sum adds up a metric's series with a label.
func (m metrics) sum(metric, label string) float64 {
	sum := 0.0
	for series, v := range m {
		if strings.HasPrefix(series, metric+"{") && strings.Contains(series, label) {
			sum += v
		}
	}
	return sum
}
