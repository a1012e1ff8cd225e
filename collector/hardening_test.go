package collector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	commoncfg "github.com/prometheus/common/config"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
	"huawei_iot_batch_exporter/config"
)

// hang delays the calls of one task.
func hang(task string, d time.Duration) northboundtest.Option {
	return northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("taskId") == task {
				select {
				case <-time.After(d):
				case <-r.Context().Done():
				}
			}
			h.ServeHTTP(w, r)
		})
	})
}

// A task that hangs must not keep a healthy one from being read at the next scrape.
func TestHangingTaskHarmsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "bad", Name: "bad"}, {TaskID: "good", Name: "good"}}, hang("bad", time.Hour))
		s.addTask("bad", pending(10))
		s.addTask("good", pending(10))
		for range 8 {
			got := s.scrape(t)
			age := float64(time.Now().UnixMilli())/1000 - got[`task_last_refresh_timestamp_seconds{task="good"}`]
			if age > 11 {
				t.Errorf("good was read %v s ago at the end of a scrape", age)
			}
			time.Sleep(5 * time.Second)
		}
	})
}

// In real time (not in a bubble, where two readings of the clock are equal) a
// probe of a configured task never reads it, though there are calls to spare.
func TestProbeOfConfiguredTaskReads(t *testing.T) {
	p := northboundtest.New()
	p.AddApplication(northboundtest.App{ID: "app", Secret: "secret"})
	transport, stop := p.PipeTransport()
	defer stop()
	e := collector.New(collector.WithTransport(func(config.Application) (http.RoundTripper, error) { return transport, nil }))
	defer e.Close()
	s := &site{Platform: p, exporter: e, cfg: &config.Config{Applications: []config.Application{{
		Name: "fleet", URL: "https://platform.example", AppID: "app", Secret: commoncfg.Secret("secret"),
		Settings: config.DefaultSettings(), Tasks: []config.Task{{TaskID: "t1", Name: "a"}},
	}}}}
	s.apply(t)
	s.addTask("t1", pending(10))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	gather(t, e.Scrape(ctx))
	s.SetStatus("t1", 0, "Success", "")
	time.Sleep(10 * time.Millisecond)
	if got := s.probe(t, config.Task{TaskID: "t1"}); got[`subtasks{status="Success",task="a"}`] != 1 {
		t.Errorf("with 57 of 60 calls left a probe did not read the task: %v", got.only("subtasks", "api_calls_available"))
	}
}

// On a slow platform the rows of a task with many failures take long. Meanwhile
// the task is not counted again, and its numbers vanish from the page.
func TestRowsDoNotKeepATaskFromBeingCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "huge", Name: "huge"}}, slowly("", 3*time.Second))
		rows := make(northboundtest.Rows, 30000)
		for i := range rows {
			rows[i] = northboundtest.Subtask{Status: "Fail", Code: "100428"}
			if i >= 29000 {
				rows[i] = northboundtest.Subtask{Status: "Pending"}
			}
		}
		s.addTask("huge", rows)
		shown, worst := false, 0.0
		for range 60 {
			got := s.scrape(t)
			_, ok := got[`subtasks{status="Fail",task="huge"}`]
			if shown && !ok {
				t.Fatalf("the numbers vanished; task_up %v", got[`task_up{task="huge"}`])
			}
			if shown = shown || ok; shown {
				worst = max(worst, float64(time.Now().UnixMilli())/1000-got[`task_last_refresh_timestamp_seconds{task="huge"}`])
			}
			time.Sleep(5 * time.Second)
		}
		t.Logf("oldest numbers: %v s", worst)
	})
}

// slowly delays the calls whose URL contains text.
func slowly(text string, d time.Duration) northboundtest.Option {
	return northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.String(), text) {
				select {
				case <-time.After(d):
				case <-r.Context().Done():
				}
			}
			h.ServeHTTP(w, r)
		})
	})
}

// Four huge tasks that the platform is slow to list must not keep a small one
// from being read while their codes are looked up.
func TestRowsOfHugeTasksStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks := []config.Task{{TaskID: "small", Name: "small"}}
		for i := range 4 {
			tasks = append(tasks, config.Task{TaskID: fmt.Sprint("huge", i), Name: fmt.Sprint("huge", i)})
		}
		s := newSite(t, tasks, northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.String(), "huge") {
					select {
					case <-time.After(10 * time.Second):
					case <-r.Context().Done():
					}
				}
				h.ServeHTTP(w, r)
			})
		}))
		s.addTask("small", pending(10))
		for _, task := range tasks[1:] {
			s.addTask(task.TaskID, northboundtest.Uniform(30000, northboundtest.Subtask{Status: "Fail", Code: "100428"}))
		}
		worst := 0.0
		for range 60 {
			got := s.scrape(t)
			if at, ok := got[`task_last_refresh_timestamp_seconds{task="small"}`]; ok {
				worst = max(worst, float64(time.Now().UnixMilli())/1000-at)
			}
			time.Sleep(5 * time.Second)
		}
		if worst > 120 {
			t.Errorf("the small task was %v s old", worst)
		}
	})
}

