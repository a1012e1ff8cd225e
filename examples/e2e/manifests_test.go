package e2e

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const kubernetes = "../kubernetes"

var update = flag.Bool("update", false, "write what follows from other files anew")

// manifests are the objects of a kustomization.
type manifests struct {
	deployments     []appsv1.Deployment
	services        []corev1.Service
	configMaps      []corev1.ConfigMap
	secrets         []corev1.Secret
	namespaces      []corev1.Namespace
	networkPolicies []networkingv1.NetworkPolicy
	serviceMonitors []monitoringv1.ServiceMonitor
	rules           []monitoringv1.PrometheusRule
	scrapeConfigs   []monitoringv1alpha1.ScrapeConfig
}

// add decodes a document: nothing in it may be unknown to its type.
func (m *manifests) add(t *testing.T, text []byte) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(text, &kind); err != nil {
		t.Fatal(err)
	}
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 Deployment":
		m.deployments = append(m.deployments, strict[appsv1.Deployment](t, text))
	case "v1 Service":
		m.services = append(m.services, strict[corev1.Service](t, text))
	case "v1 ConfigMap":
		m.configMaps = append(m.configMaps, strict[corev1.ConfigMap](t, text))
	case "v1 Secret":
		m.secrets = append(m.secrets, strict[corev1.Secret](t, text))
	case "v1 Namespace":
		m.namespaces = append(m.namespaces, strict[corev1.Namespace](t, text))
	case "networking.k8s.io/v1 NetworkPolicy":
		m.networkPolicies = append(m.networkPolicies, strict[networkingv1.NetworkPolicy](t, text))
	case "monitoring.coreos.com/v1 ServiceMonitor":
		m.serviceMonitors = append(m.serviceMonitors, strict[monitoringv1.ServiceMonitor](t, text))
	case "monitoring.coreos.com/v1 PrometheusRule":
		m.rules = append(m.rules, strict[monitoringv1.PrometheusRule](t, text))
	case "monitoring.coreos.com/v1alpha1 ScrapeConfig":
		m.scrapeConfigs = append(m.scrapeConfigs, strict[monitoringv1alpha1.ScrapeConfig](t, text))
	case "kustomize.config.k8s.io/v1beta1 Kustomization":
		strict[types.Kustomization](t, text)
	default:
		t.Errorf("unknown kind %+v", kind)
	}
}

func strict[T any](t *testing.T, text []byte) T {
	t.Helper()
	var object T
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		t.Error(err)
	}
	return object
}

// kustomize builds a kustomization as kubectl apply -k would.
func kustomize(t *testing.T, folder string) manifests {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	var m manifests
	for _, resource := range built.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		m.add(t, text)
	}
	return m
}

// The objects of the files, before anything is put together.
func TestKubernetesFilesAreStrict(t *testing.T) {
	err := filepath.WalkDir(kubernetes, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		t.Run(path, func(t *testing.T) {
			text, err := os.ReadFile(path) //nolint:gosec // one of the examples
			if err != nil {
				t.Fatal(err)
			}
			new(manifests).add(t, text)
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKubernetes(t *testing.T) {
	for _, test := range []struct {
		folder    string
		exporters int
	}{
		{kubernetes, 1},
		{filepath.Join(kubernetes, "shards"), 2},
	} {
		t.Run(test.folder, func(t *testing.T) {
			m := kustomize(t, test.folder)
			if len(m.deployments) != test.exporters || len(m.services) != test.exporters || len(m.networkPolicies) != test.exporters {
				t.Errorf("%d deployments, %d services, %d network policies, want %d of each", len(m.deployments), len(m.services), len(m.networkPolicies), test.exporters)
			}
			if len(m.namespaces) != 1 || len(m.serviceMonitors) != 1 || len(m.rules) != 1 || len(m.scrapeConfigs) != 1 {
				t.Errorf("want one namespace, service monitor, rule and scrape configuration")
			}
			var applications []string
			for _, d := range m.deployments {
				checkDeployment(t, d)
				for _, application := range checkConfiguration(t, m, d) {
					if slices.Contains(applications, application) {
						t.Errorf("application %s lives in two exporters", application)
					}
					applications = append(applications, application)
				}
			}
			checkSelectors(t, m)
			checkProbe(t, m, applications)
		})
	}
}

// checkDeployment looks at what keeps an exporter single, and confined.
func checkDeployment(t *testing.T, d appsv1.Deployment) {
	t.Helper()
	if d.Spec.Replicas == nil || *d.Spec.Replicas != 1 || d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Errorf("%s: two exporters of one application could run at the same time", d.Name)
	}
	pod := d.Spec.Template.Spec
	if c := pod.SecurityContext; c.RunAsNonRoot == nil || !*c.RunAsNonRoot || c.SeccompProfile == nil || c.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: may run as root or without seccomp", d.Name)
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Errorf("%s: gets a token of the cluster", d.Name)
	}
	for _, c := range pod.Containers {
		s := c.SecurityContext
		if s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
			!slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: container %s is not confined", d.Name, c.Name)
		}
		if c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: container %s has no requests, or no limit of memory", d.Name, c.Name)
		}
		if tag := regexp.MustCompile(`:v?\d+\.\d+\.\d+$`); !tag.MatchString(c.Image) {
			t.Errorf("%s: image %s has no version", d.Name, c.Image)
		}
	}
	exporter := pod.Containers[0]
	if p := exporter.ReadinessProbe; p == nil || p.HTTPGet.Path != "/-/ready" {
		t.Errorf("%s: no readiness probe", d.Name)
	}
	if p := exporter.LivenessProbe; p == nil || p.HTTPGet.Path != "/-/healthy" {
		t.Errorf("%s: no liveness probe", d.Name)
	}
}

