package collector_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	commoncfg "github.com/prometheus/common/config"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
	"huawei_iot_batch_exporter/config"
)

// handlerTransport calls the platform without a network between.
type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// BenchmarkScrape tells what a scrape costs when no task is due: 200
// applications with 5 finished tasks each, of 1,000 subtasks. heap-B is what the
// exporter remembers of all of them.
func BenchmarkScrape(b *testing.B) {
	const apps, tasks = 200, 5
	p := northboundtest.New(northboundtest.WithCallLimit(0))
	cfg := &config.Config{}
	for i := range apps {
		app := config.Application{
			Name: fmt.Sprintf("app-%d", i), URL: "https://platform.example", AppID: fmt.Sprint(i),
			Secret: commoncfg.Secret("secret"), Settings: config.DefaultSettings(),
		}
		p.AddApplication(northboundtest.App{ID: app.AppID, Secret: "secret"})
		for j := range tasks {
			id := fmt.Sprintf("%d-%d", i, j)
			app.Tasks = append(app.Tasks, config.Task{TaskID: id, Name: id})
			p.AddTask(northboundtest.Task{ID: id, AppID: app.AppID, Subtasks: northboundtest.Scripted(1000, 1, northboundtest.Profile{
				Outcomes: []northboundtest.Outcome{
					{Share: .02, Status: "Fail", Code: "100428"},
					{Share: .01, Status: "Fail", Code: "100431"},
					{Share: .01, Status: "Timeout"},
				},
			})})
		}
		cfg.Applications = append(cfg.Applications, app)
	}
	before := heap()
	e := collector.New(collector.WithTransport(func(config.Application) (http.RoundTripper, error) {
		return handlerTransport{p}, nil
	}))
	defer e.Close()
	if err := e.Apply(cfg); err != nil {
		b.Fatal(err)
	}
	scrape := func() int {
		registry := prometheus.NewRegistry()
		registry.MustRegister(e.Scrape(b.Context()))
		families, err := registry.Gather()
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for _, family := range families {
			n += len(family.GetMetric())
		}
		return n
	}
	scrape()
	p.ResetCalls()
	n := 0
	for b.Loop() {
		n = scrape()
	}
	if calls := len(p.Calls()); calls != 0 {
		b.Errorf("%d calls, though nothing is due", calls)
	}
	b.ReportMetric(float64(n), "series")
	b.ReportMetric(float64(heap()-before), "heap-B")
	runtime.KeepAlive(e)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far below the limit
}
