package authserver_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

const (
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessType    = "urn:ietf:params:oauth:token-type:access_token"
	billingURI    = "https://billing.example/mcp"
)

// withBilling serves a second resource, which has a scope of the first and one of its own.
func withBilling(c *authserver.Config) {
	c.Resources = append(c.Resources, authserver.Resource{URI: billingURI, Name: "Billing",
		AccessTokenLifetime: 20 * time.Minute,
		Scopes: []authserver.Scope{
			{Name: "customers:read", Description: "Read customers", Baseline: true},
			{Name: "invoices:read", Description: "Read invoices"},
		}})
}

func exchanging(subject string, pairs ...string) url.Values {
	form := url.Values{"grant_type": {exchangeGrant}, "subject_token": {subject}, "subject_token_type": {accessType}}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return form
}

// keeper is an application that keeps a secret and may exchange its tokens.
func (h *testServer) keeper() app {
	h.t.Helper()
	c, secret, err := h.Server.Operator().CreateClient(context.Background(),
		admin.ClientSpec{Name: "keeper", RedirectURIs: []string{callback}, TokenExchange: true})
	must(h.t, err)
	return app{h, c.ID, secret}
}

// RFC 8693: a client narrows a token of its own, and never widens one (TK-20).
func TestAClientNarrowsItsToken(t *testing.T) {
	h := startServer(t, withBilling)
	a := h.keeper()
	access, refresh := a.tokens(h.person("ann@acme.example"), "customers:read", "customers:write")
	h.Clock.step(4 * time.Minute)
	status, answer := a.token(exchanging(access, "scope", "customers:read", "requested_token_type", accessType))
	if status != 200 || answer["issued_token_type"] != accessType || answer["scope"] != "customers:read" ||
		answer["refresh_token"] != nil || answer["expires_in"] != 360.0 {
		t.Fatalf("got %d %v, want a narrower token that ends with the first", status, answer)
	}
	_, first := claims(t, access)
	_, body := claims(t, answer["access_token"].(string))
	if body["exp"] != first["exp"] || body["grant_id"] != first["grant_id"] || body["sub"] != "usr_ann" ||
		body["aud"] != resourceURI || body["act"] != nil || body["jti"] == first["jti"] {
		t.Errorf("got %v, want the same permission", body)
	}
	narrow := answer["access_token"].(string)
	for what, row := range map[string]struct {
		form url.Values
		code string
	}{
		"wider":                         {exchanging(access, "scope", "customers:read tickets:write"), "invalid_scope"},
		"wider than the narrowed":       {exchanging(narrow, "scope", "customers:write"), "invalid_scope"},
		"another resource":              {exchanging(access, "resource", billingURI), "invalid_target"},
		"another resource, as audience": {exchanging(access, "audience", billingURI), "invalid_target"},
		"a foreign resource":            {exchanging(access, "resource", "https://evil.example/mcp"), "invalid_target"},
		"two resources": {exchanging(access, "resource", resourceURI, "resource", billingURI),
			"invalid_target"},
		"the issuer itself": {exchanging(access, "resource", h.URL), "invalid_target"},
		"no token":          {exchanging(""), "invalid_request"},
		"a refresh token":   {exchanging(refresh), "invalid_request"},
		"garbage":           {exchanging("x.y.z"), "invalid_request"},
		"bent":              {exchanging(access[:len(access)-2] + "AA"), "invalid_request"},
		"an id token": {exchanging(access, "requested_token_type",
			"urn:ietf:params:oauth:token-type:id_token"), "invalid_request"},
		"an actor that is nothing": {exchanging(access, "actor_token", "x", "actor_token_type", accessType),
			"invalid_request"},
	} {
		status, answer := a.token(row.form)
		wantError(t, what, status, answer, 400, row.code)
	}
	saml := exchanging(access)
	saml.Set("subject_token_type", "urn:ietf:params:oauth:token-type:saml2")
	status, answer = a.token(saml)
	wantError(t, "another kind of token", status, answer, 400, "invalid_request")

	status, answer = h.keeper().token(exchanging(access))
	wantError(t, "another client's token", status, answer, 400, "invalid_request")
	public := h.register(map[string]any{"grant_types": []string{"authorization_code", exchangeGrant}})
	own, _ := public.tokens(h.person("ann@acme.example"), "customers:read")
	status, answer = public.token(exchanging(own))
	wantError(t, "a client that proves nothing", status, answer, 400, "unauthorized_client")
	secretive := h.register(map[string]any{"grant_types": []string{"authorization_code", exchangeGrant},
		"token_endpoint_auth_method": "client_secret_basic"})
	own, _ = secretive.tokens(h.person("ann@acme.example"), "customers:read")
	status, answer = secretive.token(exchanging(own))
	wantError(t, "a client that registered by itself", status, answer, 400, "unauthorized_client")

	// the role lost one
	must(t, h.Store.PutRole(t.Context(),
		user.Role{TenantID: "acme", Name: "member", Scopes: []string{"customers:write"}}))
	status, answer = a.token(exchanging(access))
	if status != 200 || answer["scope"] != "customers:write" {
		t.Errorf("after the role lost a scope: got %d %v", status, answer)
	}
	revoke(t, h.Server.Operator(), first["grant_id"].(string), "test")
	status, answer = a.token(exchanging(narrow))
	wantError(t, "after the end of the permission", status, answer, 400, "invalid_request")
	h.Clock.step(7 * time.Minute)
	status, answer = a.token(exchanging(narrow))
	wantError(t, "after its time", status, answer, 400, "invalid_request")
}

