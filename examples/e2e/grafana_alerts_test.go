package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"go.yaml.in/yaml/v3"
)

const provisioning = "../grafana/provisioning"

// provisioned are Grafana's provisioning files of all kinds, with the keys that
// we use.
type provisioned struct {
	APIVersion  int `yaml:"apiVersion"`
	Datasources []struct {
		Name, UID, Type, Access, URL string
		IsDefault                    bool           `yaml:"isDefault"`
		Editable                     bool           `yaml:"editable"`
		JSONData                     map[string]any `yaml:"jsonData"`
	}
	Providers []struct {
		Name, Type, Folder    string
		OrgID                 int    `yaml:"orgId"`
		FolderUID             string `yaml:"folderUid"`
		AllowUIUpdates        bool   `yaml:"allowUiUpdates"`
		DisableDeletion       bool   `yaml:"disableDeletion"`
		UpdateIntervalSeconds int    `yaml:"updateIntervalSeconds"`
		Options               struct{ Path string }
	}
	Groups []struct {
		OrgID                  int `yaml:"orgId"`
		Name, Folder, Interval string
		Rules                  []grafanaRule
	}
	ContactPoints []struct {
		OrgID     int `yaml:"orgId"`
		Name      string
		Receivers []struct {
			UID, Type string
			Settings  map[string]any
		}
	} `yaml:"contactPoints"`
	Policies []struct {
		OrgID         int `yaml:"orgId"`
		grafanaPolicy `yaml:",inline"`
	}
}

type grafanaRule struct {
	UID, Title, Condition, For string
	NoDataState                string `yaml:"noDataState"`
	ExecErrState               string `yaml:"execErrState"`
	DashboardUID               string `yaml:"dashboardUid"`
	PanelID                    int    `yaml:"panelId"`
	Labels, Annotations        map[string]string
	Data                       []struct {
		RefID             string                 `yaml:"refId"`
		DatasourceUID     string                 `yaml:"datasourceUid"`
		RelativeTimeRange struct{ From, To int } `yaml:"relativeTimeRange"`
		Model             struct {
			RefID            string `yaml:"refId"`
			Datasource       struct{ Type, UID string }
			EditorMode       string `yaml:"editorMode"`
			Instant, Range   bool
			IntervalMs       int `yaml:"intervalMs"`
			MaxDataPoints    int `yaml:"maxDataPoints"`
			Expr             string
			Type, Expression string
			Conditions       []struct {
				Evaluator struct {
					Type   string
					Params []float64
				}
			}
		}
	}
}

type grafanaPolicy struct {
	Receiver       string
	GroupBy        []string        `yaml:"group_by"`
	GroupWait      string          `yaml:"group_wait"`
	GroupInterval  string          `yaml:"group_interval"`
	RepeatInterval string          `yaml:"repeat_interval"`
	ObjectMatchers [][3]string     `yaml:"object_matchers"`
	Routes         []grafanaPolicy `yaml:"routes"`
}

// expr is the query whose result is compared, with the comparison.
func (r grafanaRule) expr() string {
	for _, d := range r.Data {
		if d.Model.Expr != "" {
			return fmt.Sprintf("(%s) > %v", d.Model.Expr, r.threshold())
		}
	}
	return ""
}

func (r grafanaRule) threshold() float64 {
	return r.Data[len(r.Data)-1].Model.Conditions[0].Evaluator.Params[0]
}

