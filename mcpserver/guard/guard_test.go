package guard_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

func TestAGoodTokenBecomesACaller(t *testing.T) {
	g := newGate(t)
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
		raw := g.good(tokentest.Algorithm(algorithm))
		for _, how := range []string{"cold", "warm"} {
			if w := g.ask(raw); w.Code != http.StatusNoContent {
				t.Errorf("%s, %s: got %d %s", algorithm, how, w.Code, w.Body)
			}
		}
	}
	want := mcp.Caller{Subject: "usr_ann", TenantID: "acme", ClientID: "cli_agent", GrantID: "grt_1",
		Scopes: []string{"read"}}
	for _, got := range g.callers {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAnAlgorithmThatTheResourceDoesNotTake(t *testing.T) {
	g := newGate(t, func(c *guard.Config) { c.Algorithms = []string{"RS256"} })
	g.want(t, g.ask(g.good(tokentest.Algorithm("RS256"))), 204)
	g.want(t, g.ask(g.good(tokentest.Algorithm("ES256"))), 401)
}

// RS-04 to RS-07, RS-10, RS-11, MC-01, MC-02, MC-03, JW-20, JW-21
func TestChallenges(t *testing.T) {
	g := newGate(t)
	good := g.good()
	const where = `resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp", scope="read ` +
		`search"`
	authorization := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Authorization"] = values }
	}
	for _, row := range []struct {
		name      string
		change    func(*http.Request)
		status    int
		challenge string // its beginning
	}{
		{"no token", authorization(), 401, "Bearer " + where},
		{"another scheme", authorization("Basic YTpi"), 401, "Bearer " + where},
		{"the scheme in capitals", authorization("BEARER " + good), 204, ""},
		{"two blanks", authorization("Bearer  " + good), 204, ""},
		{"nothing after it", authorization("Bearer "), 400, `Bearer error="invalid_request"`},
		{"a list", authorization("Bearer " + good + ", x"), 400, `Bearer error="invalid_request"`},
		{"two headers", authorization("Bearer "+good, "Bearer "+good), 400, `Bearer error="invalid_request"`},
		{"rubbish", authorization("Bearer rubbish"), 401, `Bearer error="invalid_token"`},
		{"in the URL", func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "access_token=" + good },
			401, "Bearer " + where},
		{"in the URL, too", func(r *http.Request) { r.URL.RawQuery = "access_token=" + good }, 400,
			`Bearer error="invalid_request"`},
		{"in a cookie", func(r *http.Request) {
			r.Header.Del("Authorization")
			r.AddCookie(&http.Cookie{Name: "access_token", Value: good})
		}, 401, "Bearer " + where},
		{"GET without token", func(r *http.Request) { r.Method = "GET"; r.Header.Del("Authorization") }, 401,
			"Bearer " + where},
		{"DELETE without token", func(r *http.Request) { r.Method = "DELETE"; r.Header.Del("Authorization") }, 401,
			"Bearer " + where},
		// MC-11
		{"a session without token",
			func(r *http.Request) { r.Header.Set("Mcp-Session-Id", "x"); r.Header.Del("Authorization") }, 401,
			"Bearer " + where},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := g.ask(good, row.change)
			g.want(t, w, row.status)
			if got := w.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, row.challenge) || row.status != 204 &&
				!strings.HasSuffix(got, where) {
				t.Errorf("challenge: got %s, want %s… with %s", got, row.challenge, where)
			}
			if strings.Contains(w.Body.String()+w.Header().Get("WWW-Authenticate"), good) {
				t.Error("the token is in the answer")
			}
		})
	}
}

// RS-17, RS-18
func TestChallengeForScope(t *testing.T) {
	g := newGate(t)
	w := httptest.NewRecorder()
	g.guard.Challenge(w, httptest.NewRequest("POST", resource, nil), []string{"write", "read", "write"})
	want := `Bearer error="insufficient_scope", error_description="this needs a scope that the access token does not ` +
		`have", ` +
		`resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp", scope="read write"`
	if got := w.Header().Get("WWW-Authenticate"); w.Code != 403 || got != want {
		t.Errorf("got %d %s, want 403 %s", w.Code, got, want)
	}
}

// S3, JW-19: a token that is over is 401, whatever scopes it lacks.
func TestS3ExpiredComesBeforeScopes(t *testing.T) {
	g := newGate(t)
	c := g.issuer.Claims(resource)
	c.IssuedAt, c.Expires = c.IssuedAt-3600, c.IssuedAt-60
	w := g.ask(g.issuer.Sign(c))
	g.want(t, w, 401)
	if got := w.Header().Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) ||
		!strings.Contains(got, "expired") {
		t.Errorf("challenge: got %s, want invalid_token that says expired", got)
	}
}

