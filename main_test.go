package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/crypto/bcrypt"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// asProgram makes the test binary behave as the program, so that the program
// runs as a process of its own, with the race detector if the test has it.
const asProgram = "TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is how long anything may take.
const patience = 30 * time.Second

const (
	secret     = "a-secret-that-nobody-sees"
	configFile = "huawei_iot_batch.yml" // the default
)

// site is a platform and a folder with a configuration for it.
type site struct {
	*northboundtest.Server
	t   *testing.T
	dir string
}

// newSite returns a platform with one task that has every status, and a folder
// with all that the exporter needs to watch it, in files of the default names.
func newSite(t *testing.T, opts ...northboundtest.Option) *site {
	t.Helper()
	s := &site{northboundtest.NewServer(append(opts, northboundtest.WithClientCertificates())...), t, t.TempDir()}
	t.Cleanup(s.Close)
	s.AddApplication(northboundtest.App{ID: "app1", Secret: secret})
	var rows northboundtest.Rows
	for status, codes := range map[string][]string{
		northboundtest.Success: {"", "", ""}, northboundtest.Pending: {""}, northboundtest.WaitResult: {""},
		northboundtest.Fail: {"100428", "100428", ""}, northboundtest.Timeout: {"105016"},
	} {
		for _, code := range codes {
			rows = append(rows, northboundtest.Subtask{Status: status, Code: code})
		}
	}
	s.AddTask(northboundtest.Task{ID: "t1", AppID: "app1", Name: "Firmware 42", Subtasks: rows})
	s.AddTask(northboundtest.Task{ID: "t2", AppID: "app1", Subtasks: northboundtest.Uniform(5, northboundtest.Subtask{Status: northboundtest.Success})})
	if err := s.WriteCertificates(s.dir); err != nil {
		t.Fatal(err)
	}
	s.write("app.secret", secret+"\n")
	s.configure("t1")
	return s
}

// configure writes the configuration for some tasks.
func (s *site) configure(tasks ...string) {
	s.t.Helper()
	text := "applications:\n- name: fleet\n  url: " + s.URL + `
  app_id: app1
  secret_file: app.secret
  tls_config: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key}
  task_files: ['*.tasks.yml']
  tasks:
`
	for _, task := range tasks {
		text += "  - {task_id: " + task + ", labels: {team: blue}}\n"
	}
	s.write(configFile, text)
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil { //nolint:gosec // in a folder of the test's own
		s.t.Fatal(err)
	}
}

// edit replaces text that the configuration holds.
func (s *site) edit(before, after string) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, configFile))
	if err != nil {
		s.t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(before)) {
		s.t.Fatalf("the configuration holds no %q", before)
	}
	s.write(configFile, strings.ReplaceAll(string(text), before, after))
}

// output takes what a program writes while others read it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// program is the program, started.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout output
	stderr output
	exited chan struct{}
	url    string
}

// launch starts the program in a folder. Arguments with a = and no dash before
// it are environment variables.
func launch(t *testing.T, dir string, args ...string) *program {
	t.Helper()
	p := &program{t: t, exited: make(chan struct{})}
	env := append(os.Environ(), asProgram+"=1")
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		is := !strings.HasPrefix(arg, "-") && strings.Contains(arg, "=")
		if is {
			env = append(env, arg)
		}
		return is
	})
	p.cmd = exec.CommandContext(t.Context(), os.Args[0], args...) //nolint:gosec // the test itself
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the state tells
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if strings.Contains(p.stdout.String()+p.stderr.String(), secret) {
			t.Error("the secret was written")
		}
		if strings.Contains(p.stderr.String(), "DATA RACE") {
			t.Errorf("race:\n%s", p.stderr.String())
		}
	})
	return p
}

// end waits until the program has ended and returns its exit code.
func (p *program) end() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("still runs:\n%s", p.stderr.String())
		return 0
	}
}

