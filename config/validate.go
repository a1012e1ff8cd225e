package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

const (
	maxCallsPerMinute = 100_000
	// maxPageSize is the number of devices that a batch can hold, as documented
	// by the platform.
	maxPageSize = 30_000
)

// statuses are the states of a subtask that the platform documents.
var statuses = []string{"Pending", "WaitResult", "Success", "Fail", "Timeout"}

// reservedLabels are the exporter's own on the metric that carries a user's.
var reservedLabels = []string{"application", "task", "task_id", "task_name", "task_type"}

// validate complains about values that are well-formed but impossible.
func (c *Config) validate() {
	c.doc.validateSettings("global", c.Global)
	if len(c.Applications) == 0 {
		c.doc.complain("applications", "names no application: add at least one with name, url, app_id and a secret_file")
	}
	names, identities := map[string]string{}, map[string]string{}
	for i := range c.Applications {
		a, path := &c.Applications[i], applicationPath(i)
		c.doc.validateApplication(path, a)
		if first, ok := claim(names, a.Name, path); !ok {
			c.doc.complain(child(path, "name"), "%q is already the name of %s (line %d): names have to be unique", a.Name, first, c.doc.line(first))
		}
		if first, ok := claim(identities, identity(a), path); !ok {
			c.doc.complain(child(path, "app_id"), "is the application of %s (line %d) on the same platform: put their tasks into one, "+
				"because they would share one allowance and each sign-in would end the other's", first, c.doc.line(first))
		}
	}
}

// claim notes the owner of a key. It returns the earlier one if there is one.
// The empty key belongs to nobody.
func claim(owners map[string]string, key, owner string) (first string, ok bool) {
	if key == "" {
		return "", true
	}
	if first, taken := owners[key]; taken {
		return first, false
	}
	owners[key] = owner
	return owner, true
}

// identity is what the platform knows an application by, or "" if that cannot
// be told.
func identity(a *Application) string {
	u, err := url.Parse(a.URL)
	if err != nil || u.Host == "" || a.AppID == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.Join([]string{strings.ToLower(u.Hostname()), port, strings.TrimRight(u.Path, "/"), a.AppID}, "\n")
}

func (d *document) validateSettings(path string, s Settings) {
	// What a file does not give is inherited and has been looked at elsewhere.
	check := func(key string, ok bool, text string) {
		if p := child(path, key); d.has(p) && !ok {
			d.complain(p, "%s", text)
		}
	}
	check("calls_per_minute", 1 <= s.CallsPerMinute && s.CallsPerMinute <= maxCallsPerMinute, "must be from 1 to 100000")
	check("page_size", 1 <= s.PageSize && s.PageSize <= maxPageSize, "must be from 1 to 30000")
	check("call_timeout", s.CallTimeout > 0, "must be greater than 0s")
	check("max_staleness", s.MaxStaleness > 0, "must be greater than 0s")
	check("max_error_codes", s.MaxErrorCodes >= 1, "must be at least 1")
}

func (d *document) validateApplication(path string, a *Application) {
	if a.Name == "" {
		d.complain(child(path, "name"), "is missing: give the application a name that is unique in this file")
	}
	if a.AppID == "" {
		d.complain(child(path, "app_id"), "is missing: give the application's identifier on the platform")
	}
	d.validateURL(child(path, "url"), a.URL)
	d.validateCredentials(path, a)
	d.validateTLS(child(path, "tls_config"), &a.TLSConfig)
	d.validateProxy(path, &a.ProxyConfig)
	d.validateSettings(path, a.Settings)
	for i, pattern := range a.TaskFiles {
		d.validatePattern(element(child(path, "task_files"), i), pattern)
	}

	names, tasks := map[string]string{}, child(path, "tasks")
	for i := range a.Tasks {
		t, p := &a.Tasks[i], element(tasks, i)
		key := func(key string) string { return child(p, key) }
		if t.TaskID == "" {
			d.complain(key("task_id"), "is missing: give the task's identifier on the platform")
		}
		d.validateTask(key, t)
		if first, ok := claim(names, t.Name, p); !ok {
			d.complain(key("name"), "%q is already the name of %s (line %d): give one of them another name", t.Name, first, d.line(first))
		}
	}
}

// validateURL never repeats the URL: it may hold a password by mistake.
func (d *document) validateURL(path, text string) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		d.complain(path, "is missing: give the platform's address, such as https://192.0.2.1:8743")
	case err != nil || u.Hostname() == "" || !validPort(u) || (u.Scheme != "http" && u.Scheme != "https"):
		d.complain(path, "must be an http or https address, such as https://192.0.2.1:8743")
	case u.User != nil:
		d.complain(path, "must not hold a user or password: credentials belong into app_id and secret_file")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		d.complain(path, "must not hold a query or fragment: end it before the first ? or #")
	}
}

