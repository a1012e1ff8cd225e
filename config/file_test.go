package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestYAML(t *testing.T) {
	cfg := mustLoad(t, write(t, "c.yml", `
global: {calls_per_minute: 90}
applications:
  - name: fleet
    url: https://192.0.2.1:8743/
    app_id: "0123"
    secret: hunter2
    page_size: 25
    finished_recheck_interval: 0s
    tls_config: {ca_file: /ca.pem, cert: CERT, key: hunter2, min_version: TLS12}
    proxy_url: http://user:hunter2@proxy.example.com:3128/hunter2?hunter2
    no_proxy: 192.0.2.9
    proxy_connect_header: {X-B: [hunter2, hunter2], X-A: [hunter2]}
    task_files: [/tasks/*.yml]
    tasks:
      - task_id: "1"
      - {task_id: "1", name: "yes", app_id: o, status: Fail, device_id: d, command_id: c, index: 0, node_id: n, labels: {b: x, a: y}}
  - {name: meters, url: http://192.0.2.2, app_id: app2, access_token_file: /meters.token, proxy_from_environment: true}
`))
	got, err := cfg.YAML()
	if err != nil {
		t.Fatal(err)
	}
	want := `global:
  calls_per_minute: 90
  page_size: 250
  call_timeout: 30s
  max_staleness: 5m
  finished_recheck_interval: 1h
  max_error_codes: 50
applications:
  - name: fleet
    url: https://192.0.2.1:8743
    app_id: "0123"
    secret: <secret>
    tls_config:
      cert: CERT
      key: <secret>
      ca_file: /ca.pem
      insecure_skip_verify: false
      min_version: TLS12
    proxy_url: http://<secret>@proxy.example.com:3128
    no_proxy: 192.0.2.9
    proxy_connect_header:
      X-A:
        - <secret>
      X-B:
        - <secret>
        - <secret>
    calls_per_minute: 90
    page_size: 25
    call_timeout: 30s
    max_staleness: 5m
    finished_recheck_interval: 0s
    max_error_codes: 50
    tasks:
      - task_id: "1"
        name: "1"
      - task_id: "1"
        name: "yes"
        app_id: o
        status: Fail
        device_id: d
        command_id: c
        index: 0
        node_id: "n"
        labels:
          a: "y"
          b: x
    task_files:
      - /tasks/*.yml
  - name: meters
    url: http://192.0.2.2
    app_id: app2
    access_token_file: /meters.token
    proxy_from_environment: true
    calls_per_minute: 90
    page_size: 250
    call_timeout: 30s
    max_staleness: 5m
    finished_recheck_interval: 1h
    max_error_codes: 50
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("YAML (-want +got):\n%s", diff)
	}
	if strings.Contains(string(got), "hunter2") {
		t.Error("a secret is shown")
	}

	again, err := mustLoad(t, write(t, "c.yml", loadable(got))).YAML()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), string(again)); diff != "" {
		t.Errorf("loaded again (-first +second):\n%s", diff)
	}
}

// loadable replaces what stands for a proxy's user, as no URL may hold it.
func loadable(text []byte) string {
	return strings.ReplaceAll(string(text), "<secret>@", "secret@")
}

func TestYAMLShowsTheOriginal(t *testing.T) {
	cfg := mustLoad(t, write(t, "c.yml", minimal+"    task_files: [fleet.yml]\n", "fleet.yml", "- targets: [only-in-file]\n"))
	got, err := cfg.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(got), "only-in-file") || !strings.Contains(string(got), "task_files:") {
		t.Errorf("tasks of files are shown:\n%s", got)
	}
}
