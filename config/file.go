package config

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// configFile is a configuration as it is written down.
type configFile struct {
	Global       settings      `yaml:"global"`
	Applications []application `yaml:"applications"`
}

// settings are a file's. What it leaves out is nil.
type settings struct {
	CallsPerMinute          *int    `yaml:"calls_per_minute"`
	PageSize                *int    `yaml:"page_size"`
	CallTimeout             *string `yaml:"call_timeout"`
	MaxStaleness            *string `yaml:"max_staleness"`
	FinishedRecheckInterval *string `yaml:"finished_recheck_interval"`
	MaxErrorCodes           *int    `yaml:"max_error_codes"`
}

type application struct {
	Name            string           `yaml:"name"`
	URL             string           `yaml:"url"`
	AppID           string           `yaml:"app_id"`
	Secret          commoncfg.Secret `yaml:"secret,omitempty"`
	SecretFile      string           `yaml:"secret_file,omitempty"`
	AccessTokenFile string           `yaml:"access_token_file,omitempty"`
	TLSConfig       tlsConfig        `yaml:"tls_config,omitempty"`
	ProxyConfig     proxyConfig      `yaml:",inline"`
	Settings        settings         `yaml:",inline"`
	Tasks           []Task           `yaml:"tasks,omitempty"`
	TaskFiles       []string         `yaml:"task_files,omitempty"`
}

// config returns the configuration with defaults filled in. It complains about
// values that cannot be converted.
func (f *configFile) config(p *problems) *Config {
	c := &Config{Global: f.Global.over(DefaultSettings(), p, "global")}
	for i, a := range f.Applications {
		path := applicationPath(i)
		for j := range a.Tasks {
			a.Tasks[j].setDefaults()
		}
		c.Applications = append(c.Applications, Application{
			Name:            a.Name,
			URL:             strings.TrimRight(a.URL, "/"),
			AppID:           a.AppID,
			Secret:          a.Secret,
			SecretFile:      a.SecretFile,
			AccessTokenFile: a.AccessTokenFile,
			TLSConfig:       a.TLSConfig.config(p, child(path, "tls_config")),
			ProxyConfig:     a.ProxyConfig.config(p, path),
			Settings:        a.Settings.over(c.Global, p, path),
			Tasks:           a.Tasks,
			TaskFiles:       a.TaskFiles,
		})
	}
	return c
}

// over returns the settings, and the inherited ones where there are none.
func (s settings) over(inherited Settings, p *problems, path string) Settings {
	return Settings{
		CallsPerMinute:          p.number(child(path, "calls_per_minute"), s.CallsPerMinute, inherited.CallsPerMinute, maxCallsPerMinute),
		PageSize:                p.number(child(path, "page_size"), s.PageSize, inherited.PageSize, maxPageSize),
		CallTimeout:             p.duration(child(path, "call_timeout"), s.CallTimeout, inherited.CallTimeout, 1),
		MaxStaleness:            p.duration(child(path, "max_staleness"), s.MaxStaleness, inherited.MaxStaleness, 1),
		FinishedRecheckInterval: p.duration(child(path, "finished_recheck_interval"), s.FinishedRecheckInterval, inherited.FinishedRecheckInterval, 0),
		MaxErrorCodes:           p.number(child(path, "max_error_codes"), s.MaxErrorCodes, inherited.MaxErrorCodes, math.MaxInt),
	}
}

func (p *problems) number(path string, given *int, inherited, most int) int {
	switch {
	case given == nil:
		return inherited
	case p.floats[path]:
		p.complain(path, "must be a whole number")
	case *given < 1:
		p.complain(path, "must be at least 1")
	case *given > most:
		p.complain(path, "must be at most %d", most)
	}
	return *given
}

func (p *problems) duration(path string, given *string, inherited, least time.Duration) time.Duration {
	if given == nil {
		return inherited
	}
	d, err := model.ParseDuration(*given)
	switch {
	case err != nil:
		p.complain(path, "must be a duration such as 30s, 5m or 1h30m")
	case time.Duration(d) < least:
		p.complain(path, "must be greater than 0s")
	}
	return time.Duration(d)
}

// YAML returns the configuration in force: defaults filled in, settings as they
// apply to each application, and <secret> for whatever could be one. The order
// of keys is stable. Tasks from task files are not part of it.
func (c *Config) YAML() ([]byte, error) {
	f := configFile{Global: newSettings(c.Global)}
	for _, a := range c.Applications {
		f.Applications = append(f.Applications, application{
			Name:            a.Name,
			URL:             a.URL,
			AppID:           a.AppID,
			Secret:          a.Secret,
			SecretFile:      a.SecretFile,
			AccessTokenFile: a.AccessTokenFile,
			TLSConfig:       newTLSConfig(a.TLSConfig),
			ProxyConfig:     newProxyConfig(a.ProxyConfig),
			Settings:        newSettings(a.Settings),
			Tasks:           a.Tasks,
			TaskFiles:       a.TaskFiles,
		})
	}
	var buf bytes.Buffer
	encoder := yaml.NewEncoder(&buf)
	encoder.SetIndent(2)
	if err := encoder.Encode(f); err != nil {
		return nil, fmt.Errorf("encoding the configuration: %w", err)
	}
	return buf.Bytes(), nil
}

func newSettings(s Settings) settings {
	return settings{
		CallsPerMinute:          &s.CallsPerMinute,
		PageSize:                &s.PageSize,
		CallTimeout:             new(model.Duration(s.CallTimeout).String()),
		MaxStaleness:            new(model.Duration(s.MaxStaleness).String()),
		FinishedRecheckInterval: new(model.Duration(s.FinishedRecheckInterval).String()),
		MaxErrorCodes:           &s.MaxErrorCodes,
	}
}
