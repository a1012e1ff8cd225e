package web

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/collector/allowance"
	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
)

// States of applications and tasks, in words that are shown.
const (
	stateUp         = "up"
	stateDown       = "down"
	stateUnknown    = "not known yet"
	stateUnreadable = "unreadable"
	stateWaiting    = "not read yet"
	stateRunning    = "running"
	stateFinished   = "finished"
)

// wantedWidth is the width of the tick of a meter, in units of its bar.
const wantedWidth = 6.0

// maxCodes is how many error codes of a task are shown at once.
const maxCodes = 6

// applicationView is an application in words and numbers.
type applicationView struct {
	Name      string
	URL       string // link that shows its tasks alone
	Platform  string
	State     string
	SignIn    string
	SignInErr string
	Meter     meter
	Tasks     string
	Trouble   bool // something is the matter with it
}

// meter is an allowance in calls a minute and as a bar.
type meter struct {
	Used, Limit, Share int // Share is as configured
	Wanted             string
	TooSmall           bool // more is wanted than is allowed
	Resting            string
	Throttled          string // refusals so far; empty if there were none

	// Of the bar. LostWidth is what a platform that throttles took away.
	ShareWidth, UsedWidth, LostX, LostWidth, WantedX float64
}

// taskView is a task in words and numbers.
type taskView struct {
	Application string
	Name        string
	TaskID      string
	Title       string // what the platform calls it, and its type
	Filter      string // what narrows the query; empty if nothing does
	Labels      []string
	State       string
	Known       bool // its numbers are shown
	Parts       []part
	Total       string
	Failed      string // failed and timed-out subtasks
	Share       string // of those; empty where a filter leaves nothing to compare with
	Codes       []codeView
	MoreCodes   []codeView
	Age         string // of the numbers; empty if there are none
	Read        moment
	Stale       bool   // the numbers are too old to be shown
	Err         string // why the last attempt failed
	Since       string // how long attempts have been failing
	Remarks     []string
	Probe       string // link

	// What tasks are chosen and ordered by.
	failed   int
	share    float64
	finished bool
	read     time.Time
}

// part is a status of a task, in words and as a part of its bar.
type part struct {
	Name         string
	Class        string
	Count        string // empty if not known
	Share        string
	Zero         bool
	Undocumented bool
	segment
}

// codeView is how often an error code occurs.
type codeView struct {
	Status, Class, Code, Meaning, Count string
	count                               int
}

func viewApplication(a collector.ApplicationStatus, now time.Time) applicationView {
	v := applicationView{
		Name:     a.Name,
		Platform: a.URL,
		State:    stateUnknown,
		SignIn:   viewSession(a.Session, now),
		Meter:    viewAllowance(a.Allowance, a.Wanted, now),
		Tasks:    number(len(a.Tasks)),
	}
	switch {
	case a.Up && a.Known:
		v.State = stateUp
	case a.Known:
		v.State = stateDown
	}
	if a.Session.Err != nil {
		v.SignInErr = a.Session.Err.Error()
	}
	v.Trouble = v.State == stateDown || v.SignInErr != "" || v.Meter.Resting != "" || v.Meter.TooSmall || v.Meter.Limit < v.Meter.Share
	return v
}

func viewSession(s northbound.Session, now time.Time) string {
	var words []string
	switch {
	case s.SignedIn && s.ExpiresAt.IsZero():
		words = append(words, "signed in")
	case s.SignedIn:
		words = append(words, "signed in until "+clock(s.ExpiresAt))
	default:
		words = append(words, "not signed in")
	}
	if s.PausedUntil.After(now) {
		words = append(words, "next sign-in not before "+clock(s.PausedUntil))
	}
	if s.EarlyDeaths > 0 {
		words = append(words, plural(s.EarlyDeaths, "token")+" died early: revoked, or ended by another program that signs in as the same application")
	}
	return strings.Join(words, "; ")
}

func viewAllowance(s allowance.Stats, wanted float64, now time.Time) meter {
	m := meter{
		Used:     max(0, s.Limit-s.Available),
		Limit:    s.Limit,
		Share:    s.Configured,
		Wanted:   decimal(wanted),
		TooSmall: wanted > float64(s.Limit),
	}
	if s.RestingUntil.After(now) {
		m.Resting = clock(s.RestingUntil)
	}
	if s.Throttled > 0 {
		m.Throttled = plural(s.Throttled, "call")
	}
	// A tick beyond the end of the track shows that too much is wanted.
	full := float64(max(1, s.Configured, s.Limit))
	scale := min(max(full, wanted), 2*full)
	at := func(calls float64) float64 { return math.Round(barWidth*min(1, calls/scale)*10) / 10 }
	m.ShareWidth, m.UsedWidth, m.LostX = at(full), at(float64(m.Used)), at(float64(s.Limit))
	m.LostWidth = m.ShareWidth - m.LostX
	m.WantedX = min(at(wanted), barWidth-wantedWidth)
	return m
}

