package web

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/collector/allowance"
	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
)

var update = flag.Bool("update", false, "write the golden files anew")

// counts are the documented statuses in the order of a subtask's life.
func counts(pending, waiting, success, fail, timeout int) *census.Snapshot {
	s := &census.Snapshot{Total: pending + waiting + success + fail + timeout, Finished: pending+waiting == 0}
	for i, n := range []int{pending, waiting, success, fail, timeout} {
		s.Subtasks = append(s.Subtasks, census.StatusCount{Status: string(northbound.Statuses()[i]), Count: n})
	}
	return s
}

// read is a task that was read some time ago.
func read(now time.Time, name string, ago time.Duration, numbers *census.Snapshot) collector.TaskStatus {
	return collector.TaskStatus{
		Name: name, TaskID: "id-" + name, Numbers: numbers,
		State: &collector.TaskState{Numbers: numbers, RefreshedAt: now.Add(-ago), AttemptedAt: now.Add(-ago)},
	}
}

// failing is the same task since it cannot be read.
func failing(t collector.TaskStatus, from time.Time, err string) collector.TaskStatus {
	s := *t.State
	s.FailingFrom, s.AttemptedAt, s.Err = from, from, errors.New(err)
	t.State = &s
	return t
}

// fleet is an application in trouble and one that is not, with tasks of every
// kind, in an order that is none of the page's.
func fleet(now time.Time) []collector.ApplicationStatus {
	troubled := counts(27_279, 406, 2_226, 68, 21)
	troubled.TaskName, troubled.TaskType = "Firmware 4.2", "DeviceCmd"
	troubled.Errors = []census.ErrorCount{
		{Status: "Fail", Code: "100403", Count: 7},
		{Status: "Fail", Code: "100428", Count: 61},
		{Status: "Timeout", Code: census.CodeUnknown, Count: 21},
	}
	strange := counts(1, 0, 999, 0, 0)
	strange.Subtasks = append(strange.Subtasks, census.StatusCount{Status: "Lost", Count: 3})
	strange.Total += 3
	strange.Remarks = []string{"some subtasks are in a status that no document names"}
	firmware := read(now, "firmware", 90*time.Second, troubled)
	firmware.AppID, firmware.Index = "other", "7"
	firmware.Labels = map[string]string{"team": "fleet", "site": "north"}
	return []collector.ApplicationStatus{{
		Name: "fleet", URL: "https://192.0.2.1:8743", Known: true,
		Session:   northbound.Session{Err: errors.New("login: refused with code 100208")},
		Allowance: allowance.Stats{Configured: 60, Limit: 30, Available: 7, RestingUntil: now.Add(time.Minute), Throttled: 2},
		Wanted:    45.67,
		Tasks: []collector.TaskStatus{
			read(now, "done", 3*time.Hour, counts(0, 0, 500, 0, 0)),
			read(now, "strange", time.Second, strange),
			{Name: "new", TaskID: "id-new", State: new(collector.TaskState)},
			firmware,
		},
	}, {
		Name: "meters", URL: "https://192.0.2.2:8743", Up: true, Known: true,
		Session:   northbound.Session{SignedIn: true, ExpiresAt: now.Add(time.Hour)},
		Allowance: allowance.Stats{Configured: 60, Limit: 60, Available: 60},
		Tasks: []collector.TaskStatus{
			read(now, "bad", 2*time.Second, counts(0, 0, 60, 40, 0)),
			failing(read(now, "blind", 4*time.Minute, counts(10, 0, 0, 5, 0)), now.Add(-3*time.Minute), "task_details: timeout"),
			failing(collector.TaskStatus{Name: "absent", TaskID: "id-absent", State: new(collector.TaskState)}, now.Add(-time.Minute), "task_details: refused with code 105005"),
		},
	}}
}

