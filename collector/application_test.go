package collector_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
		s.settings().CallsPerMinute = 3
		s.apply(t)
		look("too little", 5*time.Minute, "does not cover the configured tasks")
	})
}