// S1, S2, MC-16, MC-17, MC-18
func TestS1S2OriginAndHost(t *testing.T) {
	g := newGate(t, func(c *guard.Config) { c.AllowedOrigins = []string{"https://app.example"} })
	good := g.good()
	for _, row := range []struct {
		host, origin string
		status       int
	}{
		{"mcp.example", "", 204}, {"MCP.example", "", 204}, {"mcp.example:443", "", 204},
		{"evil.example", "", 403}, {"mcp.example.evil.example", "", 403}, {"mcp.example:8443", "", 403},
		{"127.0.0.1:8081", "", 403}, {"", "", 403},
		{"mcp.example", "https://mcp.example", 204}, {"mcp.example", "https://app.example", 204},
		{"mcp.example", "https://evil.example", 403}, {"mcp.example", "null", 403},
		{"mcp.example", "https://mcp.example:8443", 403},
		{"mcp.example", "http://mcp.example", 403}, {"mcp.example", "https://mcp.example.evil.example", 403},
		{"mcp.example", "https://APP.example", 403},
		{"evil.example", "https://evil.example", 403}, // DNS rebinding: they agree with each other
	} {
		t.Run(row.host+" "+row.origin, func(t *testing.T) {
			place := func(r *http.Request) {
				r.Host = row.host
				if row.origin != "" {
					r.Header.Set("Origin", row.origin)
				}
			}
			g.want(t, g.ask(good, place), row.status)
			if row.status == 403 { // before authentication
				w := g.ask("", place)
				g.want(t, w, 403)
				if w.Header().Get("WWW-Authenticate") != "" {
					t.Error("a challenge to a request that is not for us")
				}
			}
		})
	}
	two := func(r *http.Request) { r.Header["Origin"] = []string{"https://app.example", "https://evil.example"} }
	g.want(t, g.ask(good, two), 403)
}

func TestALoopbackServerAnswersToAllItsNames(t *testing.T) {
	g := newGate(t, func(c *guard.Config) { c.Resource = "http://localhost:8081/mcp" })
	raw := g.issuer.Sign(g.issuer.Claims("http://localhost:8081/mcp", "read"))
	for host, status := range map[string]int{"localhost:8081": 204, "127.0.0.1:8081": 204, "[::1]:8081": 204,
		"localhost": 403, "localhost:9000": 403, "mcp.example": 403} {
		g.want(t, g.ask(raw, func(r *http.Request) { r.Host = host }), status)
	}
	// S2: behind a proxy on the same machine the public name is what counts.
	g = newGate(t, func(c *guard.Config) { c.AllowedHosts = []string{"mcp.example", "127.0.0.1:8081"} })
	for _, host := range []string{"mcp.example", "127.0.0.1:8081"} {
		g.want(t, g.ask(g.good(), func(r *http.Request) { r.Host = host }), 204)
	}
}

// S4, MC-29, JK-04: what we cannot know is 503, says nothing of our network, and heals alone.
func TestS4TheIssuerOutOfReach(t *testing.T) {
	g := newGate(t)
	good := g.good()
	g.issuer.Fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	w := g.ask(good)
	g.want(t, w, 503)
	if w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "127.0.0.1") {
		t.Errorf("got %v %s, want Retry-After and no address", w.Header(), w.Body)
	}
	if g.guard.Ready(context.Background()) == nil {
		t.Error("ready without keys")
	}
	g.issuer.Fail(nil)
	g.step(2 * time.Second)
	g.want(t, g.ask(good), 204)
	must(t, g.guard.Ready(context.Background()))

	g = newGate(t, func(c *guard.Config) { c.Revoked = down{} })
	for range 2 { // warm as well as cold
		w = g.ask(g.good())
		g.want(t, w, 503)
		if strings.Contains(w.Body.String(), "10.0.0.5") {
			t.Errorf("our network is in the answer: %s", w.Body)
		}
	}
}

// JW-17: an ended grant's token is refused by the very next request, remembered or not.
func TestEndedGrants(t *testing.T) {
	g := newGate(t)
	good := g.good()
	g.want(t, g.ask(good), 204)
	must(t, g.list.Add(context.Background(), "grt_1", g.now().Add(time.Hour)))
	w := g.ask(good)
	g.want(t, w, 401)
	if !strings.Contains(w.Header().Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("challenge: %s", w.Header().Get("WWW-Authenticate"))
	}
}

func TestARememberedTokenExpires(t *testing.T) {
	g := newGate(t)
	good := g.good()
	g.want(t, g.ask(good), 204)
	g.step(10*time.Minute + guard.Leeway - 2*time.Second)
	g.want(t, g.ask(good), 204)
	g.step(4 * time.Second)
	g.want(t, g.ask(good), 401)
}

// A token is remembered until it expires: its signature is verified once, however long ago.
func TestATokenIsRememberedUntilItExpires(t *testing.T) {
	g := newGate(t)
	cold := newGate(t, func(c *guard.Config) { c.CacheSize = -1 })
	cost := func(g *gate) float64 {
		raw := g.good(tokentest.Algorithm("EdDSA"))
		g.want(t, g.ask(raw), 204)
		g.step(9 * time.Minute)
		return testing.AllocsPerRun(50, func() { g.want(t, g.ask(raw), 204) })
	}
	if warm, cold := cost(g), cost(cold); warm > cold-20 {
		t.Errorf("a remembered token costs %.0f allocations, one that is verified %.0f", warm, cold)
	}
}