// serve starts the program on a free port and waits until it listens.
func serve(t *testing.T, dir string, args ...string) *program {
	t.Helper()
	p := launch(t, dir, append(args, "--web.listen-address=127.0.0.1:0")...)
	listening := regexp.MustCompile(`127\.0\.0\.1:\d+`)
	p.eventually("listens", func() bool {
		p.url = "http://" + listening.FindString(p.stderr.String())
		return p.url != "http://"
	})
	return p
}

func (p *program) eventually(what string, is func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) || p.cmd.ProcessState != nil {
			p.t.Fatalf("never %s:\n%s", what, p.stderr.String())
		}
	}
}

// answer is how a request ended, apart from the body.
type answer struct {
	status int
	header http.Header
}

// do sends a request and returns the answer and its body; headers are pairs of name and value.
func (p *program) do(client *http.Client, method, path string, headers ...string) (answer, string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	for pair := range slices.Chunk(headers, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	res, err := client.Do(request)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.stderr.String())
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header}, string(body)
}

func (p *program) get(path string, headers ...string) (answer, string) {
	p.t.Helper()
	return p.do(http.DefaultClient, http.MethodGet, path, headers...)
}

// families parses metrics.
func families(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// value returns the value of a gauge whose labels include the given ones.
func value(t *testing.T, text, metric string, labels ...string) float64 {
	t.Helper()
	for _, m := range families(t, text)[metric].GetMetric() {
		var pairs []string
		for _, l := range m.GetLabel() {
			pairs = append(pairs, l.GetName()+"="+l.GetValue())
		}
		if !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(pairs, l) }) {
			return m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no %s with %v in:\n%s", metric, labels, text)
	return 0
}

func TestFlags(t *testing.T) {
	p := launch(t, t.TempDir(), "--help")
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	defaults := map[string]string{
		"help": "", "version": "",
		"config.file": `"huawei_iot_batch.yml"`, "config.check": "", "once": "",
		"web.listen-address": ":10105", "web.config.file": `""`, "web.systemd-socket": "",
		"web.telemetry-path": `"/metrics"`, "web.enable-lifecycle": "",
		"scrape.timeout-offset": "0.5s", "log.level": "info", "log.format": "logfmt",
	}
	got := make(map[string]string)
	for _, flag := range regexp.MustCompile(`(?m)^ {2}(?:-h,| {3}) --(?:\[no-\])?([a-z.-]+)(?:=(\S+))?`).FindAllStringSubmatch(p.stdout.String(), -1) {
		got[flag[1]] = flag[2]
	}
	if diff := cmp.Diff(defaults, got); diff != "" {
		t.Errorf("flags and defaults (-want +got):\n%s\n%s", diff, p.stdout.String())
	}
	for flag := range defaults {
		variable := "($HUAWEI_IOT_BATCH_EXPORTER_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(flag)) + ")"
		if flag != "help" && flag != "version" && !strings.Contains(p.stdout.String(), variable) {
			t.Errorf("--%s reads no variable %s", flag, variable)
		}
	}
}

func TestVersion(t *testing.T) {
	p := launch(t, t.TempDir(), "--version")
	if code := p.end(); code != 0 || !strings.HasPrefix(p.stdout.String(), name+", version") {
		t.Errorf("exit code %d, output %q", code, p.stdout.String())
	}
}

