package collector

import (
	"time"

	"huawei_iot_batch_exporter/collector/allowance"
	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
)

// ApplicationStatus is what is known of an application at one moment.
type ApplicationStatus struct {
	Name      string
	URL       string
	Up        bool
	Known     bool // a call has told whether it is up
	Session   northbound.Session
	Allowance allowance.Stats
	Wanted    float64 // calls a minute that the configured tasks would use if all were refreshed at every scrape
	Tasks     []TaskStatus
}

// TaskStatus is what is known of a configured task at one moment.
type TaskStatus struct {
	Name    string
	TaskID  string
	AppID   string // owner, where it is another application
	Labels  map[string]string
	State   *TaskState
	Numbers *census.Snapshot // nil: never read, or too old to be shown

	// What narrows the query, if anything does.
	Status, DeviceID, CommandID, Index, NodeID string
}

// Status returns what is known of every application, in the order of the
// configuration.
func (e *Exporter) Status() []ApplicationStatus {
	apps := e.applications()
	status := make([]ApplicationStatus, 0, len(apps))
	for _, a := range apps {
		status = append(status, a.status(time.Now()))
	}
	return status
}

func (a *application) status(now time.Time) ApplicationStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := ApplicationStatus{
		Name:      a.cfg.Name,
		URL:       a.cfg.URL,
		Session:   a.client.Session(),
		Allowance: a.allowance.Stats(),
		Wanted:    a.wanted,
		Tasks:     make([]TaskStatus, 0, len(a.watches)),
	}
	s.Up, s.Known = a.health.up()
	for _, w := range a.watches {
		state := w.task.state.Load()
		s.Tasks = append(s.Tasks, TaskStatus{
			Name: w.name, TaskID: w.task.identity.taskID,
			AppID: w.task.identity.appID, Status: w.task.identity.status,
			DeviceID: w.task.identity.deviceID, CommandID: w.task.identity.commandID,
			Index: w.task.identity.index, NodeID: w.task.identity.nodeID,
			Labels: w.labels, State: state, Numbers: state.Fresh(now, a.cfg.Settings),
		})
	}
	return s
}
