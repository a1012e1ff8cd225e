package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// probed are the tasks of the application "fleet" that are probed, next to the
// scrapes: configured, known to the platform, and not.
var probed = []string{"victim", "unlisted", "nowhere"}

// watchers are two Prometheus servers, or what scrapes like them.
type watchers []*prometheusServer

// watch starts them. They scrape every world every second until they are stopped.
func watch(t *testing.T, worlds []*soaked) watchers {
	t.Helper()
	programs := lookUpPrometheus()
	if len(programs) == 0 {
		t.Log("there is no Prometheus")
		for range 2 {
			imitate(t, worlds)
		}
		return nil
	}
	t.Log(programs)
	return watchers{startPrometheus(t, programs[0], worlds), startPrometheus(t, programs[len(programs)-1], worlds)}
}

func (all watchers) check(t *testing.T) {
	t.Helper()
	for _, p := range all {
		p.check(t)
	}
}

func (all watchers) finish(t *testing.T) {
	t.Helper()
	for _, p := range all {
		p.finish(t)
	}
}

// lookUpPrometheus looks in the folder E2E_BIN and in PATH.
func lookUpPrometheus() []string {
	var programs []string
	for _, name := range []string{filepath.Join(os.Getenv("E2E_BIN"), "prometheus"), "prometheus"} {
		if program, err := exec.LookPath(name); err == nil {
			programs = append(programs, program)
		}
	}
	return programs
}

// imitate scrapes as a Prometheus server does, until the test ends.
func imitate(t *testing.T, worlds []*soaked) {
	t.Helper()
	var scrapers sync.WaitGroup
	t.Cleanup(scrapers.Wait)
	for _, w := range worlds {
		for _, path := range append([]string{"/metrics"}, probePaths()...) {
			scrapers.Go(func() {
				for ; t.Context().Err() == nil; sleep(t.Context(), time.Second) {
					if _, err := w.gather(t.Context(), path); err != nil && t.Context().Err() == nil {
						t.Errorf("%s: %v", path, err)
					}
				}
			})
		}
	}
}

func probePaths() []string {
	var paths []string
	for _, task := range probed {
		paths = append(paths, "/probe?application=fleet&task_id="+task)
	}
	return paths
}

// prometheusServer is a real one.
type prometheusServer struct {
	url string
	log *output
	cmd *exec.Cmd
}

func startPrometheus(t *testing.T, program string, worlds []*soaked) *prometheusServer {
	t.Helper()
	dir := t.TempDir()
	var targets []string
	for _, w := range worlds {
		targets = append(targets, strings.TrimPrefix(w.url, "http://"))
	}
	job := fmt.Sprintf("  static_configs: [{targets: ['%s']}]\n", strings.Join(targets, "', '"))
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: exporter\n" + job
	for _, task := range probed {
		config += fmt.Sprintf("- job_name: probe of %s\n  metrics_path: /probe\n  params: {application: [fleet], task_id: [%s]}\n%s", task, task, job)
	}
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close() // it was only to find a free port

	p := &prometheusServer{url: "http://" + address, log: new(output)}
	// At level debug the log says what could not be scraped or taken.
	p.cmd = exec.CommandContext(context.Background(), program, "--config.file=prometheus.yml", "--log.level=debug", //nolint:gosec // looked up above
		"--storage.tsdb.path=data", "--web.listen-address="+address)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if p.get(t, "/-/ready", nil) == nil {
			return p
		}
		if time.Since(began) > patience {
			t.Fatalf("Prometheus does not start:\n%s", p.log.tail(6000))
		}
	}
}

// check looks for scrapes that failed otherwise than by taking too long.
func (p *prometheusServer) check(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(p.log.take()) {
		late := strings.Contains(line, "Scrape failed") && strings.Contains(line, "deadline exceeded")
		if strings.Contains(line, "Append failed") || strings.Contains(line, "Error on ingesting") || strings.Contains(line, "Scrape failed") && !late {
			t.Errorf("Prometheus: %s", line)
		}
	}
}

// finish waits until every target was scraped, tells how that went, and stops
// the server.
func (p *prometheusServer) finish(t *testing.T) {
	t.Helper()
	for began := time.Now(); p.query(t, "count(sum_over_time(up[3h]) > 0)") != p.query(t, "count(up)"); time.Sleep(time.Second / 2) {
		if time.Since(began) > patience {
			t.Error("a target could never be scraped")
			break
		}
	}
	p.check(t)
	t.Logf("Prometheus: %s scrapes in time of %s", p.query(t, "sum(sum_over_time(up[3h]))"), p.query(t, "sum(count_over_time(up[3h]))"))
	p.stop()
}

// query evaluates an expression whose result is one number, or none.
func (p *prometheusServer) query(t *testing.T, expr string) string {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := p.get(t, "/api/v1/query?query="+url.QueryEscape(expr), &answer); err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	if len(answer.Data.Result) == 0 {
		return "no"
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}

// get reads an answer, of JSON unless it is to be read into nothing.
func (p *prometheusServer) get(t *testing.T, path string, into any) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", path, response.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (p *prometheusServer) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Wait() // twice, perhaps; nobody asks how it ended
}
