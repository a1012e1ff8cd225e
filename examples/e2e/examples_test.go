package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rule is one of the example rules, as written.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

// exampleRules reads all example rules.
func exampleRules(t *testing.T) []rule {
	t.Helper()
	var rules []rule
	for _, file := range exampleFiles(t, "../prometheus/rules/*.yml") {
		var content struct {
			Groups []struct{ Rules []rule }
		}
		parse(t, file, &content)
		for _, group := range content.Groups {
			rules = append(rules, group.Rules...)
		}
	}
	return rules
}

func exampleFiles(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s (%v)", pattern, err)
	}
	return files
}

func parse(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file) //nolint:gosec // one of the examples
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// Whoever is woken has to be told what is wrong, how bad it is and what to do.
func TestAlertsAreExplained(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var headings []string
	for _, match := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(text), -1) {
		headings = append(headings, match[1])
	}
	for _, r := range exampleRules(t) {
		if r.Alert == "" {
			continue
		}
		t.Run(r.Alert, func(t *testing.T) {
			for _, annotation := range []string{"summary", "description"} {
				if r.Annotations[annotation] == "" {
					t.Errorf("no %s", annotation)
				}
			}
			if severity := r.Labels["severity"]; severity != "critical" && severity != "warning" {
				t.Errorf("severity %q is not routed", severity)
			}
			if want := "/README.md#" + strings.ToLower(r.Alert); !strings.HasSuffix(r.Annotations["runbook_url"], want) {
				t.Errorf("runbook_url %q does not end in %s", r.Annotations["runbook_url"], want)
			}
			if !slices.Contains(headings, r.Alert) {
				t.Errorf("the README has no section %s", r.Alert)
			}
		})
	}
}

// Each alert has a unit test in which it does not fire, fires, and stops.
func TestAlertsAreUnitTested(t *testing.T) {
	histories := make(map[string][]string)
	for _, file := range exampleFiles(t, "../prometheus/tests/*.yml") {
		var content struct {
			Tests []struct {
				Checks []struct {
					Alertname string
					Alerts    []any `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		parse(t, file, &content)
		for _, test := range content.Tests {
			history := make(map[string]string)
			for _, check := range test.Checks {
				state := "-"
				if len(check.Alerts) > 0 {
					state = "!"
				}
				history[check.Alertname] += state
			}
			for alert, states := range history {
				histories[alert] = append(histories[alert], states)
			}
		}
	}
	cycle := regexp.MustCompile(`-!+-`)
	for _, r := range exampleRules(t) {
		if r.Alert != "" && !slices.ContainsFunc(histories[r.Alert], cycle.MatchString) {
			t.Errorf("%s: no test in which it begins and stops: %q", r.Alert, histories[r.Alert])
		}
	}
}

func TestPrometheusExamplesAreValid(t *testing.T) {
	promtool := find(t, "promtool")
	tests := exampleFiles(t, "../prometheus/tests/*.yml")
	for i, file := range tests {
		tests[i] = filepath.Join("tests", filepath.Base(file))
	}
	command(t, "../prometheus", promtool, "check", "config", "prometheus.yml")
	command(t, "../prometheus", promtool, append([]string{"test", "rules"}, tests...)...)
}

func TestAlertmanagerExampleIsValid(t *testing.T) {
	command(t, "../alertmanager", find(t, "amtool"), "check-config", "alertmanager.yml")
}

func TestAlertmanagerRoutes(t *testing.T) {
	amtool := find(t, "amtool")
	for severity, want := range map[string]string{"warning": "team", "critical": "on-call,team"} {
		got := command(t, "../alertmanager", amtool, "config", "routes", "test", "--config.file=alertmanager.yml",
			"--verify.receivers="+want, "alertname=BatchSubtasksFailed", "severity="+severity)
		t.Logf("%s: %s", severity, strings.TrimSpace(got))
	}
}