// While only tasks/{taskId} fails, the rows still tell everything, and the name
// is worth no calls at every scrape.
func TestTaskTotalsDown(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"internal error": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`{"error_code":"50252","error_desc":"internal"}`))
		},
		"gateway": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, []config.Task{{TaskID: "small", Name: "small"}, {TaskID: "large", Name: "large"}},
					northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
						return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							if strings.Contains(r.URL.Path, "/tasks/") {
								answer(w)
								return
							}
							h.ServeHTTP(w, r)
						})
					}))
				s.addTask("small", pending(10))
				s.addTask("large", pending(3000))
				for range 20 {
					s.scrape(t)
					time.Sleep(15 * time.Second)
				}
				got := s.scrape(t)
				if got[`task_up{task="large"}`] != 1 {
					t.Errorf("a large task cannot be read at all: %v", got.only("task_up", "subtasks"))
				}
				if n := got[`api_requests_total{operation="task"}`]; n > 15 {
					t.Errorf("%v calls for names in 5 minutes", n)
				}
			})
		})
	}
}

// A probe whose parameters are not UTF-8 (/probe?task_id=%ff) must not panic in
// the goroutine in which the registry collects: that ends the process.
func TestProbeNotUTF8(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		s.probe(t, config.Task{TaskID: "\xff"})
	})
}

// A login that was refused must not keep application_up at 0 once a reload has
// given the application a token.
func TestApplicationUpAfterCredentialsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}})
		s.addTask("t1", pending(10))
		s.SetSecret("app", "another")
		if got := s.scrape(t); got[`application_up{}`] != 0 {
			t.Fatal("up with the wrong secret")
		}
		app := s.cfg.Applications[0]
		app.Secret, app.AccessTokenFile = "", filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(app.AccessTokenFile, []byte(s.StealToken("app")), 0o600); err != nil {
			t.Fatal(err)
		}
		s.cfg = &config.Config{Applications: []config.Application{app}}
		s.apply(t)
		for range 5 {
			time.Sleep(15 * time.Second)
			got := s.scrape(t)
			if got[`task_up{task="a"}`] != 1 || got[`application_up{}`] != 1 {
				t.Fatalf("%v", got.only("task_up", "application_up"))
			}
		}
	})
}

// newLoggedSite is newSite with what is logged at the default level.
func newLoggedSite(t *testing.T, logged io.Writer, tasks []config.Task, opts ...northboundtest.Option) *site {
	t.Helper()
	p := northboundtest.New(opts...)
	p.AddApplication(northboundtest.App{ID: "app", Secret: "secret"})
	transport, stop := p.PipeTransport()
	e := collector.New(
		collector.WithTransport(func(config.Application) (http.RoundTripper, error) { return transport, nil }),
		collector.WithLogger(level.NewFilter(log.NewSyncLogger(log.NewLogfmtLogger(logged)), level.AllowInfo())))
	t.Cleanup(func() {
		e.Close()
		stop()
	})
	s := &site{Platform: p, exporter: e, cfg: &config.Config{
		Applications: []config.Application{{
			Name: "fleet", URL: "https://platform.example", AppID: "app", Secret: "secret",
			Settings: config.DefaultSettings(), Tasks: tasks,
		}},
	}}
	s.apply(t)
	return s
}

// Credentials that cannot be read must show in application_up and in the log.
func TestCredentialsUnreadable(t *testing.T) {
	for name, known := range map[string]bool{"from the start": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var logged bytes.Buffer
				s := newLoggedSite(t, &logged, []config.Task{{TaskID: "t1", Name: "a"}})
				s.addTask("t1", pending(10))
				file := filepath.Join(t.TempDir(), "token")
				app := s.cfg.Applications[0]
				app.Secret, app.AccessTokenFile = "", file
				s.cfg = &config.Config{Applications: []config.Application{app}}
				s.apply(t)
				if known {
					if err := os.WriteFile(file, []byte(s.StealToken("app")), 0o600); err != nil {
						t.Fatal(err)
					}
					s.scrape(t)
					_ = os.Remove(file)
				}
				for range 5 {
					time.Sleep(15 * time.Second)
					got := s.scrape(t)
					if up, ok := got[`application_up{}`]; !ok || up != 0 {
						t.Errorf("%v", got.only("application_up", "task_up"))
						break
					}
				}
				if !bytes.Contains(logged.Bytes(), []byte("token")) {
					t.Errorf("not a word in the log:\n%s", &logged)
				}
			})
		})
	}
}

