package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

const (
	// startTimeout is how long the exporter may take to get ready.
	startTimeout = 30 * time.Second
	// stopTimeout is how long it may take to end.
	stopTimeout = 10 * time.Second
)

// build compiles the exporter into dir and returns the path of the program.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "huawei_iot_batch_exporter")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	// The path of the package, not of its folder: quickstart may be run anywhere
	// in the module. Without the state of the repository, which git may refuse.
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, "huawei_iot_batch_exporter") //nolint:gosec // nothing in it is from outside
	text, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("cannot build the exporter: %w; add the Go toolchain's bin folder to PATH", err)
	case err != nil:
		return "", fmt.Errorf("cannot build the exporter: %w; this has to be run in the project's folder; go build says:\n%s", err, text)
	}
	return binary, nil
}

// resolve makes sure that an address is free, and gives port 0 a number.
func resolve(ctx context.Context, address string) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("the exporter cannot listen on %s: %w; choose another address with --web.listen-address, for example 127.0.0.1:0 for any free port", address, err)
	}
	resolved := listener.Addr().String()
	return resolved, listener.Close()
}

// exporter is the real exporter as a child process.
type exporter struct {
	url   string
	stop  func()        // ends it and waits until it has ended
	ended chan struct{} // closed when it has ended
	err   error         // how; valid then
}

// start runs the exporter. It is ended when ctx ends, or by stop.
func start(ctx context.Context, binary, configFile, address string, logs io.Writer) (*exporter, error) {
	address, err := resolve(ctx, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, binary, "--config.file", configFile, "--web.listen-address", address) //nolint:gosec // built a moment ago
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.Cancel = func() error {
		if runtime.GOOS == "windows" { // has no interrupts to send
			return cmd.Process.Kill()
		}
		return cmd.Process.Signal(os.Interrupt)
	}
	cmd.WaitDelay = stopTimeout
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("cannot start the exporter: %w", err)
	}
	e := &exporter{url: urlOf(address), ended: make(chan struct{})}
	go func() {
		defer close(e.ended)
		e.err = cmd.Wait()
	}()
	e.stop = func() {
		cancel()
		<-e.ended
	}
	return e, nil
}

// failure is that the exporter has ended by itself. It is none if the exporter
// was told to: Ctrl-C reaches it before us.
func (e *exporter) failure() error {
	if e.err == nil {
		return nil
	}
	return fmt.Errorf("the exporter has ended: %w; its log above says why", e.err)
}

// ready waits until the exporter serves.
func (e *exporter) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy
	for {
		if is, err := isReady(ctx, client, e.url+"/-/ready"); is || err != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-e.ended:
			if err := e.failure(); err != nil {
				return err
			}
			return errors.New("the exporter was ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("the exporter was not ready after %s; its log above says why", startTimeout)
		}
	}
}

// isReady asks once. That nobody answers yet is no error.
func isReady(ctx context.Context, client *http.Client, url string) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	response, err := client.Do(request)
	if err != nil {
		return false, nil //nolint:nilerr // not yet
	}
	return response.StatusCode == http.StatusOK, response.Body.Close()
}

// urlOf is how a browser on this machine reaches an address.
func urlOf(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "http://" + address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
