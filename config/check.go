package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	commoncfg "github.com/prometheus/common/config"
)

// Check opens everything that the configuration names, apart from the platform
// itself: credentials have to be readable and not empty, certificates and keys
// in order, task files there. The error joins one [Problem] for everything that
// is wrong.
func (c *Config) Check() error {
	var errs []error
	for i := range c.Applications {
		a := &c.Applications[i]
		complain := func(key string, err error) {
			if err != nil {
				errs = append(errs, c.index.problem(applicationPath(i)+"."+key, err))
			}
		}
		complain(a.checkCredentials())
		complain("tls_config", a.checkTLS())
		for j, pattern := range a.TaskFiles {
			complain(element("task_files", j), checkTaskFile(pattern))
		}
	}
	return errors.Join(errs...)
}

// checkCredentials returns the key that gives the credentials, and what is wrong
// with them.
func (a *Application) checkCredentials() (key string, err error) {
	switch {
	case a.AccessTokenFile != "":
		_, err = a.ReadAccessToken()
		return "access_token_file", err
	case a.SecretFile != "":
		_, err = a.ReadSecret()
		return "secret_file", err
	default:
		_, err = a.ReadSecret()
		return "secret", err
	}
}

func (a *Application) checkTLS() error {
	c, err := commoncfg.NewTLSConfig(&a.TLSConfig)
	if err != nil || c.GetClientCertificate == nil {
		return err
	}
	cert, err := c.GetClientCertificate(nil)
	if err != nil {
		return err
	}
	switch now := time.Now(); {
	case now.After(cert.Leaf.NotAfter):
		return fmt.Errorf("the client certificate expired on %s: have it renewed", cert.Leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(cert.Leaf.NotBefore):
		return fmt.Errorf("the client certificate is not valid before %s: check this machine's clock", cert.Leaf.NotBefore.UTC().Format(time.RFC3339))
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
