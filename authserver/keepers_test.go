package authserver_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// openKept is a house in which ann looks after acme's clients and bob after globex's; carol is a
// plain member of both.
func openKept(t *testing.T) *testServer { return keptBy(startServer(t)) }

func keptBy(h *testServer) *testServer {
	t := h.t
	t.Helper()
	for _, p := range [][2]string{{"acme", "usr_ann"}, {"globex", "usr_bob"}} {
		must(t, h.Store.PutRole(t.Context(), user.Role{TenantID: p[0], Name: "keeper", Scopes: allScopes, Admin: true}))
		must(t, h.Store.PutMember(t.Context(), p[0], p[1], "keeper"))
	}
	return h
}

// in is a person who has signed in.
func (h *testServer) in(email string) *person {
	p := h.person(email)
	p.submit(p.open("/signin"), url.Values{"email": {email}, "password": {password}})
	return p
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// press sends one of a page's forms, with the page's token.
func (p *person) press(at page, action string, form url.Values) page {
	p.h.t.Helper()
	form = clone(form)
	if m := csrfField.FindStringSubmatch(at.body); m != nil {
		form.Set("csrf", m[1])
	}
	r, err := p.http.PostForm(p.h.URL+action, form)
	must(p.h.t, err)
	return arrive(p.h.t, r)
}

var (
	secretOf   = regexp.MustCompile(`ghs_[A-Za-z0-9_-]+`)
	initialOf  = regexp.MustCompile(`ghi_[A-Za-z0-9_-]+`)
	clientIDOf = regexp.MustCompile(`cli_[a-z0-9]+`)
)

const acmes = "/tenants/acme/clients"

// A keeper's day: a machine client and an application are made, a secret is replaced, a client
// deleted, a program registers itself.
func TestAKeeperLooksAfterATenantsClients(t *testing.T) {
	h := openKept(t)
	ann := h.in("ann@acme.example")
	if at := ann.open("/agents"); !strings.Contains(at.body, `href="/tenants/acme/clients"`) ||
		strings.Contains(at.body, "globex") {
		t.Errorf("her agents' page does not lead there: %.900s", at.body)
	}
	at := ann.open(acmes)
	at.want(t, "the page", 200, acmes)

	made := ann.press(at, acmes, url.Values{"kind": {"machine"}, "name": {"Nightly <b>import</b>"},
		"scope": {"customers:read", "tickets:write"}})
	made.want(t, "making a machine client", 200, acmes+"/shown")
	m := app{h: h, ID: clientIDOf.FindString(made.body), Secret: secretOf.FindString(made.body)}
	if m.Secret == "" || made.header.Get("Cache-Control") != "no-store" || strings.Contains(made.body, "<b>") ||
		strings.Contains(made.url.String(), m.Secret) {
		t.Errorf("its secret: %v %v %.600s", made.url, made.header, made.body)
	}
	if again := ann.open(made.url.RequestURI()); again.status != 404 || strings.Contains(again.body, m.Secret) {
		t.Errorf("the secret a second time: got %d", again.status)
	}
	status, answer := m.token(url.Values{"grant_type": {"client_credentials"}})
	if status != 200 || answer["scope"] != "customers:read tickets:write" {
		t.Fatalf("its token: got %d %v", status, answer)
	}
	_, body := claims(t, answer["access_token"].(string))
	if body["tenant_id"] != "acme" {
		t.Errorf("its token is %v, want acme's", body)
	}
	if at = ann.open(acmes); strings.Contains(at.body, m.Secret) || !strings.Contains(at.body, m.ID) ||
		!strings.Contains(at.body, "made by an administrator") || !strings.Contains(at.body, "Nightly &lt;b&gt;") {
		t.Errorf("the list: %.900s", at.body)
	}

	// Another secret, which counts beside the old one for a day; and one that ends it at once.
	second := ann.press(at, acmes+"/"+m.ID+"/secret", nil)
	if s := secretOf.FindString(second.body); s == "" || s == m.Secret {
		t.Errorf("another secret: got %d at %s", second.status, second.url)
	}
	works := func() bool {
		status, _ := m.token(url.Values{"grant_type": {"client_credentials"}})
		return status == 200
	}
	if !works() {
		t.Error("the secret of before has ended at once")
	}
	third := ann.press(at, acmes+"/"+m.ID+"/secret", url.Values{"at_once": {"yes"}})
	if works() || !strings.Contains(third.body, "no longer valid") {
		t.Error("the secret of before still counts")
	}
	m.Secret = secretOf.FindString(third.body)

	// An application, which people of acme authorized, and nobody else.
	public := ann.press(at, acmes, url.Values{"kind": {"application"}, "name": {"Desk"},
		"redirect_uris": {callback + "\r\n\r\n https://app.example/other \n"}, "scope": {"customers:read"}})
	desk := app{h: h, ID: clientIDOf.FindString(public.body)}
	if desk.ID == "" || secretOf.MatchString(public.body) {
		t.Fatalf("an application: got %d %.600s", public.status, public.body)
	}
	consent := ann.consentPage(desk.authorization("customers:read"))
	if !strings.Contains(consent.body, "an administrator of acme") {
		t.Errorf("the consent page does not say who registered it: %.900s", consent.body)
	}
	access, refresh := desk.tokens(ann, "customers:read")
	if at := h.in("bob@globex.example").open("/oauth2/authorize?" +
		desk.authorization("customers:read").Encode()); at.status != 403 {
		t.Errorf("somebody of another organisation: got %d, want 403", at.status)
	}
	confidential := ann.press(at, acmes, url.Values{"kind": {"application"}, "name": {"Web"},
		"redirect_uris": {callback}, "scope": {"customers:read"}, "secret": {"yes"}})
	if !secretOf.MatchString(confidential.body) {
		t.Errorf("an application that can keep a secret: got %d %.600s", confidential.status, confidential.body)
	}

	// Its end is that of its grants.
	_, body = claims(t, access)
	gone := ann.press(at, acmes+"/"+desk.ID+"/delete", nil)
	gone.want(t, "deleting", 200, acmes)
	if ended, err := h.List.Ended(t.Context(), body["grant_id"].(string)); !ended || err != nil ||
		strings.Contains(gone.body, desk.ID) {
		t.Errorf("after deleting: ended %v %v", ended, err)
	}
	status, answer = desk.token(refreshment(refresh))
	wantError(t, "a deleted client", status, answer, 401, "invalid_client")
	ann.press(at, acmes+"/"+desk.ID+"/delete", nil).want(t, "deleting again", 404, acmes+"/"+desk.ID+"/delete")

	// A program registers itself with a token that ann made.
	token := ann.press(at, "/tenants/acme/initial-tokens",
		url.Values{"uses": {"1"}, "hours": {"2"}, "scope": {"customers:read"}})
	bearer := http.Header{"Authorization": {"Bearer " + initialOf.FindString(token.body)}}
	const machine = `{"client_name":"Self-made","grant_types":["client_credentials"],"scope":"customers:read ` +
		`tickets:write"}`
	status, answer = h.post("/oauth2/register", "application/json", machine, bearer)
	if status != 201 || answer["scope"] != "customers:read" {
		t.Errorf("registering with the token: got %d %v", status, answer)
	}
	if status, _ = h.post("/oauth2/register", "application/json", machine, bearer); status != 401 {
		t.Errorf("a second time: got %d, want 401", status)
	}
	if at = ann.open(acmes); !strings.Contains(at.body, "Self-made") ||
		!strings.Contains(at.body, "initial access token") {
		t.Errorf("the list does not show it: %.900s", at.body)
	}

	// AD-13
	events, err := h.Store.Events(t.Context(), audit.Filter{Limit: 1000})
	must(t, err)
	var acts []string
	for i := len(events) - 1; i >= 0; i-- {
		e := events[i]
		if e.Actor == "user:usr_ann" && e.Tenant == "acme" && !strings.HasPrefix(e.Action, "grant.") &&
			!strings.HasPrefix(e.Action, "user.") {
			acts = append(acts, strings.TrimSuffix(e.Action+" "+e.Outcome, " "+audit.OK))
		}
		if strings.Contains(e.Detail+e.Target, m.Secret) {
			t.Error("an audit line holds a secret")
		}
	}
	if got := strings.Join(acts, " "); got != "client.create client.replace_secret client.replace_secret "+
		"client.create client.create client.delete client.delete refused initial_token.create" {
		t.Errorf("the lines of her acts: %s", got)
	}
	if h.Log.Contains(m.Secret) || h.Log.Contains(bearer.Get("Authorization")[len("Bearer "):]) {
		t.Error("the log holds a secret")
	}
}

// A form that does not do is shown again, with the reason and what was typed; nothing is made.
func TestAKeepersMistakes(t *testing.T) {
	h := openKept(t)
	ann := h.in("ann@acme.example")
	at := ann.open(acmes)
	const tokens = "/tenants/acme/initial-tokens"
	for _, row := range []struct {
		what, action, says string
		form               url.Values
	}{
		{"nothing ticked", acmes, "Tick at least one", url.Values{"kind": {"machine"}, "name": {"x"}}},
		{"a scope beyond the policy", acmes, "admin:all",
			url.Values{"kind": {"machine"}, "name": {"x"}, "scope": {"admin:all"}}},
		{"no address", acmes, "at least one address", url.Values{"kind": {"application"}, "name": {"x"},
			"scope": {"customers:read"}}},
		{"a script", acmes, "cannot be registered", url.Values{"kind": {"application"}, "name": {"x"},
			"scope": {"customers:read"}, "redirect_uris": {"javascript:alert(1)"}}},
		{"a name that turns around", acmes, "cannot be shown", url.Values{"kind": {"machine"}, "name": {"a\u202eb"},
			"scope": {"customers:read"}}},
		{"no number", tokens, "whole numbers",
			url.Values{"uses": {"many"}, "hours": {"1"}, "scope": {"customers:read"}}},
		{"too many uses", tokens, "1 to 1000 uses",
			url.Values{"uses": {"1001"}, "hours": {"1"}, "scope": {"customers:read"}}},
		{"too long a life", tokens, "30 days",
			url.Values{"uses": {"1"}, "hours": {"721"}, "scope": {"customers:read"}}},
		{"nothing ticked for a token", tokens, "Tick at least one", url.Values{"uses": {"1"}, "hours": {"1"}}},
	} {
		if got := ann.press(at, row.action, row.form); got.status != 400 || !strings.Contains(got.body, row.says) ||
			!strings.Contains(got.body, "</html>") {
			t.Errorf("%s: got %d %.900s, want it to say %q", row.what, got.status, got.body, row.says)
		}
	}
	if got := ann.press(at, acmes, url.Values{"kind": {"application"}, "name": {"Typed"}, "scope": {"customers:read"},
		"redirect_uris": {"http://far.example/cb"}}); !strings.Contains(got.body, "http://far.example/cb</textarea>") ||
		!strings.Contains(got.body, `value="Typed"`) {
		t.Errorf("what was typed is lost: %.900s", got.body)
	}
	// What the form does not offer, nobody takes (AD-07).
	forged := ann.press(at, acmes, url.Values{"kind": {"machine"}, "name": {"x"}, "scope": {"customers:read"},
		"tenant": {"globex"}, "client_id": {"cli_chosen"}, "origin": {"operator"}})
	c, err := h.Store.Client(t.Context(), clientIDOf.FindString(forged.body))
	if err != nil || c.TenantID != "acme" || c.Origin != "admin" || c.ID == "cli_chosen" {
		t.Errorf("got %+v %v, want a client of acme", c, err)
	}
	all, err := h.Store.Clients(t.Context(), client.Filter{TenantID: "", Limit: 100})
	if err != nil || len(all) != 1 {
		t.Errorf("got %d clients %v, want the one", len(all), err)
	}
	public := ann.press(at, acmes, url.Values{"kind": {"application"}, "name": {"x"}, "scope": {"customers:read"},
		"redirect_uris": {callback}})
	id := clientIDOf.FindString(public.body)
	if got := ann.press(at, acmes+"/"+id+"/secret", nil); got.status != 400 ||
		!strings.Contains(got.body, "has no secret") {
		t.Errorf("a secret for a client without: got %d %.900s", got.status, got.body)
	}
}

// AD-01, AD-03, AD-04, AD-11: every page and act of a tenant's, by everybody who may not.
func TestWhoLooksAfterATenant(t *testing.T) {
	h := openKept(t)
	m := h.machine("acme", "customers:read")
	globexs := h.machine("globex", "customers:read")
	acts := map[string]url.Values{
		acmes: {"kind": {"machine"}, "name": {"x"}, "scope": {"customers:read"}}, acmes + "/" + m.ID + "/secret": {},
		acmes + "/" + m.ID + "/delete": {},
		"/tenants/acme/initial-tokens": {"uses": {"1"}, "hours": {"1"}, "scope": {"customers:read"}},
	}
	lines := func(outcome string) (n int) {
		events, err := h.Store.Events(context.Background(), audit.Filter{Limit: 1000})
		must(t, err)
		for _, e := range events {
			if e.Outcome == outcome {
				n++
			}
		}
		return n
	}
	denied := func(what string, p *person, status int) {
		t.Helper()
		done, refused, agents := lines(audit.OK), lines(audit.Refused), p.open("/agents")
		for _, path := range []string{acmes, acmes + "/shown?once=x"} {
			if at := p.open(path); at.status != status || strings.Contains(at.body, m.ID) {
				t.Errorf("%s: %s: got %d %.300s, want %d", what, path, at.status, at.body, status)
			}
		}
		for action, form := range acts {
			if at := p.press(agents, action, form); at.status != status || strings.Contains(at.body, m.ID) ||
				secretOf.MatchString(at.body) {
				t.Errorf("%s: %s: got %d %.300s, want %d", what, action, at.status, at.body, status)
			}
		}
		if got := lines(audit.OK); got != done {
			t.Errorf("%s: %d lines of acts that were not done", what, got-done)
		}
		if got := lines(audit.Refused); got != refused+len(acts) {
			t.Errorf("%s: %d lines of %d acts that were refused", what, got-refused, len(acts))
		}
	}
	bob, carol, ann := h.in("bob@globex.example"), h.in("carol@both.example"), h.in("ann@acme.example")
	denied("another organisation's keeper", bob, 404)
	denied("a plain member", carol, 404)
	if nobody := bob.open("/tenants/nobody/clients"); nobody.status != 404 ||
		!strings.Contains(nobody.body, "an administrator of no organisation") {
		t.Errorf("an organisation that is not there: got %d, want the same as for acme", nobody.status)
	}
	if at := carol.open("/agents"); strings.Contains(at.body, "/tenants/") {
		t.Error("a plain member is led to the page")
	}

	// mallory's own page does not open acme's clients by their ids.
	mallorys := bob.open("/tenants/globex/clients")
	for _, act := range []string{"/secret", "/delete"} {
		if at := bob.press(mallorys, "/tenants/globex/clients/"+m.ID+act, nil); at.status != 404 ||
			!strings.Contains(at.body, "no such application") {
			t.Errorf("acme's client on globex's page: %s: got %d, want 404", act, at.status)
		}
	}
	if status, _ := m.token(url.Values{"grant_type": {"client_credentials"}}); status != 200 {
		t.Errorf("acme's client, afterwards: got %d, want it as before", status)
	}

	// AD-04: no act without the page's token, or by GET.
	for action, form := range acts {
		r, err := ann.http.PostForm(h.URL+action, form)
		must(t, err)
		if at := arrive(t, r); at.status != 403 {
			t.Errorf("%s without the page's token: got %d, want 403", action, at.status)
		}
		form = clone(form)
		form.Set("csrf", csrfField.FindStringSubmatch(mallorys.body)[1])
		if r, err = ann.http.PostForm(h.URL+action, form); err != nil || arrive(t, r).status != 403 {
			t.Errorf("%s with another browser's token: want 403", action)
		}
		if at := ann.open(action + "?" + form.Encode()); at.status == 200 && action != acmes {
			t.Errorf("%s by GET: got %d", action, at.status)
		}
	}
	stranger := h.person("ann@acme.example")
	stranger.open(acmes).want(t, "nobody signed in", 200, "/signin")

	// A secret that waits is another session's as little as anybody's.
	at := ann.open(acmes)
	r, err := (&http.Client{Jar: ann.http.Jar, CheckRedirect: noFollow.CheckRedirect}).PostForm(h.URL+acmes, url.Values{
		"csrf": {csrfField.FindStringSubmatch(at.body)[1]}, "kind": {"machine"}, "name": {"x"},
		"scope": {"customers:read"},
	})
	must(t, err)
	r.Body.Close()
	if r.StatusCode != http.StatusSeeOther {
		t.Fatalf("making a client: got %d, want 303", r.StatusCode)
	}
	shown := r.Header.Get("Location")
	again := h.in("ann@acme.example")
	if at := again.open(shown); at.status != 404 || secretOf.MatchString(at.body) {
		t.Errorf("another session of hers: got %d", at.status)
	}
	if r := h.do("HEAD", shown, "", "", nil); r.StatusCode == 200 {
		t.Error("HEAD takes the secret")
	}
	if at := ann.open(shown); !secretOf.MatchString(at.body) {
		t.Errorf("her own session: got %d", at.status)
	}

	// AD-11. Somebody else looks after acme meanwhile: it is never left without.
	must(t, h.Store.PutRole(t.Context(), user.Role{TenantID: "acme", Name: "deputy", Scopes: allScopes, Admin: true}))
	must(t, h.Store.CreateUser(t.Context(), user.User{ID: "usr_dora", Email: "dora@acme.example",
		CreatedAt: h.Clock.Now()}))
	must(t, h.Store.PutMember(t.Context(), "acme", "usr_dora", "deputy"))
	must(t, h.Store.PutMember(t.Context(), "acme", "usr_ann", "member"))
	denied("a keeper whose role was taken", ann, 404)
	must(t, h.Store.PutMember(t.Context(), "acme", "usr_ann", "keeper"))
	ann.open(acmes).want(t, "with her role again", 200, acmes)
	must(t, h.Store.PutRole(t.Context(), user.Role{TenantID: "acme", Name: "keeper", Scopes: allScopes}))
	denied("a keeper whose role looks after nothing now", ann, 404)
	if status, _ := globexs.token(url.Values{"grant_type": {"client_credentials"}}); status != 200 {
		t.Errorf("globex's client: got %d", status)
	}
	h.Clock.step(9 * time.Hour)
	if at := ann.open(acmes); at.url.Path != "/signin" {
		t.Errorf("after the session's end: at %s", at.url)
	}
}

// A keeper says what the roles of the tenant give, as far as they have it themselves; what they
// take away is gone at the next renewal. AD-12, TN-08, TN-09
func TestAKeeperNarrowsARole(t *testing.T) {
	h := openKept(t)
	const acmesRoles = "/tenants/acme/roles"
	a, ann, carol := h.register(map[string]any{}), h.in("ann@acme.example"), h.in("carol@both.example")
	at := carol.consentPage(a.authorization("customers:read", "customers:write"))
	at = carol.submit(carol.open("/consent?tx="+at.url.Query().Get("tx")+"&tenant=acme"),
		url.Values{"decision": {"approve"}})
	_, answer := a.token(redemption(at.away.Query().Get("code")))
	if answer["scope"] != "customers:read customers:write" {
		t.Fatalf("before: got %v", answer)
	}
	if at := ann.open("/agents"); !strings.Contains(at.body, `href="/tenants/acme/roles"`) {
		t.Error("her agents' page does not lead there")
	}
	at = ann.open(acmesRoles)
	at.want(t, "the page", 200, acmesRoles)
	if !strings.Contains(at.body, `value="knowledge:read" disabled`) {
		t.Error("what she does not have can be ticked")
	}
	ann.press(at, acmesRoles+"/member", url.Values{"scope": {"customers:read"}}).want(t, "narrowing", 200, acmesRoles)
	status, answer := a.token(refreshment(answer["refresh_token"].(string)))
	if status != 200 || answer["scope"] != "customers:read" {
		t.Errorf("renewed: got %d %v, want what is left", status, answer)
	}
	gives := func(tenantID, role, want string) {
		t.Helper()
		r, err := h.Store.Role(t.Context(), tenantID, role)
		if err != nil || strings.Join(r.Gives, " ") != want {
			t.Errorf("%s of %s gives %v %v, want %s", role, tenantID, r.Gives, err, want)
		}
	}
	gives("acme", "member", "customers:read")
	gives("globex", "member", strings.Join(allScopes, " "))
	ann.press(at, acmesRoles+"/member", url.Values{"scope": {"customers:read", "tickets:write"}}).want(t,
		"widening to what she has", 200, acmesRoles)

	refused := func(what string, p *person, path string, form url.Values, status int) {
		t.Helper()
		if got := p.press(at, path, form); got.status != status {
			t.Errorf("%s: got %d at %s, want %d", what, got.status, got.url, status)
		}
		gives("acme", "member", "customers:read tickets:write")
		gives("globex", "member", strings.Join(allScopes, " "))
	}
	refused("what she does not have", ann, acmesRoles+"/member",
		url.Values{"scope": {"customers:read", "knowledge:read"}}, 400)
	refused("a scope that nothing has", ann, acmesRoles+"/member", url.Values{"scope": {"customers:raed"}}, 400)
	refused("no scope", ann, acmesRoles+"/member", url.Values{}, 400)
	refused("a role that is not there", ann, acmesRoles+"/boss", url.Values{"scope": {"customers:read"}}, 404)
	refused("more than scopes", ann, acmesRoles+"/reader", url.Values{"scope": {"customers:read"}, "admin": {"true"},
		"includes": {"keeper"}}, 200)
	if r, err := h.Store.Role(t.Context(), "acme", "reader"); err != nil || r.Admin || len(r.Includes) > 0 {
		t.Errorf("the form made %+v of a reader: %v", r, err)
	}
	for _, path := range []string{"/tenants/globex/roles", "/tenants/ACME/roles", "/tenants/acme./roles",
		"/tenants/acme%2f../roles", "/tenants/globex'--/roles"} {
		refused("at "+path, ann, path+"/member", url.Values{"scope": {"customers:read"}}, 404)
	}
	// ann's page's token is not hers
	refused("a plain member", carol, acmesRoles+"/member", url.Values{"scope": {"customers:read"}}, 403)
	if got := carol.open(acmesRoles); got.status != 404 {
		t.Errorf("a plain member sees the page: %d", got.status)
	}
	without := ann.press(page{}, acmesRoles+"/member", url.Values{"scope": {"customers:read"}})
	if without.status != 403 { // AD-04
		t.Errorf("without the page's token: got %d", without.status)
	}
	events, err := h.Store.Events(t.Context(), audit.Filter{Limit: 20, Outcome: audit.OK})
	must(t, err)
	if e := events[1]; e.Action != "role.put" || e.Actor != "user:usr_ann" || e.Tenant != "acme" ||
		e.Target != "member" {
		t.Errorf("the line before the last: %+v", e)
	}
}
