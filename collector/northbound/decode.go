package northbound

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const (
	// assumedLife is that of a token whose answer does not tell; the documents
	// show an hour.
	assumedLife = 30 * time.Minute
	maxLife     = 365 * 24 * time.Hour

	maxCode = 64 // bytes of an error code, which becomes a label
)

// refusal is the platform's "no": error_code and error_desc at the top level of
// an answer. It is empty if the answer holds none.
type refusal struct{ code, description string }

func (r *refusal) set(key string, value json.RawMessage) {
	switch key {
	case "error_code":
		r.code = oneLine(plain(value))
	case "error_desc":
		r.description = oneLine(plain(value))
	}
}

// decodeTaskDetails reads rows one by one, so that an answer of any size needs
// little more memory than what comes out of it.
func decodeTaskDetails(r io.Reader) (*TaskDetails, refusal, error) {
	var (
		details = &TaskDetails{TotalCount: -1}
		ref     refusal
		wrong   error // the first value of a wrong type: a refusal may come after it
		listed  bool
	)
	dec := json.NewDecoder(r)
	err := eachMember(dec, func(key string) error {
		if key == "taskDetails" {
			rows, err := decodeRows(dec, details.Subtasks[:0])
			if rows != nil {
				details.Subtasks, listed = rows, true
			}
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		var err error
		switch key {
		case "pageNo":
			details.PageNo, err = count(value, 0)
		case "pageSize":
			details.PageSize, err = count(value, 0)
		case "totalCount":
			details.TotalCount, err = count(value, -1)
		default:
			ref.set(key, value)
		}
		if err != nil && wrong == nil {
			wrong = fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, ref, err
	case wrong != nil:
		return nil, ref, wrong
	case !listed && details.TotalCount != 0:
		return nil, ref, errors.New("taskDetails is missing")
	}
	return details, ref, nil
}

// row is a subtask as it comes. Its raw messages keep their memory from row to
// row.
type row struct {
	Status string          `json:"status"`
	Output json.RawMessage `json:"output"`
	Error  json.RawMessage `json:"error"`
	Param  json.RawMessage `json:"param"`
}

// decodeRows appends the rows of an array, and returns nil for null.
func decodeRows(dec *json.Decoder, rows []Subtask) ([]Subtask, error) {
	token, err := dec.Token()
	switch {
	case err != nil:
		return nil, err
	case token == nil:
		return nil, nil
	case token != json.Delim('['):
		return nil, errors.New("taskDetails is not an array")
	}
	if rows == nil {
		rows = []Subtask{}
	}
	var r row
	errs := make(map[string]SubtaskError) // the rows of a task fail in few ways
	for dec.More() {
		r.Status, r.Output, r.Error, r.Param = "", r.Output[:0], r.Error[:0], r.Param[:0]
		if err := dec.Decode(&r); err != nil {
			return nil, fmt.Errorf("row %d: %w", len(rows), withoutValue(err))
		}
		if r.Status == "" {
			return nil, fmt.Errorf("row %d: it has no status", len(rows))
		}
		e, known := errs[string(r.Error)]
		if !known {
			e = decodeSubtaskError(r.Error)
			if len(errs) < 1000 {
				errs[string(r.Error)] = e
			}
		}
		rows = append(rows, Subtask{
			Status: Status(r.Status),
			Output: plain(r.Output),
			Error:  e,
			Param:  decodeParam(r.Param),
		})
	}
	_, err = dec.Token() // the end of the array
	return rows, err
}

// decodeSubtaskError reads a row's error. By the documents it is a string that
// holds a JSON object; it comes as the object itself, as a bare code or as mere
// text too.
func decodeSubtaskError(raw json.RawMessage) SubtaskError {
	text := string(raw)
	for range 3 { // strings in strings
		unquoted, ok := unquote([]byte(text))
		if !ok {
			break
		}
		text = strings.TrimSpace(unquoted)
	}

	var object struct {
		Code        json.RawMessage `json:"error_code"`
		Description json.RawMessage `json:"error_desc"`
	}
	switch {
	case text == "" || text == "null":
		return SubtaskError{}
	case isDigits(text):
		return SubtaskError{Code: cut(text, maxCode)}
	case text[0] != '{' || json.Unmarshal([]byte(text), &object) != nil:
		return SubtaskError{Description: valid(text)}
	}
	e := SubtaskError{
		Code:        cut(strings.TrimSpace(plain(object.Code)), maxCode),
		Description: plain(object.Description),
	}
	if e == (SubtaskError{}) && text != "{}" {
		e.Description = valid(text)
	}
	return e
}

// decodeParam reads an object, also one inside a string. Anything else tells
// nothing: the row counts all the same.
func decodeParam(raw json.RawMessage) Param {
	if text, ok := unquote(raw); ok {
		raw = json.RawMessage(strings.TrimSpace(text))
	}
	if len(raw) == 0 {
		return Param{}
	}
	var p struct {
		DeviceID  text `json:"deviceId"`
		CommandID text `json:"commandId"`
		Index     text `json:"index"`
		NodeID    text `json:"nodeId"`
	}
	if json.Unmarshal(raw, &p) != nil {
		return Param{}
	}
	return Param{
		DeviceID:  string(p.DeviceID),
		CommandID: string(p.CommandID),
		Index:     string(p.Index),
		NodeID:    string(p.NodeID),
	}
}

// decodeTask takes a counter of a wrong type for a malformed answer; what only
// informs is left out.
func decodeTask(r io.Reader) (*Task, refusal, error) {
	members, ref, err := decodeMembers(r)
	if err != nil {
		return nil, ref, err
	}
	var wrong error
	note := func(key string, err error) {
		if err != nil && wrong == nil {
			wrong = fmt.Errorf("%s: %w", key, err)
		}
	}
	str := func(key string) string {
		var t text
		if raw, ok := members[key]; ok {
			note(key, t.UnmarshalJSON(raw))
		}
		return string(t)
	}
	number := func(key string) int {
		n, err := count(members[key], -1)
		note(key, err)
		return n
	}
	about := func(key string) int {
		if n, err := count(members[key], -1); err == nil {
			return n
		}
		return -1
	}
	task := &Task{
		TaskID:        str("taskId"),
		TaskName:      str("taskName"),
		AppID:         str("appId"),
		Operator:      str("operator"),
		TaskFrom:      str("taskFrom"),
		TaskType:      str("taskType"),
		Status:        str("status"),
		StartTime:     startTime(plain(members["startTime"])),
		Timeout:       about("timeout"),
		Progress:      about("progress"),
		TotalCount:    number("totalCnt"),
		SuccessCount:  number("successCnt"),
		FailCount:     number("failCnt"),
		TimeoutCount:  number("timeoutCnt"),
		ExpiredCount:  number("expiredCnt"),
		CompleteCount: number("completeCnt"),
		SuccessRate:   about("successRate"),
		Param:         rawJSON(members["param"]),
		Tags:          rawJSON(members["tags"]),
	}
	if task.TaskID == "" {
		note("taskId", errors.New("missing"))
	}
	if wrong != nil {
		return nil, ref, wrong
	}
	return task, ref, nil
}

func startTime(text string) time.Time {
	t, err := time.Parse("20060102T150405Z", text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// decodeGrant reads the answer to a sign-in.
func decodeGrant(r io.Reader) (*grant, refusal, error) {
	members, ref, err := decodeMembers(r)
	if err != nil {
		return nil, ref, err
	}
	g := &grant{life: assumedLife}
	// A type error would repeat the value.
	var access, refresh text
	if access.UnmarshalJSON(members["accessToken"]) != nil || !headerSafe(string(access)) {
		return nil, ref, errors.New("accessToken is missing or no token")
	}
	if raw, ok := members["refreshToken"]; ok {
		if refresh.UnmarshalJSON(raw) != nil {
			return nil, ref, errors.New("refreshToken is no token")
		}
	}
	g.access, g.refresh = string(access), string(refresh)
	seconds, err := strconv.ParseFloat(strings.TrimSpace(plain(members["expiresIn"])), 64)
	if err == nil && seconds > 0 {
		g.life = time.Duration(min(seconds, maxLife.Seconds()) * float64(time.Second))
	}
	return g, ref, nil
}
