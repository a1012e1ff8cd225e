package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// shortening divides the durations of rules and routes: an hour is a minute.
	shortening = 60
	// scrapeInterval is not that much shorter, or nothing would be read between
	// two scrapes.
	scrapeInterval = 2 * time.Second
)

var duration = regexp.MustCompile(`\b\d+(s|m|h)\b`)

// shorten divides all durations in a text, so that alerts come and go while a
// test waits.
func shorten(text string) string {
	return duration.ReplaceAllStringFunc(text, func(s string) string {
		d, err := time.ParseDuration(s)
		if err != nil {
			return s
		}
		return fmt.Sprintf("%dms", (d / shortening).Milliseconds())
	})
}

// adapt copies the examples of Prometheus and Alertmanager to dir, as a user
// would, with the addresses of this test and in shortened time.
func adapt(dir, exporter, alertmanager, receiver string) error {
	edits := map[string]*strings.Replacer{
		"../prometheus/prometheus.yml": strings.NewReplacer(
			"scrape_interval: 1m", "scrape_interval: "+scrapeInterval.String(),
			"scrape_timeout: 30s", "scrape_timeout: "+scrapeInterval.String(),
			"evaluation_interval: 1m", "evaluation_interval: 1s",
			"localhost:10105", exporter,
			"localhost:9093", alertmanager,
		),
		"../alertmanager/alertmanager.yml": strings.NewReplacer(
			"https://chat.example.com", receiver,
			"https://pager.example.com", receiver,
		),
	}
	for _, folder := range []string{"prometheus", "alertmanager"} {
		if err := os.CopyFS(filepath.Join(dir, folder), os.DirFS(filepath.Join("..", folder))); err != nil {
			return err
		}
	}
	files, err := filepath.Glob("../prometheus/rules/*.yml")
	if err != nil {
		return err
	}
	for _, file := range append(files, "../prometheus/prometheus.yml", "../alertmanager/alertmanager.yml") {
		text, err := os.ReadFile(file) //nolint:gosec // one of the examples
		if err != nil {
			return err
		}
		adapted := string(text)
		if edit := edits[file]; edit != nil {
			adapted = edit.Replace(adapted)
		}
		if filepath.Base(file) != "prometheus.yml" {
			adapted = shorten(adapted)
		}
		target := filepath.Join(dir, strings.TrimPrefix(file, "../"))
		if err := os.WriteFile(target, []byte(adapted), 0o600); err != nil { //nolint:gosec // one of the examples' names
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "prometheus/tasks/both.yml"), []byte(watchedByBoth), 0o600)
}

// watchedByBoth is a task of the quickstart's configuration, for the other job.
const watchedByBoth = `
- targets: [5bf8f8567dd2d86eab87ed42]
  labels: {__application: fleet}
`

// sink takes what Alertmanager sends to its receivers.
type sink struct {
	*httptest.Server

	mu    sync.Mutex
	chats []chat
	pages []page
}

// chat is a message in Slack's format.
type chat struct {
	Attachments []struct{ Title, Text, Color string }
}

// page is a notification in Alertmanager's own format.
type page struct {
	Status      string
	GroupLabels map[string]string
	Alerts      []pagedAlert
}

type pagedAlert struct{ Labels map[string]string }

func newSink() *sink {
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		var c chat
		var p page
		if strings.HasPrefix(r.URL.Path, "/hooks/") {
			err = json.Unmarshal(body, &c)
			s.chats = append(s.chats, c)
		} else {
			err = json.Unmarshal(body, &p)
			s.pages = append(s.pages, p)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	return s
}

// received returns what has come so far.
func (s *sink) received() ([]chat, []page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]chat(nil), s.chats...), append([]page(nil), s.pages...)
}
