package authserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

const wikiURI = "https://wiki.example/mcp"

// withWiki has a second resource, with scopes that the first has not and one that both have.
func withWiki(c *authserverConfig) {
	c.Resources = append(c.Resources, authserver.Resource{URI: wikiURI, Name: "Wiki", Scopes: []authserver.Scope{
		{Name: "pages:read", Description: "Read pages", Baseline: true},
		{Name: "pages:write", Description: "Write pages"}, {Name: "customers:read", Description: "Read customers"},
	}})
}

// Clients of MCP ask for all of scopes_supported, with the one resource that they want.
func TestAskingForAllScopesGivesThoseOfTheResource(t *testing.T) {
	h := startServer(t, withWiki)
	a := h.register(map[string]any{})
	m := h.machine("acme", "customers:read", "customers:write", "tickets:write")
	ann := h.person("ann@acme.example")
	_, body := h.get("/.well-known/oauth-authorization-server", nil)
	for _, name := range []string{"pages:read", "customers:read", "offline_access"} {
		if !strings.Contains(string(body), `"`+name+`"`) {
			t.Fatalf("scopes_supported lacks %s: %s", name, body)
		}
	}
	all := "customers:read customers:write tickets:write pages:read pages:write offline_access"
	ask := a.authorization()
	ask.Set("scope", all)
	code := ann.approve(ask).Get("code")
	status, answer := a.token(redemption(code))
	if status != 200 || answer["scope"] != "customers:read customers:write tickets:write" {
		t.Fatalf("a person's: got %d %v, want the scopes of the resource", status, answer)
	}
	refresh := refreshment(answer["refresh_token"].(string))
	refresh.Set("scope", all)
	if status, answer := a.token(refresh); status != 200 ||
		answer["scope"] != "customers:read customers:write tickets:write" {
		t.Errorf("renewed with the same words: got %d %v", status, answer)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}, "scope": {all}}
	if status, answer := m.token(form); status != 200 ||
		answer["scope"] != "customers:read customers:write tickets:write" {
		t.Errorf("a machine's: got %d %v", status, answer)
	}
	if r, _ := h.ask(withScope(a, "openid email "+all).Encode()); !strings.HasPrefix(r.Header.Get("Location"),
		"/consent") {
		t.Errorf("with scopes of identity: got %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	for scope, want := range map[string]string{
		all + " nobodys:scope": "invalid_scope", "pages:read": "invalid_scope", "openid pages:read": "invalid_scope",
		"pages:read offline_access": "invalid_scope", "customers:read pages:READ": "invalid_scope",
	} {
		h.told(scope, withScope(a, scope).Encode(), want)
		form.Set("scope", scope)
		status, answer := m.token(form)
		wantError(t, "a machine, "+scope, status, answer, 400, want)
	}
	form.Set("resource", "https://nobody.example/mcp")
	form.Set("scope", all)
	status, answer = m.token(form)
	wantError(t, "another resource", status, answer, 400, "invalid_target")
}

func withScope(a app, scope string) url.Values {
	form := a.authorization()
	form.Set("scope", scope)
	return form
}

