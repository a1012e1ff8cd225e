package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// reloading is a reloader at work on files in a folder.
type reloading struct {
	*Reloader
	t       *testing.T
	file    string
	applied []*Config
	refusal error // of apply; nil: it works
	logged  bytes.Buffer
}

func newReloading(t *testing.T, namesAndTexts ...string) *reloading {
	t.Helper()
	r := &reloading{t: t, file: write(t, namesAndTexts...)}
	r.Reloader = NewReloader(r.file, func(c *Config) error {
		if r.refusal == nil {
			r.applied = append(r.applied, c)
		}
		return r.refusal
	}, log.NewLogfmtLogger(&r.logged))
	return r
}

func (r *reloading) start() {
	r.t.Helper()
	if err := r.Reload(); err != nil {
		r.t.Fatal(err)
	}
}

// put replaces a file at once, as its authors are told to.
func (r *reloading) put(name, text string) {
	r.t.Helper()
	file := filepath.Join(filepath.Dir(r.file), name)
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloading) successful() float64 { return testutil.ToFloat64(r.Reloader.successful) }

func (r *reloading) timestamp() time.Time {
	return time.Unix(0, int64(testutil.ToFloat64(r.Reloader.timestamp)*1e9))
}

// tasks are the identifiers of the tasks in force.
func (r *reloading) tasks() string {
	var ids []string
	for _, task := range r.Current().Applications[0].AllTasks() {
		ids = append(ids, task.TaskID)
	}
	return strings.Join(ids, " ")
}

// refuse has apply fail from now on. Like all of apply's work, it is guarded by
// the reloader's own lock.
func (r *reloading) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusal = err
}

func (r *reloading) wantLogged(times int, text string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := strings.Count(r.logged.String(), text); n != times {
		r.t.Errorf("logged %d times, want %d: %s\n%s", n, times, text, &r.logged)
	}
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloading(t, "c.yml", minimal)
		if r.Current() != nil {
			t.Error("a configuration is in force before one was read")
		}
		r.start()
		if r.Current() != r.applied[0] || r.successful() != 1 || !r.timestamp().Equal(time.Now()) {
			t.Errorf("applied %v, in force %v, successful %v at %v", r.applied, r.Current(), r.successful(), r.timestamp())
		}

		time.Sleep(time.Hour)
		r.put("c.yml", strings.ReplaceAll(minimal, "fleet", "meters"))
		r.start()
		if got := r.Current().Applications[0].Name; got != "meters" || !r.timestamp().Equal(time.Now()) {
			t.Errorf("application %s in force since %v", got, r.timestamp())
		}
	})
}

func TestReloadOfWhatIsBrokenChangesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		broken  string
		refusal error
		want    string
	}{
		"syntax":               {broken: "applications: [", want: "c.yml:1: is not YAML"},
		"values":               {broken: minimal + "    page_size: 0\n", want: "c.yml:6: applications[0].page_size: must be"},
		"a file that is named": {broken: strings.Replace(minimal, "secret: s3cret", "secret_file: none", 1), want: "cannot read the secret_file"},
		"no file":              {want: "create the file or name another"},
		"refused":              {broken: minimal, refusal: errors.New("cannot connect like that"), want: "cannot connect like that"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReloading(t, "c.yml", minimal)
				r.start()
				before, since := r.Current(), r.timestamp()

				time.Sleep(time.Hour)
				r.refuse(tc.refusal)
				if tc.broken == "" {
					if err := os.Remove(r.file); err != nil {
						t.Fatal(err)
					}
				} else {
					r.put("c.yml", tc.broken)
				}
				err := r.Reload()
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want one with %q", err, tc.want)
				}
				if r.Current() != before || len(r.applied) != 1 {
					t.Error("another configuration is in force")
				}
				if r.successful() != 0 || !r.timestamp().Equal(since) {
					t.Errorf("successful %v at %v, want 0 at %v", r.successful(), r.timestamp(), since)
				}
				r.wantLogged(1, "level=error")

				r.refuse(nil)
				r.put("c.yml", minimal)
				r.start()
				if r.successful() != 1 {
					t.Error("not successful when mended")
				}
			})
		})
	}
}

func TestFirstLoadIsNotLogged(t *testing.T) {
	r := newReloading(t, "c.yml", "applications: []")
	if err := r.Reload(); err == nil || r.Current() != nil {
		t.Errorf("error %v, in force %v", err, r.Current())
	}
	if r.logged.Len() > 0 {
		t.Errorf("logged:\n%s", &r.logged)
	}
}

