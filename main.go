// Command huawei_iot_batch_exporter shows what becomes of batch tasks of the
// Huawei IoT platform as Prometheus metrics.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/collector/web"
	"huawei_iot_batch_exporter/config"
)

const (
	name = "huawei_iot_batch_exporter"
	// watchInterval is how soon a changed task file is noticed.
	watchInterval = 5 * time.Second
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program. Each complaint is one line on stderr.
func run(args []string, stdout, stderr io.Writer) int {
	f, err := parse(args, stdout)
	if err == nil {
		err = start(f, stdout, stderr)
	}
	if err == nil {
		return 0
	}
	for complaint := range strings.SplitSeq(err.Error(), "\n") {
		_, _ = fmt.Fprintf(stderr, "%s: %s\n", name, complaint)
	}
	return 1
}

// flags are what the program is started with.
type flags struct {
	configFile, logLevel, logFormat string
	check, once                     bool
	web                             web.Options
	listen                          *toolkit.FlagConfig
}

func parse(args []string, stdout io.Writer) (flags, error) {
	var f flags
	app := kingpin.New(name, "Prometheus exporter for batch tasks of the Huawei IoT platform.").
		DefaultEnvars().UsageWriter(stdout).Version(version.Print(name))
	app.HelpFlag.Short('h').NoEnvar()
	app.VersionFlag.NoEnvar()
	app.Flag("config.file", "Configuration file.").Default("huawei_iot_batch.yml").StringVar(&f.configFile)
	app.Flag("config.check", "Check the configuration and the files that it names, and exit.").BoolVar(&f.check)
	app.Flag("once", "Query every configured task once, print the metrics, and exit: 1 if a task could not be read.").BoolVar(&f.once)
	f.listen = kingpinflag.AddFlags(app, ":10105")
	app.Flag("web.telemetry-path", "Path of the metrics.").Default("/metrics").StringVar(&f.web.TelemetryPath)
	app.Flag("web.enable-lifecycle", "Allow reloads by POST to /-/reload.").BoolVar(&f.web.EnableLifecycle)
	app.Flag("scrape.timeout-offset", "Time taken off the scrape timeout that Prometheus announces.").Default("0.5s").DurationVar(&f.web.TimeoutOffset)
	app.Flag("log.level", "Least severe messages to log: debug, info, warn or error.").Default("info").EnumVar(&f.logLevel, "debug", "info", "warn", "error")
	app.Flag("log.format", "Format of log messages: logfmt or json.").Default("logfmt").EnumVar(&f.logFormat, "logfmt", "json")
	for _, flag := range []string{"config.check", "once", "web.enable-lifecycle", "scrape.timeout-offset", "log.level", "log.format"} {
		clause := app.GetFlag(flag)
		clause.SetValue(named{clause.Model().Value, flag})
	}
	if _, err := app.Parse(args); err != nil {
		return f, fmt.Errorf("%w; --help lists the flags", err)
	}
	return f, nil
}

// named puts the name of a flag before what is wrong with its value.
type named struct {
	kingpin.Value
	flag string
}

// IsBoolFlag tells kingpin that the flag needs no value.
func (n named) IsBoolFlag() bool {
	b, ok := n.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

func (n named) Set(text string) error {
	if err := n.Value.Set(text); err != nil {
		return fmt.Errorf("--%s: %w", n.flag, err)
	}
	return nil
}

// start puts the configuration in force and does what the flags ask for.
func start(f flags, stdout, stderr io.Writer) error {
	format := map[string]func(io.Writer) log.Logger{"logfmt": log.NewLogfmtLogger, "json": log.NewJSONLogger}[f.logFormat]
	lines := format(log.NewSyncWriter(stderr))
	lines = log.With(level.NewFilter(lines, level.Allow(level.ParseDefault(f.logLevel, level.InfoValue()))), "ts", log.DefaultTimestampUTC)
	logger := log.With(lines, "caller", log.DefaultCaller)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	hangups := make(chan os.Signal, 1)
	if !f.once {
		signal.Notify(hangups, syscall.SIGHUP)
	}

	exporter := collector.New(collector.WithLogger(logger))
	defer exporter.Close()
	reloader := config.NewReloader(f.configFile, exporter.Apply, logger)
	registry := prometheus.NewRegistry()
	registry.MustRegister(reloader, versioncollector.NewCollector(name),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f.web.Exporter, f.web.Reloader, f.web.Registry, f.web.Logger = exporter, reloader, registry, logger
	handler, err := web.New(f.web)
	if err := errors.Join(err, web.CheckFlags(f.listen), reloader.Reload()); err != nil {
		return err
	}
	switch {
	case f.check:
		_, err := fmt.Fprintln(stdout, "config is valid")
		return err
	case f.once:
		return web.Print(ctx, exporter, stdout, stderr)
	}
	go reloader.Watch(ctx, watchInterval)
	go func() {
		for range hangups {
			_ = reloader.Reload() // the log tells
		}
	}()
	level.Debug(logger).Log("msg", "starting", "version", version.Info(), "build_context", version.BuildContext())
	return web.Serve(ctx, handler, f.listen, lines)
}
