package authserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cimd"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

// handshake is how one client of the field comes in, read from a file of testdata/handshakes. The
// file says of which client it is, and whether the program itself was recorded or its users'
// reports were written down. What is random or secret stands there in braces.
type handshake struct {
	client, source string
	quirks         []string          // their numbers in the checklist of what an issuer must tolerate
	relaxed        []string          // what it takes, by name; and it takes nothing else
	documents      map[string]string // that it publishes, by address
	requests       []shot
}

// shot is one request of a handshake, and the status of the answer.
type shot struct {
	method, address string
	status          int
	header          http.Header
	form            url.Values // of a form, or of the query
	body            string     // of anything else
}

func readHandshake(t *testing.T, path string) handshake {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	head, rest, _ := strings.Cut(string(text), "\n--- ")
	hs := handshake{documents: map[string]string{}}
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "client":
			hs.client = value
		case "source":
			hs.source = value
		case "quirks":
			hs.quirks = strings.Split(value, ", ")
		case "relaxed":
			if value != "" {
				hs.relaxed = strings.Split(value, "; ")
			}
		case "version", "":
		default:
			t.Fatalf("%s: a head line that nobody knows: %s", path, line)
		}
	}
	for _, block := range strings.Split(rest, "\n--- ") {
		line, block, _ := strings.Cut(block, "\n")
		header, body, _ := strings.Cut("\n"+block, "\n\n")
		words := strings.Fields(line)
		if words[0] == "document" {
			hs.documents[words[1]] = body
			continue
		}
		status, err := strconv.Atoi(words[2])
		must(t, err)
		s := shot{method: words[0], address: words[1], status: status, header: http.Header{}, form: url.Values{}}
		for h := range strings.Lines(header) {
			if name, value, ok := strings.Cut(strings.TrimSpace(h), ": "); ok {
				s.header.Set(name, value)
			}
		}
		if s.header.Get("Content-Type") == "application/json" {
			s.body = body
		} else {
			for p := range strings.Lines(body) {
				if name, value, ok := strings.Cut(strings.TrimSuffix(p, "\n"), " ="); ok {
					s.form.Add(name, strings.TrimSpace(value))
				}
			}
		}
		hs.requests = append(hs.requests, s)
	}
	if hs.client == "" || hs.source == "" || len(hs.quirks) == 0 || len(hs.requests) == 0 {
		t.Fatalf("%s: client, source, quirks or requests are missing: %+v", path, hs)
	}
	return hs
}

func readHandshakes(t *testing.T) map[string]handshake {
	t.Helper()
	paths, err := filepath.Glob("testdata/handshakes/*.txt")
	must(t, err)
	all := map[string]handshake{}
	for _, path := range paths {
		all[strings.TrimSuffix(filepath.Base(path), ".txt")] = readHandshake(t, path)
	}
	if len(all) < 20 {
		t.Fatalf("read %d handshakes: these cannot be all", len(all))
	}
	return all
}

// TestHandshakes plays each client's way in to its end, as its file has it: discovery, registration
// or document, consent, code, renewal.
func TestHandshakes(t *testing.T) {
	for name, hs := range readHandshakes(t) {
		t.Run(name, func(t *testing.T) { play(t, hs) })
	}
}

// stage is where one handshake is played, with what stands for the braces.
type stage struct {
	*testServer
	hs     handshake
	ann    *person
	key    *ecdsa.PrivateKey // of a client that authenticates by one
	braces map[string]string
}

