package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// freeAddress is one that nobody listens on at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// start runs the platform with a secret and returns its address and the folder
// of its certificates. It is ended with the test.
func start(t *testing.T, secret string) (address, directory string) {
	t.Helper()
	directory, address = t.TempDir(), freeAddress(t)
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, address, "platform", secretFile, directory) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); reachable(t.Context(), address) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the platform does not accept connections")
		}
	}
	return address, directory
}

// newClient connects to an address under the name that is in the certificate.
func newClient(t *testing.T, address, directory, secret string) *northbound.Client {
	t.Helper()
	authority, err := os.ReadFile(filepath.Join(directory, northboundtest.CAFile)) //nolint:gosec // in the test's folder
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	own, err := tls.LoadX509KeyPair(filepath.Join(directory, northboundtest.CertFile), filepath.Join(directory, northboundtest.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{own}},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := northbound.NewClient((&url.URL{Scheme: "https", Host: "platform:8743"}).String(),
		northbound.Credentials{AppID: appID, Secret: func() (string, error) { return secret, nil }},
		northbound.WithTransport(transport))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestServesTheTasksOfTheConfiguration(t *testing.T) {
	configuration, err := os.ReadFile("../conf/huawei_iot_batch.yml")
	if err != nil {
		t.Fatal(err)
	}
	address, directory := start(t, "s3cret\n")
	client := newClient(t, address, directory, "s3cret")
	for _, task := range tasks(time.Now()) {
		t.Run(task.Name, func(t *testing.T) {
			details, err := client.TaskDetails(t.Context(), northbound.TaskDetailsQuery{TaskID: task.ID, Page: &northbound.Page{Size: 1}})
			if err != nil {
				t.Fatal(err)
			}
			if details.TotalCount != task.Subtasks.Len() {
				t.Errorf("%d subtasks, want %d", details.TotalCount, task.Subtasks.Len())
			}
			if !strings.Contains(string(configuration), task.ID) {
				t.Errorf("the configuration does not watch it")
			}
		})
	}
}

func TestReachableTellsThatNobodyListens(t *testing.T) {
	if err := reachable(t.Context(), freeAddress(t)); err == nil {
		t.Error("reachable, though nobody listens")
	}
}
