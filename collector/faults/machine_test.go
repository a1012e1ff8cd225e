package faults

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// TestMachine: what can happen to the files that the exporter reads, and to the
// process.
func TestMachine(t *testing.T) {
	inRealTime(t, patiently([]realFault{
		// The configuration.
		{
			fault: fault{name: "SIGHUP again and again", hits: nothing, maySay: reloads},
			during: func(_ *testing.T, w *realWorld) {
				for range 200 {
					w.hangUp()
					time.Sleep(5 * time.Millisecond)
				}
			},
		},
		{
			fault: fault{name: "a configuration that is replaced again and again", hits: nothing, maySay: reloads, check: lastReload(1)},
			during: func(_ *testing.T, w *realWorld) {
				whole := w.read(configFile)
				for i := range 100 {
					w.replace(configFile, fmt.Sprintf("# %d\n%s", i, whole))
					w.hangUp()
				}
			},
		},
		{
			fault: fault{name: "a configuration that is written little by little", hits: nothing, maySay: append(reloads, "configuration cannot be reloaded")},
			during: func(t *testing.T, w *realWorld) {
				whole := w.read(configFile)
				for range 20 {
					half, _, _ := strings.Cut(whole, "other-id")
					w.put(configFile, half)
					w.hangUp()
					w.waitFor(t, `exporter_config_last_reload_successful`, 0)
					w.put(configFile, whole)
					w.hangUp()
					w.waitFor(t, `exporter_config_last_reload_successful`, 1)
				}
			},
		},
		{
			fault: fault{name: "a configuration that is gone", hits: nothing, says: []string{"configuration cannot be reloaded"}, maySay: reloads},
			begin: func(w *realWorld) {
				w.replace("saved", w.read(configFile))
				w.remove(configFile)
				w.hangUp()
			},
			during: func(t *testing.T, w *realWorld) { w.waitFor(t, `exporter_config_last_reload_successful`, 0) },
			end: func(w *realWorld) {
				w.replace(configFile, w.read("saved"))
				w.hangUp()
			},
		},

		// Task files.
		brokenTasks("half written", func(w *realWorld) { w.put(tasksFile, "- targets: [ext") }),
		brokenTasks("empty after the first list", func(w *realWorld) { w.put(tasksFile, "- targets: [extra]\n- targets:\n  - ") }),
		brokenTasks("that leads nowhere", func(w *realWorld) {
			w.remove(tasksFile)
			if err := os.Symlink(tasksFile, filepath.Join(w.dir, tasksFile)); err != nil {
				panic(err)
			}
		}),
		goneTasks("that is gone", func(*realWorld) {}),
		goneTasks("that is a folder now", func(w *realWorld) { w.makeFolder(tasksFile) }),

		// Credentials.
		{
			fault: fault{
				name: "a secret that is replaced on disk and at the platform", hits: nothing,
				mayCount: []string{"task_details 403 1010005"}, maySay: []string{"the access token died before its time"},
			},
			begin: func(w *realWorld) {
				w.replace("app.secret", newSecret)
				w.fleet.SetSecret("fleet-id", newSecret)
				w.fleet.RevokeToken("fleet-id")
			},
		},
		{
			fault: fault{
				name: "a secret that is replaced at the platform, and on disk later", hits: application,
				counted: []string{"login 401 100208", "task_details 403 1010005"},
				says:    []string{"application is down", "the access token died before its time"},
			},
			begin: func(w *realWorld) {
				w.fleet.SetSecret("fleet-id", newSecret)
				w.fleet.RevokeToken("fleet-id")
			},
			end: func(w *realWorld) { w.replace("app.secret", newSecret+"\n") },
		},
		{
			fault: fault{name: "a secret that is gone while nobody needs it", hits: nothing},
			begin: func(w *realWorld) { w.remove("app.secret") },
			end:   func(w *realWorld) { w.replace("app.secret", secret) },
		},
		noSecret("that is gone", func(w *realWorld) { w.remove("app.secret") }),
		noSecret("that is empty", func(w *realWorld) { w.put("app.secret", "\n") }),
		noSecret("that is a folder now", func(w *realWorld) {
			w.remove("app.secret")
			w.makeFolder("app.secret")
		}),
		replacedToken(),
		{
			fault:   fault{name: "an access token that dies, and is replaced later", hits: application, counted: []string{"task_details 403 1010005"}},
			prepare: withAccessToken,
			begin:   func(w *realWorld) { w.replace("next", w.fleet.StealToken("fleet-id")) },
			end:     func(w *realWorld) { w.replace("app.token", w.read("next")) },
		},

		// The process.
	}))
}

// TestDescriptors: connections that say nothing take every descriptor. The
// exporter can call no platform then, since certificates are read anew for that;
// it says so, to whoever has a connection, and recovers.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	w := idleWorld(t)
	w.shell = "ulimit -n 40"
	w.start(t)
	w.settle(t)

	var idle []net.Conn
	for range 60 {
		idle = append(idle, w.connect(t))
	}
	w.waitUntil(t, "it says so", func() bool {
		w.advance()
		got := w.scrape(t)
		return got[`application_up{application="fleet"}`] == 0 && got.errors()["task_details tls"] > 0 &&
			strings.Contains(w.log.String(), "too many open files")
	})
	for _, connection := range idle {
		_ = connection.Close()
	}
	w.client.CloseIdleConnections()
	fault{within: patience}.recover(t, w.world)
	w.checkCalls(t)
	w.checkSecrets(t)
	w.checkLeaks(t)
}

const (
	configFile = "huawei_iot_batch.yml"
	tasksFile  = "extra.tasks.yml"
	newSecret  = secret + "-of-another-day"
)

