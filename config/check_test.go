package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newCertificate returns a self-signed certificate and its key in PEM form.
func newCertificate(t *testing.T, notBefore, notAfter time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "test"},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		IsCA:         true, BasicConstraintsValid: true,
	}
	certDER, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func indent(text string) string {
	return strings.ReplaceAll("\n"+strings.TrimSpace(text), "\n", "\n        ") + "\n"
}

func TestCheck(t *testing.T) {
	now := time.Now()
	cert, key := newCertificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	_, otherKey := newCertificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	oldCert, oldKey := newCertificate(t, now.Add(-48*time.Hour), now.Add(-24*time.Hour))
	newCert, newKey := newCertificate(t, now.Add(24*time.Hour), now.Add(48*time.Hour))
	broken := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	files := []string{
		"good.pem", cert, "good.key", key, "other.key", otherKey, "old.pem", oldCert, "old.key", oldKey,
		"new.pem", newCert, "new.key", newKey, "broken.pem", broken, "text.pem", "hello", "fleet.secret", "s3cret\n", "empty.secret", "\n",
		"tasks/fleet.yml", "[]\n",
	}
	const head = "applications:\n  - name: fleet\n    url: https://192.0.2.1\n    app_id: app1\n"
	for name, tc := range map[string]struct {
		yaml string
		want []string
	}{
		"everything in order": {
			yaml: head + `    secret_file: fleet.secret
    tls_config: {ca_file: good.pem, cert_file: good.pem, key_file: good.key}
    task_files: [tasks/fleet.yml, tasks/*.json]
`,
		},
		"inline": {
			yaml: head + "    secret: x\n    tls_config:\n      ca: |" + indent(cert) + "      cert: |" + indent(cert) + "      key: |" + indent(key),
		},
		"missing files": {
			yaml: head + `    access_token_file: none.token
    tls_config: {ca_file: none.pem, cert_file: none.pem, key_file: none.key}
    task_files: [none.yml, none/*.yml]
`,
			want: []string{
				`c.yml:5: applications[0].access_token_file: cannot read the access_token_file: open none.token: no such file or directory`,
				`c.yml:6: applications[0].tls_config: unable to read CA cert: unable to read file none.pem: open none.pem: no such file or directory`,
				`c.yml:7: applications[0].task_files[0]: names what is not there: create it or correct the path: stat none.yml: no such file or directory`,
				`c.yml:7: applications[0].task_files[1]: names what is not there: create it or correct the path: stat none: no such file or directory`,
			},
		},
		"an empty secret, and a CA that is no certificate": {
			yaml: head + "    secret_file: empty.secret\n    tls_config: {ca_file: text.pem}\n",
			want: []string{
				`c.yml:5: applications[0].secret_file: the secret_file empty.secret is empty: write the credential into it, and nothing else`,
				`c.yml:6: applications[0].tls_config: unable to use specified CA cert file text.pem`,
			},
		},
		"a broken CA": {
			yaml: head + "    secret: x\n    tls_config: {ca_file: broken.pem}\n",
			want: []string{`c.yml:6: applications[0].tls_config: unable to use specified CA cert file broken.pem`},
		},
		"a key of another certificate": {
			yaml: head + "    secret: x\n    tls_config: {cert_file: good.pem, key_file: other.key}\n",
			want: []string{
				`c.yml:6: applications[0].tls_config: unable to use specified client cert (file good.pem) & key (file other.key): tls: private key does not match public key`,
			},
		},
		"expired": {
			yaml: head + "    secret: x\n    tls_config: {cert_file: old.pem, key_file: old.key}\n",
			want: []string{
				`c.yml:6: applications[0].tls_config: the client certificate expired on ` + now.Add(-24*time.Hour).UTC().Format(time.DateOnly) + `: have it renewed`,
			},
		},
		"not yet valid": {
			yaml: head + "    secret: x\n    tls_config: {cert_file: new.pem, key_file: new.key}\n",
			want: []string{
				`c.yml:6: applications[0].tls_config: the client certificate is not valid before ` +
					now.Add(24*time.Hour).UTC().Format(time.RFC3339) + `: check this machine's clock`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, append([]string{"c.yml", tc.yaml}, files...)...)
			if diff := cmp.Diff(tc.want, complaints(mustLoad(t, file).Check(), file)); diff != "" {
				t.Errorf("complaints (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckSeesWhatVanished(t *testing.T) {
	file := write(t, "c.yml", minimal+"    task_files: [fleet.yml]\n", "fleet.yml", "[]\n")
	cfg := mustLoad(t, file)
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cfg.Applications[0].TaskFiles[0]); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Check(); err == nil {
		t.Error("the missing task file is not complained about")
	}
}
