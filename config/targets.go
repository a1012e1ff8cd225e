package config

import (
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
)

// targetGroup is an element of a task file, in the form of Prometheus'
// file-based service discovery.
type targetGroup struct {
	Targets []string          `yaml:"targets"`
	Labels  map[string]string `yaml:"labels"`
}

// taskFile is a task file that has been read.
type taskFile struct {
	*problems
	tasks []Task
	paths []string // of the tasks' targets
}

func readTaskFile(name string) *taskFile {
	var groups []targetGroup
	f := &taskFile{problems: read(name, "write [] if there are no tasks", &groups)}
	if len(f.list) > 0 {
		return f
	}
	for i := range groups {
		f.addGroup(element("", i), &groups[i])
	}
	return f
}

// addGroup adds a task for each target of a group.
func (f *taskFile) addGroup(path string, g *targetGroup) {
	labels := child(path, "labels")
	if len(g.Targets) == 0 {
		f.complain(child(path, "targets"), "is missing: list the identifiers of the tasks")
	}
	if g.Labels["__name"] != "" && len(g.Targets) > 1 {
		f.complain(child(labels, "__name"), "would name %d tasks alike: give each its own element of the list", len(g.Targets))
	}
	common := f.labelled(labels, g.Labels)
	f.validateTask(func(key string) string {
		if key == "labels" {
			return labels
		}
		return child(labels, "__"+key)
	}, &common)
	for i, target := range g.Targets {
		t, p := common, element(child(path, "targets"), i)
		if target == "" {
			f.complain(p, "is empty: give the task's identifier on the platform")
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
	keys := map[string]*string{
		"__name": &t.Name, "__app_id": &t.AppID, "__status": &t.Status,
		"__device_id": &t.DeviceID, "__command_id": &t.CommandID, "__node_id": &t.NodeID,
	}
	for name, value := range labels {
		switch key := keys[name]; {
		case key != nil:
			*key = value
		case name == "__index":
			index, err := strconv.Atoi(value)
			if err != nil {
				f.complain(child(path, name), "must be a whole number")
			}
			t.Index = &index
		case strings.HasPrefix(name, model.ReservedLabelPrefix):
			f.complain(child(path, name), "is not a known label that begins with __; known are "+
				"__name, __app_id, __status, __device_id, __command_id, __index, __node_id")
		default:
			if t.Labels == nil {
				t.Labels = map[string]string{}
			}
			t.Labels[name] = value
		}
	}
	return t
}
