// Package northbound is a client of the batch-task part of the Huawei IoT
// platform's northbound API (OceanConnect, IoT Device Management and the copies
// that carriers run).
//
// It signs in, keeps the token, and reads the subtasks of batch tasks
// ([Client.TaskDetails]) and what the platform says of the task as a whole
// ([Client.Task]). It knows nothing of Prometheus and can be used alone.
//
// The platform's documents contradict each other in places; the client takes
// every version of an answer that any of them describes.
package northbound

import (
	"encoding/json"
	"time"
)

// Status is the state of one subtask of a batch task.
//
// A subtask goes from Pending over WaitResult to one of the other three, which
// are final. The platform may send a status that no document names; it arrives
// as it was sent.
type Status string

// The documented statuses. The older documents do not name WaitResult, and a
// platform may refuse it as a filter.
const (
	StatusPending    Status = "Pending"
	StatusWaitResult Status = "WaitResult"
	StatusSuccess    Status = "Success"
	StatusFail       Status = "Fail"
	StatusTimeout    Status = "Timeout"
)

// Statuses are the documented statuses in the order of a subtask's life.
func Statuses() []Status {
	return []Status{StatusPending, StatusWaitResult, StatusSuccess, StatusFail, StatusTimeout}
}

// Final tells whether a subtask in this status never changes again.
func (s Status) Final() bool {
	return s == StatusSuccess || s == StatusFail || s == StatusTimeout
}

// Operation names a call of the API.
type Operation string

// The calls that the client sends.
const (
	OperationLogin        Operation = "login"
	OperationRefreshToken Operation = "refresh_token"
	OperationTaskDetails  Operation = "task_details"
	OperationTask         Operation = "task"
)

// Operations are all calls that the client may send.
func Operations() []Operation {
	return []Operation{OperationLogin, OperationRefreshToken, OperationTaskDetails, OperationTask}
}

// TaskDetailsQuery are the parameters of GET /iocm/app/batchtask/v1.1.0/taskDetails.
// Only TaskID is mandatory; a zero field is left out of the query.
type TaskDetailsQuery struct {
	TaskID    string
	AppID     string // owner of the task, where it is another application that authorized this one
	Status    Status
	Index     *int // line in the uploaded file, of registration tasks
	NodeID    string
	DeviceID  string
	CommandID string
	// Page, if nil, leaves out pageNo and pageSize, which means "everything" to
	// some platforms and "the first page" to others. Ask for a page.
	Page *Page
}

// Page is a part of a list of rows.
type Page struct {
	No   int // 0 is the first page
	Size int // rows, from 1; the newest document allows at most 250
}

// TaskDetails is one page of a task's subtasks.
type TaskDetails struct {
	PageNo     int
	PageSize   int // as the platform states it; believe len(Subtasks)
	TotalCount int // subtasks that match the query over all pages; -1 if the answer did not say
	Subtasks   []Subtask
}

// Subtask is one row of a batch task. It has no id of its own: Param is its
// only identity.
type Subtask struct {
	Status Status
	Output string // what the device answered; JSON text where the platform sent an object
	Error  SubtaskError
	Param  Param
}

// SubtaskError is why a subtask failed. Both fields are empty where the
// platform gave no error.
type SubtaskError struct {
	Code        string // five to seven digits as far as is known; empty where the platform gave none
	Description string
}

// Param says whom a subtask is for: DeviceID and CommandID in command tasks,
// Index and NodeID in registration tasks.
type Param struct {
	DeviceID  string
	CommandID string
	Index     string // a decimal number as the platform wrote it
	NodeID    string
}

// TaskQuery are the parameters of GET /iocm/app/batchtask/v1.1.0/tasks/{taskId}.
type TaskQuery struct {
	TaskID string
	AppID  string // owner of the task, where it is another application
	Tags   bool   // asks for the task's tags too (select=tag)
}

// Task is what the platform says of a batch task as a whole. Its counters know
// neither Pending nor WaitResult, and ExpiredCount has no counterpart among the
// statuses of subtasks. A number that the answer did not state is -1.
type Task struct {
	TaskID        string
	TaskName      string
	AppID         string
	Operator      string
	TaskFrom      string    // Portal or Northbound
	TaskType      string    // DeviceCmd, DeviceReg, …
	Status        string    // Pending, Running, Complete or Timeout
	StartTime     time.Time // zero where the platform sent none that can be read
	Timeout       int       // as sent; the documents name no unit
	Progress      int       // per mille
	TotalCount    int
	SuccessCount  int
	FailCount     int
	TimeoutCount  int
	ExpiredCount  int
	CompleteCount int // successes, failures and timeouts
	SuccessRate   int // per mille
	Param         json.RawMessage
	Tags          json.RawMessage
}
