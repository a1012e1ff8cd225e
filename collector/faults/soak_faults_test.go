package faults

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// trouble is a fault of the soak, which ends or passes by itself.
type trouble struct {
	name       string
	begin, end func(w *soaked)
	rests      bool // the exporter may rest after it, for minutes
}

// troubleChains are the troubles of which one of each chain may last at a time.
var troubleChains = [][]trouble{platformTroubles(), networkTroubles(), machineTroubles, scraperTroubles}

// trouble begins and ends troubles at random.
func (w *soaked) trouble(ctx context.Context, chain []trouble, chance *mathrand.Rand) {
	most := min(4*time.Second, *soakTime/5)
	for ctx.Err() == nil {
		sleep(ctx, time.Duration(chance.Int64N(int64(most))))
		x := chain[chance.IntN(len(chain))]
		if x.rests && (!w.long() || chance.IntN(15) > 0) { // else it would do nothing but rest
			continue
		}
		w.mu.Lock()
		w.begun[x.name]++
		w.mu.Unlock()
		x.begin(w)
		sleep(ctx, time.Duration(chance.Int64N(int64(most))))
		if x.end != nil {
			x.end(w)
		}
	}
}

func platformTroubles() []trouble {
	hangs := func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }
	truncated := edited(func(b []byte) []byte { return b[:len(b)/2] })
	everywhere := func(b breakage) func(*world) { return func(w *world) { w.fleet.breaks(b) } }
	troubles := []trouble{
		{name: "token revoked", begin: func(w *soaked) { w.fleet.RevokeToken("fleet-id") }, rests: true},
		{name: "token stolen", begin: func(w *soaked) { w.fleet.StealToken("fleet-id") }, rests: true},
		{name: "frozen", begin: func(w *soaked) { w.fleet.SetFrozen("fleet-id", true) }, end: func(w *soaked) { w.fleet.SetFrozen("fleet-id", false) }, rests: true},
		{name: "allowance used up by others", begin: func(w *soaked) { w.fleet.Spend("fleet-id", soakCalls) }, rests: true},
	}
	for name, x := range map[string]struct {
		begin func(*world)
		rests bool
	}{
		"no such task":     {toVictim(refuses(404, "105005")), false},
		"internal error":   {toVictim(refuses(500, "50252")), false},
		"unknown refusal":  {toVictim(refuses(409, "9999999")), false},
		"a proxy's page":   {toVictim(says(502, "text/html", "<h1>Bad gateway</h1>")), false},
		"truncated":        {toVictim(truncated), false},
		"cut":              {toVictim(raw("", 1)), false},
		"drips":            {toVictim(dripping(good)), false},
		"hangs":            {toVictim(hangs), false},
		"truncated all":    {everywhere(truncated), false},
		"internal all":     {everywhere(refuses(500, "50252")), false},
		"hangs all":        {everywhere(hangs), false},
		"throttled":        {everywhere(refuses(403, "1010009")), true},
		"sign-in is HTML":  {toSignIn(says(200, "text/html", "<form>")), true},
		"sign-in refused":  {toSignIn(refuses(401, "100208")), true},
		"sign-in internal": {toSignIn(refuses(500, "50252")), true},
	} {
		troubles = append(troubles, trouble{
			name: name, rests: x.rests,
			begin: func(w *soaked) { x.begin(w.world) }, end: func(w *soaked) { w.fleet.mend() },
		})
	}
	return inOrder(troubles)
}

func networkTroubles() []trouble {
	troubles := []trouble{
		{name: "proxy stopped", begin: func(w *soaked) { w.proxy.Stop() }, end: func(w *soaked) { w.resume() }},
		{name: "connections dropped", begin: func(w *soaked) { w.reconnect() }},
	}
	for name, f := range map[string]northboundtest.CertificateFault{
		"expired": northboundtest.ExpiredCertificate, "authority": northboundtest.UnknownAuthority, "client": northboundtest.ClientRefused,
	} {
		troubles = append(troubles, trouble{
			name:  name + " certificate",
			begin: func(w *soaked) { w.server.SetCertificateFault(f); w.reconnect() },
			end:   func(w *soaked) { w.server.SetCertificateFault(northboundtest.NoCertificateFault); w.reconnect() },
		})
	}
	for _, toxic := range []struct {
		kind       string
		attributes map[string]any
	}{
		{"latency", map[string]any{"latency": 300, "jitter": 250}},
		{"timeout", map[string]any{"timeout": 0}},
		{"timeout", map[string]any{"timeout": 300}},
		{"reset_peer", map[string]any{"timeout": 50}},
		{"limit_data", map[string]any{"bytes": 5000}},
		{"bandwidth", map[string]any{"rate": 20}},
		{"slow_close", map[string]any{"delay": 500}},
		{"slicer", map[string]any{"average_size": 100, "size_variation": 50, "delay": 100}},
	} {
		troubles = append(troubles, trouble{
			name:  fmt.Sprint(toxic.kind, toxic.attributes),
			begin: func(w *soaked) { w.toxic(toxic.kind, toxic.attributes) },
			end:   func(w *soaked) { w.clear() },
		})
	}
	return inOrder(troubles)
}