// statusPage is the page at a fixed time.
func statusPage(t *testing.T, query string, status func(time.Time) []collector.ApplicationStatus) (text string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, &fake{status: status(time.Now())}, nil)
		w := ask(t, h, "GET", "/"+query)
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Fatalf("%s: status %d, %s", query, w.Code, w.Header().Get("Content-Type"))
		}
		text = w.Body.String()
	})
	return text
}

func TestStatusPageLooks(t *testing.T) {
	text := statusPage(t, "", fleet)
	got := regexp.MustCompile(`(?s)<style>.*</style>`).ReplaceAllString(text, "<style></style>")
	const golden = "testdata/status.html"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("look at the page, then run the test with -update (-want +got):\n%s", diff)
	}
}

var taskName = regexp.MustCompile(`aria-label="Probe ([^"]*)"`)

// shown are the names of the tasks on a page, from top to bottom.
func shown(text string) string {
	var names []string
	for _, m := range taskName.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return strings.Join(names, " ")
}

func TestStatusPageOrderAndFilters(t *testing.T) {
	for query, want := range map[string]string{
		"":                                 "blind absent bad firmware strange new done",
		"?sort=worst&show=all&refresh=on":  "blind absent bad firmware strange new done",
		"?sort=name":                       "absent bad blind done firmware new strange",
		"?sort=age":                        "new absent done blind firmware bad strange",
		"?sort=failed":                     "firmware bad blind done strange new absent",
		"?show=unreadable":                 "blind absent",
		"?show=failing":                    "blind bad firmware",
		"?show=running":                    "blind firmware strange",
		"?show=finished":                   "bad done",
		"?application=meters":              "blind absent bad",
		"?application=meters&show=failing": "blind bad",
		"?application=fleet&sort=name&show=running&refresh=off": "firmware strange",
		"?show=&sort=&application=&refresh=&utm=x":              "blind absent bad firmware strange new done",
		"?application=gone": "",
	} {
		t.Run(query, func(t *testing.T) {
			if got := shown(statusPage(t, query, fleet)); got != want {
				t.Errorf("tasks %q, want %q", got, want)
			}
		})
	}
}

func TestStatusPageRefusesUnknownValues(t *testing.T) {
	h := newHandler(t, new(fake), nil)
	for query, want := range map[string]string{
		"?show=broken":  `show: "broken" is none: give one of all, unreadable, failing, running, finished`,
		"?sort=Worst":   `sort: "Worst" is none: give one of worst, name, age, failed`,
		"?refresh=5":    `refresh: "5" is none: give one of on, off`,
		"?show=%zz":     "the query cannot be read",
		"?sort=x&show=": "sort: ",
	} {
		if w := ask(t, h, "GET", "/"+query); w.Code != http.StatusBadRequest || !strings.HasPrefix(w.Body.String(), want) {
			t.Errorf("%s: status %d, want 400: %s", query, w.Code, w.Body)
		}
	}
}

var (
	link    = regexp.MustCompile(`<a href="([^"]*)"( aria-current="true")?>`)
	current = regexp.MustCompile(`<a href="[^"]*" aria-current="true">([^<]*)`)
)

