package authserver_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// AZ-02, AS-13: near misses of the registered address, written on the wire as they stand.
func TestNearMissesOfTheRedirectURI(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	for _, miss := range []string{
		callback + "/", callback + "/../evil", "https://app.example/x/../cb", "https://app.example/./cb",
		"https://app.example//cb",
		"https://app.example/%2e%2e/cb", "https://app.example/cb/%2e%2e/cb", "https://app.example/%252e%252e/cb",
		"https://app.example/c%62", "https://app.example/c%2562",
		"https://APP.example/cb", "HTTPS://app.example/cb", "https://app.example/CB", "https://app.example:443/cb",
		"https://app.example:/cb", "https://app.example./cb",
		callback + "?x=1", callback + "?", callback + "#f", callback + "#", `https://app.example\cb`,
		`https://app.example\@evil.example/cb`, "https://evil.example/https://app.example/cb",
		"https://app.example/c\tb", "https://app.example/cb\n", "https://app.example/cb\r\nSet-Cookie: a=b",
		" " + callback, callback + " ", callback + "\x00",
		"https://аpp.example/cb", "https://app.exаmple/cb", "https://xn--pp-6kc.example/cb", "https://app。example/cb",
		"https://ａpp.example/cb",
		"https://app.example@evil.example/cb", "https://evil.example#@app.example/cb", "//app.example/cb",
		"http://app.example/cb",
	} {
		v := a.authorization("customers:read")
		v.Set("redirect_uri", miss)
		h.local(miss, v.Encode())
	}
}

// AZ-06, AZ-07, AZ-08, AZ-39: which client asks, and where its answer goes, is said exactly once.
func TestWhoAsksIsSaidOnce(t *testing.T) {
	h := startServer(t)
	one, two := h.register(map[string]any{}),
		h.register(map[string]any{"redirect_uris": []string{callback, callback + "/2"}})
	for what, a := range map[string]app{"one address": one, "two addresses": two} {
		v := a.authorization("customers:read")
		v.Del("redirect_uri")
		h.local("a client of "+what+" without redirect_uri", v.Encode())
		v.Set("redirect_uri", "")
		h.local("a client of "+what+" with an empty one", v.Encode())
	}
	rest := one.authorization("customers:read")
	rest.Del("redirect_uri")
	rest.Del("client_id")
	good, evil := "redirect_uri="+url.QueryEscape(callback), "redirect_uri=https%3A%2F%2Fevil.example"
	client, other := "client_id="+one.ID, "client_id="+two.ID
	for what, q := range map[string]string{
		"the good address first": good + "&" + evil + "&" + client, "the evil one first": evil + "&" + good + "&" +
			client, "the good one twice": good + "&" + good + "&" + client,
		"two states": good + "&" + client + "&state=other", "two clients": good + "&" + client + "&" + other,
		"two clients, turned": good + "&" + other + "&" + client, "one client twice": good + "&" + client +
			"&" + client,
	} {
		h.local(what, q+"&"+rest.Encode())
	}
	for _, name := range []string{"scope", "response_type", "code_challenge", "code_challenge_method", "prompt",
		"response_mode", "x"} {
		v := one.authorization("customers:read")
		v.Set(name, "a")
		v.Add(name, "b")
		h.told("two of "+name, v.Encode(), "invalid_request")
	}
	r := h.do("POST", "/oauth2/authorize?client_id="+two.ID, "application/x-www-form-urlencoded",
		one.authorization("customers:read").Encode(), nil)
	if r.Body.Close(); r.StatusCode != 400 || r.Header.Get("Location") != "" { // AZ-39
		t.Errorf("one client in the URL and another in the body: got %d to %q, want 400", r.StatusCode,
			r.Header.Get("Location"))
	}
}

