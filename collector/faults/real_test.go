package faults

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

const (
	// patience is how long anything may take.
	patience = 30 * time.Second
	// callTimeout is as short as a busy machine can keep it.
	callTimeout = 2 * time.Second
)

// TestMain lets many rows run at once: they wait more than they work.
func TestMain(m *testing.M) {
	flag.Parse()
	zerolog.SetGlobalLevel(zerolog.Disabled) // the fault proxy's toxics log past their proxy
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(filepath.Dir(program.path))
	os.Exit(code)
}

// program is the exporter, built once; with the race detector if the tests are.
var program struct {
	once sync.Once
	path string
	err  error
}

func buildProgram(t *testing.T) string {
	t.Helper()
	program.once.Do(func() {
		var dir string
		if dir, program.err = os.MkdirTemp("", "faults_"); program.err != nil {
			return
		}
		program.path = filepath.Join(dir, "huawei_iot_batch_exporter")
		args := []string{"build", "-buildvcs=false", "-o", program.path}
		if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
			args = append(args, "-race")
		}
		text, err := exec.CommandContext(context.Background(), "go", append(args, "huawei_iot_batch_exporter")...).CombinedOutput() //nolint:gosec // nothing in it is from outside
		if err != nil {
			program.err = fmt.Errorf("go build: %w\n%s", err, text)
		}
	})
	if program.err != nil {
		t.Fatal(program.err)
	}
	return program.path
}

// realWorld is a world in real time: the program itself, which reaches the
// platform "fleet" over mutual TLS and through a fault proxy.
type realWorld struct {
	*world
	server *northboundtest.Server // of fleet
	proxy  *toxiproxy.Proxy       // in front of it
	second *northboundtest.Server // of the same platform, where a row needs one
	client *http.Client           // of whoever scrapes
	shell  string                 // what a shell does before it becomes the program; may be empty
	scheme string                 // of the exporter
	url    string                 // of the exporter
	cmd    *exec.Cmd
	exited chan struct{}
}

// realFault is a row of the matrix in real time.
type realFault struct {
	fault
	begin, end func(w *realWorld)
	// prepare, if set, readies what there is before the program starts, and
	// returns arguments for it.
	prepare func(t *testing.T, w *realWorld) []string
	// during, if set, goes on beside the runner's scrapes. The fault lasts until it
	// returns.
	during func(t *testing.T, w *realWorld)
}

// inRealTime runs rows of the matrix against the program.
func inRealTime(t *testing.T, faults []realFault) {
	t.Helper()
	t.Parallel()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := idleWorld(t)
			var args []string
			if f.prepare != nil {
				args = f.prepare(t, w)
			}
			w.start(t, args...)
			f.in(t, w).run(t, w.world)
			w.checkLeaks(t)
		})
	}
}

// in is the row for a world.
func (f realFault) in(t *testing.T, w *realWorld) fault {
	row := f.fault
	if row.within == 0 {
		row.within = patience // how busy the machine is, nobody knows
	}
	over := make(chan struct{})
	row.begin = func(*world) {
		if f.begin != nil {
			f.begin(w)
		}
		if f.during == nil {
			close(over)
			return
		}
		t.Cleanup(func() { <-over })
		go func() {
			defer close(over)
			f.during(t, w)
		}()
	}
	row.goesOn = func() bool {
		select {
		case <-over:
			return false
		default:
			return true
		}
	}
	row.end = func(*world) {
		<-over
		if f.end != nil {
			f.end(w)
		}
	}
	return row
}

func newRealWorld(t *testing.T, args ...string) *realWorld {
	t.Helper()
	w := idleWorld(t)
	w.start(t, args...)
	return w
}

