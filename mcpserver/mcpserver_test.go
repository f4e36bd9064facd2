package mcpserver_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop/dpoptest"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

// The token states of product.md, through the whole server.
func TestTokenStates(t *testing.T) {
	w := openWing(t)
	status, body := w.post(w.token("acme", allScopes...), list)
	if status != 200 || strings.Count(body, `"inputSchema"`) != 4 {
		t.Errorf("valid: got %d %s, want four tools", status, body)
	}
	if strings.Contains(strings.ToLower(body), "tenant") {
		t.Errorf("a tool names the tenant: %s", body)
	}
	status, body = w.post(w.token("acme", "customers:read"), list)
	if status != 200 || strings.Count(body, `"inputSchema"`) != 1 || !strings.Contains(body, "read_customer") {
		t.Errorf("lacking scopes: got %d %s, want read_customer alone", status, body)
	}
	update := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"update_customer",` +
		`"arguments":{"customer_id":"cus_acme_1001","name":"X"}}}`
	if status, body = w.post(w.token("acme", "customers:read"), update); status != 403 ||
		!strings.Contains(body, "insufficient_scope") {
		t.Errorf("lacking the scope of a call: got %d %s, want 403", status, body)
	}
	late := w.issuer.Claims(w.resource, allScopes...)
	late.IssuedAt, late.Expires = late.IssuedAt-7200, late.IssuedAt-3600
	if status, _ = w.post(w.issuer.Sign(late), list); status != 401 {
		t.Errorf("expired: got %d, want 401", status)
	}
	if status, body = w.post("", list); status != 401 || strings.Contains(body, "read_customer") {
		t.Errorf("none: got %d %s, want 401 and no list", status, body)
	}
	raw := w.token("acme", allScopes...)
	must(t, w.list.Add(context.Background(), "grt_1", time.Now().Add(time.Hour)))
	if status, _ = w.post(raw, list); status != 401 {
		t.Errorf("revoked: got %d, want 401", status)
	}
}

// The tools, as an agent uses and abuses them.
func TestTools(t *testing.T) {
	w := openWing(t)
	acme, globex := w.token("acme", allScopes...), w.token("globex", allScopes...)
	long := strings.Repeat("x", 300)
	for _, row := range []struct {
		name, token, tool string
		arguments         map[string]any
		failed            bool
		says              string
	}{
		{"a customer", acme, "read_customer", map[string]any{"customer_id": "cus_acme_1001"}, false, "Road Runner"},
		{"another tenant's", globex, "read_customer", map[string]any{"customer_id": "cus_acme_1001"}, true,
			"no customer"},
		{"nobody's", acme, "read_customer", map[string]any{"customer_id": "cus_x"}, true, "no customer"},
		{"the tenant as an argument", globex, "read_customer",
			map[string]any{"customer_id": "cus_acme_1001", "tenant_id": "acme"}, true, "no argument"},
		{"no id", acme, "read_customer", map[string]any{}, true, "customer_id is missing"},
		{"a number for the id", acme, "read_customer", map[string]any{"customer_id": 7}, true, "must be a string"},
		{"a long id", acme, "read_customer", map[string]any{"customer_id": long}, true, "too long"},
		{"SQL for the id", acme, "read_customer", map[string]any{"customer_id": "' OR '1'='1"}, true, "no customer"},
		{"a new name", acme, "update_customer", map[string]any{"customer_id": "cus_acme_1002", "name": "Wile"}, false,
			"Wile"},
		{"nothing to change", acme, "update_customer", map[string]any{"customer_id": "cus_acme_1002"}, true,
			"name what is to be changed"},
		{"an address that is none", acme, "update_customer",
			map[string]any{"customer_id": "cus_acme_1002", "email": "nobody"}, true, "e-mail"},
		{"changing another tenant's", globex, "update_customer",
			map[string]any{"customer_id": "cus_acme_1002", "name": "Taken"}, true, "no customer"},
		{"a ticket", acme, "create_ticket", map[string]any{"customer_id": "cus_acme_1001", "subject": "Sled"}, false,
			"tic_"},
		{"a ticket about another tenant's", globex, "create_ticket",
			map[string]any{"customer_id": "cus_acme_1001", "subject": "Sled"}, true, "no customer"},
		{"a ticket about nothing", acme, "create_ticket", map[string]any{"customer_id": "cus_acme_1001"}, true,
			"subject is missing"},
		{"a control character", acme, "create_ticket",
			map[string]any{"customer_id": "cus_acme_1001", "subject": "a\u0007b"}, true, "control character"},
		{"a search", acme, "search_knowledge_base", map[string]any{"query": "rocket sled"}, false, "art_acme_1"},
		{"a search elsewhere", globex, "search_knowledge_base", map[string]any{"query": "rocket sled"}, false,
			`"articles":[]`},
		{"a search with syntax", acme, "search_knowledge_base",
			map[string]any{"query": `sled" OR tenant_id:globex NEAR( *`}, false, "articles"},
		{"too many hits", acme, "search_knowledge_base", map[string]any{"query": "sled", "limit": 1000}, true,
			"from 1 to 20"},
	} {
		t.Run(row.name, func(t *testing.T) {
			text, failed := w.call(row.token, row.tool, row.arguments)
			if failed != row.failed || !strings.Contains(text, row.says) {
				t.Errorf("got %v %s, want %v and %q", failed, text, row.failed, row.says)
			}
			if strings.Contains(text, "Road Runner") && row.token == globex {
				t.Errorf("acme's data for globex: %s", text)
			}
		})
	}
	if text, _ := w.call(acme, "read_customer", map[string]any{"customer_id": "cus_acme_1002"}); !strings.Contains(text,
		`"Wile"`) {
		t.Errorf("afterwards: %s", text)
	}
}

