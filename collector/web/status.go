package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/collector/northbound"
)

//go:embed status.html status.css
var files embed.FS

var templates = template.Must(template.ParseFS(files, "status.html", "status.css"))

// contentSecurityPolicy lets a page have its own style and nothing else.
var contentSecurityPolicy = strings.Join([]string{
	"default-src 'none'", "style-src '" + hashOf("status.css") + "'",
	"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
}, "; ")

// hashOf names the content of a file in a content security policy.
func hashOf(name string) string {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(err) // the file is part of the program
	}
	sum := sha256.Sum256(text)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// page is what the status page shows.
type page struct {
	Version      string
	Metrics      string // links, relative to the page
	Config       string
	Statuses     []string // the documented ones, a column each
	Applications []applicationView
}

// applicationView is an application in words and numbers.
type applicationView struct {
	Name      string
	URL       string
	State     string // up, down, or not known yet
	SignIn    string
	SignInErr string
	Limit     int // calls a minute, in force
	Share     int // calls a minute, as configured
	Available int
	Wanted    string // calls a minute
	Resting   string // until when; empty if it does not rest
	Tasks     []taskView
}

// taskView is a task in words and numbers.
type taskView struct {
	Name   string
	TaskID string
	Title  string // what the platform calls it
	Filter string // what narrows the query; empty if nothing does
	Up     bool
	Known  bool     // an attempt to read it has ended
	Counts []string // by status, in the order of the page's; empty where not known
	Others []string // undocumented statuses
	Total  string
	Errors []errorView
	Age    string // of the numbers; empty if there are none
	Stale  bool   // the numbers are too old to be shown
	Err    string // why the last attempt failed
	Since  string // how long attempts have been failing
	Probe  string // link
}

// errorView is how often an error code occurs.
type errorView struct {
	Status, Code string
	Count        int
}

// status answers with the status page.
func (h *handler) status(w http.ResponseWriter, _ *http.Request) {
	var text bytes.Buffer
	if err := templates.ExecuteTemplate(&text, "status.html", h.page()); err != nil {
		level.Error(h.Logger).Log("msg", "status page cannot be shown", "err", err)
		say(w, http.StatusInternalServerError, "The status page cannot be shown; the log says why.")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(text.Bytes()) // a client that has gone is no failure
}

func (h *handler) page() page {
	now := h.now()
	p := page{
		Version: version.Version,
		Metrics: relative(h.TelemetryPath),
		Config:  relative(configPath),
	}
	for _, s := range northbound.Statuses() {
		p.Statuses = append(p.Statuses, string(s))
	}
	for _, a := range h.Exporter.Status() {
		p.Applications = append(p.Applications, viewApplication(a, now))
	}
	return p
}

// relative makes a path a link from the status page that works behind a proxy
// too which adds a prefix.
func relative(path string) string { return strings.TrimPrefix(path, "/") }

func viewApplication(a collector.ApplicationStatus, now time.Time) applicationView {
	v := applicationView{
		Name:      a.Name,
		URL:       a.URL,
		State:     "not known yet",
		SignIn:    viewSession(a.Session, now),
		Limit:     a.Allowance.Limit,
		Share:     a.Allowance.Configured,
		Available: a.Allowance.Available,
		Wanted:    strconv.FormatFloat(a.Wanted, 'f', 1, 64),
	}
	switch {
	case a.Up && a.Known:
		v.State = "up"
	case a.Known:
		v.State = "down"
	}
	if a.Session.Err != nil {
		v.SignInErr = a.Session.Err.Error()
	}
	if until := a.Allowance.RestingUntil; until.After(now) {
		v.Resting = clock(until)
	}
	for _, t := range a.Tasks {
		v.Tasks = append(v.Tasks, viewTask(a.Name, t, now))
	}
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
		words = append(words, fmt.Sprintf("%d tokens died early: another program signs in as the same application", s.EarlyDeaths))
	}
	return strings.Join(words, "; ")
}

func viewTask(application string, t collector.TaskStatus, now time.Time) taskView {
	v := taskView{
		Name:   t.Name,
		TaskID: t.TaskID,
		Up:     t.State.Up(),
		Known:  !t.State.AttemptedAt.IsZero(),
		Counts: make([]string, len(northbound.Statuses())),
		Probe: probeURL(map[string]string{
			"application": application, "task_id": t.TaskID, "name": t.Name, "app_id": t.AppID, "status": t.Status,
			"device_id": t.DeviceID, "command_id": t.CommandID, "index": t.Index, "node_id": t.NodeID,
		}),
	}
	v.Filter = filterOf(t)
	if t.State.Err != nil {
		v.Err, v.Since = t.State.Err.Error(), age(now, t.State.FailingFrom)
	}
	if t.State.Numbers != nil {
		v.Age, v.Stale = age(now, t.State.RefreshedAt), t.Numbers == nil
	}
	if t.Numbers == nil {
		return v
	}
	v.Title, v.Total = t.Numbers.TaskName, strconv.Itoa(t.Numbers.Total)
	for _, c := range t.Numbers.Subtasks {
		if i := slices.Index(northbound.Statuses(), northbound.Status(c.Status)); i >= 0 {
			v.Counts[i] = strconv.Itoa(c.Count)
		} else {
			v.Others = append(v.Others, fmt.Sprintf("%s: %d", c.Status, c.Count))
		}
	}
	for _, e := range t.Numbers.Errors {
		v.Errors = append(v.Errors, errorView(e))
	}
	return v
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

// age is the time since then, in whole seconds.
func age(now, then time.Time) string {
	return max(0, now.Sub(then)).Round(time.Second).String()
}

func clock(t time.Time) string { return t.UTC().Format(time.TimeOnly) + " UTC" }
