package collector_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
	"huawei_iot_batch_exporter/config"
)

// smallTasks adds n tasks of one page each to be configured.
func smallTasks(n int) (tasks []config.Task, add func(*site)) {
	for i := range n {
		tasks = append(tasks, config.Task{TaskID: fmt.Sprint("t", i), Name: fmt.Sprint("t", i)})
	}
	return tasks, func(s *site) {
		for _, task := range tasks {
			s.addTask(task.TaskID, pending(10))
		}
	}
}

// Four tasks are read at a time, however scrapes follow one another.
func TestTasksReadAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			mu         sync.Mutex
			busy, most int
		)
		tasks, add := smallTasks(20)
		s := newSite(t, tasks, northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				busy++
				most = max(most, busy)
				mu.Unlock()
				select {
				case <-time.After(9 * time.Second):
					h.ServeHTTP(w, r)
				case <-r.Context().Done(): // the test is over
				}
				mu.Lock()
				busy--
				mu.Unlock()
			})
		}))
		add(s)
		for range 6 {
			s.scrape(t)
			time.Sleep(time.Second)
		}
		mu.Lock()
		defer mu.Unlock()
		if most != 4 {
			t.Errorf("%d calls at a time, want 4", most)
		}
	})
}

// A scrape counts the tasks that the allowance kept it from reading, each once.
func TestDeferredTasksAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks, add := smallTasks(7)
		s := newSite(t, tasks)
		add(s)
		s.settings().CallsPerMinute = 3 // one signs in
		s.apply(t)
		up := 0.
		got := s.scrape(t)
		for _, task := range tasks {
			up += got[`task_up{task="`+task.Name+`"}`]
		}
		if up != 2 || got[`api_deferred_total{}`] != 5 {
			t.Errorf("%v tasks are read and %v deferred, want 2 and 5", up, got[`api_deferred_total{}`])
		}
	})
}

// The owner of a task is named where it is another application only.
func TestOwnerOfATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, []config.Task{
			{TaskID: "own", Name: "own", AppID: "app"},
			{TaskID: "foreign", Name: "foreign", AppID: "other"},
		})
		s.AddApplication(northboundtest.App{ID: "other", Secret: "x"})
		s.Authorize("other", "app")
		s.addTask("own", pending(1))
		s.AddTask(northboundtest.Task{ID: "foreign", AppID: "other", Subtasks: pending(2)})
		got := s.scrape(t).only("subtasks")
		if got[`subtasks{status="Pending",task="own"}`] != 1 || got[`subtasks{status="Pending",task="foreign"}`] != 2 {
			t.Errorf("%v", got)
		}
		owners := map[string]string{}
		for _, c := range s.Calls() {
			if c.Operation == "task_details" {
				owners[c.Query().Get("taskId")] = c.Query().Get("appId")
			}
		}
		if diff := cmp.Diff(map[string]string{"own": "", "foreign": "other"}, owners); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// An application without tasks is down too if its credentials cannot be read.
func TestCredentialsUnreadableWithoutTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		app := s.cfg.Applications[0]
		app.Secret, app.SecretFile = "", filepath.Join(t.TempDir(), "secret")
		s.cfg = &config.Config{Applications: []config.Application{app}}
		s.apply(t)
		if up, ok := s.scrape(t)[`application_up{}`]; !ok || up != 0 {
			t.Errorf("application_up %v, known: %v", up, ok)
		}
		if err := os.WriteFile(app.SecretFile, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := s.scrape(t)[`application_up{}`]; got != 1 {
			t.Errorf("application_up %v once the secret is there", got)
		}
	})
}

// Calls made before an application was taken out count when it comes back, be it
// after several reloads.
func TestAllowanceOverSeveralReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks, add := smallTasks(100)
		s := newSite(t, tasks, northboundtest.WithCallLimit(0))
		add(s)
		s.scrape(t)
		own := s.cfg
		other := own.Applications[0]
		other.Name, other.AppID, other.Tasks = "other", "other", nil
		for range 3 {
			s.cfg = &config.Config{Applications: []config.Application{other}}
			s.apply(t)
		}
		s.cfg = own
		s.apply(t)
		s.scrape(t)
		if most := s.MaxCallsIn(time.Minute); most > 60 {
			t.Errorf("%d calls in a minute, want at most 60", most)
		}
	})
}