// A resource has up to 500 scopes, and a client that asks for all of them gets a token that the
// guard takes.
func TestFiveHundredScopesInOneRequest(t *testing.T) {
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprintf("department.%03d:write", i))
	}
	h := startServer(t, func(c *authserverConfig) {
		c.Resources[0].Scopes = nil
		for _, name := range names {
			c.Resources[0].Scopes = append(c.Resources[0].Scopes, authserver.Scope{Name: name, Description: "Write"})
		}
	})
	ctx := context.Background()
	must(t, h.Store.CreateTenant(ctx,
		tenant.Tenant{ID: "initech", Name: "Initech", Policy: tenant.Policy{Scopes: names}, CreatedAt: h.Clock.Now()}))
	must(t, h.Store.PutRole(ctx, user.Role{TenantID: "initech", Name: "all", Scopes: names}))
	must(t, h.Store.PutMember(ctx, "initech", "usr_bob", "all"))
	must(t, h.Store.RemoveMember(ctx, "globex", "usr_bob"))
	a, bob := h.register(map[string]any{"scope": strings.Join(names, " ")}), h.person("bob@globex.example")
	ask := a.authorization(names...)
	ask.Set("state", strings.Repeat("s", 8192))
	got := bob.approve(ask)
	if len(got.Get("state")) != 8192 {
		t.Errorf("the state came back with %d bytes, want 8192", len(got.Get("state")))
	}
	status, answer := a.token(redemption(got.Get("code")))
	if status != 200 || len(strings.Fields(answer["scope"].(string))) != 500 {
		t.Fatalf("got %d, %.200v, want 500 scopes", status, answer)
	}
	if raw := answer["access_token"].(string); len(raw) > token.MaxSize {
		t.Errorf("the token has %d bytes, and %d are taken", len(raw), token.MaxSize)
	}
	secret := client.NewSecret()
	c := client.Client{ID: client.NewID(), Name: "m", TenantID: "initech",
		GrantTypes: []string{client.GrantCredentials}, AuthMethod: client.AuthBasic,
		SecretHash: client.HashSecret(secret), Scopes: names, Origin: "operator", CreatedAt: h.Clock.Now()}
	must(t, h.Store.CreateClient(ctx, c))
	m := app{h, c.ID, secret}
	status, answer = m.token(url.Values{"grant_type": {"client_credentials"}, "scope": {strings.Join(names, " ")}})
	if status != 200 || len(strings.Fields(answer["scope"].(string))) != 500 {
		t.Errorf("a machine: got %d %.200v", status, answer)
	}
	if status, answer := h.post("/oauth2/par", "application/x-www-form-urlencoded", ask.Encode(), nil); status != 201 {
		t.Errorf("pushed: got %d %v", status, answer)
	}
	long := slices.Clone(h.config.Resources)
	long[0].Scopes = nil
	for i := range 500 {
		long[0].Scopes = append(long[0].Scopes, authserver.Scope{Name: fmt.Sprintf("%040d", i), Description: "x"})
	}
	h.config.Resources = long
	if err := h.config.Check(); err == nil || !strings.Contains(err.Error(), "the names of its scopes") {
		t.Errorf("names that no token can hold: got %v, want them refused", err)
	}
}

// All that scopes_supported lists can be asked for at once: a list that would make the request too
// long is left out.
func TestWhatTheMetadataListCanBeAskedFor(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) {
		for i := range 8 {
			r := authserver.Resource{URI: fmt.Sprintf("https://many-%d.example/mcp", i), Name: "Many"}
			for n := range 400 {
				r.Scopes = append(r.Scopes, authserver.Scope{Name: fmt.Sprintf("area-%d.part-%03d:use", i, n),
					Description: "Use it"})
			}
			c.Resources = append(c.Resources, r)
		}
	})
	var m map[string]any
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		m = nil
		_, body := h.get(path, nil)
		must(t, json.Unmarshal(body, &m))
		listed, _ := m["scopes_supported"].([]any)
		var names []string
		for _, s := range listed {
			names = append(names, s.(string))
		}
		if n := len(url.QueryEscape(strings.Join(names, " "))); n > 16<<10+100 {
			t.Errorf("%s lists scopes of %d bytes", path, n)
		}
	}
	if listed, _ := m["scopes_supported"].([]any); !slices.Contains(listed, any("openid")) {
		t.Errorf("the scopes of identity are not listed: %v", listed)
	}
}

// A token exchange that asks for all of scopes_supported gets what is the resource's, as elsewhere.
func TestAnExchangeLeavesOutOtherResourcesScopes(t *testing.T) {
	h := startServer(t, withWiki)
	m := h.keeper()
	subject, _ := m.tokens(h.person("ann@acme.example"), "customers:read", "tickets:write")
	status, answer := m.token(exchanging(subject, "scope", "customers:read pages:read pages:write offline_access"))
	if status != 200 || answer["scope"] != "customers:read" {
		t.Errorf("got %d %v, want the resource's scope alone", status, answer)
	}
	status, answer = m.token(exchanging(subject, "scope", "customers:read nobodys:scope"))
	wantError(t, "a scope that nobody has", status, answer, 400, "invalid_scope")
	status, answer = m.token(exchanging(subject, "scope", "pages:read"))
	wantError(t, "another resource's alone", status, answer, 400, "invalid_scope")
}
