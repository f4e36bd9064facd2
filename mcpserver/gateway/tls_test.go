package gateway_test

import (
	"context"
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

// certified is a server with a certificate of its own, which asks for one of its client's; both are
// in the folder, as ca.pem and key.pem.
func certified(t *testing.T, b *behind) (url, dir string) {
	t.Helper()
	s := httptest.NewUnstartedServer(b)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	dir = t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	must(t, err)
	for name, block := range map[string]*pem.Block{"ca.pem": {Type: "CERTIFICATE", Bytes: s.Certificate().Raw},
		"key.pem": {Type: "PRIVATE KEY", Bytes: key}} {
		must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	return s.URL, dir
}

// A server at an https URL is trusted by the certificates that its upstream names, and is shown its
// client certificate; without either it is not reached.
func TestAServerOfItsOwnCertificates(t *testing.T) {
	url, dir := certified(t, newBehind(t))
	ca, pair := "    ca: "+filepath.Join(dir, "ca.pem")+"\n", "    client_certificate: "+filepath.Join(dir, "ca.pem")+
		"\n    client_key: "+filepath.Join(dir, "key.pem")+"\n"
	for _, row := range []struct {
		more   string
		status int
	}{{ca + pair, 200}, {ca, 502}, {pair, 502}, {"", 502}} {
		g := openGate(t, crm(url, row.more))
		if got := g.post("crm", g.token("crm", "acme", "read"), list); got.status != row.status {
			t.Errorf("with %q: %d %s", row.more, got.status, got.body)
		}
	}
	path := filepath.Join(dir, "gateway.yaml")
	for _, more := range []string{"    client_key: x\n", "    client_certificate: x\n"} {
		must(t, os.WriteFile(path,
			[]byte("issuer: http://localhost:1\nupstreams:\n"+strings.ReplaceAll(crm(url, more), "$URL",
				"http://localhost")), 0o600))
		if _, err := gateway.ReadFile(path); err == nil || !strings.Contains(err.Error(), "go together") {
			t.Errorf("%s: got %v", more, err)
		}
	}
}

// A proposal for such a server is made with the same files, wherever they are named from, and names
// them.
func TestAProposalNamesItsCertificates(t *testing.T) {
	b := newBehind(t)
	b.offering(readIt)
	url, dir := certified(t, b)
	t.Chdir(dir)
	for _, e := range []gateway.Existing{
		{URL: url, Name: "crm"}, {URL: url, Name: "crm", CA: "ca.pem"},
		{URL: url, Name: "crm", ClientCertificate: "ca.pem", ClientKey: "key.pem"},
		{URL: url, Name: "crm", CA: "key.pem"},
		{URL: url, Name: "crm", CA: "none.pem"}, {URL: url, Name: "crm", CA: "ca.pem", ClientKey: "key.pem"},
		{URL: newBehind(t).URL, Name: "crm", CA: "ca.pem"}, {Command: []string{"true"}, Name: "crm", CA: "ca.pem"},
	} {
		if _, err := gateway.Propose(context.Background(), e); err == nil {
			t.Errorf("a proposal with %q, %q, %q", e.CA, e.ClientCertificate, e.ClientKey)
		}
	}
	p, err := gateway.Propose(context.Background(), gateway.Existing{URL: url, Name: "crm", CA: "ca.pem",
		ClientCertificate: "./ca.pem", ClientKey: "key.pem"})
	must(t, err)
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(path, p.Config, 0o600))
	f, err := gateway.ReadFile(path)
	must(t, err)
	if u := f.Upstreams[0]; u.CA != filepath.Join(dir, "ca.pem") || u.ClientCertificate != u.CA ||
		u.ClientKey != filepath.Join(dir, "key.pem") {
		t.Errorf("the file names %q, %q, %q", u.CA, u.ClientCertificate, u.ClientKey)
	}
}
