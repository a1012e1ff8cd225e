package main

import (
	"bytes"
	stdcmp "cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// checkMetrics compares what the exporter shows with what the same tasks are on
// a platform of the test's own.
func checkMetrics(t *testing.T, url string) {
	first := scrape(t, url)
	platform := northboundtest.New()
	populate(platform, "secret", time.Now())

	up, totals := map[string]int{"reboot-1": 1}, map[string]int{"reboot-1": 240}
	for _, b := range fleet(time.Now()) {
		up[b.Name] = 0
		if !b.unknown {
			up[b.Name], totals[b.Name] = 1, b.Subtasks.Len()
		}
	}
	if diff := cmp.Diff(up, first.by("task", "huawei_iot_batch_task_up")); diff != "" {
		t.Errorf("task_up (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(totals, first.by("task", "huawei_iot_batch_subtasks")); diff != "" {
		t.Errorf("subtasks of all statuses (-want +got):\n%s", diff)
	}

	finished := fleet(time.Now())[0]
	truth := platform.Truth(finished.ID)
	if diff := cmp.Diff(truth.Statuses, first.of(finished.Name).by("status", "huawei_iot_batch_subtasks")); diff != "" {
		t.Errorf("finished task: subtasks (-want +got):\n%s", diff)
	}
	codes := make(map[string]int)
	for failure, n := range truth.Errors {
		codes[stdcmp.Or(failure.Code, "unknown")] = n
	}
	if diff := cmp.Diff(codes, first.of(finished.Name).by("error_code", "huawei_iot_batch_subtask_errors")); diff != "" {
		t.Errorf("finished task: errors (-want +got):\n%s", diff)
	}
	if codes := first.of("registration-7").by("error_code", "huawei_iot_batch_subtask_errors"); len(codes) < 4 {
		t.Errorf("too few error codes to look at: %v", codes)
	}
	if n := first.of("night-settings").by("status", "huawei_iot_batch_subtasks")[northboundtest.Timeout]; n == 0 {
		t.Error("nothing timed out")
	}

	// About two subtasks succeed in a second. The allowance may be used up by now.
	successes := func(s samples) int { return s.by("status", "huawei_iot_batch_subtasks")[northboundtest.Success] }
	for deadline := time.Now().Add(90 * time.Second); successes(scrape(t, url)) <= successes(first); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatal("nothing progresses")
		}
	}
}

// samples are what one scrape brought.
type samples model.Vector

// of are the samples of a task.
func (s samples) of(task string) samples {
	var own samples
	for _, sample := range s {
		if string(sample.Metric["task"]) == task {
			own = append(own, sample)
		}
	}
	return own
}

// by sums up a metric by the values of a label.
func (s samples) by(label model.LabelName, metric string) map[string]int {
	sums := make(map[string]int)
	for _, sample := range s {
		if string(sample.Metric[model.MetricNameLabel]) == metric {
			sums[string(sample.Metric[label])] += int(sample.Value)
		}
	}
	return sums
}

func scrape(t *testing.T, url string) samples {
	t.Helper()
	text, err := fetch(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	decoder := expfmt.NewDecoder(bytes.NewReader(text), expfmt.NewFormat(expfmt.TypeTextPlain))
	var all samples
	for {
		var family dto.MetricFamily
		err := decoder.Decode(&family)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		vector, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.Now()}, &family)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vector...)
	}
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, text)
	}
	return text, nil
}