func TestMetrics(t *testing.T) {
	s := newSite(t)
	p := serve(t, s.dir)
	_, text := p.get("/metrics")
	got := families(t, text)
	task := "application task task_id"
	for _, want := range []struct {
		metric string
		typ    dto.MetricType
		labels string // sorted
	}{
		{"huawei_iot_batch_subtasks", dto.MetricType_GAUGE, "application status task task_id"},
		{"huawei_iot_batch_subtask_errors", dto.MetricType_GAUGE, "application error_code status task task_id"},
		{"huawei_iot_batch_task_up", dto.MetricType_GAUGE, task},
		{"huawei_iot_batch_task_last_refresh_timestamp_seconds", dto.MetricType_GAUGE, task},
		{"huawei_iot_batch_task_info", dto.MetricType_GAUGE, "application task task_id task_name task_type team"},
		{"huawei_iot_batch_application_up", dto.MetricType_GAUGE, "application"},
		{"huawei_iot_batch_api_requests_total", dto.MetricType_COUNTER, "application operation"},
		{"huawei_iot_batch_api_errors_total", dto.MetricType_COUNTER, "application error_code http_status operation"},
		{"huawei_iot_batch_api_throttled_total", dto.MetricType_COUNTER, "application operation"},
		{"huawei_iot_batch_api_deferred_total", dto.MetricType_COUNTER, "application"},
		{"huawei_iot_batch_api_request_duration_seconds", dto.MetricType_HISTOGRAM, "application operation"},
		{"huawei_iot_batch_api_calls_per_minute_limit", dto.MetricType_GAUGE, "application"},
		{"huawei_iot_batch_api_calls_available", dto.MetricType_GAUGE, "application"},
		{"huawei_iot_batch_api_calls_per_minute_wanted", dto.MetricType_GAUGE, "application"},
		{"huawei_iot_batch_exporter_config_last_reload_successful", dto.MetricType_GAUGE, ""},
		{"huawei_iot_batch_exporter_config_last_reload_success_timestamp_seconds", dto.MetricType_GAUGE, ""},
		{"huawei_iot_batch_exporter_build_info", dto.MetricType_GAUGE, "branch goarch goos goversion revision tags version"},
		{"go_goroutines", dto.MetricType_GAUGE, ""},
		{"process_start_time_seconds", dto.MetricType_GAUGE, ""},
		{"promhttp_metric_handler_requests_total", dto.MetricType_COUNTER, "code"},
		{"promhttp_metric_handler_requests_in_flight", dto.MetricType_GAUGE, ""},
		{"promhttp_metric_handler_errors_total", dto.MetricType_COUNTER, "cause"},
	} {
		family := got[want.metric]
		if family == nil {
			t.Errorf("no %s", want.metric)
			continue
		}
		var labels []string
		for _, l := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		if typ, labels := family.GetType(), strings.Join(labels, " "); typ != want.typ || labels != want.labels {
			t.Errorf("%s: %v with labels %q, want %v with %q", want.metric, typ, labels, want.typ, want.labels)
		}
	}

	truth := s.Truth("t1")
	for status, n := range truth.Statuses {
		if got := value(t, text, "huawei_iot_batch_subtasks", "task=t1", "status="+status); got != float64(n) {
			t.Errorf("%v subtasks in status %s, want %d", got, status, n)
		}
	}
	for failure, n := range truth.Errors {
		code := failure.Code
		if code == "" {
			code = "unknown"
		}
		if got := value(t, text, "huawei_iot_batch_subtask_errors", "status="+failure.Status, "error_code="+code); got != float64(n) {
			t.Errorf("%v subtasks with %+v, want %d", got, failure, n)
		}
	}

	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
}

func TestMetricsInOtherForms(t *testing.T) {
	p := serve(t, newSite(t).dir)
	res, text := p.get("/metrics", "Accept", "application/openmetrics-text;version=1.0.0")
	if typ := res.header.Get("Content-Type"); !strings.HasPrefix(typ, "application/openmetrics-text") || !strings.HasSuffix(text, "# EOF\n") {
		t.Errorf("%s:\n%s", typ, text)
	}
	res, text = p.get("/metrics", "Accept-Encoding", "gzip")
	if encoding := res.header.Get("Content-Encoding"); encoding != "gzip" {
		t.Fatalf("encoding %q", encoding)
	}
	r, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil || value(t, string(plain), "huawei_iot_batch_task_up") != 1 {
		t.Errorf("%v in:\n%s", err, plain)
	}
}

