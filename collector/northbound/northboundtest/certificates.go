package northboundtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// validity is how long certificates hold.
const validity = 365 * 24 * time.Hour

// certificates are an authority, and what it signed.
type certificates struct {
	names          []string // DNS names of the server; empty: loopback
	server, client tls.Certificate
	expired        tls.Certificate // as server, but it holds no longer
	foreign        tls.Certificate // as server, but signed by itself
	pool           *x509.CertPool  // the authority

	caPEM, clientPEM, clientKeyPEM []byte
}

// newCertificates makes an authority and certificates for a server, under DNS
// names or else on loopback, and for a client.
func newCertificates(names []string) (*certificates, error) {
	c := &certificates{names: names}
	caTemplate := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "northboundtest authority"},
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	ca, err := issue(caTemplate, nil, validity)
	if err != nil {
		return nil, err
	}
	c.pool, c.caPEM = poolOf(ca.Leaf), certificatePEM(ca)

	serverTemplate := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "northboundtest platform"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    names,
	}
	if len(names) == 0 {
		serverTemplate.DNSNames = []string{"localhost"}
		serverTemplate.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	for _, is := range []struct {
		certificate *tls.Certificate
		authority   *tls.Certificate
		holds       time.Duration
	}{{&c.server, &ca, validity}, {&c.expired, &ca, -time.Minute}, {&c.foreign, nil, validity}} {
		if *is.certificate, err = issue(serverTemplate, is.authority, is.holds); err != nil {
			return nil, err
		}
	}

	clientTemplate := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "northboundtest client"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if c.client, err = issue(clientTemplate, &ca, validity); err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.client.PrivateKey)
	if err != nil {
		return nil, err
	}
	c.clientPEM = certificatePEM(c.client)
	c.clientKeyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return c, nil
}

// issue makes a key and a certificate for it, signed by the authority, or by
// itself if that is nil. It holds from an hour ago until some time from now.
func issue(template *x509.Certificate, authority *tls.Certificate, holds time.Duration) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(holds)

	parent, signer := template, crypto.PrivateKey(key)
	if authority != nil {
		parent, signer = authority.Leaf, authority.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func certificatePEM(c tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}
