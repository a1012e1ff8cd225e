package faults

import (
	"fmt"
	"strings"
	"testing"
)

// TestRequests: what comes in place of a scrape is refused in words or not at
// all, and harms no other connection.
func TestRequests(t *testing.T) {
	t.Parallel()
	w := newRealWorld(t)
	get := func(target string, headers ...string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: exporter\r\n" + strings.Join(append(headers, "Connection: close\r\n\r\n"), "\r\n")
	}
	with := func(method, target string) string { return strings.Replace(get(target), "GET", method, 1) }
	for _, request := range []struct {
		name, sent string
		status     int    // of the last answer; 0: the connection is closed without one
		says       string // somewhere in it
	}{
		// Methods.
		{"HEAD", with("HEAD", "/metrics"), 200, "Content-Type: text/plain"},
		{"POST", with("POST", "/metrics"), 405, "Allow: GET, HEAD"},
		{"DELETE", with("DELETE", "/probe"), 405, "Allow: GET, HEAD"},
		{"TRACE", with("TRACE", "/"), 405, "Allow: GET, HEAD"},
		{"CONNECT", with("CONNECT", "127.0.0.1:22"), 404, ""},
		{"a method that is none", with("G(E)T", "/metrics"), 400, ""},
		{"a method of 10 kB", with(strings.Repeat("X", 10_000), "/config"), 405, "Allow: GET, HEAD"},
		{"a reload, not enabled", with("POST", "/-/reload"), 403, "--web.enable-lifecycle"},
		{"a body that nobody wants", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\nx", 405, ""},
		{"a body with two lengths", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, ""},

		// Paths.
		{"two slashes", get("//metrics"), 307, "Location: /metrics"},
		{"two slashes and a host", get("//evil.example/.."), 307, "Location: /"},
		{"steps up", get("/../../etc/passwd"), 307, "Location: /etc/passwd"},
		{"steps up, escaped", get("/%2e%2e/%2e%2e/config"), 404, "nothing at"},
		{"steps up, escaped twice", get("/%252e%252e/config"), 404, "nothing at"},
		{"a NUL", get("/metrics%00"), 404, `metrics\x00`},
		{"a line break", get("/x%0d%0aSet-Cookie:%20x"), 404, `x\r\nSet-Cookie`},
		{"an escape that is none", get("/%zz"), 400, ""},
		{"10 kB", get("/" + strings.Repeat("x", 10_000)), 404, "nothing at"},
		{"another host's address", get("http://evil.example/metrics"), 200, "huawei_iot_batch_task_up"},
		{"no path", get("metrics"), 400, ""},
		{"profiles", get("/debug/pprof/"), 404, ""},
		{"the heap", get("/debug/pprof/heap"), 404, ""},
		{"variables", get("/debug/vars"), 404, ""},

		// Queries and headers.
		{"a query of 10 kB", get("/metrics?" + strings.Repeat("x=y&", 2500)), 200, "huawei_iot_batch_task_up"},
		{"a query of 10 kB for one task", get("/probe?application=fleet&task_id=" + strings.Repeat("x", 10_000)), 400, "task_id: is 10000 bytes long"},
		{"a query of 10 kB for the status", get("/?application=" + strings.Repeat("x", 10_000)), 200, "text/html"},
		{"a query of 100 kB", get("/metrics?" + strings.Repeat("x", 100_000)), 431, ""},
		{"a header of 100 kB", get("/metrics", "X: "+strings.Repeat("x", 100_000)), 431, ""},
		{"20,000 headers", get("/metrics", strings.Repeat("X: y\r\n", 20_000)+"X: y"), 431, ""},
		{"a header without a name", get("/metrics", ": x"), 400, ""},
		{"a header with a NUL", get("/metrics", "X: \x00"), 400, ""},
		{"no host", "GET /metrics HTTP/1.1\r\n\r\n", 400, ""},

		// Forms of an answer.
		{"gzip", get("/metrics", "Accept-Encoding: gzip"), 200, "Content-Encoding: gzip"},
		{"zstd, which is not offered", get("/metrics", "Accept-Encoding: zstd"), 200, "huawei_iot_batch_task_up"},
		{"an encoding that nobody knows", get("/metrics", "Accept-Encoding: x;q=1, *;q=0"), 200, "huawei_iot_batch_task_up"},
		{"a form that nobody knows", get("/metrics", "Accept: "+strings.Repeat("a/b;q=2,", 1000)), 200, "huawei_iot_batch_task_up"},

		// What is no request.
		{"HTTP/1.0", "GET /-/healthy HTTP/1.0\r\n\r\n", 200, "healthy"},
		{"HTTP/0.9", "GET /metrics\r\n\r\n", 400, ""},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, ""},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, ""},
		{"three requests in one go", strings.Repeat("GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n", 2) + get("/-/ready"), 200, "ready"},
		{"noise behind a request", "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n\x00\x01\x02\r\n\r\n", 400, "healthy"},
	} {
		answers := raw11(t, w, request.sent)
		last := answers[max(0, strings.LastIndex(answers, "HTTP/1.1 ")):]
		if request.name == "HTTP/1.0" {
			last = strings.Replace(last, "HTTP/1.0", "HTTP/1.1", 1)
		}
		if !strings.HasPrefix(last, fmt.Sprintf("HTTP/1.1 %d ", request.status)) || !strings.Contains(answers, request.says) {
			t.Errorf("%s: want %d and %q, got %.500q", request.name, request.status, request.says, answers)
		}
	}
	w.settle(t)
	w.checkSecrets(t)
	w.checkLeaks(t)
}
