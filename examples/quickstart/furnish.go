package main

import (
	"bytes"
	"crypto/rand"
	_ "embed" // for the template
	"fmt"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

const (
	applicationName = "fleet"
	fleetApp        = "3RQ9UnhymV409MfKPuiin75XroQa"
	billingApp      = "8fXWqQjC2b0Y5kq8Yw1sVdT3a0ka"

	// serverName is in the platform's certificate; its address is not.
	serverName = "iot.example.com"
	secretFile = "fleet.secret"
)

//go:embed huawei_iot_batch.yml.tmpl
var configText string

var configTemplate = template.Must(template.New("configuration").Parse(configText))

// furnish fills the platform, and dir with all that the exporter needs to watch
// it. It returns the path of the configuration.
func furnish(dir string, platform *northboundtest.Server, reboots *campaign) (string, error) {
	now, secret := time.Now(), rand.Text()
	populate(platform.Platform, secret, now)
	if err := platform.WriteCertificates(dir); err != nil {
		return "", fmt.Errorf("cannot write the certificates: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, secretFile), []byte(secret+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("cannot write the secret: %w", err)
	}
	if err := os.Mkdir(filepath.Dir(reboots.file), 0o700); err != nil {
		return "", fmt.Errorf("cannot make the folder of task files: %w", err)
	}
	if err := reboots.launch(now); err != nil {
		return "", err
	}

	var text bytes.Buffer
	err := configTemplate.Execute(&text, map[string]any{
		"Application": applicationName,
		"URL":         platform.URL,
		"AppID":       fleetApp,
		"SecretFile":  secretFile,
		"CAFile":      northboundtest.CAFile,
		"CertFile":    northboundtest.CertFile,
		"KeyFile":     northboundtest.KeyFile,
		"ServerName":  serverName,
		"Tasks":       fleet(now),
	})
	if err != nil {
		return "", fmt.Errorf("cannot write the configuration: %w", err)
	}
	file := filepath.Join(dir, "huawei_iot_batch.yml")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("cannot write the configuration: %w", err)
	}
	return file, nil
}
