package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// put writes a file beside the configuration.
func (w *realWorld) put(name, text string) {
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil { //nolint:gosec // in the test's folder
		panic(err)
	}
}

func (w *realWorld) remove(name string) {
	if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
		panic(err)
	}
}

// edit changes what the configuration says in one place.
func (w *realWorld) edit(says, becomes string) {
	const name = "huawei_iot_batch.yml"
	text, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		panic(err)
	}
	if !strings.Contains(string(text), says) {
		panic(fmt.Sprintf("%q is not in the configuration", says))
	}
	w.put(name, strings.Replace(string(text), says, becomes, 1))
}

// reconfigure edits the configuration and waits until it is in force.
func (w *realWorld) reconfigure(says, becomes string) {
	from := w.log.Len()
	w.edit(says, becomes)
	w.hangUp()
	for began := time.Now(); !slices.Contains(w.log.messages(from), "configuration reloaded"); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > patience {
			panic("the configuration is not reloaded:\n" + w.log.tail(3000))
		}
	}
}

// certify replaces the certificates on disk with those that fit a server.
func (w *realWorld) certify(s *northboundtest.Server) {
	if err := s.WriteCertificates(w.dir); err != nil {
		panic(err)
	}
}

// hangUp has the program read its configuration again.
func (w *realWorld) hangUp() {
	if err := w.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		panic(err)
	}
}

// resume starts the fault proxy again. Somebody may hold its port for a moment.
func (w *realWorld) resume() {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := w.proxy.Start()
		if err == nil {
			return
		}
		if time.Since(began) > patience {
			panic(err)
		}
	}
}

// reconnect ends all connections between the platform and the program.
func (w *realWorld) reconnect() {
	w.proxy.Stop()
	w.resume()
}

// moveTo has the fault proxy lead elsewhere.
func (w *realWorld) moveTo(address string) {
	w.proxy.Stop()
	w.proxy.Upstream = address
	w.resume()
}

func (w *realWorld) moveToSecond() { w.moveTo(addressOf(w.second)) }

func (w *realWorld) moveBack() { w.moveTo(addressOf(w.server)) }

func addressOf(s *northboundtest.Server) string {
	_, address, _ := strings.Cut(s.URL, "://")
	return address
}

// poisons adds a toxic to the fault proxy, with some attributes.
func poisons(stream, kind string, attributes ...any) func(*realWorld) {
	return func(w *realWorld) { w.poison(stream, kind, 1, attributes...) }
}

// poison adds a toxic that acts on some part of the connections.
func (w *realWorld) poison(stream, kind string, part float64, attributes ...any) {
	named := make(map[string]any)
	for pair := range slices.Chunk(attributes, 2) {
		named[pair[0].(string)] = pair[1]
	}
	text, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "toxicity": part, "attributes": named})
	if err == nil {
		_, err = w.proxy.Toxics.AddToxicJson(strings.NewReader(string(text)))
	}
	if err != nil {
		panic(err)
	}
}

// clear ends what toxics do.
func (w *realWorld) clear() { w.proxy.Toxics.ResetToxics(context.Background()) }

// reconnects does something and ends all connections, for what concerns only new ones.
func reconnects(do func(*realWorld)) func(*realWorld) {
	return func(w *realWorld) {
		do(w)
		w.reconnect()
	}
}

// resetsInMidBody has the end of an answer that is too long be a reset. The toxic
// that resets does so whenever a connection is closed, though it acts on none.
func resetsInMidBody(w *realWorld) {
	w.poison("downstream", "limit_data", 1, "bytes", 8000)
	w.poison("downstream", "reset_peer", 0)
	w.reconnect()
}

// reconnectsForScrapes drops connections before each scrape, while they are idle.
func (w *realWorld) reconnectsForScrapes() {
	get := w.get
	w.get = func(t *testing.T, path string, headers ...string) *http.Response {
		w.reconnect()
		return get(t, path, headers...)
	}
}