// What did not change keeps its connections over a reload.
func TestReloadKeepsConnections(t *testing.T) {
	transports := 0
	e := collector.New(collector.WithTransport(func(config.Application) (http.RoundTripper, error) {
		transports++
		return http.DefaultTransport, nil
	}))
	t.Cleanup(e.Close)
	for i, want := range []int{1, 1, 2} {
		cfg := &config.Config{Applications: []config.Application{{
			Name: fmt.Sprint("fleet", i), URL: "https://platform.example", AppID: "app", Secret: "secret", Settings: config.DefaultSettings(),
		}}}
		if i == 2 {
			cfg.Applications[0].Settings.CallTimeout++
		}
		if err := e.Apply(cfg); err != nil {
			t.Fatal(err)
		}
		if transports != want {
			t.Errorf("configuration %d: %d transports, want %d", i, transports, want)
		}
	}
}

// What becomes of an application is logged once, not at every scrape.
func TestLogOfAnApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		s := newLoggedSite(t, &logged, []config.Task{{TaskID: "t1", Name: "a"}})
		s.addTask("t1", pending(10))
		look := func(what string, length time.Duration, want ...string) {
			t.Helper()
			logged.Reset()
			for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(15 * time.Second) {
				s.scrape(t)
			}
			lines := strings.Split(strings.TrimSuffix(logged.String(), "\n"), "\n")
			if logged.Len() == 0 {
				lines = nil
			}
			ok := len(lines) == len(want)
			for i := 0; ok && i < len(want); i++ {
				ok = strings.Contains(lines[i], want[i])
			}
			if !ok {
				t.Errorf("%s: want %q:\n%s", what, want, &logged)
			}
		}
		look("at the beginning", 5*time.Minute, "covers the configured tasks")
		s.Set(northboundtest.WithCallLimit(1))
		look("throttled", 2*time.Minute, "the platform throttles")
		s.Set(northboundtest.WithCallLimit(0))
		look("not any more", 30*time.Minute, "the allowance is whole again")
		s.SetFrozen("app", true)
		s.RevokeToken("app")
		look("frozen", 5*time.Minute, "application is down", "died before its time")
		s.SetFrozen("app", false)
		look("as before", 10*time.Minute, "application is up again")
		s.settings().CallsPerMinute = 4
		s.apply(t)
		look("just enough", 5*time.Minute, "covers the configured tasks")
		s.settings().CallsPerMinute = 3
		s.apply(t)
		look("too little", 5*time.Minute, "does not cover the configured tasks")
	})
}