func TestReloadsComeOneAtATime(t *testing.T) {
	var active atomic.Int32
	r := NewReloader(write(t, "c.yml", minimal), func(*Config) error {
		if active.Add(1) > 1 {
			t.Error("two configurations are put in force at once")
		}
		time.Sleep(10 * time.Millisecond)
		active.Add(-1)
		return nil
	}, log.NewNopLogger())
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			if err := r.Reload(); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

const withTaskFiles = minimal + "    task_files: ['*.tasks.yml']\n"

func TestWatch(t *testing.T) {
	const interval = 5 * time.Second
	type step struct {
		file, text string // an empty text removes the file
		want       string // tasks
		successful float64
		applied    int
		logged     int // lines with level=error so far
	}
	half := "- targets: [a, b"
	for name, steps := range map[string][]step{
		"nothing changes": {
			{want: "a", successful: 1, applied: 1},
			{want: "a", successful: 1, applied: 1},
		},
		"a file is written, added and removed": {
			{file: "1.tasks.yml", text: "- targets: [a, b]", want: "a b", successful: 1, applied: 2},
			{file: "2.tasks.yml", text: "- targets: [c]", want: "a b c", successful: 1, applied: 3},
			{file: "1.tasks.yml", want: "c", successful: 1, applied: 4},
		},
		"half written": {
			{file: "1.tasks.yml", text: half, want: "a", applied: 1, logged: 1},
			{want: "a", applied: 1, logged: 1},
			{file: "2.tasks.yml", text: "- targets: [c]", want: "a", applied: 1, logged: 1},
			{file: "1.tasks.yml", text: half + "]", want: "a b c", successful: 1, applied: 2, logged: 1},
			{file: "1.tasks.yml", text: half, want: "a b c", applied: 2, logged: 2},
		},
		"broken, and back to what it was": {
			{file: "2.tasks.yml", text: half, want: "a", applied: 1, logged: 1},
			{file: "2.tasks.yml", want: "a", successful: 1, applied: 2, logged: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReloading(t, "c.yml", withTaskFiles, "1.tasks.yml", "- targets: [a]")
				r.start()
				go r.Watch(t.Context(), interval)
				for i, s := range steps {
					switch {
					case s.text != "":
						r.put(s.file, s.text)
					case s.file != "":
						if err := os.Remove(filepath.Join(filepath.Dir(r.file), s.file)); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(interval)
					synctest.Wait()
					r.mu.Lock()
					got := step{s.file, s.text, r.tasks(), r.successful(), len(r.applied), strings.Count(r.logged.String(), "level=error")}
					r.mu.Unlock()
					if diff := cmp.Diff(s, got, cmp.AllowUnexported(step{})); diff != "" {
						t.Errorf("step %d (-want +got):\n%s\n%s", i, diff, &r.logged)
					}
				}
			})
		})
	}
}

func TestWatchDoesNotHideABrokenMainFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloading(t, "c.yml", withTaskFiles, "1.tasks.yml", "- targets: [a]")
		r.start()
		go r.Watch(t.Context(), time.Second)
		r.put("c.yml", "applications: [")
		if err := r.Reload(); err == nil {
			t.Fatal("reloaded")
		}
		r.put("1.tasks.yml", "- targets: [a, b]")
		time.Sleep(time.Second)
		synctest.Wait()
		if got := r.tasks(); got != "a b" || r.successful() != 0 {
			t.Errorf("tasks %s, successful %v; want the new ones, and 0", got, r.successful())
		}
	})
}

func TestWatchTriesAgainWhatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloading(t, "c.yml", withTaskFiles, "1.tasks.yml", "- targets: [a]")
		r.start()
		go r.Watch(t.Context(), time.Second)
		r.refuse(errors.New("not now"))
		r.put("1.tasks.yml", "- targets: [b]")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := r.tasks(); got != "a" || r.successful() != 0 {
			t.Errorf("tasks %s, successful %v while refused", got, r.successful())
		}
		r.refuse(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := r.tasks(); got != "b" || r.successful() != 1 {
			t.Errorf("tasks %s, successful %v afterwards", got, r.successful())
		}
		r.wantLogged(1, "not now")
	})
}

func TestReloaderMetrics(t *testing.T) {
	r := newReloading(t, "c.yml", minimal)
	problems, err := testutil.CollectAndLint(r.Reloader)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	const want = `
# HELP huawei_iot_batch_exporter_config_last_reload_success_timestamp_seconds When a configuration, or tasks from task files, were last put in force.
# TYPE huawei_iot_batch_exporter_config_last_reload_success_timestamp_seconds gauge
huawei_iot_batch_exporter_config_last_reload_success_timestamp_seconds 0
# HELP huawei_iot_batch_exporter_config_last_reload_successful Whether the configuration file and the task files were read and put in force when that was last tried.
# TYPE huawei_iot_batch_exporter_config_last_reload_successful gauge
huawei_iot_batch_exporter_config_last_reload_successful 0
`
	if err := testutil.CollectAndCompare(r.Reloader, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
