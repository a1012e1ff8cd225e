package collector_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
	"huawei_iot_batch_exporter/config"
)

// TestExporterOnRandomPlatforms has random tasks make random progress on random
// platforms that allow no more calls than the exporter's share, under scrapes,
// probes and reloads at random times.
func TestExporterOnRandomPlatforms(t *testing.T) {
	orders := []northboundtest.Option{
		northboundtest.WithRowOrder(northboundtest.ByPosition),
		northboundtest.WithRowOrder(northboundtest.NewestFinishedFirst),
		northboundtest.WithRowOrder(northboundtest.OldestFinishedFirst),
		northboundtest.WithShuffledRows(7),
	}
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(5, 100).Draw(rt, "calls a minute")
		order := rapid.IntRange(0, len(orders)-1).Draw(rt, "order")
		opts := []northboundtest.Option{northboundtest.WithCallLimit(limit), orders[order], northboundtest.WithRefusedCallsCounted()}
		if rapid.Bool().Draw(rt, "fixed minute") {
			opts = append(opts, northboundtest.WithFixedMinute())
		}
		if rapid.Bool().Draw(rt, "WaitResult refused") {
			opts = append(opts, northboundtest.WithoutWaitResultFilter())
		}
		if rapid.Bool().Draw(rt, "small pages") {
			opts = append(opts, northboundtest.WithMaxPageSize(100), northboundtest.WithPageSizeClampedSilently())
		}
		sizes := rapid.SliceOfN(rapid.IntRange(0, 4000), 1, 8).Draw(rt, "subtasks")
		interval := time.Duration(rapid.IntRange(5, 60).Draw(rt, "scrape interval")) * time.Second
		servers := rapid.IntRange(1, 2).Draw(rt, "servers")
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			var tasks []config.Task
			for i := range sizes {
				tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
			}
			s := newSite(t, tasks, opts...)
			s.settings().CallsPerMinute = limit
			s.settings().MaxStaleness = 24 * time.Hour
			s.apply(t)
			for i, n := range sizes {
				s.addTask(tasks[i].TaskID, northboundtest.Scripted(n, seed+uint64(i), northboundtest.Profile{
					Duration: time.Duration(random.IntN(20)+1) * time.Minute,
					Outcomes: []northboundtest.Outcome{
						{Share: random.Float64() * .2, Status: "Fail", Code: "100428"},
						{Share: random.Float64() * .2, Status: "Fail", Code: "100431"},
						{Share: random.Float64() * .2, Status: "Timeout", Code: "100501"},
					},
				}))
			}
			// Whoever waits longest is owed a turn: of at most 10 calls for each
			// task, and the sign-ins.
			patience := 2*interval + time.Minute + time.Duration(float64(10*len(sizes)+5)/float64(limit)*float64(time.Minute))
			begin := time.Now()
			for time.Since(begin) < 20*time.Minute {
				for range servers {
					got := s.scrape(t)
					checkSums(rt, got, sizes)
					now := float64(time.Now().UnixMilli()) / 1000
					for i := range sizes {
						at, read := got[fmt.Sprintf(`task_last_refresh_timestamp_seconds{task="t%d"}`, i)]
						if !read {
							at = float64(begin.UnixMilli()) / 1000
						}
						finished := read && got[fmt.Sprintf(`subtasks{status="Pending",task="t%d"}`, i)]+got[fmt.Sprintf(`subtasks{status="WaitResult",task="t%d"}`, i)] == 0
						if age := now - at; age > patience.Seconds() && !finished {
							rt.Fatalf("t%d was read %v s ago, want at most %v", i, age, patience)
						}
					}
					if random.IntN(10) == 0 {
						s.probe(t, config.Task{TaskID: fmt.Sprint("t", random.IntN(len(sizes))), Status: "Fail"})
					}
					if random.IntN(20) == 0 {
						s.apply(t)
					}
					time.Sleep(time.Duration(random.Int64N(int64(interval))))
				}
				time.Sleep(interval)
			}
			var got series
			for n := 0; n < 2000 && !exact(s, got, sizes); n++ {
				time.Sleep(interval)
				got = s.scrape(t)
				checkSums(rt, got, sizes)
			}
			for i := range sizes {
				if diff := cmp.Diff(truth(s, i), shown(got, i)); diff != "" {
					rt.Errorf("t%d in the end (-truth +shown):\n%s", i, diff)
				}
			}
			if most := s.MaxCallsIn(time.Minute); most > limit {
				rt.Errorf("%d calls in a minute, want at most %d", most, limit)
			}
			for _, call := range s.Calls() {
				if call.ErrorCode == "1010009" {
					rt.Fatalf("throttled at %v", call.Time)
				}
			}
		})
	})
}

// checkSums fails unless the statuses of every task that is shown add up to its
// subtasks, and the error codes to the statuses.
func checkSums(rt *rapid.T, got series, sizes []int) {
	for i, n := range sizes {
		sum, shown := 0.0, false
		for _, status := range []string{"Pending", "WaitResult", "Success", "Fail", "Timeout"} {
			count, ok := got[fmt.Sprintf(`subtasks{status=%q,task="t%d"}`, status, i)]
			shown = shown || ok
			sum += count
			if count < 0 {
				rt.Fatalf("t%d: %v in %s", i, count, status)
			}
			if status == "Fail" || status == "Timeout" {
				for _, code := range []string{"100428", "100431", "100501", "unread"} {
					count -= got[fmt.Sprintf(`subtask_errors{error_code=%q,status=%q,task="t%d"}`, code, status, i)]
				}
				if count != 0 {
					rt.Fatalf("t%d: the codes of %s miss %v", i, status, count)
				}
			}
		}
		if shown && int(sum) != n {
			rt.Fatalf("t%d: the statuses add up to %v of %d", i, sum, n)
		}
	}
}

func exact(s *site, got series, sizes []int) bool {
	for i := range sizes {
		if !cmp.Equal(truth(s, i), shown(got, i)) {
			return false
		}
	}
	return true
}

// truth are the series of a task, as the platform knows it.
func truth(s *site, i int) series {
	want := series{}
	truth := s.Truth(fmt.Sprint("t", i))
	for status, n := range truth.Statuses {
		want[fmt.Sprintf("subtasks{status=%q,task=\"t%d\"}", status, i)] = float64(n)
	}
	for failure, n := range truth.Errors {
		want[fmt.Sprintf("subtask_errors{error_code=%q,status=%q,task=\"t%d\"}", failure.Code, failure.Status, i)] = float64(n)
	}
	return want
}

// shown are the series of a task in a scrape.
func shown(got series, i int) series {
	of := series{}
	for name, value := range got.only("subtasks", "subtask_errors") {
		var status, code, task string
		if _, err := fmt.Sscanf(name, "subtasks{status=%q,task=%q}", &status, &task); err != nil {
			_, _ = fmt.Sscanf(name, "subtask_errors{error_code=%q,status=%q,task=%q}", &code, &status, &task)
		}
		if task == fmt.Sprint("t", i) {
			of[name] = value
		}
	}
	return of
}
