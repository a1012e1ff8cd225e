package census_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// situation is what has become of a task since it was last read.
type situation struct {
	name  string
	ready func(*bench, *census.Census) // brings the task and its census there
}

// situations of a task of n subtasks: 1% of them failed, and half of the others
// are pending unless the task is finished.
func situations(n int) []situation {
	read := func(b *bench, c *census.Census, rows northboundtest.Rows) {
		b.addTask(rows)
		if c != nil {
			for range 2 {
				if _, err := b.refresh(b.ctx, c, defaults, 1000); err != nil {
					panic(err)
				}
			}
		}
	}
	return []situation{
		{"first read", func(b *bench, _ *census.Census) { read(b, nil, running(n)) }},
		{"nothing changed", func(b *bench, c *census.Census) { read(b, c, running(n)) }},
		{"1% moved", func(b *bench, c *census.Census) {
			read(b, c, running(n))
			for i := range n / 100 {
				status, code := "Success", ""
				if i%10 == 0 {
					status, code = "Fail", "100431"
				}
				b.SetStatus(taskID, 100*i+50, status, code)
			}
		}},
		{"finished", func(b *bench, c *census.Census) {
			rows := running(n)
			for i := range rows {
				if rows[i].Status == "Pending" {
					rows[i].Status = "Success"
				}
			}
			read(b, c, rows)
		}},
	}
}

func running(n int) northboundtest.Rows {
	rows := make(northboundtest.Rows, n)
	for i := range rows {
		switch {
		case i%100 == 0:
			rows[i] = northboundtest.Subtask{Status: "Fail", Code: "100428"}
		case i%2 == 0:
			rows[i].Status = "Pending"
		default:
			rows[i].Status = "Success"
		}
	}
	return rows
}

// ways of reading a task. The first is the exporter's.
var ways = []struct {
	name string
	read func(*bench, *census.Census) error
}{
	{"exporter", func(b *bench, c *census.Census) error {
		if c.Finished() {
			return nil // left alone until its recheck
		}
		_, err := b.refresh(b.ctx, c, defaults, 1000)
		return err
	}},
	{"all pages", func(b *bench, _ *census.Census) error {
		for no := 0; ; no++ {
			d, err := b.client.TaskDetails(b.ctx, northbound.TaskDetailsQuery{TaskID: taskID, Page: &northbound.Page{No: no, Size: 250}})
			if err != nil || (no+1)*250 >= d.TotalCount {
				return err
			}
		}
	}},
	{"one unpaged call", func(b *bench, _ *census.Census) error {
		_, err := b.client.TaskDetails(b.ctx, northbound.TaskDetailsQuery{TaskID: taskID})
		return err
	}},
}

// cost is what one refresh costs.
type cost struct {
	calls int
	bytes int64
	time  time.Duration
}

// measure has a task read in a situation.
func measure(tb testing.TB, s situation, read func(*bench, *census.Census) error) cost {
	b := newBench(tb, northboundtest.WithUnpagedByDefault())
	c := newCensus()
	s.ready(b, c)
	if _, err := b.client.TaskDetails(b.ctx, northbound.TaskDetailsQuery{TaskID: taskID, Page: &northbound.Page{Size: 1}}); err != nil {
		tb.Fatal(err) // the simulated platform, too, reads a task for the first time
	}
	b.ResetCalls()
	start := time.Now()
	if err := read(b, c); err != nil {
		tb.Fatal(err)
	}
	spent := cost{time: time.Since(start)}
	for _, call := range b.Calls() {
		spent.calls++
		spent.bytes += call.Bytes
	}
	return spent
}

// BenchmarkRefresh tells the calls, the bytes and the time of one refresh. The
// time is that of the client and of the simulated platform together, without a
// network. The table in the README is made of it, by this command:
//
//	go test ./collector/census -run '^$' -bench Refresh
func BenchmarkRefresh(b *testing.B) {
	var table strings.Builder
	table.WriteString("| subtasks | situation |")
	for _, way := range ways {
		fmt.Fprintf(&table, " %s: calls | kB | ms |", way.name)
	}
	table.WriteString("\n|---|---|" + strings.Repeat("---|", 3*len(ways)) + "\n")
	for _, n := range []int{1000, 30000} {
		for _, s := range situations(n) {
			fmt.Fprintf(&table, "| %d | %s |", n, s.name)
			for _, way := range ways {
				var sum cost
				b.Run(fmt.Sprintf("%d/%s/%s", n, s.name, way.name), func(b *testing.B) {
					sum = cost{}
					for b.Loop() {
						b.StopTimer()
						one := measure(b, s, way.read)
						sum.calls, sum.bytes, sum.time = one.calls, one.bytes, sum.time+one.time
						b.StartTimer()
					}
					sum.time /= time.Duration(b.N)
					b.ReportMetric(float64(sum.calls), "calls/op")
					b.ReportMetric(float64(sum.bytes), "wire-B/op")
					b.ReportMetric(float64(sum.time.Nanoseconds()), "ns/op")
				})
				fmt.Fprintf(&table, " %d | %.0f | %.1f |", sum.calls, float64(sum.bytes)/1000, float64(sum.time.Microseconds())/1000)
			}
			table.WriteString("\n")
		}
	}
	b.Log("\n" + table.String())
}

// TestCallsPerRefresh holds the promise that is made of the fewest calls.
func TestCallsPerRefresh(t *testing.T) {
	want := map[string]int{
		"1000/first read": 4, "1000/nothing changed": 2, "1000/1% moved": 4, "1000/finished": 0,
		"30000/first read": 8, "30000/nothing changed": 2, "30000/1% moved": 5, "30000/finished": 0,
	}
	for _, n := range []int{1000, 30000} {
		for _, s := range situations(n) {
			name := fmt.Sprintf("%d/%s", n, s.name)
			t.Run(name, func(t *testing.T) {
				if got := measure(t, s, ways[0].read); got.calls > want[name] {
					t.Errorf("%d calls, want at most %d", got.calls, want[name])
				}
			})
		}
	}
}

// BenchmarkMemory tells what it takes to remember a task: one of 1,000 subtasks
// in one page each, and one of 30,000 failures.
func BenchmarkMemory(b *testing.B) {
	tasks := map[string]northboundtest.Subtasks{
		"1000 subtasks":  running(1000),
		"30000 failures": northboundtest.Uniform(30000, northboundtest.Subtask{Status: "Fail", Code: "100428"}),
	}
	for name, rows := range tasks {
		b.Run(name, func(b *testing.B) {
			p := newBench(b)
			p.addTask(rows)
			traits := new(census.Traits)
			remembered := make([]*census.Census, 20)
			take := func() *census.Census {
				c := census.New(northbound.TaskDetailsQuery{TaskID: taskID}, traits)
				p.mustRefresh(b, c)
				return c
			}
			take()
			for b.Loop() {
				clear(remembered)
				p.ResetCalls()
				before := heap()
				for i := range remembered {
					remembered[i] = take()
					p.ResetCalls()
				}
				b.ReportMetric(float64(heap()-before)/float64(len(remembered)), "heap-B/task")
			}
			runtime.KeepAlive(remembered)
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far below the limit
}
