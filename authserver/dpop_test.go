package authserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop/dpoptest"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// prover is a client that proves a key of its own.
type prover struct {
	app
	key   *dpoptest.Key
	nonce string
}

// prover gives the client a key, and a nonce of the issuer's.
func (a app) prover() *prover {
	a.h.t.Helper()
	p := &prover{app: a, key: dpoptest.NewKey(a.h.t, "ES256")}
	p.key.Now = a.h.Clock.Now
	p.freshen()
	return p
}

// nonceRequired is the stricter setting.
func nonceRequired(c *authserver.Config) { c.DPoPNonce = dpop.NonceRequired }

// By default a nonce is offered, honoured and not demanded: a client that knows of none gets its
// token, within five minutes of its clock.
func TestAClientWithoutNoncesGetsItsToken(t *testing.T) {
	h := startServer(t)
	m := h.machine("acme", "customers:read").prover()
	form := url.Values{"grant_type": {"client_credentials"}}
	at := func(off time.Duration) string {
		return m.key.Proof("POST", h.URL+"/oauth2/token", dpoptest.Claim("iat", h.Clock.Now().Add(off).Unix()))
	}
	h.Clock.step(10 * time.Minute) // what is made before the process began is refused
	for off, want := range map[time.Duration]int{-5 * time.Minute: 200, 0: 200, 5 * time.Minute: 200,
		-5*time.Minute - time.Second: 400, 5*time.Minute + time.Second: 400} {
		proof := at(off)
		status, answer, header := m.send("/oauth2/token", form, proof)
		if status != want || header.Get(dpop.NonceHeader) == "" && want == 200 {
			t.Errorf("iat %s off: got %d %v with nonce %q, want %d and a nonce offered", off, status, answer,
				header.Get(dpop.NonceHeader), want)
		}
		for range 2 {
			status, answer, _ := m.send("/oauth2/token", form, proof)
			wantError(t, "again", status, answer, 400, "invalid_dpop_proof")
		}
	}
	late := at(5 * time.Minute)
	if status, answer, _ := m.send("/oauth2/token", form, late); status != 200 {
		t.Fatalf("made ahead: got %d %v", status, answer)
	}
	for range 10 { // it is remembered for as long as it could be believed
		status, answer, _ := m.send("/oauth2/token", form, late)
		wantError(t, "made ahead, again", status, answer, 400, "invalid_dpop_proof")
		h.Clock.step(time.Minute)
	}
	for what, setting := range map[string]string{"a typing error": "requird", "capitals": "Optional"} {
		if err := (authserverConfig{Issuer: "https://auth.example", Database: "sqlite:x",
			DPoPNonce: setting}).Check(); err == nil || !strings.Contains(err.Error(), "dpop-nonce") {
			t.Errorf("%s: got %v, want an error that names the setting", what, err)
		}
	}
}

// other is the same client with another key.
func (p *prover) other() *prover { return p.app.prover() }

// freshen learns the newest nonce, as a client does that has none.
func (p *prover) freshen() {
	p.h.t.Helper()
	p.nonce = ""
	_, _, header := p.send("/oauth2/token", refreshment("x"), p.key.Proof("POST", p.h.URL+"/oauth2/token"))
	if p.nonce = header.Get(dpop.NonceHeader); p.nonce == "" {
		p.h.t.Fatal("the answer names no nonce")
	}
}

// proof is a good proof for an endpoint, bent by options.
func (p *prover) proof(path string, options ...dpoptest.Option) string {
	return p.key.Proof("POST", p.h.URL+path, append([]dpoptest.Option{dpoptest.Claim("nonce", p.nonce)}, options...)...)
}