func TestEndpoints(t *testing.T) {
	p := serve(t, newSite(t).dir, "--web.telemetry-path=/here")
	for _, tc := range []struct {
		method, path string
		status       int
		want         string // part of the body
	}{
		{"GET", "/here", 200, `huawei_iot_batch_subtasks{application="fleet",status="Success",task="t1",task_id="t1"} 3`},
		{"GET", "/metrics", 404, "/here"},
		{"GET", "/probe?application=fleet&task_id=t2", 200, `huawei_iot_batch_subtasks{application="fleet",status="Success",task="t2",task_id="t2"} 5`},
		{"GET", "/probe?application=none&task_id=t2", 400, "application"},
		{"GET", "/probe?application=fleet", 400, "task_id"},
		{"GET", "/", 200, "fleet"},
		{"GET", "/config", 200, "app_id: app1"},
		{"GET", "/-/healthy", 200, ""},
		{"GET", "/-/ready", 200, ""},
		{"POST", "/-/reload", 403, "--web.enable-lifecycle"},
		{"GET", "/-/reload", 405, "POST"},
		{"POST", "/here", 405, "GET"},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			res, text := p.do(http.DefaultClient, tc.method, tc.path)
			if res.status != tc.status || !strings.Contains(text, tc.want) {
				t.Errorf("status %d, want %d; body, want one with %q:\n%s", res.status, tc.status, tc.want, text)
			}
			if strings.Contains(text, secret) {
				t.Error("shows the secret")
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for name, tc := range map[string]struct {
		spoil func(s *site)
		args  []string
		want  string
	}{
		"no file":              {args: []string{"--config.file=none.yml"}, want: "none.yml: "},
		"a folder":             {args: []string{"--config.file=."}, want: "cannot be read"},
		"broken YAML":          {spoil: func(s *site) { s.write(configFile, "applications: [") }, want: configFile + ":1: "},
		"empty":                {spoil: func(s *site) { s.write(configFile, "") }, want: configFile + ": is empty"},
		"an unknown key":       {spoil: func(s *site) { s.edit("tasks:", "colour: red\n  tasks:") }, want: configFile + ":8: "},
		"a wrong URL":          {spoil: func(s *site) { s.edit(s.URL, "127.0.0.1:1") }, want: "url: must be"},
		"no secret":            {spoil: func(s *site) { s.edit("app.secret", "other.secret") }, want: "other.secret"},
		"an empty secret":      {spoil: func(s *site) { s.write("app.secret", "\n") }, want: "is empty"},
		"a secret's folder":    {spoil: func(s *site) { s.edit("app.secret", ".") }, want: "secret_file"},
		"a key that fits not":  {spoil: func(s *site) { s.write("client.key", otherKey(s.t)) }, want: "tls_config"},
		"no certificate":       {spoil: func(s *site) { s.write("ca.pem", "no certificate") }, want: "tls_config"},
		"a broken task file":   {spoil: func(s *site) { s.write("x.tasks.yml", "- targets: [t1") }, want: "x.tasks.yml:1: "},
		"an endless secret":    {spoil: func(s *site) { s.write("app.secret", strings.Repeat("x", 64<<10+1)) }, want: "is longer than"},
		"an empty address":     {args: []string{"--web.listen-address="}, want: "--web.listen-address is empty"},
		"no address":           {args: []string{"--web.listen-address=abc"}, want: "give --web.listen-address a host and a port"},
		"a taken port":         {args: []string{"--web.listen-address=" + taken.Addr().String()}, want: "--web.listen-address"},
		"no web configuration": {args: []string{"--web.config.file=none.yml"}, want: "--web.config.file none.yml"},
		"a web configuration":  {spoil: func(s *site) { s.write("web.yml", "x: 1\ny: 2\n") }, args: []string{"--web.config.file=web.yml"}, want: "web.yml"},
		"an unknown flag":      {args: []string{"--none"}, want: "--none"},
		"an argument":          {args: []string{"none"}, want: "none"},
		"a level":              {args: []string{"--log.level=loud"}, want: "--log.level"},
		"a format":             {args: []string{"--log.format=xml"}, want: "--log.format"},
		"an offset":            {args: []string{"--scrape.timeout-offset=soon"}, want: "--scrape.timeout-offset"},
		"a negative offset":    {args: []string{"--scrape.timeout-offset=-1s"}, want: "--scrape.timeout-offset"},
		"a path":               {args: []string{"--web.telemetry-path=/"}, want: "--web.telemetry-path"},
		"a path that is taken": {args: []string{"--web.telemetry-path=/probe"}, want: "--web.telemetry-path"},
		"a variable":           {args: []string{"HUAWEI_IOT_BATCH_EXPORTER_ONCE=perhaps"}, want: "--once"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			if tc.spoil != nil {
				tc.spoil(s)
			}
			p := launch(t, s.dir, append(tc.args, "HUAWEI_IOT_BATCH_EXPORTER_WEB_LISTEN_ADDRESS=127.0.0.1:0")...)
			code, text := p.end(), p.stderr.String()
			if code != 1 || strings.Count(text, "\n") != 1 || !strings.Contains(text, tc.want) {
				t.Errorf("exit code %d, want 1; complaints, want one with %q:\n%s", code, tc.want, text)
			}
			if !strings.HasPrefix(text, "huawei_iot_batch_exporter: ") || p.stdout.String() != "" {
				t.Errorf("standard error %q, output %q", text, p.stdout.String())
			}
			if calls := s.Calls(); len(calls) > 0 {
				t.Errorf("called the platform: %v", calls)
			}
		})
	}
}

// otherKey returns a private key that fits no certificate of a site.
func otherKey(t *testing.T) string {
	t.Helper()
	_, key := serverCertificate(t)
	return key
}

// serverCertificate returns a certificate for the loopback address and its key.
func serverCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	pair := s.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestConfigCheck(t *testing.T) {
	s := newSite(t)
	p := launch(t, s.dir, "--config.check")
	if code := p.end(); code != 0 || p.stdout.String() != "config is valid\n" || p.stderr.String() != "" {
		t.Errorf("exit code %d, output %q, %q", code, p.stdout.String(), p.stderr.String())
	}
	s.write("app.secret", "")
	s.write("ca.pem", "")
	p = launch(t, s.dir, "--config.check", "--web.config.file=none.yml")
	if code, text := p.end(), p.stderr.String(); code != 1 || strings.Count(text, "\n") != 3 || p.stdout.String() != "" {
		t.Errorf("exit code %d, output %q, complaints %q", code, p.stdout.String(), text)
	}
	if calls := s.Calls(); len(calls) > 0 {
		t.Errorf("called the platform: %v", calls)
	}
}

func TestOnce(t *testing.T) {
	s := newSite(t)
	s.configure("t1", "t2")
	p := launch(t, s.dir, "--once")
	code, text := p.end(), p.stdout.String()
	if code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	for _, task := range []string{"t1", "t2"} {
		if value(t, text, "huawei_iot_batch_task_up", "task="+task) != 1 {
			t.Errorf("%s is not up", task)
		}
	}
	for _, metric := range slices.Sorted(maps.Keys(families(t, text))) {
		if !strings.HasPrefix(metric, "huawei_iot_batch_") {
			t.Errorf("%s would collide with that of the textfile collector", metric)
		}
	}

	s.configure("t1", "unknown")
	p = launch(t, s.dir, "--once")
	code, text = p.end(), p.stdout.String()
	if code != 1 || !strings.Contains(p.stderr.String(), "huawei_iot_batch_exporter: not every task could be read") {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	if value(t, text, "huawei_iot_batch_task_up", "task=unknown") != 0 || value(t, text, "huawei_iot_batch_task_up", "task=t1") != 1 {
		t.Errorf("wrong task down:\n%s", text)
	}
}

// stuck has the platform answer no taskDetails. The returned channel is closed
// when it is asked.
func stuck() (northboundtest.Option, chan struct{}) {
	asked, once := make(chan struct{}), new(sync.Once)
	return northboundtest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != northboundtest.TaskDetailsPath {
				next.ServeHTTP(w, r)
				return
			}
			once.Do(func() { close(asked) })
			<-r.Context().Done()
		})
	}), asked
}