// reloads are what a reload says.
var reloads = []string{"configuration reloaded", "task files reloaded", "the allowance covers the configured tasks"}

// lastReload checks that the last reload worked, or did not.
func lastReload(want float64) func(*testing.T, *world, metrics) {
	return func(t *testing.T, _ *world, got metrics) {
		if is := got[`exporter_config_last_reload_successful{}`]; is != want {
			t.Errorf("last_reload_successful is %v, want %v", is, want)
		}
	}
}

// withTaskFile adds a task in a task file.
func withTaskFile(_ *testing.T, w *realWorld) []string {
	w.fleet.AddTask(northboundtest.Task{
		ID: "extra", AppID: "fleet-id", Subtasks: northboundtest.Uniform(rows, northboundtest.Subtask{Status: northboundtest.Pending}),
	})
	w.put(tasksFile, "- targets: [extra]\n")
	return nil
}

// brokenTasks is a task file that cannot be read. Its tasks stay, and are read.
func brokenTasks(name string, breaks func(*realWorld)) realFault {
	return realFault{
		fault: fault{
			name: "a task file " + name, hits: nothing,
			says: []string{"task files cannot be read"}, maySay: reloads,
			check: func(t *testing.T, _ *world, got metrics) {
				if up := got[`task_up{application="fleet",task="extra"}`]; up != 1 {
					t.Errorf("task_up of the task in the file is %v", up)
				}
			},
		},
		prepare: withTaskFile,
		begin:   breaks,
		during:  func(t *testing.T, w *realWorld) { w.waitFor(t, `exporter_config_last_reload_successful`, 0) },
		end: func(w *realWorld) {
			w.remove(tasksFile)
			w.replace(tasksFile, "- targets: [extra] # again\n")
			for began := time.Now(); !strings.Contains(w.log.String(), "task files reloaded") && time.Since(began) < patience; {
				time.Sleep(w.interval)
			}
		},
	}
}

// goneTasks is a task file that is no file any more. Its tasks go with it.
func goneTasks(name string, instead func(*realWorld)) realFault {
	return realFault{
		fault:   fault{name: "a task file " + name, hits: nothing, maySay: reloads},
		prepare: withTaskFile,
		begin: func(w *realWorld) {
			w.remove(tasksFile)
			instead(w)
		},
		during: func(t *testing.T, w *realWorld) { w.waitFor(t, `task_up{application="fleet",task="extra"}`, -1) },
	}
}

// noSecret is a secret that cannot be read when it is needed.
func noSecret(name string, breaks func(*realWorld)) realFault {
	return realFault{
		fault: fault{
			name: "a secret " + name, hits: application, counted: []string{"task_details 403 1010005"},
			says: []string{"application is down", "the access token died before its time"},
		},
		begin: func(w *realWorld) {
			breaks(w)
			w.fleet.RevokeToken("fleet-id")
		},
		end: func(w *realWorld) {
			_ = os.Remove(filepath.Join(w.dir, "app.secret")) // it may be gone
			w.replace("app.secret", secret)
		},
	}
}

// withAccessToken has another program sign in for the exporter.
func withAccessToken(_ *testing.T, w *realWorld) []string {
	w.edit("secret_file: app.secret", "access_token_file: app.token")
	w.put("app.token", w.fleet.StealToken("fleet-id"))
	return nil
}

// replacedToken has another program sign in, whose token takes the place of the
// one that dies. Calls that arrive between the two wait: to them it is a moment.
func replacedToken() realFault {
	var moment sync.RWMutex
	return realFault{
		fault: fault{
			name: "an access token that is replaced in its file", hits: nothing,
			mayCount: []string{"task_details 403 1010005"}, maySay: []string{"the access token died before its time"},
		},
		prepare: withAccessToken,
		begin: func(w *realWorld) {
			w.fleet.breaks(func(rw http.ResponseWriter, r *http.Request, sound http.Handler) {
				moment.RLock()
				defer moment.RUnlock()
				sound.ServeHTTP(rw, r)
			})
		},
		during: func(_ *testing.T, w *realWorld) {
			for range 5 {
				moment.Lock()
				w.replace("app.token", w.fleet.StealToken("fleet-id"))
				moment.Unlock()
				time.Sleep(w.interval)
			}
		},
	}
}

func (w *realWorld) makeFolder(name string) {
	if err := os.Mkdir(filepath.Join(w.dir, name), 0o700); err != nil {
		panic(err)
	}
}

// read returns the text of a file beside the configuration.
func (w *realWorld) read(name string) string {
	text, err := os.ReadFile(filepath.Join(w.dir, name)) //nolint:gosec // in the test's folder
	if err != nil {
		panic(err)
	}
	return string(text)
}

// replace replaces a file at once.
func (w *realWorld) replace(name, text string) {
	w.put(name+".new", text)
	if err := os.Rename(filepath.Join(w.dir, name+".new"), filepath.Join(w.dir, name)); err != nil {
		panic(err)
	}
}

// waitFor waits until a series, without the namespace and without task_id, has a
// value; -1 if there is to be none.
func (w *realWorld) waitFor(t *testing.T, series string, want float64) {
	t.Helper()
	// Another scrape of the same world: what the runner keeps of its own stays.
	other := &world{get: w.get, log: w.log, fleet: w.fleet, other: w.other}
	if !strings.Contains(series, "{") {
		series += "{}"
	}
	w.waitUntil(t, fmt.Sprintf("%s is %v", series, want), func() bool {
		is, ok := other.scrape(t)[series]
		return ok && is == want || !ok && want == -1
	})
}

func (w *realWorld) waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Errorf("not so after %s: %s", patience, what)
			return
		}
	}
}
