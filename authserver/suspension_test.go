package authserver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation/redislist"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/redisttl"
)

// deployments are the two kinds of stores.
var deployments = map[string]func(t *testing.T) func(*authserver.Config){
	"SQLite": func(*testing.T) func(*authserver.Config) { return func(*authserver.Config) {} },
	"PostgreSQL and Redis": func(t *testing.T) func(*authserver.Config) {
		return func(c *authserver.Config) {
			c.Database = testenv.Postgres(t)
			url, prefix := testenv.Redis(t)
			c.Redis, c.RedisPrefix = config.Secret(url), prefix
		}
	},
}

// resource is what a resource server has of the list of revoked grants.
func (h *testServer) resource() *revocation.Replica {
	h.t.Helper()
	var feed revocation.Feed = h.List
	if h.config.Redis != "" {
		c, err := redisttl.Open(h.t.Context(), h.config.Redis.Reveal())
		must(h.t, err)
		h.t.Cleanup(func() { c.Close() })
		feed = redislist.New(c, h.config.RedisPrefix, h.Clock.Now)
	}
	return revocation.NewReplica(revocation.ReplicaOptions{Feed: feed, Now: h.Clock.Now})
}

// accepted says whether a resource server that follows the list accepts an access token, as
// mcpserver/guard decides.
func accepted(t *testing.T, list *revocation.Replica, access string) bool {
	t.Helper()
	must(t, list.CatchUp(t.Context()))
	_, c := claims(t, access)
	ended, err := list.Ended(t.Context(), c["grant_id"].(string))
	must(t, err)
	issued := int64(c["iat"].(float64))
	said := token.Claims{ClientID: c["client_id"].(string)}
	said.GrantClientID, _ = c["grant_client_id"].(string)
	if act, there := c["act"]; there {
		raw, err := json.Marshal(act)
		must(t, err)
		must(t, json.Unmarshal(raw, &said.Actor))
	}
	for _, id := range said.Clients() {
		ended = ended || list.Suspended(revocation.Client(id), issued)
	}
	return !ended && !list.Suspended(revocation.Tenant(c["tenant_id"].(string)), issued)
}