// RS-01 to RS-04, RS-08, RS-09, RS-12, MD-04, SC-01 to SC-03, SC-07, SC-09: what is said before
// anyone signs in, to any origin.
func TestWhatTheWingSaysOfItself(t *testing.T) {
	w := openWing(t)
	for _, row := range []struct{ path, kind, says string }{
		{"/.well-known/oauth-protected-resource", "application/json", `"resource":"` + w.resource + `"`},
		{"/.well-known/oauth-protected-resource/mcp", "application/json",
			`"authorization_servers":["` + w.issuer.URL() + `"]`},
		{"/.well-known/oauth-protected-resource/mcp", "application/json",
			`"scopes_supported":["customers:read","knowledge:read"]`},
		{"/.well-known/oauth-protected-resource/mcp", "application/json", `"bearer_methods_supported":["header"]`},
		{"/.well-known/oauth-protected-resource/mcp", "application/json",
			`"dpop_signing_alg_values_supported":["ES256","RS256","PS256","EdDSA"]`}, // RFC 9449 §5.1, RFC 9728 §2
		{"/mcp/server-card", "application/mcp-server-card+json", `"url":"` + w.resource + `"`},
		{"/.well-known/ai-catalog.json", "application/ai-catalog+json", `"url":"` + w.resource + `/server-card"`},
		{"/.well-known/mcp-server-card.json", "application/json", `"dynamic_client_registration":true`},
		{"/.well-known/mcp-server-card.json", "application/json", `"description":"Change your customers' names`},
		{"/healthz", "application/json", "ok"},
	} {
		r, err := http.NewRequest(http.MethodGet, w.url+row.path, nil)
		must(t, err)
		r.Header.Set("Origin", "https://anybody.example")
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		body, err := io.ReadAll(response.Body)
		must(t, err)
		response.Body.Close()
		text := strings.ReplaceAll(string(body), `\u0026`, "&")
		if response.StatusCode != 200 || response.Header.Get("Content-Type") != row.kind ||
			!strings.Contains(text, row.says) {
			t.Errorf("%s: got %d %s %s, want %s and %s", row.path, response.StatusCode,
				response.Header.Get("Content-Type"), body, row.kind, row.says)
		}
		if strings.Contains(text, "offline_access") || strings.Contains(text, "dpop_bound_access_tokens_required") ||
			!json.Valid(body) {
			t.Errorf("%s: %s", row.path, body)
		}
		if row.path == "/healthz" {
			continue
		}
		tag := response.Header.Get("ETag")
		if response.Header.Get("Access-Control-Allow-Origin") != "*" || tag == "" {
			t.Errorf("%s: headers %v", row.path, response.Header)
		}
		r.Header.Set("If-None-Match", tag)
		again, err := http.DefaultClient.Do(r)
		must(t, err)
		again.Body.Close()
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s with its ETag: got %d, want 304", row.path, again.StatusCode)
		}
	}
}

