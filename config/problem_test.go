package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// complaints returns the lines of an error, without the folder of the files.
func complaints(err error, file string) []string {
	if err == nil {
		return nil
	}
	return strings.Split(strings.ReplaceAll(err.Error(), filepath.Dir(file)+"/", ""), "\n")
}

// badConfigs are configurations that are YAML but make no sense.
var badConfigs = map[string]struct {
	yaml string
	want []string
	// beyondSchema marks what a JSON schema cannot tell.
	beyondSchema bool
}{
	"not a mapping": {
		yaml: "- fleet\n",
		want: []string{`c.yml:1: [0]: is a list, but must be a mapping of keys to values`},
	},
	"no applications": {
		yaml: "global: {}\n",
		want: []string{`c.yml: applications: names no application: add at least one with name, url, app_id and a secret_file`},
	},
	"unknown keys": {
		yaml: minimal + "    tls_config: {ca: x, ca_ref: y}\n    labels: {}\nglobal:\n  burst: 5\n",
		want: []string{
			`c.yml:6: applications[0].tls_config: is not a key that is known here: see the configuration reference in the README`,
			`c.yml:7: applications[0].labels: is not a key that is known here: see the configuration reference in the README`,
			`c.yml:9: global.burst: is not a key that is known here: see the configuration reference in the README`,
		},
	},
	"wrong types": {
		yaml: `global:
  calls_per_minute: many
  page_size: '25'
  finished_recheck_interval: [1h]
applications:
  - name: [fleet]
    url: {https: 1}
    app_id: app1
    secret: {hunter2}
    tls_config: hunter2
    proxy_from_environment: 1
    proxy_connect_header: hunter2
    tasks: {task_id: 1}
    task_files: tasks/*.yml
`,
		want: []string{
			`c.yml:2: global.calls_per_minute: is a text, but must be a whole number`,
			`c.yml:3: global.page_size: is a text, but must be a whole number`,
			`c.yml:4: global.finished_recheck_interval: is a list, but must be a text`,
			`c.yml:6: applications[0].name: is a list, but must be a text`,
			`c.yml:7: applications[0].url: is a mapping of keys to values, but must be a text`,
			`c.yml:9: applications[0].secret: is a mapping of keys to values, but must be a text`,
			`c.yml:10: applications[0].tls_config: is a text, but must be a mapping of keys to values`,
			`c.yml:11: applications[0].proxy_from_environment: is a number, but must be true or false`,
			`c.yml:12: applications[0].proxy_connect_header: is a text, but must be a mapping of keys to values`,
			`c.yml:13: applications[0].tasks: is a mapping of keys to values, but must be a list`,
			`c.yml:14: applications[0].task_files: is a text, but must be a list`,
		},
	},
	"no durations": {
		yaml: "global: {call_timeout: 30, max_staleness: -5m, finished_recheck_interval: soon}\n" + minimal,
		want: []string{
			`c.yml:1: global.call_timeout: must be a duration such as 30s, 5m or 1h30m`,
			`c.yml:1: global.max_staleness: must be a duration such as 30s, 5m or 1h30m`,
			`c.yml:1: global.finished_recheck_interval: must be a duration such as 30s, 5m or 1h30m`,
		},
	},
	"no whole numbers": {
		yaml: "global: {page_size: 2.5}\n" + minimal + "    max_error_codes: 1e-1\n    tasks: [{task_id: 1.5, index: 0.5}]\n",
		want: []string{
			`c.yml:1: global.page_size: must be a whole number`,
			`c.yml:7: applications[0].max_error_codes: must be a whole number`,
			`c.yml:8: applications[0].tasks[0].index: must be a whole number`,
		},
	},
	"impossible numbers": {
		yaml: `global: {calls_per_minute: 0, page_size: 30001, call_timeout: 0s, max_staleness: 0s, max_error_codes: 0}
` + minimal + "    calls_per_minute: 100001\n    page_size: -1\n",
		want: []string{
			`c.yml:1: global.calls_per_minute: must be at least 1`,
			`c.yml:1: global.page_size: must be at most 30000`,
			`c.yml:1: global.call_timeout: must be greater than 0s`,
			`c.yml:1: global.max_staleness: must be greater than 0s`,
			`c.yml:1: global.max_error_codes: must be at least 1`,
			`c.yml:7: applications[0].calls_per_minute: must be at most 100000`,
			`c.yml:8: applications[0].page_size: must be at least 1`,
		},
	},
	"control characters": {
		yaml: "applications:\n  - name: \"a\\eb\"\n    url: https://192.0.2.1\n    app_id: \"a\\n\"\n    secret: s\n",
		want: []string{
			`c.yml:2: applications[0].name: has control characters: remove them`,
			`c.yml:4: applications[0].app_id: has blanks or control characters: remove them`,
		},
	},
	"an empty application": {
		yaml: "applications:\n  - {}\n",
		want: []string{
			`c.yml:2: applications[0].name: is missing: give the application a name that is unique in this file`,
			`c.yml:2: applications[0].app_id: is missing: give the application's identifier on the platform`,
			`c.yml:2: applications[0].url: is missing: give the platform's address, such as https://192.0.2.1:8743`,
			`c.yml:2: applications[0]: needs exactly one of secret_file, secret and access_token_file, and not an empty one`,
		},
	},
	"nothing after a dash": {
		yaml: minimal + "    tasks:\n      -\n      - task_id: 1\n",
		want: []string{`c.yml:7: applications[0].tasks[0]: has nothing where a key or a list's element should be: give one, or remove the dash or colon`},
	},
	"two credentials": {
		yaml: minimal + "    secret_file: fleet.secret\n",
		want: []string{`c.yml:2: applications[0]: needs exactly one of secret_file, secret and access_token_file, and not an empty one`},
	},
	"an empty secret": {
		yaml: strings.ReplaceAll(minimal, "s3cret", `""`),
		want: []string{`c.yml:2: applications[0]: needs exactly one of secret_file, secret and access_token_file, and not an empty one`},
	},
	"a url without scheme": {
		yaml: strings.ReplaceAll(minimal, "https://", ""),
		want: []string{`c.yml:3: applications[0].url: must be an http or https address, such as https://192.0.2.1:8743`},
	},
	"a url of another scheme": {
		yaml: strings.ReplaceAll(minimal, "https", "ftp"),
		want: []string{`c.yml:3: applications[0].url: must be an http or https address, such as https://192.0.2.1:8743`},
	},
	"a url without host": {
		yaml: strings.ReplaceAll(minimal, "192.0.2.1:8743", ":8743"),
		want: []string{`c.yml:3: applications[0].url: must be an http or https address, such as https://192.0.2.1:8743`},
	},
	"a url with an impossible port": {
		yaml:         strings.ReplaceAll(minimal, "8743", "87430"),
		want:         []string{`c.yml:3: applications[0].url: must be an http or https address, such as https://192.0.2.1:8743`},
		beyondSchema: true,
	},
	"a url with credentials": {
		yaml: strings.ReplaceAll(minimal, "192", "user:hunter2@192"),
		want: []string{`c.yml:3: applications[0].url: must not hold a user or password: credentials belong into app_id and secret_file`},
	},
	"a url with a query": {
		yaml: strings.ReplaceAll(minimal, "8743", "8743/?secret=hunter2"),
		want: []string{`c.yml:3: applications[0].url: must not hold a query or fragment: end it before the first ? or #`},
	},
	"certificate, key and versions": {
		yaml: minimal + `    tls_config:
      cert_file: client.pem
      min_version: TLS14
`,
		want: []string{
			`c.yml:6: applications[0].tls_config: exactly one of key or key_file must be configured when a client certificate is configured`,
			`c.yml:8: applications[0].tls_config.min_version: must be one of TLS10, TLS11, TLS12, TLS13`,
		},
	},
	"a key without certificate": {
		yaml: minimal + "    tls_config: {key_file: client.key}\n",
		want: []string{`c.yml:6: applications[0].tls_config: exactly one of cert or cert_file must be configured when a client key is configured`},
	},
	"ca twice": {
		yaml: minimal + "    tls_config: {ca_file: ca.pem, ca: PEM}\n",
		want: []string{`c.yml:6: applications[0].tls_config: at most one of ca, ca_file & ca_ref must be configured`},
	},
	"a private key in the open": {
		yaml: minimal + `    tls_config:
      max_version: TLS12
      min_version: TLS13
      cert: |
        -----BEGIN PRIVATE KEY-----
      key: k
`,
		want: []string{
			`c.yml:6: applications[0].tls_config: holds a private key that is shown with the configuration: move it from ca or cert to key or key_file`,
			`c.yml:7: applications[0].tls_config.max_version: must not be lower than min_version, which is TLS12 where it is not given`,
		},
		beyondSchema: true,
	},
	"versions of TLS that nothing satisfies": {
		yaml:         minimal + "    tls_config: {max_version: TLS11}\n",
		want:         []string{`c.yml:6: applications[0].tls_config.max_version: must not be lower than min_version, which is TLS12 where it is not given`},
		beyondSchema: true,
	},
	"a proxy that is no URL": {
		yaml:         minimal + "    proxy_url: http://user:hunter2/@proxy\n    no_proxy: 192.0.2.9\n",
		want:         []string{`c.yml:6: applications[0].proxy_url: must be an http, https or socks5 address, such as http://proxy.example.com:3128`},
		beyondSchema: true,
	},
	"a proxy of another scheme": {
		yaml: minimal + "    proxy_url: ftp://user:hunter2@proxy.example.com\n",
		want: []string{`c.yml:6: applications[0].proxy_url: must be an http, https or socks5 address, such as http://proxy.example.com:3128`},
	},
	"no_proxy without proxy": {
		yaml: minimal + "    no_proxy: 192.0.2.0/24\n",
		want: []string{`c.yml:2: applications[0]: if no_proxy is configured, proxy_url must also be configured`},
	},
	"impossible tasks": {
		yaml: minimal + `    tasks:
      - name: nameless
      - task_id: "2"
        status: fail
        index: -1
        labels:
          task_id: x
          __team: x
          2fast: x
          "a b": x
`,
		want: []string{
			`c.yml:7: applications[0].tasks[0].task_id: is missing: give the task's identifier on the platform`,
			`c.yml:9: applications[0].tasks[1].status: must be one of Pending, WaitResult, Success, Fail, Timeout`,
			`c.yml:10: applications[0].tasks[1].index: must not be negative`,
			`c.yml:12: applications[0].tasks[1].labels.task_id: is a label of the exporter's own: choose another name`,
			`c.yml:13: applications[0].tasks[1].labels.__team: must not begin with __, which is reserved`,
			`c.yml:14: applications[0].tasks[1].labels.2fast: is not a label name: use letters, digits and _, and begin with no digit`,
			`c.yml:15: applications[0].tasks[1].labels.a b: is not a label name: use letters, digits and _, and begin with no digit`,
		},
	},
	"task file patterns": {
		yaml: minimal + "    task_files: [tasks/*, '*/fleet.yml', fleet.txt]\n",
		want: []string{
			`c.yml:6: applications[0].task_files[0]: must end in .yml, .yaml or .json`,
			`c.yml:6: applications[0].task_files[1]: may have a * in its last element only: name each folder`,
			`c.yml:6: applications[0].task_files[2]: must end in .yml, .yaml or .json`,
		},
	},
	"a task file pattern that is none": {
		yaml:         minimal + "    task_files: ['[.yml']\n",
		want:         []string{`c.yml:6: applications[0].task_files[0]: is not a pattern: close the [ or remove it`},
		beyondSchema: true,
	},
	"duplicate applications": {
		yaml: `applications:
  - {name: fleet, url: "https://iot.example.com", app_id: app1, secret: a}
  - {name: fleet, url: "https://IOT.example.com:443/", app_id: app1, access_token_file: b}
`,
		want: []string{
			`c.yml:3: applications[1].name: "fleet" is already the name of applications[0] (line 2): names have to be unique`,
			`c.yml:3: applications[1].app_id: is the application of applications[0] (line 2) on the same platform: put their tasks into one, because they would share one allowance and each sign-in would end the other's`,
		},
		beyondSchema: true,
	},
	"duplicate tasks": {
		yaml: minimal + `    tasks:
      - {task_id: t1, status: Fail}
      - {task_id: t1, name: other}
      - {task_id: t1, status: Timeout}
      - {task_id: t2, name: other}
`,
		want: []string{
			`c.yml:9: applications[0].tasks[2].name: "t1" is already the name of the task at c.yml:7: give one of them another name, in a task file with the label __name`,
			`c.yml:10: applications[0].tasks[3].name: "other" is already the name of the task at c.yml:8: give one of them another name, in a task file with the label __name`,
		},
		beyondSchema: true,
	},
}