func TestOnceStopsBySignal(t *testing.T) {
	option, asked := stuck()
	p := launch(t, newSite(t, option).dir, "--once")
	<-asked
	p.signal(syscall.SIGINT)
	if code := p.end(); code != 1 || !strings.Contains(p.stderr.String(), "stopped before every task was read") {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	if value(t, p.stdout.String(), "huawei_iot_batch_task_up") != 0 {
		t.Errorf("printed:\n%s", p.stdout.String())
	}
}

func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func TestStop(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			option, asked := stuck()
			p := serve(t, newSite(t, option).dir)
			scraped := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				request, _ := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/metrics", nil)
				request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "60")
				res, err := http.DefaultClient.Do(request)
				if err == nil {
					var text []byte
					text, err = io.ReadAll(res.Body)
					err = errors.Join(err, res.Body.Close())
					if !bytes.Contains(text, []byte("huawei_iot_batch_task_up")) {
						err = errors.Join(err, fmt.Errorf("scraped %q", text))
					}
				}
				scraped <- err
			}()
			<-asked
			began := time.Now()
			p.signal(s)
			if code := p.end(); code != 0 {
				t.Errorf("exit code %d:\n%s", code, p.stderr.String())
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
			if err := <-scraped; err != nil {
				t.Errorf("scrape under way: %v", err)
			}
		})
	}
}

