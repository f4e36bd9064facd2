package authserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func basicRaw(userinfo string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(userinfo))}}
}

// CA-01 to CA-06, CA-08, CA-09, AS-01, AS-32, RV-04, RV-07: every way of not proving who one is has
// one answer, at every endpoint that asks.
func TestWhoDoesNotProveWhoTheyAre(t *testing.T) {
	h := startServer(t)
	m, post, public := h.machine("acme", "customers:read"),
		h.register(map[string]any{"token_endpoint_auth_method": "client_secret_post"}), h.register(map[string]any{})
	said := map[string]bool{}
	for what, row := range map[string]struct {
		header http.Header
		body   url.Values
	}{
		"CA-01, a wrong secret":           {basicAuth(m.ID, "ghs_wrong"), nil},
		"CA-01, a wrong secret, posted":   {nil, url.Values{"client_id": {post.ID}, "client_secret": {"ghs_wrong"}}},
		"CA-01, another's secret":         {basicAuth(m.ID, post.Secret), nil},
		"CA-02, no secret for one":        {nil, url.Values{"client_id": {m.ID}}},
		"CA-05, an empty secret":          {basicAuth(m.ID, ""), nil},
		"CA-05, an empty secret, posted":  {nil, url.Values{"client_id": {post.ID}, "client_secret": {""}}},
		"CA-05, a secret of a public one": {basicAuth(public.ID, "bogus"), nil},
		"CA-05, the same, posted":         {nil, url.Values{"client_id": {public.ID}, "client_secret": {"bogus"}}},
		"CA-06, nobody":                   {basicAuth("cli_nobody", "ghs_wrong"), nil},
		"CA-06, nobody, posted": {nil,
			url.Values{"client_id": {"cli_nobody"}, "client_secret": {"ghs_wrong"}}},
		"CA-06, nobody, without": {nil, url.Values{"client_id": {"cli_nobody"}}},
		"CA-08, a longer one":    {basicAuth(m.ID, m.Secret+strings.Repeat("x", 100)), nil},
		"CA-08, a shorter one":   {basicAuth(m.ID, m.Secret[:len(m.Secret)-1]), nil},
		"CA-08, endless": {nil,
			url.Values{"client_id": {m.ID}, "client_secret": {strings.Repeat("x", 100_000)}}},
		"CA-09, a NUL in the secret": {basicRaw(m.ID + ":" + m.Secret + "\x00"), nil},
		"CA-09, a colon more":        {basicRaw(m.ID + ":" + m.Secret + ":"), nil},
		"CA-09, a plus for a blank":  {basicRaw(m.ID + "+:" + m.Secret), nil},
	} {
		for _, path := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"} {
			form := clone(row.body)
			form.Set("grant_type", "client_credentials")
			form.Set("token", "x")
			r := h.do("POST", path, urlencoded, form.Encode(), row.header)
			answer := decoded(t, r)
			h.explained(answer)
			wantError(t, what+" at "+path, r.StatusCode, answer, 401, "invalid_client")
			if !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Basic ") ||
				r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s at %s: header %v, want Basic and no-store", what, path, r.Header)
			}
			said[supportCode.ReplaceAllString(answer["error_description"].(string), "")] = true
			h.Clock.step(time.Minute) // so many failures from one address are too many
		}
	}
	if len(said) != 1 {
		t.Errorf("the answers differ: %v", said)
	}
	for what, header := range map[string]http.Header{
		"CA-09, %zz": basicRaw("%zz:x"), "CA-09, %zz for a secret": basicRaw(m.ID + ":%zz"),
		"CA-09, no colon": basicRaw(m.ID), "CA-09, nothing": basicRaw(""), "CA-09, no id": basicRaw(":" + m.Secret),
		"CA-09, not UTF-8": basicRaw("\xff\xfe:x"), "CA-09, a NUL": basicRaw("a\x00b:x"),
		"CA-09, not base64": {"Authorization": {"Basic %%%"}}, "CA-09, no scheme": {"Authorization": {"x"}},
		"CA-09, a bearer": {"Authorization": {"Bearer " + m.Secret}}, "CA-09, empty": {"Authorization": {""}},
	} {
		status, answer := h.post("/oauth2/token", urlencoded, "grant_type=client_credentials", header)
		wantError(t, what, status, answer, 401, "invalid_client")
	}
	for what, row := range map[string]struct {
		header http.Header
		body   url.Values
		status int
		code   string
	}{
		"CA-03, by header and body": {basicAuth(m.ID, m.Secret), url.Values{"client_secret": {m.Secret}}, 400,
			"invalid_request"},
		"CA-03, by secret and assertion": {nil, url.Values{"client_id": {m.ID}, "client_secret": {m.Secret},
			"client_assertion": {"x"}, "client_assertion_type": {assertionType}}, 400, "invalid_request"},
		"CA-03, by header and assertion": {basicAuth(m.ID, m.Secret),
			url.Values{"client_assertion": {"x"}, "client_assertion_type": {assertionType}}, 400, "invalid_request"},
		"CA-04, as one and another": {basicAuth(m.ID, m.Secret), url.Values{"client_id": {post.ID}}, 401,
			"invalid_client"},
		"an unknown kind of assertion": {nil,
			url.Values{"client_assertion": {"x"}, "client_assertion_type": {"saml2"}}, 401, "invalid_client"},
	} {
		form := clone(row.body)
		form.Set("grant_type", "client_credentials")
		status, answer := h.post("/oauth2/token", urlencoded, form.Encode(), row.header)
		wantError(t, what, status, answer, row.status, row.code)
	}
	if status, answer := m.token(url.Values{"grant_type": {"client_credentials"}}); status != 200 {
		t.Errorf("and then who does: got %d %v, want 200", status, answer)
	}
}