// send sends a form with DPoP headers.
func (p *prover) send(path string, form url.Values, proofs ...string) (int, map[string]any, http.Header) {
	p.h.t.Helper()
	form, header := clone(form), http.Header{}
	if p.Secret == "" {
		form.Set("client_id", p.ID)
	} else {
		header = basicAuth(p.ID, p.Secret)
	}
	for _, proof := range proofs {
		header.Add(dpop.Header, proof)
	}
	r := p.h.do(http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode(), header)
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	must(p.h.t, err)
	answer := map[string]any{}
	must(p.h.t, json.Unmarshal(raw, &answer))
	p.h.explained(answer)
	return r.StatusCode, answer, r.Header
}

// token asks the token endpoint with a good proof.
func (p *prover) token(form url.Values) (int, map[string]any) {
	p.h.t.Helper()
	status, answer, _ := p.send("/oauth2/token", form, p.proof("/oauth2/token"))
	return status, answer
}

// bound gets the first tokens of a grant of ann's, bound to the key.
func (p *prover) bound(ann *person) (access, refresh string) {
	p.h.t.Helper()
	status, answer := p.token(redemption(p.code(ann, "customers:read")))
	if status != 200 {
		p.h.t.Fatalf("redeeming with a proof: got %d %v, want 200", status, answer)
	}
	p.want(answer)
	return answer["access_token"].(string), answer["refresh_token"].(string)
}

// want fails unless an answer's token is bound to the key.
func (p *prover) want(answer map[string]any) {
	p.h.t.Helper()
	_, body := claims(p.h.t, answer["access_token"].(string))
	if cnf, _ := body["cnf"].(map[string]any); answer["token_type"] != "DPoP" || cnf["jkt"] != p.key.JKT() {
		p.h.t.Errorf("got a %v token with cnf %v, want DPoP and the key's thumbprint", answer["token_type"], cnf)
	}
}

// RFC 9449 §5, §6.1: with a proof, tokens are bound to its key, whatever the grant; without, all is
// as ever.
func TestTokensAreBoundToAKey(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	p := h.register(map[string]any{}).prover()
	_, refresh := p.bound(ann)
	for range 3 {
		status, answer := p.token(refreshment(refresh))
		if status != 200 {
			t.Fatalf("renewing: got %d %v", status, answer)
		}
		p.want(answer)
		refresh = answer["refresh_token"].(string)
	}

	d := h.device().prover()
	deviceCode, userCode, _ := d.begin("customers:read")
	waiting := d.proof("/oauth2/token")
	status, answer, _ := d.send("/oauth2/token", polling(deviceCode), waiting)
	wantError(t, "a device that waits", status, answer, 400, "authorization_pending")
	ann.submit(ann.atDevice("/device?user_code="+userCode), url.Values{"decision": {"approve"}})
	status, answer, _ = d.send("/oauth2/token", polling(deviceCode), waiting) // what came to nothing used nothing up
	if status != 200 {
		t.Fatalf("a device: got %d %v", status, answer)
	}
	d.want(answer)
	refresh = answer["refresh_token"].(string)
	status, answer = d.other().token(refreshment(refresh))
	wantError(t, "a device's refresh token with another key", status, answer, 400, "invalid_grant")

	m := h.machine("acme", "customers:read").prover()
	if status, answer = m.token(url.Values{"grant_type": {"client_credentials"}}); status != 200 {
		t.Fatalf("a machine: got %d %v", status, answer)
	}
	m.want(answer)
	// RFC 9449 §6.2
	_, seen, _ := m.send("/oauth2/introspect", url.Values{"token": {answer["access_token"].(string)}})
	if cnf, _ := seen["cnf"].(map[string]any); seen["active"] != true || seen["token_type"] != "DPoP" ||
		cnf["jkt"] != m.key.JKT() {
		t.Errorf("introspection: got %v, want it bound", seen)
	}

	status, answer = m.app.token(url.Values{"grant_type": {"client_credentials"}})
	if _, body := claims(t, answer["access_token"].(string)); status != 200 || answer["token_type"] != "Bearer" ||
		body["cnf"] != nil {
		t.Errorf("without a proof: got %d %v with cnf %v, want a Bearer token", status, answer["token_type"],
			body["cnf"])
	}
	_, seen, _ = m.send("/oauth2/introspect", url.Values{"token": {answer["access_token"].(string)}})
	if seen["token_type"] != "Bearer" || seen["cnf"] != nil {
		t.Errorf("introspection of a Bearer token: got %v", seen)
	}
}

