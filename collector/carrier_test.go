package collector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"path/filepath"
	"syscall"
	"testing"

	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/config"
)

// roundTripper fails as the transport under a carrier does.
type roundTripper struct {
	sought    bool   // a connection
	handshake *error // how it ended
	err       error
	closed    int
}

func (r *roundTripper) CloseIdleConnections() { r.closed++ }

func (r *roundTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(request.Context())
	if r.sought {
		trace.GetConn("platform.example:443")
	}
	if r.handshake != nil {
		trace.TLSHandshakeDone(tls.ConnectionState{}, *r.handshake)
	}
	if r.err != nil {
		return nil, r.err
	}
	return &http.Response{Body: http.NoBody}, nil
}

func TestErrorsOfTLS(t *testing.T) {
	var none error
	broken := errors.New("broken")
	wrapped := fmt.Errorf("wrapped: %w", broken)
	reset := error(&net.OpError{Op: "read", Err: syscall.ECONNRESET})
	eof, cut := io.EOF, io.ErrUnexpectedEOF
	for name, test := range map[string]struct {
		under roundTripper
		want  bool
	}{
		"no error":                     {roundTripper{sought: true, handshake: &none}, false},
		"a file that cannot be read":   {roundTripper{err: wrapped}, true},
		"no connection":                {roundTripper{sought: true, err: reset}, false},
		"an error without a handshake": {roundTripper{sought: true, err: wrapped}, false},
		"after the handshake":          {roundTripper{sought: true, handshake: &none, err: wrapped}, false},
		"the handshake":                {roundTripper{sought: true, handshake: &broken, err: wrapped}, true},
		"another's handshake":          {roundTripper{sought: true, handshake: &broken, err: errors.New("x")}, false},
		"reset during the handshake":   {roundTripper{sought: true, handshake: &reset, err: reset}, false},
		"ended during the handshake":   {roundTripper{sought: true, handshake: &eof, err: eof}, false},
		"cut during the handshake":     {roundTripper{sought: true, handshake: &cut, err: cut}, false},
	} {
		c := &carrier{RoundTripper: &test.under}
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://platform.example", nil)
		response, err := c.RoundTrip(request)
		if err == nil {
			response.Body.Close() //nolint:errcheck // it has none
		}
		if _, got := errors.AsType[*northbound.TLSError](err); got != test.want || !errors.Is(err, test.under.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Only a call that gave no answer in time casts doubt on its connection.
func TestDoubtfulConnections(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context //nolint:containedctx // of the first call
		err  error
		want int
	}{
		"answered":         {t.Context(), nil, 0},
		"failed":           {t.Context(), io.EOF, 0},
		"no answer":        {gone, context.Canceled, 1},
		"answered in time": {gone, nil, 0},
	} {
		under := &roundTripper{sought: true, err: test.err}
		c := &carrier{RoundTripper: under}
		for _, ctx := range []context.Context{test.ctx, t.Context(), t.Context()} {
			response, err := c.RoundTrip(httptest.NewRequestWithContext(ctx, http.MethodGet, "https://platform.example", nil))
			if err == nil {
				response.Body.Close() //nolint:errcheck // it has none
			}
		}
		if under.closed != test.want {
			t.Errorf("%s: connections were closed %d times, want %d", name, under.closed, test.want)
		}
	}
}

func TestNewTransport(t *testing.T) {
	var app config.Application
	if transport, err := newTransport(app); transport == nil || err != nil {
		t.Errorf("%v, %v", transport, err)
	}
	app.TLSConfig.CAFile = filepath.Join(t.TempDir(), "none")
	if transport, err := newTransport(app); transport != nil || err == nil {
		t.Errorf("without its CA: %v, %v", transport, err)
	}
}
