package web

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-kit/log"
	toolkit "github.com/prometheus/exporter-toolkit/web"
)

func TestExplain(t *testing.T) {
	listen := func(err error) error { return &net.OpError{Op: "listen", Err: err} }
	for want, err := range map[string]error{
		"stop what uses the address":    listen(syscall.EADDRINUSE),
		"a host and a port of this mac": listen(syscall.EADDRNOTAVAIL),
		"cannot serve: ":                &net.OpError{Op: "accept", Err: syscall.EMFILE},
		"cannot serve: broken":          errors.New("broken"),
	} {
		if got := explain(err); !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v, want %q", got, want)
		}
	}
}

func TestCheckFlags(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.yml")
	for name, test := range map[string]struct {
		address, file string
		ok            bool
	}{
		"no file":      {":0", "", true},
		"no address":   {"", "", false},
		"file is gone": {":0", none, false},
	} {
		err := CheckFlags(&toolkit.FlagConfig{WebListenAddresses: &[]string{test.address}, WebConfigFile: &test.file})
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithoutTime(t *testing.T) {
	for want, keyvals := range map[string][]any{
		"a=1 b=2":       {"a", 1, "b", 2},
		"b=2":           {slog.TimeKey, 1, "b", 2},
		"a=1":           {"a", 1, slog.TimeKey, 2},
		"a=1 b=2 c=3":   {"a", 1, slog.TimeKey, 2, "b", 2, "c", 3},
		"a=time b=2":    {"a", slog.TimeKey, "b", 2},
		"a=1 time=null": {"a", 1, slog.TimeKey},
	} {
		var line bytes.Buffer
		if err := withoutTime(log.NewLogfmtLogger(&line)).Log(keyvals...); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(line.String()); got != want {
			t.Errorf("%v: %q, want %q", keyvals, got, want)
		}
	}
}
