package guard_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop/dpoptest"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

const nonceKey = config.Secret("thirty-two characters that nobody guesses")

// bound is a good token that is bound to a key.
func (g *gate) bound(k *dpoptest.Key) string {
	c := g.issuer.Claims(resource, "read")
	c.Confirmation.JKT = k.JKT()
	return g.issuer.Sign(c)
}

// key is a client's key, with a clock that goes as the guard's.
func (g *gate) key() *dpoptest.Key {
	k := dpoptest.NewKey(g.t, "ES256")
	k.Now = g.now
	return k
}

// show asks with a token by the DPoP scheme, and with proofs.
func (g *gate) show(raw string, proofs ...string) *httptest.ResponseRecorder {
	return g.ask("", func(r *http.Request) {
		r.Header.Set("Authorization", "DPoP "+raw)
		for _, p := range proofs {
			r.Header.Add(dpop.Header, p)
		}
	})
}

// wantChallenge fails unless nothing came through, and the one challenge is of the scheme and names
// the error.
func (g *gate) wantChallenge(t *testing.T, what string, w *httptest.ResponseRecorder, scheme, code string) {
	t.Helper()
	got := w.Header().Values("WWW-Authenticate")
	if w.Code != 401 || g.passed() != 0 || len(got) == 0 || !strings.HasPrefix(got[0], scheme+` error="`+code+`"`) ||
		!strings.Contains(got[0], "resource_metadata=") {
		t.Errorf("%s: got %d %q, want 401 %s %s", what, w.Code, got, scheme, code)
	}
	if scheme == "DPoP" && (len(got) != 1 || !strings.Contains(got[0], `algs="ES256 RS256 PS256 EdDSA"`)) {
		t.Errorf("%s: challenges %q, want one that names the algorithms", what, got)
	}
	if !strings.Contains(w.Body.String(), code) || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%s: got %s %v", what, w.Body, w.Header())
	}
}

// RFC 9449 §7.1, cold and warm: the remembered token is still its key's.
func TestABoundTokenWithItsProof(t *testing.T) {
	for name, size := range map[string]int{"remembered": 10, "never remembered": -1} {
		g := newGate(t, func(c *guard.Config) { c.CacheSize = size })
		k, mallory := g.key(), g.key()
		raw := g.bound(k)
		for range 3 {
			g.want(t, g.show(raw, k.Proof("POST", resource, dpoptest.Token(raw))), 204)
			g.wantChallenge(t, name+", another key", g.show(raw, mallory.Proof("POST", resource, dpoptest.Token(raw))),
				"DPoP", "invalid_token")
			g.wantChallenge(t, name+", as Bearer", g.ask(raw), "Bearer", "invalid_token")
		}
		w := g.ask("", func(r *http.Request) {
			r.Header.Set("Authorization", "dpop "+raw)
			r.Header.Set(dpop.Header, k.Proof("POST", resource, dpoptest.Token(raw)))
		})
		g.want(t, w, 204) // RFC 9110 §11.1: a scheme's case does not count
	}
}

// DP-01, RFC 9449 §7.2: a bound token by itself is worth nothing, and the answer says by which
// scheme it would be.
func TestDP01ABoundTokenAsBearer(t *testing.T) {
	g := newGate(t)
	k := g.key()
	raw := g.bound(k)
	w := g.ask(raw)
	g.wantChallenge(t, "alone", w, "Bearer", "invalid_token")
	if got := w.Header().Values("WWW-Authenticate"); len(got) != 2 || got[1] != `DPoP algs="ES256 RS256 PS256 EdDSA"` {
		t.Errorf("challenges %q, want the DPoP scheme second", got)
	}
	w = g.ask(raw, func(r *http.Request) { r.Header.Set(dpop.Header, k.Proof("POST", resource, dpoptest.Token(raw))) })
	g.wantChallenge(t, "beside a good proof", w, "Bearer", "invalid_token")

	raw = g.good()
	// a Bearer token needs no proof, nor a good one
	g.want(t, g.ask(raw, func(r *http.Request) { r.Header.Set(dpop.Header, "rubbish") }), 204)
	g.wantChallenge(t, "a Bearer token as DPoP", g.show(raw, k.Proof("POST", resource, dpoptest.Token(raw))), "DPoP",
		"invalid_token")
	g.wantChallenge(t, "rubbish as DPoP", g.show("rubbish", k.Proof("POST", resource, dpoptest.Token("rubbish"))),
		"DPoP", "invalid_token")
}