// DP-02: a proof that does not hold is refused, and neither the refresh token nor the code is used
// up.
func TestDP02ProofsThatDoNotHold(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	p := h.register(map[string]any{}).prover()
	_, refresh := p.bound(ann)
	code, now := p.code(ann, "customers:read"), h.Clock.Now().Unix()
	for what, o := range map[string]dpoptest.Option{
		"wrong htm": dpoptest.Claim("htm", "GET"), "wrong htu": dpoptest.Claim("htu", h.URL+"/oauth2/par"),
		"another server's htu": dpoptest.Claim("htu", "https://evil.example/oauth2/token"),
		"old":                  dpoptest.Claim("iat", now-3600), "of the future": dpoptest.Claim("iat", now+3600),
		"no jti": dpoptest.Claim("jti", nil), "alg none": dpoptest.Header("alg", "none"),
		"alg HS256":            dpoptest.Header("alg", "HS256"),
		"a private key in jwk": dpoptest.Header("jwk", p.key.PrivateJWK()), "typ missing": dpoptest.Header("typ", nil),
		"an access token's typ": dpoptest.Header("typ", "at+jwt"),
		"another's jwk":         dpoptest.Header("jwk", p.other().key.JWK()),
	} {
		for grant, form := range map[string]url.Values{"refresh": refreshment(refresh), "code": redemption(code)} {
			status, answer, _ := p.send("/oauth2/token", form, p.proof("/oauth2/token", o))
			wantError(t, what+", "+grant, status, answer, 400, "invalid_dpop_proof")
		}
	}
	status, answer, _ := p.send("/oauth2/token", refreshment(refresh), p.proof("/oauth2/token"),
		p.proof("/oauth2/token"))
	wantError(t, "two DPoP headers", status, answer, 400, "invalid_dpop_proof")
	status, answer, _ = p.send("/oauth2/token", refreshment(refresh), "")
	wantError(t, "an empty one", status, answer, 400, "invalid_dpop_proof")

	once := p.proof("/oauth2/token")
	if status, answer, _ = p.send("/oauth2/token", refreshment(refresh), once); status != 200 {
		t.Fatalf("a good one: got %d %v", status, answer)
	}
	refresh = answer["refresh_token"].(string)
	status, answer, _ = p.send("/oauth2/token", refreshment(refresh), once)
	wantError(t, "replayed", status, answer, 400, "invalid_dpop_proof")
	if status, answer = p.token(refreshment(refresh)); status != 200 {
		t.Errorf("and then with another: got %d %v, want 200", status, answer)
	}
	if status, answer = p.token(redemption(code)); status != 200 {
		t.Errorf("the code, after all that: got %d %v, want 200", status, answer)
	}
}

// DP-02: of fifty who bring the same proof at once, one gets a token.
func TestDP02OneWinner(t *testing.T) {
	h := startServer(t)
	m := h.machine("acme", "customers:read").prover()
	once := m.proof("/oauth2/token")
	var wins atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			switch status, answer, _ := m.send("/oauth2/token", url.Values{"grant_type": {"client_credentials"}},
				once); {
			case status == 200:
				wins.Add(1)
			case answer["error"] != "invalid_dpop_proof":
				t.Errorf("got %d %v, want invalid_dpop_proof", status, answer)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d tokens for one proof, want 1", wins.Load())
	}
}

