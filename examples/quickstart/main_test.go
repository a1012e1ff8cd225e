package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	_ "huawei_iot_batch_exporter/collector/web" // so that go test notices when the exporter changes
	"huawei_iot_batch_exporter/config"
)

// beQuickstart makes the test's own program be quickstart.
const beQuickstart = "BE_QUICKSTART"

func TestMain(m *testing.M) {
	if os.Getenv(beQuickstart) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// quickstart is the program at work.
type quickstart struct {
	*exec.Cmd
	temp string // where it makes its folder
	out  *bufio.Scanner
	logs bytes.Buffer // complete when it has ended
}

func newQuickstart(t *testing.T, args ...string) *quickstart {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...) //nolint:gosec // this very program
	q := &quickstart{Cmd: cmd, temp: t.TempDir()}
	q.Env = append(os.Environ(), beQuickstart+"=1", "TMPDIR="+q.temp, "TMP="+q.temp)
	q.Stderr = &q.logs
	q.Cancel = func() error { return q.Process.Signal(os.Interrupt) }
	q.WaitDelay = 2 * stopTimeout
	out, err := q.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	q.out = bufio.NewScanner(out)
	return q
}

// printed waits for a line and returns what the group in the pattern matched.
func (q *quickstart) printed(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for q.out.Scan() {
		if match := re.FindStringSubmatch(q.out.Text()); match != nil {
			return match[1]
		}
	}
	err := q.Wait()
	t.Fatalf("ended (%v) before it printed %q\n%s", err, pattern, &q.logs)
	return ""
}

func (q *quickstart) expectNothingLeft(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(q.temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestQuickstart(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an interrupt cannot be sent")
	}
	if _, err := os.Stat(filepath.Join("..", "..", "main.go")); err != nil { // as above
		t.Fatal(err)
	}
	q := newQuickstart(t, "--web.listen-address=127.0.0.1:0")
	if err := q.Start(); err != nil {
		t.Fatal(err)
	}
	metrics := q.printed(t, `^ *(http://\S+/metrics)$`)
	probe := q.printed(t, `^ *(http://\S+/probe\S+)$`)
	configFile := q.printed(t, `^ *(\S+\.yml)$`)

	t.Run("configuration", func(t *testing.T) { checkConfiguration(t, configFile) })
	t.Run("probe", func(t *testing.T) {
		up := scrape(t, probe).by("task_id", "huawei_iot_batch_task_up")
		if diff := cmp.Diff(map[string]int{probedTask: 1}, up); diff != "" {
			t.Errorf("task_up (-want +got):\n%s", diff)
		}
	})
	t.Run("metrics", func(t *testing.T) { checkMetrics(t, metrics) })

	if err := q.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := q.Wait(); err != nil {
		t.Errorf("did not end well: %v\n%s", err, &q.logs)
	}
	q.expectNothingLeft(t)
	if _, err := fetch(t.Context(), metrics); err == nil {
		t.Error("the exporter still serves")
	}
}

func checkConfiguration(t *testing.T, file string) {
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Check(); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(cfg.Applications[0].SecretFile)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the secret: %s", info.Mode())
	}
}

func TestAddressInUse(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	q := newQuickstart(t, "--web.listen-address", listener.Addr().String())
	var exit *exec.ExitError
	if err := q.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended with %v, want exit code 1", err)
	}
	if text := q.logs.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "--web.listen-address") {
		t.Errorf("want one line that names the flag, got:\n%s", text)
	}
	q.expectNothingLeft(t)
}

func TestBrokenExporter(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell script")
	}
	binary := filepath.Join(t.TempDir(), "exporter")
	//nolint:gosec // has to be a program
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho broken >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	e, err := start(t.Context(), binary, "none.yml", "127.0.0.1:0", &logs)
	if err != nil {
		t.Fatal(err)
	}
	defer e.stop()
	var exit *exec.ExitError
	if err := e.ready(t.Context()); !errors.As(err, &exit) {
		t.Errorf("ready: %v, want the exit code", err)
	}
	if logs.String() != "broken\n" {
		t.Errorf("log: %q", &logs)
	}
}

func TestInterruptedEarly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out, logs bytes.Buffer
	if err := run(ctx, "127.0.0.1:0", &out, &logs); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestURLOf(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:10105":    "http://127.0.0.1:10105",
		"[::1]:10105":        "http://[::1]:10105",
		":10105":             "http://localhost:10105",
		"[::]:10105":         "http://localhost:10105",
		"0.0.0.0:10105":      "http://localhost:10105",
		"iot.example.com:80": "http://iot.example.com:80",
	} {
		if got := urlOf(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