// CA-07: two hundred wrong secrets at once are cheap, are counted, and keep no honest client out,
// be it at the same address.
func TestTwoHundredWrongSecretsAtOnce(t *testing.T) {
	h := startServer(t, func(c *authserver.Config) { c.MaxInFlight = 1000 }) // however slow the machine is
	m := h.machine("acme", "customers:read")
	honest := make(chan map[string]int)
	go func() {
		honest <- atOnce(8, func() string {
			status, _ := m.token(url.Values{"grant_type": {"client_credentials"}})
			return fmt.Sprint(status)
		})
	}()
	got := atOnce(200, func() string {
		status, _ := h.post("/oauth2/token", urlencoded, "grant_type=client_credentials", basicAuth(m.ID, "ghs_wrong"))
		return fmt.Sprint(status)
	})
	if got["401"] != 100 || got["429"] != 100 {
		t.Errorf("got %v, want a hundred tried and a hundred turned away", got)
	}
	if got := <-honest; got["200"] != 8 {
		t.Errorf("the honest client meanwhile: got %v, want 200", got)
	}
	if status, answer := m.token(url.Values{"grant_type": {"client_credentials"}}); status != 200 {
		t.Errorf("and afterwards: got %d %v, want 200", status, answer)
	}
}

// proof asks for a token by an assertion.
func (h *testServer) proof(raw string) (int, map[string]any) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {assertionType},
		"client_assertion": {raw}}
	return h.post("/oauth2/token", urlencoded, form.Encode(), nil)
}

