package northboundtest

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Subtasks are the rows of a task. Both methods must be pure: the platform
// calls them under its lock, as often as it likes.
type Subtasks interface {
	Len() int
	At(position int) Subtask
}

// Subtask is one row of a task and what becomes of it: Pending at first,
// WaitResult from Sent on, Status from Done on. With Sent and Done zero it has
// its Status from the task's start.
type Subtask struct {
	Sent, Done time.Duration // since the task's start
	Status     string

	// What is known when it is done.
	Code        string // error code; empty: none
	Description string // of the error; empty: what the documents say of the code
	Output      any    // sent as JSON; nil: the empty string

	// Whom it is for. If all four are zero, the platform makes up those of the
	// task's type, different ones for every row.
	DeviceID, CommandID, NodeID string
	Index                       int // in the uploaded file; 0: left out

	// Raw replaces fields of the row: the keys are status, output, error and
	// param, the values the JSON text to send, or nil to leave the field out.
	// All but param have to wait until the subtask is done. The platform's
	// filters and [Platform.Truth] go by the fields above all the same.
	Raw map[string]json.RawMessage
}

// Rows are subtasks one by one.
type Rows []Subtask

// Len is the number of rows.
func (r Rows) Len() int { return len(r) }

// At is the row at a position.
func (r Rows) At(position int) Subtask { return r[position] }

// Uniform makes n subtasks that are all like s.
func Uniform(n int, s Subtask) Subtasks { return uniform{n, s} }

type uniform struct {
	n int
	s Subtask
}

func (u uniform) Len() int       { return u.n }
func (u uniform) At(int) Subtask { return u.s }

// Profile is how the subtasks of a task fare as a whole.
type Profile struct {
	Duration time.Duration // by then all are done; 0: from the start
	MaxWait  time.Duration // longest time in WaitResult; 0: a quarter of Duration
	Outcomes []Outcome     // those that do not succeed; the rest does
}

// Outcome is how a share of the subtasks ends. With the status Pending or
// WaitResult it never gets further.
type Outcome struct {
	Share  float64 // of all subtasks, 0 to 1
	Status string
	Code   string // error code; empty: none
}

// Scripted makes n subtasks that progress at random times. The same arguments
// make the same subtasks. The shares hold exactly, but for rounding. About half
// of those that time out do so before they are sent.
//
// It panics if the shares sum up to more than 1.
func Scripted(n int, seed uint64, p Profile) Subtasks {
	total := 0.0
	for _, o := range p.Outcomes {
		total += o.Share
	}
	if total > 1+1e-9 {
		panic(fmt.Sprintf("northboundtest: the shares of the outcomes sum up to %g, more than 1", total))
	}
	if p.MaxWait == 0 {
		p.MaxWait = p.Duration / 4
	}
	s := &scripted{n: n, seed: seed, profile: p}
	s.outcomes = sync.OnceValue(s.draw)
	return s
}

type scripted struct {
	n        int
	seed     uint64
	profile  Profile
	outcomes func() []uint16 // by position: 0 success, else 1 + index of the profile's
}

// draw gives every subtask its outcome.
func (s *scripted) draw() []uint16 {
	outcomes := make([]uint16, s.n)
	begin, share := 0, 0.0
	for k, o := range s.profile.Outcomes {
		share += o.Share
		end := min(s.n, int(share*float64(s.n)+0.5))
		for i := begin; i < end; i++ {
			outcomes[i] = uint16(k + 1)
		}
		begin = end
	}
	shuffle(outcomes, s.seed)
	return outcomes
}

func (s *scripted) Len() int { return s.n }

func (s *scripted) At(i int) Subtask {
	// Independent random numbers for each row: no row needs those before it.
	row := mix(s.seed, i)
	done := time.Duration(fraction(row, 0) * float64(s.profile.Duration))
	wait := min(done, time.Duration(fraction(row, 1)*float64(s.profile.MaxWait)))
	t := Subtask{Sent: done - wait, Done: done, Status: Success}
	k := s.outcomes()[i]
	if k == 0 {
		return t
	}
	o := s.profile.Outcomes[k-1]
	t.Status, t.Code = o.Status, o.Code
	switch {
	case o.Status == Pending:
		t.Sent, t.Done = 0, 0
	case o.Status == WaitResult:
		t.Done = t.Sent
	case o.Status == Timeout && fraction(row, 2) < 0.5:
		t.Sent = t.Done
	}
	return t
}

