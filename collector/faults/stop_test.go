package faults

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestStop: the program ends within 5 seconds, whatever goes on, and scrapes that
// wait are answered. [realWorld.start] checks how it ends.
func TestStop(t *testing.T) {
	for _, row := range []struct {
		name   string
		goesOn func(*testing.T, *realWorld)
		wait   int // scrapes
	}{
		{"while the platform does not answer", func(_ *testing.T, w *realWorld) {
			w.fleet.breaks(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })
		}, 5},
		{"while the platform drips a byte a second", func(_ *testing.T, w *realWorld) { w.fleet.breaks(dripping(good)) }, 5},
		{"while a client reads nothing", func(t *testing.T, w *realWorld) {
			connection := w.connect(t)
			t.Cleanup(func() { _ = connection.Close() })
			go func() { // until the exporter ends
				request := "GET /" + strings.Repeat("x", 60_000) + " HTTP/1.1\r\nHost: x\r\n\r\n"
				_, _ = connection.Write([]byte(strings.Repeat(request, 150)))
			}()
		}, 0},
		{"while it reloads again and again", func(_ *testing.T, w *realWorld) {
			for range 50 {
				w.hangUp()
			}
		}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := idleWorld(t)
			w.edit("call_timeout: 2s", "call_timeout: 30s")
			w.start(t)
			w.mustScrape(t, "/metrics")
			row.goesOn(t, w)
			var waiting sync.WaitGroup
			for range row.wait {
				waiting.Go(func() {
					if got := w.mustScrape(t, "/metrics", announced, "60"); !strings.Contains(got, "huawei_iot_batch_task_up") {
						t.Errorf("answered with %.200q", got)
					}
				})
			}
			w.waitUntil(t, "the scrapes wait", func() bool {
				return strings.Contains(w.mustScrape(t, "/metrics", announced, "0.2"), fmt.Sprintf("\npromhttp_metric_handler_requests_in_flight %d\n", row.wait+1))
			})
			began := time.Now()
			if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			waiting.Wait()
			<-w.exited
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestStartWithoutPlatform: the exporter serves, says that the application is
// down, and finds the platform when it is there.
func TestStartWithoutPlatform(t *testing.T) {
	t.Parallel()
	w := idleWorld(t)
	w.proxy.Stop()
	w.start(t)
	if got := w.scrape(t); got[`application_up{application="fleet"}`] != 0 || got[`application_up{application="other"}`] != 1 {
		t.Errorf("scraped %v", got)
	}
	w.resume()
	w.settle(t)
	want := []string{"application is down", "application is up again"}
	for _, text := range want {
		if n := strings.Count(w.log.String(), text); n != 1 {
			t.Errorf("logged %d times: %s", n, text)
		}
	}
}