// C4: a disabled client gets nothing from any endpoint, its tokens are refused, and when it is
// enabled again its people's grants and its own go on.
func TestADisabledClientGetsNothing(t *testing.T) {
	for name, deployment := range deployments {
		t.Run(name, func(t *testing.T) {
			h := keptBy(startServer(t, deployment(t), withBilling))
			o, list, ann := h.Server.Operator(), h.resource(), h.person("ann@acme.example")
			a := h.keeper()
			access, refresh := a.tokens(ann, "customers:read")
			code, request := a.code(ann, "customers:read"), a.pushed("customers:read")
			consent := ann.consentPage(a.authorization("customers:read"))
			device := h.device()
			deviceCode, userCode, _ := device.begin("customers:read")
			ann.submit(ann.atDevice("/device?user_code="+userCode), url.Values{"decision": {"approve"}}).want(t,
				"letting the device in", 200, "/device/done")
			waiting, waitingUser, _ := device.begin("customers:read")
			m := h.machine("acme", "customers:read")
			_, answer := m.token(url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}})
			ofMachine := answer["access_token"].(string)
			idp, managed := h.trusts("acme", acmeIDP), h.managed()
			_, answer = managed.token(asserting(idp.lets(managed, nil)))
			asserted := answer["access_token"].(string)
			server, secret,
				err := o.CreateClient(t.Context(), admin.ClientSpec{Name: "passes on", Resource: resourceURI,
				Scopes: []string{"customers:read"}})
			must(t, err)
			passing := app{h, server.ID, secret}
			status, answer := passing.token(exchanging(access, "resource", billingURI))
			if status != 200 {
				t.Fatalf("passing on: got %d %v", status, answer)
			}
			passed := answer["access_token"].(string)
			bystander := h.register(map[string]any{"client_name": "Bystander"})
			others, othersRefresh := bystander.tokens(ann, "customers:read")

			all := []app{a, device, m, managed}
			for _, c := range all {
				must(t, o.DisableClient(t.Context(), c.ID))
			}
			for what, token := range map[string]string{"an access token": access, "a machine's": ofMachine,
				"an asserted one": asserted, "one that a server got for its caller": passed} {
				if accepted(t, list, token) {
					t.Errorf("%s is accepted", what)
				}
			}
			if at := ann.open("/agents"); !strings.Contains(at.body, "It can do nothing at present") {
				t.Errorf("the person's page does not say it: %s", at.body)
			}
			if at := ann.open(acmes); !strings.Contains(at.body, "has disabled it") {
				t.Errorf("the administrator's page does not say it: %d %s", at.status, at.body)
			}
			if !accepted(t, list, others) || !bystander.alive(othersRefresh) {
				t.Error("another client is refused, too")
			}
			try := func(when string) {
				t.Helper()
				for what, row := range map[string]struct {
					a    app
					form url.Values
				}{
					"a refresh token": {a, refreshment(refresh)}, "a code": {a, redemption(code)},
					"an exchange": {a, exchanging(access)},
					"a device":    {device, polling(deviceCode)}, "a device that waits": {device, polling(waiting)},
					"client credentials": {m,
						url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}}},
					"an assertion": {managed, asserting(idp.lets(managed, nil))},
				} {
					status, answer := row.a.token(row.form)
					wantError(t, when+": "+what, status, answer, 401, "invalid_client")
				}
				status, answer := passing.token(exchanging(access, "resource", billingURI))
				wantError(t, when+": its caller is passed on", status, answer, 400, "invalid_request")
				status, answer = a.push(a.authorization("customers:read"))
				wantError(t, when+": a pushed request", status, answer, 401, "invalid_client")
				for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke", "/oauth2/device_authorization"} {
					status, answer := h.post(path, "application/x-www-form-urlencoded",
						url.Values{"token": {access}}.Encode(), basicAuth(a.ID, a.Secret))
					wantError(t, when+": "+path, status, answer, 401, "invalid_client")
				}
				if status, answer := h.post("/oauth2/introspect", "application/x-www-form-urlencoded",
					url.Values{"token": {access}}.Encode(), basicAuth(passing.ID, passing.Secret)); status != 200 ||
					answer["active"] != false {
					t.Errorf("%s: its token is introspected as %d %v", when, status, answer)
				}
				if at := ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode()); at.away != nil ||
					at.url.Path == "/consent" || !strings.Contains(at.body, "disabled") {
					t.Errorf("%s: an authorization request is at %s (%d)", when, at.url, at.status)
				}
			}
			if at := ann.open("/oauth2/authorize?" + request.Encode()); at.away != nil || at.url.Path == "/consent" {
				t.Errorf("a request that was pushed before is at %s", at.url)
			}
			if at := ann.submit(consent, url.Values{"decision": {"approve"}}); at.away != nil {
				t.Errorf("a consent page of before leads to %s", at.away)
			}
			if at := ann.atDevice("/device?user_code=" + waitingUser); strings.Contains(at.body, "Headless") {
				t.Error("a device of before is shown to a person")
			}
			try("disabled")
			if at := ann.open("/agents"); !strings.Contains(at.body, "keeper") {
				t.Error("the person does not see the disabled client's grant, which they may revoke")
			}
			must(t, o.DisableClient(t.Context(), a.ID)) // again: nothing is otherwise
			h.start()
			o, list = h.Server.Operator(), h.resource()
			try("after a restart")
			if accepted(t, list, access) {
				t.Error("after a restart its token is accepted")
			}

			h.Clock.step(time.Second)
			for _, c := range all {
				must(t, o.EnableClient(t.Context(), c.ID))
			}
			for what, row := range map[string]struct {
				a    app
				form url.Values
			}{
				"a refresh token":    {a, refreshment(refresh)},
				"client credentials": {m, url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}}},
				"a device":           {device, polling(deviceCode)},
				"an assertion":       {managed, asserting(idp.lets(managed, nil))},
			} {
				status, answer := row.a.token(row.form)
				if status != 200 {
					t.Errorf("enabled: %s: got %d %v, want a token", what, status, answer)
					continue
				}
				if !accepted(t, list, answer["access_token"].(string)) {
					t.Errorf("enabled: %s: its new token is refused", what)
				}
			}
			for action, want := range map[string]int{"client.disable": 5, "client.enable": 4} {
				lines, err := h.Store.Events(t.Context(), audit.Filter{Action: action, Limit: 100})
				if err != nil || len(lines) != want {
					t.Errorf("%s: got %d lines (%v), want %d", action, len(lines), err, want)
				}
			}
		})
	}
}

