package config

import (
	"errors"
	"strings"
	"testing"
)

// checkOutcome fails unless err is made of problems that name a file, in a line
// of text each.
func checkOutcome(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	problems := flatten(err)
	if lines := strings.Count(err.Error(), "\n") + 1; lines != len(problems) {
		t.Errorf("%d lines of %d problems:\n%v", lines, len(problems), err)
	}
	for _, err := range problems {
		if p, ok := errors.AsType[*Problem](err); !ok || p.File == "" || p.Err == nil {
			t.Errorf("no problem with a file: %v", err)
		}
	}
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var errs []error
	for _, err := range joined.Unwrap() {
		errs = append(errs, flatten(err)...)
	}
	return errs
}

// FuzzLoad makes sure that whatever a file holds is either refused in single
// lines, or understood in a way that survives being written and read again.
func FuzzLoad(f *testing.F) {
	f.Add(minimal)
	for _, bad := range badConfigs {
		f.Add(bad.yaml)
	}
	for _, name := range []string{"huawei_iot_batch.yml", "minimal.yml"} {
		f.Add(readExample(f, name))
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := Load(write(t, "c.yml", text))
		checkOutcome(t, err)
		if err != nil {
			return
		}
		once, err := cfg.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(write(t, "c.yml", loadable(once)))
		if err != nil {
			t.Fatalf("%v\nin\n%s", err, once)
		}
		twice, err := again.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if string(once) != string(twice) {
			t.Errorf("first\n%s\nthen\n%s", once, twice)
		}
	})
}

// FuzzTaskFile does the same for task files, whose tasks have to be complete.
func FuzzTaskFile(f *testing.F) {
	for _, text := range []string{
		"", "[]", "- targets: [a, b]\n  labels: {team: x}\n", "- targets: [a]\n  labels: {__name: n, __index: 7, __status: Fail}\n",
		`[{"targets":["a\/b"],"labels":{"x":"\ud83d\ude00"}}]`, "- targets: [a]\n- targets: [b", "- labels: {__x: y}\n", "- &a {targets: [a]}\n- <<: *a\n",
	} {
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Fuzz(func(t *testing.T, text string, asJSON bool) {
		name := "fleet.yml"
		if asJSON {
			name = "fleet.json"
		}
		cfg, err := Load(write(t, "c.yml", minimal+"    task_files: ["+name+"]\n", name, text))
		checkOutcome(t, err)
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, task := range cfg.Applications[0].AllTasks() {
			if task.TaskID == "" || task.Name == "" || names[task.Name] {
				t.Errorf("task %+v", task)
			}
			names[task.Name] = true
		}
	})
}
