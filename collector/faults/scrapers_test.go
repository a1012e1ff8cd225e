package faults

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// TestScrapers: what those who scrape can do to the exporter. None of it changes
// what others see.
func TestScrapers(t *testing.T) {
	inRealTime(t, patiently([]realFault{
		{
			fault: fault{name: "50 scrapes at once", hits: nothing},
			begin: slowly(300 * time.Millisecond),
			during: func(t *testing.T, w *realWorld) {
				const rounds, scrapes = 4, 50
				before := w.reads("victim")
				for range rounds {
					atOnce(scrapes, func(int) { w.mustScrape(t, "/metrics") })
				}
				if n := w.reads("victim") - before; n > rounds*scrapes/5 {
					t.Errorf("%d scrapes made %d calls for one task", rounds*scrapes, n)
				}
			},
		},
		{
			fault: fault{name: "scrapes that hang up", hits: nothing},
			begin: slowly(100 * time.Millisecond),
			during: func(t *testing.T, w *realWorld) {
				for range 10 {
					atOnce(20, func(int) {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(150))*time.Millisecond)
						defer cancel()
						_ = discard(w.do(ctx, http.MethodGet, "/metrics")) // most of them fail: that is the fault
					})
				}
			},
		},
		{
			fault: fault{name: "scrapes that have less time than a call takes", hits: nothing},
			begin: slowly(400 * time.Millisecond),
			during: func(t *testing.T, w *realWorld) {
				for range 10 {
					got := w.mustScrape(t, "/metrics", announced, "0.2")
					if !strings.Contains(got, `huawei_iot_batch_subtasks{application="fleet",status="Pending",task="victim"`) {
						t.Errorf("the last numbers are not shown:\n%s", got)
					}
				}
			},
		},
		{
			fault: fault{name: "announcements that cannot be meant", hits: nothing},
			during: func(t *testing.T, w *realWorld) {
				for _, value := range []string{"", "0", "-1", "NaN", "-NaN", "Inf", "-Inf", "1e308", "1e-308", "1e999", "0x10", "1_0", "ten", "10s", "10,5", "1 2", "\t", "ü", strings.Repeat("9", 10_000)} {
					w.mustScrape(t, "/metrics", announced, value)
					w.mustScrape(t, "/probe?application=fleet&task_id=victim", announced, value)
				}
				if got := raw11(t, w, "GET /metrics HTTP/1.1\r\nHost: x\r\n"+announced+": 10\r\n"+announced+": NaN\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
					t.Errorf("announced twice: %.200s", got)
				}
			},
		},
		{
			fault:  fault{name: "probes of task IDs at random", hits: nothing, counted: []string{"task_details 404 105005"}, maySay: []string{"task could not be read"}},
			during: flood,
		},
		{
			fault: fault{name: "connections that say nothing, or little by little", hits: nothing},
			during: func(t *testing.T, w *realWorld) {
				atOnce(200, func(i int) {
					connection := w.connect(t)
					defer func() { _ = connection.Close() }()
					for _, b := range []byte("GET /metrics HTTP/1.1\r\nHost: x\r\n")[:i%10] {
						_, _ = connection.Write([]byte{b}) // the exporter may have had enough
						time.Sleep(300 * time.Millisecond)
					}
					time.Sleep(time.Second)
				})
			},
		},
		{
			fault: fault{name: "readers of a byte at a time", hits: nothing},
			during: func(t *testing.T, w *realWorld) {
				atOnce(5, func(int) {
					connection := w.connect(t)
					defer func() { _ = connection.Close() }()
					go func() { // answers that repeat their question, more than buffers hold
						request := "GET /" + strings.Repeat("x", 60_000) + " HTTP/1.1\r\nHost: x\r\n\r\n"
						_, _ = io.WriteString(connection, strings.Repeat(request, 150)) // until the connection is closed
					}()
					for range 10 {
						if _, err := io.ReadFull(connection, make([]byte, 1)); err != nil {
							t.Error(err)
						}
						time.Sleep(200 * time.Millisecond)
					}
				})
			},
		},
		{
			fault:   fault{name: "HTTP/2, streams that are reset", hits: nothing},
			prepare: withTLS,
			begin:   slowly(100 * time.Millisecond),
			during: func(t *testing.T, w *realWorld) {
				for range 4 {
					atOnce(50, func(i int) {
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						if i%2 == 0 {
							time.AfterFunc(time.Duration(rand.IntN(100))*time.Millisecond, cancel)
						}
						response, err := w.do(ctx, http.MethodGet, "/metrics")
						if err == nil && response.ProtoMajor != 2 {
							t.Error("is not HTTP/2")
						}
						if err := discard(response, err); err != nil && i%2 == 1 {
							t.Error(err)
						}
					})
				}
			},
		},
	}))
}

