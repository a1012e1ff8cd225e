package collector_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commoncfg "github.com/prometheus/common/config"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
	"huawei_iot_batch_exporter/config"
)

// TestNumbersOverHTTPS reads tasks of the sizes around a page and of the largest
// batch over mutual TLS, from an address that is not in the platform's
// certificate.
func TestNumbersOverHTTPS(t *testing.T) {
	server := northboundtest.NewServer(northboundtest.WithClientCertificates(), northboundtest.WithCertificateNames("iot.example.com"))
	defer server.Close()
	dir := t.TempDir()
	if err := server.WriteCertificates(dir); err != nil {
		t.Fatal(err)
	}
	server.AddApplication(northboundtest.App{ID: "app", Secret: "secret"})
	sizes := []int{0, 1, 249, 250, 251, 30_000}
	var tasks []config.Task
	for i, n := range sizes {
		id := fmt.Sprint("t", i)
		tasks = append(tasks, config.Task{TaskID: id, Name: id})
		rows := make(northboundtest.Rows, n)
		for j := range rows {
			rows[j] = []northboundtest.Subtask{
				{Status: "Success"},
				{Status: "Pending"},
				{Status: "WaitResult"},
				{Status: "Success"},
				{Status: "Fail", Code: "100428"},
				{Status: "Timeout", Code: "100501"},
				{Status: "Success"},
				{Status: "Success"},
			}[j%8]
		}
		server.AddTask(northboundtest.Task{ID: id, AppID: "app", Subtasks: rows})
	}
	settings := config.DefaultSettings()
	settings.CallsPerMinute = 100
	e := collector.New()
	defer e.Close()
	if err := e.Apply(&config.Config{Applications: []config.Application{{
		Name: "fleet", URL: server.URL, AppID: "app", Secret: "secret", Settings: settings, Tasks: tasks,
		TLSConfig: commoncfg.TLSConfig{
			CAFile:     filepath.Join(dir, northboundtest.CAFile),
			CertFile:   filepath.Join(dir, northboundtest.CertFile),
			KeyFile:    filepath.Join(dir, northboundtest.KeyFile),
			ServerName: "iot.example.com",
		},
	}}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := gather(t, e.Scrape(ctx))
	s := &site{Platform: server.Platform}
	for i, n := range sizes {
		if diff := cmp.Diff(truth(s, i), shown(got, i)); diff != "" {
			t.Errorf("%d subtasks (-truth +shown):\n%s", n, diff)
		}
	}
	if calls := len(server.Calls()); calls > 60 {
		t.Errorf("%d calls for a first scrape", calls)
	}
}