func play(t *testing.T, hs handshake) {
	h := startServer(t, func(c *authserverConfig) {
		c.Resources[0].Aliases = []string{"https://mcp.example", resourceURI + "/", "api://companion"} // quirks 4, 20
		c.Resources[0].Scopes = append(c.Resources[0].Scopes,
			authserver.Scope{Name: "knowledge:read", Description: "Search", Baseline: true})
	})
	must(t, h.Store.PutRole(t.Context(),
		user.Role{TenantID: "acme", Name: "member", Scopes: append(slices.Clone(allScopes), "knowledge:read")}))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	keys, err := json.Marshal(
		jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1", Use: "sig"}}})
	must(t, err)
	s := &stage{testServer: h, hs: hs, ann: h.person("ann@acme.example"), key: key, braces: map[string]string{
		"issuer": h.URL, "mcp": resourceURI, "mcp-origin": "https://mcp.example", "port": "41234", "verifier": verifier,
		"challenge": challengeOf(verifier), "keys": string(keys),
	}}
	if len(hs.documents) > 0 {
		h.documents = s.publish(t)
		h.start()
	}
	for _, r := range hs.requests {
		if strings.HasPrefix(r.address, "{issuer}") {
			// what goes to the MCP server, the programs themselves send in e2e
			s.shoot(t, r)
		}
	}
	if s.braces["access_token"] == "" {
		t.Fatal("it never got a token")
	}
	if _, body := claims(t, s.braces["access_token"]); body["aud"] != resourceURI {
		t.Errorf("aud is %v, want the resource itself", body["aud"])
	}
	s.renewUnlessItDid(t)
	h.Log.mu.Lock()
	defer h.Log.mu.Unlock()
	var took []string
	for _, m := range regexp.MustCompile(`"relaxed":"([^"]*)"`).FindAllStringSubmatch(h.Log.text.String(), -1) {
		if !slices.Contains(took, m[1]) {
			took = append(took, m[1])
		}
	}
	slices.Sort(took)
	slices.Sort(hs.relaxed)
	if !slices.Equal(took, hs.relaxed) {
		t.Errorf("it took the relaxations %q, want %q and nothing else", took, hs.relaxed)
	}
}

var (
	brace     = regexp.MustCompile(`\{([a-z_-]+)\}`)
	stateOf   = regexp.MustCompile(`\{state:(\d+)\}`)
	assertion = regexp.MustCompile(`\{assertion to (.+)\}$`)
)

// fill puts what is known in place of the braces.
func (s *stage) fill(text string) string {
	if m := assertion.FindStringSubmatch(text); m != nil {
		id := s.clientID()
		return s.assert(s.key, "k1", map[string]any{"iss": id, "sub": id, "aud": s.fill(m[1]),
			"exp": s.Clock.Now().Unix() + 60, "jti": rand.Text()}, nil)
	}
	text = stateOf.ReplaceAllStringFunc(text, func(m string) string {
		n, _ := strconv.Atoi(stateOf.FindStringSubmatch(m)[1])
		return strings.Repeat("s", n)
	})
	return brace.ReplaceAllStringFunc(text, func(m string) string { return s.braces[m[1:len(m)-1]] })
}

// clientID is the client's, from its registration or the address of its document.
func (s *stage) clientID() string {
	for address := range s.hs.documents {
		if !strings.Contains(address, "jwks") {
			return address
		}
	}
	return s.braces["client_id"]
}

func (s *stage) filled(form url.Values) url.Values {
	out := url.Values{}
	for name, values := range form {
		for _, v := range values {
			out.Add(name, s.fill(v))
		}
	}
	return out
}

// shoot sends one request in the client's own manner and looks at the answer as the client does.
func (s *stage) shoot(t *testing.T, r shot) {
	t.Helper()
	path := strings.TrimPrefix(r.address, "{issuer}")
	if path == "/oauth2/authorize" {
		s.browse(t, r)
		return
	}
	body := s.fill(r.body)
	if r.body == "" {
		body = s.filled(r.form).Encode()
	}
	header := r.header.Clone()
	if pair, ok := strings.CutPrefix(header.Get("Authorization"), "Basic "); ok {
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(s.fill(pair))))
	}
	answer := s.do(r.method, path, "", body, header)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	var members map[string]any
	if answer.StatusCode != r.status || json.Unmarshal(text, &members) != nil {
		t.Fatalf("%s %s: got %d %s, want %d", r.method, path, answer.StatusCode, text, r.status)
	}
	if header.Get("Origin") != "" && answer.Header.Get("Access-Control-Allow-Origin") != "*" { // quirk 14
		t.Errorf("%s: a page could not read the answer", path)
	}
	for name, value := range members {
		if value == nil { // quirk 15
			t.Errorf("%s: the answer's %s is null", path, name)
		}
	}
	for _, name := range []string{"client_id", "client_secret", "access_token", "refresh_token"} {
		if value, ok := members[name].(string); ok {
			s.braces[name] = value
		}
	}
	switch path {
	case "/oauth2/register":
		if grants, _ := members["grant_types"].([]any); !slices.Contains(grants, any("refresh_token")) { // quirk 18
			t.Errorf("the registration's grant types are %v: it could not renew", grants)
		}
	case "/.well-known/oauth-authorization-server":
		methods, _ := members["token_endpoint_auth_methods_supported"].([]any)
		if members["client_id_metadata_document_supported"] != true || !slices.Contains(methods, any("none")) {
			// quirk 2
			t.Errorf("no document is chosen by clients that need both: %v, %v",
				members["client_id_metadata_document_supported"], methods)
		}
		if members["issuer"] != s.URL { // quirk 13
			t.Errorf("the issuer is %v, want %s byte for byte", members["issuer"], s.URL)
		}
	}
}