// Whatever reloads do, an application keeps to its allowance.
func TestAllowanceOverReloads(t *testing.T) {
	tests := map[string]func(t *testing.T, s *site, app config.Application){
		"taken out and put back": func(t *testing.T, s *site, app config.Application) {
			other := app
			other.Name, other.AppID = "other", "other"
			other.Tasks = nil
			s.cfg = &config.Config{Applications: []config.Application{other}}
			s.apply(t)
			s.cfg = &config.Config{Applications: []config.Application{app}}
			s.apply(t)
		},
		"the same URL, spelled otherwise": func(t *testing.T, s *site, app config.Application) {
			app.URL += "/"
			s.cfg = &config.Config{Applications: []config.Application{app}}
			s.apply(t)
		},
	}
	for name, reload := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tasks []config.Task
				for i := range 100 {
					tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
				}
				s := newSite(t, tasks, northboundtest.WithCallLimit(0))
				for _, task := range tasks {
					s.addTask(task.TaskID, pending(10))
				}
				s.scrape(t)
				reload(t, s, s.cfg.Applications[0])
				time.Sleep(time.Second)
				s.scrape(t)
				if most := s.MaxCallsIn(time.Minute); most > 60 {
					t.Errorf("%d calls in a minute, want at most 60", most)
				}
			})
		})
	}
}

// A scrape with a long timeout that waits for a slow task must not keep the
// scrapes of others from having healthy tasks read.
func TestLongScrapeFreezesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "slow", Name: "slow"}, {TaskID: "good", Name: "good"}, {TaskID: "good2", Name: "good2"}}, hang("slow", 25*time.Second))
		s.addTask("slow", mixedRows(3000))
		s.addTask("good", pending(10))
		s.addTask("good2", pending(10))
		done := make(chan struct{})
		go func() {
			defer close(done)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			gather(t, s.exporter.Scrape(ctx))
		}()
		worst := 0.0
		for range 20 {
			time.Sleep(5 * time.Second)
			got := s.scrape(t)
			worst = max(worst, float64(time.Now().UnixMilli())/1000-got[`task_last_refresh_timestamp_seconds{task="good"}`])
		}
		<-done
		if worst > 60 {
			t.Errorf("a healthy task was %v s old", worst)
		}
	})
}

// What the last call of the allowance brought has to be in the answer to the
// scrape that had it sent: not lost between the end of the call and its
// publication.
func TestLastCallIsShown(t *testing.T) {
	lost := 0
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}, {TaskID: "t2", Name: "b"}})
			s.addTask("t1", pending(200))
			s.addTask("t2", pending(200))
			s.settings().CallsPerMinute = 2 // the sign-in and one task
			s.apply(t)
			got := s.scrape(t)
			if got[`task_up{task="a"}`]+got[`task_up{task="b"}`] != 1 {
				lost++
			}
		})
	}
	if lost > 0 {
		t.Errorf("%d of 300 scrapes missed what was read for them", lost)
	}
}

// A call that comes free within the scrape's time is worth waiting for, though
// the call of the worker behind it comes too late.
func TestScrapeWaitsForTheCallThatComesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tasks []config.Task
		for i := range 8 {
			tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
		}
		s := newSite(t, tasks, northboundtest.WithCallLimit(0))
		for _, task := range tasks {
			s.addTask(task.TaskID, pending(10))
		}
		all := s.cfg.Applications[0].Tasks
		s.settings().CallsPerMinute = 4
		s.cfg.Applications[0].Tasks = all[:1]
		s.apply(t)
		s.scrape(t) // sign-in, a count, a name
		time.Sleep(52 * time.Second)
		s.cfg.Applications[0].Tasks = all
		s.apply(t)
		// One call is free; the other three come free in 8 s.
		start := time.Now()
		s.scrape(t)
		t.Logf("answered after %v", time.Since(start))
		s.cfg.Applications[0].Tasks = all[4:]
		s.apply(t)
	})
}

// Where no call can be had before the deadline, an answer need not wait for it,
// also if the calls were waiting already when the scrape arrived.
func TestScrapeDoesNotWaitInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tasks []config.Task
		for i := range 20 {
			tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
		}
		s := newSite(t, tasks)
		for _, task := range tasks {
			s.addTask(task.TaskID, pending(10))
		}
		s.settings().CallsPerMinute = 10
		s.apply(t)
		for i := range 3 {
			start := time.Now()
			s.scrape(t)
			if took := time.Since(start); took > time.Second {
				t.Errorf("scrape %d took %v, though the next call is half a minute away", i, took)
			}
			time.Sleep(5 * time.Second)
		}
	})
}

// A sign-in that fails with the documented 500/50252, or at a gateway, must not
// be tried anew for every task.
func TestLoginStorm(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"50252": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`{"error_code":"50252","error_desc":"internal"}`))
		},
		"502": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tasks []config.Task
				for i := range 50 {
					tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
				}
				var logins atomic.Int64
				s := newSite(t, tasks, northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if strings.HasSuffix(r.URL.Path, "/login") {
							logins.Add(1)
							answer(w)
							return
						}
						h.ServeHTTP(w, r)
					})
				}))
				for range 20 {
					s.scrape(t)
					time.Sleep(15 * time.Second)
				}
				if n := logins.Load(); n > 50 {
					t.Errorf("%d logins in 5 minutes", n)
				}
			})
		})
	}
}

