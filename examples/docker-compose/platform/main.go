// Command platform serves a simulated platform on the network, for the
// containers of the compose file. It lives in memory: after a restart its tasks
// begin anew.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// appID is the exporter's application on the platform.
const appID = "3RQ9UnhymV409MfKPuiin75XroQa"

// dialTimeout is how long the simulated platform, or --check, waits for a
// connection.
const dialTimeout = 3 * time.Second

func main() {
	var (
		app        = kingpin.New("platform", "Serves a simulated platform.")
		address    = app.Flag("listen-address", "Where it listens.").Default(":8743").String()
		name       = app.Flag("name", "Name in its certificate: the host name that clients use.").Default("platform").String()
		secretFile = app.Flag("secret-file", "File with the secret of the exporter's application.").Default("/run/secrets/fleet.secret").String()
		directory  = app.Flag("certificates", "Folder to write the certificates and the key of the client to.").Default("/certificates").String()
		check      = app.Flag("check", "Only tell, by the exit code, whether it accepts connections.").Bool()
	)
	kingpin.MustParse(app.Parse(os.Args[1:]))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)

	var err error
	if *check {
		err = reachable(ctx, *address)
	} else {
		err = run(ctx, *address, *name, *secretFile, *directory)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "platform:", err)
		os.Exit(1)
	}
}

// reachable tells whether something accepts connections on an address.
func reachable(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// run serves until ctx ends.
func run(ctx context.Context, address, name, secretFile, directory string) error {
	secret, err := os.ReadFile(secretFile) //nolint:gosec // the user's own choice
	if err != nil {
		return fmt.Errorf("cannot read the secret: %w", err)
	}
	platform := northboundtest.NewServer(
		northboundtest.WithClientCertificates(),
		northboundtest.WithCertificateNames(name),
	)
	defer platform.Close()
	platform.AddApplication(northboundtest.App{ID: appID, Secret: strings.TrimSpace(string(secret))})
	for _, task := range tasks(time.Now()) {
		platform.AddTask(task)
	}
	if err := platform.WriteCertificates(directory); err != nil {
		return fmt.Errorf("cannot write the certificates: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	go forget(ctx, platform.Platform)
	return forward(ctx, listener, strings.TrimPrefix(platform.URL, "https://"))
}

// forget drops the record of calls, which nobody reads, before it gets large.
func forget(ctx context.Context, platform *northboundtest.Platform) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			platform.ResetCalls()
		case <-ctx.Done():
			return
		}
	}
}

// forward connects whoever comes to the platform, which listens on loopback
// alone. It returns when the listener is closed.
func forward(ctx context.Context, listener net.Listener, platform string) error {
	for {
		client, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		go func() {
			defer func() { _ = client.Close() }()
			server, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", platform)
			if err != nil {
				return
			}
			defer func() { _ = server.Close() }()
			go func() {
				_, _ = io.Copy(server, client)
				_ = server.Close()
			}()
			_, _ = io.Copy(client, server)
		}()
	}
}
