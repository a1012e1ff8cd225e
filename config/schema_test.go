package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

const (
	examples   = "../examples"
	schemaFile = examples + "/huawei_iot_batch.schema.json"
)

func readExample(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, name)) //nolint:gosec // The names are this package's own.
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validateYAML(t *testing.T, schema *jsonschema.Schema, text string) error {
	t.Helper()
	var instance any
	if err := yaml.Unmarshal([]byte(text), &instance); err != nil {
		t.Fatal(err)
	}
	return schema.Validate(instance)
}

func TestExamples(t *testing.T) {
	schema := compileSchema(t)
	files, err := filepath.Glob(examples + "/*.yml")
	if err != nil || len(files) < 2 {
		t.Fatalf("examples %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			mustLoad(t, file)
			if err := validateYAML(t, schema, readExample(t, filepath.Base(file))); err != nil {
				t.Error(err)
			}
		})
	}
}

// The full example is the reference for every key, so it has to show them all,
// and the values in its global block have to be the defaults.
func TestFullExample(t *testing.T) {
	cfg := mustLoad(t, examples+"/huawei_iot_batch.yml")
	if diff := cmp.Diff(DefaultSettings(), cfg.Global); diff != "" {
		t.Errorf("global settings (-default +example):\n%s", diff)
	}
	if len(cfg.Applications[0].FileTasks) == 0 {
		t.Error("the task files hold no tasks")
	}
	text := readExample(t, "huawei_iot_batch.yml")
	// Alternatives of keys that the example shows.
	alternatives := []string{"max_version", "ca", "cert", "key"}
	for key := range typeKeys(reflect.TypeFor[configFile]()) {
		name := key[strings.LastIndex(key, ".")+1:]
		if !slices.Contains(alternatives, name) && !strings.Contains(text, name+":") {
			t.Errorf("%s is not shown", key)
		}
	}
}

func TestSchemaRefusesWhatLoadRefuses(t *testing.T) {
	schema := compileSchema(t)
	for name, tc := range badConfigs {
		t.Run(name, func(t *testing.T) {
			switch err := validateYAML(t, schema, tc.yaml); {
			case tc.beyondSchema && err != nil:
				t.Errorf("the schema can tell after all: %v", err)
			case !tc.beyondSchema && err == nil:
				t.Error("the schema allows it")
			}
		})
	}
}

