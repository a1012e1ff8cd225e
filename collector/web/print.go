package web

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/collector/progress"
)

// Print has every configured task read and writes what is known then, in the
// text format. It waits as long as that takes, or until ctx ends; if terminal is
// one, it shows there how far this has come. It fails if a task could not be
// read, after it has written the others.
//
// Metrics of the process are left out: those of the textfile collector that may
// read this would collide with them.
func Print(ctx context.Context, exporter *collector.Exporter, w, terminal io.Writer) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(exporter.Scrape(ctx))
	stop := progress.Show(terminal, func() string { return howFar(exporter.Status()) })
	families, err := registry.Gather()
	stop()
	encoder := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return fmt.Errorf("cannot print the metrics: %w", err)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("cannot gather all metrics: %w", err)
	case ctx.Err() != nil:
		return errors.New("stopped before every task was read")
	case !exporter.AllUp():
		return errors.New("not every task could be read: see those with huawei_iot_batch_task_up 0, and the log")
	}
	return nil
}

// howFar says how many tasks were read.
func howFar(applications []collector.ApplicationStatus) string {
	tasks, read, unread := 0, 0, 0
	for _, a := range applications {
		for _, t := range a.Tasks {
			tasks++
			if !t.State.AttemptedAt.IsZero() {
				read++
			}
			if t.State.Numbers != nil {
				unread += t.State.Numbers.Unread
			}
		}
	}
	text := fmt.Sprintf("%d of %d tasks read", read, tasks)
	if unread > 0 {
		text += fmt.Sprintf(", %d error codes to read", unread)
	}
	return text
}