// A token that a client got on the strength of another's grant is refused when either of the two is
// disabled, or a server that passed the caller on before: also by the issuer, when somebody asks
// about it.
func TestADisabledServersTokens(t *testing.T) {
	h := startServer(t, withBilling)
	o, list, a := h.Server.Operator(), h.resource(), h.keeper()
	access, _ := a.tokens(h.person("ann@acme.example"), "customers:read")
	server := func(resource string) app {
		c, secret, err := o.CreateClient(t.Context(), admin.ClientSpec{Name: resource, Resource: resource,
			Scopes: []string{"customers:read"}})
		must(t, err)
		return app{h, c.ID, secret}
	}
	passing, billing := server(resourceURI), server(billingURI)
	status, answer := passing.token(exchanging(access, "resource", billingURI))
	if status != 200 {
		t.Fatalf("passing on: got %d %v", status, answer)
	}
	passed := answer["access_token"].(string)
	status, answer = billing.token(exchanging(passed, "resource", resourceURI))
	if status != 200 {
		t.Fatalf("passing it on further: got %d %v", status, answer)
	}
	further := answer["access_token"].(string)
	is := func(server app, raw string) bool {
		t.Helper()
		_, answer := h.post("/oauth2/introspect", "application/x-www-form-urlencoded",
			url.Values{"token": {raw}}.Encode(), basicAuth(server.ID, server.Secret))
		return answer["active"] == true
	}
	active := func() bool { return is(billing, passed) }
	if !active() || !accepted(t, list, passed) || !is(billing, further) || !accepted(t, list, further) {
		t.Fatal("refused before")
	}
	must(t, o.DisableClient(t.Context(), passing.ID))
	if active() || accepted(t, list, passed) {
		t.Error("a token of the disabled server is accepted, or introspected as active")
	}
	if is(billing, further) || accepted(t, list, further) {
		t.Error("a token that came through the disabled server is accepted, or introspected as active")
	}
	status, answer = billing.token(exchanging(passed, "resource", resourceURI))
	wantError(t, "passing it on further", status, answer, 400, "invalid_request")
	if !accepted(t, list, access) {
		t.Error("the caller's own token is refused, too")
	}
}

// What a client says of itself, or its document, and what is cleared away, enables nobody.
func TestADisabledClientStaysDisabled(t *testing.T) {
	h := startServer(t)
	o := h.Server.Operator()
	shared := h.register(said(nil))
	must(t, o.DisableClient(t.Context(), shared.ID))
	again, err := json.Marshal(said(nil))
	must(t, err)
	status, answer := h.post("/oauth2/register", "application/json", string(again), nil)
	if status != 400 || answer["error"] != "invalid_client" {
		t.Errorf("registering the same again: got %d %v, want a refusal", status, answer)
	}

	status, answer = h.post("/oauth2/register", "application/json",
		`{"client_name":"Managed","redirect_uris":["https://app.example/cb"],`+
			`"token_endpoint_auth_method":"client_secret_basic"}`, nil)
	if status != 201 {
		t.Fatalf("registering: got %d %v", status, answer)
	}
	id, manage := answer["client_id"].(string), answer["registration_access_token"].(string)
	must(t, o.DisableClient(t.Context(), id))
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		r := h.do(method, "/oauth2/register/"+id, "application/json",
			`{"client_id":"`+id+`","redirect_uris":["https://app.example/cb"]}`,
			http.Header{"Authorization": {"Bearer " + manage}})
		r.Body.Close()
		if r.StatusCode != 401 {
			t.Errorf("%s of its registration: got %d, want 401", method, r.StatusCode)
		}
	}

	document := client.Client{ID: "https://app.example/client", Name: "Documented", Origin: client.OriginDocument,
		AuthMethod: client.AuthNone, CreatedAt: h.Clock.Now()}
	must(t, h.Store.PutDocument(t.Context(), document))
	must(t, o.DisableClient(t.Context(), document.ID))
	h.Clock.step(200 * 24 * time.Hour)
	h.clean()
	if err := h.Store.PutDocument(t.Context(), document); err != client.ErrDisabled {
		t.Errorf("its document, read again: got %v, want ErrDisabled", err)
	}
	for _, id := range []string{shared.ID, id, document.ID} {
		if c, err := h.Store.RegisteredClient(t.Context(), id); err != nil || c.DisabledAt.IsZero() {
			t.Errorf("%s: got %+v, %v; want it there, and disabled", id, c, err)
		}
		if _, err := h.Store.Client(t.Context(), id); err != client.ErrNotFound {
			t.Errorf("%s: got %v, want it unknown to all but the operator", id, err)
		}
	}
}