func viewTask(application string, t collector.TaskStatus, now time.Time) taskView {
	v := taskView{
		Application: application,
		Name:        t.Name,
		TaskID:      t.TaskID,
		Filter:      filterOf(t),
		State:       stateRunning,
		Probe: probeURL(map[string]string{
			"application": application, "task_id": t.TaskID, "name": t.Name, "app_id": t.AppID, "status": t.Status,
			"device_id": t.DeviceID, "command_id": t.CommandID, "index": t.Index, "node_id": t.NodeID,
		}),
	}
	for _, name := range slices.Sorted(maps.Keys(t.Labels)) {
		v.Labels = append(v.Labels, name+"="+t.Labels[name])
	}
	if t.State.Numbers != nil {
		v.read = t.State.RefreshedAt
		v.Age, v.Read, v.Stale = age(now.Sub(v.read)), momentOf(v.read), t.Numbers == nil
	}
	if t.Numbers != nil {
		v.count(t.Numbers, t.Status != "")
	}
	switch {
	case t.State.Err != nil:
		v.State = stateUnreadable
		v.Err, v.Since = t.State.Err.Error(), age(now.Sub(t.State.FailingFrom))
	case t.State.AttemptedAt.IsZero():
		v.State = stateWaiting
	case v.finished:
		v.State = stateFinished
	}
	return v
}

// count shows numbers. Those of a query that a status filters are no shares of
// the task.
func (v *taskView) count(n *census.Snapshot, filtered bool) {
	v.Known, v.finished, v.Total = true, n.Finished, number(n.Total)
	v.Title, v.Remarks = n.TaskName, n.Remarks
	if n.TaskType != "" {
		v.Title = strings.TrimSpace(n.TaskName + " (" + n.TaskType + ")")
	}
	v.Parts = viewParts(n)
	v.failed = n.Count(northbound.StatusFail) + n.Count(northbound.StatusTimeout)
	v.Failed = number(v.failed)
	if n.Total > 0 {
		v.share = float64(v.failed) / float64(n.Total)
	}
	if !filtered {
		v.Share = percent(v.failed, n.Total)
	}
	v.Codes = viewCodes(n.Errors)
	if len(v.Codes) > maxCodes+1 { // one more takes no more room than the link to it
		v.Codes, v.MoreCodes = v.Codes[:maxCodes], v.Codes[maxCodes:]
	}
}

// barOrder is the order of statuses in a bar: what went wrong has the same
// origin in every bar, and what is final comes before what is not.
var barOrder = []northbound.Status{
	northbound.StatusFail, northbound.StatusTimeout, northbound.StatusSuccess, northbound.StatusWaitResult, northbound.StatusPending,
}

func viewParts(n *census.Snapshot) []part {
	subtasks := slices.Clone(n.Subtasks)
	slices.SortStableFunc(subtasks, func(a, b census.StatusCount) int {
		return rank(a.Status) - rank(b.Status)
	})
	parts, counts := make([]part, 0, len(subtasks)), make([]int, 0, len(subtasks))
	for _, s := range subtasks {
		counts = append(counts, s.Count)
		parts = append(parts, part{
			Name:         s.Status,
			Class:        classOf(s.Status),
			Count:        number(s.Count),
			Share:        percent(s.Count, n.Total),
			Zero:         s.Count == 0,
			Undocumented: !slices.Contains(barOrder, northbound.Status(s.Status)),
		})
	}
	for i, s := range layOut(counts) {
		parts[i].segment = s
	}
	return parts
}

// rank is the place of a status in a bar. Undocumented ones are last.
func rank(status string) int {
	if i := slices.Index(barOrder, northbound.Status(status)); i >= 0 {
		return i
	}
	return len(barOrder)
}

// classOf names what gives a status its colour.
func classOf(status string) string {
	if slices.Contains(barOrder, northbound.Status(status)) {
		return strings.ToLower(status)
	}
	return "undocumented"
}

// viewCodes are the error codes, the most frequent first.
func viewCodes(errors []census.ErrorCount) []codeView {
	codes := make([]codeView, 0, len(errors))
	for _, e := range errors {
		codes = append(codes, codeView{
			Status: e.Status, Class: classOf(e.Status), Code: e.Code, Meaning: meaningOf(e.Code), Count: number(e.Count), count: e.Count,
		})
	}
	slices.SortStableFunc(codes, func(a, b codeView) int { return cmp.Compare(b.count, a.count) })
	return codes
}

// meaningOf says what an error code stands for, of the platform or of the
// exporter itself.
func meaningOf(code string) string {
	switch code {
	case census.CodeUnknown:
		return "no code given"
	case census.CodeUnread:
		return "code not read yet"
	case census.CodeOther:
		return "codes over max_error_codes"
	}
	return cmp.Or(northbound.Meaning(code), "not documented")
}

// filterOf says what narrows the query of a task.
func filterOf(t collector.TaskStatus) string {
	var words []string
	for _, part := range []struct{ name, value string }{
		{"of application", t.AppID},
		{"status", t.Status},
		{"device", t.DeviceID},
		{"command", t.CommandID},
		{"index", t.Index},
		{"node", t.NodeID},
	} {
		if part.value != "" {
			words = append(words, part.name+" "+part.value)
		}
	}
	return strings.Join(words, ", ")
}
