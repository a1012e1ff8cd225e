package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

func some(v model.Vector) bool { return len(v) > 0 }
func none(v model.Vector) bool { return len(v) == 0 }
func one(v model.Vector) bool  { return len(v) == 1 }

// firing selects alerts that fire now.
func firing(alert, labels string) string {
	return fmt.Sprintf(`ALERTS{alertstate="firing", alertname=%q, %s}`, alert, labels)
}

// hasFired selects alerts that fire now or have since the test began, so that a
// test that comes late sees them.
func hasFired(alert, labels string) string {
	return fmt.Sprintf(`max without (alertstate) (max_over_time(%s[1h]))`, firing(alert, labels))
}

func TestTargetsAreUp(t *testing.T) {
	s := startStack(t)
	s.WaitFor(t, `up{job="huawei_iot_batch"} == 1`, "is not up", one)
	s.WaitFor(t, `up{job="huawei_iot_batch_probe"} == 1`, "are not up", func(v model.Vector) bool { return len(v) == 2 })
	s.WaitForData(t,
		`huawei_iot_batch_task_up{job="huawei_iot_batch_probe", instance="fleet/5bf8f8567dd2d86eab87ed40/diagnostics", task="diagnostics"} == 1`,
		`huawei_iot_batch_task_up{job="huawei_iot_batch_probe", instance="fleet/5bf8f8567dd2d86eab87ed42", task="firmware-42"} == 1`,
	)
	s.WaitFor(t, `{job="huawei_iot_batch_probe", __name__=~"huawei_iot_batch_(api|application)_.*"}`, "come once per task", none)
}

func TestRulesEvaluate(t *testing.T) {
	s := startStack(t)
	for _, r := range exampleRules(t) {
		t.Run(r.Record+r.Alert, func(t *testing.T) {
			if _, err := s.Query(t.Context(), r.Expr); err != nil {
				t.Error(err)
			}
			if r.Record != "" {
				s.WaitForData(t, r.Record)
			}
		})
	}
	// In short time, as they run.
	result, err := s.api.Rules(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	for _, group := range result.Groups {
		for _, r := range group.Rules {
			known++
			switch r := r.(type) {
			case v1.RecordingRule:
				if r.Health != v1.RuleHealthGood {
					t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
				}
			case v1.AlertingRule:
				if r.Health != v1.RuleHealthGood {
					t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
				}
			}
		}
	}
	if want := len(exampleRules(t)); known != want {
		t.Errorf("Prometheus runs %d rules, want %d", known, want)
	}
}

// An alert on a metric or a label that does not exist is always silent.
func TestRulesAskForWhatExists(t *testing.T) {
	s := startStack(t)
	others := regexp.MustCompile(`\bup\{[^}]*\}|\w+:\w+:\w+`) // Prometheus' own, and what rules record
	selector := regexp.MustCompile(`\bhuawei_iot_batch_\w+(\{[^}]*\})?`)
	for _, r := range exampleRules(t) {
		s.WaitForData(t, selector.FindAllString(others.ReplaceAllString(r.Expr, ""), -1)...)
	}
}

// The quickstart's tasks have been made to be alerted on.
func TestAlertsFire(t *testing.T) {
	s := startStack(t)
	for alert, labels := range map[string]string{
		"BatchSubtasksFailed":     `task="registration-7"`,
		"BatchSubtasksTimedOut":   `task="night-settings"`,
		"BatchFailureShareHigh":   `task="night-settings", status="Timeout", severity="critical"`,
		"BatchErrorCodeDominates": `task="firmware-41", error_code="100428"`,
		"BatchTaskUnreadable":     `task="forgotten"`,
		"BatchAllowanceTooSmall":  `application="fleet"`, // as scrapes are that frequent here
	} {
		t.Run(alert, func(t *testing.T) {
			s.WaitFor(t, hasFired(alert, labels), "does not fire", one)
		})
	}
}

func TestTaskOfBothJobsIsAlertedOnOnce(t *testing.T) {
	s := startStack(t)
	s.WaitFor(t, `huawei_iot_batch_subtasks{task="firmware-42", status="Fail"} > 0`, "is not watched by both jobs",
		func(v model.Vector) bool { return len(v) == 2 })
	s.WaitFor(t, hasFired("BatchSubtasksFailed", `task="firmware-42"`), "does not fire once", one)
}

// A finished task is let go of, though its failures are still there.
func TestFinishedTaskIsLetGo(t *testing.T) {
	s := startStack(t)
	for _, alert := range []string{"BatchSubtasksFailed", "BatchSubtasksTimedOut", "BatchErrorCodeDominates"} {
		s.WaitFor(t, hasFired(alert, `task="firmware-41"`), "never fired", one)
		s.WaitFor(t, firing(alert, `task="firmware-41"`), "still fires", none)
	}
	s.WaitFor(t, `huawei_iot_batch_subtasks{task="firmware-41", status="Fail"} > 0`, "shows no failures any more", one)
}

// alertOf is an alert as Alertmanager knows it.
type alertOf struct {
	Labels map[string]string
	Status struct {
		State       string
		InhibitedBy []string
	}
}

func (s *stack) received(ctx context.Context, filter string) ([]alertOf, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Alertmanager+"/api/v2/alerts", nil)
	if err != nil {
		return nil, err
	}
	query := request.URL.Query()
	query.Set("filter", filter)
	request.URL.RawQuery = query.Encode()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	var alerts []alertOf
	return alerts, json.NewDecoder(response.Body).Decode(&alerts)
}