// One line per change of state: a task that goes on failing is one state.
func TestLogOfAFailingTask(t *testing.T) {
	n := 0
	tests := map[string]northboundtest.Option{
		"contradictions with other numbers each time": northboundtest.LieTotalCount(func(asked url.Values, total int) int {
			if asked.Get("taskId") != "bad" {
				return total
			}
			n++
			return total + n
		}),
		"errors in turns": northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("taskId") == "bad" {
					n++
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(http.StatusInternalServerError)
					_, _ = w.Write([]byte([]string{`{"error_code":"50252"}`, `not JSON`, `{"error_code":"100203"}`}[n/3%3]))
					return
				}
				h.ServeHTTP(w, r)
			})
		}),
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n = 0
				var logged bytes.Buffer
				s := newLoggedSite(t, &logged, []config.Task{{TaskID: "bad", Name: "bad"}, {TaskID: "good", Name: "good"}}, fault)
				s.addTask("bad", pending(100))
				s.addTask("good", pending(100))
				for range 240 {
					s.scrape(t)
					time.Sleep(15 * time.Second)
				}
				if lines := bytes.Count(logged.Bytes(), []byte("could not be read")); lines > 3 {
					t.Errorf("%d lines in an hour:\n%.2000s", lines, &logged)
				}
			})
		})
	}
}

// Run with -race: the name of an application without tasks changes while its
// sign-in fails; and scrapes arrive while the exporter is closed.
func TestRaceOfTheLogger(t *testing.T) {
	s := newRealSite(t)
	s.SetSecret("app", "another")
	var wait sync.WaitGroup
	wait.Go(func() {
		for range 200 {
			s.scrape(t)
		}
	})
	for i := range 200 {
		app := s.cfg.Applications[0]
		app.Name = []string{"fleet", "renamed"}[i%2]
		if err := s.exporter.Apply(&config.Config{Applications: []config.Application{app}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Microsecond)
	}
	wait.Wait()
}

// newRealSite is newSite outside of a bubble.
func newRealSite(t *testing.T, tasks ...config.Task) *site {
	t.Helper()
	p := northboundtest.New(northboundtest.WithCallLimit(0))
	p.AddApplication(northboundtest.App{ID: "app", Secret: "secret"})
	transport, stop := p.PipeTransport()
	e := collector.New(collector.WithTransport(func(config.Application) (http.RoundTripper, error) { return transport, nil }))
	t.Cleanup(func() { e.Close(); stop() })
	s := &site{Platform: p, exporter: e, cfg: &config.Config{Applications: []config.Application{{
		Name: "fleet", URL: "https://platform.example", AppID: "app", Secret: commoncfg.Secret("secret"),
		Settings: config.DefaultSettings(), Tasks: tasks,
	}}}}
	s.settings().CallsPerMinute = 100000
	s.apply(t)
	return s
}

// Run with -race: a scrape that arrives while the exporter is closed.
func TestScrapeWhileClosing(t *testing.T) {
	for range 50 {
		s := newRealSite(t, config.Task{TaskID: "t1", Name: "a"})
		s.addTask("t1", pending(1))
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				for range 20 {
					s.scrape(t)
				}
			})
		}
		time.Sleep(time.Millisecond)
		s.exporter.Close()
		wait.Wait()
	}
}

// Close leaves nothing behind, idle connections neither.
func TestCloseLeavesNoConnections(t *testing.T) {
	server := northboundtest.NewServer()
	defer server.Close()
	server.AddApplication(northboundtest.App{ID: "app", Secret: "secret"})
	server.AddTask(northboundtest.Task{ID: "t1", AppID: "app", Subtasks: pending(3)})
	e := collector.New(collector.WithTransport(func(config.Application) (http.RoundTripper, error) {
		return server.Client().Transport.(*http.Transport).Clone(), nil
	}))
	if err := e.Apply(&config.Config{Applications: []config.Application{{
		Name: "fleet", URL: server.URL, AppID: "app", Secret: "secret",
		Settings: config.DefaultSettings(), Tasks: []config.Task{{TaskID: "t1", Name: "a"}},
	}}}); err != nil {
		t.Fatal(err)
	}
	e.Refresh(t.Context())
	if !e.AllUp() {
		t.Fatal("not read")
	}
	e.Close()
	time.Sleep(200 * time.Millisecond)
	buf := make([]byte, 1<<20)
	if stacks := string(buf[:runtime.Stack(buf, true)]); strings.Contains(stacks, "(*persistConn).readLoop") {
		t.Error("a connection is still open after Close")
	}
}

// Another call timeout does not make refused credentials hold.
func TestApplicationUpWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}})
		s.addTask("t1", pending(10))
		s.SetSecret("app", "another")
		for range 20 { // the pause between logins grows
			s.scrape(t)
			time.Sleep(15 * time.Second)
		}
		app := s.cfg.Applications[0]
		app.Settings.CallTimeout = 20 * time.Second
		s.cfg = &config.Config{Applications: []config.Application{app}}
		s.apply(t)
		for range 4 {
			if got := s.scrape(t); got[`application_up{}`] != 0 {
				t.Fatalf("%v", got.only("application_up", "task_up"))
			}
			time.Sleep(15 * time.Second)
		}
	})
}

