package config

import (
	"crypto/tls"
	"net/url"
	"slices"
	"strings"

	commoncfg "github.com/prometheus/common/config"
)

// tlsConfig is the ecosystem's block of that name. It differs in having no
// references to secret managers, and in versions that are checked later, when
// the key to complain about is known.
type tlsConfig struct {
	CA                 string           `yaml:"ca,omitempty"`
	Cert               string           `yaml:"cert,omitempty"`
	Key                commoncfg.Secret `yaml:"key,omitempty"`
	CAFile             string           `yaml:"ca_file,omitempty"`
	CertFile           string           `yaml:"cert_file,omitempty"`
	KeyFile            string           `yaml:"key_file,omitempty"`
	ServerName         string           `yaml:"server_name,omitempty"`
	InsecureSkipVerify bool             `yaml:"insecure_skip_verify"`
	MinVersion         string           `yaml:"min_version,omitempty"`
	MaxVersion         string           `yaml:"max_version,omitempty"`
}

func (t *tlsConfig) config(p *problems, path string) commoncfg.TLSConfig {
	c := commoncfg.TLSConfig{
		CA: t.CA, Cert: t.Cert, Key: t.Key, CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile,
		ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify,
		MinVersion: p.tlsVersion(child(path, "min_version"), t.MinVersion),
		MaxVersion: p.tlsVersion(child(path, "max_version"), t.MaxVersion),
	}
	if err := c.Validate(); err != nil {
		p.complain(path, "%w", err)
	}
	least := c.MinVersion
	if least == 0 {
		least = tls.VersionTLS12 // as crypto/tls has it
	}
	if c.MaxVersion != 0 && c.MaxVersion < least {
		p.complain(child(path, "max_version"), "must not be lower than min_version, which is TLS12 where it is not given")
	}
	if strings.Contains(c.CA+c.Cert, "PRIVATE KEY") {
		p.complain(path, "holds a private key that is shown with the configuration: move it from ca or cert to key or key_file")
	}
	return c
}

func (p *problems) tlsVersion(path, text string) commoncfg.TLSVersion {
	version, ok := commoncfg.TLSVersions[text]
	if !ok && text != "" {
		p.complain(path, "must be one of TLS10, TLS11, TLS12, TLS13")
	}
	return version
}

func newTLSConfig(c commoncfg.TLSConfig) tlsConfig {
	return tlsConfig{
		CA: c.CA, Cert: c.Cert, Key: c.Key, CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile,
		ServerName: c.ServerName, InsecureSkipVerify: c.InsecureSkipVerify,
		MinVersion: c.MinVersion.String(), MaxVersion: c.MaxVersion.String(),
	}
}

// proxyConfig is the ecosystem's block of that name, with a URL that is parsed
// later, as the parser's complaint could repeat a password.
type proxyConfig struct {
	ProxyURL             string                `yaml:"proxy_url,omitempty"`
	NoProxy              string                `yaml:"no_proxy,omitempty"`
	ProxyFromEnvironment bool                  `yaml:"proxy_from_environment,omitempty"`
	ProxyConnectHeader   commoncfg.ProxyHeader `yaml:"proxy_connect_header,omitempty"`
}

func (x *proxyConfig) config(p *problems, path string) commoncfg.ProxyConfig {
	c := commoncfg.ProxyConfig{
		NoProxy: x.NoProxy, ProxyFromEnvironment: x.ProxyFromEnvironment, ProxyConnectHeader: x.ProxyConnectHeader,
	}
	if x.ProxyURL != "" {
		u, err := url.Parse(x.ProxyURL)
		if err != nil || !validHost(u) || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
			p.complain(child(path, "proxy_url"), "must be an http, https or socks5 address, such as http://proxy.example.com:3128")
			return c
		}
		c.ProxyURL.URL = u
	}
	if err := c.Validate(); err != nil {
		p.complain(path, "%w", err)
	}
	return c
}

// newProxyConfig leaves out the user, and the path and query, which have no
// meaning for a proxy.
func newProxyConfig(c commoncfg.ProxyConfig) proxyConfig {
	x := proxyConfig{NoProxy: c.NoProxy, ProxyFromEnvironment: c.ProxyFromEnvironment, ProxyConnectHeader: c.ProxyConnectHeader}
	if u := c.ProxyURL.URL; u != nil {
		x.ProxyURL = u.Scheme + "://" + u.Host
		if u.User != nil {
			x.ProxyURL = u.Scheme + "://<secret>@" + u.Host
		}
	}
	return x
}