// mix is the splitmix64 generator at a position: a pure function, one to one
// for a given seed, and fast.
func mix(seed uint64, position int) uint64 {
	x := seed + (uint64(position)+1)*0x9e3779b97f4a7c15 //nolint:gosec // positions are not negative
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// fraction is a number in [0, 1).
func fraction(seed uint64, position int) float64 {
	return float64(mix(seed, position)>>11) / (1 << 53)
}

// shuffle gives s a random order.
func shuffle[T any](s []T, seed uint64) {
	for i := len(s) - 1; i > 0; i-- {
		j := int(fraction(seed, i) * float64(i+1))
		s[i], s[j] = s[j], s[i]
	}
}

// param is the identity of a row on the wire.
type param struct {
	DeviceID  string `json:"deviceId,omitempty"`
	CommandID string `json:"commandId,omitempty"`
	Index     *int   `json:"index,omitempty"`
	NodeID    string `json:"nodeId,omitempty"`
}

// param is whom a subtask is for. Made-up devices are the same in all tasks, as
// of one fleet.
func (t *task) param(i int, s Subtask) param {
	p := param{DeviceID: s.DeviceID, CommandID: s.CommandID, NodeID: s.NodeID}
	if s.Index != 0 {
		p.Index = new(s.Index)
	}
	switch {
	case p != param{}:
	case t.Type == DeviceReg:
		p.Index = new(i + 1)
		p.NodeID = strconv.Itoa(860000000000000 + i)
	default:
		p.DeviceID = deviceID(i)
		p.CommandID = t.commandID(i)
	}
	return p
}

// deviceID has the form of a UUID.
func deviceID(i int) string {
	h := hex128(1, i)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// commandID has 32 hex digits.
func (t *task) commandID(i int) string {
	var seed uint64
	for _, c := range []byte(t.ID) {
		seed = seed*131 + uint64(c)
	}
	return hex128(seed, i)
}

// hex128 is a random number of 32 hex digits for each position, without doubles.
func hex128(seed uint64, position int) string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], mix(seed, position))
	binary.BigEndian.PutUint64(raw[8:], mix(^seed, position))
	return hex.EncodeToString(raw[:])
}

// row is a subtask on the wire.
type row struct {
	Status string  `json:"status"`
	Output any     `json:"output"`
	Error  *string `json:"error"`
	Param  param   `json:"param"`
}

// row is what the platform sends of a subtask.
func (t *task) row(i int, elapsed time.Duration) any {
	s, c := t.subtask(i), &t.courses[i]
	o := t.outcomes[c.at(elapsed)]
	done := elapsed >= c.done
	r := row{Status: o.status, Output: "", Param: t.param(i, s)}
	if done {
		r.Error = errorText(o.code, s.Description)
		if s.Output != nil {
			r.Output = s.Output
		}
	}
	if s.Raw == nil {
		return r
	}
	fields := map[string]any{"status": r.Status, "output": r.Output, "error": r.Error, "param": r.Param}
	for field, text := range s.Raw {
		switch {
		case field != "param" && !done:
		case text == nil:
			delete(fields, field)
		default:
			fields[field] = text
		}
	}
	return fields
}

// errorText is the error of a row, a string that holds JSON.
func errorText(code, description string) *string {
	if code == "" && description == "" {
		return nil
	}
	if description == "" {
		description = descriptions[code]
	}
	text, err := json.Marshal(struct {
		Code string `json:"error_code,omitempty"`
		Desc string `json:"error_desc"`
	}{code, description})
	if err != nil {
		panic(err) // strings can always be marshaled
	}
	return new(string(text))
}

// descriptions are what the documents say of the error codes of subtasks.
var descriptions = map[string]string{
	// Commands.
	"100403": "The device is not existed.",
	"100418": "The deviceData is not existed.",
	"100428": "The device is not online.",
	"100431": "The serviceType is not existed.",
	"100432": "The device command is muted.",
	"100434": "The device command is not existed.",
	"100435": "The device command has already been canceled, expired or executed.",
	"100223": "The application has too many pending commands.",
	"100612": "The device is a zombie device.",
	"100501": "Congestion occurs, and the current network has been flow-controlled.",
	"50252":  "Internal server error.",
	// Registration.
	"100003": "The verifyCode is invalid.",
	"100007": "Bad request message.",
	"100412": "The amount of device has reached the limit.",
	"100441": "The amount of non-directly connected devices has reached the limit.",
	"100416": "The device has already been bound.",
	"100426": "The nodeId is duplicated.",
	"103026": "The license is not existed.",
	"103028": "The license pool resources have been used up.",
	"600002": "The product is not existed.",
	"50400":  "The input is invalid.",
}