// A document is not read again for a client that is disabled, not by pushing either; when it is
// enabled, it is as it was.
func TestADisabledClientOfADocument(t *testing.T) {
	p := newPublisher(t)
	h := startServer(t)
	h.documents = p.fetcher
	h.start()
	o, ann, a := h.Server.Operator(), h.person("ann@acme.example"), app{h: h, ID: documentURL}
	_, refresh := a.tokens(ann, "customers:read")
	read := p.fetched()
	must(t, o.DisableClient(t.Context(), documentURL))
	h.Clock.step(2 * time.Minute) // longer than the document may be kept
	if at := ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode()); at.away != nil ||
		!strings.Contains(at.body, "disabled") {
		t.Errorf("at %s: %.300s", at.url, at.body)
	}
	status, answer := a.push(a.authorization("customers:read"))
	wantError(t, "pushing", status, answer, 401, "invalid_client")
	status, answer = a.token(refreshment(refresh))
	wantError(t, "renewing", status, answer, 401, "invalid_client")
	if n := p.fetched(); n != read {
		t.Errorf("its document was read %d times meanwhile", n-read)
	}
	must(t, o.EnableClient(t.Context(), documentURL))
	if status, answer := a.token(refreshment(refresh)); status != 200 {
		t.Errorf("enabled: got %d %v", status, answer)
	}
	a.tokens(ann, "customers:read")
}