func TestLoadComplains(t *testing.T) {
	for name, tc := range badConfigs {
		t.Run(name, func(t *testing.T) {
			file := write(t, "c.yml", tc.yaml)
			_, err := Load(file)
			if diff := cmp.Diff(tc.want, complaints(err, file)); diff != "" {
				t.Errorf("complaints (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadComplainsAboutSyntax(t *testing.T) {
	for name, tc := range map[string]struct {
		yaml string
		want []string
	}{
		"empty":          {"", []string{`c.yml: is empty: begin with the key applications`}},
		"only a comment": {"# nothing\n", []string{`c.yml: is empty: begin with the key applications`}},
		"only a mark":    {"\ufeff", []string{`c.yml: is empty: begin with the key applications`}},
		"two documents":  {minimal + "---\n" + minimal, []string{`c.yml:6: a second document begins here: keep one per file`}},
		"indentation": {
			"global:\n  page_size: 1\n   call_timeout: 5s\n",
			[]string{`c.yml:3: is not YAML: mapping values are not allowed in this context`},
		},
		"a tab":            {"global:\n\tpage_size: 1\n", []string{`c.yml:2: is not YAML: found character that cannot start any token`}},
		"not UTF-8":        {"global: {}\na: \xff\xfe\n", []string{`c.yml: is not YAML: look at its first line, and put texts that begin with * in quotes`}},
		"first line":       {"%\n", []string{`c.yml: is not YAML: look at its first line, and put texts that begin with * in quotes`}},
		"an unquoted star": {strings.ReplaceAll(minimal, "s3cret", "*hunter2"), []string{`c.yml: is not YAML: look at its first line, and put texts that begin with * in quotes`}},
		"an unclosed list": {"global: {}\napplications: [\n", []string{`c.yml:2: is not YAML: did not find expected node content`}},
		"a second broken":  {minimal + "---\na: [\n", []string{`c.yml:7: is not YAML: did not find expected node content`}},
		"an unquoted tag":  {strings.ReplaceAll(minimal, "s3cret", "!hunter2 x"), []string{`c.yml:5: applications[0].secret: has a YAML tag, which has no use here: put a text that begins with ! in quotes`}},
		"a key twice":      {minimal + "    app_id: app2\n", []string{`c.yml:6: applications[0].app_id: mapping key "app_id" already defined at line 4`}},
		"no key":           {"global: {}\n~: x\n", []string{`c.yml:2: ~: has nothing where a key or a list's element should be: give one, or remove the dash or colon`}},
		"a merged scalar":  {minimal + "    <<: [x]\n", []string{`c.yml: cannot be understood: yaml: map merge requires map or sequence of maps as the value`}},
		"a merge into itself": {
			"applications: &a\n  - &b\n    <<: *b\n",
			[]string{`c.yml: cannot be understood: yaml: anchor 'b' value contains itself`},
		},
		"an alias of what is wrong": {
			"applications:\n  - &a {name: [x]}\n  - *a\n",
			[]string{`c.yml:2: applications[0]: is a list, but must be a text`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, "c.yml", tc.yaml)
			_, err := Load(file)
			if diff := cmp.Diff(tc.want, complaints(err, file)); diff != "" {
				t.Errorf("complaints (-want +got):\n%s", diff)
			}
		})
	}
}

// The YAML library quotes what it cannot decode or resolve.
func TestComplaintsHoldNoSecret(t *testing.T) {
	for _, text := range []string{
		"hunter2",
		"applications: [hunter2]",
		"applications:\n  - secret:\n      - hunter2",
		"applications:\n  - secret: *hunter2",
		"applications:\n  - secret: !!int hunter2",
		"applications:\n  - secret: !!map hunter2",
		"applications:\n  - secret: !!binary hunter2!",
		"applications:\n  - secret: @hunter2",
		"applications:\n  - secret: \"hunter2\\q\"",
		"applications:\n  - secret: %hunter2",
		"applications:\n  - secret: hunter2: x",
		"applications:\n  - secret: [hunter2",
		"applications:\n  - secret:\n      hunter2: x",
		"applications:\n  - {name: a, tls_config: hunter2}",
		"applications:\n  - tls_config: hunter2",
		"applications:\n  - tls_config: |\n      hunter2\n      x",
		"applications:\n  - tls_config: '` hunter2'",
		"applications:\n  - tls_config: {key: [hunter2]}",
		"applications:\n  - tls_config:\n      key:\n        hunter2: x",
		"applications:\n  - tls_config: {insecure_skip_verify: hunter2}",
		"applications:\n  - proxy_connect_header: hunter2",
		"applications:\n  - proxy_connect_header: {Proxy-Authorization: hunter2}",
		"applications:\n  - proxy_connect_header: {Proxy-Authorization: [[hunter2]]}",
		"applications:\n  - proxy_connect_header:\n      Proxy-Authorization:\n        hunter2: x",
		"applications:\n  - proxy_connect_header:\n      Proxy-Authorization:\n        - hunter2: x",
		minimal + "    proxy_url: hunter2",
		minimal + "    proxy_url: http://user:hunter2",
		minimal + "    proxy_url: http://user:hunter2@/",
		minimal + "    proxy_url: http://user:%hunter2@proxy.example.com",
		minimal + "    proxy_url: ['http://user:hunter2@proxy.example.com']",
		strings.ReplaceAll(minimal, "192", "user:hunter2%@192"),
	} {
		_, err := Load(write(t, "c.yml", text))
		if err == nil || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s\ngot %v", text, err)
		}
	}
}

func TestLoadBoundsAliases(t *testing.T) {
	for name, yaml := range map[string]string{
		"values": `applications:
  - &a
    name: fleet
    tasks:
      - &t {task_id: x, labels: {a: x, b: x, c: x, d: x}}
` + strings.Repeat("      - *t\n", 1000) + strings.Repeat("  - *a\n", 1000),
		"merges": `applications:
  - &a {name: fleet}
  - &b {<<: [` + strings.Repeat("*a, ", 1000) + `]}
  - &c {<<: [` + strings.Repeat("*b, ", 1000) + `]}
  - &d {<<: [` + strings.Repeat("*c, ", 1000) + `]}
`,
		"complaints": "applications:\n  - &a {0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1}\n" + strings.Repeat("  - *a\n", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, "c.yml", yaml)
			_, err := Load(file)
			if lines := complaints(err, file); len(lines) == 0 || len(lines) > 10 {
				t.Errorf("%d complaints", len(lines))
			}
		})
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	t.Run("missing", func(t *testing.T) {
		_, err := Load(filepath.Join(dir, "none.yml"))
		if want := dir + "/none.yml: no such file or directory: create the file or name another"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Error("the cause is lost")
		}
	})
	t.Run("directory", func(t *testing.T) {
		_, err := Load(dir)
		if want := dir + ": cannot be read: is a directory"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
	t.Run("endless", func(t *testing.T) {
		const device = "/dev/zero"
		if _, err := os.Stat(device); err != nil {
			t.Skip(err)
		}
		_, err := Load(device)
		if want := device + ": cannot be read: it is longer than 16777216 bytes"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
	t.Run("permission", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may read everything")
		}
		file := write(t, "c.yml", minimal)
		if err := os.Chmod(file, 0); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file)
		if want := file + ": cannot be read: permission denied"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}