// DP-03, RFC 9449 §5: a public client's refresh token is its key's. Without the key nothing is to
// be had of it, and nothing to be done to it.
func TestDP03RefreshTokensOfPublicClients(t *testing.T) {
	h := startServer(t)
	p := h.register(map[string]any{}).prover()
	mallory := p.other()
	_, first := p.bound(h.person("ann@acme.example"))
	refused := func(what, token string) {
		t.Helper()
		status, answer := mallory.token(refreshment(token))
		wantError(t, what+", another key", status, answer, 400, "invalid_grant")
		status, answer = p.app.token(refreshment(token))
		wantError(t, what+", no key", status, answer, 400, "invalid_grant")
	}
	refused("unused", first)
	status, answer := p.token(refreshment(first))
	if status != 200 {
		t.Fatalf("the key itself, afterwards: got %d %v", status, answer)
	}
	second := answer["refresh_token"].(string)
	refused("spent, within the window", first)
	refused("the successor", second)
	if status, answer = p.token(refreshment(first)); status != 200 || answer["refresh_token"] != second {
		t.Errorf("the key itself, within the window: got %d %v, want the same successor", status, answer)
	}
	h.Clock.step(time.Minute)
	mallory.freshen()
	refused("spent, after the window", first)
	p.freshen()
	if status, answer = p.token(refreshment(second)); status != 200 {
		t.Errorf("a stranger ended the grant with a token that is not his key's: got %d %v", status, answer)
	}
	// The key's own reuse is reuse.
	third := answer["refresh_token"].(string)
	h.Clock.step(time.Minute)
	p.freshen()
	status, answer = p.token(refreshment(first))
	wantError(t, "reuse", status, answer, 400, "invalid_grant")
	status, answer = p.token(refreshment(third))
	wantError(t, "after reuse", status, answer, 400, "invalid_grant")
}

// RFC 9449 §5: a chain that began without a key is bound from its first proof on, and a lost answer
// is no way round that.
func TestAChainThatIsBoundLater(t *testing.T) {
	h := startServer(t)
	p := h.register(map[string]any{}).prover()
	_, first := p.app.tokens(h.person("ann@acme.example"), "customers:read")
	status, answer := p.token(refreshment(first))
	if status != 200 {
		t.Fatalf("got %d %v", status, answer)
	}
	p.want(answer)
	second := answer["refresh_token"]
	status, answer = p.app.token(refreshment(first))
	wantError(t, "the parent without the key", status, answer, 400, "invalid_grant")
	status, answer = p.other().token(refreshment(first))
	wantError(t, "the parent with another key", status, answer, 400, "invalid_grant")
	if status, answer = p.token(refreshment(first)); status != 200 || answer["refresh_token"] != second {
		t.Errorf("the parent with the key: got %d %v, want the same successor", status, answer)
	}

	// Two keys at once: one of them has the chain, and the other gets nothing.
	q := h.register(map[string]any{}).prover()
	_, first = q.app.tokens(h.person("ann@acme.example"), "customers:read")
	keys := []*prover{q, q.other()}
	var wins atomic.Int64
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if status, _ := keys[i%2].token(refreshment(first)); status == 200 {
				wins.Add(1 << (16 * (i % 2)))
			}
		})
	}
	wg.Wait()
	if n := wins.Load(); n != 5 && n != 5<<16 {
		t.Errorf("two keys at once: %d and %d got tokens, want one key's five", n&0xffff, n>>16)
	}
}

// RFC 9449 §5: a client that authenticates may change its key.
func TestRefreshTokensOfConfidentialClientsAreNotBound(t *testing.T) {
	h := startServer(t)
	p := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"}).prover()
	_, refresh := p.bound(h.person("ann@acme.example"))
	q := p.other()
	status, answer := q.token(refreshment(refresh))
	if status != 200 {
		t.Fatalf("another key: got %d %v, want 200", status, answer)
	}
	q.want(answer)
	status, answer = p.app.token(refreshment(answer["refresh_token"].(string)))
	if status != 200 || answer["token_type"] != "Bearer" {
		t.Errorf("no key: got %d %v, want a Bearer token", status, answer)
	}
}