// SC-02, SC-03: what is said is kept by those who asked, and by proxies that make a weak tag of
// ours; it changes with the configuration.
func TestDocumentsAreKept(t *testing.T) {
	w := openWing(t)
	ask := func(w *runningServer, method, path string, headers ...string) *http.Response {
		r, err := http.NewRequest(method, w.url+path, nil)
		must(t, err)
		r.Header.Set("Origin", "https://anybody.example")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	bound := openWing(t, func(c *mcpserver.Config) { c.RequireDPoP, c.Registration = true, "closed" })
	for _, path := range []string{"/mcp/server-card", "/.well-known/ai-catalog.json",
		"/.well-known/mcp-server-card.json", "/.well-known/oauth-protected-resource/mcp"} {
		tag := ask(w, "GET", path).Header.Get("ETag")
		for _, known := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			r := ask(w, "GET", path, "If-None-Match", known)
			if n, err := io.Copy(io.Discard, r.Body); r.StatusCode != 304 || n != 0 || err != nil ||
				r.Header.Get("ETag") != tag || r.Header.Get("Cache-Control") != "public, max-age=3600" ||
				r.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s with %s: got %d %v, want 304 with what stands beside it", path, known, r.StatusCode,
					r.Header)
			}
		}
		for _, other := range []string{`"x"`, tag[1:], strings.ToUpper(tag), ""} {
			if r := ask(w, "GET", path, "If-None-Match", other); r.StatusCode != 200 {
				t.Errorf("%s with %s: got %d, want 200", path, other, r.StatusCode)
			}
		}
		if r := ask(w, "HEAD", path); r.StatusCode != 200 || r.ContentLength <= 0 || r.Header.Get("ETag") != tag {
			t.Errorf("HEAD %s: got %d %v", path, r.StatusCode, r.Header)
		}
		r := ask(w, "OPTIONS", path, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers",
			"if-none-match")
		if h := r.Header; r.StatusCode != 204 || h.Get("Access-Control-Allow-Methods") != "GET" ||
			!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Content-Type, If-None-Match") ||
			h.Get("Access-Control-Expose-Headers") != "ETag" {
			t.Errorf("OPTIONS %s: got %d %v", path, r.StatusCode, r.Header)
		}
		if r := ask(w, "POST", path); r.StatusCode != 405 || !strings.Contains(r.Header.Get("Allow"), "GET") {
			t.Errorf("POST %s: got %d, want 405", path, r.StatusCode)
		}
	}
	text, err := io.ReadAll(ask(bound, "GET", "/.well-known/mcp-server-card.json").Body)
	if err != nil || !strings.Contains(string(text), `"dynamic_client_registration":false`) {
		t.Errorf("the older card where registration is closed: %s %v", text, err)
	}
}

// SC-06: a burst from one address is held back, and those with a token go on.
func TestDocumentsAreBounded(t *testing.T) {
	w := openWing(t, func(c *mcpserver.Config) { c.DocumentsPerMinute = 5 })
	for i := range 8 {
		r, err := http.Get(w.resource + "/server-card")
		must(t, err)
		r.Body.Close()
		if want := map[bool]int{true: 200, false: 429}[i < 5]; r.StatusCode != want || want == 429 &&
			(r.Header.Get("Retry-After") == "" || r.Header.Get("Access-Control-Allow-Origin") != "*") {
			t.Errorf("request %d: got %d %v, want %d", i+1, r.StatusCode, r.Header, want)
		}
	}
	if status, _ := w.post(w.token("acme", allScopes...), list); status != 200 {
		t.Errorf("a call meanwhile: got %d, want 200", status)
	}
}

// A page of an allowed origin may call, and read the challenge; no other page may.
func TestBrowsersThatMayCall(t *testing.T) {
	w := openWing(t, func(c *mcpserver.Config) { c.AllowedOrigins = []string{"https://app.example"} })
	ask := func(method, origin string) *http.Response {
		r, err := http.NewRequest(method, w.resource, strings.NewReader(list))
		must(t, err)
		r.Header.Set("Origin", origin)
		r.Header.Set("Content-Type", "application/json")
		if method == http.MethodOptions {
			r.Header.Set("Access-Control-Request-Method", "POST")
		}
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		response.Body.Close()
		return response
	}
	if r := ask("OPTIONS", "https://app.example"); r.StatusCode != 204 ||
		!strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Mcp-Method") ||
		!strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "DPoP") {
		t.Errorf("preflight: got %d %v", r.StatusCode, r.Header)
	}
	if r := ask("POST", "https://app.example"); r.StatusCode != 401 ||
		!strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate, DPoP-Nonce") {
		t.Errorf("without token: got %d %v, want a challenge that the page can read", r.StatusCode, r.Header)
	}
	for _, method := range []string{"OPTIONS", "POST"} {
		if r := ask(method, "https://evil.example"); r.StatusCode != 403 ||
			r.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s from elsewhere: got %d %v, want 403", method, r.StatusCode, r.Header)
		}
	}
}