// C4: nobody gets or renews tokens for a suspended tenant, its administrators' pages are closed;
// another tenant of the same person is untouched, and resuming restores what there was.
func TestASuspendedTenantGetsNothing(t *testing.T) {
	for name, deployment := range deployments {
		t.Run(name, func(t *testing.T) {
			h := keptBy(startServer(t, deployment(t), withBilling))
			o, list, carol, ann := h.Server.Operator(), h.resource(), h.in("carol@both.example"),
				h.in("ann@acme.example")
			a := h.keeper()
			in := func(tenantID string) (access, refresh string) {
				t.Helper()
				at := carol.consentPage(a.authorization("customers:read"))
				if strings.Contains(at.body, `value="globex"`) && strings.Contains(at.body, `value="acme"`) {
					at = carol.open("/consent?tx=" + at.url.Query().Get("tx") + "&tenant=" + tenantID)
				}
				at = carol.submit(at, url.Values{"decision": {"approve"}})
				status, answer := a.token(redemption(at.away.Query().Get("code")))
				if status != 200 {
					t.Fatalf("for %s: got %d %v", tenantID, status, answer)
				}
				return answer["access_token"].(string), answer["refresh_token"].(string)
			}
			access, refresh := in("acme")
			if _, c := claims(t, access); c["tenant_id"] != "acme" {
				t.Fatalf("got a token for %v", c["tenant_id"])
			}
			elsewhere, elsewhereRefresh := in("globex")
			silent := a.authorization("customers:read")
			silent.Set("prompt", "none")
			annAccess, _ := a.tokens(ann, "customers:read")
			code := a.code(ann, "customers:read")
			consent := ann.consentPage(a.authorization("customers:read"))
			if at := ann.open("/oauth2/authorize?" + silent.Encode()); at.away == nil ||
				at.away.Query().Get("code") == "" {
				t.Fatalf("without a page: at %s %v, want a code", at.url, at.away)
			}
			device := h.device()
			deviceCode, userCode, _ := device.begin("customers:read")
			ann.submit(ann.atDevice("/device?user_code="+userCode), url.Values{"decision": {"approve"}}).want(t,
				"letting the device in", 200, "/device/done")
			m := h.machine("acme", "customers:read")
			_, answer := m.token(url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}})
			ofMachine := answer["access_token"].(string)
			idp, managed := h.trusts("acme", acmeIDP), h.managed()
			initial, err := o.CreateInitialToken(t.Context(), authserver.InitialTokenSpec{Tenant: "acme", Uses: 2})
			must(t, err)
			bearer := http.Header{"Authorization": {"Bearer " + initial}}
			status, answer := h.post("/oauth2/register", "application/json",
				`{"redirect_uris":["https://own.example/cb"],"token_endpoint_auth_method":"client_secret_basic"}`,
				bearer)
			if status != 201 {
				t.Fatalf("registering a client of acme: got %d %v", status, answer)
			}
			own := app{h, answer["client_id"].(string), answer["client_secret"].(string)}
			manage := answer["registration_access_token"].(string)
			update := `{"client_id":"` + own.ID + `","redirect_uris":["https://other.example/cb"]}`

			must(t, o.SuspendTenant(t.Context(), "acme"))
			for what, token := range map[string]string{"carol's": access, "ann's": annAccess,
				"the machine's": ofMachine} {
				if accepted(t, list, token) {
					t.Errorf("%s token of acme is accepted", what)
				}
			}
			if !accepted(t, list, elsewhere) {
				t.Error("carol's token of globex is refused")
			}
			for what, row := range map[string]struct {
				a    app
				form url.Values
				code string
			}{
				"a refresh token": {a, refreshment(refresh), "access_denied"},
				"a code":          {a, redemption(code), "access_denied"},
				"an exchange":     {a, exchanging(access), "invalid_request"},
				"a device":        {device, polling(deviceCode), "access_denied"},
				"client credentials": {m, url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}},
					"unauthorized_client"},
				"an assertion": {managed, asserting(idp.lets(managed, nil)), "invalid_grant"},
			} {
				status, answer := row.a.token(row.form)
				wantError(t, what, status, answer, 400, row.code)
			}
			if at := ann.open("/oauth2/authorize?" + silent.Encode()); at.away == nil ||
				at.away.Query().Get("error") == "" {
				t.Errorf("without a page: at %s %v, want an error", at.url, at.away)
			}
			if at := ann.submit(consent, url.Values{"decision": {"approve"}}); at.away != nil &&
				at.away.Query().Get("code") != "" {
				t.Errorf("a consent page of before leads to %s", at.away)
			}
			if at := ann.open(acmes); at.status != 404 || !strings.Contains(at.body, "or it is suspended") {
				t.Errorf("its administrator's page: got %d %s", at.status, at.body)
			}
			if at := ann.open("/agents"); !strings.Contains(at.body, "suspended the organisation") {
				t.Errorf("the person's page does not say it: %s", at.body)
			}
			if status, answer := h.post("/oauth2/register", "application/json",
				`{"grant_types":["client_credentials"],"redirect_uris":[],`+
					`"token_endpoint_auth_method":"client_secret_basic"}`,
				http.Header{"Authorization": {"Bearer " + initial}}); status < 400 {
				t.Errorf("its initial access token: got %d %v", status, answer)
			}
			push := own.authorization("customers:read")
			push.Set("redirect_uri", "https://own.example/cb")
			status, answer = own.push(push)
			wantError(t, "pushing", status, answer, 403, "access_denied")
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
				status, answer := h.manage(method, own.ID, manage, update)
				wantError(t, method+" of a registration", status, answer, 403, "access_denied")
			}
			if status, answer := a.token(refreshment(elsewhereRefresh)); status != 200 ||
				!accepted(t, list, answer["access_token"].(string)) {
				t.Errorf("carol's grant for globex: got %d %v", status, answer)
			}
			in("globex")

			h.Clock.step(time.Second)
			must(t, o.ResumeTenant(t.Context(), "acme"))
			for what, row := range map[string]struct {
				a    app
				form url.Values
			}{
				"a refresh token":    {a, refreshment(refresh)},
				"client credentials": {m, url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}}},
				"a code":             {a, redemption(code)}, "a device": {device, polling(deviceCode)},
				"an assertion": {managed, asserting(idp.lets(managed, nil))},
			} {
				status, answer := row.a.token(row.form)
				if status != 200 || !accepted(t, list, answer["access_token"].(string)) {
					t.Errorf("resumed: %s: got %d %v, want a token that is accepted", what, status, answer)
				}
			}
			if status, answer := h.manage(http.MethodPut, own.ID, manage, update); status != 200 {
				t.Errorf("resumed: its client's registration: got %d %v", status, answer)
			}
			if at := ann.open(acmes); at.status != 200 {
				t.Errorf("resumed: its administrator's page: got %d", at.status)
			}
		})
	}
}

