package faults

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// byReload has a row's log tell of the reloads that begin and end it.
func byReload(f fault) fault {
	f.maySay = []string{"the allowance covers the configured tasks"} // once for each application, and each reload
	f.says = []string{"configuration reloaded", "application is down"}
	f.recovered = []string{"configuration reloaded", "application is up again"}
	return f
}

// logs checks that the log says what helps to find the fault.
func logs(text string) func(*testing.T, *world, metrics) {
	return func(t *testing.T, w *world, _ metrics) {
		t.Helper()
		if !strings.Contains(w.log.String(), text) {
			t.Errorf("the log does not say %q", text)
		}
	}
}

// withSecondServer prepares a server of the same platform, but with an authority
// and a client's certificate of its own.
func withSecondServer(opts ...northboundtest.Option) func(*testing.T, *realWorld) []string {
	return func(t *testing.T, w *realWorld) []string {
		same := northboundtest.WithMiddleware(func(http.Handler) http.Handler { return w.fleet.Platform })
		w.second = northboundtest.NewServer(append(opts, same)...)
		t.Cleanup(w.second.Close)
		return nil
	}
}

// withHTTP2 has the platform be reached over HTTP/2.
func withHTTP2(t *testing.T, w *realWorld) {
	server := httptest.NewUnstartedServer(w.fleet.Platform)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	w.put("http2.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	w.edit("ca_file: ca.pem", "ca_file: http2.pem")
	w.moveTo(server.Listener.Addr().String())
}

// takesHTTP2Only has calls over HTTP/1 fail.
func (w *realWorld) takesHTTP2Only() {
	w.fleet.breaks(func(rw http.ResponseWriter, r *http.Request, sound http.Handler) {
		if r.ProtoMajor < 2 {
			rw.WriteHeader(http.StatusHTTPVersionNotSupported)
			return
		}
		sound.ServeHTTP(rw, r)
	})
}

// newAddress: the address that leads to the platform is dead, and another one is
// in its place.
func newAddress() realFault {
	var old, replacement *toxiproxy.Proxy
	return realFault{
		fault: fault{name: "another address", hits: nothing, mayCount: []string{"task_details connection"}},
		prepare: func(t *testing.T, w *realWorld) []string {
			old, replacement = newProxy(t, addressOf(w.server)), newProxy(t, addressOf(w.server))
			w.moveTo(old.Listen)
			return nil
		},
		begin: func(w *realWorld) {
			old.Stop()
			w.moveTo(replacement.Listen)
		},
	}
}

// forgotten: a firewall forgets the connections that there are: they look as if
// they were open, but nothing gets through any more. New ones work. The calls that
// find out cost their time, and no others do.
func forgotten() realFault {
	var firewall *relay
	return realFault{
		fault: fault{
			name: "half open", hits: nothing, counted: []string{"task_details timeout"},
			says: []string{"application is down", "application is up again"},
		},
		prepare: func(t *testing.T, w *realWorld) []string {
			firewall = newRelay(t, w.proxy.Upstream)
			w.moveTo(firewall.listener.Addr().String())
			return nil
		},
		begin: func(w *realWorld) {
			firewall.forget()
			if err := discard(w.do(context.Background(), http.MethodGet, "/metrics")); err != nil {
				panic(err)
			}
		},
	}
}

// relay passes connections on until it forgets them.
type relay struct {
	listener net.Listener
	upstream string
	eras     atomic.Int32
}

func newRelay(t *testing.T, upstream string) *relay {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	r := &relay{listener: listener, upstream: upstream}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := new(net.Dialer).DialContext(context.Background(), "tcp", upstream)
			if err != nil {
				_ = from.Close()
				continue
			}
			era := r.eras.Load()
			go r.pass(to, from, era)
			go r.pass(from, to, era)
		}
	}()
	return r
}

func (r *relay) forget() { r.eras.Add(1) }

func (r *relay) pass(to, from net.Conn, era int32) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if r.eras.Load() == era && n > 0 {
			_, _ = to.Write(buffer[:n]) // else the other direction ends
		}
		if err != nil {
			_, _ = to.Close(), from.Close()
			return
		}
	}
}

// httpProxy is an HTTP proxy that passes TLS on.
type httpProxy struct {
	listener *toxiproxy.Proxy // in front of it
	refusal  atomic.Int64
	mu       sync.Mutex
	heard    strings.Builder // all that it was told
}

// refuses answers all that come with an HTTP status.
func (p *httpProxy) refuses(status int) { p.refusal.Store(int64(status)) }

// throughProxy has the platform be reached through a proxy, which then breaks. It
// hears no secrets.
func throughProxy(f fault, breaks func(*httpProxy)) realFault {
	var p *httpProxy
	secrecy := f.check
	f.check = func(t *testing.T, w *world, got metrics) {
		t.Helper()
		if secrecy != nil {
			secrecy(t, w, got)
		}
		p.check(t, w)
	}
	return realFault{
		fault: f,
		prepare: func(t *testing.T, w *realWorld) []string {
			p = newHTTPProxy(t)
			w.edit("  tls_config:", "  proxy_url: http://"+p.listener.Listen+"\n  tls_config:")
			return nil
		},
		begin: func(w *realWorld) { breaks(p); w.reconnect() },
		end: func(*realWorld) {
			p.refusal.Store(0)
			_ = p.listener.Start() // unless it never stopped
		},
	}
}

func (p *httpProxy) check(t *testing.T, w *world) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !strings.Contains(p.heard.String(), "CONNECT") {
		t.Error("the proxy was not asked")
	}
	for _, s := range w.secrets() {
		if strings.Contains(p.heard.String(), s) {
			t.Error("the proxy heard a secret")
		}
	}
}

func newHTTPProxy(t *testing.T) *httpProxy {
	p := new(httpProxy)
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.listener = newProxy(t, server.Listener.Addr().String())
	return p
}

func (p *httpProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.heard.WriteString(r.Method + " " + r.RequestURI + "\n")
	_ = r.Header.Write(&p.heard) // never fails
	p.mu.Unlock()
	if status := p.refusal.Load(); status != 0 {
		w.WriteHeader(int(status))
		return
	}
	upstream, err := new(net.Dialer).DialContext(r.Context(), "tcp", r.Host)
	if err != nil || r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
	for _, to := range [][2]net.Conn{{upstream, client}, {client, upstream}} {
		go func() {
			_, _ = io.Copy(to[0], to[1])
			_, _ = to[0].Close(), to[1].Close()
		}()
	}
}
