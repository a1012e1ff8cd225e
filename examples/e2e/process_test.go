package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// names under which packagers ship a program.
var names = map[string][]string{
	"prometheus":   {"prometheus"},
	"promtool":     {"promtool"},
	"alertmanager": {"alertmanager", "prometheus-alertmanager"},
	"amtool":       {"amtool"},
}

// lookUp finds a program: in the folder E2E_BIN, else in PATH.
func lookUp(program string) (string, error) {
	for _, name := range names[program] {
		if path, err := exec.LookPath(filepath.Join(os.Getenv("E2E_BIN"), name)); os.Getenv("E2E_BIN") != "" && err == nil {
			return filepath.Abs(path)
		}
	}
	for _, name := range names[program] {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is neither in the folder E2E_BIN nor in PATH; examples/e2e/README.md says how to get it", program)
}

// find looks a program up and skips the test if there is none; with E2E_REQUIRED
// set, it fails.
func find(t *testing.T, program string) string {
	t.Helper()
	path, err := lookUp(program)
	switch {
	case err != nil && os.Getenv("E2E_REQUIRED") != "":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	return path
}

// build compiles a package of the exporter's module.
func build(ctx context.Context, pkg, output string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", output, pkg) //nolint:gosec // from the tests
	cmd.Dir = root
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// command runs a program to its end and returns what it printed.
func command(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...) //nolint:gosec // from the tests
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %q: %v\n%s", filepath.Base(program), args, err, text)
	}
	return string(text)
}

// process is a program that runs in the background.
type process struct {
	name, log string
	cancel    context.CancelFunc
	ended     chan struct{} // closed when it has ended
}

func launch(dir, log, program string, args ...string) (*process, error) {
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // in the stack's folder
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // from the tests
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, output, output
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	p := &process{name: filepath.Base(program), log: log, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait()     // how it ended is in its log
		_ = output.Close() // read by nobody but us
	}()
	return p, nil
}

// stop ends the program and waits until it has ended.
func (p *process) stop() {
	p.cancel()
	<-p.ended
}

// ready waits until the program answers a URL.
func (p *process) ready(ctx context.Context, url string) error {
	for !answers(ctx, url) {
		select {
		case <-time.After(100 * time.Millisecond):
			continue
		case <-p.ended:
		case <-ctx.Done():
		}
		text, err := os.ReadFile(p.log)
		return fmt.Errorf("%s does not answer %s: %w\n%s", p.name, url, err, text)
	}
	return nil
}