// C4: a tenant that is deleted goes with all that belongs to it; its tokens are refused, what
// people have elsewhere stays, its id is never given again, and the audit verifies. What was cut
// short by a kill is completed.
func TestADeletedTenantIsGone(t *testing.T) {
	for name, deployment := range deployments {
		for _, killed := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", killed after the commit"}[killed], func(t *testing.T) {
				h := keptBy(startServer(t, deployment(t)))
				o, list, ann := h.Server.Operator(), h.resource(), h.in("ann@acme.example")
				a, m := h.register(map[string]any{}), h.machine("acme", "customers:read")
				access, refresh := a.tokens(ann, "customers:read")
				stays, staysRefresh := a.tokens(h.person("bob@globex.example"), "customers:read")
				_, answer := m.token(url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}})
				ofMachine := answer["access_token"].(string)
				h.trusts("acme", acmeIDP)
				_, err := o.CreateInitialToken(t.Context(), authserver.InitialTokenSpec{Tenant: "acme"})
				must(t, err)
				if killed {
					must(t, h.Store.DeleteTenant(t.Context(), "acme", h.Clock.Now()))
					h.start()
					o = h.Server.Operator()
					list = h.resource()
					must(t, h.Server.Settle(t.Context()))
					h.Clock.step(11 * time.Second)
					must(t, h.Server.Settle(t.Context()))
				} else {
					must(t, o.DeleteTenant(t.Context(), "acme"))
				}
				if accepted(t, list, access) || accepted(t, list, ofMachine) {
					t.Error("a token of the tenant is accepted")
				}
				if !accepted(t, list, stays) || !a.alive(staysRefresh) {
					t.Error("another tenant's is refused, too")
				}
				status, answer := a.token(refreshment(refresh))
				wantError(t, "renewing", status, answer, 400, "invalid_grant")
				status, answer = m.token(url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}})
				wantError(t, "its machine client", status, answer, 401, "invalid_client")
				alive, err := h.Store.Grants(t.Context(), authserver.GrantFilter{TenantID: "acme", Active: true})
				if err != nil || len(alive) > 0 {
					t.Errorf("%d grants are alive (%v)", len(alive), err)
				}
				for table, column := range map[string]string{"memberships": "tenant_id", "roles": "tenant_id",
					"initial_tokens": "tenant_id", "trusted_issuers": "tenant_id"} {
					var n int
					must(t, h.Store.Audit().Write.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table+" WHERE "+
						column+" = 'acme'").Scan(&n))
					if n != 0 {
						t.Errorf("%d rows are left in %s", n, table)
					}
				}
				if _, err := o.ShowTenant(t.Context(), "acme"); err == nil {
					t.Error("the operator is shown it")
				}
				if _, err := o.CreateTenant(t.Context(), admin.TenantSpec{ID: "acme"}); err == nil {
					t.Error("its id is given again")
				}
				if at := ann.open(acmes); at.status == 200 && at.url.Path == acmes {
					t.Errorf("its administrator's page: got %d", at.status)
				}
				if lines, err := h.Store.Events(t.Context(), audit.Filter{Tenant: "acme", Limit: 100}); err != nil ||
					len(lines) == 0 {
					t.Errorf("the audit has %d records of it (%v)", len(lines), err)
				}
			})
		}
	}
}