// matches tells whether an alert with such labels takes the route.
func (p grafanaPolicy) matches(labels map[string]string) bool {
	for _, m := range p.ObjectMatchers {
		switch value := labels[m[0]]; m[1] {
		case "=":
			if value != m[2] {
				return false
			}
		case "=~":
			if !regexp.MustCompile("^(?:" + m[2] + ")$").MatchString(value) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// readProvisioning reads all files, strictly, into one.
func readProvisioning(t *testing.T) provisioned {
	t.Helper()
	var all provisioned
	for _, file := range exampleFiles(t, provisioning+"/*/*.yml") {
		text, err := os.ReadFile(file) //nolint:gosec // one of the examples
		if err != nil {
			t.Fatal(err)
		}
		decoder := yaml.NewDecoder(bytes.NewReader(text))
		decoder.KnownFields(true)
		var one provisioned
		if err := decoder.Decode(&one); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if one.APIVersion != 1 {
			t.Errorf("%s: apiVersion %d", file, one.APIVersion)
		}
		all.Datasources = append(all.Datasources, one.Datasources...)
		all.Providers = append(all.Providers, one.Providers...)
		all.Groups = append(all.Groups, one.Groups...)
		all.ContactPoints = append(all.ContactPoints, one.ContactPoints...)
		all.Policies = append(all.Policies, one.Policies...)
	}
	return all
}

func grafanaRules(t *testing.T) []grafanaRule {
	t.Helper()
	var rules []grafanaRule
	for _, group := range readProvisioning(t).Groups {
		rules = append(rules, group.Rules...)
	}
	return rules
}

func TestGrafanaProvisioningResolves(t *testing.T) {
	p := readProvisioning(t)
	d := readDashboard(t)
	var sources, folders, contacts []string
	for _, source := range p.Datasources {
		sources = append(sources, source.UID)
	}
	for _, provider := range p.Providers {
		folders = append(folders, provider.Folder)
	}
	for _, contact := range p.ContactPoints {
		contacts = append(contacts, contact.Name)
	}
	for _, policy := range p.Policies {
		for _, route := range append(policy.Routes, policy.grafanaPolicy) {
			if !slices.Contains(contacts, route.Receiver) {
				t.Errorf("no contact point %s", route.Receiver)
			}
		}
	}
	if len(p.Policies) != 1 {
		t.Fatalf("%d policies: the last one would win", len(p.Policies))
	}
	var uids []string
	for _, group := range p.Groups {
		if !slices.Contains(folders, group.Folder) {
			t.Errorf("group %s: no folder %s", group.Name, group.Folder)
		}
		for _, rule := range group.Rules {
			t.Run(rule.Title, func(t *testing.T) {
				if slices.Contains(uids, rule.UID) || rule.UID == "" || len(rule.UID) > 40 {
					t.Errorf("uid %q is not unique, empty or longer than 40 characters", rule.UID)
				}
				uids = append(uids, rule.UID)
				if rule.DashboardUID != "" && (rule.DashboardUID != d.UID || !slices.ContainsFunc(d.panels(), func(p panel) bool { return p.ID == rule.PanelID })) {
					t.Errorf("no panel %d on dashboard %s", rule.PanelID, rule.DashboardUID)
				}
				if !slices.Contains([]string{"OK", "NoData", "Alerting", "KeepLast"}, rule.NoDataState) || !slices.Contains([]string{"OK", "Error", "Alerting", "KeepLast"}, rule.ExecErrState) {
					t.Errorf("states %s, %s", rule.NoDataState, rule.ExecErrState)
				}
				if !slices.ContainsFunc(p.Policies[0].Routes, func(r grafanaPolicy) bool { return r.matches(rule.Labels) }) {
					t.Errorf("no route for %v", rule.Labels)
				}
				checkQueries(t, rule, sources)
			})
		}
	}
}

// checkQueries tells of queries and conditions of a rule that do not hang together.
func checkQueries(t *testing.T, rule grafanaRule, sources []string) {
	t.Helper()
	var refs []string
	for _, query := range rule.Data {
		if query.RefID != query.Model.RefID || slices.Contains(refs, query.RefID) {
			t.Errorf("refIds %s, %s: different, or twice", query.RefID, query.Model.RefID)
		}
		refs = append(refs, query.RefID)
		if query.DatasourceUID != query.Model.Datasource.UID {
			t.Errorf("query %s: two data sources", query.RefID)
		}
		switch {
		case query.DatasourceUID != "__expr__":
			if !slices.Contains(sources, query.DatasourceUID) {
				t.Errorf("no data source %s", query.DatasourceUID)
			}
			if !query.Model.Instant || query.Model.Range {
				t.Errorf("query %s has to be instant: a threshold takes one number per series", query.RefID)
			}
			checkNames(t, query.Model.Expr)
		case !slices.Contains(refs, query.Model.Expression):
			t.Errorf("query %s takes %s, which there is not", query.RefID, query.Model.Expression)
		case query.Model.Type != "threshold" || len(query.Model.Conditions) != 1 || query.Model.Conditions[0].Evaluator.Type != "gt":
			t.Errorf("query %s is not a threshold of the form that the tests understand", query.RefID)
		}
	}
	if !slices.Contains(refs, rule.Condition) {
		t.Errorf("condition %s is no query", rule.Condition)
	}
}

// annotate fills an annotation of a rule in, as Grafana does.
func annotate(text string, labels map[string]string, value float64) (string, error) {
	type number struct{ Value float64 }
	show := func(v float64) string { return fmt.Sprint(v) }
	tmpl, err := template.New("").
		Funcs(template.FuncMap{"humanize": show, "humanizeDuration": show, "humanizePercentage": show}).
		Parse("{{ $labels := .Labels }}{{ $values := .Values }}" + text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = tmpl.Execute(&out, map[string]any{"Labels": labels, "Values": map[string]number{"A": {value}}})
	return out.String(), err
}

// The expressions in Prometheus' own engine: when they fire, and that they stop.
func TestGrafanaRulesFireWhenTheyShould(t *testing.T) {
	const id = `application="fleet", task="t", task_id="1"`
	theTask := []map[string]string{{"application": "fleet", "task": "t", "task_id": "1"}}
	tests := []struct {
		rule, name, series string
		at                 time.Duration
		want               []map[string]string
	}{
		{"BatchSubtasksFailed", "failures when the task is first read", `huawei_iot_batch_subtasks{%s, status="Fail"} 3x100`, 5 * time.Minute, theTask},
		{"BatchSubtasksFailed", "an hour later they are let go", `huawei_iot_batch_subtasks{%s, status="Fail"} 3x100`, 65 * time.Minute, nil},
		{"BatchSubtasksFailed", "a later failure", `huawei_iot_batch_subtasks{%s, status="Fail"} 3x89 4x100`, 95 * time.Minute, theTask},
		{"BatchSubtasksFailed", "after a gap of an hour they are not new", `huawei_iot_batch_subtasks{%s, status="Fail"} 3x100 _x60 3x30`, 165 * time.Minute, nil},
		{"BatchSubtasksFailed", "nothing failed", `huawei_iot_batch_subtasks{%s, status="Fail"} 0x100`, 5 * time.Minute, nil},
		{"BatchSubtasksFailed", "a timeout is no failure", `huawei_iot_batch_subtasks{%s, status="Timeout"} 3x100`, 5 * time.Minute, nil},
		{"BatchSubtasksTimedOut", "timeouts when the task is first read", `huawei_iot_batch_subtasks{%s, status="Timeout"} 3x100`, 5 * time.Minute, theTask},
		{"BatchSubtasksTimedOut", "an hour later they are let go", `huawei_iot_batch_subtasks{%s, status="Timeout"} 3x100`, 65 * time.Minute, nil},
		{"BatchTaskUnreadable", "a task", "huawei_iot_batch_task_up{%s} 0x100\nhuawei_iot_batch_application_up{application=\"fleet\"} 1x100", 5 * time.Minute, theTask},
		{"BatchTaskUnreadable", "not where the application is down", "huawei_iot_batch_task_up{%s} 0x100\nhuawei_iot_batch_application_up{application=\"fleet\"} 0x100", 5 * time.Minute, nil},
		{"BatchTaskUnreadable", "one of two jobs reads it", "huawei_iot_batch_task_up{%[1]s, job=\"a\"} 0x100\nhuawei_iot_batch_task_up{%[1]s, job=\"b\"} 1x100", 5 * time.Minute, nil},
		{"BatchNumbersTooOld", "of a running task", "huawei_iot_batch_task_last_refresh_timestamp_seconds{%[1]s} 0x100\nhuawei_iot_batch_subtasks{%[1]s, status=\"Pending\"} 1x100", 11 * time.Minute, theTask},
		{"BatchNumbersTooOld", "not yet", "huawei_iot_batch_task_last_refresh_timestamp_seconds{%[1]s} 0x100\nhuawei_iot_batch_subtasks{%[1]s, status=\"Pending\"} 1x100", 9 * time.Minute, nil},
		{"BatchNumbersTooOld", "not of a finished task", "huawei_iot_batch_task_last_refresh_timestamp_seconds{%[1]s} 0x100\nhuawei_iot_batch_subtasks{%[1]s, status=\"Pending\"} 0x100", 11 * time.Minute, nil},
		{"BatchNumbersTooOld", "once they have vanished", "huawei_iot_batch_task_last_refresh_timestamp_seconds{%[1]s} 0x100", 11 * time.Minute, theTask},
		{"BatchApplicationDown", "down", `huawei_iot_batch_application_up{application="fleet", instance="e"} 0x100`, 5 * time.Minute, []map[string]string{{"application": "fleet", "instance": "e"}}},
		{"BatchApplicationDown", "up", "huawei_iot_batch_application_up{application=\"fleet\", instance=\"e\"} 1x100\nhuawei_iot_batch_api_calls_per_minute_limit{application=\"fleet\", instance=\"e\"} 60x100", 5 * time.Minute, nil},
		{"BatchApplicationDown", "no call was ever made", `huawei_iot_batch_api_calls_per_minute_limit{application="fleet", instance="e"} 60x100`, 5 * time.Minute, []map[string]string{{"application": "fleet", "instance": "e"}}},
		{"BatchExporterDown", "down", `up{job="huawei_iot_batch", instance="e"} 0x100`, 5 * time.Minute, []map[string]string{{"job": "huawei_iot_batch", "instance": "e"}}},
		{"BatchExporterDown", "up", `up{job="huawei_iot_batch", instance="e"} 1x100`, 5 * time.Minute, nil},
		{"BatchExporterDown", "no such job", `up{job="other", instance="e"} 1x100`, 5 * time.Minute, []map[string]string{{"job": "huawei_iot_batch"}}},
	}
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000)
	fired, silent := map[string]bool{}, map[string]bool{}
	rules := map[string]grafanaRule{}
	for _, r := range grafanaRules(t) {
		rules[r.Title] = r
	}
	for _, test := range tests {
		t.Run(test.rule+" "+test.name, func(t *testing.T) {
			rule, ok := rules[test.rule]
			if !ok {
				t.Fatal("no such rule")
			}
			series := test.series
			if strings.Contains(series, "%") {
				series = fmt.Sprintf(series, id)
			}
			storage := promqltest.LoadedStorage(t, "load 1m\n  "+strings.ReplaceAll(series, "\n", "\n  "))
			query, err := engine.NewInstantQuery(t.Context(), storage, nil, rule.expr(), time.Unix(0, 0).Add(test.at))
			if err != nil {
				t.Fatal(err)
			}
			defer query.Close()
			vector, err := query.Exec(t.Context()).Vector()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, labelsOf(vector)); diff != "" {
				t.Errorf("fires for (-want +got):\n%s", diff)
			}
			for _, sample := range vector {
				for name, text := range rule.Annotations {
					said, err := annotate(text, sample.Metric.Map(), sample.F)
					if err != nil || strings.Contains(said, "<no value>") {
						t.Errorf("%s: %q, %v", name, said, err)
					}
				}
			}
			fired[test.rule] = fired[test.rule] || len(vector) > 0
			silent[test.rule] = silent[test.rule] || len(vector) == 0
		})
	}
	for title := range rules {
		if !fired[title] || !silent[title] {
			t.Errorf("%s: no test in which it fires, or none in which it does not", title)
		}
	}
}

func labelsOf(vector promql.Vector) []map[string]string {
	var all []map[string]string
	for _, sample := range vector {
		all = append(all, sample.Metric.Map())
	}
	return all
}

// In the quickstart, in short time, they say what the alerts of the same name say.
func TestGrafanaRulesAgreeWithPrometheus(t *testing.T) {
	alerts := map[string]rule{}
	for _, r := range exampleRules(t) {
		alerts[r.Alert] = r
	}
	s := startStack(t)
	for _, r := range grafanaRules(t) {
		t.Run(r.Title, func(t *testing.T) {
			alert, ok := alerts[r.Title]
			if !ok {
				t.Fatal("Prometheus has no such alert")
			}
			if alert.Labels["severity"] != r.Labels["severity"] || alert.Annotations["runbook_url"] != r.Annotations["runbook_url"] {
				t.Errorf("severity or runbook differ from Prometheus' alert")
			}
			ours, theirs := shorten(r.expr()), shorten(alert.Expr)
			by := "sum by (application, task, task_id) (%s)"
			ours, theirs = fmt.Sprintf(by, ours), fmt.Sprintf(by, theirs)
			// Neither has what the other lacks; and those that quickstart
			// makes fire, fire.
			s.WaitFor(t, fmt.Sprintf("(%[1]s unless %[2]s) or (%[2]s unless %[1]s)", ours, theirs), "differ", none)
			if slices.Contains([]string{"BatchSubtasksFailed", "BatchSubtasksTimedOut", "BatchTaskUnreadable"}, r.Title) {
				s.WaitFor(t, ours, "does not fire", some)
			}
		})
	}
}

// Every variable of the environment that the provisioning files ask for.
func provisioningVariables(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, file := range exampleFiles(t, filepath.Join(provisioning, "*/*.yml")) {
		text, err := os.ReadFile(file) //nolint:gosec // one of the examples
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^[^#]*: \$(\w+)`).FindAllStringSubmatch(string(text), -1) {
			names = append(names, match[1])
		}
	}
	return names
}