func TestReload(t *testing.T) {
	for name, send := range map[string]func(p *program){
		"SIGHUP": func(p *program) { p.signal(syscall.SIGHUP) },
		"POST":   func(p *program) { p.do(http.DefaultClient, http.MethodPost, "/-/reload") },
		"PUT":    func(p *program) { p.do(http.DefaultClient, http.MethodPut, "/-/reload") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			p := serve(t, s.dir, "--web.enable-lifecycle")
			successful := func() float64 {
				_, text := p.get("/metrics")
				return value(t, text, "huawei_iot_batch_exporter_config_last_reload_successful")
			}
			if successful() != 1 {
				t.Error("not successful at the start")
			}

			s.configure("t2")
			send(p)
			p.eventually("another task", func() bool {
				_, text := p.get("/metrics")
				return strings.Contains(text, `huawei_iot_batch_task_up{application="fleet",task="t2",task_id="t2"} 1`)
			})
			logins := 0
			for _, call := range s.Calls() {
				if call.Operation == northboundtest.OperationLogin {
					logins++
				}
			}
			if logins != 1 {
				t.Errorf("%d logins, want that the token is kept", logins)
			}

			// What it names is broken, too.
			s.edit("ca.pem", "none.pem")
			send(p)
			p.eventually("unsuccessful", func() bool { return successful() == 0 })
			_, text := p.get("/config")
			if !strings.Contains(text, "task_id: t2") || strings.Contains(text, "none.pem") {
				t.Errorf("in force:\n%s", text)
			}
			if !strings.Contains(p.stderr.String(), "none.pem") {
				t.Errorf("log:\n%s", p.stderr.String())
			}

			s.configure("t1")
			send(p)
			p.eventually("successful", func() bool { return successful() == 1 })
		})
	}
}

func TestReloadByPostTellsWhatIsWrong(t *testing.T) {
	s := newSite(t)
	p := serve(t, s.dir, "--web.enable-lifecycle")
	s.edit("- name: fleet", "- name: fleet\n  colour: red")
	res, text := p.do(http.DefaultClient, http.MethodPost, "/-/reload")
	if res.status != http.StatusInternalServerError || !strings.Contains(text, configFile+":3: ") || strings.Count(text, "\n") != 1 {
		t.Errorf("status %d:\n%s", res.status, text)
	}
}

func TestTaskFilesAreWatched(t *testing.T) {
	s := newSite(t)
	p := serve(t, s.dir)
	s.write("new", "- targets: [t2]\n")
	if err := os.Rename(filepath.Join(s.dir, "new"), filepath.Join(s.dir, "more.tasks.yml")); err != nil {
		t.Fatal(err)
	}
	p.eventually("another task", func() bool {
		_, text := p.get("/metrics")
		return strings.Contains(text, `task="t2"`)
	})
}

