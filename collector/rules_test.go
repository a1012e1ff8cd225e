package collector

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"huawei_iot_batch_exporter/collector/allowance"
	"huawei_iot_batch_exporter/collector/census"
	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/config"
)

func TestIdentityOfAnApplication(t *testing.T) {
	for url, want := range map[string]string{
		"https://Platform.example:443/":  "https://platform.example",
		"https://platform.example:80":    "https://platform.example:80",
		"http://platform.example:80/a//": "http://platform.example/a",
		"ftp://platform.example:443":     "ftp://platform.example:443",
	} {
		if got := identityOf(config.Application{URL: url, AppID: "a"}); got != (platformIdentity{want, "a"}) {
			t.Errorf("%s: %v, want %s", url, got, want)
		}
	}
}

func TestPriorityOfALane(t *testing.T) {
	if p := configuredLane.priority(); p != allowance.Configured {
		t.Errorf("configured tasks have priority %d", p)
	}
	if p := probeLane.priority(); p != allowance.Probe {
		t.Errorf("probes have priority %d", p)
	}
}

func TestLongestUnattemptedTaskGoesFirst(t *testing.T) {
	now := time.Now()
	var l lane
	for _, ago := range []int{2, 3, 1, 3} {
		l.queue = append(l.queue, &task{identity: taskIdentity{taskID: fmt.Sprint(len(l.queue))}, attempted: now.Add(-time.Duration(ago) * time.Minute)})
	}
	var got []string
	for range 4 {
		got = append(got, l.pop().identity.taskID)
	}
	if diff := cmp.Diff([]string{"1", "3", "0", "2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if l.pop() != nil {
		t.Error("a task out of an empty queue")
	}
}

func TestOutcomeOfACall(t *testing.T) {
	failed := func(kind northbound.Kind, code string, after time.Duration) error {
		return fmt.Errorf("wrapped: %w", &northbound.Error{Operation: northbound.OperationTask, Kind: kind, Code: code, RetryAfter: after})
	}
	for name, test := range map[string]struct {
		err  error
		want allowance.Outcome
	}{
		"good":                {nil, allowance.Outcome{Answered: true}},
		"not the client's":    {errors.New("x"), allowance.Outcome{}},
		"refused":             {failed(northbound.KindPlatform, "105005", 0), allowance.Outcome{Answered: true}},
		"throttled":           {failed(northbound.KindPlatform, "1010009", time.Minute), allowance.Outcome{Answered: true, Throttled: true, RetryAfter: time.Minute}},
		"malformed":           {failed(northbound.KindMalformed, "", 0), allowance.Outcome{Answered: true}},
		"lost on the way":     {failed(northbound.KindTimeout, "", 0), allowance.Outcome{}},
		"without a handshake": {failed(northbound.KindTLS, "", 0), allowance.Outcome{}},
	} {
		if diff := cmp.Diff(test.want, outcome(test.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRhythm(t *testing.T) {
	var r rhythm
	now := time.Now()
	var intervals []time.Duration
	var ready []bool
	for range 5 {
		r.note(now)
		intervals, ready = append(intervals, r.interval()), append(ready, r.ready())
		now = now.Add(20 * time.Second)
	}
	const twenty = 20 * time.Second
	if diff := cmp.Diff([]time.Duration{time.Minute, twenty, twenty, twenty, twenty}, intervals); diff != "" {
		t.Errorf("intervals (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]bool{false, false, true, false, false}, ready); diff != "" {
		t.Errorf("ready for a forecast (-want +got):\n%s", diff)
	}
	for range rhythmLength { // the older ones are forgotten
		now = now.Add(time.Minute)
		r.note(now)
	}
	if got := r.interval(); got != time.Minute {
		t.Errorf("interval %s of scrapes a minute apart", got)
	}
	if len(r.arrivals) != rhythmLength {
		t.Errorf("%d scrapes are remembered", len(r.arrivals))
	}
}

func TestHealth(t *testing.T) {
	call := func(op northbound.Operation, kind northbound.Kind, code string) northbound.Call {
		c := northbound.Call{Operation: op}
		if kind != "" {
			c.Err = &northbound.Error{Operation: op, Kind: kind, Code: code}
		}
		return c
	}
	const (
		task, login, refresh = northbound.OperationTaskDetails, northbound.OperationLogin, northbound.OperationRefreshToken
		platform             = northbound.KindPlatform
	)
	var (
		good    = call(task, "", "")
		lost    = call(task, northbound.KindTimeout, "")
		dead    = call(task, platform, "1010005")
		noTask  = call(task, platform, "105005")
		busy    = call(task, platform, "1010009")
		stopped = call(task, northbound.KindCanceled, "")
	)
	for name, test := range map[string]struct {
		before  []northbound.Call // in the scrape before
		calls   []northbound.Call
		expired bool
		want    [2]bool // up, known
	}{
		"nothing was called":              {nil, nil, false, [2]bool{false, false}},
		"answered":                        {nil, []northbound.Call{good}, false, [2]bool{true, true}},
		"answered before":                 {[]northbound.Call{good}, nil, false, [2]bool{true, true}},
		"a task is refused":               {nil, []northbound.Call{noTask}, false, [2]bool{true, true}},
		"lost":                            {nil, []northbound.Call{lost}, false, [2]bool{false, true}},
		"lost, answered before":           {[]northbound.Call{good}, []northbound.Call{lost}, false, [2]bool{false, true}},
		"lost before":                     {[]northbound.Call{lost}, nil, false, [2]bool{false, true}},
		"lost before, then answered":      {[]northbound.Call{lost}, []northbound.Call{good}, false, [2]bool{true, true}},
		"one of two is lost":              {nil, []northbound.Call{good, lost}, false, [2]bool{true, true}},
		"throttled tells nothing":         {nil, []northbound.Call{busy}, false, [2]bool{false, false}},
		"throttled, answered before":      {[]northbound.Call{good}, []northbound.Call{busy}, false, [2]bool{true, true}},
		"canceled tells nothing":          {nil, []northbound.Call{stopped}, false, [2]bool{false, false}},
		"login is good":                   {nil, []northbound.Call{call(login, "", "")}, false, [2]bool{true, true}},
		"login is refused":                {nil, []northbound.Call{call(login, platform, "100208")}, false, [2]bool{false, true}},
		"login is refused, then good":     {[]northbound.Call{call(login, platform, "100208")}, []northbound.Call{call(login, "", "")}, false, [2]bool{true, true}},
		"login is refused, a task is not": {[]northbound.Call{good}, []northbound.Call{call(login, platform, "100208"), good}, false, [2]bool{false, true}},
		"refresh is refused":              {nil, []northbound.Call{call(refresh, platform, "50400")}, false, [2]bool{true, true}},
		"refresh is lost":                 {nil, []northbound.Call{call(refresh, northbound.KindConnection, "")}, false, [2]bool{false, true}},
		"token died":                      {nil, []northbound.Call{dead}, false, [2]bool{false, true}},
		"token died, and another is good": {nil, []northbound.Call{dead, good}, false, [2]bool{true, true}},
		"token expired":                   {nil, []northbound.Call{dead}, true, [2]bool{true, true}},
	} {
		var h health
		h.turn()
		for _, c := range test.before {
			h.note(c, false)
		}
		h.turn()
		for _, c := range test.calls {
			h.note(c, test.expired)
		}
		up, known := h.up()
		if got := [2]bool{up, known}; got != test.want {
			t.Errorf("%s: up, known %v, want %v", name, got, test.want)
		}
	}

	h := health{}
	h.turn()
	h.note(dead, false)
	h.note(call(task, platform, "1010005"), true) // of the one that replaced it
	if up, _ := h.up(); up {
		t.Error("a token that expired makes good for one that died")
	}
	h.note(good, false)
	h.silence(errors.New("unreadable"))
	if up, known := h.up(); up || !known {
		t.Errorf("without credentials: up, known %v, %v", up, known)
	}
	h.forgive()
	if up, _ := h.up(); !up {
		t.Error("new credentials are held responsible for the old ones")
	}
}

func TestFresh(t *testing.T) {
	now := time.Now()
	running, finished := new(census.Snapshot), &census.Snapshot{Finished: true}
	for name, test := range map[string]struct {
		numbers *census.Snapshot
		ago     time.Duration
		recheck time.Duration
		want    bool
	}{
		"none":                {nil, 0, time.Hour, false},
		"young":               {running, 5 * time.Minute, time.Hour, true},
		"old":                 {running, 5*time.Minute + 1, time.Hour, false},
		"finished":            {finished, time.Hour + 5*time.Minute, time.Hour, true},
		"finished, unchecked": {finished, time.Hour + 5*time.Minute + 1, time.Hour, false},
		"finished for good":   {finished, 1e6 * time.Hour, 0, true},
	} {
		s := &TaskState{Numbers: test.numbers, RefreshedAt: now.Add(-test.ago)}
		settings := config.Settings{MaxStaleness: 5 * time.Minute, FinishedRecheckInterval: test.recheck}
		if got := s.Fresh(now, settings); (got != nil) != test.want {
			t.Errorf("%s: shown: %v", name, got != nil)
		}
	}
}

func TestDue(t *testing.T) {
	now := time.Now()
	scrape := now.Add(-time.Second) // when the scrape began
	running, finished := new(census.Snapshot), &census.Snapshot{Finished: true}
	refusal := fmt.Errorf("wrapped: %w", northbound.ErrTaskNotFound)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, test := range map[string]struct {
		state     TaskState
		attempted time.Time // when the last turn began
		recheck   time.Duration
		want      bool
	}{
		"never attempted":        {TaskState{}, time.Time{}, time.Hour, true},
		"read before the scrape": {TaskState{Numbers: running, AttemptedAt: ago(time.Minute)}, ago(time.Minute), time.Hour, true},
		"read since it began":    {TaskState{Numbers: running, AttemptedAt: now}, scrape, time.Hour, false},
		"finished":               {TaskState{Numbers: finished, RefreshedAt: ago(time.Hour - 1), AttemptedAt: ago(time.Minute)}, ago(time.Minute), time.Hour, false},
		"finished an hour ago":   {TaskState{Numbers: finished, RefreshedAt: ago(time.Hour), AttemptedAt: ago(time.Minute)}, ago(time.Minute), time.Hour, true},
		"finished for good":      {TaskState{Numbers: finished, RefreshedAt: ago(time.Hour), AttemptedAt: ago(time.Minute)}, ago(time.Minute), 0, false},
		"failed":                 {TaskState{Numbers: finished, AttemptedAt: ago(time.Minute), Err: errors.New("x")}, ago(time.Minute), time.Hour, true},
		"refused just now":       {TaskState{AttemptedAt: ago(time.Minute), FailingFrom: ago(3*time.Minute + 2), Err: refusal}, ago(time.Minute), time.Hour, false},
		"refused, half as long":  {TaskState{AttemptedAt: ago(time.Minute), FailingFrom: ago(3 * time.Minute), Err: refusal}, ago(time.Minute), time.Hour, true},
		"refused for a day":      {TaskState{AttemptedAt: ago(5*time.Minute - 1), FailingFrom: ago(24 * time.Hour), Err: refusal}, ago(5 * time.Minute), time.Hour, false},
		"refused for a day, 5m":  {TaskState{AttemptedAt: ago(5 * time.Minute), FailingFrom: ago(24 * time.Hour), Err: refusal}, ago(5 * time.Minute), time.Hour, true},
	} {
		task := &task{attempted: test.attempted}
		task.state.Store(&test.state)
		if got := task.due(now, scrape, config.Settings{FinishedRecheckInterval: test.recheck}); got != test.want {
			t.Errorf("%s: due: %v", name, got)
		}
	}
}

func TestWhichErrorsRefuseATask(t *testing.T) {
	for err, want := range map[error]bool{
		northbound.ErrTaskNotFound: true, northbound.ErrNotAuthorized: true, northbound.ErrInvalidInput: true,
		northbound.ErrApplicationNotFound: true, census.ErrContradiction: true,
		northbound.ErrThrottled: false, northbound.ErrTokenInvalid: false, northbound.ErrInternal: false, errors.New("x"): false,
	} {
		if got := refused(fmt.Errorf("wrapped: %w", err)); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestForget(t *testing.T) {
	now := time.Now()
	probed := func(ago time.Duration) *task { return &task{lastProbe: now.Add(-ago)} }
	many := func(n int, ago time.Duration) (tasks []*task) {
		for range n {
			tasks = append(tasks, probed(ago))
		}
		return tasks
	}
	var all []*task // that are configured
	for range 50 {
		all = append(all, &task{configured: true})
	}
	configured, busy := &task{configured: true}, probed(2*probeMemory)
	busy.phase = queued
	old := probed(2 * time.Minute)
	for name, test := range map[string]struct {
		tasks  []*task
		forgot []int // places
	}{
		"nothing":                  {nil, nil},
		"young":                    {[]*task{probed(probeMemory - 1)}, nil},
		"an hour ago":              {[]*task{probed(0), probed(probeMemory), probed(probeMemory + 1)}, []int{1, 2}},
		"among configured ones":    {append(slices.Clone(all), many(5, probeMemory)...), []int{50, 51, 52, 53, 54}},
		"configured, busy":         {[]*task{configured, busy}, nil},
		"as many as are kept":      {append(many(maxProbed-1, 0), old), nil},
		"one more than are kept":   {append(many(maxProbed, 0), old), []int{maxProbed}},
		"more, with a busy one":    {append(many(maxProbed-1, 0), old, busy), []int{maxProbed - 1}},
		"as many and a configured": {append(many(maxProbed-1, 0), old, configured), nil},
	} {
		a := &application{tasks: make(map[taskIdentity]*task)}
		for i, t := range test.tasks {
			t.identity = taskIdentity{taskID: fmt.Sprint(i)}
			a.tasks[t.identity] = t
		}
		a.forget(now)
		var forgot []int
		for i, t := range test.tasks {
			if a.tasks[t.identity] == nil {
				forgot = append(forgot, i)
			}
		}
		if diff := cmp.Diff(test.forgot, forgot); diff != "" {
			t.Errorf("%s: forgot (-want +got):\n%s", name, diff)
		}
	}
}

func TestWhichCredentialsAreForgiven(t *testing.T) {
	e := New()
	t.Cleanup(e.Close)
	was := config.Application{Name: "fleet", URL: "https://platform.example", AppID: "app", Settings: config.DefaultSettings()}
	for name, test := range map[string]struct {
		change func(*config.Application)
		want   bool
	}{
		"the same":        {func(*config.Application) {}, false},
		"another name":    {func(a *config.Application) { a.Name = "other" }, false},
		"a secret":        {func(a *config.Application) { a.Secret = "x" }, true},
		"a secret's file": {func(a *config.Application) { a.SecretFile = "x" }, true},
		"a token's file":  {func(a *config.Application) { a.AccessTokenFile = "x" }, true},
	} {
		a := newApplication(e, identityOf(was), allowance.New(1))
		a.change(was, nil, nil)
		a.health.refused = true
		counts, is := a.telemetry, was
		test.change(&is)
		a.change(is, nil, nil)
		if got := !a.health.refused; got != test.want {
			t.Errorf("%s: forgiven: %v", name, got)
		}
		if got := a.telemetry == counts; got != (is.Name == was.Name) {
			t.Errorf("%s: goes on counting: %v", name, got)
		}
	}
}

// The allowance of an application that is gone is kept as long as it is not like
// new.
func TestRetiredAllowances(t *testing.T) {
	throttled := allowance.Outcome{Throttled: true, RetryAfter: 10 * time.Minute}
	for name, test := range map[string]struct {
		limit int
		ends  *allowance.Outcome // nil: the call is in flight
		after time.Duration
		want  bool // kept
	}{
		"a call in flight":               {9, nil, time.Hour, true},
		"a call a moment ago":            {9, &allowance.Outcome{Answered: true}, time.Minute - 1, true},
		"a call a minute ago":            {9, &allowance.Outcome{Answered: true}, time.Minute, false},
		"at rest":                        {9, &throttled, 10 * time.Minute, true},
		"at rest, at the smallest limit": {1, &throttled, 10 * time.Minute, true},
		"throttled, and still reduced":   {9, &throttled, 12 * time.Minute, true},
		"throttled long ago":             {9, &throttled, time.Hour, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := New()
			t.Cleanup(e.Close)
			calls := allowance.New(test.limit)
			release, _ := calls.TryAcquire(t.Context())
			if test.ends != nil {
				release(*test.ends)
			}
			a := newApplication(e, platformIdentity{}, calls)
			e.retire(map[platformIdentity]*application{{}: a})
			if e.allowanceOf(platformIdentity{}) != calls {
				t.Errorf("%s: not kept to begin with", name)
			}
			time.Sleep(test.after)
			e.retire(nil)
			if got := e.retired[platformIdentity{}] != nil; got != test.want {
				t.Errorf("%s: kept: %v", name, got)
			}
		})
	}
}

func TestSeriesOfErrorsAreBounded(t *testing.T) {
	counts := newTelemetry("fleet")
	for code := range 2 * maxFailures {
		counts.failed(northbound.OperationTask, 500, fmt.Sprint(code)).Inc()
	}
	if n := testutil.CollectAndCount(counts.errors); n != maxFailures+1 {
		t.Errorf("%d series, want %d and one for all others", n, maxFailures)
	}
}
