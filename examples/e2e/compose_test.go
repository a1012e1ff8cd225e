package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
)

const compose = "../docker-compose"

func composeProject(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(compose, "compose.yml")}, cli.WithResolvedPaths(true), cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func exists(t *testing.T, service, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("%s: %v", service, err)
	}
}

func TestComposeFilesExist(t *testing.T) {
	project := composeProject(t)
	for name, service := range project.Services {
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind {
				exists(t, name, volume.Source)
				if !volume.ReadOnly {
					t.Errorf("%s can write to %s", name, volume.Source)
				}
			}
		}
		if b := service.Build; b != nil {
			file := b.Dockerfile
			if file == "" {
				file = "Dockerfile"
			}
			exists(t, name, filepath.Join(b.Context, file))
		}
	}
	for name, secret := range project.Secrets {
		exists(t, name, secret.File)
	}
}

func TestComposeServicesAreConfined(t *testing.T) {
	pinned := regexp.MustCompile(`:v?\d+\.\d+\.\d+$`)
	for name, service := range composeProject(t).Services {
		t.Run(name, func(t *testing.T) {
			if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) || !slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
				t.Error("is not confined")
			}
			if service.Build == nil && !pinned.MatchString(service.Image) {
				t.Errorf("image %s has no version", service.Image)
			}
			for _, port := range service.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("port %d is open to others", port.Target)
				}
			}
			// The exporter's image has no program that could check it.
			if name != "exporter" && service.HealthCheck == nil {
				t.Error("no health check")
			}
		})
	}
}

// Grafana finds what its provisioning files name.
func TestComposeProvisionsGrafana(t *testing.T) {
	project := composeProject(t)
	grafana := project.Services["grafana"]
	mounted := map[string]string{}
	for _, volume := range grafana.Volumes {
		mounted[volume.Target] = volume.Source
	}
	p := readProvisioning(t)
	for _, provider := range p.Providers {
		source, ok := mounted[provider.Options.Path]
		if !ok {
			t.Fatalf("nothing is mounted at %s", provider.Options.Path)
		}
		exists(t, "grafana", filepath.Join(source, filepath.Base(dashboardFile)))
	}
	for _, folder := range []string{"datasources", "dashboards", "alerting"} {
		if mounted["/etc/grafana/provisioning/"+folder] == "" {
			t.Errorf("%s are not mounted", folder)
		}
	}
	for _, name := range provisioningVariables(t) {
		if value := grafana.Environment[name]; value == nil || *value == "" {
			t.Errorf("no variable %s", name)
		}
	}
	if len(provisioningVariables(t)) == 0 {
		t.Error("the provisioning files ask for no variable: the test does not see them")
	}
}

// Its configuration is the example's, but for names of hosts and the second job.
func TestComposePrometheusDoesNotDrift(t *testing.T) {
	var ours, example map[string]any
	parse(t, filepath.Join(compose, "prometheus.yml"), &ours)
	parse(t, "../prometheus/prometheus.yml", &example)
	example["scrape_configs"] = example["scrape_configs"].([]any)[:1]
	var rename func(any) any
	rename = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for key := range v {
				v[key] = rename(v[key])
			}
		case []any:
			for i := range v {
				v[i] = rename(v[i])
			}
		case string:
			return strings.NewReplacer("localhost:10105", "exporter:10105", "localhost:9093", "alertmanager:9093").Replace(v)
		}
		return v
	}
	if diff := cmp.Diff(rename(example), any(ours)); diff != "" {
		t.Errorf("(-example +compose):\n%s", diff)
	}
	project := composeProject(t)
	for _, target := range []string{"exporter", "alertmanager"} {
		if _, ok := project.Services[target]; !ok {
			t.Errorf("no service %s", target)
		}
	}
}

func TestComposeConfigurationIsValid(t *testing.T) {
	project := composeProject(t)
	files := t.TempDir()
	certificate, key := certificates(t)
	for name, text := range map[string]string{"ca.pem": certificate, "client.pem": certificate, "client.key": key} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(compose, "conf/huawei_iot_batch.yml"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(files, "huawei_iot_batch.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil { //nolint:gosec // in the test's folder
		t.Fatal(err)
	}
	checkConfig(t, file, strings.NewReplacer("/run/secrets/fleet.secret", project.Secrets["fleet.secret"].File, "/certificates", files))
}

// The unit as systemd understands it. That its program is not installed here is
// no matter.
func TestSystemdUnit(t *testing.T) {
	names["systemd-analyze"] = []string{"systemd-analyze"}
	analyze := find(t, "systemd-analyze")
	text, err := os.ReadFile("../systemd/huawei_iot_batch_exporter.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "huawei_iot_batch_exporter.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/huawei_iot_batch_exporter", "/bin/true")), 0o600); err != nil { //nolint:gosec // in the test's folder
		t.Fatal(err)
	}
	if said := command(t, ".", analyze, "verify", "--man=no", unit); said != "" {
		t.Error(said)
	}
	command(t, ".", analyze, "security", "--offline=true", "--threshold=20", "--no-pager", unit)

	files := t.TempDir()
	certificate, key := certificates(t)
	for name, text := range map[string]string{"ca.pem": certificate, "client.pem": certificate, "client.key": key, "application.secret": "s3cret"} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(files, "tasks"), 0o700); err != nil {
		t.Fatal(err)
	}
	configuration, err := os.ReadFile("../systemd/huawei_iot_batch.yml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(files, "huawei_iot_batch.yml")
	if err := os.WriteFile(file, configuration, 0o600); err != nil { //nolint:gosec // in the test's folder
		t.Fatal(err)
	}
	checkConfig(t, file, strings.NewReplacer("/run/credentials/huawei_iot_batch_exporter.service", files))
}
