package authserver_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cimd"
)

// publisher is an application's own site, where its document lies.
type publisher struct {
	mu       sync.Mutex
	document map[string]any
	status   int
	hits     int
	fetcher  *cimd.Fetcher
}

const documentURL = "https://example.com/oauth/client.json"

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	p := &publisher{status: 200, document: map[string]any{
		"client_id": documentURL, "client_name": "Documented Agent", "redirect_uris": []string{callback},
		"token_endpoint_auth_method": "none",
	}}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hits++
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=60")
		w.WriteHeader(p.status)
		json.NewEncoder(w).Encode(p.document)
	}))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	p.fetcher = &cimd.Fetcher{
		Roots: roots,
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
		},
		Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", server.Listener.Addr().String())
		},
	}
	return p
}

func (p *publisher) publish(name string, value any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.document[name] = value; value == nil {
		delete(p.document, name)
	}
}

func (p *publisher) fetched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits
}

// AS-06, AS-34, AS-41, AS-42, AS-44, CM-10, CM-12, CM-14, CM-19, CM-20: a client that nobody
// registered, known by its document.
func TestAClientWithADocument(t *testing.T) {
	p := newPublisher(t)
	h := startServer(t)
	h.documents = p.fetcher
	h.start()
	_, body := h.get("/.well-known/oauth-authorization-server", nil)
	if !strings.Contains(string(body), `"client_id_metadata_document_supported":true`) { // AS-06
		t.Errorf("the metadata do not offer documents: %s", body)
	}
	a := app{h: h, ID: documentURL}
	ann := h.person("ann@acme.example")

	at := ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode())
	if p.fetched() != 0 || at.url.Path != "/signin" || !strings.Contains(at.body, documentURL) {
		// SEP-991: not before somebody has signed in
		t.Fatalf("before signing in: %d fetches, at %s: %.300s", p.fetched(), at.url, at.body)
	}
	at = ann.consentPage(a.authorization("customers:read"))
	for _, want := range []string{"Documented Agent", "describes itself at", "example.com", "app.example"} {
		// AS-42, AS-44
		if !strings.Contains(at.body, want) {
			t.Errorf("the consent page does not say %q", want)
		}
	}
	at = ann.submit(at, url.Values{"decision": {"approve"}})
	status, answer := a.token(redemption(at.away.Query().Get("code")))
	refresh, _ := answer["refresh_token"].(string)
	if status != 200 || refresh == "" {
		t.Fatalf("redeeming: got %d %v", status, answer)
	}
	if _, c := claims(t, answer["access_token"].(string)); c["client_id"] != documentURL {
		t.Errorf("claims: %v", c)
	}
	if p.fetched() != 1 { // AS-41
		t.Errorf("%d fetches, want one within max-age", p.fetched())
	}

	p.status = 500 // CM-19: the token endpoint asks nobody
	h.Clock.step(2 * time.Minute)
	if status, answer = a.token(refreshment(refresh)); status != 200 {
		t.Errorf("renewing while the document is out of reach: got %d %v, want 200", status, answer)
	}
	at = ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode())
	if at.status != 400 || strings.Contains(at.body, "500") || strings.Contains(at.body, "93.184") { // CM-10, CM-20
		t.Errorf("a new consent meanwhile: got %d %.400s, want a page that says nothing of the network", at.status,
			at.body)
	}
	p.status = 200
	p.publish("redirect_uris", []string{"https://app.example/other"}) // CM-14
	at = ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode())
	if at.status != 400 || at.away != nil || !strings.Contains(at.body, "the application sent "+callback) ||
		!strings.Contains(at.body, "has https://app.example/other") {
		t.Errorf("a redirect that the document no longer has: got %d %.300s, want both addresses named", at.status,
			at.body)
	}
	secretive := a.authorization("customers:read")
	secretive.Set("redirect_uri", "https://app.example/%3Cb%3E?token=ghs_secret#x")
	if at = ann.open("/oauth2/authorize?" + secretive.Encode()); at.status != 400 ||
		strings.Contains(at.body, "ghs_secret") || strings.Contains(at.body, "<b>") {
		t.Errorf("a redirect with a secret: got %d %.600s, want it without its query", at.status, at.body)
	}
	p.publish("redirect_uris", []string{callback})
	h.Clock.step(2 * time.Minute)
	wide := a.authorization("admin")
	// AS-17: nobody is sent on by themselves to an address that nobody vouches for
	at = ann.open("/oauth2/authorize?" + wide.Encode())
	back := regexp.MustCompile(`<a href="([^"]+)" rel="noreferrer">Back to <strong ` +
		`class="host">app.example</strong>`).FindStringSubmatch(at.body)
	if at.status != 400 || at.away != nil || !strings.Contains(at.body, "the resource offers") || back == nil {
		t.Fatalf("what is wrong with a request that could only be checked now: got %d to %v, want a page with a way "+
			"back: %s", at.status, at.away, at.body)
	}
	to, err := url.Parse(html.UnescapeString(back[1]))
	must(t, err)
	if q := to.Query(); to.Host != "app.example" || q.Get("error") != "invalid_scope" || q.Get("iss") != h.URL ||
		q.Get("state") != "state-123" {
		t.Errorf("the way back is %s, want the application told", to)
	}
}