// browse is what ann's browser does with the authorization request: she signs in and agrees.
func (s *stage) browse(t *testing.T, r shot) {
	t.Helper()
	form := s.filled(r.form)
	if at, _ := s.get("/oauth2/authorize?"+form.Encode(), nil); at.StatusCode != r.status {
		t.Errorf("authorizing: got %d, want %d", at.StatusCode, r.status)
	}
	at := s.ann.submit(s.ann.consentPage(form), url.Values{"decision": {"approve"}})
	if at.status != http.StatusSeeOther || at.away == nil ||
		strings.Contains(at.header.Get("Content-Security-Policy"), "form-action") {
		// quirk 1
		t.Fatalf("agreeing: got %d to %v: %.300s", at.status, at.away, at.body)
	}
	q := at.away.Query()
	if to, _, _ := strings.Cut(at.away.String(), "?"); to != form.Get("redirect_uri") || q.Get("code") == "" ||
		q.Get("iss") != s.URL || q.Get("state") != form.Get("state") || q.Has("state") != form.Has("state") {
		t.Fatalf("the answer went to %s: %v", to, q)
	}
	s.braces["code"] = q.Get("code")
}

// renewUnlessItDid renews in the manner in which the client redeemed its code, when the file holds
// no renewal.
func (s *stage) renewUnlessItDid(t *testing.T) {
	t.Helper()
	var redeemed shot
	for _, r := range s.hs.requests {
		switch r.form.Get("grant_type") {
		case "refresh_token":
			return
		case "authorization_code":
			redeemed = r
		}
	}
	form := clone(redeemed.form)
	for _, name := range []string{"code", "code_verifier", "redirect_uri"} {
		form.Del(name)
	}
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", "{refresh_token}")
	redeemed.form = form
	s.shoot(t, redeemed)
}

// publish serves the client's documents at their addresses, as far as the issuer's fetcher can
// tell.
func (s *stage) publish(t *testing.T) *cimd.Fetcher {
	t.Helper()
	var hosts []string
	for address := range s.hs.documents {
		u, err := url.Parse(address)
		must(t, err)
		hosts = append(hosts, u.Hostname())
	}
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		document, ok := s.hs.documents["https://"+r.Host+r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, s.fill(document))
	}))
	certificate, roots := certify(t, hosts)
	site.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	site.StartTLS()
	t.Cleanup(site.Close)
	return &cimd.Fetcher{
		Roots: roots,
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
		},
		Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", site.Listener.Addr().String())
		},
	}
}

// certify makes a certificate for hosts, and the roots that trust it.
func certify(t *testing.T, hosts []string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: hosts, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
