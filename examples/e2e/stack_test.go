package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

const (
	// patience is how long something may take to happen, on a busy machine.
	patience = 3 * time.Minute
	// root is the folder of the exporter's module.
	root = "../.."
)

// stack is the quickstart, watched by a real Prometheus with the example
// configuration, and a real Alertmanager if there is one. All tests share it.
// Its time is short: see [adapt].
type stack struct {
	Exporter     string // base URL
	Prometheus   string // base URL
	Alertmanager string // base URL; empty: there is none on this machine

	dir        string
	quickstart string // the program
	address    string // of the exporter
	exporter   *process
	sink       *sink
	processes  []*process
	api        v1.API
}

var shared struct {
	once  sync.Once
	stack *stack
	err   error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.stack != nil {
		shared.stack.stop()
	}
	os.Exit(code)
}

// startStack returns the stack, which it starts when it is called first. The test
// is skipped where programs are missing.
func startStack(t *testing.T) *stack {
	t.Helper()
	prometheus := find(t, "prometheus")
	shared.once.Do(func() {
		shared.stack = &stack{}
		shared.err = shared.stack.start(prometheus)
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.stack
}

func (s *stack) start(prometheus string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if s.dir, err = os.MkdirTemp("", "huawei_iot_batch_e2e_"); err != nil {
		return err
	}
	addresses, err := freeAddresses(ctx, 3)
	if err != nil {
		return err
	}
	s.address = addresses[0]
	s.Exporter, s.Prometheus = "http://"+s.address, "http://"+addresses[1]
	s.quickstart = filepath.Join(s.dir, "quickstart")
	if err := build(ctx, "./examples/quickstart", s.quickstart); err != nil {
		return err
	}

	s.sink = newSink()
	if err := adapt(s.dir, s.address, addresses[2], s.sink.URL); err != nil {
		return err
	}
	client, err := api.NewClient(api.Config{Address: s.Prometheus})
	if err != nil {
		return err
	}
	s.api = v1.NewAPI(client)

	if err := s.startExporter(ctx); err != nil {
		return err
	}
	if program, err := lookUp("alertmanager"); err == nil {
		s.Alertmanager = "http://" + addresses[2]
		if err := s.run(ctx, s.Alertmanager, program, "--config.file=alertmanager/alertmanager.yml", "--storage.path=alertmanager-data",
			"--web.listen-address="+addresses[2], "--cluster.listen-address="); err != nil {
			return err
		}
	}
	return s.run(ctx, s.Prometheus, prometheus, "--config.file=prometheus/prometheus.yml", "--storage.tsdb.path=prometheus-data",
		"--web.listen-address="+addresses[1])
}

// startExporter starts the quickstart, which takes the exporter with it.
func (s *stack) startExporter(ctx context.Context) error {
	p, err := launch(root, filepath.Join(s.dir, "quickstart.log"), s.quickstart, "--web.listen-address="+s.address)
	if err != nil {
		return err
	}
	s.exporter = p
	return p.ready(ctx, s.Exporter+"/-/ready")
}

// run starts a program of Prometheus' family in the stack's folder.
func (s *stack) run(ctx context.Context, url, program string, args ...string) error {
	p, err := launch(s.dir, filepath.Join(s.dir, filepath.Base(program)+".log"), program, args...)
	if err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	return p.ready(ctx, url+"/-/ready")
}

func (s *stack) stop() {
	for _, p := range s.processes {
		p.stop()
	}
	if s.exporter != nil {
		s.exporter.stop()
	}
	if s.sink != nil {
		s.sink.Close()
	}
	if err := os.RemoveAll(s.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// Query evaluates a PromQL expression now.
func (s *stack) Query(ctx context.Context, expr string) (model.Vector, error) {
	value, _, _, err := s.api.Query(ctx, expr, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	switch value := value.(type) {
	case model.Vector:
		return value, nil
	case *model.Scalar:
		return model.Vector{{Metric: model.Metric{}, Value: value.Value, Timestamp: value.Timestamp}}, nil
	default:
		return nil, fmt.Errorf("%s: is a %s", expr, value.Type())
	}
}

// WaitFor evaluates an expression until its result is as wanted, and returns it.
// What is wanted, in words, is for the failure.
func (s *stack) WaitFor(t *testing.T, expr, want string, is func(model.Vector) bool) model.Vector {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last model.Vector
	for {
		got, err := s.Query(ctx, expr)
		var refused *v1.Error
		switch {
		case errors.As(err, &refused) && refused.Type == v1.ErrBadData:
			t.Fatal(err) // it will not get better
		case err == nil && is(got):
			return got
		case err == nil:
			last = got
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			t.Fatalf("%s: %s after %s; last: %v, %v", expr, want, patience, last, err)
		}
	}
}

// WaitForData evaluates expressions until each returns something.
func (s *stack) WaitForData(t *testing.T, exprs ...string) {
	t.Helper()
	for _, expr := range exprs {
		s.WaitFor(t, expr, "has no data", func(v model.Vector) bool { return len(v) > 0 })
	}
}

// freeAddresses are loopback addresses that nobody listens on.
func freeAddresses(ctx context.Context, n int) ([]string, error) {
	var addresses []string
	for range n {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close() //nolint:errcheck // nothing was sent
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}

// answers tells whether a URL is answered with 200.
func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}
