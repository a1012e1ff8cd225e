package northboundtest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
)

// Names of the files of [Server.WriteCertificates].
const (
	CAFile   = "ca.pem"     // authority that signed the server's certificate
	CertFile = "client.pem" // client certificate
	KeyFile  = "client.key" // its private key
)

// Server is a platform that listens on a free port of the loopback address.
type Server struct {
	*Platform
	URL string // https://127.0.0.1:port, without a slash at its end

	http  *httptest.Server
	certs *certificates // nil without TLS
	tls   atomic.Pointer[tls.Config]
}

// CertificateFault is what can be wrong with certificates at a handshake.
type CertificateFault int

// The faults of certificates.
const (
	NoCertificateFault CertificateFault = iota
	ExpiredCertificate                  // the server's
	UnknownAuthority                    // signed the server's certificate
	ClientRefused                       // the client's certificate is of an authority that the server does not trust
)

// NewServer starts a platform. Without [WithPlainHTTP] it speaks HTTPS with a
// certificate of an authority made for it alone. The caller has to close it.
//
// Like [httptest.NewServer] it panics if it cannot listen.
func NewServer(opts ...Option) *Server {
	p := New(opts...)
	s := &Server{Platform: p, http: httptest.NewUnstartedServer(p)}
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are expected
	if p.opts.plainHTTP {
		s.http.Start()
	} else {
		certs, err := newCertificates(p.opts.certificateNames)
		if err != nil {
			panic(fmt.Sprintf("northboundtest: cannot make certificates: %v", err))
		}
		s.certs = certs
		s.SetCertificateFault(NoCertificateFault)
		s.http.TLS = &tls.Config{
			MinVersion:         tls.VersionTLS12,
			Certificates:       []tls.Certificate{certs.server}, // else httptest presents its own
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.tls.Load(), nil },
		}
		s.http.StartTLS()
		s.trust()
	}
	s.URL = s.http.URL
	return s
}

// SetCertificateFault changes what new connections meet; those that there are go
// on. It panics on a server with plain HTTP.
func (s *Server) SetCertificateFault(f CertificateFault) {
	config := s.certs.serverConfig(s.opts.clientCertificates)
	switch f {
	case ExpiredCertificate:
		config.Certificates = []tls.Certificate{s.certs.expired}
	case UnknownAuthority:
		config.Certificates = []tls.Certificate{s.certs.foreign}
	case ClientRefused:
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, poolOf(s.certs.foreign.Leaf)
	}
	s.tls.Store(config)
}

// trust lets Client reach the server.
func (s *Server) trust() {
	transport, ok := s.http.Client().Transport.(*http.Transport)
	if !ok {
		panic("northboundtest: net/http/httptest changed its transport")
	}
	transport.TLSClientConfig = s.certs.clientConfig()
}

// Client returns an HTTP client that trusts the server and presents the client
// certificate. Its idle connections end with [Server.Close].
func (s *Server) Client() *http.Client { return s.http.Client() }

// Close ends the server and waits until the calls under way are answered.
func (s *Server) Close() { s.http.Close() }

// WriteCertificates writes [CAFile], [CertFile] and [KeyFile] in PEM format into
// a directory. A server with plain HTTP has none and returns an error.
func (s *Server) WriteCertificates(dir string) error {
	if s.certs == nil {
		return errors.New("a server with plain HTTP has no certificates")
	}
	for name, text := range map[string][]byte{
		CAFile:   s.certs.caPEM,
		CertFile: s.certs.clientPEM,
		KeyFile:  s.certs.clientKeyPEM,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *certificates) serverConfig(clientCertificates bool) *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{c.server},
		ClientCAs:    c.pool,
		NextProtos:   []string{"http/1.1"},
	}
	if clientCertificates {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config
}

func (c *certificates) clientConfig() *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{c.client},
		RootCAs:      c.pool,
	}
	if len(c.names) > 0 {
		config.ServerName = c.names[0]
	}
	return config
}

func poolOf(ca *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return pool
}
