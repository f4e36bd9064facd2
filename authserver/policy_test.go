package authserver_test

import (
	"context"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// allows changes a tenant's policy.
func (h *testServer) allows(tenantID string, change func(*admin.PolicySpec)) {
	h.t.Helper()
	s := admin.PolicySpec{Tenant: tenantID}
	change(&s)
	_, err := h.Server.Operator().SetPolicy(context.Background(), s)
	must(h.t, err)
}

func ways(kinds ...string) func(*admin.PolicySpec) {
	return func(s *admin.PolicySpec) { s.Registrations = &kinds }
}

// A tenant's policy refuses the very next request, on the page and to the application, in plain
// words; and what was allowed before goes on when it may again.
func TestAPolicyCountsAtOnce(t *testing.T) {
	h := startServer(t)
	a, ann := h.register(map[string]any{"client_name": "Agent Smith"}), h.person("ann@acme.example")
	_, refresh := a.tokens(ann, "customers:read")
	code := a.code(ann, "customers:read")
	under := ann.consentPage(a.authorization("customers:read"))

	h.allows("acme", ways("operator", "tenant"))
	why := "the organisation ACME does not allow this application: it authorizes only applications that " +
		"became known " +
		"in one of these ways: operator, tenant; this one: dynamic"
	at := ann.consentPage(a.authorization("customers:read"))
	if at.status != 400 || !strings.Contains(at.body, why) || strings.Contains(at.body, "approve") {
		t.Errorf("the page: got %d %.900s", at.status, at.body)
	}
	if back := html.UnescapeString(at.body); !strings.Contains(back, "error=access_denied") ||
		!strings.Contains(back, url.QueryEscape(why)) {
		t.Errorf("the way back says: %.900s", at.body)
	}
	late := ann.submit(under, url.Values{"decision": {"approve"}}) // the page was open when the policy changed
	if late.away == nil || late.away.Query().Get("error") != "access_denied" ||
		!strings.HasPrefix(late.away.Query().Get("error_description"), why) {
		t.Errorf("agreeing on an older page: got %v", late.away)
	}
	for what, form := range map[string]url.Values{"a renewal": refreshment(refresh),
		"a code of before": redemption(code)} {
		status, answer := a.token(form)
		wantError(t, what, status, answer, 400, "invalid_grant")
		if !strings.HasPrefix(answer["error_description"].(string), why) {
			t.Errorf("%s: got %v, want the reason", what, answer)
		}
	}
	h.allows("acme", ways())
	if status, answer := a.token(refreshment(refresh)); status != 200 {
		t.Errorf("allowed again: got %d %v", status, answer)
	}
	if status, answer := a.token(redemption(code)); status != 200 {
		t.Errorf("the code, allowed again: got %d %v", status, answer)
	}

	// Scopes.
	h.allows("acme", func(s *admin.PolicySpec) { s.Scopes = &[]string{"customers:read"} })
	at = ann.consentPage(a.authorization("customers:write"))
	if at.status != 400 ||
		!strings.Contains(at.body, "the policy of the organisation ACME allows nothing of what this application asks "+
			"for: customers:write") {
		t.Errorf("nothing that the policy allows: got %d %.900s", at.status, at.body)
	}
	// A client of the tenant's own is refused before anybody signs in.
	own, _, err := h.Server.Operator().CreateClient(t.Context(),
		admin.ClientSpec{Tenant: "acme", RedirectURIs: []string{callback}, Public: true})
	must(t, err)
	h.allows("acme", ways("document"))
	at = h.person("ann@acme.example").open("/oauth2/authorize?" +
		app{h: h, ID: own.ID}.authorization("customers:read").Encode())
	if at.away == nil || at.away.Query().Get("error") != "access_denied" ||
		!strings.Contains(at.away.Query().Get("error_description"), "this one: operator") {
		t.Errorf("acme's own client: got %d %v at %s", at.status, at.away, at.url)
	}
}

// Anyone who belongs to several tenants is offered those that let the application in, and told
// about the others. No form names another (TN-01).
func TestAPolicyAmongSeveralTenants(t *testing.T) {
	h := startServer(t)
	a, carol := h.register(map[string]any{}), h.person("carol@both.example")
	h.allows("acme", func(s *admin.PolicySpec) { s.Clients = &[]string{h.machine("acme", "customers:read").ID} })
	at := carol.consentPage(a.authorization("customers:read"))
	if !strings.Contains(at.body, "GLOBEX") || !strings.Contains(at.body, `name="tenant" value="globex"`) {
		t.Fatalf("got %.600s, want the page of the one that is left", at.body)
	}
	tx := at.url.Query().Get("tx")
	if at := carol.open("/consent?tx=" + tx + "&tenant=acme"); at.status != 400 ||
		!strings.Contains(at.body, "it authorizes only applications that it has named") {
		t.Errorf("the other one: got %d %.600s", at.status, at.body)
	}
	forged := carol.submit(at, url.Values{"decision": {"approve"}, "tenant": {"acme"}})
	if forged.away == nil || forged.away.Query().Get("error") != "access_denied" {
		t.Errorf("a forged tenant: got %v %d", forged.away, forged.status)
	}
	h.allows("globex", ways("operator"))
	at = carol.consentPage(a.authorization("customers:read"))
	if at.status != 400 || !strings.Contains(at.body, "ACME") || !strings.Contains(at.body, "GLOBEX") {
		t.Errorf("none is left: got %d %.600s", at.status, at.body)
	}
}

// No grant type forgets the policy: each is refused by it, and each gets the life that it bounds.
func TestNoGrantTypeForgetsThePolicy(t *testing.T) {
	var h *testServer
	var ann *person
	kinds := map[string]struct {
		ready func() (app, url.Values)
		code  string
	}{
		"authorization_code": {func() (app, url.Values) {
			a := h.register(map[string]any{})
			return a, redemption(a.code(ann, "customers:read"))
		}, "invalid_grant"},
		"refresh_token": {func() (app, url.Values) {
			a := h.register(map[string]any{})
			_, refresh := a.tokens(ann, "customers:read")
			return a, refreshment(refresh)
		}, "invalid_grant"},
		"client_credentials": {func() (app, url.Values) {
			return h.machine("acme", "customers:read"), url.Values{"grant_type": {"client_credentials"}}
		}, "unauthorized_client"},
		deviceGrant: {func() (app, url.Values) {
			a := h.device()
			deviceCode, userCode, _ := a.begin("customers:read")
			ann.submit(ann.atDevice("/device?user_code="+userCode), url.Values{"decision": {"approve"}}).want(t,
				"letting the device in", 200, "/device/done")
			return a, polling(deviceCode)
		}, "invalid_grant"},
		exchangeGrant: {func() (app, url.Values) {
			a := h.keeper()
			access, _ := a.tokens(ann, "customers:read")
			return a, exchanging(access)
		}, "invalid_request"},
		assertionGrant: {func() (app, url.Values) {
			a := h.managed()
			return a, asserting(h.trusts("acme", "https://idp.example").lets(a, nil))
		}, "invalid_grant"},
	}
	for _, kind := range issuer.GrantTypes() {
		if _, ok := kinds[kind]; !ok {
			t.Errorf("nobody looks whether %s asks the policy", kind)
		}
	}
	for kind, row := range kinds {
		t.Run(kind, func(t *testing.T) {
			h = startServer(t)
			ann = h.person("ann@acme.example")
			a, form := row.ready()
			h.allows("acme",
				func(s *admin.PolicySpec) { s.Clients = &[]string{h.machine("acme", "customers:read").ID} })
			status, answer := a.token(form)
			wantError(t, "under the policy", status, answer, 400, row.code)
			if d, _ := answer["error_description"].(string); !strings.Contains(d,
				"it authorizes only applications that it has named") {
				t.Errorf("got %v, want the reason", answer)
			}
			life := 90 * time.Second
			h.allows("acme", func(s *admin.PolicySpec) { s.Clients, s.MaxAccessTokenLifetime = &[]string{}, &life })
			if kind == exchangeGrant { // the token that is exchanged is older than the ceiling
				a, form = row.ready()
			}
			if status, answer = a.token(form); status != 200 || answer["expires_in"] != 90.0 {
				t.Fatalf("allowed again: got %d %v, want a token of 90 seconds", status, answer)
			}
			_, body := claims(t, answer["access_token"].(string))
			if body["exp"].(float64)-body["iat"].(float64) != 90 {
				t.Errorf("the token is valid from %v to %v", body["iat"], body["exp"])
			}
		})
	}
}

// What a server passes on is the permission of the client that called it: the policy is asked about
// that one, and not about the server.
func TestAPolicyAndAServerThatPassesOn(t *testing.T) {
	h := startServer(t, withBilling)
	c, secret, err := h.Server.Operator().CreateClient(t.Context(),
		admin.ClientSpec{Name: "server", Resource: resourceURI, Scopes: []string{"customers:read"}})
	must(t, err)
	server, a := app{h, c.ID, secret}, h.register(map[string]any{})
	access, _ := a.tokens(h.person("ann@acme.example"), "customers:read")
	h.allows("acme", ways("dynamic"))
	if status, answer := server.token(exchanging(access, "resource", billingURI)); status != 200 {
		t.Errorf("for an agent that is authorized: got %d %v", status, answer)
	}
	h.allows("acme", ways("operator"))
	status, answer := server.token(exchanging(access, "resource", billingURI))
	wantError(t, "for one that is not", status, answer, 400, "invalid_request")
}

// How long after the consent a permission can be renewed. A grant that came of it without the
// person's being asked is as old.
func TestAPolicyBoundsRenewal(t *testing.T) {
	h := startServer(t, func(c *authserver.Config) {
		c.RefreshTokenIdleTimeout, c.RefreshTokenLifetime = 240*time.Hour, 240*time.Hour
	})
	made, secret, err := h.Server.Operator().CreateClient(t.Context(),
		admin.ClientSpec{RedirectURIs: []string{callback}})
	must(t, err)
	a, ann := app{h, made.ID, secret}, h.person("ann@acme.example")
	_, refresh := a.tokens(ann, "customers:read")
	life := 2 * time.Hour
	h.allows("acme", func(s *admin.PolicySpec) { s.MaxRefreshTokenLifetime = &life })
	renew := func() (int, map[string]any) {
		status, answer := a.token(refreshment(refresh))
		if status == 200 {
			refresh = answer["refresh_token"].(string)
		}
		return status, answer
	}
	h.Clock.step(time.Hour)
	if status, answer := renew(); status != 200 {
		t.Fatalf("within its time: got %d %v", status, answer)
	}
	silent := a.authorization("customers:read")
	silent.Set("prompt", "none")
	q := ann.open("/oauth2/authorize?" + silent.Encode()).away.Query()
	status, derived := a.token(redemption(q.Get("code")))
	if status != 200 {
		t.Fatalf("without a page: got %v %d %v", q, status, derived)
	}
	h.Clock.step(time.Hour)
	for what, form := range map[string]url.Values{"after it": refreshment(refresh),
		"the result of it": refreshment(derived["refresh_token"].(string))} {
		status, answer := a.token(form)
		wantError(t, what, status, answer, 400, "invalid_grant")
		if !strings.Contains(answer["error_description"].(string), "renewed for 2h0m0s; ask the person again") {
			t.Errorf("%s: got %v, want the reason", what, answer)
		}
	}
	if q := ann.open("/oauth2/authorize?" + silent.Encode()).away.Query(); q.Get("error") != "consent_required" {
		t.Errorf("without a page, after it: got %v", q)
	}
	none := time.Duration(0)
	h.allows("acme", func(s *admin.PolicySpec) { s.MaxRefreshTokenLifetime = &none })
	if status, answer := renew(); status != 200 {
		t.Errorf("with the bound gone: got %d %v", status, answer)
	}
}

// LG-15, LG-16: anyone who is disabled is out: sessions, renewals, and the tokens that their agents
// hold. Allowing them again brings nothing of that back. Another password ends sessions, and no
// grants. Who leaves a tenant loses what they allowed there, and keeps the rest.
func TestShuttingSomebodyOut(t *testing.T) {
	h := startServer(t)
	o := h.Server.Operator()
	a, ann, carol := h.register(map[string]any{}), h.in("ann@acme.example"), h.in("carol@both.example")
	ended := func(access string) bool {
		_, body := claims(t, access)
		over, err := h.List.Ended(t.Context(), body["grant_id"].(string))
		must(t, err)
		return over
	}
	access, refresh := a.tokens(ann, "customers:read")
	code := a.code(ann, "customers:read")
	page := ann.consentPage(a.authorization("customers:read"))
	must(t, o.DisableUser(t.Context(), admin.DisableSpec{User: "ann@acme.example"}))
	if !ended(access) {
		t.Error("her agent's token is not on the list of the ended")
	}
	for what, form := range map[string]url.Values{"a renewal": refreshment(refresh), "a code": redemption(code)} {
		status, answer := a.token(form)
		wantError(t, what, status, answer, 400, "invalid_grant")
	}
	if at := ann.submit(page, url.Values{"decision": {"approve"}}); at.away != nil || at.url.Path != "/signin" {
		t.Errorf("her page answers: at %s", at.url)
	}
	if at := ann.open("/agents"); at.url.Path != "/signin" {
		t.Errorf("her session goes on: at %s", at.url)
	}
	must(t, o.EnableUser(t.Context(), "usr_ann"))
	if at := ann.open("/agents"); at.url.Path != "/signin" {
		t.Errorf("her session of before came back: at %s", at.url)
	}
	if a.alive(refresh) {
		t.Error("what had ended came back")
	}
	again := h.in("ann@acme.example")
	_, stays := a.tokens(again, "customers:read")
	_, err := o.SetPassword(t.Context(),
		admin.PasswordSpec{User: "ann@acme.example", Password: "another battery staple"})
	must(t, err)
	if at := again.open("/agents"); at.url.Path != "/signin" {
		t.Errorf("a session goes on under another password: at %s", at.url)
	}
	if !a.alive(stays) {
		t.Error("another password revoked what was allowed")
	}

	for_ := func(tenantID string) (access, refresh string) {
		at := carol.consentPage(a.authorization("customers:read"))
		at = carol.submit(carol.open("/consent?tx="+at.url.Query().Get("tx")+"&tenant="+tenantID),
			url.Values{"decision": {"approve"}})
		_, answer := a.token(redemption(at.away.Query().Get("code")))
		return answer["access_token"].(string), answer["refresh_token"].(string)
	}
	acmes, renewsAcmes := for_("acme")
	globexs, renewsGlobexs := for_("globex")
	must(t, o.RemoveMember(t.Context(), admin.RemovalSpec{Email: "carol@both.example", Tenant: "acme"}))
	if !ended(acmes) || a.alive(renewsAcmes) {
		t.Error("what she allowed for acme goes on")
	}
	if ended(globexs) || !a.alive(renewsGlobexs) {
		t.Error("what she allowed for globex has ended, too")
	}
}

// TN-11: one client, one person, two tenants, and policies and roles at random. What comes out is
// each time what the table says: asked ∩ policy ∩ role, of that very tenant; renewed, it is what
// the table says by then.
func TestWhatThePolicyTableSays(t *testing.T) {
	h := startServer(t)
	o := h.Server.Operator()
	a, carol := h.register(map[string]any{}), h.in("carol@both.example")
	random := rand.New(rand.NewPCG(11, 7))
	some := func() []string {
		for {
			var picked []string
			for _, s := range allScopes {
				if random.IntN(3) > 0 {
					picked = append(picked, s)
				}
			}
			if len(picked) > 0 {
				return picked
			}
		}
	}
	policy, role := map[string][]string{}, map[string][]string{}
	shuffle := func(tenantID string) {
		policy[tenantID] = some()
		h.allows(tenantID, func(s *admin.PolicySpec) { p := policy[tenantID]; s.Scopes = &p })
		role[tenantID] = oauth.Intersect(some(), policy[tenantID])
		if len(role[tenantID]) == 0 {
			role[tenantID] = policy[tenantID][:1]
		}
		must(t, o.PutRole(t.Context(), admin.RoleSpec{Tenant: tenantID, Role: "member", Scopes: role[tenantID]}))
	}
	sorted := func(scopes []string) string {
		scopes = slices.Sorted(slices.Values(scopes))
		return strings.Join(scopes, " ")
	}
	said := func(answer map[string]any) string {
		scope, _ := answer["scope"].(string)
		return sorted(strings.Fields(scope))
	}
	for round := range 40 {
		tenantID := []string{"acme", "globex"}[random.IntN(2)]
		shuffle("acme")
		shuffle("globex")
		asked := some()
		want := oauth.Intersect(asked, policy[tenantID], role[tenantID])
		what := fmt.Sprintf("round %d, %s: asked %v, policy %v, role %v", round, tenantID, asked, policy[tenantID],
			role[tenantID])
		at := carol.consentPage(a.authorization(asked...))
		at = carol.open("/consent?tx=" + at.url.Query().Get("tx") + "&tenant=" + tenantID)
		if len(want) == 0 {
			if strings.Contains(at.body, `value="approve"`) {
				t.Errorf("%s: there is something to allow", what)
			}
			continue
		}
		at = carol.submit(at, url.Values{"decision": {"approve"}})
		if at.away == nil {
			t.Fatalf("%s: at %s %d", what, at.url, at.status)
		}
		status, answer := a.token(redemption(at.away.Query().Get("code")))
		if status != 200 || said(answer) != sorted(want) {
			t.Fatalf("%s: got %d %v, want %v", what, status, answer, want)
		}
		if _, body := claims(t, answer["access_token"].(string)); body["tenant_id"] != tenantID {
			t.Errorf("%s: the token is for %v", what, body["tenant_id"])
		}
		shuffle(tenantID)
		want = oauth.Intersect(want, policy[tenantID], role[tenantID])
		status, answer = a.token(refreshment(answer["refresh_token"].(string)))
		if len(want) == 0 && status != 400 || len(want) > 0 && (status != 200 || said(answer) != sorted(want)) {
			t.Fatalf("%s, renewed under policy %v, role %v: got %d %v, want %v", what, policy[tenantID], role[tenantID],
				status, answer, want)
		}
	}
}