// A reload that fails while an application comes back must not make its next
// reload forget the calls that it has made.
func TestFailedReloadKeepsTheAllowance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := northboundtest.New(northboundtest.WithCallLimit(0))
		p.AddApplication(northboundtest.App{ID: "app", Secret: "secret"})
		transport, stop := p.PipeTransport()
		e := collector.New(collector.WithTransport(func(a config.Application) (http.RoundTripper, error) {
			if a.Name == "broken" {
				return nil, errors.New("no such certificate")
			}
			return transport, nil
		}))
		t.Cleanup(func() { e.Close(); stop() })
		var tasks []config.Task
		for i := range 100 {
			tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
		}
		app := config.Application{Name: "fleet", URL: "https://platform.example", AppID: "app", Secret: "secret", Settings: config.DefaultSettings(), Tasks: tasks}
		other, broken := app, app
		other.Name, other.AppID, other.Tasks = "other", "other", nil
		broken.Name, broken.AppID, broken.Tasks = "broken", "broken", nil
		s := &site{Platform: p, exporter: e, cfg: &config.Config{Applications: []config.Application{app}}}
		s.apply(t)
		for _, task := range tasks {
			s.addTask(task.TaskID, pending(10))
		}
		s.scrape(t)
		s.cfg = &config.Config{Applications: []config.Application{other}}
		s.apply(t)
		if err := e.Apply(&config.Config{Applications: []config.Application{app, broken}}); err == nil {
			t.Fatal("the reload did not fail")
		}
		s.cfg = &config.Config{Applications: []config.Application{app}}
		s.apply(t)
		time.Sleep(time.Second)
		s.scrape(t)
		if most := s.MaxCallsIn(time.Minute); most > 60 {
			t.Errorf("%d calls in a minute, want at most 60", most)
		}
	})
}

// An application that rests goes on resting, though it is not configured for a
// while (a prune of what is not used must not take it for idle).
func TestRestOverReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}}, northboundtest.WithThrottle(429, "1010009", 10*time.Minute))
		s.addTask("t1", pending(10))
		s.scrape(t)
		s.Set(northboundtest.WithCallLimit(1))
		time.Sleep(15 * time.Second)
		s.scrape(t) // throttled: a rest of 10 minutes
		app := s.cfg.Applications[0]
		for _, name := range []string{"other", "another"} {
			other := app
			other.Name, other.AppID, other.Tasks = name, name, nil
			s.cfg = &config.Config{Applications: []config.Application{other}}
			s.apply(t)
			time.Sleep(70 * time.Second)
		}
		s.cfg = &config.Config{Applications: []config.Application{app}}
		s.apply(t)
		s.ResetCalls()
		s.scrape(t)
		if calls := len(s.Calls()); calls > 0 {
			t.Errorf("%d calls during the rest", calls)
		}
	})
}

// Names that are alike once they are cut to a label must not empty the page.
func TestNamesAlike(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, names := range [][2]string{{"a", "a "}, {long + "1", long + "2"}} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, []config.Task{{TaskID: "t1", Name: names[0]}, {TaskID: "t1", Name: names[1], Status: "Fail"}})
			s.addTask("t1", pending(10))
			s.scrape(t)
		})
	}
}

// The rows of a task that is no longer configured are worth no call.
func TestRemovedTaskIsNotReadOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "huge", Name: "huge"}, {TaskID: "t1", Name: "a"}}, hang("huge", 4*time.Second))
		s.addTask("huge", northboundtest.Uniform(30000, northboundtest.Subtask{Status: "Fail", Code: "1"}))
		s.addTask("t1", pending(10))
		for range 3 {
			s.scrape(t)
			time.Sleep(5 * time.Second)
		}
		app := s.cfg.Applications[0]
		app.Tasks = app.Tasks[1:]
		s.cfg = &config.Config{Applications: []config.Application{app}}
		s.apply(t)
		s.ResetCalls()
		time.Sleep(5 * time.Minute)
		if calls := len(s.Calls()); calls > 12 {
			t.Errorf("%d calls for a task that nobody asks for", calls)
		}
	})
}

// A platform gone mad cannot make series without bound.
func TestLabelsOfErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		var tasks []config.Task
		for i := range 50 {
			tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
		}
		s := newSite(t, tasks, northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/login") {
					h.ServeHTTP(w, r)
					return
				}
				i := n.Add(1)
				w.WriteHeader(int(500 + i%500))
				_, _ = fmt.Fprintf(w, `{"error_code":"%d"}`, i/7)
			})
		}))
		s.settings().CallsPerMinute = 100000
		s.apply(t)
		var got series
		for range 200 {
			got = s.scrape(t)
			time.Sleep(5 * time.Second)
		}
		if series := len(got.only("api_errors_total")); series > 500 {
			t.Errorf("%d series of errors after %d calls", series, n.Load())
		}
	})
}

