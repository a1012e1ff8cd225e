package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// view is what a reader of the status page asks for by the page's query. The
// zero view shows every task, worst first, and refreshes itself.
type view struct {
	show, sort  string // names among shows and sorts; empty: the first
	application string // empty: all
	still       bool   // does not refresh itself
}

// choice is a link that changes the view.
type choice struct {
	Text    string
	URL     string
	Count   string // of tasks; may be empty
	Current bool
}

// showing is a kind of task that can be shown alone.
type showing struct {
	name, text string
	takes      func(*taskView) bool
}

// count is the number of tasks of this kind.
func (s showing) count(tasks []taskView) int {
	n := 0
	for i := range tasks {
		if s.takes(&tasks[i]) {
			n++
		}
	}
	return n
}

const (
	showUnreadable = "unreadable"
	showFailing    = "failing"
)

var shows = []showing{
	{"all", "All", func(*taskView) bool { return true }},
	{showUnreadable, "Unreadable", func(t *taskView) bool { return t.State == stateUnreadable }},
	{showFailing, "With failures", func(t *taskView) bool { return t.failed > 0 }},
	{"running", "Running", func(t *taskView) bool { return t.Known && !t.finished }},
	{"finished", "Finished", func(t *taskView) bool { return t.finished }},
}

// sorting is an order of tasks.
type sorting struct {
	name, text string
	compare    func(a, b *taskView) int
}

var sorts = []sorting{
	{"worst", "Worst", func(a, b *taskView) int {
		return cmp.Or(
			first(a.State == stateUnreadable, b.State == stateUnreadable),
			cmp.Compare(b.share, a.share),
			cmp.Compare(b.failed, a.failed),
			first(a.Known && !a.finished, b.Known && !b.finished),
			first(a.State == stateWaiting, b.State == stateWaiting),
		)
	}},
	{"name", "Name", func(a, b *taskView) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Application, b.Application))
	}},
	{"age", "Oldest numbers", func(a, b *taskView) int { return a.read.Compare(b.read) }},
	{"failed", "Most failed", func(a, b *taskView) int { return cmp.Compare(b.failed, a.failed) }},
}

// first puts what is true before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}

// parseView reads the query of the status page. Parameters of other names are
// left alone. An application that is not configured is no error: it may have
// gone while its page refreshed itself. Each line of the error is a complaint.
func parseView(rawQuery string) (view, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return view{}, errors.New("the query cannot be read: escape the values of its parameters")
	}
	v := view{application: query.Get("application")}
	var errs []error
	among := func(parameter string, names ...string) string {
		name := query.Get(parameter)
		switch {
		case name == "" || name == names[0]:
			return ""
		case !slices.Contains(names, name):
			errs = append(errs, fmt.Errorf("%s: %q is none: give one of %s", parameter, name, strings.Join(names, ", ")))
		}
		return name
	}
	v.show = among("show", namesOf(shows, func(s showing) string { return s.name })...)
	v.sort = among("sort", namesOf(sorts, func(s sorting) string { return s.name })...)
	v.still = among("refresh", "on", "off") != ""
	return v, errors.Join(errs...)
}

func namesOf[T any](all []T, name func(T) string) []string {
	names := make([]string, 0, len(all))
	for _, one := range all {
		names = append(names, name(one))
	}
	return names
}

// link returns a link to the page with this view, relative to the page.
func (v view) link() string {
	query := make(url.Values)
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	set("application", v.application)
	if v.show != shows[0].name {
		set("show", v.show)
	}
	if v.sort != sorts[0].name {
		set("sort", v.sort)
	}
	if v.still {
		set("refresh", "off")
	}
	if len(query) == 0 {
		return "./"
	}
	return "?" + query.Encode()
}

// with returns the view with a change.
func (v view) with(change func(*view)) view {
	change(&v)
	return v
}

// choose returns the tasks that the view shows, in its order. What is equal in
// it stays in the order of the configuration.
func (v view) choose(tasks []taskView) []taskView {
	show := shows[max(0, slices.IndexFunc(shows, func(s showing) bool { return s.name == v.show }))]
	sort := sorts[max(0, slices.IndexFunc(sorts, func(s sorting) bool { return s.name == v.sort }))]
	chosen := make([]taskView, 0, len(tasks))
	for i := range tasks {
		if show.takes(&tasks[i]) {
			chosen = append(chosen, tasks[i])
		}
	}
	slices.SortStableFunc(chosen, func(a, b taskView) int { return sort.compare(&a, &b) })
	return chosen
}

// shows are the links that choose a kind of task.
func (v view) shows(tasks []taskView) []choice {
	choices := make([]choice, 0, len(shows))
	for _, s := range shows {
		other := v.with(func(v *view) { v.show = s.name })
		choices = append(choices, choice{
			Text:    s.text,
			URL:     other.link(),
			Count:   number(s.count(tasks)),
			Current: other.link() == v.link(),
		})
	}
	return choices
}

// sorts are the links that choose an order.
func (v view) sorts() []choice {
	choices := make([]choice, 0, len(sorts))
	for _, s := range sorts {
		other := v.with(func(v *view) { v.sort = s.name })
		choices = append(choices, choice{Text: s.text, URL: other.link(), Current: other.link() == v.link()})
	}
	return choices
}

// names are the links that choose an application.
func (v view) names(applications []string) []choice {
	if len(applications) < 2 {
		return nil
	}
	choices := make([]choice, 0, 1+len(applications))
	for _, name := range append([]string{""}, applications...) {
		other := v.with(func(v *view) { v.application = name })
		choices = append(choices, choice{Text: cmp.Or(name, "All"), URL: other.link(), Current: name == v.application})
	}
	return choices
}