// What the one accepts the other accepts, so that an editor marks what Load
// would refuse.
func TestSchemaAndLoadAgree(t *testing.T) {
	schema := compileSchema(t)
	application := func(line string) string { return minimal + "    " + line + "\n" }
	for _, tc := range []struct {
		yaml string
		ok   bool
	}{
		{minimal, true},
		{minimal + "global:\n", true},
		{minimal + "global: {call_timeout: 1h30m, finished_recheck_interval: 0}\n", true},
		{minimal + "global: {call_timeout: 1m1h}\n", false},
		{minimal + "global: {call_timeout: ''}\n", false},
		{minimal + "global: {call_timeout: 0m}\n", false},
		{minimal + "global: {call_timeout: 0}\n", false},
		{minimal + "global: {finished_recheck_interval: 1}\n", false},
		{minimal + "global: {max_staleness: 10ms}\n", true},
		{minimal + "global: 5\n", false},
		{application("page_size: 30000"), true},
		{application("page_size: 30001"), false},
		{application("page_size: 0"), false},
		{application("calls_per_minute: 100000"), true},
		{application("calls_per_minute: 100001"), false},
		{application("max_error_codes: 0"), false},
		{application("access_token_file: x"), false},
		{application("proxy_url: ''"), true},
		{application("proxy_url: socks5://192.0.2.1:1080"), true},
		{application("proxy_url: proxy.example.com"), false},
		{application("no_proxy: a"), false},
		{application("proxy_connect_header: {X: [a]}"), false},
		{application("proxy_url: http://p\n    proxy_connect_header: {X: [a]}"), true},
		{application("proxy_url: http://p\n    proxy_connect_header: {X: a}"), false},
		{application("proxy_from_environment: true\n    proxy_connect_header: {X: [a]}"), true},
		{application("tls_config: {min_version: TLS13}"), true},
		{application("tls_config: {min_version: 1.3}"), false},
		{application("tls_config: {insecure_skip_verify: 1}"), false},
		{application("tls_config: {cert: a, key_file: b}"), true},
		{application("tls_config: {cert: a, cert_file: a, key_file: b}"), false},
		{application("task_files: [a.yml, tasks/*.json, /x/y-*.yaml]"), true},
		{application("task_files: ['*/a.yml']"), false},
		{application("task_files: [a]"), false},
		{application("tasks: [{task_id: 5, name: 5, labels: {a: 1, _: 2, _1: true}}]"), true},
		{application("tasks: [{task_id: 5, labels: {__a: b}}]"), false},
		{application("tasks: [{task_id: 5, labels: {1a: b}}]"), false},
		{application("tasks: [{task_id: 5, labels: {task_name: b}}]"), false},
		{application("tasks: [{task_id: 5, labels: {a: {}}}]"), false},
		{application("tasks: [{task_id: ''}]"), false},
		{application("tasks: [{task_id: 5, index: '5'}]"), false},
		{application("tasks: [{task_id: 5, status: pending}]"), false},
		{application("tasks: [task_id]"), false},
		{strings.ReplaceAll(minimal, "192.0.2.1:8743", "[2001:db8::1]:8743/iot/"), true},
		{strings.ReplaceAll(minimal, "192.0.2.1:8743", "192.0.2.1#x"), false},
		{strings.ReplaceAll(minimal, "192.0.2.1:8743", "192.0.2.1:port"), false},
		{strings.ReplaceAll(minimal, "fleet", "''"), false},
	} {
		_, loadErr := Load(write(t, "c.yml", tc.yaml))
		schemaErr := validateYAML(t, schema, tc.yaml)
		if (loadErr == nil) != tc.ok || (schemaErr == nil) != tc.ok {
			t.Errorf("%s\nacceptable: %v\nLoad: %v\nschema: %v", tc.yaml, tc.ok, loadErr, schemaErr)
		}
	}
}

func TestSchemaHasTheKeysOfTheTypes(t *testing.T) {
	want := slices.Sorted(maps.Keys(typeKeys(reflect.TypeFor[configFile]())))
	keys := map[string]bool{}
	schemaKeys(t, compileSchema(t), "", keys)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(keys))); diff != "" {
		t.Errorf("keys (-types +schema):\n%s", diff)
	}
}

// typeKeys returns the paths of all keys that a type can be decoded from.
func typeKeys(t reflect.Type) map[string]bool {
	keys := map[string]bool{}
	switch t.Kind() {
	case reflect.Slice, reflect.Pointer:
		return typeKeys(t.Elem())
	case reflect.Struct:
		for field := range t.Fields() {
			key, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			prefix := key + "."
			if options == "inline" {
				prefix = ""
			} else {
				keys[key] = true
			}
			for key := range typeKeys(field.Type) {
				keys[prefix+key] = true
			}
		}
	}
	return keys
}

// schemaKeys gathers the paths of all properties, and complains about those
// without a description.
func schemaKeys(t *testing.T, s *jsonschema.Schema, path string, keys map[string]bool) {
	if s.Ref != nil {
		schemaKeys(t, s.Ref, path, keys)
	}
	if s.Items2020 != nil {
		schemaKeys(t, s.Items2020, path, keys)
	}
	if s.Properties != nil && s.AdditionalProperties != false {
		t.Errorf("%q allows unknown keys", path)
	}
	for key, property := range s.Properties {
		p := strings.TrimPrefix(path+"."+key, ".")
		if property.Description == "" {
			t.Errorf("%s has no description", p)
		}
		keys[p] = true
		schemaKeys(t, property, p, keys)
	}
}

func TestSchemaNamesTheDefaults(t *testing.T) {
	global := compileSchema(t).Properties["global"]
	var encoded yaml.Node
	if err := encoded.Encode(newSettings(DefaultSettings())); err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := encoded.Decode(&want); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for key, property := range global.Properties {
		if property.Default != nil {
			got[key] = fmt.Sprint(*property.Default)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-types +schema):\n%s", diff)
	}
}
