package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
		for j, t := range a.Tasks {
			errs = append(errs, claimName(owners, t, c.index.problem(child(element(child(path, "tasks"), j), "name"), nil)))
		}
		names, err := c.taskFiles(path, a)
		errs = append(errs, err)
		a.FileTasks = nil
		for _, name := range names {
			f, ok := files[name]
			if !ok {
				f = readTaskFile(name)
				files[name] = f
				errs = append(errs, f.err())
			}
			for j, t := range f.tasks {
				errs = append(errs, claimName(owners, t, f.problem(f.paths[j], nil)))
			}
			a.FileTasks = append(a.FileTasks, f.tasks...)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &next, nil
}

// claimName returns the problem if the name of the task is taken.
func claimName(owners map[string]string, t Task, p *Problem) error {
	first, ok := claim(owners, t.Name, p.where())
	if ok {
		return nil
	}
	p.Err = fmt.Errorf("%q is already the name of the task at %s: give one of them another name, in a task file with the label __name", t.Name, first)
	return p
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
			if info, err := os.Stat(name); err != nil {
				fmt.Fprintf(&state, "%q %v\n", name, err)
			} else {
				fmt.Fprintf(&state, "%q %d %d %v\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
			}
		}
	}
	return state.String()
}

// taskFiles returns the names of an application's task files that exist now,
// each once.
func (c *Config) taskFiles(path string, a *Application) ([]string, error) {
	var names []string
	var errs []error
	for i, pattern := range a.TaskFiles {
		matches, err := matchFiles(pattern)
		if err != nil {
			errs = append(errs, c.index.problem(element(child(path, "task_files"), i), err))
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
