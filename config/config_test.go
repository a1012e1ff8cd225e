package config

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	commoncfg "github.com/prometheus/common/config"
)

// write puts files into a new folder and returns the path of the first.
func write(t testing.TB, namesAndTexts ...string) string {
	t.Helper()
	dir := t.TempDir()
	for pair := range slices.Chunk(namesAndTexts, 2) {
		file := filepath.Join(dir, pair[0])
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(pair[1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, namesAndTexts[0])
}

func mustLoad(t *testing.T, file string) *Config {
	t.Helper()
	cfg, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

var byValue = cmp.Options{cmpopts.IgnoreUnexported(Config{}, commoncfg.ProxyConfig{})}

const minimal = `applications:
  - name: fleet
    url: https://192.0.2.1:8743
    app_id: app1
    secret: s3cret
`

func TestLoad(t *testing.T) {
	application := func(change func(*Application)) []Application {
		a := Application{Name: "fleet", URL: "https://192.0.2.1:8743", AppID: "app1", Secret: "s3cret", Settings: DefaultSettings()}
		change(&a)
		return []Application{a}
	}
	index := 7
	for name, tc := range map[string]struct {
		yaml string
		want Config
	}{
		"defaults": {
			yaml: minimal,
			want: Config{Global: DefaultSettings(), Applications: application(func(*Application) {})},
		},
		"byte order mark and carriage returns": {
			yaml: "\ufeff" + strings.ReplaceAll(minimal, "\n", "\r\n"),
			want: Config{Global: DefaultSettings(), Applications: application(func(*Application) {})},
		},
		"commented-out blocks": {
			yaml: minimal + "    tasks:\n    task_files:\n    tls_config:\nglobal:\n",
			want: Config{Global: DefaultSettings(), Applications: application(func(*Application) {})},
		},
		"settings are inherited key by key, wherever global stands": {
			yaml: minimal + `    page_size: 25
    finished_recheck_interval: 0s
global:
  calls_per_minute: 90
  call_timeout: 1m30s
  page_size: 100
`,
			want: Config{
				Global: Settings{
					CallsPerMinute: 90, PageSize: 100, CallTimeout: 90 * time.Second,
					MaxStaleness: 5 * time.Minute, FinishedRecheckInterval: time.Hour, MaxErrorCodes: 50,
				},
				Applications: application(func(a *Application) {
					a.Settings = Settings{
						CallsPerMinute: 90, PageSize: 25, CallTimeout: 90 * time.Second,
						MaxStaleness: 5 * time.Minute, FinishedRecheckInterval: 0, MaxErrorCodes: 50,
					}
				}),
			},
		},
		"tasks": {
			yaml: minimal + `    tasks:
      - task_id: 123456789012345678901234
      - task_id: "1"
        name: a
        app_id: other
        status: WaitResult
        device_id: d
        command_id: c
        index: 7
        node_id: 0123
        labels: {team: fleet, critical: true, _1: ""}
      - {task_id: "1", name: b, status: ""}
`,
			want: Config{Global: DefaultSettings(), Applications: application(func(a *Application) {
				a.Tasks = []Task{
					{TaskID: "123456789012345678901234", Name: "123456789012345678901234"},
					{
						TaskID: "1", Name: "a", AppID: "other", Status: "WaitResult", DeviceID: "d", CommandID: "c", Index: &index, NodeID: "0123",
						Labels: map[string]string{"team": "fleet", "critical": "true", "_1": ""},
					},
					{TaskID: "1", Name: "b"},
				}
			})},
		},
		"anchors and merges": {
			yaml: `applications:
  - &fleet
    name: fleet
    url: https://192.0.2.1:8743/
    app_id: app1
    secret: s3cret
    tls_config: &tls {server_name: iot.example.com, min_version: TLS13}
  - <<: *fleet
    name: meters
    app_id: app2
    tls_config:
      <<: *tls
      min_version: TLS12
`,
			want: Config{Global: DefaultSettings(), Applications: append(
				application(func(a *Application) {
					a.TLSConfig = commoncfg.TLSConfig{ServerName: "iot.example.com", MinVersion: commoncfg.TLSVersions["TLS13"]}
				}),
				application(func(a *Application) {
					a.Name, a.AppID = "meters", "app2"
					a.TLSConfig = commoncfg.TLSConfig{ServerName: "iot.example.com", MinVersion: commoncfg.TLSVersions["TLS12"]}
				})...,
			)},
		},
		"the same app_id on two platforms": {
			yaml: minimal + "  - {name: test, url: https://192.0.2.2:8743, app_id: app1, secret: s3cret}\n",
			want: Config{Global: DefaultSettings(), Applications: append(
				application(func(*Application) {}),
				application(func(a *Application) { a.Name, a.URL = "test", "https://192.0.2.2:8743" })...,
			)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := mustLoad(t, write(t, "c.yml", tc.yaml))
			if diff := cmp.Diff(&tc.want, cfg, byValue); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadMakesPathsRelativeToFile(t *testing.T) {
	file := write(t, "c.yml", `applications:
  - name: fleet
    url: https://192.0.2.1
    app_id: app1
    secret_file: fleet.secret
    tls_config: {ca_file: pki/ca.pem, cert_file: /etc/client.pem, key_file: ../client.key}
    task_files: [tasks/*.yml]
  - {name: meters, url: https://192.0.2.1, app_id: app2, access_token_file: meters.token}
`)
	dir := filepath.Dir(file)
	cfg := mustLoad(t, file)
	a := cfg.Applications[0]
	got := []string{a.SecretFile, a.TLSConfig.CAFile, a.TLSConfig.CertFile, a.TLSConfig.KeyFile, a.TaskFiles[0], cfg.Applications[1].AccessTokenFile}
	want := []string{
		filepath.Join(dir, "fleet.secret"), filepath.Join(dir, "pki/ca.pem"), "/etc/client.pem",
		filepath.Join(filepath.Dir(dir), "client.key"), filepath.Join(dir, "tasks/*.yml"), filepath.Join(dir, "meters.token"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestCredentials(t *testing.T) {
	file := write(t, "good", "  s3cret\r\n", "empty", " \n")
	dir := filepath.Dir(file)
	secret := func(a Application) (string, error) { return a.ReadSecret() }
	token := func(a Application) (string, error) { return a.ReadAccessToken() }
	for name, tc := range map[string]struct {
		read        func(Application) (string, error)
		application Application
		want        string
		wantErr     string
	}{
		"inline secret":     {secret, Application{Secret: " s3cret\n"}, "s3cret", ""},
		"secret from file":  {secret, Application{SecretFile: file}, "s3cret", ""},
		"token from file":   {token, Application{AccessTokenFile: file}, "s3cret", ""},
		"empty secret file": {secret, Application{SecretFile: dir + "/empty"}, "", "the secret_file " + dir + "/empty is empty: write the credential into it, and nothing else"},
		"no such file":      {token, Application{AccessTokenFile: dir + "/none"}, "", "cannot read the access_token_file: open " + dir + "/none: no such file or directory"},
		"no secret":         {secret, Application{AccessTokenFile: file}, "", "the application has no secret: give it a secret or a secret_file"},
		"no token":          {token, Application{SecretFile: file}, "", "the application has no access token: give it an access_token_file"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.read(tc.application)
			gotErr := ""
			if err != nil {
				gotErr = err.Error()
			}
			if got != tc.want || gotErr != tc.wantErr {
				t.Errorf("got %q, %q; want %q, %q", got, gotErr, tc.want, tc.wantErr)
			}
		})
	}
}

func TestHTTPClientConfig(t *testing.T) {
	cfg := mustLoad(t, write(t, "c.yml", minimal+`    tls_config: {server_name: iot.example.com}
    proxy_url: http://user:pa55@proxy.example.com:3128
    no_proxy: 192.0.2.9
    proxy_connect_header: {X-Team: [a, b]}
`))
	got := cfg.Applications[0].HTTPClientConfig()
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if got.FollowRedirects || !got.EnableHTTP2 || got.TLSConfig.ServerName != "iot.example.com" {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(url.UserPassword("user", "pa55"), got.ProxyURL.User, cmp.AllowUnexported(url.Userinfo{})); diff != "" {
		t.Errorf("credentials for the proxy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got.GetProxyConnectHeader()["X-Team"]); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}
