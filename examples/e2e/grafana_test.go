package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

const dashboardFile = "../grafana/dashboards/huawei-iot-batch.json"

// dashboard is what the tests need of a dashboard. That the rest is as Grafana
// wants it, examples/grafana/typecheck tells.
type dashboard struct {
	UID        string
	Links      []struct{ URL string }
	Panels     []panel
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
			Datasource struct{ UID string }
			Multi      bool
			IncludeAll bool
			AllValue   string
		}
	}
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ UID string }
	Links                    []struct{ URL string }
	Targets                  []struct {
		Expr, RefID, LegendFormat string
		Datasource                struct{ UID string }
	}
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct{ Steps []any }
		}
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value any
			}
		}
	}
	Transformations []struct {
		ID      string
		Options struct{ RenameByName map[string]string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// panels are those that show something: no rows.
func (d dashboard) panels() []panel {
	return slices.DeleteFunc(slices.Clone(d.Panels), func(p panel) bool { return p.Type == "row" })
}

// exported are the exporter's metrics, and up, with their labels.
var exported = func() map[string][]string {
	task := []string{"application", "task", "task_id"}
	with := func(labels []string, more ...string) []string { return append(slices.Clone(labels), more...) }
	metrics := map[string][]string{
		"up":       nil,
		"subtasks": with(task, "status"), "subtask_errors": with(task, "status", "error_code"),
		"task_up": task, "task_last_refresh_timestamp_seconds": task,
		"application_up":     {"application"},
		"api_requests_total": {"application", "operation"}, "api_throttled_total": {"application", "operation"},
		"api_errors_total":                    {"application", "operation", "http_status", "error_code"},
		"api_deferred_total":                  {"application"},
		"api_request_duration_seconds_bucket": {"application", "operation", "le"},
		"api_calls_per_minute_limit":          {"application"}, "api_calls_available": {"application"}, "api_calls_per_minute_wanted": {"application"},
		"exporter_config_last_reload_successful": nil,
	}
	full := map[string][]string{}
	for name, labels := range metrics {
		if name != "up" {
			name = "huawei_iot_batch_" + name
		}
		full[name] = with(labels, "job", "instance")
	}
	return full
}()

// checkNames tells of metrics and labels in an expression that nobody exports.
func checkNames(t *testing.T, expr string) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", expr, err)
		return
	}
	known := []string{"meaning"} // made by label_replace
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			labels, ok := exported[selector.Name]
			if !ok {
				t.Errorf("%s: nobody exports %s", expr, selector.Name)
			}
			known = append(known, labels...)
			for _, matcher := range selector.LabelMatchers {
				if matcher.Name != model.MetricNameLabel && !slices.Contains(labels, matcher.Name) {
					t.Errorf("%s: %s has no label %s", expr, selector.Name, matcher.Name)
				}
			}
		}
		return nil
	})
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		var labels []string
		switch node := node.(type) {
		case *parser.AggregateExpr:
			labels = node.Grouping
		case *parser.BinaryExpr:
			if node.VectorMatching != nil {
				labels = node.VectorMatching.MatchingLabels
			}
		}
		for _, label := range labels {
			if !slices.Contains(known, label) {
				t.Errorf("%s: no metric in it has the label %s", expr, label)
			}
		}
		return nil
	})
}

var variable = regexp.MustCompile(`\$\{?([A-Za-z_]\w*)`)

func TestDashboardResolves(t *testing.T) {
	d := readDashboard(t)
	declared := map[string]bool{} // and whether used
	for _, v := range d.Templating.List {
		declared[v.Name] = false
	}
	use := func(where, text string) {
		for _, match := range variable.FindAllStringSubmatch(text, -1) {
			switch _, ok := declared[match[1]]; {
			case ok:
				declared[match[1]] = true
			case match[1] != "__rate_interval":
				t.Errorf("%s: no variable $%s", where, match[1])
			}
		}
	}
	runbooks := runbookAnchors(t)
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			use(v.Name, fmt.Sprint(v.Query))
			use(v.Name, v.Datasource.UID)
			if !v.Multi || !v.IncludeAll || v.AllValue == "" {
				t.Errorf("%s: one cannot choose several, or all", v.Name)
			}
		}
	}
	ids := map[int]string{}
	for _, p := range d.Panels {
		if other, ok := ids[p.ID]; ok {
			t.Errorf("%s and %s have the same id", p.Title, other)
		}
		ids[p.ID] = p.Title
	}
	for _, link := range d.Links {
		use("links", link.URL)
	}
	for _, p := range d.panels() {
		var refs []string
		for _, target := range p.Targets {
			if slices.Contains(refs, target.RefID) {
				t.Errorf("%s: two queries %s", p.Title, target.RefID)
			}
			refs = append(refs, target.RefID)
			use(p.Title, target.Expr)
			for _, uid := range []string{p.Datasource.UID, target.Datasource.UID} {
				if uid != "${datasource}" {
					t.Errorf("%s: reads from %s, not from the data source chosen", p.Title, uid)
				}
				use(p.Title, uid)
			}
		}
		for _, override := range p.FieldConfig.Overrides {
			if override.Matcher.ID == "byFrameRefID" && !slices.Contains(refs, override.Matcher.Options) {
				t.Errorf("%s: overrides query %s, which it does not have", p.Title, override.Matcher.Options)
			}
		}
		for _, link := range p.Links {
			use(p.Title, link.URL)
			if _, anchor, _ := strings.Cut(link.URL, "#"); !slices.Contains(runbooks, anchor) {
				t.Errorf("%s: the runbook has no section #%s", p.Title, anchor)
			}
		}
	}
	for name, used := range declared {
		if !used {
			t.Errorf("nothing uses $%s", name)
		}
	}
}