// validPort tells whether the URL has no port or a possible one.
func validPort(u *url.URL) bool {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return !strings.HasSuffix(u.Host, ":") && (u.Port() == "" || (err == nil && port > 0))
}

func (d *document) validateCredentials(path string, a *Application) {
	var given []string
	for key, value := range map[string]string{
		"secret":            strings.TrimSpace(string(a.Secret)),
		"secret_file":       a.SecretFile,
		"access_token_file": a.AccessTokenFile,
	} {
		p := child(path, key)
		if !d.has(p) {
			continue
		}
		given = append(given, key)
		if value == "" {
			d.complain(p, "is empty: give a value or remove the key")
		}
	}
	slices.Sort(given)
	switch len(given) {
	case 0:
		d.complain(path, "has no credentials: give one of secret_file, secret and access_token_file")
	case 1:
	default:
		d.complain(path, "has more than one of secret, secret_file and access_token_file: keep one of %s", strings.Join(given, ", "))
	}
}

func (d *document) validateTLS(path string, t *commoncfg.TLSConfig) {
	cert, key := t.Cert != "" || t.CertFile != "", t.Key != "" || t.KeyFile != ""
	switch {
	case t.CA != "" && t.CAFile != "":
		d.complain(child(path, "ca"), "excludes ca_file: keep one of them")
	case t.Cert != "" && t.CertFile != "":
		d.complain(child(path, "cert"), "excludes cert_file: keep one of them")
	case t.Key != "" && t.KeyFile != "":
		d.complain(child(path, "key"), "excludes key_file: keep one of them")
	case cert && !key:
		d.complain(path, "has a client certificate without its key: add key_file")
	case key && !cert:
		d.complain(path, "has a key without its client certificate: add cert_file")
	}
	for key, text := range map[string]string{"ca": t.CA, "cert": t.Cert} {
		if strings.Contains(text, "PRIVATE KEY") {
			d.complain(child(path, key), "holds a private key, and is shown with the configuration: move the key to key or key_file")
		}
	}
	if t.MinVersion != 0 && t.MaxVersion != 0 && t.MaxVersion < t.MinVersion {
		d.complain(child(path, "max_version"), "must not be lower than min_version")
	}
}

func (d *document) validateProxy(path string, p *commoncfg.ProxyConfig) {
	if u := p.ProxyURL.URL; u != nil {
		schemes := []string{"http", "https", "socks5", "socks5h"}
		if u.Hostname() == "" || !validPort(u) || !slices.Contains(schemes, u.Scheme) {
			d.complain(child(path, "proxy_url"), "must be an http, https or socks5 address, such as http://proxy.example.com:3128")
		}
	}
	if err := p.Validate(); err != nil && !d.rejected[child(path, "proxy_url")] {
		d.complain(path, "%w", err)
	}
}

func (d *document) validatePattern(path, pattern string) {
	dir, base := filepath.Split(pattern)
	_, err := filepath.Match(base, "")
	switch {
	case !slices.Contains([]string{".yml", ".yaml", ".json"}, strings.ToLower(filepath.Ext(base))):
		d.complain(path, "must end in .yml, .yaml or .json")
	case strings.Contains(dir, "*"):
		d.complain(path, "may have a * in its last element only: name each folder")
	case err != nil:
		d.complain(path, "is not a pattern: close the [ or remove it")
	}
}

// validateTask complains about what a task has besides its identifier and name.
// The function key returns the path of a task's key.
func (d *document) validateTask(key func(string) string, t *Task) {
	if t.Status != "" && !slices.Contains(statuses, t.Status) {
		d.complain(key("status"), "must be one of %s", strings.Join(statuses, ", "))
	}
	if t.Index != nil && *t.Index < 0 {
		d.complain(key("index"), "must not be negative")
	}
	for name := range t.Labels {
		d.validateLabel(child(key("labels"), name), name)
	}
}

func (d *document) validateLabel(path, name string) {
	switch {
	case !model.LegacyValidation.IsValidLabelName(name):
		d.complain(path, "is not a label name: use letters, digits and _, and begin with no digit")
	case strings.HasPrefix(name, model.ReservedLabelPrefix):
		d.complain(path, "must not begin with __, which is reserved")
	case slices.Contains(reservedLabels, name):
		d.complain(path, "is a label of the exporter's own: choose another name")
	}
}
