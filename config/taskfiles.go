package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
)

// WithTaskFiles returns a copy of the configuration in which every
// application's FileTasks are what its task files hold now. A file that a path
// without wildcard names need not exist.
//
// If a file is broken, perhaps because it is only half written, the error joins
// one [Problem] for everything that is wrong, and there is no copy: keep working
// with the configuration at hand.
func (c *Config) WithTaskFiles() (*Config, error) {
	next := *c
	next.Applications = slices.Clone(c.Applications)
	files := map[string]*taskFile{}
	var errs []error
	for i := range next.Applications {
		a, path := &next.Applications[i], applicationPath(i)
		owners := map[string]string{}
		for j := range a.Tasks {
			owner := element(child(path, "tasks"), j)
			claim(owners, a.Tasks[j].Name, c.doc.problem(owner, nil).where())
		}
		names, err := c.taskFiles(path, a)
		errs = append(errs, err)
		a.FileTasks = nil
		for _, name := range names {
			f, ok := files[name]
			if !ok {
				f = readTaskFile(name)
				files[name] = f
				errs = append(errs, f.doc.err())
			}
			errs = append(errs, f.claimNames(owners))
			a.FileTasks = append(a.FileTasks, f.tasks...)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &next, nil
}

// TaskFilesFingerprint changes when a task file appears, vanishes or is
// written, judged by names, sizes and times of modification, so that it is cheap
// to ask for often. Take it before [Config.WithTaskFiles]: then a file that is
// written in between is noticed the next time.
func (c *Config) TaskFilesFingerprint() string {
	var state strings.Builder
	for i := range c.Applications {
		names, err := c.taskFiles(applicationPath(i), &c.Applications[i])
		fmt.Fprintln(&state, i, err)
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil {
				fmt.Fprintf(&state, "%q %v\n", name, err)
				continue
			}
			fmt.Fprintf(&state, "%q %d %d %v\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
		}
	}
	hash := sha256.Sum256([]byte(state.String()))
	return hex.EncodeToString(hash[:])
}

// taskFiles returns the names of an application's task files that exist now,
// each once.
func (c *Config) taskFiles(path string, a *Application) ([]string, error) {
	var names []string
	var errs []error
	for i, pattern := range a.TaskFiles {
		matches, err := matchFiles(pattern)
		if err != nil {
			errs = append(errs, c.doc.problem(element(child(path, "task_files"), i), err))
		}
		for _, name := range matches {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, errors.Join(errs...)
}

// matchFiles returns the existing files that a pattern names, sorted. Unlike
// [filepath.Glob] it takes the folder literally, and an unreadable folder is an
// error: its tasks must not vanish silently.
func matchFiles(pattern string) ([]string, error) {
	dir, base := filepath.Split(pattern)
	if !hasWildcard(pattern) {
		if _, err := os.Stat(pattern); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return []string{pattern}, nil
	}
	entries, err := os.ReadDir(filepath.Clean(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be searched: %w", err)
	}
	var names []string
	for _, entry := range entries {
		// A pattern that is none has been complained about already.
		if ok, _ := filepath.Match(base, entry.Name()); ok && !entry.IsDir() {
			names = append(names, dir+entry.Name())
		}
	}
	return names, nil
}

func hasWildcard(pattern string) bool {
	return strings.ContainsAny(filepath.Base(pattern), "*?[")
}

// targetGroup is an element of a task file, in the form of Prometheus'
// file-based service discovery.
type targetGroup struct {
	Targets []string          `yaml:"targets"`
	Labels  map[string]string `yaml:"labels"`
}

// taskFile is a task file that has been read.
type taskFile struct {
	doc   *document
	tasks []Task
	paths []string // of the tasks' targets
}

func readTaskFile(name string) *taskFile {
	doc, root := readDocument(name, "write [] if there are no tasks")
	f := &taskFile{doc: doc}
	if root == nil {
		return f
	}
	var groups []targetGroup
	doc.decode(root, &groups)
	for i := range groups {
		f.addGroup(element("", i), &groups[i])
	}
	return f
}

// addGroup adds a task for each target of a group.
func (f *taskFile) addGroup(path string, g *targetGroup) {
	labels := child(path, "labels")
	if len(g.Targets) == 0 {
		f.doc.complain(child(path, "targets"), "is missing: list the identifiers of the tasks")
	}
	if g.Labels["__name"] != "" && len(g.Targets) > 1 {
		f.doc.complain(child(labels, "__name"), "would name %d tasks alike: give each its own element of the list", len(g.Targets))
	}
	common := f.labelled(labels, g.Labels)
	f.doc.validateTask(func(key string) string {
		if key == "labels" {
			return labels
		}
		return child(labels, "__"+key)
	}, &common)
	for i, target := range g.Targets {
		t, p := common, element(child(path, "targets"), i)
		if target == "" {
			f.doc.complain(p, "is empty: give the task's identifier on the platform")
		}
		t.TaskID = target
		t.setDefaults()
		f.tasks = append(f.tasks, t)
		f.paths = append(f.paths, p)
	}
}

// labelled returns a task with what the labels of a group say.
func (f *taskFile) labelled(path string, labels map[string]string) Task {
	var t Task
	for name, value := range labels {
		switch name {
		case "__name":
			t.Name = value
		case "__app_id":
			t.AppID = value
		case "__status":
			t.Status = value
		case "__device_id":
			t.DeviceID = value
		case "__command_id":
			t.CommandID = value
		case "__node_id":
			t.NodeID = value
		case "__index":
			index, err := strconv.Atoi(value)
			if err != nil {
				f.doc.complain(child(path, name), "must be a whole number")
				continue
			}
			t.Index = &index
		default:
			if strings.HasPrefix(name, model.ReservedLabelPrefix) {
				f.doc.complain(child(path, name), "is not a known label that begins with __; known are "+
					"__name, __app_id, __status, __device_id, __command_id, __index, __node_id")
				continue
			}
			if t.Labels == nil {
				t.Labels = map[string]string{}
			}
			t.Labels[name] = value
		}
	}
	return t
}

// claimNames returns a complaint for each task whose name is taken.
func (f *taskFile) claimNames(owners map[string]string) error {
	var errs []error
	for i, t := range f.tasks {
		p := f.doc.problem(f.paths[i], nil)
		if first, ok := claim(owners, t.Name, p.where()); !ok {
			p.Err = fmt.Errorf("%q is already the name of the task at %s: give one of them another name with the label __name", t.Name, first)
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}
