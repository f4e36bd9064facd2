package e2e_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// cardRules are the published schema of the server card.
func cardRules(t *testing.T) *jsonschema.Resolved {
	t.Helper()
	text, err := os.ReadFile("testdata/server-card.schema.json")
	must(t, err)
	var s jsonschema.Schema
	must(t, json.Unmarshal(text, &s))
	rules, err := s.Resolve(nil)
	must(t, err)
	return rules
}

func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	must(t, json.Unmarshal([]byte(text), &v))
	return v
}

// document fetches a document as a stranger's page would.
func document(t *testing.T, url, accept string) (http.Header, string) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	must(t, err)
	r.Header.Set("Accept", accept)
	r.Header.Set("Origin", "https://anybody.example")
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	if response.StatusCode != 200 {
		t.Fatalf("%s: got %d %s", url, response.StatusCode, text)
	}
	return response.Header, string(text)
}

// The schema is worth something: it refuses what the standard refuses.
func TestCardSchemaRefuses(t *testing.T) {
	rules := cardRules(t)
	const good = `{"$schema":"https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json",
		"name":"com.example.notes/notes","version":"1.4.0","description":"Notes.",
		"icons":[{"src":"https://x.example/i.svg","sizes":["any"],"theme":"light"}],
		"remotes":[{"type":"streamable-http","url":"https://{region}.notes.example.com/mcp",
		"headers":[{"name":"X-Workspace","isSecret":false}]}],
		"_meta":{"com.example.notes/support":{}},"authorization":{"tolerated":true}}`
	if err := rules.Validate(decoded(t, good)); err != nil {
		t.Errorf("a good card: %v", err)
	}
	for what, bend := range map[string]func(map[string]any){
		"no name":                      func(c map[string]any) { delete(c, "name") },
		"a name without its namespace": func(c map[string]any) { c["name"] = "notes" },
		"two slashes":                  func(c map[string]any) { c["name"] = "a/b/c" },
		"another schema": func(c map[string]any) {
			c["$schema"] = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
		},
		"a long description": func(c map[string]any) { c["description"] = strings.Repeat("x", 101) },
		"an empty title":     func(c map[string]any) { c["title"] = "" },
		"a remote of no kind": func(c map[string]any) {
			c["remotes"] = []any{map[string]any{"type": "stdio",
				"url": "https://x"}}
		},
		"a remote elsewhere": func(c map[string]any) {
			c["remotes"] = []any{map[string]any{"type": "sse",
				"url": "file:///x"}}
		},
	} {
		c := decoded(t, good)
		bend(c)
		if rules.Validate(c) == nil {
			t.Errorf("%s: got nil, want an error", what)
		}
	}
}

// SC-01 to SC-03, SC-05, SC-07, SC-09: the card of the running product is one, it is found by the
// catalog, it agrees with what the server says of itself when asked, and neither says what a
// stranger should not know.
func TestCardOfTheRunningProduct(t *testing.T) {
	h := open(t)
	origin := strings.TrimSuffix(h.Resource, "/mcp")
	header, text := document(t, origin+"/.well-known/ai-catalog.json", "application/ai-catalog+json")
	if got := header.Get("Content-Type"); got != "application/ai-catalog+json" {
		t.Errorf("the catalog is %s", got)
	}
	var catalog struct {
		SpecVersion string
		Entries     []struct{ Identifier, Type, URL string }
	}
	must(t, json.Unmarshal([]byte(text), &catalog))
	if catalog.SpecVersion != "1.0" || len(catalog.Entries) != 1 ||
		catalog.Entries[0].Type != "application/mcp-server-card+json" ||
		catalog.Entries[0].URL != h.Resource+"/server-card" ||
		catalog.Entries[0].Identifier != "urn:air:localhost:mcp:companion" {
		t.Fatalf("the catalog says %s", text)
	}
	said := text
	header, text = document(t, catalog.Entries[0].URL, "application/mcp-server-card+json")
	if header.Get("Content-Type") != "application/mcp-server-card+json" ||
		header.Get("Access-Control-Allow-Origin") != "*" || header.Get("Cache-Control") != "public, max-age=3600" ||
		header.Get("ETag") == "" {
		t.Errorf("the card's head is %v", header)
	}
	card := decoded(t, text)
	if err := cardRules(t).Validate(card); err != nil {
		t.Errorf("the card is none: %v\n%s", err, text)
	}
	said += text

	// SC-07
	a, ann := &agent{house: h}, newPerson(h, "ann@acme.example")
	registered, err := a.register(map[string]any{"client_name": "A", "redirect_uris": []string{callback},
		"token_endpoint_auth_method": "none"}, "")
	must(t, err)
	at, err := ann.consent(a.request(nil), "")
	if err != nil {
		t.Fatalf("%v after registering: %s", err, registered)
	}
	q, err := ann.decide(at, "approve", nil)
	must(t, err)
	a.code = q.Get("code")
	_, err = a.redeem()
	must(t, err)
	discovered, err := ask(h.Resource, a.access, "server/discover", "")
	must(t, err)
	result, ok := decoded(t, discovered.body)["result"].(map[string]any)
	if !ok {
		t.Fatalf("server/discover: %s", discovered)
	}
	info := result["_meta"].(map[string]any)["io.modelcontextprotocol/serverInfo"].(map[string]any)
	for _, name := range []string{"name", "version", "title"} {
		if card[name] != info[name] {
			t.Errorf("%s is %v in the card and %v live", name, card[name], info[name])
		}
	}
	remote := card["remotes"].([]any)[0].(map[string]any)
	if remote["url"] != h.Resource || remote["type"] != "streamable-http" ||
		!reflect.DeepEqual(remote["supportedProtocolVersions"], result["supportedVersions"]) {
		t.Errorf("the card's remote is %v, live it is %v", remote, result["supportedVersions"])
	}

	// SC-05
	_, older := document(t, origin+"/.well-known/mcp-server-card.json", "application/json")
	_, described := document(t, origin+"/.well-known/oauth-protected-resource/mcp", "application/json")
	for _, secret := range []string{h.DataDir, "sqlite", "postgres", "redis", "gatehouse.db", "password", "secret",
		"acme", "globex", "127.0.0.1", "10.", "/root", "goroutine"} {
		if strings.Contains(strings.ReplaceAll(said+older+described, "2026-07-28", ""), secret) {
			t.Errorf("the documents say %q:\n%s\n%s\n%s", secret, said, older, described)
		}
	}
}

// RS-28: what is not said otherwise listens on this machine alone.
func TestListensOnThisMachineAlone(t *testing.T) {
	h := open(t)
	_, help := h.operate("settings")
	for _, want := range []string{"127.0.0.1:8080", "127.0.0.1:8081"} {
		if !strings.Contains(help, want) {
			t.Errorf("the default is not %s:\n%s", want, help)
		}
	}
	addresses, err := net.InterfaceAddrs()
	must(t, err)
	port := h.Resource[strings.LastIndex(h.Resource, ":")+1 : strings.LastIndex(h.Resource, "/")]
	for _, a := range addresses {
		ip, _, err := net.ParseCIDR(a.String())
		if err != nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			continue
		}
		if conn, err := net.Dial("tcp", net.JoinHostPort(ip.String(), port)); err == nil {
			conn.Close()
			t.Errorf("it answers at %s", ip)
		}
	}
}