// RFC 8693 §1.1, §4.1: a server that was shown a token calls another for its caller, and the token
// says so.
func TestAServerPassesItsCallerOn(t *testing.T) {
	h := startServer(t, withBilling)
	ctx := context.Background()
	server := func(uri string, scopes ...string) app {
		c, secret, err := h.Server.Operator().CreateClient(ctx,
			admin.ClientSpec{Name: "server", Resource: uri, Scopes: scopes})
		must(t, err)
		return app{h, c.ID, secret}
	}
	crm, billing := server(resourceURI, "customers:read"), server(billingURI, "customers:read")
	a := h.register(map[string]any{})
	access, _ := a.tokens(h.person("ann@acme.example"), "customers:read", "customers:write")
	status, answer := crm.token(exchanging(access, "resource", billingURI))
	if status != 200 || answer["scope"] != "customers:read" || answer["expires_in"] != 600.0 {
		t.Fatalf("got %d %v, want a token for the other server, no longer than the caller's", status, answer)
	}
	passed := answer["access_token"].(string)
	_, caller := claims(t, access)
	_, body := claims(t, passed)
	if body["aud"] != billingURI || body["sub"] != "usr_ann" || body["tenant_id"] != "acme" ||
		body["client_id"] != crm.ID || body["grant_id"] != caller["grant_id"] ||
		body["act"].(map[string]any)["sub"] != crm.ID {
		t.Errorf("got %v, want ann at the other server, by the first", body)
	}
	// and further: who acted before stays inside
	status, answer = billing.token(exchanging(passed, "resource", resourceURI))
	if status != 200 {
		t.Fatalf("got %d %v", status, answer)
	}
	_, body = claims(t, answer["access_token"].(string))
	outer := body["act"].(map[string]any)
	if outer["sub"] != billing.ID || outer["act"].(map[string]any)["sub"] != crm.ID {
		t.Errorf("got act %v, want the chain", outer)
	}
	round := answer["access_token"].(string)
	for range 10 { // it is not passed round for ever
		if status, answer = crm.token(exchanging(round, "resource", billingURI)); status != 200 {
			break
		}
		if status, answer = billing.token(exchanging(answer["access_token"].(string), "resource",
			resourceURI)); status != 200 {
			break
		}
		round = answer["access_token"].(string)
	}
	wantError(t, "passed on for ever", status, answer, 400, "invalid_request")

	for what, row := range map[string]struct {
		who  app
		form url.Values
		code string
	}{
		"a token for another server": {billing, exchanging(access), "invalid_request"},
		"more than it may pass on": {crm, exchanging(access, "scope", "customers:write", "resource", billingURI),
			"invalid_scope"},
		"to itself": {crm, exchanging(access), "invalid_target"},
		"a scope that is not there": {crm, exchanging(access, "scope", "invoices:read", "resource", billingURI),
			"invalid_scope"},
	} {
		status, answer := row.who.token(row.form)
		wantError(t, what, status, answer, 400, row.code)
	}
	// The permission is not the server's to end (RV-02), and it is told nothing of it that it did
	// not get itself (RV-08).
	for what, raw := range map[string]string{"the caller's token": access, "the one that it got": passed} {
		status, answer = h.post("/oauth2/revoke", "application/x-www-form-urlencoded",
			url.Values{"token": {raw}}.Encode(), basicAuth(crm.ID, crm.Secret))
		wantError(t, "revoking "+what, status, answer, 400, "invalid_grant")
	}
	if _, answer = h.post("/oauth2/introspect", "application/x-www-form-urlencoded",
		url.Values{"token": {passed}}.Encode(), basicAuth(crm.ID, crm.Secret)); answer["active"] != true {
		t.Errorf("the permission has ended: %v", answer)
	}
	status, _ = h.post("/oauth2/revoke", "application/x-www-form-urlencoded",
		url.Values{"client_id": {a.ID}, "token": {access}}.Encode(), nil)
	if status != 200 {
		t.Fatalf("its own client ends it: got %d", status)
	}
	if _, answer = h.post("/oauth2/introspect", "application/x-www-form-urlencoded",
		url.Values{"token": {passed}}.Encode(), basicAuth(crm.ID, crm.Secret)); answer["active"] != false {
		t.Errorf("the token that was passed on outlives its permission: %v", answer)
	}
}

