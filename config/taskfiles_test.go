package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTaskFiles(t *testing.T) {
	index := 7
	for name, tc := range map[string]struct {
		patterns string
		files    []string
		want     []Task
	}{
		"every key": {
			patterns: "fleet.yml",
			files: []string{"fleet.yml", `
- targets: [t1]
  labels:
    __name: n
    __app_id: a
    __status: Fail
    __device_id: d
    __command_id: c
    __index: 7
    __node_id: "0123"
    team: fleet
`},
			want: []Task{{
				TaskID: "t1", Name: "n", AppID: "a", Status: "Fail", DeviceID: "d", CommandID: "c", Index: &index, NodeID: "0123",
				Labels: map[string]string{"team": "fleet"},
			}},
		},
		"groups": {
			patterns: "fleet.yml",
			files:    []string{"fleet.yml", "- targets: [t1, t2]\n  labels: {team: a}\n- targets:\n  - t3\n"},
			want: []Task{
				{TaskID: "t1", Name: "t1", Labels: map[string]string{"team": "a"}},
				{TaskID: "t2", Name: "t2", Labels: map[string]string{"team": "a"}},
				{TaskID: "t3", Name: "t3"},
			},
		},
		"JSON": {
			patterns: "fleet.json",
			files:    []string{"fleet.json", "[\n\t{\"targets\":[\"a\"],\n\t\"labels\":{\"x\":\"\\u00e9 \\\\ \\\"\\n\"}}\n]\n"},
			want:     []Task{{TaskID: "a", Name: "a", Labels: map[string]string{"x": "é \\ \"\n"}}},
		},
		"no tasks": {
			patterns: "fleet.yml",
			files:    []string{"fleet.yml", "[]\n"},
		},
		"no file": {
			patterns: "fleet.yml, none/*.yml",
		},
		"wildcards, each file once and in order": {
			patterns: "tasks/*.yml, tasks/b.yml, 'tasks/[d].yml'",
			files: []string{
				"tasks/b.yml", "- targets: [b]", "tasks/a.yml", "- targets: [a]", "tasks/c.json", "broken",
				"tasks/x.yml/y.yml", "in a folder", "tasks/d.yml", "- targets: [d]",
			},
			want: []Task{{TaskID: "a", Name: "a"}, {TaskID: "b", Name: "b"}, {TaskID: "d", Name: "d"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := mustLoad(t, write(t, append([]string{"c.yml", minimal + "    tasks: [task_id: t0]\n    task_files: [" + tc.patterns + "]\n"}, tc.files...)...))
			want := append([]Task{{TaskID: "t0", Name: "t0"}}, tc.want...)
			if diff := cmp.Diff(want, cfg.Applications[0].AllTasks()); diff != "" {
				t.Errorf("tasks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTaskFilesComplain(t *testing.T) {
	const config = minimal + "    tasks: [task_id: t0]\n    task_files: [fleet.yml, more.yml]\n"
	for name, tc := range map[string]struct {
		files []string
		want  []string
	}{
		"empty":        {[]string{"fleet.yml", ""}, []string{`fleet.yml: is empty: write [] if there are no tasks`}},
		"half written": {[]string{"fleet.yml", "- targets: [a]\n- targets: [b"}, []string{`fleet.yml:1: is not YAML: did not find expected ',' or ']'`}},
		"not a list":   {[]string{"fleet.yml", "targets: [a]\n"}, []string{`fleet.yml:1: targets: is a mapping of keys to values, but must be a list`}},
		"impossible": {
			[]string{"fleet.yml", `- targets: [a, b]
  labels:
    __name: n
    __status: Failed
    __index: seven
    __meta_x: y
    task: x
- labels: {__index: "-1"}
- targets: [""]
`},
			[]string{
				`fleet.yml:3: [0].labels.__name: would name 2 tasks alike: give each its own element of the list`,
				`fleet.yml:4: [0].labels.__status: must be one of Pending, WaitResult, Success, Fail, Timeout`,
				`fleet.yml:5: [0].labels.__index: must be a whole number`,
				`fleet.yml:6: [0].labels.__meta_x: is not a known label that begins with __; known are __name, __app_id, __status, __device_id, __command_id, __index, __node_id`,
				`fleet.yml:7: [0].labels.task: is a label of the exporter's own: choose another name`,
				`fleet.yml:8: [1].targets: is missing: list the identifiers of the tasks`,
				`fleet.yml:8: [1].labels.__index: must not be negative`,
				`fleet.yml:9: [2].targets[0]: is empty: give the task's identifier on the platform`,
				`fleet.yml:1: [0].targets[1]: "n" is already the name of the task at fleet.yml:1: give one of them another name, in a task file with the label __name`,
			},
		},
		"of another form": {
			[]string{"fleet.yml", "- targets: [a]\n  source: x\n- targets: [[x]]\n-\n"},
			[]string{`fleet.yml:4: [2]: has nothing where a key or a list's element should be: give one, or remove the dash or colon`},
		},
		"JSON of another form": {
			[]string{"fleet.yml", "[\n  {\n    \"targets\": [\"a\"],\n    \"source\": \"x\"\n  }\n]\n"},
			[]string{`fleet.yml:4: [0].source: is not a key that is known here: see the configuration reference in the README`},
		},
		"names taken": {
			[]string{"fleet.yml", "- targets: [t0]\n- targets: [t1]\n", "more.yml", "- targets: [t1]\n"},
			[]string{
				`fleet.yml:1: [0].targets[0]: "t0" is already the name of the task at c.yml:6: give one of them another name, in a task file with the label __name`,
				`more.yml:1: [0].targets[0]: "t1" is already the name of the task at fleet.yml:2: give one of them another name, in a task file with the label __name`,
			},
		},
		"both files": {
			[]string{"fleet.yml", "", "more.yml", "x"},
			[]string{`fleet.yml: is empty: write [] if there are no tasks`, `more.yml:1: is a text, but must be a list`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, append([]string{"c.yml", config}, tc.files...)...)
			_, err := Load(file)
			if diff := cmp.Diff(tc.want, complaints(err, file)); diff != "" {
				t.Errorf("complaints (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadComplainsAboutAllFilesAtOnce(t *testing.T) {
	file := write(t, "c.yml", minimal+"    page_size: 0\n    task_files: [fleet.yml]\n", "fleet.yml", "- {}\n")
	_, err := Load(file)
	want := []string{
		`c.yml:6: applications[0].page_size: must be at least 1`,
		`fleet.yml:1: [0].targets: is missing: list the identifiers of the tasks`,
	}
	if diff := cmp.Diff(want, complaints(err, file)); diff != "" {
		t.Errorf("complaints (-want +got):\n%s", diff)
	}
}

func TestTaskFileSharedByApplications(t *testing.T) {
	two := minimal + "    task_files: [fleet.yml]\n" +
		"  - {name: b, url: https://192.0.2.1, app_id: app2, secret: x, task_files: [fleet.yml]}\n"
	t.Run("good", func(t *testing.T) {
		cfg := mustLoad(t, write(t, "c.yml", two, "fleet.yml", "- targets: [a]\n"))
		if diff := cmp.Diff(cfg.Applications[0].FileTasks, cfg.Applications[1].FileTasks); diff != "" {
			t.Errorf("tasks differ:\n%s", diff)
		}
	})
	t.Run("complained about once", func(t *testing.T) {
		file := write(t, "c.yml", two, "fleet.yml", "- {}\n")
		_, err := Load(file)
		if diff := cmp.Diff([]string{`fleet.yml:1: [0].targets: is missing: list the identifiers of the tasks`}, complaints(err, file)); diff != "" {
			t.Errorf("complaints (-want +got):\n%s", diff)
		}
	})
}

func TestWithTaskFilesFollowsChanges(t *testing.T) {
	file := write(t, "c.yml", minimal+"    task_files: [tasks/*.yml]\n", "tasks/a.yml", "- targets: [a]\n")
	a, b := filepath.Join(filepath.Dir(file), "tasks/a.yml"), filepath.Join(filepath.Dir(file), "tasks/b.yml")
	cfg := mustLoad(t, file)
	ids := func(c *Config) string {
		var ids []string
		for _, task := range c.Applications[0].AllTasks() {
			ids = append(ids, task.TaskID)
		}
		return strings.Join(ids, " ")
	}
	writeFile := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fingerprint := cfg.TaskFilesFingerprint()
	for _, step := range []struct {
		name    string
		change  func()
		same    bool
		want    string
		wantErr bool
	}{
		{name: "nothing", change: func() {}, same: true, want: "a"},
		{name: "another file", change: func() { writeFile(b, "- targets: [b]\n") }, want: "a b"},
		{name: "other content of the same size", change: func() {
			writeFile(a, "- targets: [c]\n")
			if err := os.Chtimes(a, time.Time{}, time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
		}, want: "c b"},
		{name: "truncated", change: func() { writeFile(a, "") }, wantErr: true},
		{name: "written", change: func() { writeFile(a, "- targets: [d, e]\n") }, want: "d e b"},
		{name: "removed", change: func() {
			if err := errors.Join(os.Remove(a), os.Remove(b)); err != nil {
				t.Fatal(err)
			}
		}, want: ""},
	} {
		t.Run(step.name, func(t *testing.T) {
			step.change()
			before := fingerprint
			fingerprint = cfg.TaskFilesFingerprint()
			if same := fingerprint == before; same != step.same {
				t.Errorf("fingerprint the same: %v", same)
			}
			next, err := cfg.WithTaskFiles()
			if step.wantErr {
				if problem, ok := errors.AsType[*Problem](err); !ok || problem.File != a || next != nil {
					t.Errorf("got %v, %v", next, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := ids(next); got != step.want {
				t.Errorf("tasks %q, want %q", got, step.want)
			}
			if got := ids(cfg); got != "a" {
				t.Errorf("the configuration at hand changed to %q", got)
			}
		})
	}
}

func TestWithTaskFilesOfUnreadableFolder(t *testing.T) {
	// A file in the folder's place can be searched by nobody, not even root.
	file := write(t, "c.yml", minimal+"    task_files: [tasks/*.yml]\n", "tasks", "")
	_, err := Load(file)
	want := []string{`c.yml:6: applications[0].task_files[0]: cannot be searched: open tasks: not a directory`}
	if diff := cmp.Diff(want, complaints(err, file)); diff != "" {
		t.Errorf("complaints (-want +got):\n%s", diff)
	}
}
