package config

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
)

// Reloader keeps the configuration in force up to date: as a whole when it is
// told to ([Reloader.Reload]), and the tasks of task files by itself
// ([Reloader.Watch]). What is broken changes nothing.
//
// As a [prometheus.Collector] it tells whether all that was last tried worked,
// and when something last did. Its methods may be called from several goroutines
// at once.
type Reloader struct {
	file    string
	apply   func(*Config) error
	logger  log.Logger
	current atomic.Pointer[Config]

	successful, timestamp prometheus.Gauge

	mu          sync.Mutex // held while a configuration is put in force
	fingerprint string     // of the task files in force
	mainErr     error      // why the last reload failed
	tasksErr    error      // why the task files that are there now are not in force
}

// NewReloader returns a reloader of the file. It reads nothing before the first
// [Reloader.Reload]. The function apply puts a configuration in force, or fails
// and changes nothing.
func NewReloader(file string, apply func(*Config) error, logger log.Logger) *Reloader {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "huawei_iot_batch_exporter", Subsystem: "config", Name: name, Help: help,
		})
	}
	return &Reloader{
		file:   file,
		apply:  apply,
		logger: logger,
		successful: gauge("last_reload_successful",
			"Whether the configuration file and the task files were read and put in force when that was last tried."),
		timestamp: gauge("last_reload_success_timestamp_seconds",
			"When a configuration, or tasks from task files, were last put in force."),
	}
}

// Current returns the configuration in force, or nil if there is none yet.
func (r *Reloader) Current() *Config { return r.current.Load() }

// Reload reads the configuration, opens everything that it names, and puts it in
// force. On an error, of which each line is a complaint that says what to do,
// the old configuration stays in force. All but the first are logged.
func (r *Reloader) Reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.Current() == nil
	r.mainErr = r.reload()
	r.measure(r.mainErr == nil)
	switch {
	case first: // whoever starts tells how it went
	case r.mainErr == nil:
		level.Info(r.logger).Log("msg", "configuration reloaded", "file", r.file)
	default:
		r.complain("configuration cannot be reloaded; the old one stays in force", r.mainErr)
	}
	return r.mainErr
}

func (r *Reloader) reload() error {
	cfg, err := Load(r.file)
	if err != nil {
		return err
	}
	// Load has to read the file before the task files are known. Only those that
	// are read after the fingerprint was taken go with it.
	fingerprint := cfg.TaskFilesFingerprint()
	if cfg, err = cfg.WithTaskFiles(); err != nil {
		return err
	}
	if err := cfg.Check(); err != nil {
		return err
	}
	if err := r.apply(cfg); err != nil {
		return err
	}
	r.current.Store(cfg)
	r.fingerprint, r.tasksErr = fingerprint, nil
	return nil
}

// Watch looks at the task files at every interval and puts in force what
// changed. It returns when ctx ends. A broken or half-written file keeps the old
// tasks of all files; it is tried again until it is mended.
func (r *Reloader) Watch(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.refreshTasks()
		case <-ctx.Done():
			return
		}
	}
}

func (r *Reloader) refreshTasks() {
	r.mu.Lock()
	defer r.mu.Unlock()
	cfg := r.Current()
	if cfg == nil {
		return
	}
	fingerprint := cfg.TaskFilesFingerprint()
	if fingerprint == r.fingerprint && r.tasksErr == nil {
		return
	}
	was := r.tasksErr
	if cfg, r.tasksErr = cfg.WithTaskFiles(); r.tasksErr == nil {
		r.tasksErr = r.apply(cfg)
	}
	r.measure(r.tasksErr == nil)
	switch {
	case r.tasksErr == nil:
		r.current.Store(cfg)
		r.fingerprint = fingerprint
		level.Info(r.logger).Log("msg", "task files reloaded")
	case was == nil || was.Error() != r.tasksErr.Error():
		r.complain("task files cannot be read; the old tasks stay in force", r.tasksErr)
	}
}

// measure notes an attempt. What failed earlier and was not mended still counts.
func (r *Reloader) measure(worked bool) {
	if worked {
		r.timestamp.SetToCurrentTime()
	}
	if r.mainErr == nil && r.tasksErr == nil {
		r.successful.Set(1)
	} else {
		r.successful.Set(0)
	}
}

// complain logs each complaint on a line of its own.
func (r *Reloader) complain(msg string, err error) {
	for complaint := range strings.SplitSeq(err.Error(), "\n") {
		level.Error(r.logger).Log("msg", msg, "err", complaint)
	}
}

// Describe implements [prometheus.Collector].
func (r *Reloader) Describe(ch chan<- *prometheus.Desc) {
	r.successful.Describe(ch)
	r.timestamp.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (r *Reloader) Collect(ch chan<- prometheus.Metric) {
	r.successful.Collect(ch)
	r.timestamp.Collect(ch)
}
