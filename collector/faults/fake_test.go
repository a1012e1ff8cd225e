package faults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"huawei_iot_batch_exporter/collector"
	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
	"huawei_iot_batch_exporter/collector/web"
	"huawei_iot_batch_exporter/config"
)

// inFakeTime runs rows of the matrix within one process and in fake time.
func inFakeTime(t *testing.T, faults []fault, opts ...northboundtest.Option) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f.run(t, fakeWorld(t, opts...)) })
		})
	}
}

// fakeWorld must be called in a synctest bubble.
func fakeWorld(t *testing.T, opts ...northboundtest.Option) *world {
	t.Helper()
	w := &world{
		fleet: newPlatform(opts...), other: newPlatform(),
		dir: t.TempDir(), log: new(output),
		interval: 15 * time.Second, staleness: time.Minute, limit: callsPerMinute,
	}
	w.populate()
	w.configure(t, 5*time.Second, "https://fleet.example", "", "https://other.example", "")
	fleet, stopFleet := w.fleet.PipeTransport()
	other, stopOther := w.other.PipeTransport()
	logger := log.NewLogfmtLogger(log.NewSyncWriter(w.log))
	exporter := collector.New(collector.WithLogger(logger), collector.WithTransport(func(a config.Application) (http.RoundTripper, error) {
		if a.Name == "fleet" {
			return road{fleet, w.fleet}, nil
		}
		return other, nil
	}))
	t.Cleanup(func() {
		exporter.Close()
		stopFleet()
		stopOther()
	})
	reloader := config.NewReloader(w.dir+"/huawei_iot_batch.yml", exporter.Apply, logger)
	if err := reloader.Reload(); err != nil {
		t.Fatal(err)
	}
	handler, err := web.New(web.Options{Exporter: exporter, Reloader: reloader, Registry: prometheus.NewRegistry(), Logger: logger, TimeoutOffset: time.Second / 2})
	if err != nil {
		t.Fatal(err)
	}
	w.get = func(t *testing.T, path string, headers ...string) *http.Response {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		for pair := range slices.Chunk(headers, 2) {
			r.Header.Set(pair[0], pair[1])
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		return recorder.Result()
	}
	return w
}

// road leads to a platform, unless it is severed.
type road struct {
	http.RoundTripper
	to *platform
}

func (r road) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := r.to.severed.Load(); err != nil {
		return nil, *err
	}
	return r.RoundTripper.RoundTrip(request)
}

// to has a breakage concern the calls for the victim's rows only.
func toVictim(b breakage) func(*world) {
	return func(w *world) {
		w.fleet.breaks(func(rw http.ResponseWriter, r *http.Request, sound http.Handler) {
			if r.URL.Query().Get("taskId") == "victim" {
				b(rw, r, sound)
				return
			}
			sound.ServeHTTP(rw, r)
		})
	}
}

// toSignIn has a breakage concern logins and refreshes, of which one is due.
func toSignIn(b breakage) func(*world) {
	return func(w *world) {
		w.fleet.breaks(func(rw http.ResponseWriter, r *http.Request, sound http.Handler) {
			if strings.HasPrefix(r.URL.Path, "/iocm/app/sec/") {
				b(rw, r, sound)
				return
			}
			sound.ServeHTTP(rw, r)
		})
		w.fleet.RevokeToken("fleet-id")
	}
}

// says answers with a body.
func says(status int, contentType, body string) breakage {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// saysJSON answers what is no refusal.
func saysJSON(body string) breakage { return says(http.StatusOK, "application/json", body) }

// refuses answers as the platform refuses a call.
func refuses(status int, code string) breakage {
	return says(status, "application/json", fmt.Sprintf(`{"error_code":%q,"error_desc":"of a test"}`, code))
}