// A sign-in that a probe began serves the configured tasks too, and must not
// wait behind the reserve that is kept for them.
func TestSignInOfAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tasks []config.Task
		for i := range 10 {
			tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
		}
		s := newSite(t, tasks, northboundtest.WithCallLimit(0))
		for _, task := range tasks {
			s.addTask(task.TaskID, pending(10))
		}
		s.settings().CallsPerMinute = 40
		s.apply(t)
		s.scrape(t) // sign-in, 10 counts, 9 names
		time.Sleep(15 * time.Second)
		s.scrape(t) // 10 counts
		s.RevokeToken("app")
		// The token is known to be dead, and a probe is first to need another.
		time.Sleep(5 * time.Second)
		go func() { _, _ = s.exporter.Probe(t.Context(), "fleet", config.Task{TaskID: "other"}) }()
		time.Sleep(time.Second)
		t.Log(s.scrape(t).only("api_calls_available"))
		start := time.Now()
		got := s.scrape(t)
		t.Logf("%v after %v", got.only("api_calls_available", "api_requests_total"), time.Since(start))
		time.Sleep(time.Minute)
	})
}

// Applications that swap their names in a reload must not empty a page that is
// written meanwhile.
func TestNamesSwapped(t *testing.T) {
	s := newRealSite(t)
	app := s.cfg.Applications[0]
	other := app
	other.AppID, other.Name = "other", "other"
	s.cfg = &config.Config{Applications: []config.Application{app, other}}
	s.apply(t)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			a, b := app, other
			if i%2 == 0 {
				a.Name, b.Name = b.Name, a.Name
			}
			_ = s.exporter.Apply(&config.Config{Applications: []config.Application{a, b}})
		}
	})
	failed := 0
	for range 300 {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(s.exporter.Scrape(t.Context()))
		if _, err := registry.Gather(); err != nil {
			failed++
		}
	}
	close(stop)
	wait.Wait()
	if failed > 0 {
		t.Errorf("%d of 300 pages were refused", failed)
	}
}

// While tasks/{taskId} hangs, or its connection breaks, the rows still tell
// everything.
func TestTaskTotalsOutOfReach(t *testing.T) {
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request){
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"reset": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, []config.Task{{TaskID: "large", Name: "large"}, {TaskID: "small", Name: "small"}},
					northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
						return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							if strings.Contains(r.URL.Path, "/tasks/") {
								fault(w, r)
								return
							}
							h.ServeHTTP(w, r)
						})
					}))
				s.addTask("large", pending(3000))
				s.addTask("small", pending(30))
				for range 20 {
					s.scrape(t)
					time.Sleep(15 * time.Second)
				}
				got := s.scrape(t)
				if got[`task_up{task="large"}`] != 1 {
					t.Errorf("%v", got.only("task_up"))
				}
				if n := got[`api_requests_total{operation="task"}`]; n > 30 {
					t.Errorf("%v calls for totals and names in 5 minutes", n)
				}
			})
		})
	}
}

var (
	totalCount = regexp.MustCompile(`"totalCount": ?(\d+)`)
	successCnt = regexp.MustCompile(`"(success|fail|timeout|complete)Cnt": ?(\d+)`)
)

// TestRandomFaults: faults of every kind at random for an hour; sums hold
// at every scrape; then all is mended, and the truth is told again.
func TestRandomFaults(t *testing.T) {
	seeds := uint64(10)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomFaults(t, seed) })
		})
	}
}

