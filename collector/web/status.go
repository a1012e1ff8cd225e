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
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"

	"huawei_iot_batch_exporter/collector"
)

//go:embed status.html status.css
var files embed.FS

var templates = template.Must(template.New("").
	Funcs(template.FuncMap{"number": number}).
	ParseFS(files, "status.html", "status.css"))

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

const (
	// refreshInterval is how often a browser asks for the page anew, in seconds.
	refreshInterval = 15
	// maxDetailed is how many applications are shown in full, however well they are.
	maxDetailed = 8
)

// page is what the status page shows.
type page struct {
	Title   string
	Version string
	Now     moment
	Metrics string // links, relative to the page
	Config  string

	Refresh  bool
	Interval int    // of the refresh, in seconds
	Reload   string // link to the page as it is shown now
	Switch   string // link that stops the refresh, or starts it again
	Summary  summary
	Names    []choice // of applications; empty if there is nothing to choose
	Shows    []choice
	Sorts    []choice
	Selected string // application; empty: all
	Everyone string // link that shows the tasks of all applications

	Applications []applicationView
	Fine         int // applications that are not shown, because nothing is the matter with them
	Tasks        []taskView
	Configured   int // tasks of the selected applications
}

// summary adds up what is known of everything, whatever is shown of it.
type summary struct {
	Applications, Down int
	Tasks              int
	ByShow             map[string]tally
	Waiting            int    // tasks that were never read
	Oldest             string // age of the oldest numbers of a task that is not finished; empty if there are none
}

// tally is a number of tasks, and a link to them.
type tally struct {
	Count int
	URL   string
}

// status answers with the status page.
func (h *handler) status(w http.ResponseWriter, r *http.Request) {
	v, err := parseView(r.URL.RawQuery)
	if err != nil {
		say(w, http.StatusBadRequest, err.Error())
		return
	}
	var text bytes.Buffer
	if err := templates.ExecuteTemplate(&text, "status.html", h.page(v)); err != nil {
		level.Error(h.Logger).Log("msg", "status page cannot be shown", "err", err)
		say(w, http.StatusInternalServerError, "The status page cannot be shown; the log says why.")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(text.Bytes()) // a client that has gone is no failure
}

func (h *handler) page(v view) page {
	now := h.now()
	p := page{
		Version:  version.Version,
		Now:      momentOf(now),
		Metrics:  relative(h.TelemetryPath),
		Config:   relative(configPath),
		Refresh:  !v.still,
		Interval: refreshInterval,
		Reload:   v.link(),
		Switch:   v.with(func(v *view) { v.still = !v.still }).link(),
		Selected: v.application,
		Everyone: v.with(func(v *view) { v.application = "" }).link(),
	}
	var all, selected []taskView
	var names []string
	for _, a := range h.Exporter.Status() {
		names = append(names, a.Name)
		av := viewApplication(a, now)
		av.URL = v.with(func(v *view) { v.application = a.Name }).link()
		p.Summary.add(av)
		tasks := viewTasks(a, now)
		all = append(all, tasks...)
		if v.application != "" && v.application != a.Name {
			continue
		}
		selected = append(selected, tasks...)
		p.Applications = append(p.Applications, av)
	}
	p.Summary.count(all, now)
	p.Title = p.Summary.title()
	p.selectApplications()
	p.Configured = len(selected)
	p.Tasks = v.choose(selected)
	p.Shows, p.Sorts, p.Names = v.shows(selected), v.sorts(), v.names(names)
	return p
}

// selectApplications brings those in trouble to the top and leaves out the
// others if they are many.
func (p *page) selectApplications() {
	slices.SortStableFunc(p.Applications, func(a, b applicationView) int { return first(a.Trouble, b.Trouble) })
	if len(p.Applications) <= maxDetailed {
		return
	}
	fine := slices.IndexFunc(p.Applications, func(a applicationView) bool { return !a.Trouble })
	if fine < 0 {
		return
	}
	p.Fine = len(p.Applications) - fine
	p.Applications = p.Applications[:fine]
}

func (s *summary) add(a applicationView) {
	s.Applications++
	if a.State == stateDown {
		s.Down++
	}
}

func (s *summary) count(tasks []taskView, now time.Time) {
	s.Tasks = len(tasks)
	s.ByShow = make(map[string]tally)
	for _, show := range shows {
		s.ByShow[show.name] = tally{show.count(tasks), view{show: show.name}.link()}
	}
	var oldest time.Time
	for i := range tasks {
		t := &tasks[i]
		if t.State == stateWaiting {
			s.Waiting++
		}
		if !t.finished && !t.read.IsZero() && (oldest.IsZero() || t.read.Before(oldest)) {
			oldest = t.read
		}
	}
	if !oldest.IsZero() {
		s.Oldest = age(now.Sub(oldest))
	}
}

// title says in few words whether anything is the matter, for a browser's tab.
func (s *summary) title() string {
	var words []string
	if s.Down > 0 {
		words = append(words, plural(s.Down, "application")+" down")
	}
	if n := s.ByShow[showUnreadable].Count; n > 0 {
		words = append(words, number(n)+" unreadable")
	}
	if n := s.ByShow[showFailing].Count; n > 0 {
		words = append(words, number(n)+" with failures")
	}
	if len(words) == 0 {
		words = append(words, plural(s.Tasks, "task"))
	}
	return strings.Join(words, ", ")
}

// relative makes a path a link from the status page that works behind a proxy
// too which adds a prefix.
func relative(path string) string { return strings.TrimPrefix(path, "/") }

// viewTasks views the tasks of an application.
func viewTasks(a collector.ApplicationStatus, now time.Time) []taskView {
	tasks := make([]taskView, 0, len(a.Tasks))
	for _, t := range a.Tasks {
		tasks = append(tasks, viewTask(a.Name, t, now))
	}
	return tasks
}

func plural(n int, what string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", what)
	}
	return number(n) + " " + what + "s"
}