// patiently leaves calls and numbers more time than a busy machine takes.
func patiently(faults []realFault) []realFault {
	for i, f := range faults {
		faults[i].within = patience
		faults[i].prepare = func(t *testing.T, w *realWorld) []string {
			w.edit("call_timeout: 2s", "call_timeout: 30s")
			if f.hits == nothing {
				w.edit("max_staleness: 3s", "max_staleness: 5m")
				w.shares = 10 * time.Second
			}
			if f.prepare == nil {
				return nil
			}
			return f.prepare(t, w)
		}
	}
	return faults
}

// announced is how Prometheus says how long it waits, in seconds.
const announced = "X-Prometheus-Scrape-Timeout-Seconds"

// slowly has the platform take its time for every answer.
func slowly(d time.Duration) func(*realWorld) {
	return func(w *realWorld) {
		w.fleet.breaks(func(rw http.ResponseWriter, r *http.Request, sound http.Handler) {
			time.Sleep(d)
			sound.ServeHTTP(rw, r)
		})
	}
}

// atOnce does something n times at once.
func atOnce(n int, do func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// mustScrape returns an answer of the exporter, which has to be a good one.
func (w *realWorld) mustScrape(t *testing.T, path string, headers ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	response, err := w.do(ctx, http.MethodGet, path, headers...)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v:\n%.500s", path, response.Status, err, text)
	}
	return string(text)
}

// reads counts the calls for a task's rows.
func (w *realWorld) reads(task string) int {
	n := 0
	for _, call := range w.fleet.Calls() {
		if call.Operation == northboundtest.OperationTaskDetails && call.Query().Get("taskId") == task {
			n++
		}
	}
	return n
}

// flood probes thousands of tasks that nobody knows. What is remembered of them
// is bounded.
func flood(t *testing.T, w *realWorld) {
	probes := 2000
	if testing.Short() {
		probes = 600 // still more than are remembered
	}
	before, page := w.size(t), len(w.mustScrape(t, "/"))
	atOnce(20, func(int) {
		for range probes / 20 {
			query := url.Values{
				"application": {"fleet"}, "task_id": {fmt.Sprint("x", rand.Int())},
				"name": {fmt.Sprint("n", rand.Int())}, "device_id": {strings.Repeat("d", 200)},
			}
			w.mustScrape(t, "/probe?"+query.Encode(), announced, "0.2")
		}
	})
	after := w.size(t)
	if after.series > before.series+20 {
		t.Errorf("from %v to %v series", before.series, after.series)
	}
	if after.heap > before.heap+32<<20 {
		t.Errorf("from %v to %v bytes", before.heap, after.heap)
	}
	if now := len(w.mustScrape(t, "/")); now > page+1<<20 {
		t.Errorf("a status page of %d bytes", now)
	}
}

type size struct{ series, heap float64 }

func (w *realWorld) size(t *testing.T) size {
	var s size
	for name, family := range w.families(t, "/metrics") {
		s.series += float64(len(family.GetMetric()))
		if name == "go_memstats_heap_inuse_bytes" {
			s.heap = family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return s
}

// connect opens a connection to the exporter.
func (w *realWorld) connect(t *testing.T) net.Conn {
	_, address, _ := strings.Cut(w.url, "//")
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err == nil {
		err = connection.SetDeadline(time.Now().Add(patience))
	}
	if err != nil {
		panic(err)
	}
	return connection
}

// raw11 sends text to the exporter and returns what comes back until it closes
// the connection.
func raw11(t *testing.T, w *realWorld, text string) string {
	connection := w.connect(t)
	defer func() { _ = connection.Close() }()
	if _, err := io.WriteString(connection, text); err != nil {
		t.Error(err)
	}
	answer, _ := io.ReadAll(connection) // the exporter may close before all was sent
	return string(answer)
}