// DP-02
func TestDP02ProofsThatDoNotHold(t *testing.T) {
	g := newGate(t)
	k := g.key()
	raw, now := g.bound(k), g.now().Unix()
	for what, o := range map[string]dpoptest.Option{
		"wrong htm": dpoptest.Claim("htm", "GET"), "another path": dpoptest.Claim("htu", resource+"/x"),
		"another server": dpoptest.Claim("htu", "https://evil.example/mcp"),
		"no ath":         dpoptest.Claim("ath", nil), "another token's ath": dpoptest.Token("another"),
		"old": dpoptest.Claim("iat", now-3600), "of the future": dpoptest.Claim("iat", now+3600),
		"alg none": dpoptest.Header("alg", "none"), "alg HS256": dpoptest.Header("alg", "HS256"),
		"a private key in jwk": dpoptest.Header("jwk", k.PrivateJWK()),
		"typ missing":          dpoptest.Header("typ", nil), "another's jwk": dpoptest.Header("jwk", g.key().JWK()),
		"no jti": dpoptest.Claim("jti", nil),
	} {
		g.wantChallenge(t, what, g.show(raw, k.Proof("POST", resource, dpoptest.Token(raw), o)), "DPoP",
			"invalid_dpop_proof")
	}
	good := func() string { return k.Proof("POST", resource, dpoptest.Token(raw)) }
	g.wantChallenge(t, "none", g.show(raw), "DPoP", "invalid_dpop_proof")
	g.wantChallenge(t, "two DPoP headers", g.show(raw, good(), good()), "DPoP", "invalid_dpop_proof")
	once := good()
	g.want(t, g.show(raw, once), 204)
	g.wantChallenge(t, "replayed", g.show(raw, once), "DPoP", "invalid_dpop_proof")
	// JW-07: a proof is no token.
	g.wantChallenge(t, "a proof as token", g.ask(good()), "Bearer", "invalid_token")
}

// DP-02: of fifty who bring the same proof at once, one comes through.
func TestDP02OneWinner(t *testing.T) {
	g := newGate(t)
	k := g.key()
	raw := g.bound(k)
	once := k.Proof("POST", resource, dpoptest.Token(raw))
	var wins atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if g.show(raw, once).Code == 204 {
				wins.Add(1)
			}
		})
	}
	wg.Wait()
	if n := g.passed(); wins.Load() != 1 || n != 1 {
		t.Errorf("%d answers and %d let through for one proof, want 1", wins.Load(), n)
	}
}

// A proof is for the path that is asked, below the resource's own origin: no header of the request
// says where that is.
func TestTheURLOfAProof(t *testing.T) {
	g := newGate(t)
	k := g.key()
	raw := g.bound(k)
	at := func(path, htu string, change ...func(*http.Request)) *httptest.ResponseRecorder {
		return g.ask("", append(change, func(r *http.Request) {
			r.URL.Path = path
			r.Header.Set("Authorization", "DPoP "+raw)
			r.Header.Set(dpop.Header, k.Proof("POST", htu, dpoptest.Token(raw)))
		})...)
	}
	g.want(t, at("/mcp/deep er", "https://mcp.example/mcp/deep%20er"), 204)
	g.want(t, at("/mcp", "https://MCP.example:443/mcp", func(r *http.Request) { r.URL.RawQuery = "a=b" }), 204)
	g.want(t, at("/mcp", "https://mcp.example/other"), 401)
	g.want(t, at("/mcp", "http://mcp.example/mcp"), 401)
	for _, header := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"} {
		g.want(t, at("/mcp", "https://evil.example/mcp",
			func(r *http.Request) { r.Header.Set(header, "host=evil.example") }), 401)
	}
}