func randomFaults(t *testing.T, seed uint64) {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	intn := func(n int) int { mu.Lock(); defer mu.Unlock(); return random.IntN(n) }
	faulty := true
	var lock sync.Mutex
	isFaulty := func() bool { lock.Lock(); defer lock.Unlock(); return faulty }
	rate := []int{3, 10, 30}[random.IntN(3)]
	lies := random.IntN(2) == 0
	mw := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !isFaulty() || intn(rate) > 0 {
				h.ServeHTTP(w, r)
				return
			}
			refuse := func(status int, code string) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				_, _ = fmt.Fprintf(w, `{"error_code":%q,"error_desc":"x"}`, code)
			}
			edit := func(f func([]byte) []byte) {
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				body := rec.Body.Bytes()
				if rec.Code == 200 {
					body = f(body)
				}
				for k, v := range rec.Header() {
					if k != "Content-Length" {
						w.Header()[k] = v
					}
				}
				w.WriteHeader(rec.Code)
				_, _ = w.Write(body)
			}
			kinds := 14
			if lies {
				kinds = 19
			}
			switch intn(kinds) {
			case 0:
				refuse(500, "50252")
			case 1:
				refuse(403, "1010005")
			case 2:
				refuse(403, "1010009")
			case 3:
				refuse(400, "100022")
			case 4:
				refuse(404, "105005")
			case 5:
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(http.StatusBadGateway)
			case 6:
				select {
				case <-time.After(time.Duration(1+intn(40)) * time.Second):
				case <-r.Context().Done():
				}
				h.ServeHTTP(w, r)
			case 7:
				panic(http.ErrAbortHandler)
			case 8:
				edit(func(b []byte) []byte { return b[:len(b)/2] })
			case 9:
				w.WriteHeader(http.StatusNoContent)
			case 10:
				refuse(200, "999999")
			case 11:
				w.WriteHeader(http.StatusFound)
			case 12:
				_, _ = w.Write([]byte("null"))
			case 13:
				w.Header().Set("Retry-After", "20")
				w.WriteHeader(http.StatusTooManyRequests)
			case 14, 15: // totals a little off
				d := intn(5) - 2
				edit(func(b []byte) []byte {
					return totalCount.ReplaceAllFunc(b, func(m []byte) []byte {
						n, _ := strconv.Atoi(string(totalCount.FindSubmatch(m)[1]))
						return []byte(fmt.Sprintf(`"totalCount":%d`, max(0, n+d)))
					})
				})
			case 16: // no rows
				edit(func(b []byte) []byte {
					if i := bytes.Index(b, []byte(`"taskDetails":`)); i >= 0 {
						n := totalCount.FindSubmatch(b)
						return []byte(fmt.Sprintf(`{"totalCount":%s,"taskDetails":[]}`, n[1]))
					}
					return b
				})
			case 17: // the task's own totals a little off
				edit(func(b []byte) []byte {
					return successCnt.ReplaceAllFunc(b, func(m []byte) []byte {
						s := successCnt.FindSubmatch(m)
						n, _ := strconv.Atoi(string(s[2]))
						return []byte(fmt.Sprintf(`"%sCnt":%d`, s[1], max(0, n+1)))
					})
				})
			case 18: // the filter ignored
				q := r.URL.Query()
				q.Del("status")
				r.URL.RawQuery = q.Encode()
				h.ServeHTTP(w, r)
			}
		})
	}
	limit := []int{20, 60, 100}[random.IntN(3)]
	orders := []northboundtest.Option{
		northboundtest.WithRowOrder(northboundtest.ByPosition),
		northboundtest.WithRowOrder(northboundtest.NewestFinishedFirst),
		northboundtest.WithRowOrder(northboundtest.OldestFinishedFirst),
		northboundtest.WithShuffledRows(7),
	}
	var tasks []config.Task
	var sizes []int
	for i := range 1 + random.IntN(6) {
		tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
		sizes = append(sizes, []int{0, 1, 30, 249, 300, 600, 1300, 4000}[random.IntN(8)])
	}
	opts := []northboundtest.Option{northboundtest.WithCallLimit(0), orders[random.IntN(4)], northboundtest.WithTokenLifetime(20 * time.Minute)}
	if random.IntN(2) == 0 {
		opts = append(opts, northboundtest.WithoutWaitResultFilter())
	}
	if random.IntN(3) == 0 {
		opts = append(opts, northboundtest.WithMaxPageSize(100), northboundtest.WithPageSizeClampedSilently())
	}
	opts = append(opts, northboundtest.WithMiddleware(mw))
	var logged syncBuffer
	s := newLoggedSite(t, &logged, tasks, opts...)
	s.settings().CallsPerMinute = limit
	s.settings().MaxStaleness = 24 * time.Hour
	s.settings().FinishedRecheckInterval = 10 * time.Minute
	s.apply(t)
	for i, n := range sizes {
		s.addTask(tasks[i].TaskID, northboundtest.Scripted(n, seed+uint64(i), northboundtest.Profile{
			Duration: time.Duration(random.IntN(60)+1) * time.Minute,
			Outcomes: []northboundtest.Outcome{
				{Share: random.Float64() * .4, Status: "Fail", Code: "100428"},
				{Share: random.Float64() * .2, Status: "Fail", Code: "100431"},
				{Share: random.Float64() * .2, Status: "Timeout", Code: "100501"},
			},
		}))
	}
	begin := time.Now()
	check := func(got series, exactTotal bool) {
		for i, n := range sizes {
			sum, shown := 0.0, false
			for name, v := range got.only("subtasks") {
				if strings.Contains(name, fmt.Sprintf(`task="t%d"`, i)) {
					shown = true
					sum += v
					if v < 0 {
						t.Fatalf("%s = %v", name, v)
					}
				}
			}
			if shown && exactTotal && int(sum) != n {
				t.Errorf("at %v t%d: statuses add up to %v of %d", time.Since(begin), i, sum, n)
			}
			for _, status := range []string{"Fail", "Timeout"} {
				count := got[fmt.Sprintf(`subtasks{status=%q,task="t%d"}`, status, i)]
				for name, v := range got.only("subtask_errors") {
					if strings.Contains(name, fmt.Sprintf(`status=%q,task="t%d"`, status, i)) {
						count -= v
					}
				}
				if count != 0 {
					t.Errorf("at %v t%d: the codes of %s miss %v", time.Since(begin), i, status, count)
				}
			}
		}
	}
	for time.Since(begin) < 70*time.Minute {
		got := s.scrape(t)
		check(got, !lies)
		if t.Failed() {
			t.Logf("rate %d lies %v limit %d sizes %v\n%.3000s", rate, lies, limit, sizes, logged.String())
			return
		}
		if intn(20) == 0 {
			s.probe(t, tasks[intn(len(tasks))])
		}
		if intn(20) == 0 {
			s.apply(t)
		}
		time.Sleep(time.Duration(5+intn(20)) * time.Second)
	}
	lock.Lock()
	faulty = false
	lock.Unlock()
	var got series
	mended := time.Now()
	for time.Since(mended) < 70*time.Minute {
		time.Sleep(15 * time.Second)
		got = s.scrape(t)
		check(got, false)
		if exact(s, got, sizes) && got[`application_up{}`] == 1 && allUp(got, len(sizes)) {
			break
		}
	}
	if took := time.Since(mended); took > 12*time.Minute {
		t.Logf("exact after %v", took)
	}
	bad := false
	for i := range sizes {
		if got[fmt.Sprintf(`task_up{task="t%d"}`, i)] != 1 || !exact(s, got, sizes) || got[`application_up{}`] != 1 {
			bad = true
			t.Errorf("t%d: up %v app up %v\nwant %v\ngot  %v", i, got[fmt.Sprintf(`task_up{task="t%d"}`, i)], got[`application_up{}`], truth(s, i), shown(got, i))
		}
	}
	if bad {
		tail := logged.String()
		if len(tail) > 2500 {
			tail = tail[len(tail)-2500:]
		}
		t.Logf("rate %d lies %v limit %d sizes %v\n%s", rate, lies, limit, sizes, tail)
	}
	if most := s.MaxCallsIn(time.Minute); most > limit {
		t.Errorf("%d calls in a minute of %d", most, limit)
	}
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}
func (b *syncBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.buf.String() }

