package web_test

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"

	"huawei_iot_batch_exporter/collector/northbound"
)

// TestDashboardMeanings: the dashboard and the status page explain error codes in
// the same words.
func TestDashboardMeanings(t *testing.T) {
	text, err := os.ReadFile("../../examples/grafana/dashboards/huawei-iot-batch.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard any
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`^[0-9]{5,7}$`)
	explained := 0
	var walk func(any)
	walk = func(node any) {
		switch n := node.(type) {
		case []any:
			for _, item := range n {
				walk(item)
			}
		case map[string]any:
			for key, value := range n {
				if mapping, ok := value.(map[string]any); ok && code.MatchString(key) {
					explained++
					if want := northbound.Meaning(key); mapping["text"] != want {
						t.Errorf("%s is %q on the dashboard, %q on the status page", key, mapping["text"], want)
					}
				}
				walk(value)
			}
		}
	}
	walk(dashboard)
	if explained < 20 {
		t.Errorf("the dashboard explains %d codes", explained)
	}
}