// checkConfiguration has the exporter check its configuration as mounted, and
// returns the names of its applications.
func checkConfiguration(t *testing.T, m manifests, d appsv1.Deployment) []string {
	t.Helper()
	files := t.TempDir()
	paths := []string{}
	place := func(mount, name, text string) {
		paths = append(paths, mount, files+mount)
		folder := filepath.Join(files, mount)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate, key := certificates(t)
	var configuration string
	for _, mount := range d.Spec.Template.Spec.Containers[0].VolumeMounts {
		i := slices.IndexFunc(d.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		if i < 0 {
			t.Fatalf("%s: no volume %s", d.Name, mount.Name)
		}
		found := false
		switch volume := d.Spec.Template.Spec.Volumes[i]; {
		case volume.ConfigMap != nil:
			for _, c := range m.configMaps {
				if c.Name != volume.ConfigMap.Name {
					continue
				}
				found = true
				for name, text := range c.Data {
					place(mount.MountPath, name, text)
				}
				configuration = c.Data["huawei_iot_batch.yml"]
			}
		case volume.Secret != nil:
			for _, s := range m.secrets {
				if s.Name != volume.Secret.SecretName {
					continue
				}
				found = true
				for name, text := range s.StringData {
					switch filepath.Ext(name) {
					case ".pem":
						text = certificate
					case ".key":
						text = key
					}
					place(mount.MountPath, name, text)
				}
			}
		}
		if !found {
			t.Errorf("%s: nothing to mount as %s", d.Name, mount.Name)
		}
	}
	file, ok := strings.CutPrefix(d.Spec.Template.Spec.Containers[0].Args[0], "--config.file=")
	if !ok {
		t.Fatalf("%s: the first argument is %s", d.Name, d.Spec.Template.Spec.Containers[0].Args[0])
	}
	checkConfig(t, filepath.Join(files, file), strings.NewReplacer(paths...))
	var parsed struct{ Applications []struct{ Name string } }
	if err := yaml.Unmarshal([]byte(configuration), &parsed); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, application := range parsed.Applications {
		names = append(names, application.Name)
	}
	return names
}

// checkConfig runs the exporter with --config.check on a configuration whose
// paths lie elsewhere.
func checkConfig(t *testing.T, file string, paths *strings.Replacer) {
	t.Helper()
	text, err := os.ReadFile(file) //nolint:gosec // in the test's folder
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(paths.Replace(string(text))), 0o600); err != nil { //nolint:gosec // likewise
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "exporter")
	if err := build(t.Context(), ".", program); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, "--config.check", "--config.file="+file).CombinedOutput(); err != nil { //nolint:gosec // built a moment ago
		t.Errorf("%v: %s", err, out)
	}
}

// certificates are those of a test server, in PEM format.
func certificates(t *testing.T) (certificate, key string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// checkSelectors looks at who is reached by whom: each exporter by one service
// and one policy, each service by the monitor.
func checkSelectors(t *testing.T, m manifests) {
	t.Helper()
	for _, d := range m.deployments {
		pod := labels.Set(d.Spec.Template.Labels)
		if selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector); err != nil || !selector.Matches(pod) {
			t.Errorf("%s does not select its own pods: %v", d.Name, err)
		}
		services, policies := 0, 0
		for _, s := range m.services {
			if labels.SelectorFromSet(s.Spec.Selector).Matches(pod) {
				services++
			}
		}
		for _, p := range m.networkPolicies {
			if selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector); err == nil && selector.Matches(pod) {
				policies++
			}
		}
		if services != 1 || policies != 1 {
			t.Errorf("%s: %d services and %d policies select it", d.Name, services, policies)
		}
	}
	monitor := m.serviceMonitors[0]
	selector, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range m.services {
		if !selector.Matches(labels.Set(s.Labels)) || monitor.Namespace != s.Namespace || s.Spec.Ports[0].Name != monitor.Spec.Endpoints[0].Port {
			t.Errorf("the monitor does not see service %s", s.Name)
		}
	}
	if r := monitor.Spec.Endpoints[0].RelabelConfigs[0]; r.TargetLabel != "job" || r.Replacement == nil || *r.Replacement != "huawei_iot_batch" {
		t.Errorf("the job is not called as the rules call it: %+v", r)
	}
}

