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

// patience is how long anything may take.
const patience = 30 * time.Second

// TestMain lets many rows run at once: they wait more than they work.
func TestMain(m *testing.M) {
	flag.Parse()
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
	client *http.Client           // of whoever scrapes
	url    string                 // of the exporter
	cmd    *exec.Cmd
	exited chan struct{}
}

// realFault is a row of the matrix in real time.
type realFault struct {
	fault
	begin, end func(w *realWorld)
}

// inRealTime runs rows of the matrix against the program.
func inRealTime(t *testing.T, faults []realFault) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newRealWorld(t)
			row := f.fault
			row.begin = func(*world) { f.begin(w) }
			if f.end != nil {
				row.end = func(*world) { f.end(w) }
			}
			row.run(t, w.world)
			w.checkLeaks(t)
		})
	}
}

func newRealWorld(t *testing.T, args ...string) *realWorld {
	t.Helper()
	w := &realWorld{world: &world{
		fleet: new(platform), other: new(platform),
		dir: t.TempDir(), log: new(output),
		interval: 400 * time.Millisecond, staleness: 3 * time.Second, limit: 900,
	}}
	w.server = w.fleet.serve(t, w.dir, northboundtest.WithClientCertificates())
	other := w.other.serve(t, filepath.Join(w.dir, "other"))
	w.populate()
	w.proxy = newProxy(t, strings.TrimPrefix(w.server.URL, "https://"))
	w.configure(t, time.Second, "https://"+w.proxy.Listen, "ca_file: ca.pem, cert_file: client.pem, key_file: client.key",
		other.URL, "ca_file: other/ca.pem")
	w.start(t, args...)
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
	w.cmd = exec.CommandContext(context.Background(), buildProgram(t), append([]string{"--log.level=debug", "--web.listen-address=127.0.0.1:0"}, args...)...) //nolint:gosec // built above
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
			w.url = "http://" + address
			return
		}
		if time.Since(began) > patience || w.cmd.ProcessState != nil {
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