// A server that takes bound tokens alone says so where clients look first (RFC 9728 §2).
func TestAWingThatRequiresDPoP(t *testing.T) {
	w := openWing(t, func(c *mcpserver.Config) { c.RequireDPoP = true })
	response, err := http.Get(w.url + "/.well-known/oauth-protected-resource/mcp")
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	if !strings.Contains(string(body), `"dpop_bound_access_tokens_required":true`) {
		t.Errorf("the metadata say %s", body)
	}
	if status, body := w.post(w.token("acme", allScopes...), list); status != 401 {
		t.Errorf("a Bearer token: got %d %s, want 401", status, body)
	}
}

// DP-02: two replicas that share a Redis take a proof once, and each other's nonces.
func TestReplicasTakeAProofOnce(t *testing.T) {
	redis, prefix := testenv.Redis(t)
	share := func(c *mcpserver.Config) {
		c.Redis, c.RedisPrefix, c.DPoPNonceKey = config.Secret(redis), prefix,
			"thirty-two characters that nobody guesses"
	}
	one := openWing(t, share)
	two := openWing(t, share, func(c *mcpserver.Config) { c.Resource, c.Issuer = one.resource, one.issuer.URL() })
	k := dpoptest.NewKey(t, "ES256")
	claims := one.issuer.Claims(one.resource, allScopes...)
	claims.Confirmation.JKT = k.JKT()
	raw := one.issuer.Sign(claims)
	ask := func(w *runningServer, proof string) (int, string) {
		r, err := http.NewRequest(http.MethodPost, w.url+"/mcp", strings.NewReader(list))
		must(t, err)
		r.Host = strings.TrimPrefix(one.url, "http://")
		r.Header = http.Header{
			"Authorization": {"DPoP " + raw}, "Dpop": {proof}, "Content-Type": {"application/json"},
			"Accept": {"application/json, text/event-stream"},
		}
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		response.Body.Close()
		return response.StatusCode, response.Header.Get(dpop.NonceHeader)
	}
	_, nonce := ask(one, k.Proof("POST", one.resource, dpoptest.Token(raw)))
	once := k.Proof("POST", one.resource, dpoptest.Token(raw), dpoptest.Claim("nonce", nonce))
	if status, _ := ask(two, once); status != 200 {
		t.Errorf("with the other's nonce: got %d, want 200", status)
	}
	for i, w := range []*runningServer{one, two} {
		if status, _ := ask(w, once); status != 401 {
			t.Errorf("replayed at replica %d: got %d, want 401", i+1, status)
		}
	}
}

// RS-41: one grant's agent that runs wild is told to wait; another's goes on.
func TestCallsAreCounted(t *testing.T) {
	w := openWing(t, func(c *mcpserver.Config) { c.CallsPerMinute = 5 })
	raw := w.token("acme", allScopes...)
	for i := range 8 {
		status, _ := w.post(raw, list)
		if want := map[bool]int{true: 200, false: 429}[i < 5]; status != want {
			t.Errorf("request %d: got %d, want %d", i+1, status, want)
		}
	}
	other := w.issuer.Claims(w.resource, allScopes...)
	other.GrantID = "grt_2"
	if status, _ := w.post(w.issuer.Sign(other), list); status != 200 {
		t.Errorf("another grant: got %d, want 200", status)
	}
}

func TestReadiness(t *testing.T) {
	w := openWing(t)
	ready := func() int {
		r, err := http.Get(w.url + "/readyz")
		must(t, err)
		r.Body.Close()
		return r.StatusCode
	}
	if got := ready(); got != 200 {
		t.Errorf("got %d, want 200", got)
	}
	must(t, w.server.Close())
	if got := ready(); got != 503 {
		t.Errorf("with the database gone: got %d, want 503", got)
	}
	raw := w.token("acme", allScopes...)
	if text, failed := w.call(raw, "read_customer", map[string]any{"customer_id": "cus_acme_1001"}); !failed ||
		!strings.Contains(text, "support code") || strings.Contains(text, "sql") {
		t.Errorf("a call, meanwhile: got %v %s, want an error with a support code and nothing of ours", failed, text)
	}
}

