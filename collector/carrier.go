package collector

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	commoncfg "github.com/prometheus/common/config"

	"huawei_iot_batch_exporter/collector/northbound"
	"huawei_iot_batch_exporter/config"
)

// newTransport makes a transport from the application's tls_config and proxy
// settings.
func newTransport(a config.Application) (http.RoundTripper, error) {
	transport, err := commoncfg.NewRoundTripperFromConfig(a.HTTPClientConfig(), a.Name)
	if err != nil {
		return nil, err
	}
	return &carrier{RoundTripper: transport}, nil
}

// carrier is the ecosystem's transport, but says where TLS failed, and does not
// trust connections that gave no answer.
type carrier struct {
	http.RoundTripper
	doubtful atomic.Bool
}

// RoundTrip implements [http.RoundTripper].
//
// A firewall may have forgotten connections that look as if they were open. Over
// HTTP/2, which all calls share, each of them would run into its timeout for more
// than a minute, until a ping is missed.
func (c *carrier) RoundTrip(request *http.Request) (*http.Response, error) {
	if c.doubtful.Swap(false) {
		c.CloseIdleConnections()
	}
	var (
		sought atomic.Bool // a connection; before that, files are read
		failed atomic.Pointer[error]
	)
	ctx := httptrace.WithClientTrace(request.Context(), &httptrace.ClientTrace{
		GetConn:          func(string) { sought.Store(true) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { failed.Store(&err) },
	})
	response, err := c.RoundTripper.RoundTrip(request.WithContext(ctx))
	if err == nil {
		return response, nil
	}
	if ctx.Err() != nil {
		c.doubtful.Store(true)
		return nil, err
	}
	handshake := failed.Load()
	if (!sought.Load() || handshake != nil && errors.Is(err, *handshake)) && !ofNetwork(err) {
		err = &northbound.TLSError{Err: err}
	}
	return nil, err
}

// ofNetwork tells whether a connection failed, and not what was said over it.
func ofNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// CloseIdleConnections ends the connections that no call uses.
func (c *carrier) CloseIdleConnections() {
	if transport, ok := c.RoundTripper.(closer); ok {
		transport.CloseIdleConnections()
	}
}
