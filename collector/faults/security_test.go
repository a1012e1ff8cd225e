package faults

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// TestGuard: TLS and passwords of --web.config.file guard all that is served.
func TestGuard(t *testing.T) {
	t.Parallel()
	w := idleWorld(t)
	args := withTLS(t, w)
	hash, err := bcrypt.GenerateFromPassword([]byte("pa55word"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	w.put("web.yml", w.read("web.yml")+"basic_auth_users: {prometheus: "+string(hash)+"}\n")
	w.start(t, append(args, "--web.enable-lifecycle")...)

	if answer := raw11(t, w, "GET /config HTTP/1.0\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.0 400 ") || strings.Contains(answer, "fleet") {
		t.Errorf("without TLS: %q", answer)
	}
	authorization := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for _, request := range []struct {
		method, path string
		status       int // with the right password
	}{
		{"GET", "/", 200},
		{"GET", "/metrics", 200},
		{"GET", "/probe?application=fleet&task_id=victim", 200},
		{"GET", "/config", 200},
		{"GET", "/-/healthy", 200},
		{"GET", "/-/ready", 200},
		{"POST", "/-/reload", 200},
		{"GET", "/none", 404},
		{"DELETE", "/config", 405},
	} {
		for _, try := range []struct {
			authorization string
			status        int
		}{
			{"", 401},
			{"Basic", 401},
			{"Basic !", 401},
			{"Bearer pa55word", 401},
			{authorization("prometheus", ""), 401},
			{authorization("prometheus", "password"), 401},
			{authorization("", "pa55word"), 401},
			{authorization("Prometheus", "pa55word"), 401},
			{authorization("prometheus", "pa55word"), request.status},
		} {
			response, err := w.do(t.Context(), request.method, request.path, "Authorization", try.authorization)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || response.StatusCode != try.status || response.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s with %q: want %d, got %s %v: %.200s", request.method, request.path, try.authorization, try.status, response.Status, err, text)
			}
			if try.status == 401 && string(text) != "Unauthorized\n" {
				t.Errorf("%s %s with %q says %q", request.method, request.path, try.authorization, text)
			}
		}
	}
}

// TestProbeGoesNowhereElse: whatever is asked of /probe, calls go to the
// application's platform, to the paths of the API.
func TestProbeGoesNowhereElse(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(elsewhere.Close)
	w := newRealWorld(t)
	w.mustScrape(t, "/metrics")

	// The platform knows every task, so that it is asked for its name, too.
	w.fleet.breaks(func(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
		path, ok := strings.CutPrefix(r.URL.EscapedPath(), northboundtest.TasksPath)
		if r.Host != w.proxy.Listen || r.RequestURI != r.URL.RequestURI() || r.URL.EscapedPath() != northboundtest.TaskDetailsPath && (!ok || strings.Contains(path, "/") || path == "." || path == "..") {
			t.Errorf("%s was asked for %s", r.Host, r.RequestURI)
		}
		_, _ = io.WriteString(rw, good)
	})
	_, host, _ := strings.Cut(elsewhere.URL, "//")
	for _, text := range []string{
		elsewhere.URL, elsewhere.URL + "/", "//" + host, "//" + host + "/", `\\` + host + `\`, "@" + host, ":x@" + host + "/", ":80@" + host, "." + host,
		"?x=" + elsewhere.URL, "#" + host, "&appId=other", "x&taskId=y", "x?select=tag", "x;y", "x y", "+", "%", "%00", "%2f..%2f", "..%2f",
		".", "..", "...", "../", "../..", "../../../sec/v1.1.0/login", "x/../../y", "/", "/x", `..\..`, "\u2028", "\u202e", "é", "%0d%0aHost: " + host, "{taskId}",
		strings.Repeat("x", 256), "file:///etc/passwd", "javascript:alert(1)",
	} {
		for _, parameter := range []string{"task_id", "app_id", "device_id", "command_id", "node_id", "name"} {
			query := url.Values{"application": {"fleet"}, "task_id": {"victim"}}
			query.Set(parameter, text)
			w.mustScrape(t, "/probe?"+query.Encode())
		}
		response, err := w.do(t.Context(), http.MethodGet, "/probe?"+url.Values{"application": {text}, "task_id": {"victim"}}.Encode())
		if err == nil && response.StatusCode != http.StatusBadRequest {
			t.Errorf("application %q: %s", text, response.Status)
		}
		if err := discard(response, err); err != nil {
			t.Error(err)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("another server was reached %d times", n)
	}
	if w.reads("..") == 0 || w.reads(elsewhere.URL) == 0 {
		t.Error("the platform was not asked")
	}
}

// TestProcessTellsNothing: what others on the machine see of a process holds no
// secret, and neither does the configuration that is shown.
func TestProcessTellsNothing(t *testing.T) {
	t.Parallel()
	w := idleWorld(t)
	w.edit("  secret_file: app.secret", "  secret: "+secret+"-inline\n  proxy_url: http://user:"+secret+"-proxy@127.0.0.1:9")
	w.start(t)
	w.mustScrape(t, "/metrics")
	w.checkSecrets(t)
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", w.cmd.Process.Pid, name))
		if err != nil {
			t.Skip(err)
		}
		if strings.Contains(string(text), secret) || !strings.Contains(string(text), "=") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// withTLS has the exporter speak HTTPS, and whoever scrapes HTTP/2.
func withTLS(t *testing.T, w *realWorld) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "exporter"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secretKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	w.put("web.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
	w.put("web.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secretKey})))
	w.put("web.yml", "tls_server_config: {cert_file: web.pem, key_file: web.key}\n")

	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	w.scheme = "https"
	w.client.Transport = &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
	}
	return []string{"--web.config.file=web.yml"}
}