// A client whose document first says that it has nothing to authenticate with, and then that it
// has: what was bound meanwhile stays so.
func TestABoundChainOfAClientThatChanges(t *testing.T) {
	publisher := newPublisher(t)
	h := startServer(t)
	h.documents = publisher.fetcher
	h.start()
	ann, a := h.person("ann@acme.example"), app{h: h, ID: documentURL}
	a.code(ann, "customers:read") // the document is read
	p := a.prover()
	_, refresh := p.bound(ann)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	publisher.publish("token_endpoint_auth_method", "private_key_jwt")
	publisher.publish("jwks", jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1"}}})
	h.Clock.step(61 * time.Second)
	other := p.other()
	a.code(ann, "customers:read") // and read again
	h.start()
	renew := func(of *prover) (int, map[string]any) {
		now, form := h.Clock.Now().Unix(), refreshment(refresh)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion",
			h.assert(key, "k1", map[string]any{"iss": a.ID, "sub": a.ID, "aud": h.URL, "exp": now + 60,
				"jti": rand.Text()}, nil))
		_, _, header := of.send("/oauth2/token", form, of.key.Proof("POST", h.URL+"/oauth2/token"))
		of.nonce = header.Get(dpop.NonceHeader)
		form.Set("client_assertion",
			h.assert(key, "k1", map[string]any{"iss": a.ID, "sub": a.ID, "aud": h.URL, "exp": now + 60,
				"jti": rand.Text()}, nil))
		return of.token(form)
	}
	for range 2 {
		status, answer := renew(other)
		wantError(t, "another key", status, answer, 400, "invalid_grant")
		if status, answer = renew(p); status != 200 {
			t.Fatalf("the key: got %d %v, want 200", status, answer)
		}
		refresh = answer["refresh_token"].(string)
	}
}

// RFC 9449 §8, §8.2: nonces that are missing, foreign and stale; the one of the step before, with a
// newer one in the answer.
func TestNonces(t *testing.T) {
	h := startServer(t, nonceRequired)
	h.Clock.step(dpop.Step - time.Duration(h.Clock.Now().Unix())*time.Second%dpop.Step) // to a step's beginning
	m := h.machine("acme", "customers:read").prover()
	form := url.Values{"grant_type": {"client_credentials"}}
	first := m.nonce
	foreign := (&dpop.Checker{Nonces: &dpop.Nonces{Key: []byte("foreign")}, Now: h.Clock.Now}).Nonce()
	for what, nonce := range map[string]any{"none": nil, "empty": "", "foreign": foreign, "rubbish": "x"} {
		status, answer,
			header := m.send("/oauth2/token", form, m.proof("/oauth2/token", dpoptest.Claim("nonce", nonce)))
		wantError(t, what, status, answer, 400, "use_dpop_nonce")
		if header.Get(dpop.NonceHeader) != first || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v, want the newest nonce, kept by nobody", what, header)
		}
	}
	ask := func() (int, string) {
		status, _, header := m.send("/oauth2/token", form, m.proof("/oauth2/token"))
		return status, header.Get(dpop.NonceHeader)
	}
	if status, newer := ask(); status != 200 || newer != "" {
		t.Errorf("the newest: got %d and %q, want 200 and no other", status, newer)
	}
	h.Clock.step(dpop.Step)
	status, newer := ask()
	if status != 200 || newer == "" || newer == first {
		t.Errorf("of the step before: got %d and %q, want 200 and a newer one", status, newer)
	}
	if status, answer, header := m.send("/oauth2/token", refreshment("x"), m.proof("/oauth2/token")); status != 400 ||
		header.Get(dpop.NonceHeader) != newer {
		t.Errorf("beside another error: got %d %v with %q, want the newer one too", status, answer,
			header.Get(dpop.NonceHeader))
	}
	h.Clock.step(dpop.Step)
	if status, newest := ask(); status != 400 || newest == newer {
		t.Errorf("stale: got %d and %q, want 400 and the newest", status, newest)
	}
	status, answer, header := m.send("/oauth2/token", form)
	if status != 200 || header.Get(dpop.NonceHeader) != "" {
		t.Errorf("without a proof: got %d %v with a nonce %q", status, answer, header.Get(dpop.NonceHeader))
	}
}