// An issuer that puts another key under the same kid withdraws the one that was there, and with it
// remembered tokens.
func TestAKeyThatWasReplacedUnderItsKidIsWithdrawn(t *testing.T) {
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
		g := newGate(t)
		old := g.good(tokentest.Algorithm(algorithm))
		g.want(t, g.ask(old), 204)
		kid := g.issuer.KeyID(algorithm)
		g.issuer.Rotate(algorithm)
		set := g.issuer.KeySet()
		for i, k := range set.Keys {
			if k.KeyID == kid {
				set.Keys[i].Key = g.issuer.Public(algorithm)
			}
		}
		g.issuer.Fail(func(w http.ResponseWriter, _ *http.Request) { must(t, json.NewEncoder(w).Encode(set)) })
		g.want(t, g.ask(g.good(tokentest.Algorithm(algorithm))), 204) // a new kid: the set is fetched
		g.want(t, g.ask(old), 401)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	g := newGate(t, func(c *guard.Config) { c.CacheSize = 16 })
	for range 100 {
		raw := g.good(tokentest.Algorithm("EdDSA"))
		g.want(t, g.ask(raw), 204)
		g.want(t, g.ask(raw), 204)
	}
}

// JW-15: nothing large is worked on.
func TestEndlessTokens(t *testing.T) {
	g := newGate(t)
	for _, raw := range []string{strings.Repeat("a", 1<<20), strings.Repeat(".", 1<<20),
		strings.Repeat("YQ", 1<<15) + ".YQ.YQ"} {
		g.want(t, g.ask(raw), 401)
	}
	if hits := g.issuer.JWKSHits(); hits != 0 {
		t.Errorf("the keys were fetched %d times for tokens that are none", hits)
	}
}

func TestWrapGivesTheCallerToAnybodysHandler(t *testing.T) {
	g := newGate(t)
	var got mcp.Caller
	g.handler = g.guard.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got,
			_ = guard.CallerOf(r.Context())
	}))
	g.ask(g.good())
	if got.TenantID != "acme" || !slices.Equal(got.Scopes, []string{"read"}) {
		t.Errorf("got %+v, want ann of acme", got)
	}
	if _, ok := guard.CallerOf(context.Background()); ok {
		t.Error("a caller out of nowhere")
	}
}

func TestAGuardThatKnowsTooLittleIsNotMade(t *testing.T) {
	g := newGate(t)
	for name, c := range map[string]guard.Config{
		"nothing":     {},
		"no issuer":   {Resource: resource, Revoked: g.list},
		"no resource": {Issuer: "https://as.example", Revoked: g.list},
		"a resource not canonical": {Issuer: "https://as.example", Resource: "https://MCP.example/mcp",
			Revoked: g.list},
	} {
		if _, err := guard.New(c); err == nil {
			t.Errorf("%s: got nil, want an error", name)
		}
	}
}

// JK-05 and the metadata: what is not this issuer's is not believed.
func TestForeignMetadata(t *testing.T) {
	var document string
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "moved") {
			http.Redirect(w, r, document, http.StatusFound)
			return
		}
		w.Write([]byte(document))
	}))
	defer front.Close()
	real := tokentest.NewIssuer(t)
	for name, d := range map[string]string{
		"another issuer": `{"issuer":"https://evil.example","jwks_uri":"` + real.JWKSURL() + `"}`,
		"a slash more":   `{"issuer":"` + front.URL + `/","jwks_uri":"` + real.JWKSURL() + `"}`,
		"no keys":        `{"issuer":"` + front.URL + `"}`,
		"a file":         `{"issuer":"` + front.URL + `","jwks_uri":"file:///etc/passwd"}`,
		"HTML":           `<html>`,
		"a redirect":     `{"issuer":"` + front.URL + `","jwks_uri":"` + front.URL + `/moved"}`,
	} {
		t.Run(name, func(t *testing.T) {
			document = d
			g := newGate(t, func(c *guard.Config) { c.Issuer = front.URL })
			claims := real.Claims(resource, "read")
			claims.Issuer = front.URL
			g.want(t, g.ask(real.Sign(claims)), 503)
		})
	}
	if u, err := url.Parse(front.URL); err != nil || u.Host == "" {
		t.Fatal("the front has no address")
	}
}

// A guard needs no more than the issuer and the resource. Without a list of revocations, a good
// token passes and a bad one does not.
func TestIssuerAndResourceAreEnough(t *testing.T) {
	issuer := tokentest.NewIssuer(t)
	g, err := guard.New(guard.Config{Issuer: issuer.URL(), Resource: resource})
	must(t, err)
	handler := g.Protect(func(w http.ResponseWriter, _ *http.Request, c mcp.Caller) {
		io.WriteString(w, c.Subject)
	})
	if w := send(handler, issuer.Sign(issuer.Claims(resource, "read")), list); w.Code != 200 || w.Body.Len() == 0 {
		t.Errorf("a good token: got %d %s", w.Code, w.Body)
	}
	if w := send(handler, issuer.Sign(issuer.Claims("https://other.example/mcp", "read")), list); w.Code != 401 {
		t.Errorf("a token for another server: got %d %s", w.Code, w.Body)
	}
}