// eventually waits until something has happened outside of Prometheus.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !happened(); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func TestAlertmanagerTells(t *testing.T) {
	s := startStack(t)
	find(t, "alertmanager")

	eventually(t, "Alertmanager has the alerts, and the larger one inhibits the smaller", func() bool {
		alerts, err := s.received(t.Context(), `alertname="BatchSubtasksTimedOut"`)
		return err == nil && slices.ContainsFunc(alerts, func(a alertOf) bool {
			return a.Labels["task"] == "night-settings" && a.Status.State == "suppressed" && len(a.Status.InhibitedBy) > 0
		})
	})
	eventually(t, "on-call is told of the share of timeouts, the group being the task", func() bool {
		_, pages := s.sink.received()
		return slices.ContainsFunc(pages, func(p page) bool {
			return p.Status == "firing" && p.GroupLabels["application"] == "fleet" && p.GroupLabels["task"] == "night-settings" &&
				slices.ContainsFunc(p.Alerts, func(a pagedAlert) bool { return a.Labels["alertname"] == "BatchFailureShareHigh" })
		})
	})
	eventually(t, "the team reads what is wrong with a task", func() bool {
		chats, _ := s.sink.received()
		return slices.ContainsFunc(chats, func(c chat) bool {
			return len(c.Attachments) == 1 &&
				strings.HasSuffix(c.Attachments[0].Title, "firing] fleet / forgotten") &&
				strings.HasPrefix(c.Attachments[0].Text, "warning: forgotten cannot be read\n") &&
				strings.Contains(c.Attachments[0].Text, "README.md#batchtaskunreadable")
		})
	})
}

// It leaves a new quickstart behind, whose tasks begin anew.
func TestExporterDown(t *testing.T) {
	s := startStack(t)
	s.exporter.stop()
	t.Run("down", func(t *testing.T) {
		s.WaitFor(t, firing("BatchExporterDown", `severity="critical"`), "does not fire", one)
		s.WaitFor(t, firing("BatchProbeFailed", `severity="warning"`), "do not fire", some)
	})
	t.Run("inhibits all else", func(t *testing.T) {
		find(t, "alertmanager")
		eventually(t, "the alerts on probes are inhibited", func() bool {
			alerts, err := s.received(t.Context(), `alertname="BatchProbeFailed"`)
			return err == nil && len(alerts) > 0 && !slices.ContainsFunc(alerts, func(a alertOf) bool { return a.Status.State != "suppressed" })
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.startExporter(ctx); err != nil {
		t.Fatal(err)
	}
	s.WaitFor(t, firing("BatchExporterDown", `severity="critical"`), "still fires", none)
}
