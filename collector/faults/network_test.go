package faults

import (
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// TestDial: no connection can be had, for reasons that only the machine knows.
func TestDial(t *testing.T) {
	dial := func(err error) func(*world) {
		return func(w *world) { w.fleet.severs(&net.OpError{Op: "dial", Net: "tcp", Err: err}) }
	}
	dns := func(err net.DNSError) func(*world) {
		err.Name = "fleet.example"
		return dial(&err)
	}
	connect := func(err syscall.Errno) func(*world) { return dial(os.NewSyscallError("connect", err)) }
	connection, timeout := []string{"task_details connection"}, []string{"task_details timeout"}
	inFakeTime(t, []fault{
		{name: "the name is unknown", hits: application, counted: connection, begin: dns(net.DNSError{Err: "no such host", IsNotFound: true})},
		{name: "the name server fails", hits: application, counted: connection, begin: dns(net.DNSError{Err: "server misbehaving", IsTemporary: true})},
		{name: "the name server does not answer", hits: application, counted: timeout, begin: dns(net.DNSError{Err: "i/o timeout", IsTimeout: true})},
		{name: "refused", hits: application, counted: connection, begin: connect(syscall.ECONNREFUSED)},
		{name: "no route", hits: application, counted: connection, begin: connect(syscall.EHOSTUNREACH)},
		{name: "the network is down", hits: application, counted: connection, begin: connect(syscall.ENETDOWN)},
		{name: "no answer", hits: application, counted: timeout, begin: connect(syscall.ETIMEDOUT)},
		{name: "no port is left", hits: application, counted: connection, begin: connect(syscall.EADDRNOTAVAIL)},
		{name: "no descriptor is left", hits: application, counted: connection, begin: dial(os.NewSyscallError("socket", syscall.EMFILE))},
	})
}

// TestNetwork: what can happen between the exporter and the platform.
func TestNetwork(t *testing.T) {
	connection, timeout := []string{"task_details connection"}, []string{"task_details timeout"}
	inRealTime(t, []realFault{
		// Nobody there, or nobody who talks.
		{fault: fault{name: "refused", hits: application, counted: connection}, begin: func(w *realWorld) { w.proxy.Stop() }, end: (*realWorld).resume},
		{fault: fault{name: "accepted and closed", hits: application, counted: connection}, begin: func(w *realWorld) { w.moveTo("127.0.0.1:1") }, end: (*realWorld).moveBack},
		{fault: fault{name: "reset", hits: application, counted: connection}, begin: reconnects(poisons("downstream", "reset_peer", "timeout", 0)), end: (*realWorld).clear},
		{fault: fault{name: "no answer comes", hits: application, counted: timeout}, begin: poisons("downstream", "timeout", "timeout", 0), end: (*realWorld).clear},
		{fault: fault{name: "no request gets there", hits: application, counted: timeout}, begin: poisons("upstream", "timeout", "timeout", 0), end: (*realWorld).clear},
		{fault: fault{name: "nothing gets through, but all is kept", hits: application, counted: timeout}, begin: poisons("downstream", "bandwidth", "rate", 0), end: (*realWorld).clear},

		// Answers that suffer on the way.
		{fault: fault{name: "cut in mid-body", hits: application, counted: []string{"task_details 200 malformed"}}, begin: poisons("downstream", "limit_data", "bytes", 8000), end: (*realWorld).clear},
		{fault: fault{name: "reset in mid-body", hits: application, counted: []string{"task_details 200 connection"}, mayCount: connection}, begin: resetsInMidBody, end: (*realWorld).clear},
		{fault: fault{name: "an answer that drips", hits: application, counted: []string{"task_details 200 timeout"}, mayCount: timeout}, begin: poisons("downstream", "bandwidth", "rate", 5), end: (*realWorld).clear},
		{fault: fault{name: "slower than a call may be", hits: application, counted: timeout}, begin: poisons("downstream", "latency", "latency", 2*callTimeout.Milliseconds()), end: (*realWorld).clear},
		{fault: fault{name: "slow", hits: nothing}, begin: poisons("downstream", "latency", "latency", 200), end: (*realWorld).clear},
		{fault: fault{name: "in small pieces", hits: nothing}, begin: poisons("downstream", "slicer", "average_size", 400, "delay", 100), end: (*realWorld).clear},
		{fault: fault{name: "connections that close slowly", hits: nothing}, begin: poisons("downstream", "slow_close", "delay", 2000), end: (*realWorld).clear},

		// Connections that were good a moment ago.
		{fault: fault{name: "dropped while idle", hits: nothing, mayCount: connection}, begin: (*realWorld).reconnect},
		{fault: fault{name: "dropped before each scrape", hits: nothing, mayCount: connection}, begin: (*realWorld).reconnectsForScrapes},
		forgotten(),
		newAddress(),

		// Names and proxies.
		{
			fault: byReload(fault{name: "a proxy whose name is unknown", hits: application, counted: connection, check: logs("no such host")}),
			begin: func(w *realWorld) { w.reconfigure("  tls_config:", "  proxy_url: http://no..such:3128\n  tls_config:") },
			end:   func(w *realWorld) { w.reconfigure("  proxy_url: http://no..such:3128\n", "") },
		},
		throughProxy(fault{name: "through a proxy", hits: nothing, mayCount: connection}, func(*httpProxy) {}),
		throughProxy(fault{name: "the proxy is down", hits: application, counted: connection}, func(p *httpProxy) { p.listener.Stop() }),
		throughProxy(fault{name: "the proxy cannot reach the platform", hits: application, counted: connection, check: logs("Bad Gateway")}, func(p *httpProxy) { p.refuses(http.StatusBadGateway) }),
		throughProxy(fault{name: "the proxy wants to be signed in to", hits: application, counted: connection, check: logs("Proxy Authentication Required")}, func(p *httpProxy) { p.refuses(http.StatusProxyAuthRequired) }),
	})
}

// TestPlatformComesLater: the exporter is started first.
func TestPlatformComesLater(t *testing.T) {
	t.Parallel()
	w := idleWorld(t)
	w.proxy.Stop()
	w.start(t)
	for range 2 {
		got := w.scrape(t)
		w.checkExact(t, got, "other", "neighbour")
		for _, series := range []string{`application_up{application="fleet"}`, `task_up{application="fleet",task="victim"}`} {
			if up, ok := got[series]; up != 0 || !ok {
				t.Errorf("%s is %v", series, up)
			}
		}
	}
	if n := strings.Count(w.log.String(), "application is down"); n != 1 {
		t.Errorf("the log says %d times that the application is down", n)
	}
	w.resume()
	w.settle(t)
}

// TestTLS: the platform and the exporter do not trust each other any more.
func TestTLS(t *testing.T) {
	tls := []string{"task_details tls"}
	// Calls that find out that their connection was dropped are counted too. So is
	// a refusal of the client's certificate, which comes after the handshake, when
	// it is lost as the connection is closed.
	connection := []string{"task_details connection"}
	certificate := func(name, hint string, f northboundtest.CertificateFault) realFault {
		return realFault{
			fault: fault{name: name, hits: application, counted: tls, mayCount: connection, check: logs(hint)},
			begin: func(w *realWorld) { w.server.SetCertificateFault(f); w.reconnect() },
			end:   func(w *realWorld) { w.server.SetCertificateFault(northboundtest.NoCertificateFault); w.reconnect() },
		}
	}
	setting := func(name, setting, hint string) realFault {
		return realFault{
			fault: byReload(fault{name: name, hits: application, counted: tls, check: logs(hint)}),
			begin: func(w *realWorld) { w.reconfigure("tls_config: {", "tls_config: {"+setting+", ") },
			end:   func(w *realWorld) { w.reconfigure(setting+", ", "") },
		}
	}
	inRealTime(t, []realFault{
		certificate("expired", "certificate has expired", northboundtest.ExpiredCertificate),
		certificate("of another authority", "check that ca_file holds the CA", northboundtest.UnknownAuthority),
		certificate("the client's is refused", "cert_file, key_file", northboundtest.ClientRefused),
		setting("of another name", "server_name: other.example", "set server_name to a name in the platform's certificate"),
		setting("too old a version", "min_version: TLS10, max_version: TLS11", "the TLS version"),
		{
			fault:   fault{name: "no TLS at all", hits: application, counted: tls, mayCount: connection, check: logs("whether it speaks https at all")},
			prepare: withSecondServer(northboundtest.WithPlainHTTP()), begin: (*realWorld).moveToSecond, end: (*realWorld).moveBack,
		},

		// Files that are replaced while the program runs.
		{
			fault:   fault{name: "replaced by both at once", hits: nothing, mayCount: connection},
			prepare: withSecondServer(northboundtest.WithClientCertificates()),
			begin:   func(w *realWorld) { w.certify(w.second); w.moveToSecond() },
		},
		{
			fault:   fault{name: "replaced by the platform first", hits: application, counted: tls, mayCount: connection, check: logs("check that ca_file holds the CA")},
			prepare: withSecondServer(northboundtest.WithClientCertificates()), begin: (*realWorld).moveToSecond, end: func(w *realWorld) { w.certify(w.second) },
		},
		{
			fault: fault{name: "the authority's is gone", hits: application, counted: tls, check: logs("check that the file exists")},
			begin: func(w *realWorld) { w.remove("ca.pem") }, end: func(w *realWorld) { w.certify(w.server) },
		},
		{
			fault: fault{name: "the authority's is half written", hits: application, counted: tls, check: logs("check ca_file")},
			begin: func(w *realWorld) { w.put("ca.pem", "-----BEGIN CERTIFICATE-----\nMII") }, end: func(w *realWorld) { w.certify(w.server) },
		},
		{
			fault: fault{name: "the client's key is gone", hits: application, counted: tls, check: logs("check that the file exists")},
			begin: func(w *realWorld) { w.remove("client.key") }, end: func(w *realWorld) { w.certify(w.server) },
		},
		{
			fault: fault{name: "the client's is half written", hits: application, counted: tls, check: logs("check ca_file")},
			begin: func(w *realWorld) { w.put("client.pem", "-----BEGIN CERTIFICATE-----\nMII") }, end: func(w *realWorld) { w.certify(w.server) },
		},
	})
}

// TestHTTP2: the platform speaks HTTP/2, in which all calls share a connection.
func TestHTTP2(t *testing.T) {
	aborts := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(good[:40]))
		_ = http.NewResponseController(w).Flush() // the other side may be gone
		panic(http.ErrAbortHandler)
	}
	rows := []realFault{
		{fault: fault{name: "all is well", hits: nothing}, begin: (*realWorld).takesHTTP2Only},
		{fault: fault{name: "dropped while idle", hits: nothing, mayCount: []string{"task_details connection"}}, begin: (*realWorld).reconnect},
		{fault: fault{name: "a stream that is reset", hits: oneTask, counted: []string{"task_details 200 connection"}}, begin: func(w *realWorld) { toVictim(aborts)(w.world) }},
		{fault: fault{name: "no answer comes", hits: application, counted: []string{"task_details timeout"}}, begin: poisons("downstream", "timeout", "timeout", 0), end: (*realWorld).clear},
		forgotten(),
	}
	for i := range rows {
		prepare := rows[i].prepare
		rows[i].prepare = func(t *testing.T, w *realWorld) []string {
			withHTTP2(t, w)
			if prepare != nil {
				prepare(t, w)
			}
			return nil
		}
	}
	inRealTime(t, rows)
}
