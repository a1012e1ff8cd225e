package northboundtest

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// PipeTransport returns a transport that reaches the platform through memory,
// under any URL, http or https (without TLS), and a function that ends both its
// connections and its server. Requests still pass through the real client and
// server of net/http. In a [testing/synctest] bubble all that is idle is durably
// blocked, so fake time advances; stop has to be called before the bubble ends.
func (p *Platform) PipeTransport() (transport *http.Transport, stop func()) {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	transport = &http.Transport{
		DialContext:    l.dial,
		DialTLSContext: l.dial,
	}
	server := &http.Server{
		Handler:           p,
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // always ends with http.ErrServerClosed
	return transport, func() {
		_ = server.Close() // closing a pipe cannot fail
		serving.Wait()
		transport.CloseIdleConnections() // also one that the server did not know yet
	}
}

// pipeListener accepts connections in memory.
type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for a client.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes Accept and dial fail.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is no address of a network.
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