// RFC 9449 §9: nonces that are missing, foreign and stale; the one of the step before, with a newer
// one in the answer.
func TestNonces(t *testing.T) {
	g := newGate(t, func(c *guard.Config) { c.DPoPNonceKey, c.DPoPNonceRequired = nonceKey, true })
	g.step(g.now().Truncate(dpop.Step).Add(dpop.Step).Sub(g.now())) // to a step's beginning
	k := g.key()
	raw := g.bound(k)
	ask := func(nonce any) *httptest.ResponseRecorder {
		return g.show(raw, k.Proof("POST", resource, dpoptest.Token(raw), dpoptest.Claim("nonce", nonce)))
	}
	w := ask(nil)
	g.wantChallenge(t, "none", w, "DPoP", "use_dpop_nonce")
	first := w.Header().Get(dpop.NonceHeader)
	foreign := (&dpop.Checker{Nonces: &dpop.Nonces{Key: []byte("foreign")}, Now: g.now}).Nonce()
	for what, nonce := range map[string]string{"empty": "", "rubbish": "x", "foreign": foreign} {
		w := ask(nonce)
		g.wantChallenge(t, what, w, "DPoP", "use_dpop_nonce")
		if got := w.Header().Get(dpop.NonceHeader); got != first || got == "" {
			t.Errorf("%s: got the nonce %q, want the newest, %q", what, got, first)
		}
	}
	w = ask(first)
	g.want(t, w, 204)
	if got := w.Header().Get(dpop.NonceHeader); got != "" {
		t.Errorf("the newest: got another, %q", got)
	}
	g.step(dpop.Step)
	w = ask(first)
	g.want(t, w, 204)
	if second := w.Header().Get(dpop.NonceHeader); second == "" || second == first {
		t.Errorf("of the step before: got %q, want a newer one", second)
	}
	g.step(dpop.Step)
	g.wantChallenge(t, "stale", ask(first), "DPoP", "use_dpop_nonce")
	g.want(t, g.ask(g.good()), 204) // Bearer tokens are as ever
}

// A guard that takes bound tokens alone says so in every challenge.
func TestAGuardThatRequiresDPoP(t *testing.T) {
	g := newGate(t, func(c *guard.Config) { c.RequireDPoP = true })
	k := g.key()
	raw := g.bound(k)
	g.want(t, g.show(raw, k.Proof("POST", resource, dpoptest.Token(raw))), 204)
	g.wantChallenge(t, "a Bearer token", g.ask(g.good()), "DPoP", "invalid_token")
	g.wantChallenge(t, "a bound token as Bearer", g.ask(raw), "DPoP", "invalid_token")
	w := g.ask("")
	g.want(t, w, 401)
	if got := w.Header().Values("WWW-Authenticate"); len(got) != 1 ||
		!strings.HasPrefix(got[0], `DPoP algs="ES256 RS256 PS256 EdDSA", resource_metadata=`) {
		t.Errorf("no token: challenges %q, want DPoP and no error", got)
	}
}

// A challenge for scopes is of the scheme that the request came by (RFC 9449 §7.1).
func TestChallengeForScopeOfABoundToken(t *testing.T) {
	g := newGate(t)
	r := httptest.NewRequest("POST", resource, nil)
	r.Header.Set("Authorization", "DPoP x")
	w := httptest.NewRecorder()
	g.guard.Challenge(w, r, []string{"write"})
	if got := w.Header().Get("WWW-Authenticate"); w.Code != 403 ||
		!strings.HasPrefix(got, `DPoP error="insufficient_scope"`) || !strings.Contains(got, "algs=") ||
		!strings.Contains(got, `scope="write"`) {
		t.Errorf("got %d %s", w.Code, got)
	}
}

// What cannot be known is 503: neither a yes, nor the proof's fault.
func TestAMemoryOfProofsThatIsFull(t *testing.T) {
	g := newGate(t, func(c *guard.Config) { c.UsedProofs = ttl.NewMemory(ttl.Options{MaxEntries: 1}) })
	k := g.key()
	raw := g.bound(k)
	g.want(t, g.show(raw, k.Proof("POST", resource, dpoptest.Token(raw))), 204)
	w := g.show(raw, k.Proof("POST", resource, dpoptest.Token(raw)))
	g.want(t, w, 503)
	if w.Header().Get("WWW-Authenticate") != "" || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %v, want no challenge and a time to come back", w.Header())
	}
	g.want(t, g.ask(g.good()), 204)
}

func TestANonceKeyThatCouldBeGuessed(t *testing.T) {
	g := newGate(t)
	_, err := guard.New(guard.Config{Issuer: "https://as.example", Resource: resource, Revoked: g.list,
		DPoPNonceKey: "short"})
	if err == nil || strings.Contains(err.Error(), `"short"`) {
		t.Errorf("got %v, want an error that does not show the key", err)
	}
}
