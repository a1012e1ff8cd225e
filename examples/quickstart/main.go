// Command quickstart shows the exporter at work without a platform: it starts a
// simulated one on the loopback address, with batch tasks that live, writes a
// configuration and runs the real exporter against it.
//
//	go run ./examples/quickstart
//
// It ends with Ctrl-C and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
	"huawei_iot_batch_exporter/collector/progress"
)

func main() {
	app := kingpin.New("quickstart", "Runs the exporter against a simulated platform.")
	address := app.Flag("web.listen-address", "Where the exporter listens; port 0 takes a free one.").
		Default("127.0.0.1:10105").String()
	kingpin.MustParse(app.Parse(os.Args[1:]))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *address, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run shows the exporter until ctx ends. What to look at goes to out, the
// exporter's log to logs.
func run(ctx context.Context, address string, out, logs io.Writer) (err error) {
	if _, err := resolve(ctx, address); err != nil {
		return unlessDone(ctx, err) // before a build that may take a minute
	}
	dir, err := os.MkdirTemp("", "huawei_iot_batch_quickstart_")
	if err != nil {
		return fmt.Errorf("cannot make a temporary folder: %w; set TMPDIR to a folder that can be written", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	begin := time.Now()
	built := progress.Show(logs, func() string {
		return fmt.Sprintf("Building the exporter … %.0fs", time.Since(begin).Seconds())
	})
	binary, err := build(ctx, dir)
	built()
	if err != nil {
		return unlessDone(ctx, err)
	}

	platform := northboundtest.NewServer(
		northboundtest.WithClientCertificates(),
		northboundtest.WithCertificateNames(serverName),
	)
	defer platform.Close()
	reboots := &campaign{platform: platform.Platform, file: filepath.Join(dir, "tasks", "reboots.yml")}
	configFile, err := furnish(dir, platform, reboots)
	if err != nil {
		return err
	}

	exporter, err := start(ctx, binary, configFile, address, logs)
	if err != nil {
		return unlessDone(ctx, err)
	}
	defer exporter.stop()
	if err := exporter.ready(ctx); err != nil {
		return unlessDone(ctx, err)
	}
	printf(out, `
The exporter watches a simulated platform. Open

  %[1]s/
      the status page
  %[1]s/metrics
      the metrics of all configured tasks; they change from scrape to scrape
  %[1]s/probe?application=%[2]s&task_id=%[3]s
      a task that is not configured
  %[4]s
      the configuration

A new task begins every %.0[5]f minutes. Ctrl-C ends the exporter and the platform
and removes the folder. Now follows the exporter's log.

`, exporter.url, applicationName, probedTask, configFile, campaignInterval.Minutes())

	return live(ctx, platform.Platform, reboots, exporter)
}

// live keeps the platform busy until ctx or the exporter ends.
func live(ctx context.Context, platform *northboundtest.Platform, reboots *campaign, exporter *exporter) error {
	next := time.NewTicker(campaignInterval)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			if err := reboots.launch(time.Now()); err != nil {
				return err
			}
			platform.ResetCalls() // nobody reads them, and they add up
		case <-exporter.ended:
			return unlessDone(ctx, exporter.failure())
		case <-ctx.Done():
			return nil
		}
	}
}

// unlessDone leaves out an error that only tells that ctx has ended.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// printf writes to a terminal: that it has gone is no failure.
func printf(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format, args...)
}
