package authserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
)

// keyed makes a tenant's machine client that authenticates with a key.
func (h *testServer) keyed(tenantID string, key *ecdsa.PrivateKey, kid string) app {
	h.t.Helper()
	initial, err := h.Server.Operator().CreateInitialToken(context.Background(),
		authserver.InitialTokenSpec{Tenant: tenantID, Uses: 1, Scopes: []string{"customers:read"}})
	must(h.t, err)
	body, err := json.Marshal(map[string]any{
		"grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "private_key_jwt",
		"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: kid, Use: "sig"}}},
	})
	must(h.t, err)
	status, made := h.post("/oauth2/register", "application/json", string(body),
		map[string][]string{"Authorization": {"Bearer " + initial}})
	if status != 201 || made["client_secret"] != nil || made["jwks"] == nil {
		h.t.Fatalf("registering with a key: got %d %v", status, made)
	}
	return app{h: h, ID: made["client_id"].(string)}
}

// assert signs an assertion with ES256.
func (h *testServer) assert(key *ecdsa.PrivateKey, kid string, claims, header map[string]any) string {
	h.t.Helper()
	head := map[string]any{"alg": "ES256"}
	if kid != "" {
		head["kid"] = kid
	}
	for name, value := range header {
		head[name] = value
	}
	first, err := json.Marshal(head)
	must(h.t, err)
	second, err := json.Marshal(claims)
	must(h.t, err)
	return h.assertText(key, string(first), string(second))
}