// What a probe brings, under which name, and whether it waits for a call.
func TestProbedTasks(t *testing.T) {
	twice := []config.Task{
		{TaskID: "t1", Name: "a", Labels: map[string]string{"team": "x"}},
		{TaskID: "t1", Name: "b", Labels: map[string]string{"team": "y"}},
		{TaskID: "t2", Name: "c"},
	}
	for name, test := range map[string]struct {
		probe config.Task
		known bool // read before
		want  string
		reads bool // though a call has to be waited for
	}{
		"configured":                   {config.Task{TaskID: "t2"}, true, `task="c"`, false},
		"configured, not yet read":     {config.Task{TaskID: "t2"}, false, `task="c"`, true},
		"by the first of two names":    {config.Task{TaskID: "t1"}, true, `task="a",task_name="name of t1",task_type="DeviceCmd",team="x"`, false},
		"by the other of two names":    {config.Task{TaskID: "t1", Name: "b"}, true, `task="b",task_name="name of t1",task_type="DeviceCmd",team="y"`, false},
		"by a name of its own":         {config.Task{TaskID: "t1", Name: "d"}, true, `task="d",task_name="name of t1",task_type="DeviceCmd"`, false},
		"not configured":               {config.Task{TaskID: "t3"}, true, `task="t3"`, true},
		"not configured, not yet read": {config.Task{TaskID: "t3"}, false, `task="t3"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, twice)
				for _, id := range []string{"t1", "t2", "t3"} {
					s.addTask(id, pending(10))
				}
				if test.known {
					s.probe(t, test.probe)
				}
				left := int(s.probe(t, config.Task{TaskID: "gone"})[`api_calls_available{}`])
				s.settings().CallsPerMinute -= left // for 5 s more
				s.apply(t)
				time.Sleep(55 * time.Second)
				s.ResetCalls()
				start := time.Now()
				got := s.probe(t, test.probe)
				if reads := len(s.Calls()) > 0; reads != test.reads || (time.Since(start) > 0) != reads {
					t.Errorf("read: %v, after %v", reads, time.Since(start))
				}
				found := false
				for name := range got.only("task_info") {
					found = found || strings.Contains(name, test.want)
				}
				if !found {
					t.Errorf("want %s: %v", test.want, got.only("task_info"))
				}
			})
		})
	}
}

// A call is repeated twice, but not while the platform is out of reach as it was
// before: then the next scrape is the repeat.
func TestWhenCallsAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		s := newSite(t, []config.Task{{TaskID: "t1", Name: "a"}}, northboundtest.WithMiddleware(func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if down.Load() && r.URL.Query().Get("taskId") != "" {
					w.WriteHeader(http.StatusBadGateway)
					return
				}
				h.ServeHTTP(w, r)
			})
		}))
		s.addTask("t1", pending(10))
		calls := 0.
		for i, scrape := range []struct {
			down bool
			want float64 // calls
		}{
			{true, 3}, // the sign-in was answered
			{true, 3}, // so it was before
			{true, 1},
			{false, 1},
			{true, 3},
			{true, 1},
		} {
			down.Store(scrape.down)
			total := s.scrape(t)[`api_requests_total{operation="task_details"}`]
			if got := total - calls; got != scrape.want {
				t.Errorf("scrape %d: %v calls, want %v", i, got, scrape.want)
			}
			calls = total
			time.Sleep(15 * time.Second)
		}
	})
}

// What a task suffers from is logged once, under the first of its names.
func TestRemarkOfATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		s := newLoggedSite(t, &logged, []config.Task{
			{TaskID: "t1", Name: "other"}, {TaskID: "t2", Name: "a"}, {TaskID: "t2", Name: "b"},
		})
		s.addTask("t1", pending(10))
		rows := make(northboundtest.Rows, 3000)
		for i := range rows {
			rows[i].Status = "Paused"
		}
		s.addTask("t2", rows)
		for range 2 {
			s.scrape(t)
			time.Sleep(15 * time.Second)
		}
		lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
		if len(lines) != 1 || !strings.Contains(lines[0], `task=a task_id=t2 msg="task cannot be told exactly"`) {
			t.Errorf("%s", &logged)
		}
	})
}

// failing adds a task with n rows whose codes have to be read.
func (s *site) failing(id string, n int) {
	s.addTask(id, northboundtest.Uniform(n, northboundtest.Subtask{Status: "Fail", Code: "1"}))
}

// Where there are calls enough, one scrape reads all rows, also of tasks that
// made way for others.
func TestRowsOfTasksThatMadeWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks, _ := smallTasks(7)
		s := newSite(t, tasks, northboundtest.WithCallLimit(0))
		for _, task := range tasks {
			s.failing(task.TaskID, 3000)
		}
		s.settings().CallsPerMinute = 10_000
		s.apply(t)
		got := s.scrape(t)
		for _, task := range tasks {
			if n := got[`subtask_errors{error_code="1",status="Fail",task="`+task.Name+`"}`]; n != 3000 {
				t.Errorf("%s: %v of 3000 rows are read", task.Name, n)
			}
		}
	})
}

// The rows of a huge task leave the calls that the numbers of all tasks want, as
// soon as it is known how often that is.
func TestRowsLeaveCallsForNumbers(t *testing.T) {
	for _, huge := range []int{1, 6} { // less and more than are read at a time
		rowsLeaveCallsForNumbers(t, huge)
	}
}

func rowsLeaveCallsForNumbers(t *testing.T, huge int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tasks, add := smallTasks(2)
		for i := range huge {
			tasks = append(tasks, config.Task{TaskID: fmt.Sprint("huge", i), Name: fmt.Sprint("huge", i)})
		}
		s := newSite(t, tasks, northboundtest.WithCallLimit(0))
		add(s)
		for _, task := range tasks[2:] {
			s.failing(task.TaskID, 50_000)
		}
		s.settings().CallsPerMinute = 60 * huge
		s.apply(t)
		for i := range 12 {
			for series, at := range s.scrape(t).only("task_last_refresh_timestamp_seconds") {
				if age := float64(time.Now().UnixMilli())/1000 - at; i > 4 && age > 1 {
					t.Errorf("%d huge: scrape %d: %s: %v s old", huge, i, series, age)
				}
			}
			time.Sleep(15 * time.Second)
		}
	})
}

// The rows of tasks come after the numbers of all.
func TestNumbersComeBeforeRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks, _ := smallTasks(7)
		s := newSite(t, tasks, slow(300*time.Millisecond))
		for _, task := range tasks {
			s.failing(task.TaskID, 10_000)
		}
		got := s.scrape(t)
		for _, task := range tasks {
			if got[`task_up{task="`+task.Name+`"}`] != 1 {
				t.Errorf("%s is not read", task.Name)
			}
		}
		time.Sleep(time.Minute) // what was begun ends
	})
}
