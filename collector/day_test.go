package collector_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
	"huawei_iot_batch_exporter/config"
)

var dayLength = flag.Duration("day", 10*time.Minute, "how much of a day TestDay simulates after the first reading of all tasks")

// TestDay simulates a day of one application: 40 running tasks and 200 finished
// ones, two Prometheus servers that scrape every 15 s, and another program that
// uses the same application's calls, now more, now less. With -v it reports.
func TestDay(t *testing.T) {
	loads := map[string]struct {
		others    int // calls a minute of the other program, at most
		throttled bool
	}{
		"others leave the share":        {30, false},
		"others take more than is left": {90, true},
	}
	for name, load := range loads {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && load.throttled {
				t.Skip("the other load will do")
			}
			synctest.Test(t, func(t *testing.T) {
				d := newDay(t)
				stop := make(chan struct{})
				go d.others(load.others, stop)
				start := time.Now()
				for !d.allRead(t) {
					d.live(t, time.Minute)
				}
				t.Logf("all tasks read after %v with %d calls", time.Since(start), len(d.Calls()))
				d.live(t, 15*time.Minute)
				d.ages, d.hidden, d.begun = nil, 0, len(d.Calls())
				d.live(t, *dayLength)
				close(stop)
				d.report(t)
				if most := d.MaxCallsIn(time.Minute); most > 60 {
					t.Errorf("%d calls in a minute, want at most 60", most)
				}
				if throttled := d.throttled(); throttled > 0 != load.throttled {
					t.Errorf("%d throttle answers, want some: %v", throttled, load.throttled)
				}
				if oldest := slices.Max(d.ages); !load.throttled && oldest > 2*d.settings().MaxStaleness {
					t.Errorf("numbers %v old", oldest)
				}
				if hidden := float64(d.hidden) / float64(len(d.ages)+d.hidden); hidden > .01 {
					t.Errorf("%.1f%% of the numbers were too old to be shown", 100*hidden)
				}
				if d.insane > 0 {
					t.Errorf("the statuses of a task did not add up %d times", d.insane)
				}
			})
		})
	}
}

type day struct {
	*site
	sizes  map[string]int
	ages   []time.Duration // of the numbers of running tasks, at each scrape
	begun  int             // calls before what is reported
	hidden int             // times that they were too old to be shown
	insane int
}

func newDay(t *testing.T) *day {
	random := rand.New(rand.NewPCG(1, 2))
	d := &day{sizes: map[string]int{}}
	var tasks []config.Task
	for i := range 240 {
		id := fmt.Sprintf("%s%03d", map[bool]string{true: "running", false: "finished"}[i < 40], i)
		tasks = append(tasks, config.Task{TaskID: id, Name: id})
	}
	d.site = newSite(t, tasks)
	for i, task := range tasks {
		n := 100 + random.IntN(29_900)
		if i%2 == 0 {
			n = 100 + random.IntN(900)
		}
		d.sizes[task.Name] = n
		profile := northboundtest.Profile{Outcomes: []northboundtest.Outcome{
			{Share: random.Float64() * .1, Status: "Fail", Code: "100428"},
			{Share: random.Float64() * .05, Status: "Fail", Code: "100431"},
			{Share: random.Float64() * .05, Status: "Timeout", Code: "100501"},
		}}
		if i < 40 {
			profile.Duration = 25 * time.Hour
		}
		d.addTask(task.TaskID, northboundtest.Scripted(n, uint64(i), profile))
	}
	return d
}

// others uses calls of the application, by the minute a random number.
func (d *day) others(most int, stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(3, 4))
	for {
		rate := random.IntN(most + 1)
		for range 60 {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
			}
			d.Spend("app", rate/60+map[bool]int{true: 1}[random.IntN(60) < rate%60])
		}
	}
}

// live scrapes for a while, twice every 15 s.
func (d *day) live(t *testing.T, length time.Duration) {
	for end := time.Now().Add(length); time.Now().Before(end); {
		for _, pause := range []time.Duration{4 * time.Second, 11 * time.Second} {
			next := time.Now().Add(pause)
			d.look(d.scrape(t))
			time.Sleep(time.Until(next))
		}
	}
}

// allRead tells whether every task has numbers, and the age of none is owed to
// the first reading of the others.
func (d *day) allRead(t *testing.T) bool {
	read := d.scrape(t).only("task_last_refresh_timestamp_seconds")
	return len(read) == len(d.sizes)
}

func (d *day) look(got series) {
	now := float64(time.Now().UnixMilli()) / 1000
	for i := range 40 {
		name := fmt.Sprintf("running%03d", i)
		if at, ok := got[fmt.Sprintf("task_last_refresh_timestamp_seconds{task=%q}", name)]; ok {
			d.ages = append(d.ages, time.Duration((now-at)*1000)*time.Millisecond)
		}
		sum, shown := 0.0, false
		for _, status := range []string{"Pending", "WaitResult", "Success", "Fail", "Timeout"} {
			n, ok := got[fmt.Sprintf("subtasks{status=%q,task=%q}", status, name)]
			sum += n
			shown = shown || ok
		}
		switch {
		case !shown:
			d.hidden++
		case int(sum) != d.sizes[name]:
			d.insane++
		}
	}
}

func (d *day) throttled() int {
	n := 0
	for _, call := range d.Calls() {
		if call.ErrorCode == "1010009" {
			n++
		}
	}
	return n
}

func (d *day) report(t *testing.T) {
	slices.Sort(d.ages)
	at := func(share float64) time.Duration {
		return d.ages[int(share*float64(len(d.ages)-1))].Round(time.Second)
	}
	t.Logf("calls a minute: %.1f; age of numbers: median %v, 99th percentile %v, maximum %v; too old to be shown: %.2f%%; throttle answers: %d",
		float64(len(d.Calls())-d.begun)/dayLength.Minutes(), at(.5), at(.99), at(1),
		100*float64(d.hidden)/float64(d.hidden+len(d.ages)), d.throttled())
}