// CM-02, CM-09, CM-11, CM-16, AS-35, AS-36, AS-38, AS-39
func TestDocumentsThatDoNotDo(t *testing.T) {
	for _, id := range []string{
		"https://example.com", "https://example.com/", "https://example.com/a/../b", "https://example.com/./a",
		"https://example.com/%2e%2e/a", "https://u:p@example.com/c", "https://example.com/c#f",
		"https://exa%6dple.com/c", "https://example.com/" + strings.Repeat("a", 8000), "https:///c",
		"https://[::1%25lo]/c",
	} {
		p := newPublisher(t)
		h := startServer(t)
		h.documents = p.fetcher
		h.start()
		at := h.person("ann@acme.example").open("/oauth2/authorize?" +
			app{h: h, ID: id}.authorization("customers:read").Encode())
		if at.status != 400 || at.url.Path != "/oauth2/authorize" || p.fetched() != 0 {
			t.Errorf("client_id %.60s: got %d at %s after %d fetches, want 400 at once", id, at.status, at.url.Path,
				p.fetched())
		}
	}
	p := newPublisher(t)
	h := startServer(t)
	h.documents = p.fetcher
	h.start()
	ann := h.person("ann@acme.example")
	a := app{h: h, ID: documentURL}
	signIn := ann.submit(ann.open("/signin"), url.Values{"email": {ann.email}, "password": {password}})
	signIn.want(t, "signing in", 200, "/agents")
	for _, row := range []struct {
		name  string
		value any
	}{
		{"client_id", documentURL + "/"}, {"client_id", strings.ToUpper(documentURL)}, {"client_id", nil},
		{"client_name", nil}, {"client_name", "\u202e"}, {"redirect_uris", nil},
		{"redirect_uris", []string{"javascript:alert(1)"}}, {"redirect_uris", "https://app.example/cb"},
		{"client_secret", "s"}, {"client_secret_expires_at", 0},
		{"token_endpoint_auth_method", "client_secret_basic"}, {"token_endpoint_auth_method", "client_secret_post"},
		{"grant_types", []string{"client_credentials"}},
	} {
		kept := p.document[row.name]
		p.publish(row.name, row.value)
		at := ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode())
		if at.status != 400 || at.away != nil || !strings.Contains(at.body, "document") {
			t.Errorf("%s = %v: got %d to %v: %.300s", row.name, row.value, at.status, at.away, at.body)
		}
		p.publish(row.name, kept)
		h.Clock.step(time.Minute)
	}
	if _, err := h.Store.Client(context.Background(), documentURL); err == nil {
		t.Error("a document that does not do was kept")
	}
	last := 0
	for range 30 { // each of them another document
		p.publish("client_id", nil)
		last = ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode()).status
	}
	if last != 429 || p.fetched() > 13+20 {
		t.Errorf("thirty fetches in a minute: got %d after %d, want 429", last, p.fetched())
	}
}

// AS-06, AS-45
func TestDocumentsCanBeRefused(t *testing.T) {
	p := newPublisher(t)
	h := startServer(t, func(c *authserverConfig) { c.RefuseClientMetadataDocuments = true })
	h.documents = p.fetcher
	h.start()
	at := h.person("ann@acme.example").open("/oauth2/authorize?" +
		app{h: h, ID: documentURL}.authorization("customers:read").Encode())
	if at.status != 400 || p.fetched() != 0 {
		t.Errorf("got %d after %d fetches, want 400 and none", at.status, p.fetched())
	}
	if _, body := h.get("/.well-known/oauth-authorization-server", nil); !strings.Contains(string(body),
		`"client_id_metadata_document_supported":false`) {
		t.Errorf("the metadata offer them: %s", body)
	}
}

// C8: a server without a way out says so, on the page and in the log of attempts, and does not
// blame the application.
func TestDocumentThatThisServerCannotReach(t *testing.T) {
	h := startServer(t)
	h.documents = &cimd.Fetcher{Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "server misbehaving", Name: "app.example", IsTemporary: true}
	}}
	h.start()
	ann := h.person("ann@acme.example")
	a := app{h: h, ID: "https://app.example/client.json"}
	at := ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode())
	if strings.HasPrefix(at.url.Path, "/signin") { // nothing is fetched before
		at = ann.submit(at, url.Values{"email": {ann.email}, "password": {password}})
	}
	if at.status != http.StatusServiceUnavailable || !strings.Contains(at.body, "no way out to the internet") {
		t.Errorf("got %d %s, want a page that says that this server has no way out", at.status, at.body)
	}
}