// RFC 8693 §2.1: an actor_token says who acts. It is the client's own, of the same tenant, and what
// comes of it ends with it.
func TestSomebodyActsForAnother(t *testing.T) {
	h := startServer(t, withBilling)
	a, b := h.keeper(), h.keeper()
	access, _ := a.tokens(h.person("ann@acme.example"), "customers:read")
	actor := func(of app, tenant string) string {
		carol := h.person("carol@both.example")
		at := carol.consentPage(of.authorization("customers:read"))
		at = carol.open("/consent?" + at.url.RawQuery + "&tenant=" + tenant)
		_, answer := of.token(
			redemption(carol.submit(at, url.Values{"decision": {"approve"}}).away.Query().Get("code")))
		return answer["access_token"].(string)
	}
	h.Clock.step(5 * time.Minute)
	later, _ := a.tokens(h.person("ann@acme.example"), "customers:read")
	status, answer := a.token(exchanging(later, "actor_token", actor(a, "acme"), "actor_token_type", accessType))
	if status != 200 {
		t.Fatalf("got %d %v", status, answer)
	}
	if _, body := claims(t, answer["access_token"].(string)); body["act"].(map[string]any)["sub"] != "usr_carol" ||
		body["client_id"] != a.ID || body["sub"] != "usr_ann" {
		t.Errorf("got %v, want ann, by carol", body)
	}
	carols := actor(a, "acme")
	h.Clock.step(4 * time.Minute)
	anns, _ := a.tokens(h.person("ann@acme.example"), "customers:read")
	if _, answer = a.token(exchanging(anns, "actor_token", carols, "actor_token_type",
		accessType)); answer["expires_in"] != 360.0 {
		t.Errorf("with an actor who has six minutes left: got %v", answer)
	}
	for what, form := range map[string]url.Values{
		"an actor of another tenant": exchanging(later, "actor_token", actor(a, "globex"), "actor_token_type",
			accessType),
		"another client's token": exchanging(later, "actor_token", actor(b, "acme"), "actor_token_type",
			accessType),
		"an actor of no type": exchanging(later, "actor_token", carols),
		"an actor whose token is over": exchanging(later, "actor_token", access, "actor_token_type",
			"urn:ietf:params:oauth:token-type:saml2"),
		"an actor of another's machine": exchanging(later, "actor_token", machineToken(h), "actor_token_type",
			accessType),
	} {
		status, answer = a.token(form)
		wantError(t, what, status, answer, 400, "invalid_request")
	}
	if h.Log.Contains(later) || h.Log.Contains(carols) {
		t.Error("the log holds a token")
	}
}

func machineToken(h *testServer) string {
	_, answer := h.machine("acme", "customers:read").token(url.Values{"grant_type": {client.GrantCredentials}})
	return answer["access_token"].(string)
}

// A client of a tenant registers for it with the tenant's token, and exchanges its own.
func TestAMachineNarrowsItsToken(t *testing.T) {
	h := startServer(t)
	token, err := h.Server.Operator().CreateInitialToken(t.Context(), admin.InitialTokenSpec{Tenant: "acme"})
	must(t, err)
	status, made := h.post("/oauth2/register", "application/json", `{"grant_types":["client_credentials","`+
		exchangeGrant+`"]}`, http.Header{"Authorization": {"Bearer " + token}})
	if status != 201 || !strings.Contains(strings.Join(words(made["grant_types"]), " "), exchangeGrant) {
		t.Fatalf("got %d %v", status, made)
	}
	m := app{h, made["client_id"].(string), made["client_secret"].(string)}
	_, answer := m.token(url.Values{"grant_type": {client.GrantCredentials}})
	status, answer = m.token(exchanging(answer["access_token"].(string), "scope", "tickets:write"))
	if status != 200 || answer["scope"] != "tickets:write" {
		t.Errorf("got %d %v", status, answer)
	}
	if _, body := claims(t, answer["access_token"].(string)); body["sub"] != m.ID {
		t.Errorf("got %v, want the machine itself", body)
	}
}

func words(list any) []string {
	var out []string
	for _, w := range list.([]any) {
		out = append(out, w.(string))
	}
	return out
}
