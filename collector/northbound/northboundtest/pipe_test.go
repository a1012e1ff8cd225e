package northboundtest_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	nt "huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

func TestFakeTimePasses(t *testing.T) {
	began := time.Now()
	for _, base := range []string{"http://platform", "https://platform:8743"} {
		t.Run(base, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform(nt.WithMiddleware(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						time.Sleep(3 * time.Second) // a slow platform
						next.ServeHTTP(w, r)
					})
				}))
				transport, stop := p.PipeTransport()
				defer stop()
				client := &http.Client{Transport: transport}

				start := time.Now()
				for range 3 {
					status, err := loginOver(t, client, base)
					if err != nil || status != http.StatusOK {
						t.Fatalf("status %d, error %v", status, err)
					}
					time.Sleep(24 * time.Hour) // idle connections are kept
				}
				if got, want := time.Since(start), 3*(24*time.Hour+3*time.Second); got != want {
					t.Errorf("%v passed, want %v", got, want)
				}
			})
		})
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the days took %v of real time", took)
	}
}

func TestPipeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(nt.WithMiddleware(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		}))
		transport, stop := p.PipeTransport()
		defer stop()
		start := time.Now()
		_, err := loginOver(t, &http.Client{Transport: transport, Timeout: 30 * time.Second}, "http://platform")
		if err == nil {
			t.Fatal("no error, want a timeout")
		}
		if got := time.Since(start); got != 30*time.Second {
			t.Errorf("timed out after %v, want 30s", got)
		}
	})
}

func TestStoppedPipe(t *testing.T) {
	p := newPlatform()
	transport, stop := p.PipeTransport()
	client := &http.Client{Transport: transport}
	if _, err := loginOver(t, client, "http://platform"); err != nil {
		t.Fatal(err)
	}
	stop()
	if status, err := loginOver(t, client, "http://platform"); err == nil {
		t.Errorf("status %d after stop, want an error", status)
	}
}
