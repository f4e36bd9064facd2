package gateway_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
)

// A server at an https URL is trusted by the certificates that its upstream names, and is shown its client certificate; without either it is not reached.
func TestAServerOfItsOwnCertificates(t *testing.T) {
	b := newBehind(t)
	s := httptest.NewUnstartedServer(b)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	must(t, err)
	for name, block := range map[string]*pem.Block{"ca.pem": {Type: "CERTIFICATE", Bytes: s.Certificate().Raw}, "key.pem": {Type: "PRIVATE KEY", Bytes: key}} {
		must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	ca, pair := "    ca: "+filepath.Join(dir, "ca.pem")+"\n", "    client_certificate: "+filepath.Join(dir, "ca.pem")+"\n    client_key: "+filepath.Join(dir, "key.pem")+"\n"
	for _, row := range []struct {
		more   string
		status int
	}{{ca + pair, 200}, {ca, 502}, {pair, 502}, {"", 502}} {
		g := openGate(t, crm(s.URL, row.more))
		if got := g.post("crm", g.token("crm", "acme", "read"), list); got.status != row.status {
			t.Errorf("with %q: %d %s", row.more, got.status, got.body)
		}
	}
	path := filepath.Join(dir, "gateway.yaml")
	for _, more := range []string{"    client_key: x\n", "    client_certificate: x\n"} {
		must(t, os.WriteFile(path, []byte("issuer: http://localhost:1\nupstreams:\n"+strings.ReplaceAll(crm(s.URL, more), "$URL", "http://localhost")), 0o600))
		if _, err := gateway.ReadFile(path); err == nil || !strings.Contains(err.Error(), "go together") {
			t.Errorf("%s: got %v", more, err)
		}
	}
}
