package faults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestRedirects: the platform, or what stands in its place, sends calls
// elsewhere. They never go there, and neither do credentials.
func TestRedirects(t *testing.T) {
	var faults []fault
	for _, status := range []int{301, 302, 303, 307, 308} {
		for where, location := range map[string]string{
			"another host":      "https://evil.example/iocm/app/batchtask/v1.1.0/taskDetails",
			"another port":      "https://fleet.example:9999/iocm/app/batchtask/v1.1.0/taskDetails",
			"another scheme":    "http://fleet.example/iocm/app/batchtask/v1.1.0/taskDetails",
			"a host, no scheme": "//evil.example/",
			"another path":      "/elsewhere",
			"nowhere":           "",
		} {
			counted := []string{fmt.Sprintf("task_details %d malformed", status)}
			faults = append(faults, fault{
				name: fmt.Sprintf("%d to %s", status, where), hits: oneTask, counted: counted,
				begin: toVictim(redirects(status, location)), check: staysAtHome,
			})
		}
		faults = append(faults, fault{
			name: fmt.Sprintf("%d of a sign-in", status), hits: application, within: 2 * 60e9,
			counted: []string{fmt.Sprintf("login %d malformed", status), "task_details 403 1010005"},
			says:    []string{"application is down", "the access token died before its time"},
			begin:   toSignIn(redirects(status, "https://evil.example/iocm/app/sec/v1.1.0/login")), check: staysAtHome,
		})
	}
	inFakeTime(t, faults)

	// Where a call could really go elsewhere.
	var reached atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(elsewhere.Close)
	inRealTime(t, []realFault{{
		fault: fault{
			name: "307 to a server that listens", hits: oneTask, counted: []string{"task_details 307 malformed"},
			check: func(t *testing.T, _ *world, _ metrics) {
				if n := reached.Load(); n > 0 {
					t.Errorf("%d requests went elsewhere", n)
				}
			},
		},
		begin: func(w *realWorld) { toVictim(redirects(307, elsewhere.URL))(w.world) },
	}})
}

func redirects(status int, location string) breakage {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	}
}

// staysAtHome checks that all calls were some of the API's.
func staysAtHome(t *testing.T, w *world, _ metrics) {
	for _, call := range w.fleet.Calls() {
		if !strings.HasPrefix(call.Path, "/iocm/app/") || call.Operation == "" {
			t.Errorf("%s %s was called", call.Method, call.Path)
		}
	}
	w.fleet.hosts.Range(func(host, _ any) bool {
		if host != "fleet.example" {
			t.Errorf("%s was called", host)
		}
		return true
	})
}