// inOrder makes the same of the same seed.
func inOrder(troubles []trouble) []trouble {
	slices.SortFunc(troubles, func(a, b trouble) int { return strings.Compare(a.name, b.name) })
	return troubles
}

var machineTroubles = []trouble{
	{name: "SIGHUP", begin: func(w *soaked) { w.hangUp() }},
	{
		name:  "broken configuration",
		begin: func(w *soaked) { w.edit("applications:", "applicatoins:"); w.hangUp() },
		end:   func(w *soaked) { w.edit("applicatoins:", "applications:"); w.hangUp() },
	},
	{
		name: "another client",
		begin: func(w *soaked) {
			w.edit("tls_config: {ca_file", "tls_config: {min_version: TLS12, ca_file")
			w.hangUp()
		},
		end: func(w *soaked) { w.edit("min_version: TLS12, ", ""); w.hangUp() },
	},
	{name: "a half-written task file", begin: func(w *soaked) { w.put("more.tasks.yml", "- targets: [unlis") }, end: func(w *soaked) { w.remove("more.tasks.yml") }},
	{name: "a task file", begin: func(w *soaked) { w.put("more.tasks.yml", "- targets: [unlisted]\n") }, end: func(w *soaked) { w.remove("more.tasks.yml") }},
	{name: "the next batch", begin: func(w *soaked) {
		id := "batch-" + rand.Text()
		w.fleet.AddTask(northboundtest.Task{ID: id, AppID: "fleet-id", Subtasks: northboundtest.Uniform(rows, northboundtest.Subtask{Status: northboundtest.Fail, Code: "1"})})
		w.put("batch.tasks.yml", "- targets: ["+id+"]\n")
	}},
	{name: "secret rotated", begin: func(w *soaked) {
		// In this order an old secret may be refused, but not the new one.
		fresh := "a-secret-that-nobody-sees-" + rand.Text()
		w.fleet.tokens.Store(fresh, nil)
		w.fleet.SetSecret("fleet-id", fresh)
		w.put("app.secret", fresh)
	}},
}

var scraperTroubles = []trouble{
	{name: "scrapers hang up", begin: func(w *soaked) {
		w.flood(30, func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, mathrand.N(50*time.Millisecond))
			defer cancel()
			_ = discard(w.do(ctx, http.MethodGet, "/metrics"))
		})
	}},
	{name: "many scrapes", begin: func(w *soaked) {
		w.flood(50, func(ctx context.Context) { _ = discard(w.do(ctx, http.MethodGet, "/metrics")) })
	}},
	{name: "probes at random", begin: func(w *soaked) { w.probeAtRandom(60) }},
	{name: "pages", begin: func(w *soaked) {
		w.flood(10, func(ctx context.Context) {
			for _, path := range []string{"/", "/config", "/-/healthy", "/nowhere"} {
				_ = discard(w.do(ctx, http.MethodGet, path))
			}
		})
	}},
	{name: "a scraper that does not read", begin: func(w *soaked) {
		if c, err := new(net.Dialer).DialContext(context.Background(), "tcp", strings.TrimPrefix(w.url, "http://")); err == nil {
			_, _ = io.WriteString(c, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 20))
			time.AfterFunc(5*time.Second, func() { _ = c.Close() })
		}
	}},
}

// probeAtRandom probes tasks that nobody knows.
func (w *soaked) probeAtRandom(times int) {
	w.flood(times, func(ctx context.Context) {
		_ = discard(w.do(ctx, http.MethodGet, "/probe?application=fleet&task_id="+rand.Text()))
	})
}

// flood does something many times, some of them at once.
func (w *soaked) flood(times int, do func(context.Context)) {
	const at = 10
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var all sync.WaitGroup
	for range at {
		all.Go(func() {
			for range times / at {
				do(ctx)
			}
		})
	}
	all.Wait()
}