// runbookAnchors are the sections that the example rules refer to.
func runbookAnchors(t *testing.T) []string {
	t.Helper()
	var anchors []string
	for _, r := range exampleRules(t) {
		if _, anchor, ok := strings.Cut(r.Annotations["runbook_url"], "#"); ok {
			anchors = append(anchors, anchor)
		}
	}
	return anchors
}

func TestDashboardPanelsAreComplete(t *testing.T) {
	d := readDashboard(t)
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s is wider than the dashboard", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" && other != p.Title {
					t.Fatalf("%s lies over %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	for _, p := range d.panels() {
		for what, has := range map[string]bool{
			"title": p.Title != "", "description": p.Description != "", "unit": p.FieldConfig.Defaults.Unit != "",
			"thresholds": len(p.FieldConfig.Defaults.Thresholds.Steps) > 0, "query": len(p.Targets) > 0, "runbook": len(p.Links) > 0,
		} {
			if !has {
				t.Errorf("panel %d %q: no %s", p.ID, p.Title, what)
			}
		}
	}
}

// The same status has the same colour everywhere.
func TestDashboardColoursStatusesAlike(t *testing.T) {
	want := map[string]string{"Success": "#009E73", "Fail": "#D55E00", "Timeout": "#E69F00", "WaitResult": "#56B4E9", "Pending": "#8E8E8E"}
	found := map[string]bool{}
	for _, p := range readDashboard(t).panels() {
		for _, override := range p.FieldConfig.Overrides {
			for _, property := range override.Properties {
				colours := map[string]any{}
				switch value := property.Value.(type) {
				case map[string]any: // of a series
					if property.ID == "color" {
						colours[override.Matcher.Options] = value["fixedColor"]
					}
				case []any: // of a column
					for _, mapping := range value {
						options, _ := mapping.(map[string]any)["options"].(map[string]any)
						for name, result := range options {
							if result, ok := result.(map[string]any); ok {
								colours[name] = result["color"]
							}
						}
					}
				}
				for status, colour := range colours {
					if want[status] != "" {
						found[status] = true
						if colour != want[status] {
							t.Errorf("%s: %s is %v, want %s", p.Title, status, colour, want[status])
						}
					}
				}
			}
		}
	}
	if got := slices.Sorted(maps.Keys(found)); len(got) != len(want) {
		t.Errorf("only %v have a colour", got)
	}
}

func TestDashboardNamesAreExported(t *testing.T) {
	for _, p := range readDashboard(t).panels() {
		for _, target := range p.Targets {
			expr := everything.Replace(target.Expr)
			checkNames(t, expr)
			// A legend shows a label that is left.
			for _, match := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(target.LegendFormat, -1) {
				if !strings.Contains(expr, match[1]) {
					t.Errorf("%s: the legend shows %s, which the query drops", p.Title, match[1])
				}
			}
		}
	}
}

var (
	everything = strings.NewReplacer("$application", ".+", "$task", ".+", "$__rate_interval", "1m")
	// As Grafana writes a choice of several.
	several = strings.NewReplacer("$application", "fleet", "$task", "(firmware-42|registration-7|forgotten)", "$__rate_interval", "1m")
)

func number(v model.Vector) bool {
	return slices.ContainsFunc(v, func(s *model.Sample) bool { return !math.IsNaN(float64(s.Value)) })
}

func TestDashboardPanelsHaveData(t *testing.T) {
	d := readDashboard(t)
	s := startStack(t)
	for _, p := range d.panels() {
		for _, target := range p.Targets {
			t.Run(p.Title+" "+target.RefID, func(t *testing.T) {
				for _, chosen := range []*strings.Replacer{everything, several} {
					s.WaitFor(t, chosen.Replace(target.Expr), "has no data", number)
				}
			})
		}
	}
	// label_values(metric, label), which is Grafana's own.
	values := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		t.Run("variable "+v.Name, func(t *testing.T) {
			query, _ := v.Query.(map[string]any)["query"].(string)
			match := values.FindStringSubmatch(everything.Replace(query))
			if match == nil {
				t.Fatalf("unknown query %q", query)
			}
			checkNames(t, match[1])
			s.WaitFor(t, fmt.Sprintf("count by (%s) (%s)", match[2], match[1]), "has no values", func(v model.Vector) bool {
				return len(v) > 0 && v[0].Metric[model.LabelName(match[2])] != ""
			})
		})
	}
}

// What the tests hold to be the exporter's metrics is what it exports.
func TestExportedIsExported(t *testing.T) {
	s := startStack(t)
	for name, labels := range exported {
		t.Run(name, func(t *testing.T) {
			got := s.WaitFor(t, name, "is not exported", some)
			for _, label := range labels {
				if !slices.ContainsFunc(got, func(s *model.Sample) bool { return s.Metric[model.LabelName(label)] != "" }) {
					t.Errorf("no label %s", label)
				}
			}
		})
	}
}
