package authserver_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// described is the metadata as a client reads them.
func (h *testServer) described(path string) map[string]any {
	h.t.Helper()
	r, body := h.get(path, nil)
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" {
		h.t.Fatalf("%s: got %d %v", path, r.StatusCode, r.Header)
	}
	m := map[string]any{}
	must(h.t, json.Unmarshal(body, &m))
	return m
}

func strung(v any) []string {
	var out []string
	list, _ := v.([]any)
	for _, one := range list {
		out = append(out, one.(string))
	}
	return out
}

const authority = "https://auth.example"

// ofHTTPS is a house whose issuer is on the network, with a resource for every algorithm.
func ofHTTPS(t *testing.T) *testServer {
	t.Helper()
	return startServer(t, func(c *authserverConfig) {
		c.Issuer = authority
		for algorithm, uri := range map[string]string{"RS256": "https://rsa.example/mcp",
			"EdDSA": "https://ed.example/mcp"} {
			other := c.Resources[0]
			other.URI, other.Algorithm = uri, algorithm
			c.Resources = append(c.Resources, other)
		}
	})
}

// AS-02, AS-05 to AS-09, CC-01, MD-01, MD-02, MD-07: what both documents say, and that no address
// in them is anybody else's or means anything to a shell.
func TestWhatTheMetadataSay(t *testing.T) {
	h := ofHTTPS(t)
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		m := h.described(path)
		if m["issuer"] != authority || m["authorization_response_iss_parameter_supported"] != true ||
			m["client_id_metadata_document_supported"] != true {
			t.Errorf("%s: %v", path, m)
		}
		for member, value := range m {
			for _, one := range append(strung(value), func() string { s, _ := value.(string); return s }()) {
				if strings.ContainsAny(one, " \t\"'`$<>\\;|") {
					t.Errorf("%s has %q", member, one)
				}
				if address, ok := strings.CutPrefix(one, "http"); ok &&
					(!strings.HasPrefix(address, "s://") || member != "protected_resources" && one != authority &&
						!strings.HasPrefix(one, authority+"/")) {
					t.Errorf("%s names %s", member, one) // AS-08
				}
			}
			if strings.HasSuffix(member, "_endpoint") || strings.HasSuffix(member, "_uri") {
				if one, _ := value.(string); !strings.HasPrefix(one, authority+"/") {
					t.Errorf("%s is %v, want an address of ours", member, value)
				}
			}
		}
		for member, wants := range map[string][]string{
			"code_challenge_methods_supported": {"S256"}, "response_types_supported": {"code"},
			"token_endpoint_auth_methods_supported": {"none", "client_secret_basic", "client_secret_post",
				"private_key_jwt"},
			"grant_types_supported": {"authorization_code", "refresh_token",
				"client_credentials"},
			"token_endpoint_auth_signing_alg_values_supported": {"ES256"},
		} {
			got := strung(m[member])
			for _, want := range wants {
				if !slices.Contains(got, want) {
					t.Errorf("%s of %s: got %v, want %s in it", member, path, got, want)
				}
			}
			for _, never := range []string{"plain", "token", "id_token", "implicit", "password", "HS256"} {
				if slices.Contains(got, never) {
					t.Errorf("%s of %s: got %v with %s", member, path, got, never)
				}
			}
		}
		if slices.Contains(strung(m["token_endpoint_auth_signing_alg_values_supported"]), "none") ||
			slices.Contains(strung(m["id_token_signing_alg_values_supported"]), "none") {
			t.Errorf("%s: unsigned is offered: %v", path, m)
		}
	}
}

// MD-02, AS-09: every grant type and way of proof that is named is taken, and every address that is
// named is there.
func TestTheMetadataAreTrue(t *testing.T) {
	h := startServer(t)
	m := h.described("/.well-known/oauth-authorization-server")
	a := h.register(map[string]any{})
	for _, kind := range strung(m["grant_types_supported"]) {
		if _, answer := a.token(url.Values{"grant_type": {kind}}); answer["error"] == "unsupported_grant_type" {
			t.Errorf("%s is named and not taken", kind)
		}
	}
	for member, value := range m {
		address, _ := value.(string)
		path, ours := strings.CutPrefix(address, h.URL)
		if !ours || path == "" {
			continue
		}
		if r, _ := h.get(path, nil); r.StatusCode == 404 {
			t.Errorf("%s is named and not there", member)
		}
	}
	for _, method := range strung(m["token_endpoint_auth_methods_supported"]) {
		if method == "private_key_jwt" {
			continue // needs keys: L12
		}
		if status, answer := h.enrol(`{"redirect_uris":["` + callback + `"],"token_endpoint_auth_method":"` + method +
			`"}`); status != 201 {
			t.Errorf("%s is named and cannot be registered: %d %v", method, status, answer)
		}
	}
}