// FT-18: a server whose issuer tells nothing yet opens, and lets nobody in.
func TestAWingThatIsToldNothing(t *testing.T) {
	w := openWing(t)
	database := "sqlite:" + filepath.Join(t.TempDir(), "companion.db")
	demotest.Migrate(t, database)
	s, err := mcpserver.New(t.Context(), mcpserver.Config{Resource: w.resource, Issuer: w.issuer.URL(),
		Database: database, ClientID: "cli_x", ClientSecret: "x"}, mcpserver.Deps{})
	must(t, err)
	defer s.Close()
	ask := func(method, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, w.url+path, nil)
		r.Header.Set("Authorization", "Bearer "+w.token("acme", allScopes...))
		answer := httptest.NewRecorder()
		s.Handler().ServeHTTP(answer, r)
		return answer
	}
	if got := ask("POST", "/mcp"); got.Code != 503 || got.Header().Get("Retry-After") == "" {
		t.Errorf("a good token: got %d %v, want 503", got.Code, got.Header())
	}
	if got := ask("GET", "/readyz"); got.Code != 503 {
		t.Errorf("readyz: got %d, want 503", got.Code)
	}
	s.Ended("grt_heard", time.Now().Add(time.Hour)) // from an issuer in the same process
	c := w.issuer.Claims(w.resource, allScopes...)
	c.GrantID = "grt_heard"
	r := httptest.NewRequest("POST", w.resource, nil)
	r.Header.Set("Authorization", "Bearer "+w.issuer.Sign(c))
	answer := httptest.NewRecorder()
	if s.Handler().ServeHTTP(answer, r); answer.Code != 401 {
		t.Errorf("an end that it has heard of: got %d, want 401", answer.Code)
	}
}

// SC-04: no plain http off this machine, among others.
func TestAWingThatKnowsTooLittleDoesNotOpen(t *testing.T) {
	good := mcpserver.Config{Resource: "https://mcp.example/mcp", Issuer: "https://as.example",
		Database: "sqlite:/nowhere/x.db"}
	for says, bend := range map[string]func(*mcpserver.Config){
		"plain form":  func(c *mcpserver.Config) { c.Resource = "https://MCP.example/mcp" },
		"has a query": func(c *mcpserver.Config) { c.Resource = "https://mcp.example/mcp?x=1" },
		"plain http":/* SC-04 */ func(c *mcpserver.Config) { c.Issuer = "http://as.example" },
		"issuer is not set": func(c *mcpserver.Config) { c.Issuer = "" },
		"database is not":   func(c *mcpserver.Config) { c.Database = "" },
		"not supported":     func(c *mcpserver.Config) { c.Algorithms = []string{"HS256"} },
		"go together":       func(c *mcpserver.Config) { c.ClientID = "cli_x" },
		"between 1s and":    func(c *mcpserver.Config) { c.RevocationStaleAfter = time.Hour },
		"between 100ms and": func(c *mcpserver.Config) {
			c.ClientID, c.ClientSecret, c.RevocationPollInterval = "cli_x", "x",
				10*time.Second
		},
		"not refuse or":    func(c *mcpserver.Config) { c.RevocationWhenStale = "pass" },
		"introspect needs": func(c *mcpserver.Config) { c.RevocationWhenStale = mcpserver.WhenStaleIntrospect },
		"no such file":     func(*mcpserver.Config) {},
	} {
		c := good
		bend(&c)
		if _, err := mcpserver.New(context.Background(), c, mcpserver.Deps{}); err == nil {
			t.Errorf("%s: got nil, want an error", says)
		} else if !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want it to say %q", err, says)
		}
	}
}

// A database that lets the server past its second wall is told of, once, at the start; SQLite has
// none to be past.
func TestAWingPastTheWallSaysSo(t *testing.T) {
	dsn := testenv.Postgres(t) // whose role is a superuser
	demotest.Migrate(t, dsn)
	path := "sqlite:" + t.TempDir() + "/companion.db"
	demotest.Migrate(t, path)
	for database, want := range map[string]int{dsn: 1, path: 0} {
		log := &testenv.Book{}
		s, err := mcpserver.New(context.Background(), mcpserver.Config{Resource: "https://mcp.example/mcp",
			Issuer: "https://as.example", Database: database}, mcpserver.Deps{
			Revoked: revocation.NewMemory(nil), Log: slog.New(slog.NewTextHandler(log, nil)),
		})
		must(t, err)
		must(t, s.Close())
		if got := strings.Count(log.String(), "row-level security"); got != want {
			t.Errorf("%.8s: told %d times, want %d: %s", database, got, want, log)
		}
	}
}
