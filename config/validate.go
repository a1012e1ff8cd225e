package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

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

// validate complains about what is missing, impossible or taken.
func (p *problems) validate(c *Config) {
	if len(c.Applications) == 0 {
		p.complain("applications", "names no application: add at least one with name, url, app_id and a secret_file")
	}
	names, identities := map[string]string{}, map[string]string{}
	for i := range c.Applications {
		a, path := &c.Applications[i], applicationPath(i)
		p.validateApplication(path, a)
		if first, ok := claim(names, a.Name, path); !ok {
			p.complain(child(path, "name"), "%q is already the name of %s (line %d): names have to be unique", a.Name, first, p.line(first))
		}
		if first, ok := claim(identities, identity(a), path); !ok {
			p.complain(child(path, "app_id"), "is the application of %s (line %d) on the same platform: put their tasks into one, "+
				"because they would share one allowance and each sign-in would end the other's", first, p.line(first))
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

func (p *problems) validateApplication(path string, a *Application) {
	if a.Name == "" {
		p.complain(child(path, "name"), "is missing: give the application a name that is unique in this file")
	}
	if a.AppID == "" {
		p.complain(child(path, "app_id"), "is missing: give the application's identifier on the platform")
	}
	if strings.ContainsFunc(a.Name, unicode.IsControl) {
		p.complain(child(path, "name"), "has control characters: remove them")
	}
	if strings.ContainsFunc(a.AppID, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		p.complain(child(path, "app_id"), "has blanks or control characters: remove them")
	}
	p.validateURL(child(path, "url"), a.URL)
	p.validateCredentials(path, a)
	for i, pattern := range a.TaskFiles {
		p.validatePattern(element(child(path, "task_files"), i), pattern)
	}

	for i := range a.Tasks {
		task := element(child(path, "tasks"), i)
		key := func(key string) string { return child(task, key) }
		if a.Tasks[i].TaskID == "" {
			p.complain(key("task_id"), "is missing: give the task's identifier on the platform")
		}
		if p.floats[key("index")] {
			p.complain(key("index"), "must be a whole number")
		}
		p.validateTask(key, &a.Tasks[i])
	}
}

// validateURL never repeats the URL: it may hold a password by mistake.
func (p *problems) validateURL(path, text string) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		p.complain(path, "is missing: give the platform's address, such as https://192.0.2.1:8743")
	case err != nil || !validHost(u) || (u.Scheme != "http" && u.Scheme != "https"):
		p.complain(path, "must be an http or https address, such as https://192.0.2.1:8743")
	case u.User != nil:
		p.complain(path, "must not hold a user or password: credentials belong into app_id and secret_file")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		p.complain(path, "must not hold a query or fragment: end it before the first ? or #")
	}
}

// validHost tells whether the URL names a host, with no port or a possible one.
func validHost(u *url.URL) bool {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Hostname() != "" && !strings.HasSuffix(u.Host, ":") && (u.Port() == "" || (err == nil && port > 0))
}

func (p *problems) validateCredentials(path string, a *Application) {
	given := 0
	for _, text := range []string{strings.TrimSpace(string(a.Secret)), a.SecretFile, a.AccessTokenFile} {
		if text != "" {
			given++
		}
	}
	if given != 1 {
		p.complain(path, "needs exactly one of secret_file, secret and access_token_file, and not an empty one")
	}
}

func (p *problems) validatePattern(path, pattern string) {
	dir, base := filepath.Split(pattern)
	_, err := filepath.Match(base, "")
	switch {
	case !slices.Contains([]string{".yml", ".yaml", ".json"}, strings.ToLower(filepath.Ext(base))):
		p.complain(path, "must end in .yml, .yaml or .json")
	case strings.Contains(dir, "*"):
		p.complain(path, "may have a * in its last element only: name each folder")
	case err != nil:
		p.complain(path, "is not a pattern: close the [ or remove it")
	}
}

// validateTask complains about what a task has besides its identifier and name.
// The function key returns the path of a task's key.
func (p *problems) validateTask(key func(string) string, t *Task) {
	if t.Status != "" && !slices.Contains(statuses, t.Status) {
		p.complain(key("status"), "must be one of %s", strings.Join(statuses, ", "))
	}
	if t.Index != nil && *t.Index < 0 {
		p.complain(key("index"), "must not be negative")
	}
	for name := range t.Labels {
		p.validateLabel(child(key("labels"), name), name)
	}
}

func (p *problems) validateLabel(path, name string) {
	switch {
	case !model.LegacyValidation.IsValidLabelName(name):
		p.complain(path, "is not a label name: use letters, digits and _, and begin with no digit")
	case strings.HasPrefix(name, model.ReservedLabelPrefix):
		p.complain(path, "must not begin with __, which is reserved")
	case slices.Contains(reservedLabels, name):
		p.complain(path, "is a label of the exporter's own: choose another name")
	}
}