// idleWorld is one in which the program does not run yet.
func idleWorld(t *testing.T) *realWorld {
	t.Helper()
	w := &realWorld{scheme: "http", world: &world{
		fleet: new(platform), other: new(platform),
		dir: t.TempDir(), log: new(output),
		interval: 400 * time.Millisecond, staleness: 3 * time.Second, limit: 900,
	}}
	w.server = w.fleet.serve(t, w.dir, northboundtest.WithClientCertificates())
	other := w.other.serve(t, filepath.Join(w.dir, "other"))
	w.populate()
	w.proxy = newProxy(t, strings.TrimPrefix(w.server.URL, "https://"))
	w.configure(t, callTimeout, "https://"+w.proxy.Listen, "ca_file: ca.pem, cert_file: client.pem, key_file: client.key",
		other.URL, "ca_file: other/ca.pem")
	w.client = &http.Client{Transport: &http.Transport{}}
	t.Cleanup(w.client.CloseIdleConnections)
	w.get = func(t *testing.T, path string, headers ...string) *http.Response {
		t.Helper()
		response, err := w.do(t.Context(), http.MethodGet, path, headers...)
		if err != nil {
			t.Fatalf("%v\nlog:\n%s", err, w.log.tail(6000))
		}
		return response
	}
	return w
}

// serve starts the platform and writes its certificates into a folder.
func (p *platform) serve(t *testing.T, dir string, opts ...northboundtest.Option) *northboundtest.Server {
	t.Helper()
	server := northboundtest.NewServer(append(opts, northboundtest.WithCallLimit(1000), northboundtest.WithMiddleware(p.middleware))...)
	t.Cleanup(server.Close)
	p.Platform = server.Platform
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := server.WriteCertificates(dir); err != nil {
		t.Fatal(err)
	}
	return server
}

func newProxy(t *testing.T, upstream string) *toxiproxy.Proxy {
	t.Helper()
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), t.Name(), "127.0.0.1:0", upstream)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	return proxy
}

// toxic adds a fault to what flows from the platform to the exporter.
func (w *realWorld) toxic(kind string, attributes map[string]any) {
	text, err := json.Marshal(map[string]any{"type": kind, "stream": "downstream", "attributes": attributes})
	if err == nil {
		_, err = w.proxy.Toxics.AddToxicJson(strings.NewReader(string(text)))
	}
	if err != nil {
		panic(err)
	}
}

// start starts the program and waits until it listens.
func (w *realWorld) start(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"-c", w.shell + `
exec "$0" "$@"`, buildProgram(t), "--log.level=debug", "--web.listen-address=127.0.0.1:0"}, args...)
	w.cmd = exec.CommandContext(context.Background(), "sh", args...) //nolint:gosec // built above
	w.cmd.Dir, w.cmd.Stdout, w.cmd.Stderr = w.dir, w.log, w.log
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.exited = make(chan struct{})
	go func() {
		defer close(w.exited)
		_ = w.cmd.Wait() // the state tells
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-w.exited:
		case <-time.After(5 * time.Second):
			t.Error("does not stop within 5 s")
			_ = w.cmd.Process.Kill()
			<-w.exited
		}
		if code := w.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit code %d; log:\n%s", code, w.log.tail(6000))
		}
		if strings.Contains(w.log.String(), "DATA RACE") || strings.Contains(w.log.String(), "panic") {
			t.Errorf("log:\n%s", w.log.tail(10_000))
		}
	})
	listening := regexp.MustCompile(`127\.0\.0\.1:\d+`)
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if address := listening.FindString(w.log.String()); address != "" {
			w.url = w.scheme + "://" + address
			return
		}
		ended := false
		select {
		case <-w.exited:
			ended = true
		default:
		}
		if ended || time.Since(began) > patience {
			t.Fatalf("does not listen:\n%s", w.log.String())
		}
	}
}

// do sends a request to the exporter.
func (w *realWorld) do(ctx context.Context, method, path string, headers ...string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, w.url+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	for pair := range slices.Chunk(headers, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	return w.client.Do(request)
}

// checkLeaks checks that the process holds no more than at rest, a while after
// the fault.
func (w *realWorld) checkLeaks(t *testing.T) {
	t.Helper()
	const goroutines, descriptors = 60, 40 // at most: at rest it has about half as many
	var has [2]float64
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(w.interval) {
		families := w.families(t, "/metrics")
		for i, name := range []string{"go_goroutines", "process_open_fds"} {
			has[i] = families[name].GetMetric()[0].GetGauge().GetValue()
		}
		if has[0] <= goroutines && has[1] <= descriptors {
			return
		}
	}
	t.Errorf("%v goroutines and %v descriptors are left", has[0], has[1])
}

// discard reads an answer to its end.
func discard(response *http.Response, err error) error {
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}
