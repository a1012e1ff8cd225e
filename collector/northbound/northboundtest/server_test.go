package northboundtest_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	nt "huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

// fromFiles makes a client from the files of WriteCertificates.
func fromFiles(t *testing.T, s *nt.Server, withCertificate bool, serverName string) *http.Client {
	t.Helper()
	dir := t.TempDir()
	if err := s.WriteCertificates(dir); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, nt.CAFile)) //nolint:gosec // a directory of the test
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool(), ServerName: serverName}
	if !config.RootCAs.AppendCertsFromPEM(ca) {
		t.Fatal("ca.pem holds no certificate")
	}
	if withCertificate {
		c, err := tls.LoadX509KeyPair(filepath.Join(dir, nt.CertFile), filepath.Join(dir, nt.KeyFile))
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{c}
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// loginOver logs in over the network and returns the HTTP status.
func loginOver(t *testing.T, c *http.Client, base string) (int, error) {
	t.Helper()
	body := url.Values{"appId": {fleet}, "secret": {secret}}.Encode()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+nt.LoginPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", form)
	res, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

func TestServer(t *testing.T) {
	for name, tt := range map[string]struct {
		opts       []nt.Option
		client     func(*testing.T, *nt.Server) *http.Client
		wantErr    bool
		wantScheme string
	}{
		"HTTPS": {
			nil, func(t *testing.T, s *nt.Server) *http.Client { return fromFiles(t, s, false, "") }, false, "https",
		},
		"HTTPS, own client": {
			nil, func(_ *testing.T, s *nt.Server) *http.Client { return s.Client() }, false, "https",
		},
		"mutual TLS": {
			[]nt.Option{nt.WithClientCertificates()},
			func(t *testing.T, s *nt.Server) *http.Client { return fromFiles(t, s, true, "") }, false, "https",
		},
		"mutual TLS, own client": {
			[]nt.Option{nt.WithClientCertificates()},
			func(_ *testing.T, s *nt.Server) *http.Client { return s.Client() }, false, "https",
		},
		"mutual TLS, no certificate": {
			[]nt.Option{nt.WithClientCertificates()},
			func(t *testing.T, s *nt.Server) *http.Client { return fromFiles(t, s, false, "") }, true, "https",
		},
		"mutual TLS, certificate of another authority": {
			[]nt.Option{nt.WithClientCertificates()},
			func(t *testing.T, s *nt.Server) *http.Client {
				another := nt.NewServer()
				defer another.Close()
				c := fromFiles(t, s, false, "")
				theirs := fromFiles(t, another, true, "")
				c.Transport.(*http.Transport).TLSClientConfig.Certificates = theirs.Transport.(*http.Transport).TLSClientConfig.Certificates
				return c
			}, true, "https",
		},
		"another name, not overridden": {
			[]nt.Option{nt.WithCertificateNames("iot.example")},
			func(t *testing.T, s *nt.Server) *http.Client { return fromFiles(t, s, false, "") }, true, "https",
		},
		"another name, overridden": {
			[]nt.Option{nt.WithCertificateNames("iot.example")},
			func(t *testing.T, s *nt.Server) *http.Client { return fromFiles(t, s, false, "iot.example") }, false, "https",
		},
		"another name, own client": {
			[]nt.Option{nt.WithCertificateNames("iot.example")},
			func(_ *testing.T, s *nt.Server) *http.Client { return s.Client() }, false, "https",
		},
		"plain HTTP": {
			[]nt.Option{nt.WithPlainHTTP()},
			func(_ *testing.T, s *nt.Server) *http.Client { return s.Client() }, false, "http",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := nt.NewServer(tt.opts...)
			defer s.Close()
			s.AddApplication(nt.App{ID: fleet, Secret: secret})
			if u, err := url.Parse(s.URL); err != nil || u.Scheme != tt.wantScheme || u.Hostname() != "127.0.0.1" || u.Path != "" {
				t.Errorf("URL %s, want %s on loopback", s.URL, tt.wantScheme)
			}
			status, err := loginOver(t, tt.client(t, s), s.URL)
			if tt.wantErr {
				if err == nil {
					t.Fatalf("status %d, want an error", status)
				}
				if n := len(s.Calls()); n != 0 {
					t.Errorf("%d calls came through, want 0", n)
				}
				return
			}
			if err != nil || status != http.StatusOK {
				t.Fatalf("status %d, error %v", status, err)
			}
		})
	}
}

func TestUnknownAuthorityIsNotTrusted(t *testing.T) {
	s, another := nt.NewServer(), nt.NewServer()
	defer s.Close()
	defer another.Close()
	_, err := loginOver(t, fromFiles(t, another, false, ""), s.URL)
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		t.Errorf("got %v, want an x509.UnknownAuthorityError", err)
	}
}

func TestWriteCertificates(t *testing.T) {
	s := nt.NewServer()
	defer s.Close()
	if err := s.WriteCertificates(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing directory: got %v, want os.ErrNotExist", err)
	}
	dir := t.TempDir()
	if err := s.WriteCertificates(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, nt.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v, want it to be the owner's alone", info.Mode())
	}

	plain := nt.NewServer(nt.WithPlainHTTP())
	defer plain.Close()
	if err := plain.WriteCertificates(t.TempDir()); err == nil {
		t.Error("plain HTTP: no error")
	}
}