func allUp(got series, n int) bool {
	for i := range n {
		if got[fmt.Sprintf(`task_up{task="t%d"}`, i)] != 1 {
			return false
		}
	}
	return true
}

// A connection that is cut before the first byte of an answer must not have the
// transport repeat the call by itself: that call passed no allowance and is not
// counted.
func TestTransportRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{{TaskID: "bad", Name: "bad"}, {TaskID: "good", Name: "good"}},
			northboundtest.WithCallLimit(0),
			northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.URL.String(), "bad") {
						panic(http.ErrAbortHandler)
					}
					h.ServeHTTP(w, r)
				})
			}))
		s.addTask("good", pending(10))
		s.settings().CallsPerMinute = 20
		s.apply(t)
		var got series
		for range 20 {
			got = s.scrape(t)
			time.Sleep(5 * time.Second)
		}
		counted := 0.0
		for name, v := range got.only("api_requests_total") {
			_ = name
			counted += v
		}
		if sent := len(s.Calls()); sent != int(counted) {
			t.Errorf("%d calls reached the platform, %v were counted", sent, counted)
		}
		if most := s.MaxCallsIn(time.Minute); most > 20 {
			t.Errorf("%d calls in a minute of 20", most)
		}
	})
}

func mixedRows(n int) northboundtest.Rows {
	rows := make(northboundtest.Rows, n)
	for i := range rows {
		rows[i] = northboundtest.Subtask{Status: []string{"Pending", "WaitResult", "Success"}[i%3]}
	}
	return rows
}

// Of a task whose subtasks are all final only rows are left to read. As long as
// they cannot be, nothing was read: the timestamp stands still and the task is
// down without a break.
func TestUnreadRowsOfFinishedTaskOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		s := newLoggedSite(t, &logged, []config.Task{{TaskID: "huge", Name: "huge"}})
		s.addTask("huge", northboundtest.Uniform(30000, northboundtest.Subtask{Status: "Fail", Code: "1"}))
		const timestamp = `task_last_refresh_timestamp_seconds{task="huge"}`
		s.scrape(t)
		time.Sleep(15 * time.Second)
		last := s.scrape(t)
		if last[`subtask_errors{error_code="unread",status="Fail",task="huge"}`] == 0 {
			t.Fatal("all rows are read already")
		}
		s.RemoveTask("huge")
		for range 8 {
			time.Sleep(time.Minute)
			got := s.scrape(t)
			if got[timestamp] != last[timestamp] || got[`task_up{task="huge"}`] != 0 {
				t.Errorf("%v, read last at %v", got.only("task_up", "task_last_refresh_timestamp_seconds"), last[timestamp])
			}
		}
		if bytes.Contains(logged.Bytes(), []byte("read again")) {
			t.Errorf("the log has it read again:\n%s", &logged)
		}
		s.addTask("huge", northboundtest.Uniform(30000, northboundtest.Subtask{Status: "Fail", Code: "1"}))
		time.Sleep(5 * time.Minute)
		if got := s.scrape(t); got[`task_up{task="huge"}`] != 1 || got[timestamp] <= last[timestamp] {
			t.Errorf("not back: %v", got.only("task_up", "task_last_refresh_timestamp_seconds"))
		}
	})
}