func TestEnvironment(t *testing.T) {
	s := newSite(t)
	if err := os.Rename(filepath.Join(s.dir, configFile), filepath.Join(s.dir, "mine.yml")); err != nil {
		t.Fatal(err)
	}
	p := serve(t, s.dir, "HUAWEI_IOT_BATCH_EXPORTER_CONFIG_FILE=mine.yml",
		"HUAWEI_IOT_BATCH_EXPORTER_WEB_TELEMETRY_PATH=/here", "HUAWEI_IOT_BATCH_EXPORTER_WEB_ENABLE_LIFECYCLE=true",
		"HUAWEI_IOT_BATCH_EXPORTER_LOG_FORMAT=json", "HUAWEI_IOT_BATCH_EXPORTER_VERSION=1.2.3")
	if _, text := p.get("/here"); value(t, text, "huawei_iot_batch_task_up") != 1 {
		t.Errorf("metrics:\n%s", text)
	}
	if res, _ := p.do(http.DefaultClient, http.MethodPost, "/-/reload"); res.status != http.StatusOK {
		t.Errorf("reload: status %d", res.status)
	}
}

func TestLog(t *testing.T) {
	for format, line := range map[string]string{
		"logfmt": `^ts=\S+Z level=info caller=\w+\.go:\d+ msg="Listening on" address=\S+$`,
		"json":   `^{"address":"\S+","caller":"\w+\.go:\d+","level":"info","msg":"Listening on","ts":"\S+Z"}$`,
	} {
		t.Run(format, func(t *testing.T) {
			s := newSite(t)
			p := serve(t, s.dir, "--log.format="+format)
			if !regexp.MustCompile(`(?m)` + line).MatchString(p.stderr.String()) {
				t.Errorf("no line like %s in:\n%s", line, p.stderr.String())
			}
			p.signal(syscall.SIGHUP)
			p.eventually("reloaded", func() bool { return strings.Contains(p.stderr.String(), "configuration reloaded") })
			if !regexp.MustCompile(`caller"?[:=]"?reload\.go:`).MatchString(p.stderr.String()) {
				t.Errorf("wrong caller in:\n%s", p.stderr.String())
			}
		})
	}
	t.Run("level", func(t *testing.T) {
		s := newSite(t)
		s.configure("unknown")
		p := launch(t, s.dir, "--once", "--log.level=error")
		p.end()
		if strings.Contains(p.stderr.String(), "level=") {
			t.Errorf("logged:\n%s", p.stderr.String())
		}
	})
}

func TestWebConfiguration(t *testing.T) {
	s := newSite(t)
	cert, key := serverCertificate(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("pa55word"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	s.write("server.pem", cert)
	s.write("server.key", key)
	s.write("web.yml", "tls_server_config: {cert_file: server.pem, key_file: server.key}\nbasic_auth_users: {prometheus: "+string(hash)+"}\n")
	p := serve(t, s.dir, "--web.config.file=web.yml", "--web.enable-lifecycle")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	t.Cleanup(client.CloseIdleConnections)

	if res, _ := p.get("/metrics"); res.status != http.StatusBadRequest {
		t.Errorf("without TLS: status %d", res.status)
	}
	p.url = strings.Replace(p.url, "http:", "https:", 1)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("prometheus", "pa55word")
	for _, path := range []string{"/", "/metrics", "/config", "/-/healthy", "/-/ready", "/probe?application=fleet&task_id=t1", "/-/reload", "/none"} {
		method := http.MethodGet
		if path == "/-/reload" {
			method = http.MethodPost
		}
		if res, text := p.do(client, method, path); res.status != http.StatusUnauthorized {
			t.Errorf("%s without a password: status %d:\n%s", path, res.status, text)
		}
		want := http.StatusOK
		if path == "/none" {
			want = http.StatusNotFound
		}
		if res, text := p.do(client, method, path, "Authorization", request.Header.Get("Authorization")); res.status != want {
			t.Errorf("%s with it: status %d:\n%s", path, res.status, text)
		}
	}
}