// DP-02: a replica takes the other's nonces and not its proofs; a process that forgets its proofs
// does not take them again.
func TestAProofDoesNotOutliveItsMemory(t *testing.T) {
	redis, prefix := testenv.Redis(t)
	for name, c := range map[string]struct {
		change func(*authserver.Config)
		code   string // of the answer to the same proof after a restart
	}{
		"memory": {func(*authserver.Config) {}, "use_dpop_nonce"},
		"Redis": {func(c *authserver.Config) { c.Redis, c.RedisPrefix = config.Secret(redis), prefix },
			"invalid_dpop_proof"},
	} {
		h := startServer(t, c.change)
		m := h.machine("acme", "customers:read").prover()
		form, once := url.Values{"grant_type": {"client_credentials"}}, m.proof("/oauth2/token")
		if status, answer, _ := m.send("/oauth2/token", form, once); status != 200 {
			t.Fatalf("%s: got %d %v", name, status, answer)
		}
		h.start()
		status, answer, _ := m.send("/oauth2/token", form, once)
		wantError(t, name+", after a restart", status, answer, 400, c.code)
	}
}

// RFC 9449 §10: a code that was asked for with dpop_jkt is that key's.
func TestCodesAreBoundToAKey(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	p := h.register(map[string]any{}).prover()
	request := p.authorization("customers:read")
	request.Set("dpop_jkt", p.key.JKT())
	form := redemption(ann.approve(request).Get("code"))
	status, answer := p.app.token(form)
	wantError(t, "no key", status, answer, 400, "invalid_grant")
	status, answer = p.other().token(form)
	wantError(t, "another key", status, answer, 400, "invalid_grant")
	if status, answer = p.token(form); status != 200 {
		t.Fatalf("the key, afterwards: got %d %v, want 200", status, answer)
	}
	p.want(answer)
	status, again := p.other().token(form)
	wantError(t, "the used code with another key", status, again, 400, "invalid_grant")
	if status, answer = p.token(refreshment(answer["refresh_token"].(string))); status != 200 {
		t.Errorf("a stranger ended the grant with a code that is not his key's: got %d %v", status, answer)
	}
	for what, jkt := range map[string]string{"a blank": " ", "too short": p.key.JKT()[1:], "padded": p.key.JKT() + "=",
		"not base64url": strings.Repeat("+", 43)} {
		request.Set("dpop_jkt", jkt)
		if got := ann.open("/oauth2/authorize?" + request.Encode()).away; got == nil ||
			got.Query().Get("error") != "invalid_request" {
			t.Errorf("%s: went to %v, want invalid_request", what, got)
		}
	}
}

// RFC 9449 §10.1: a proof with a pushed request binds its code.
func TestPushedRequestsWithAProof(t *testing.T) {
	h := startServer(t, nonceRequired)
	ann := h.person("ann@acme.example")
	p := h.register(map[string]any{}).prover()
	const path = "/oauth2/par"
	status, answer, header := p.send(path, p.authorization("customers:read"),
		p.proof(path, dpoptest.Claim("nonce", nil)))
	wantError(t, "no nonce", status, answer, 400, "use_dpop_nonce")
	if header.Get(dpop.NonceHeader) != p.nonce {
		t.Errorf("got the nonce %q, want that of the token endpoint, %q", header.Get(dpop.NonceHeader), p.nonce)
	}
	status, answer, _ = p.send(path, p.authorization("customers:read"), p.proof("/oauth2/token"))
	wantError(t, "the token endpoint's proof", status, answer, 400, "invalid_dpop_proof")
	contradiction := p.authorization("customers:read")
	contradiction.Set("dpop_jkt", p.other().key.JKT())
	status, answer, _ = p.send(path, contradiction, p.proof(path))
	wantError(t, "another key in dpop_jkt", status, answer, 400, "invalid_request")

	for what, bind := range map[string]func(url.Values) []string{
		"a proof":  func(url.Values) []string { return []string{p.proof(path)} },
		"dpop_jkt": func(form url.Values) []string { form.Set("dpop_jkt", p.key.JKT()); return nil },
		"both alike": func(form url.Values) []string {
			form.Set("dpop_jkt",
				p.key.JKT())
			return []string{p.proof(path)}
		},
	} {
		form := p.authorization("customers:read")
		proofs := bind(form)
		status, answer, _ = p.send(path, form, proofs...)
		if status != 201 {
			t.Fatalf("%s: got %d %v, want 201", what, status, answer)
		}
		if len(proofs) > 0 {
			status, replayed, _ := p.send(path, form, proofs...)
			wantError(t, what+", replayed", status, replayed, 400, "invalid_dpop_proof")
		}
		code := redemption(
			ann.approve(url.Values{"client_id": {p.ID}, "request_uri": {answer["request_uri"].(string)}}).Get("code"))
		status, answer = p.app.token(code)
		wantError(t, what+", no key", status, answer, 400, "invalid_grant")
		if status, answer = p.token(code); status != 200 {
			t.Errorf("%s: got %d %v, want 200", what, status, answer)
		}
	}
}

