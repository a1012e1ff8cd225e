package web

import (
	"fmt"
	"net/http"

	"github.com/go-kit/log/level"
)

// say answers in words.
func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) //nolint:gosec // plain text, and browsers are told not to guess
}

func (h *handler) healthy(w http.ResponseWriter, _ *http.Request) {
	say(w, http.StatusOK, "The exporter is healthy.")
}

func (h *handler) ready(w http.ResponseWriter, _ *http.Request) {
	if h.Reloader.Current() == nil {
		say(w, http.StatusServiceUnavailable, "No configuration is in force yet.")
		return
	}
	say(w, http.StatusOK, "The exporter is ready.")
}

// config shows the configuration in force.
func (h *handler) config(w http.ResponseWriter, _ *http.Request) {
	cfg := h.Reloader.Current()
	if cfg == nil {
		say(w, http.StatusServiceUnavailable, "No configuration is in force yet.")
		return
	}
	text, err := cfg.YAML()
	if err != nil {
		level.Error(h.Logger).Log("msg", "configuration cannot be shown", "err", err)
		say(w, http.StatusInternalServerError, "The configuration cannot be shown; the log says why.")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(text)
}

func (h *handler) reload(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodPost && r.Method != http.MethodPut:
		w.Header().Set("Allow", "POST, PUT")
		say(w, http.StatusMethodNotAllowed, "Send a POST or PUT request to reload.")
		return
	case !h.EnableLifecycle:
		say(w, http.StatusForbidden, "Reloads over HTTP are off: start the exporter with --web.enable-lifecycle, or send it SIGHUP.")
		return
	}
	if err := h.Reloader.Reload(); err != nil {
		say(w, http.StatusInternalServerError, err.Error())
		return
	}
	say(w, http.StatusOK, "The configuration is reloaded.")
}
