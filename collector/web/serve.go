package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-kit/log"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	sloggokit "github.com/tjhop/slog-gokit"
)

const (
	// headerTimeout bounds how long a client may take to say what it wants.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection is kept for the next request: longer
	// than Prometheus' default scrape interval, so that it stays.
	idleTimeout = 2 * time.Minute
	// maxHeaderBytes is plenty for a request with credentials and parameters.
	maxHeaderBytes = 64 << 10
	// stopTimeout is how long requests under way may take when the server stops.
	stopTimeout = 3 * time.Second
)

// CheckFlags opens the file of --web.config.file and what it names, if there is
// one. The error is one line.
func CheckFlags(flags *toolkit.FlagConfig) error {
	if slices.Contains(*flags.WebListenAddresses, "") {
		return errors.New("--web.listen-address is empty: give it a host and a port, such as :10105")
	}
	err := toolkit.Validate(*flags.WebConfigFile)
	if err == nil {
		return nil
	}
	// The YAML library writes several lines.
	return fmt.Errorf("--web.config.file %s: %s: correct the file or name another",
		*flags.WebConfigFile, strings.Join(strings.Fields(err.Error()), " "))
}

// Serve serves until ctx ends. Scrapes under way are then answered at once with
// what is known. The error says what to do if it cannot listen.
//
// The logger should add no caller: the lines that come here bring theirs.
func Serve(ctx context.Context, h http.Handler, flags *toolkit.FlagConfig, logger log.Logger) error {
	lines := slog.New(sloggokit.NewGoKitHandler(withoutTime(logger), slog.LevelDebug))
	serving, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return serving },
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(lines.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- toolkit.ListenAndServe(server, flags, lines) }()
	select {
	case err := <-ended:
		return explain(err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		_ = server.Close() // whoever has not read an answer by now does not want it
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return explain(err)
	}
	return nil
}

// explain says what to do about a server that ended by itself.
func explain(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "listen" {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("cannot listen: %w: stop what uses the address, or choose another with --web.listen-address", err)
		}
		return fmt.Errorf("cannot listen: %w: give --web.listen-address a host and a port of this machine, such as 127.0.0.1:10105", err)
	}
	return fmt.Errorf("cannot serve: %w", err)
}

// withoutTime drops the time of slog's lines: the logger has its own.
func withoutTime(logger log.Logger) log.Logger {
	return log.LoggerFunc(func(keyvals ...any) error {
		for i := 0; i+1 < len(keyvals); i += 2 {
			if keyvals[i] == slog.TimeKey {
				keyvals = append(keyvals[:i:i], keyvals[i+2:]...)
				break
			}
		}
		return logger.Log(keyvals...)
	})
}