// RFC 9449 §5.2: a client that says that it always proves a key is held to it, however it became
// known.
func TestClientsThatAlwaysProve(t *testing.T) {
	publisher := newPublisher(t)
	h := startServer(t)
	h.documents = publisher.fetcher
	h.start()
	ann := h.person("ann@acme.example")
	body := `{"redirect_uris":["` + callback + `"],"dpop_bound_access_tokens":true}`
	status, made := h.post("/oauth2/register", "application/json", body, nil)
	if status != 201 || made["dpop_bound_access_tokens"] != true {
		t.Fatalf("registering: got %d %v, want it said back", status, made)
	}
	publisher.publish("dpop_bound_access_tokens", true)
	for _, id := range []string{made["client_id"].(string), documentURL} {
		a := app{h: h, ID: id}
		form := redemption(a.code(ann, "customers:read"))
		p := a.prover()
		status, answer := a.token(form)
		wantError(t, id+" without a proof", status, answer, 400, "invalid_dpop_proof")
		if status, answer = p.token(form); status != 200 {
			t.Fatalf("%s with a proof: got %d %v, want 200", id, status, answer)
		}
		p.want(answer)
	}

	// RFC 7592 §2.2: it may think better of it.
	header := http.Header{"Authorization": {"Bearer " + made["registration_access_token"].(string)},
		"Content-Type": {"application/json"}}
	r := h.do(http.MethodPut, "/oauth2/register/"+made["client_id"].(string), "",
		`{"client_id":"`+made["client_id"].(string)+`","redirect_uris":["`+callback+`"]}`, header)
	r.Body.Close()
	h.start() // what was just read is remembered for a second
	a := app{h: h, ID: made["client_id"].(string)}
	if status, answer := a.token(redemption(a.code(ann, "customers:read"))); r.StatusCode != 200 || status != 200 ||
		answer["token_type"] != "Bearer" {
		t.Errorf("afterwards: got %d, then %d %v", r.StatusCode, status, answer)
	}
}

// RFC 9449 §5.1, and what a page in a browser needs.
func TestDPoPIsToBeFound(t *testing.T) {
	h := startServer(t)
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		if _, body := h.get(path, nil); !strings.Contains(string(body),
			`"dpop_signing_alg_values_supported":["ES256","RS256","PS256","EdDSA"]`) {
			t.Errorf("%s does not say which proofs are taken: %s", path, body)
		}
	}
	for _, path := range []string{"/oauth2/token", "/oauth2/par"} {
		r := h.do(http.MethodOptions, path, "", "",
			http.Header{"Origin": {"https://app.example"}, "Access-Control-Request-Method": {"POST"}})
		r.Body.Close()
		if !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "DPoP") ||
			!strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "DPoP-Nonce") {
			t.Errorf("%s: a page could not prove a key: %v", path, r.Header)
		}
	}
}
