package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Check opens everything that the configuration names, apart from the platform
// itself: credentials have to be readable and not empty, certificates and keys
// in order, task files there. The error joins one [Problem] for everything that
// is wrong.
func (c *Config) Check() error {
	var errs []error
	for i := range c.Applications {
		a, path := &c.Applications[i], applicationPath(i)
		complain := func(key string, err error) {
			if err != nil {
				errs = append(errs, c.doc.problem(path+"."+key, err))
			}
		}
		a.checkCredentials(complain)
		a.checkTLS(complain)
		for j, pattern := range a.TaskFiles {
			complain(element("task_files", j), checkTaskFile(pattern))
		}
	}
	return errors.Join(errs...)
}

func (a *Application) checkCredentials(complain func(string, error)) {
	switch {
	case a.AccessTokenFile != "":
		_, err := a.ReadAccessToken()
		complain("access_token_file", err)
	case a.SecretFile != "":
		_, err := a.ReadSecret()
		complain("secret_file", err)
	default:
		_, err := a.ReadSecret()
		complain("secret", err)
	}
}

func (a *Application) checkTLS(complain func(string, error)) {
	t := &a.TLSConfig
	ca, caKey, err := pemOf("ca", t.CA, t.CAFile)
	if err == nil && ca != nil {
		err = checkCA(ca)
	}
	complain(caKey, err)

	cert, certKey, certErr := pemOf("cert", t.Cert, t.CertFile)
	complain(certKey, certErr)
	key, keyKey, keyErr := pemOf("key", string(t.Key), t.KeyFile)
	complain(keyKey, keyErr)
	if certErr == nil && keyErr == nil && cert != nil && key != nil {
		complain(certKey, checkKeyPair(cert, key))
	}
}

// pemOf returns the text of a part of the TLS block, inline or from a file, and
// the path of the key that gives it. The text is nil if there is none.
func pemOf(part, inline, file string) (text []byte, key string, err error) {
	key = child("tls_config", part)
	switch {
	case inline != "":
		return []byte(inline), key, nil
	case file != "":
		key += "_file"
		text, err = os.ReadFile(file) //nolint:gosec // Naming the file is what the configuration is for.
		if err != nil {
			return nil, key, fmt.Errorf("cannot be read: %w", err)
		}
		return text, key, nil
	}
	return nil, key, nil
}

func checkCA(text []byte) error {
	found := false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("holds a broken certificate: %w", err)
		}
		found = true
	}
	if !found {
		return errors.New("holds no certificate: give the platform's CA in PEM form, which begins with -----BEGIN CERTIFICATE-----")
	}
	return nil
}

func checkKeyPair(cert, key []byte) error {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("is no client certificate with the given key: %w", err)
	}
	switch now := time.Now(); {
	case now.After(pair.Leaf.NotAfter):
		return fmt.Errorf("expired on %s: have it renewed", pair.Leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(pair.Leaf.NotBefore):
		return fmt.Errorf("is not valid before %s: check this machine's clock", pair.Leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkTaskFile finds what hints at a mistyped path: a file, or a folder to
// search, that does not exist.
func checkTaskFile(pattern string) error {
	name := pattern
	if hasWildcard(pattern) {
		name = filepath.Dir(pattern)
	}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("names what is not there: create it or correct the path: %w", err)
	}
	return nil
}