// assertText signs an assertion with ES256, of a header and claims as they are written.
func (h *testServer) assertText(key *ecdsa.PrivateKey, header, claims string) string {
	h.t.Helper()
	input := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	must(h.t, err)
	var raw [64]byte
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return input + "." + encode(string(raw[:]))
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// hs256 is what somebody makes who takes a public key for a shared secret.
func hs256(secret []byte, id, audience string, now int64) string {
	input := encode(`{"alg":"HS256","kid":"k1"}`) + "." + encode(`{"iss":"`+id+`","sub":"`+id+`","aud":"`+audience+
		`","jti":"x","exp":`+strconv.FormatInt(now+60, 10)+`}`)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encode(string(mac.Sum(nil)))
}

// DR-07: keys that a client may not register.
func TestKeysThatCannotBeRegistered(t *testing.T) {
	h := startServer(t)
	const good = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",` +
		`"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"1"}`
	for name, keys := range map[string]string{
		"none": ``, "both": `"jwks":{"keys":[` + good + `]},"jwks_uri":"https://app.example/jwks"`,
		"no keys": `"jwks":{"keys":[]}`, "a secret": `"jwks":{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`,
		"a private key": `"jwks":{"keys":[` + strings.Replace(good, `"kid"`,
			`"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI","kid"`, 1) + `]}`,
		"two hundred":       `"jwks":{"keys":[` + strings.Repeat(good+",", 199) + good + `]}`,
		"plain http":        `"jwks_uri":"http://app.example/jwks"`,
		"an address inside": `"jwks_uri":"https://u:p@app.example/jwks"`,
		"rubbish":           `"jwks":"x"`,
	} {
		if keys != "" {
			keys = "," + keys
		}
		status, answer := h.post("/oauth2/register", "application/json",
			`{"redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"private_key_jwt"`+keys+`}`, nil)
		wantError(t, name, status, answer, 400, "invalid_client_metadata")
	}
	if status, answer := h.post("/oauth2/register", "application/json",
		`{"redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[`+good+`]}}`,
		nil); status != 201 {
		t.Errorf("a good key: got %d %v, want 201", status, answer)
	}
}

// AS-39: a document that asks for private_key_jwt has its client held to it, with the keys that its
// address has; they are fetched once in a while.
func TestADocumentWithKeys(t *testing.T) {
	p := newPublisher(t)
	h := startServer(t)
	h.documents = p.fetcher
	h.start()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p.publish("token_endpoint_auth_method", "private_key_jwt")
	p.publish("jwks_uri", "https://example.com/jwks.json")
	// the publisher serves one document for both addresses
	p.publish("keys", []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1"}})
	ann := h.person("ann@acme.example")
	a := app{h: h, ID: documentURL}
	code := a.code(ann, "customers:read")
	status, answer := a.token(redemption(code))
	wantError(t, "without proof", status, answer, 401, "invalid_client")
	prove := func(kid, audience string) url.Values {
		now := h.Clock.Now().Unix()
		form := redemption(code)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion",
			h.assert(key, kid, map[string]any{"iss": documentURL, "sub": documentURL, "aud": audience, "exp": now + 60,
				"jti": rand.Text()}, nil))
		return form
	}
	before := p.fetched()
	for range 5 {
		status, answer = h.post("/oauth2/token", "application/x-www-form-urlencoded",
			prove("unknown", h.URL).Encode(), nil)
		wantError(t, "with an unknown key", status, answer, 401, "invalid_client")
	}
	if status, answer = h.post("/oauth2/token", "application/x-www-form-urlencoded", prove("k1", h.URL).Encode(),
		nil); status != 200 {
		t.Errorf("with proof: got %d %v, want 200", status, answer)
	}
	// CA-12: an issuer that means ill can have an assertion made for our token endpoint, but none
	// for our issuer (RFC 10070 §1).
	code = a.code(ann, "customers:read")
	for _, audience := range []string{h.URL + "/", h.URL + "/oauth2", h.URL + "/oauth2/token", h.URL + "/oauth2/par",
		"https://evil.example/oauth2/token", ""} {
		status, answer = h.post("/oauth2/token", "application/x-www-form-urlencoded",
			prove("k1", audience).Encode(), nil)
		wantError(t, "addressed to "+audience, status, answer, 401, "invalid_client")
	}
	if n := p.fetched() - before; n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
}

// CM-14, CM-17, CA-16: a key that a client has withdrawn from its address stops proving it within
// minutes; one that is out of reach serves a day, no longer.
func TestAKeyThatWasWithdrawn(t *testing.T) {
	h, p := withPublisher(t)
	old, next := newKey(t), newKey(t)
	p.publish("keys", []jose.JSONWebKey{{Key: &old.PublicKey, KeyID: "old"}})
	c := client.Client{
		ID: client.NewID(), TenantID: "acme", GrantTypes: []string{client.GrantCredentials}, AuthMethod: client.AuthKey,
		JWKSURI: "https://example.com/jwks.json", Scopes: []string{"customers:read"},
		Origin: "operator", CreatedAt: h.Clock.Now(),
	}
	must(t, h.Store.CreateClient(t.Context(), c))
	proves := func(key *ecdsa.PrivateKey, kid string) bool {
		now := h.Clock.Now().Unix()
		status, _ := h.proof(h.assert(key, kid, map[string]any{"iss": c.ID, "sub": c.ID, "aud": h.URL, "exp": now + 60,
			"jti": rand.Text()}, nil))
		return status == 200
	}
	if !proves(old, "old") {
		t.Fatal("the first key proves nothing")
	}
	p.publish("keys", []jose.JSONWebKey{{Key: &next.PublicKey, KeyID: "next"}})
	h.Clock.step(5 * time.Minute)
	if proves(old, "old") || !proves(next, "next") {
		t.Error("after five minutes the withdrawn key proves, or the new one does not")
	}
	p.mu.Lock()
	p.status = 500
	p.mu.Unlock()
	h.Clock.step(23 * time.Hour)
	if !proves(next, "next") {
		t.Error("while the address does not answer: the key that it had does not prove")
	}
	h.Clock.step(time.Hour)
	if proves(next, "next") {
		t.Error("a day later it still proves")
	}
}

// CM-16, CM-17: anyone who has a thousand clients with an address each makes us call sixty of them
// in a minute.
func TestAThousandAddressesOfKeys(t *testing.T) {
	h, p := withPublisher(t)
	key := newKey(t)
	var dials atomic.Int64
	p.fetcher.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		dials.Add(1)
		return nil, errors.New("nobody there")
	}
	for i := range 200 {
		c := client.Client{
			ID: client.NewID(), GrantTypes: []string{client.GrantCode}, RedirectURIs: []string{callback},
			AuthMethod: client.AuthKey, JWKSURI: fmt.Sprintf("https://h%d.example/jwks", i),
			Origin: "registration", CreatedAt: h.Clock.Now(),
		}
		must(t, h.Store.CreateClient(t.Context(), c))
		now := h.Clock.Now().Unix()
		if status, answer := h.proof(h.assert(key, "k", map[string]any{"iss": c.ID, "sub": c.ID, "aud": h.URL,
			"exp": now + 60, "jti": rand.Text()}, nil)); status != 401 && status != 429 {
			t.Fatalf("got %d %v", status, answer)
		}
	}
	if dials.Load() != 60 {
		t.Errorf("%d calls went out, want 60", dials.Load())
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

// A client whose signature holds is told what else is wrong with its assertion; who has not the key
// is told nothing.
func TestAnAssertionWithAGoodSignatureIsToldWhatIsWrong(t *testing.T) {
	h := startServer(t)
	key, other := newKey(t), newKey(t)
	a := h.keyed("acme", key, "k1")
	now := h.Clock.Now().Unix()
	sign := func(k *ecdsa.PrivateKey, changes map[string]any) string {
		claims := map[string]any{"iss": a.ID, "sub": a.ID, "aud": h.URL, "exp": now + 60, "iat": now,
			"jti": rand.Text()}
		for name, v := range changes {
			if v == nil {
				delete(claims, name)
				continue
			}
			claims[name] = v
		}
		return h.assert(k, "k1", claims, map[string]any{"typ": "JWT"})
	}
	ask := func(raw string) (int, string) {
		status, answer := h.post("/oauth2/token", "application/x-www-form-urlencoded", url.Values{
			"grant_type": {"client_credentials"}, "client_assertion": {raw},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}.Encode(), nil)
		why, _ := answer["error_description"].(string)
		if status == 200 {
			return status, ""
		}
		if answer["error"] != "invalid_client" {
			t.Errorf("got %d %v", status, answer)
		}
		return status, why
	}
	const generic = "the client is unknown, or its proof is missing or wrong"
	for _, row := range []struct {
		what    string
		changes map[string]any
		want    string
	}{
		{"the token endpoint as audience", map[string]any{"aud": h.URL + "/oauth2/token"}, "aud must be " + h.URL},
		{"two audiences", map[string]any{"aud": []string{h.URL, "https://other.example"}}, "aud must be " + h.URL},
		{"no audience", map[string]any{"aud": nil}, "aud must be " + h.URL},
		{"an hour ahead", map[string]any{"exp": now + 3600}, "exp is 1h0m0s ahead; it may be 5m0s ahead at most"},
		{"expired", map[string]any{"exp": now - 90, "iat": now - 150}, "exp is 1m30s ago"},
		{"without exp", map[string]any{"exp": nil}, "exp is missing"},
		{"from the future", map[string]any{"iat": now + 120, "exp": now + 180}, "iat is 2m0s ahead"},
		{"not yet", map[string]any{"nbf": now + 120, "exp": now + 180}, "nbf is 2m0s ahead"},
		{"without jti", map[string]any{"jti": nil}, "jti is missing"},
		{"an endless jti", map[string]any{"jti": strings.Repeat("x", 300)}, "jti is longer than"},
		{"of another", map[string]any{"iss": "cli_other"}, "iss and sub must both be the client_id"},
		{"of a wrong type", map[string]any{"exp": "soon"}, "wrong type"},
	} {
		if status, why := ask(sign(key, row.changes)); status != 401 || !strings.Contains(why, row.want) ||
			!strings.Contains(why, "signature of the client assertion holds") {
			t.Errorf("%s: got %d %q, want %q", row.what, status, why, row.want)
		}
		if status, why := ask(sign(other, row.changes)); status != 401 || !strings.Contains(why, generic) ||
			strings.Contains(why, "holds") {
			t.Errorf("%s, with another's key: got %d %q, want %q", row.what, status, why, generic)
		}
	}
	good := sign(key, nil)
	if status, why := ask(good); status != 200 {
		t.Fatalf("a good one: got %d %q", status, why)
	}
	if status, why := ask(good); status != 401 || !strings.Contains(why, "jti was used before") {
		t.Errorf("once more: got %d %q, want that its jti was used", status, why)
	}
}