// MD-03, AS-03: there is one issuer, without a path; whatever looks like another's is not there.
func TestThereIsOneIssuer(t *testing.T) {
	h := startServer(t)
	for _, path := range []string{
		"/acme/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/acme",
		"/.well-known/openid-configuration/acme", "/t/globex/.well-known/oauth-authorization-server",
		"/.well-known/OAuth-Authorization-Server", "/.WELL-KNOWN/oauth-authorization-server",
		"/.well-known/oauth-authorization-server%2facme", "/.well-known%2foauth-authorization-server/x",
		"/.well-known/oauth-authorization-server/", "/.well-known/oauth-authorization-server%00", "/acme/oauth2/token",
		"/acme/oauth2/jwks", "/.well-known/oauth-protected-resource",
	} {
		if r, body := h.get(path, nil); r.StatusCode != 404 || strings.Contains(string(body), "issuer") {
			t.Errorf("%s: got %d %.200s, want 404", path, r.StatusCode, body)
		}
	}
	for _, path := range []string{"/acme/../.well-known/oauth-authorization-server",
		"/.well-known/x/../oauth-authorization-server", "//.well-known/oauth-authorization-server"} {
		r, err := http.Get(h.URL + path)
		must(t, err)
		if m := decoded(t, r); r.StatusCode != 404 && m["issuer"] != h.URL {
			t.Errorf("%s: got %d %v", path, r.StatusCode, m)
		}
	}
	_, err := authserver.New(t.Context(), authserver.Config{Issuer: "https://auth.example/tenant1",
		Database: h.config.Database, KeyEncryptionKey: h.config.KeyEncryptionKey, Resources: h.config.Resources},
		authserver.Deps{})
	if err == nil || !strings.Contains(err.Error(), "must have no path") {
		t.Errorf("an issuer with a path: got %v, want it refused by name", err)
	}
}

// AS-08, MD-07: issuers and resources that cannot be.
func TestIssuersThatCannotBe(t *testing.T) {
	h := startServer(t)
	for _, issuer := range []string{
		"http://auth.example", "auth.example", "https://", "https://auth.example/", "https://auth.example?x=1",
		"https://auth.example#f", "https://u@auth.example", "ftp://auth.example", "https://a$(id).example",
		"https://a`id`.example", "https://a'b.example", `https://a"b.example`, "https://a;b.example",
		"https://a b.example", "https://a&b.example", "https://ä.example", "",
	} {
		c := h.config
		c.Issuer = issuer
		if s, err := authserver.New(t.Context(), c, authserver.Deps{}); err == nil {
			s.Close()
			t.Errorf("issuer %q: got a server, want an error", issuer)
		}
	}
	for _, uri := range []string{"https://mcp.example/$(id)", "https://mcp.example/`id`", "https://mcp.example/'x",
		"https://mcp.example/;x", "https://mcp.example/#f", "https://MCP.example/mcp"} {
		c := h.config
		c.Resources = []authserver.Resource{h.config.Resources[0]}
		c.Resources[0].URI = uri
		if s, err := authserver.New(t.Context(), c, authserver.Deps{}); err == nil {
			s.Close()
			t.Errorf("resource %q: got a server, want an error", uri)
		}
	}
}

// MD-05: the key set has what one believes with, and nothing that one signs with.
func TestThePublishedKeys(t *testing.T) {
	h := ofHTTPS(t)
	_, body := h.get("/oauth2/jwks", nil)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	must(t, json.Unmarshal(body, &set))
	kids, algorithms := map[any]bool{}, map[any]bool{}
	for _, k := range set.Keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k", "oth", "x5u", "x5c"} {
			if k[private] != nil {
				t.Errorf("%v: it has %s", k["kid"], private)
			}
		}
		if k["alg"] == nil || k["use"] != "sig" || k["kid"] == nil || k["kid"] == "" || kids[k["kid"]] {
			t.Errorf("%v: want alg, use=sig and a kid of its own", k)
		}
		kids[k["kid"]], algorithms[k["alg"]] = true, true
		if k["kty"] == "RSA" {
			n, err := base64.RawURLEncoding.DecodeString(k["n"].(string))
			if must(t, err); len(n) < 256 || n[0] < 128 {
				t.Errorf("%v: an RSA key of %d bits", k["kid"], len(n)*8)
			}
		}
	}
	if !algorithms["ES256"] || !algorithms["RS256"] || !algorithms["EdDSA"] {
		t.Errorf("algorithms: %v", algorithms)
	}
}

// MD-06, TK-23, AS-12: what a page of any origin may read, without anybody's cookies, and what none
// may.
func TestWhatPagesMayRead(t *testing.T) {
	h := startServer(t)
	for path, open := range map[string]bool{
		"/.well-known/oauth-authorization-server": true, "/.well-known/openid-configuration": true,
		"/oauth2/jwks": true, "/oauth2/token": true, "/oauth2/register": true, "/oauth2/revoke": true,
		"/oauth2/introspect": false, "/oauth2/authorize": false, "/signin": false, "/consent": false, "/agents": false,
		"/device": false, "/errors/invalid_grant": false, "/healthz": false, "/readyz": false, "/nothing": false,
	} {
		for _, origin := range []string{"https://evil.example", "null", "http://localhost:3000"} {
			for _, method := range []string{"GET", "POST", "OPTIONS"} {
				r := h.do(method, path, urlencoded, "",
					http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"},
						"Cookie": {"gatehouse_session=" + strings.Repeat("A", 52)}})
				r.Body.Close()
				allowed := r.Header.Get("Access-Control-Allow-Origin")
				if allowed != map[bool]string{true: "*"}[open] ||
					r.Header.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("%s %s for %s: got %q %q, want open %v", method, path, origin, allowed,
						r.Header.Get("Access-Control-Allow-Credentials"), open)
				}
			}
		}
	}
}

// MD-08: under another host's name the document says whose it is, so that a client that compares
// (RFC 8414 §3.3) refuses it.
func TestTheDocumentUnderAnotherName(t *testing.T) {
	h := startServer(t)
	r, err := http.NewRequest(http.MethodGet, h.URL+"/.well-known/oauth-authorization-server", nil)
	must(t, err)
	r.Host = "evil.example"
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	if m := decoded(t, response); m["issuer"] != h.URL ||
		regexp.MustCompile("evil").MatchString(m["token_endpoint"].(string)) {
		t.Errorf("got %v, want our issuer", m)
	}
}