// CA-10, CA-13, CA-15, CA-17: assertions that are built to be believed, to reach somewhere, or to
// cost.
func TestAssertionsThatAreBuilt(t *testing.T) {
	h := startServer(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a := h.keyed("acme", key, "k1")
	address, hits := canary(t)
	now := h.Clock.Now().Unix()
	good := func() map[string]any {
		return map[string]any{"iss": a.ID, "sub": a.ID, "aud": h.URL, "exp": now + 60, "iat": now, "jti": rand.Text()}
	}
	headed := func(name string, value any) string { return h.assert(key, "", good(), map[string]any{name: value}) }
	long := good()
	long["jti"] = strings.Repeat("j", 700<<10)
	mallory, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	dots := strings.Repeat(".", 1_000_000)
	start := time.Now()
	built := map[string]string{
		"CA-15, a kid that is a path": headed("kid", "../../../etc/passwd"),
		"CA-15, a kid that is SQL":    headed("kid", "' OR 1=1 --"),
		"CA-15, a kid that is a list": headed("kid", []string{"k1"}),
		"CA-15, jku":                  h.assert(mallory, "k1", good(), map[string]any{"jku": address + "/jwks"}),
		"CA-15, x5u":                  h.assert(mallory, "k1", good(), map[string]any{"x5u": address + "/x5u"}),
		"CA-15, jwk": h.assert(mallory, "k1", good(),
			map[string]any{"jwk": jose.JSONWebKey{Key: &mallory.PublicKey, KeyID: "k1"}}),
		"CA-15, crit":     headed("crit", []string{"exp"}),
		"CA-10, alg NONE": headed("alg", "NONE"), "CA-10, alg ES384": headed("alg", "ES384"),
		"CA-10, alg a list":      headed("alg", []string{"ES256"}),
		"CA-13, a jti of 700 KB": h.assert(key, "k1", long, nil),
		"CA-17, a megabyte":      strings.Repeat("a", 1_000_000), "CA-17, a million dots": dots,
		"CA-17, five parts with zip":    encode(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`) + "..AAAA.AAAA.AAAA",
		"CA-17, an empty encrypted_key": encode(`{"alg":"RSA-OAEP","enc":"A128GCM"}`) + "..AAAA.AAAA.AAAA",
		"CA-17, JSON form":              `{"payload":"e30","signatures":[]}`,
	}
	for what, raw := range built {
		status, answer := h.proof(raw)
		wantError(t, what, status, answer, 401, "invalid_client")
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests went out", hits.Load())
	}
	if took := time.Since(start); took > 20*time.Second { // of a few milliseconds each
		t.Errorf("refusing them took %s", took)
	}
	if status, answer := h.proof(h.assert(key, "k1", good(), nil)); status != 200 {
		t.Errorf("and then a good one: got %d %v, want 200", status, answer)
	}
}

// CA-10: the key decides which algorithm signs, not the assertion.
func TestTheKeyDecidesTheAlgorithm(t *testing.T) {
	h := startServer(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	initial, err := h.Server.Operator().CreateInitialToken(t.Context(),
		authserver.InitialTokenSpec{Tenant: "acme", Uses: 1, Scopes: []string{"customers:read"}})
	must(t, err)
	body, err := json.Marshal(map[string]any{
		"grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "private_key_jwt",
		"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "r1", Algorithm: "RS256"}}},
	})
	must(t, err)
	_, made := h.post("/oauth2/register", "application/json", string(body),
		http.Header{"Authorization": {"Bearer " + initial}})
	id := made["client_id"].(string)
	for algorithm, want := range map[jose.SignatureAlgorithm]int{jose.RS256: 200, jose.PS256: 401, jose.RS512: 401} {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm,
			Key: jose.JSONWebKey{Key: key, KeyID: "r1"}}, nil)
		must(t, err)
		now := h.Clock.Now().Unix()
		payload, err := json.Marshal(map[string]any{"iss": id, "sub": id, "aud": h.URL, "exp": now + 60,
			"jti": rand.Text()})
		must(t, err)
		signed, err := signer.Sign(payload)
		must(t, err)
		raw, err := signed.CompactSerialize()
		must(t, err)
		if status, answer := h.proof(raw); status != want {
			t.Errorf("%s: got %d %v, want %d", algorithm, status, answer, want)
		}
	}
}

// CA-11, CC-03: an assertion proves once, at whichever of two programs it comes, fifty times at
// once.
func TestAnAssertionProvesOnce(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *testServer{
		"embedded": func(t testing.TB) *testServer { return startServer(t) }, "two replicas": openReplicas} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			must(t, err)
			a := h.keyed("acme", key, "k1")
			now := h.Clock.Now().Unix()
			raw := h.assert(key, "k1", map[string]any{"iss": a.ID, "sub": a.ID, "aud": h.URL, "exp": now + 60,
				"jti": rand.Text()}, nil)
			got := atOnce(50, func() string {
				status, answer := h.proof(raw)
				return fmt.Sprint(status, " ", answer["error"])
			})
			if got["200 <nil>"] != 1 || got["401 invalid_client"] != 49 {
				t.Errorf("fifty at once: got %v, want one 200 and 49 times 401 invalid_client", got)
			}
		})
	}
}

// CA-16: a secret that was replaced counts as long as the operator said.
func TestASecretThatWasReplaced(t *testing.T) {
	h := startServer(t)
	m := h.machine("acme", "customers:read")
	works := func(secret string) bool {
		status, _ := h.post("/oauth2/token", urlencoded, "grant_type=client_credentials", basicAuth(m.ID, secret))
		return status == 200
	}
	first := m.Secret
	second, err := h.Server.Operator().ReplaceSecret(t.Context(),
		authserver.SecretTurn{Client: m.ID, Overlap: time.Hour})
	must(t, err)
	if !works(first) || !works(second) {
		t.Error("within the overlap not both count")
	}
	h.Clock.step(time.Hour)
	if works(first) || !works(second) {
		t.Error("after the overlap the old one counts, or the new one does not")
	}
	third, err := h.Server.Operator().ReplaceSecret(t.Context(), authserver.SecretTurn{Client: m.ID})
	must(t, err)
	if works(first) || works(second) || !works(third) {
		t.Error("without an overlap an old one counts, or the new one does not")
	}
	if client.CheckSecret(client.HashSecret(third), first) {
		t.Error("two secrets are one")
	}
}
