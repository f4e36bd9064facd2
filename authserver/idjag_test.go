package authserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

const (
	assertionGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	acmeIDP        = "https://login.acme.example"
)

// provider is an organisation's identity provider.
type provider struct {
	h      *testServer
	key    *ecdsa.PrivateKey
	issuer string
	keys   string
	n      atomic.Int64
}

// trusts makes an identity provider that the tenant trusts.
func (h *testServer) trusts(tenant, issuer string) *provider {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(h.t, err)
	keys, err := json.Marshal(
		jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	must(h.t, err)
	must(h.t, h.Server.Operator().TrustIssuer(context.Background(),
		admin.IssuerSpec{Tenant: tenant, Issuer: issuer, JWKS: string(keys)}))
	return &provider{h: h, key: key, issuer: issuer, keys: string(keys)}
}

// lets is what the provider asserts: that ann lets the client in. A change of nil leaves a claim
// away.
func (p *provider) lets(a app, changes map[string]any) string {
	now := p.h.Clock.Now().Unix()
	claims := map[string]any{
		"iss": p.issuer, "sub": "00u-ann", "aud": p.h.URL, "client_id": a.ID,
		"jti": "id-" + strconv.FormatInt(p.n.Add(1), 10), "iat": now, "exp": now + 300,
		"resource": resourceURI, "scope": "customers:read tickets:write", "email": "Ann@acme.example",
		"email_verified": true,
	}
	header := map[string]any{"typ": "oauth-id-jag+jwt", "kid": "k1"}
	for name, value := range changes {
		into := claims
		if name == "typ" || name == "kid" || name == "alg" || name == "jwk" || name == "jku" {
			into = header
		}
		if into[name] = value; value == nil {
			delete(into, name)
		}
	}
	return p.h.assert(p.key, "", claims, header)
}

func asserting(raw string, pairs ...string) url.Values {
	form := url.Values{"grant_type": {assertionGrant}, "assertion": {raw}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

// managed is an application that an organisation's administrator authorizes.
func (h *testServer) managed() app {
	h.t.Helper()
	c, secret, err := h.Server.Operator().CreateClient(context.Background(),
		admin.ClientSpec{Name: "managed", RedirectURIs: []string{callback}, Assertions: true})
	must(h.t, err)
	return app{h, c.ID, secret}
}

// EMA-01 to EMA-10: an organisation's identity provider authorizes a client for one of its people.
func TestAnIdentityProviderLetsAClientIn(t *testing.T) {
	h := startServer(t, withBilling)
	p, a := h.trusts("acme", acmeIDP), h.managed()
	raw := p.lets(a, nil)
	status, answer := a.token(asserting(raw))
	if status != 200 || answer["scope"] != "customers:read tickets:write" || answer["refresh_token"] != nil ||
		answer["id_token"] != nil {
		// EMA-09
		t.Fatalf("got %d %v", status, answer)
	}
	_, body := claims(t, answer["access_token"].(string))
	if body["sub"] != "usr_ann" || body["tenant_id"] != "acme" || body["aud"] != resourceURI ||
		body["client_id"] != a.ID {
		// EMA-07
		t.Errorf("got %v, want ann of acme", body)
	}
	status, again := a.token(asserting(raw))
	wantError(t, "the same once more", status, again, 400, "invalid_grant") // EMA-06
	h.start()
	status, again = a.token(asserting(raw))
	wantError(t, "the same after a restart", status, again, 400, "invalid_grant")

	_, answer = a.token(asserting(p.lets(a, nil), "scope", "customers:read customers:write")) // EMA-08: narrowed
	if answer["scope"] != "customers:read" {
		t.Errorf("asking for more than is asserted: got %v, want what is in both", answer)
	}
	if _, next := claims(t, answer["access_token"].(string)); next["grant_id"] != body["grant_id"] {
		t.Error("a second assertion made a second permission")
	}
	_, answer = a.token(asserting(p.lets(a, map[string]any{"scope": nil, "resource": billingURI})))
	if _, next := claims(t, answer["access_token"].(string)); next["aud"] != billingURI ||
		next["scope"] != "customers:read" {
		t.Errorf("without scopes: got %v, want the baseline of the resource that is asserted", next)
	}

	now := h.Clock.Now().Unix()
	for what, changes := range map[string]map[string]any{
		"an id token": {"typ": "JWT"}, "no type": {"typ": nil}, "an access token's type": {"typ": "at+jwt"}, // EMA-02
		"another server's":   {"aud": "https://other.example"},      // EMA-03
		"ours and another":   {"aud": []string{h.URL, "https://x"}}, // EMA-03
		"the token endpoint": {"aud": h.URL + "/oauth2/token"},
		"another client's":   {"client_id": "cli_other"}, // EMA-04
		"no client's":        {"client_id": nil},
		// EMA-05
		"an issuer nobody knows":    {"iss": "https://login.evil.example"},
		"a near miss of the issuer": {"iss": acmeIDP + "/"},
		"nobody":                    {"sub": nil}, "expired": {"iat": now - 400, "exp": now - 100},
		"without end":     {"exp": nil},
		"for a year":      {"exp": now + 31_536_000},
		"from the future": {"iat": now + 3600, "exp": now + 3900}, "without a beginning": {"iat": nil},
		"without an id": {"jti": nil}, "an endless id": {"jti": strings.Repeat("x", 1000)},
		// EMA-07
		"a foreign resource": {"resource": "https://evil.example/mcp"}, "this issuer as resource": {"resource": h.URL},
		"no resource at all": {"resource": "mcp"},
		// EMA-01
		"an unknown key": {"kid": "k2"}, "no signature": {"alg": "none"}, "another algorithm": {"alg": "RS256"},
		"a stranger":       {"sub": "00u-x", "email": "mallory@evil.example"},
		"nobody's address": {"sub": "00u-x", "email": nil},
		// LG-19
		"an address that is not verified":    {"sub": "00u-x", "email_verified": false},
		"an address of which nobody says so": {"sub": "00u-x", "email_verified": nil},
		"another organisation's member":      {"sub": "00u-bob", "email": "bob@globex.example"},
	} {
		status, answer := a.token(asserting(p.lets(a, changes)))
		wantError(t, what, status, answer, 400, "invalid_grant")
		if why, _ := answer["error_description"].(string); what == "another organisation's member" &&
			!strings.Contains(why, "has no account in this organisation") {
			t.Errorf("%s: got %q, want that they have no account in this organisation", what, why)
		}
	}
	good := p.lets(a, nil)
	parts := strings.Split(good, ".")
	for what, form := range map[string]url.Values{
		"bent":     asserting(parts[0] + "." + parts[1] + ".AAAA"),
		"unsigned": asserting(encode(`{"alg":"none","typ":"oauth-id-jag+jwt"}`) + "." + parts[1] + "."),
		"endless":  asserting(strings.Repeat("a.", 50_000)),
	} {
		status, answer := a.token(form)
		wantError(t, what, status, answer, 400, "invalid_grant")
	}
	status, answer = a.token(asserting(""))
	wantError(t, "nothing", status, answer, 400, "invalid_request")
	status, answer = a.token(asserting(good, "resource", billingURI))
	wantError(t, "asking at another resource", status, answer, 400, "invalid_target")
	status, answer = a.token(asserting(good, "scope", "customers:write"))
	wantError(t, "asking for nothing that is asserted", status, answer, 400, "invalid_scope")
	if status, answer = a.token(asserting(good)); status != 200 {
		t.Errorf("what was refused is used up: got %d %v", status, answer)
	}
	if h.Log.Contains(parts[1]) { // EMA-10
		t.Error("the log holds an assertion")
	}
}

// EMA-04, CC-02: only clients that prove who they are, and that are known for it.
func TestWhoMayBeLetInByAssertion(t *testing.T) {
	h := startServer(t)
	p := h.trusts("acme", acmeIDP)
	// clients name it and prove nothing: dropped
	public := h.register(map[string]any{"grant_types": []string{"authorization_code", assertionGrant}})
	status, answer := public.token(asserting(p.lets(public, nil)))
	wantError(t, "a client that proves nothing", status, answer, 400, "unauthorized_client")
	secretive := h.register(map[string]any{"grant_types": []string{"authorization_code", assertionGrant},
		"token_endpoint_auth_method": "client_secret_post"})
	if status, answer = secretive.token(asserting(p.lets(secretive, nil))); status != 200 {
		t.Errorf("a client that registered with a secret: got %d %v", status, answer)
	}
	other := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"})
	status, answer = other.token(asserting(p.lets(other, nil)))
	wantError(t, "a client that is not known for it", status, answer, 400, "unauthorized_client")
	unauthenticated := app{h: h, ID: secretive.ID}
	status, answer = unauthenticated.token(asserting(p.lets(secretive, nil)))
	wantError(t, "without its secret", status, answer, 401, "invalid_client")
	body := `{"grant_types":["` + assertionGrant + `"],"token_endpoint_auth_method":"none"}`
	status, answer = h.post("/oauth2/register", "application/json", body, nil)
	wantError(t, "registering for that alone, with no proof", status, answer, 400, "invalid_client_metadata")
}

// EMA-06: of one assertion many times at once, one counts.
func TestAnAssertionCountsOnce(t *testing.T) {
	h := startServer(t)
	p, a := h.trusts("acme", acmeIDP), h.managed()
	raw := p.lets(a, nil)
	var wg sync.WaitGroup
	var wins atomic.Int64
	for range 30 {
		wg.Go(func() {
			if status, answer := a.token(asserting(raw)); status == 200 {
				wins.Add(1)
			} else if status != 400 || answer["error"] != "invalid_grant" {
				t.Errorf("a loser: got %d %v", status, answer)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("it counted %d times, want once", wins.Load())
	}
}

// EMA-12, LG-19: a subject stays who it was, an issuer speaks for one tenant, and nobody is merged
// by an address.
func TestSubjectsStayWhoTheyAre(t *testing.T) {
	h := startServer(t)
	acme, globex, a := h.trusts("acme", acmeIDP), h.trusts("globex", "https://login.globex.example"), h.managed()
	who := func(p *provider, changes map[string]any) (string, string) {
		t.Helper()
		status, answer := a.token(asserting(p.lets(a, changes)))
		if status != 200 {
			return "", answer["error"].(string)
		}
		_, body := claims(t, answer["access_token"].(string))
		return body["sub"].(string), body["tenant_id"].(string)
	}
	if sub, tenant := who(acme, nil); sub != "usr_ann" || tenant != "acme" {
		t.Errorf("ann at first: got %s of %s", sub, tenant)
	}
	if sub, _ := who(acme, map[string]any{"email": "carol@both.example"}); sub != "usr_ann" {
		t.Errorf("ann with another's address: got %s, want ann", sub)
	}
	if sub, _ := who(acme, map[string]any{"email": nil}); sub != "usr_ann" {
		t.Errorf("ann without an address: got %s, want ann", sub)
	}
	if sub, tenant := who(globex, nil); sub != "" || tenant != "invalid_grant" {
		t.Errorf("ann by another organisation's provider: got %s of %s, want nobody", sub, tenant)
	}
	carol := map[string]any{"sub": "carol", "email": "carol@both.example"}
	for _, p := range []*provider{acme, globex} { // a member of both is authorized by each for its own
		if sub, tenant := who(p, carol); sub != "usr_carol" || !strings.Contains(p.issuer, tenant) {
			t.Errorf("carol by %s: got %s of %s", p.issuer, sub, tenant)
		}
	}
	if err := h.Server.Operator().TrustIssuer(t.Context(), admin.IssuerSpec{Tenant: "globex", Issuer: acmeIDP,
		JWKSURI: "https://login.acme.example/keys"}); err == nil {
		t.Error("an issuer speaks for two tenants")
	}
	must(t, h.Store.PutRole(t.Context(),
		user.Role{TenantID: "acme", Name: "member", Scopes: []string{"customers:write"}}))
	if sub, refused := who(acme, nil); sub != "" || refused != "invalid_scope" {
		// RT-11: the role allows nothing of it any more
		t.Errorf("after the role lost it: got %s %s", sub, refused)
	}
}

// Two subjects of one provider are two people, also when one has inherited the other's address
// (nOAuth); and a client of one tenant is authorized for no other.
func TestAnAddressIsNobody(t *testing.T) {
	h := startServer(t)
	p, a := h.trusts("acme", acmeIDP), h.managed()
	if status, answer := a.token(asserting(p.lets(a, nil))); status != 200 {
		t.Fatal(answer)
	}
	status, answer := a.token(asserting(p.lets(a, map[string]any{"sub": "00u-mallory"})))
	wantError(t, "another subject with ann's address", status, answer, 400, "invalid_grant")
	token, err := h.Server.Operator().CreateInitialToken(t.Context(), admin.InitialTokenSpec{Tenant: "acme"})
	must(t, err)
	status, made := h.post("/oauth2/register", "application/json", `{"grant_types":["`+assertionGrant+
		`"],"token_endpoint_auth_method":"client_secret_basic"}`,
		map[string][]string{"Authorization": {"Bearer " + token}})
	if status != 201 {
		t.Fatal(made)
	}
	of := app{h, made["client_id"].(string), made["client_secret"].(string)}
	globex := h.trusts("globex", "https://login.globex.example")
	status, answer = of.token(asserting(globex.lets(of, map[string]any{"sub": "bob", "email": "bob@globex.example"})))
	wantError(t, "a client of acme by globex's provider", status, answer, 400, "invalid_grant")
	must(t, h.Server.Operator().TrustIssuer(t.Context(), admin.IssuerSpec{Tenant: "globex", Issuer: globex.issuer,
		JWKS: globex.keys, VerifiedEmails: true}))
	if status, answer = a.token(
		asserting(globex.lets(a, map[string]any{"sub": "bob", "email": "bob@globex.example",
			"email_verified": nil}))); status != 200 {
		t.Errorf("a provider whose addresses are all verified: got %d %v", status, answer)
	}
}

// Two providers of one tenant make two permissions: the end of the trust in one leaves nothing of
// its own, and what was cut short can be finished.
func TestTheEndOfTrustIsWhole(t *testing.T) {
	h := startServer(t)
	a := h.managed()
	x, y := h.trusts("acme", acmeIDP), h.trusts("acme", "https://other.acme.example")
	grantOf := func(p *provider) string {
		status, answer := a.token(asserting(p.lets(a, nil)))
		if status != 200 {
			t.Fatal(answer)
		}
		_, body := claims(t, answer["access_token"].(string))
		return body["grant_id"].(string)
	}
	ended := func(id string) bool {
		over, err := h.List.Ended(t.Context(), id)
		must(t, err)
		return over
	}
	first, second := grantOf(x), grantOf(y)
	must(t, h.Server.Operator().DistrustIssuer(t.Context(), acmeIDP))
	if !ended(first) || ended(second) {
		t.Errorf("after the end of the trust in one: ended %v and %v, want the one alone", ended(first), ended(second))
	}
	must(t, h.Store.DeleteIssuer(t.Context(), y.issuer)) // as far as it came before something broke
	must(t, h.Server.Operator().DistrustIssuer(t.Context(), y.issuer))
	if !ended(second) {
		t.Error("what was cut short was not finished")
	}
	if h.Server.Operator().DistrustIssuer(t.Context(), y.issuer) == nil {
		t.Error("an issuer that nobody trusts: got nil, want a refusal")
	}
}

// Many first assertions at once wait for the one fetch of the keys.
func TestKeysAreFetchedOnceForAllWhoWait(t *testing.T) {
	site := newPublisher(t)
	h := startServer(t)
	h.documents = site.fetcher
	h.start()
	p, a := h.trusts("acme", acmeIDP), h.managed()
	site.publish("keys", []jose.JSONWebKey{{Key: &p.key.PublicKey, KeyID: "k1"}})
	must(t, h.Server.Operator().TrustIssuer(t.Context(),
		admin.IssuerSpec{Tenant: "acme", Issuer: acmeIDP, JWKSURI: "https://example.com/keys"}))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if status, answer := a.token(asserting(p.lets(a, nil))); status != 200 {
				t.Errorf("got %d %v", status, answer)
			}
		})
	}
	wg.Wait()
	if n := site.fetched(); n != 1 {
		t.Errorf("fetched %d times, want once", n)
	}
}

// What ends such a permission, and what begins it anew.
func TestTheEndOfAnAssertedPermission(t *testing.T) {
	h := startServer(t)
	p, a := h.trusts("acme", acmeIDP), h.managed()
	before := p.lets(a, nil)
	status, answer := a.token(asserting(p.lets(a, nil)))
	if status != 200 {
		t.Fatal(answer)
	}
	ann := h.person("ann@acme.example")
	at := ann.open("/agents")
	at = ann.submit(at, url.Values{"email": {ann.email}, "password": {password}})
	if !strings.Contains(at.body, "managed") {
		t.Error("ann does not see the agent")
	}
	ann.submit(at, nil)
	status, answer = a.token(asserting(before))
	wantError(t, "an assertion of before the end", status, answer, 400, "invalid_grant")
	h.Clock.step(2 * time.Second)
	status, answer = a.token(asserting(p.lets(a, nil)))
	if status != 200 {
		t.Fatalf("an assertion of after the end: got %d %v", status, answer)
	}
	_, body := claims(t, answer["access_token"].(string))
	must(t, h.Server.Operator().DistrustIssuer(t.Context(), acmeIDP))
	if ended, err := h.List.Ended(t.Context(), body["grant_id"].(string)); err != nil || !ended {
		t.Errorf("after the end of the trust: got %v %v, want the permission on the list", ended, err)
	}
	status, answer = a.token(asserting(p.lets(a, nil)))
	wantError(t, "an issuer that is trusted no more", status, answer, 400, "invalid_grant")
}

// EMA-01: the keys are where the operator says, fetched with every caution.
func TestKeysOfATrustedIssuer(t *testing.T) {
	site := newPublisher(t)
	// what strangers name is not fetched; what the operator names is
	h := startServer(t, func(c *authserverConfig) { c.RefuseClientMetadataDocuments = true })
	h.documents = site.fetcher
	h.start()
	p, a := h.trusts("acme", acmeIDP), h.managed()
	site.publish("keys", []jose.JSONWebKey{{Key: &p.key.PublicKey, KeyID: "k1"}})
	must(t, h.Server.Operator().TrustIssuer(t.Context(),
		admin.IssuerSpec{Tenant: "acme", Issuer: acmeIDP, JWKSURI: "https://example.com/keys"}))
	for range 3 {
		if status, answer := a.token(asserting(p.lets(a, nil))); status != 200 {
			t.Fatalf("got %d %v", status, answer)
		}
	}
	if n := site.fetched(); n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
	for name, s := range map[string]admin.IssuerSpec{
		"plain http":        {Tenant: "acme", Issuer: "http://login.acme.example", JWKSURI: "https://x.example/k"},
		"no keys":           {Tenant: "acme", Issuer: acmeIDP},
		"keys twice":        {Tenant: "acme", Issuer: acmeIDP, JWKSURI: "https://x.example/k", JWKS: "{}"},
		"keys in the clear": {Tenant: "acme", Issuer: acmeIDP, JWKSURI: "http://x.example/k"},
		"no such tenant":    {Tenant: "none", Issuer: acmeIDP, JWKSURI: "https://x.example/k"},
		"no key":            {Tenant: "acme", Issuer: acmeIDP, JWKS: `{"keys":[]}`},
	} {
		if h.Server.Operator().TrustIssuer(t.Context(), s) == nil {
			t.Errorf("%s: got nil, want a refusal", name)
		}
	}
}