// What is answered 200 after the client was disabled, or the tenant suspended, must not be: however
// many redeem and renew at the same time.
func TestNothingIsIssuedAfterASuspension(t *testing.T) {
	for name, deployment := range deployments {
		for what, stop := range map[string]func(*testing.T, *testServer, app){
			"disabled": func(t *testing.T, h *testServer,
				a app) {
				must(t, h.Server.Operator().DisableClient(t.Context(), a.ID))
			},
			"suspended": func(t *testing.T, h *testServer,
				_ app) {
				must(t, h.Server.Operator().SuspendTenant(t.Context(), "acme"))
			},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				h := startServer(t, deployment(t))
				a, ann, list := h.register(map[string]any{}), h.person("ann@acme.example"), h.resource()
				var forms []url.Values
				for range 8 {
					_, refresh := a.tokens(ann, "customers:read")
					forms = append(forms, refreshment(refresh), redemption(a.code(ann, "customers:read")))
				}
				other := h.process() // another replica redeems, too
				t.Cleanup(func() { other.Close() })
				var wg sync.WaitGroup
				var mu sync.Mutex
				stopped, late, got := false, 0, []string{}
				for _, form := range forms {
					wg.Go(func() {
						mu.Lock()
						was := stopped
						mu.Unlock()
						status, answer := a.token(form)
						mu.Lock()
						defer mu.Unlock()
						if status == 200 {
							got = append(got, answer["access_token"].(string))
							if was {
								late++
							}
						}
					})
				}
				stop(t, h, a)
				mu.Lock()
				stopped = true
				mu.Unlock()
				wg.Wait()
				if late > 0 {
					t.Errorf("%d requests that began afterwards were answered with tokens", late)
				}
				for _, access := range got {
					if accepted(t, list, access) {
						t.Error("a token that was issued while it was disabled is accepted")
					}
				}
			})
		}
	}
}

// Another replica, which remembers the client and the tenant, refuses too, within the time that any
// change takes; and what it issued until then is refused by resource servers.
func TestOtherReplicasHearOfASuspension(t *testing.T) {
	for name, deployment := range deployments {
		for what, stop := range map[string]func(*authserver.Server, string) error{
			"disabled": func(s *authserver.Server,
				id string) error {
				return s.Operator().DisableClient(t.Context(), id)
			},
			"suspended": func(s *authserver.Server, _ string) error {
				return s.Operator().SuspendTenant(t.Context(),
					"acme")
			},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				h := startServer(t, deployment(t))
				list, m, first := h.resource(), h.machine("acme", "customers:read"), h.Server
				a, ann := h.register(map[string]any{}), h.person("ann@acme.example")
				_, refresh := a.tokens(ann, "customers:read")
				other := h.process()
				t.Cleanup(func() { other.Close() })
				handler := other.Handler()
				h.handler.Store(&handler)
				credentials := url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}}
				if status, answer := m.token(credentials); status != 200 {
					t.Fatalf("before: got %d %v", status, answer)
				}
				must(t, stop(first, m.ID))
				if what == "suspended" { // what hangs from a grant is asked of SQL each time
					status, answer := a.token(refreshment(refresh))
					wantError(t, "renewing at once", status, answer, 400, "access_denied")
				}
				for deadline := time.Now().Add(time.Minute); ; {
					status, answer := m.token(credentials)
					if status != 200 {
						break
					}
					if accepted(t, list, answer["access_token"].(string)) {
						t.Fatal("a token that was issued afterwards is accepted")
					}
					if time.Now().After(deadline) {
						t.Fatal("the other replica goes on")
					}
				}
			})
		}
	}
}