// AZ-10 to AZ-15, AZ-21 to AZ-25, AS-18, AS-21, AS-23: what the application is told of a request
// that does not hold.
func TestRequestsThatDoNotHold(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	for _, row := range []struct {
		id, name, code string
		values         []string
	}{
		{"AZ-10", "response_type", "unsupported_response_type",
			[]string{"token", "id_token", "code token", "code id_token", "none", "", "code code", "CODE", "code "}},
		{"AZ-11", "response_mode", "invalid_request", []string{"fragment", "form_post", "web_message", "jwt",
			"query.jwt", "zzz", "QUERY"}},
		{"AZ-13", "code_challenge", "invalid_request", []string{""}},
		{"AZ-14", "code_challenge_method", "invalid_request", []string{"plain", "", "s256", "S512", "S256 "}},
		{"AZ-15", "code_challenge", "invalid_request",
			[]string{"short", strings.Repeat("a", 42), strings.Repeat("a", 44), strings.Repeat("a", 200),
				strings.Repeat("a", 42) + "=", strings.Repeat("a", 41) + "+/"}},
		{"AZ-21", "registration", "registration_not_supported",
			[]string{`{"redirect_uris":["https://evil.example/cb"]}`}},
		{"AZ-22", "scope", "invalid_scope", []string{"admin", "customers:read admin"}},
		{"AZ-23", "scope", "invalid_scope", []string{
			"customers:read\tcustomers:write", "customers:read,customers:write", "CUSTOMERS:READ", "*", "customers:*",
			"customers:re\u0430d", "customers:read\x00", "customers:read\nadmin",
			strings.TrimSpace(strings.Repeat("a ", 5000)), "\"customers:read\"",
		}},
		{"AZ-24", "resource", "invalid_target",
			[]string{"https://evil.example/mcp", "https://mcp.example.evil.example/mcp"}},
		{"AZ-25", "resource", "invalid_target", []string{
			"/mcp", "mcp", "urn:mcp", resourceURI + "#f", resourceURI + "#", resourceURI + "/",
			resourceURI + "/t/globex", "https://mcp.example:443/mcp", "https://mcp.example/mcp/../admin",
			"https://mcp.example/MCP", "https://mcp.example/%6dcp", "https://u@mcp.example/mcp", resourceURI + "?",
			"http://mcp.example/mcp", resourceURI + " ",
		}},
	} {
		for _, value := range row.values {
			v := a.authorization("customers:read")
			v.Set(row.name, value)
			h.told(row.id+", "+row.name+" "+shortened(value), v.Encode(), row.code)
			if v.Del(row.name); row.id == "AZ-13" || row.id == "AZ-14" || row.id == "AZ-10" {
				h.told(row.id+", no "+row.name, v.Encode(), row.code)
			}
		}
	}
	both := a.authorization("customers:read")
	for _, pair := range [][]string{{resourceURI, "https://evil.example/mcp"},
		{"https://evil.example/mcp", resourceURI}, {resourceURI, resourceURI + "/t/globex"}} {
		// AZ-26
		both["resource"] = pair
		h.told("AZ-26, two resources", both.Encode(), "invalid_target")
	}
}

// AZ-22, AZ-25, AS-11: what a request without a scope gets, what a client with a ceiling does not,
// and the one resource that is written otherwise.
func TestScopesAndResourcesThatAreFolded(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	initial, err := h.Server.Operator().CreateInitialToken(context.Background(),
		authserver.InitialTokenSpec{Tenant: "acme", Uses: 1, Scopes: []string{"customers:read"}})
	must(t, err)
	status, made := h.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`,
		http.Header{"Authorization": {"Bearer " + initial}})
	if status != 201 {
		t.Fatalf("registering with a ceiling: got %d %v", status, made)
	}
	bounded, a := app{h: h, ID: made["client_id"].(string)}, h.register(map[string]any{})
	h.told("AZ-22, a scope that is not for this client", bounded.authorization("customers:write").Encode(),
		"invalid_scope")

	for what, change := range map[string]func(url.Values){
		"no scope": func(v url.Values) { v.Del("scope") }, "an empty scope": func(v url.Values) { v.Set("scope", "") },
		"offline_access alone": func(v url.Values) { v.Set("scope", "offline_access") },
		"spaces":               func(v url.Values) { v.Set("scope", "  customers:read  ") },
		"the host in capitals": func(v url.Values) { v.Set("resource", "HTTPS://MCP.EXAMPLE/mcp") },
		"no resource":          func(v url.Values) { v.Del("resource") },
	} {
		v := a.authorization("customers:read")
		change(v)
		status, answer := a.token(redemption(ann.approve(v).Get("code")))
		raw, _ := answer["access_token"].(string)
		if status != 200 || answer["scope"] != "customers:read" || answer["refresh_token"] == nil {
			t.Fatalf("%s: got %d %v, want the baseline", what, status, answer)
		}
		if _, body := claims(t, raw); body["aud"] != resourceURI {
			t.Errorf("%s: aud %v, want %s", what, body["aud"], resourceURI)
		}
	}
}

// AZ-20: nothing is fetched for a request, and what an unsigned object says does not count.
func TestNothingIsFetchedForARequest(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	address, hits := canary(t)
	for name, value := range map[string]string{
		"request_uri": address + "/x", "request": encode(`{"alg":"none"}`) + "." +
			encode(`{"redirect_uri":"`+address+`","scope":"customers:write","response_type":"token"}`) + ".",
	} {
		v := a.authorization("customers:read")
		v.Set(name, value)
		h.told(name, v.Encode(), name+"_not_supported")
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests went out", hits.Load())
	}
}

// AZ-38: what is too much is refused before anything is done with it.
func TestEndlessRequests(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	good := a.authorization("customers:read").Encode()
	many := good
	for i := range 10_000 {
		many += "&p" + strings.Repeat("x", i%3) + string(rune('a'+i%26)) + "=1"
	}
	few := good
	for i := range 101 {
		few += "&p" + strings.Repeat("x", i) + "=1"
	}
	for what, q := range map[string]string{"64 KB": good + "&x=" + strings.Repeat("x", 64<<10),
		"ten thousand parameters": many, "more than a hundred": few} {
		r, _ := h.ask(q)
		if r.StatusCode != 400 && r.StatusCode != 414 && r.StatusCode != 431 || r.Header.Get("Location") != "" {
			t.Errorf("%s: got %d to %q, want 400, 414 or 431", what, r.StatusCode, r.Header.Get("Location"))
		}
	}
}
