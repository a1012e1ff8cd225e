// Package config reads the exporter's configuration: YAML in, validated values
// out. Whatever is wrong is reported at once, each complaint with file, line and
// key; see [Problem].
//
// Values returned by [Load] are not changed afterwards, so that they may be
// shared between goroutines as long as no caller changes them either.
package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	commoncfg "github.com/prometheus/common/config"
)

// Config is a configuration in force.
type Config struct {
	// Global holds what applies to applications that say nothing else.
	Global Settings
	// Applications are in the order of the file; there is at least one.
	Applications []Application

	// index knows the lines of the file that the configuration was read from.
	index index
}

// Settings are the numbers that bound the work for one application.
type Settings struct {
	// CallsPerMinute is how many calls to the platform may be made in any 60
	// seconds, sign-in included: 1 to 100000. The platform documents a limit of
	// 100 per application, which an operator may change.
	CallsPerMinute int
	// PageSize is the number of rows asked for per page: 1 to 30000, the largest
	// batch that the platform documents.
	PageSize int
	// CallTimeout bounds one call. It is greater than zero.
	CallTimeout time.Duration
	// MaxStaleness is how long the last known numbers of a task are shown while
	// it cannot be refreshed. It is greater than zero.
	MaxStaleness time.Duration
	// FinishedRecheckInterval is how often a task is asked again whose subtasks
	// are all final. Zero means never.
	FinishedRecheckInterval time.Duration
	// MaxErrorCodes is how many error codes are told apart per task and status,
	// at least 1.
	MaxErrorCodes int
}

// Application is an application of the platform: its address, its credentials
// and the tasks to watch.
type Application struct {
	// Name is unique among the applications.
	Name string
	// URL is the platform's base address, http or https, without a trailing slash.
	URL string
	// AppID identifies the application towards the platform.
	AppID string
	// Exactly one of Secret, SecretFile and AccessTokenFile is set. Read them
	// with [Application.ReadSecret] and [Application.ReadAccessToken].
	Secret          commoncfg.Secret
	SecretFile      string
	AccessTokenFile string

	TLSConfig   commoncfg.TLSConfig
	ProxyConfig commoncfg.ProxyConfig

	// Settings are the global ones with the application's own over them.
	Settings Settings

	// Tasks are the ones in the configuration file itself.
	Tasks []Task
	// TaskFiles are paths of files with more tasks. The last element of a path
	// may hold wildcards.
	TaskFiles []string
	// FileTasks are the tasks that the files held when they were last read, by
	// [Load] or by [Config.WithTaskFiles].
	FileTasks []Task
}

// Task is a batch task to watch, or the part of one that a query selects. Empty
// fields do not narrow the query.
type Task struct {
	TaskID string `yaml:"task_id"`
	// Name is unique within the application. It is the TaskID where none is given.
	Name string `yaml:"name"`
	// AppID is the owner of the task, where that is an application that
	// authorized this one.
	AppID string `yaml:"app_id,omitempty"`
	// Status is one of the five that the platform documents: Pending,
	// WaitResult, Success, Fail, Timeout.
	Status    string `yaml:"status,omitempty"`
	DeviceID  string `yaml:"device_id,omitempty"`
	CommandID string `yaml:"command_id,omitempty"`
	// Index is a line of the uploaded file, not negative.
	Index  *int   `yaml:"index,omitempty"`
	NodeID string `yaml:"node_id,omitempty"`
	// Labels are the user's own, by name.
	Labels map[string]string `yaml:"labels,omitempty"`
}

// DefaultSettings returns the settings that apply where the file gives none.
func DefaultSettings() Settings {
	return Settings{
		CallsPerMinute:          60,
		PageSize:                250,
		CallTimeout:             30 * time.Second,
		MaxStaleness:            5 * time.Minute,
		FinishedRecheckInterval: time.Hour,
		MaxErrorCodes:           50,
	}
}

// Load reads the configuration from file and the task files that it names.
// Other files that it names are not opened; [Config.Check] does that. Relative
// paths are taken as relative to the folder of file.
//
// The error joins one [Problem] for everything that is wrong. Where a file does
// not have the form that it should, its values have not been looked at.
func Load(file string) (*Config, error) {
	var content configFile
	p := read(file, "begin with the key applications", &content)
	if err := p.err(); err != nil {
		return nil, err
	}
	cfg := content.config(p)
	cfg.index = p.index
	p.validate(cfg)
	cfg.resolve(filepath.Dir(file))

	loaded, err := cfg.WithTaskFiles()
	if err := errors.Join(p.err(), err); err != nil {
		return nil, err
	}
	return loaded, nil
}

func (t *Task) setDefaults() {
	if t.Name == "" {
		t.Name = t.TaskID
	}
}

// resolve makes relative paths relative to dir.
func (c *Config) resolve(dir string) {
	for i := range c.Applications {
		a := &c.Applications[i]
		a.SecretFile = commoncfg.JoinDir(dir, a.SecretFile)
		a.AccessTokenFile = commoncfg.JoinDir(dir, a.AccessTokenFile)
		a.TLSConfig.SetDirectory(dir)
		for j := range a.TaskFiles {
			a.TaskFiles[j] = commoncfg.JoinDir(dir, a.TaskFiles[j])
		}
	}
}

func applicationPath(i int) string { return element("applications", i) }

// AllTasks returns the tasks of the configuration file, then those of the task
// files.
func (a *Application) AllTasks() []Task {
	return slices.Concat(a.Tasks, a.FileTasks)
}

// ReadSecret returns the application's secret, from the configuration or from
// its file, without surrounding white space. It is an error if it is empty.
func (a *Application) ReadSecret() (string, error) {
	if a.SecretFile != "" {
		return readCredential("secret_file", a.SecretFile)
	}
	secret := strings.TrimSpace(string(a.Secret))
	if secret == "" {
		return "", errors.New("the application has no secret: give it a secret or a secret_file")
	}
	return secret, nil
}

// ReadAccessToken returns the access token that the application's file holds
// now, without surrounding white space. It is an error if it is empty.
func (a *Application) ReadAccessToken() (string, error) {
	if a.AccessTokenFile == "" {
		return "", errors.New("the application has no access token: give it an access_token_file")
	}
	return readCredential("access_token_file", a.AccessTokenFile)
}

// maxCredential is far more than a secret or a token has, in bytes.
const maxCredential = 64 << 10

func readCredential(key, file string) (string, error) {
	data, err := readAtMost(file, maxCredential)
	if _, tooLong := errors.AsType[tooLongError](err); tooLong {
		return "", fmt.Errorf("cannot read the %s %s: %w: name a file that holds the credential and nothing else", key, file, err)
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the %s: %w", key, err)
	}
	credential := strings.TrimSpace(string(data))
	if credential == "" {
		return "", fmt.Errorf("the %s %s is empty: write the credential into it, and nothing else", key, file)
	}
	return credential, nil
}

// HTTPClientConfig returns what an HTTP client for the platform needs. It does
// not follow redirects, which could carry credentials to another origin.
func (a *Application) HTTPClientConfig() commoncfg.HTTPClientConfig {
	return commoncfg.HTTPClientConfig{
		TLSConfig:       a.TLSConfig,
		ProxyConfig:     a.ProxyConfig,
		FollowRedirects: false,
		EnableHTTP2:     true,
	}
}