// checkProbe looks at the probes: they are relabelled as in Prometheus' own
// configuration, and go to a service that there is.
func checkProbe(t *testing.T, m manifests, applications []string) {
	t.Helper()
	type relabel struct {
		SourceLabels []string `yaml:"source_labels"`
		Separator    string
		Regex        string
		TargetLabel  string `yaml:"target_label"`
		Replacement  string
		Action       string
	}
	type job struct {
		Name    string    `yaml:"job_name"`
		Path    string    `yaml:"metrics_path"`
		Relabel []relabel `yaml:"relabel_configs"`
		Metric  []relabel `yaml:"metric_relabel_configs"`
	}
	var prometheus struct {
		Jobs []job `yaml:"scrape_configs"`
	}
	parse(t, "../prometheus/prometheus.yml", &prometheus)
	i := slices.IndexFunc(prometheus.Jobs, func(j job) bool { return j.Path == "/probe" })
	if i < 0 {
		t.Fatal("Prometheus probes nothing")
	}
	example := prometheus.Jobs[i]
	probe := m.scrapeConfigs[0].Spec
	convert := func(configs []monitoringv1.RelabelConfig) []relabel {
		var all []relabel
		for _, c := range configs {
			r := relabel{Regex: c.Regex, TargetLabel: c.TargetLabel, Action: strings.ToLower(c.Action)}
			for _, label := range c.SourceLabels {
				r.SourceLabels = append(r.SourceLabels, string(label))
			}
			if c.Separator != nil {
				r.Separator = *c.Separator
			}
			if c.Replacement != nil {
				r.Replacement = *c.Replacement
			}
			all = append(all, r)
		}
		return all
	}
	ours, theirs := convert(probe.RelabelConfigs), example.Relabel
	last := len(ours) - 1 // the address, which differs
	if diff := cmp.Diff(theirs[:len(theirs)-1], ours[:last]); diff != "" {
		t.Errorf("relabelled differently (-Prometheus +ScrapeConfig):\n%s", diff)
	}
	if diff := cmp.Diff(example.Metric, convert(probe.MetricRelabelConfigs)); diff != "" {
		t.Errorf("metrics relabelled differently (-Prometheus +ScrapeConfig):\n%s", diff)
	}
	if *probe.JobName != example.Name || *probe.MetricsPath != example.Path {
		t.Errorf("job %s, path %s", *probe.JobName, *probe.MetricsPath)
	}
	for _, application := range applications {
		address := strings.ReplaceAll(ours[last].Replacement, "$1", application)
		if !slices.ContainsFunc(m.services, func(s corev1.Service) bool { return address == s.Name+"."+s.Namespace+".svc:10105" }) {
			t.Errorf("application %s: no service at %s", application, address)
		}
	}
}

// The rules for the operator are those of Prometheus.
func TestPrometheusRuleDoesNotDrift(t *testing.T) {
	file := filepath.Join(kubernetes, "monitoring/prometheusrule.yaml")
	text, err := os.ReadFile(file) //nolint:gosec // one of the examples
	if err != nil {
		t.Fatal(err)
	}
	got := strict[monitoringv1.PrometheusRule](t, text)
	var want monitoringv1.PrometheusRuleSpec
	for _, rules := range exampleFiles(t, "../prometheus/rules/*.yml") {
		text, err := os.ReadFile(rules) //nolint:gosec // one of the examples
		if err != nil {
			t.Fatal(err)
		}
		want.Groups = append(want.Groups, strict[monitoringv1.PrometheusRuleSpec](t, text).Groups...)
	}
	diff := cmp.Diff(want, got.Spec)
	if diff == "" {
		return
	}
	if !*update {
		t.Fatalf("run this test with -update (-Prometheus +PrometheusRule):\n%s", diff)
	}
	spec, err := yaml.Marshal(map[string]any{"spec": want})
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := bytes.Cut(text, []byte("\nspec:"))
	if err := os.WriteFile(file, append(append(head, '\n'), spec...), 0o644); err != nil { //nolint:gosec // as git has it
		t.Fatal(err)
	}
}