func TestStatusPageSaysWhatIsChosen(t *testing.T) {
	for query, want := range map[string]string{
		"":                                    "All |Worst|All",
		"?show=failing&sort=age":              "With failures |Oldest numbers|All",
		"?application=fleet&show=unreadable":  "Unreadable |Worst|fleet",
		"?refresh=off&sort=failed&show=all":   "All |Most failed|All",
		"?application=gone&refresh=off&sort=": "All |Worst",
	} {
		var got []string
		for _, m := range current.FindAllStringSubmatch(statusPage(t, query, fleet), -1) {
			got = append(got, m[1])
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

// Choices leave the other ones as they are, and lead to a page.
func TestStatusPageLinks(t *testing.T) {
	const query = "?application=meters&refresh=off&show=failing&sort=age"
	var targets []string
	for _, m := range link.FindAllStringSubmatch(statusPage(t, query, fleet), -1) {
		target := strings.ReplaceAll(m[1], "&amp;", "&")
		if target != "./" && !strings.HasPrefix(target, "?") {
			continue
		}
		targets = append(targets, target)
		statusPage(t, strings.TrimPrefix(target, "./"), fleet)
	}
	for _, want := range []string{
		query,
		"?application=meters&show=failing&sort=age",
		"?application=meters&refresh=off&sort=age",
		"?application=meters&refresh=off&show=failing",
		"?application=fleet&refresh=off&show=failing&sort=age",
		"?refresh=off&show=failing&sort=age",
	} {
		if !slices.Contains(targets, want) {
			t.Errorf("no link to %s among %q", want, targets)
		}
	}
}

func TestStatusPageRefreshKeepsTheView(t *testing.T) {
	for query, want := range map[string]string{
		"":                        `content="15; url=./"`,
		"?show=failing&sort=name": `content="15; url=?show=failing&amp;sort=name"`,
		"?refresh=off":            "",
	} {
		text := statusPage(t, query, fleet)
		if has := strings.Contains(text, `http-equiv="refresh"`); has != (want != "") || !strings.Contains(text, want) {
			t.Errorf("%s: refreshes: %v, want %q", query, has, want)
		}
	}
}

// evil is text that a platform gone bad could send, everywhere where text of
// the platform or of the configuration is shown.
func evil(now time.Time) []collector.ApplicationStatus {
	const text = `"'><script>alert("x")</script><img src=x onerror=alert(1) style=color:red>`
	numbers := &census.Snapshot{
		Total: 5, TaskName: text, TaskType: text, Remarks: []string{text},
		Subtasks: []census.StatusCount{{Status: "Fail", Count: 4}, {Status: text, Count: 1}},
	}
	for i := range 10 {
		numbers.Errors = append(numbers.Errors, census.ErrorCount{Status: "Fail", Code: fmt.Sprint(text, i), Count: 4})
	}
	task := failing(read(now, text, time.Minute, numbers), now, text)
	task.TaskID, task.AppID, task.NodeID, task.Labels = text, text, text, map[string]string{text: text}
	return []collector.ApplicationStatus{
		{Name: text, URL: text, Session: northbound.Session{Err: errors.New(text)}, Tasks: []collector.TaskStatus{task}},
		{Name: "javascript:alert(1)"},
	}
}

// The page asks for nothing that its content security policy would have to
// allow, whatever the platform sends.
func TestStatusPageIsSelfContained(t *testing.T) {
	tag := regexp.MustCompile(`<[^>]*>`)
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`)
	for _, status := range []func(time.Time) []collector.ApplicationStatus{fleet, evil} {
		for _, query := range []string{"", "?application=" + url.QueryEscape(`"><script>alert(1)</script>`)} {
			text := statusPage(t, query, status)
			want, err := files.ReadFile("status.css")
			if m := style.FindStringSubmatch(text); err != nil || m == nil || m[1] != string(want) {
				t.Fatal("the style is not that of the content security policy")
			}
			for _, of := range tag.FindAllString(style.ReplaceAllString(text, ""), -1) {
				for _, forbidden := range []string{
					"<script", "<link", "<img", "<iframe", "<object", " style=", " src=", " on", "xlink:", `href="http`, `href="javascript`, `href="//`,
				} {
					if strings.Contains(quoted.ReplaceAllString(of, ""), forbidden) {
						t.Errorf("%s holds %q", of, forbidden)
					}
				}
			}
			for _, forbidden := range []string{"url(", "@import", "expression"} {
				if strings.Contains(string(want), forbidden) {
					t.Errorf("the style holds %q", forbidden)
				}
			}
		}
	}
	if text := statusPage(t, "", evil); !strings.Contains(text, "&lt;script&gt;") {
		t.Error("text of the platform is not shown")
	}
}

// quoted is the value of an attribute that is no link: whatever it holds is
// text, as long as its quotes are escaped.
var quoted = regexp.MustCompile(`(?:aria-label|title|datetime|content)="[^"]*"`)

// Every link to a task on the page is one that /probe takes.
func TestStatusPageLinksToProbe(t *testing.T) {
	f := &fake{status: fleet(time.Now())}
	h := newHandler(t, f, nil)
	for _, task := range viewTasks(f.status[0], time.Now()) {
		if w := ask(t, h, "GET", "/"+task.Probe); w.Code != http.StatusOK || f.probed.TaskID != task.TaskID || f.probed.Name != task.Name {
			t.Errorf("%s: status %d, probed %+v", task.Probe, w.Code, f.probed)
		}
	}
}

// Of many applications only those in trouble are listed; the others are a link.
func TestStatusPageOfManyApplications(t *testing.T) {
	many := func(now time.Time) []collector.ApplicationStatus {
		var apps []collector.ApplicationStatus
		for i := range 20 {
			a := fleet(now)[1]
			a.Name, a.URL, a.Tasks = fmt.Sprintf("app%d", i), fmt.Sprintf("https://192.0.2.%d", i), nil
			a.Up = i != 7
			apps = append(apps, a)
		}
		return apps
	}
	text := statusPage(t, "", many)
	for of, want := range map[string]bool{"https://192.0.2.7<": true, "https://192.0.2.8<": false, `href="?application=app8"`: true, "19 applications": true} {
		if strings.Contains(text, of) != want {
			t.Errorf("page holds %s: %v", of, !want)
		}
	}
	if text := statusPage(t, "?application=app8", many); !strings.Contains(text, "https://192.0.2.8<") {
		t.Error("an application that is asked for is not shown")
	}
}

// A few applications are listed whatever their state; of more, all that
// are in trouble, be it every one.
func TestWhichApplicationsAreListed(t *testing.T) {
	for name, test := range map[string]struct{ applications, inTrouble, listed int }{
		"few":                {maxDetailed, 1, maxDetailed},
		"many":               {maxDetailed + 1, 1, 1},
		"many, all is well":  {maxDetailed + 1, 0, 0},
		"many, none is well": {maxDetailed + 1, maxDetailed + 1, maxDetailed + 1},
	} {
		var p page
		for i := range test.applications {
			p.Applications = append(p.Applications, applicationView{Trouble: i >= test.applications-test.inTrouble})
		}
		p.selectApplications()
		if len(p.Applications) != test.listed || p.Fine != test.applications-test.listed {
			t.Errorf("%s: %d listed and %d left out, want %d", name, len(p.Applications), p.Fine, test.listed)
		}
	}
}

func TestTrouble(t *testing.T) {
	well := collector.ApplicationStatus{Up: true, Known: true, Allowance: allowance.Stats{Configured: 60, Limit: 60}, Wanted: 60}
	for name, test := range map[string]struct {
		change func(*collector.ApplicationStatus)
		want   bool
	}{
		"none, all is used":   {func(*collector.ApplicationStatus) {}, false},
		"not known yet":       {func(a *collector.ApplicationStatus) { a.Up, a.Known = false, false }, false},
		"down":                {func(a *collector.ApplicationStatus) { a.Up = false }, true},
		"sign-in failed":      {func(a *collector.ApplicationStatus) { a.Session.Err = errors.New("refused") }, true},
		"rests":               {func(a *collector.ApplicationStatus) { a.Allowance.RestingUntil = time.Now().Add(time.Minute) }, true},
		"too much is wanted":  {func(a *collector.ApplicationStatus) { a.Wanted = 60.1 }, true},
		"less than its share": {func(a *collector.ApplicationStatus) { a.Allowance.Limit, a.Wanted = 59, 1 }, true},
	} {
		a := well
		test.change(&a)
		if got := viewApplication(a, time.Now()).Trouble; got != test.want {
			t.Errorf("%s: trouble %v", name, got)
		}
	}
}

func TestTitle(t *testing.T) {
	for want, s := range map[string]summary{
		"3 tasks":            {Tasks: 3},
		"1 application down": {Tasks: 3, Down: 1},
		"2 applications down, 1 unreadable, 3 with failures": {
			Tasks: 3, Down: 2, ByShow: map[string]tally{showUnreadable: {Count: 1}, showFailing: {Count: 3}},
		},
	} {
		if got := s.title(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	var s summary
	for _, state := range []string{stateUp, stateUnknown, stateDown} {
		s.add(applicationView{State: state})
	}
	if s.Applications != 3 || s.Down != 1 {
		t.Errorf("%d of %d applications are down, want 1 of 3", s.Down, s.Applications)
	}
}

func TestStatusPageWithoutTasks(t *testing.T) {
	for name, status := range map[string][]collector.ApplicationStatus{
		"No application is configured.": nil,
		"No tasks are configured.":      {{Name: "fleet"}},
	} {
		if text := statusPage(t, "", func(time.Time) []collector.ApplicationStatus { return status }); !strings.Contains(text, name) {
			t.Errorf("page does not say %q:\n%s", name, text)
		}
	}
}

func TestTooOldNumbersAreNotShown(t *testing.T) {
	text := statusPage(t, "", func(now time.Time) []collector.ApplicationStatus {
		task := read(now, "old", time.Hour, counts(1, 0, 4711, 0, 0))
		task.Numbers = nil
		return []collector.ApplicationStatus{{Name: "fleet", Tasks: []collector.TaskStatus{task}}}
	})
	if !strings.Contains(text, "too old to be shown") || !strings.Contains(text, "1h 0m ago") || strings.Contains(text, "4,711") {
		t.Errorf("old numbers:\n%s", text)
	}
}

// The share of failures among subtasks that a filter chose by status would be
// none of the task.
func TestNoShareUnderAStatusFilter(t *testing.T) {
	numbers := &census.Snapshot{Total: 4, Subtasks: []census.StatusCount{{Status: "Fail", Count: 4}}}
	task := read(time.Now(), "t", 0, numbers)
	if v := viewTask("fleet", task, time.Now()); v.Share != "100%" || v.Failed != "4" {
		t.Errorf("share %q, failed %q", v.Share, v.Failed)
	}
	if v := viewTask("fleet", read(time.Now(), "t", 0, counts(0, 0, 0, 0, 0)), time.Now()); v.share != 0 {
		t.Errorf("share %v of nothing", v.share)
	}
	task.Status = "Fail"
	if v := viewTask("fleet", task, time.Now()); v.Share != "" || v.Failed != "4" {
		t.Errorf("share %q, failed %q under a filter", v.Share, v.Failed)
	}
}

func TestErrorCodes(t *testing.T) {
	var many []census.ErrorCount
	for i := range 20 {
		many = append(many, census.ErrorCount{Status: "Fail", Code: fmt.Sprint(i), Count: i})
	}
	for n, want := range map[int][2]int{0: {0, 0}, 7: {7, 0}, 8: {6, 2}, 20: {6, 14}} {
		numbers := counts(0, 0, 0, 190, 0)
		numbers.Errors = many[:n]
		v := viewTask("fleet", read(time.Now(), "t", 0, numbers), time.Now())
		if got := [2]int{len(v.Codes), len(v.MoreCodes)}; got != want {
			t.Errorf("%d codes: %v are shown and hidden, want %v", n, got, want)
		}
		if n > 0 && v.Codes[0].Count != fmt.Sprint(n-1) {
			t.Errorf("%d codes: the first is %+v, want the most frequent", n, v.Codes[0])
		}
	}
	for code, want := range map[string]string{"100428": "device is not online", "unknown": "no code given", "unread": "code not read yet", "4711": "not documented"} {
		if got := meaningOf(code); got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
}
