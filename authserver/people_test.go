package authserver_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

// at fails unless the browser is where it should be.
func (at page) want(t *testing.T, what string, status int, path string) {
	t.Helper()
	if at.status != status || at.url.Path != path {
		t.Errorf("%s: got %d at %s, want %d at %s: %.200s", what, at.status, at.url, status, path, at.body)
	}
}

func TestAPersonDecides(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{"client_name": `<b>Agent</b>`, "redirect_uris": []string{callback}})
	ann := h.person("ann@acme.example")
	request := a.authorization("customers:read", "customers:write", "tickets:write")

	at := ann.consentPage(request)
	for _, want := range []string{"app.example", "ACME", "Read customers", "Change customers", "customers:write",
		resourceURI, "ann@acme.example", "&lt;b&gt;Agent"} {
		// LG-23, AS-42
		if !strings.Contains(at.body, want) {
			t.Errorf("the consent page does not say %q", want)
		}
	}
	if strings.Contains(at.body, "<b>Agent") {
		t.Error("the client's name is markup")
	}

	no := ann.submit(at, url.Values{"decision": {"deny"}})
	if no.status != 303 || no.away.Query().Get("error") != "access_denied" ||
		no.away.Query().Get("state") != "state-123" || no.away.Query().Get("iss") != h.URL {
		// AS-19
		t.Errorf("denying: got %d to %v, want access_denied with state and iss", no.status, no.away)
	}
	again := ann.submit(at, url.Values{"decision": {"approve"}})
	again.want(t, "the same form again", 400, "/consent")

	at = ann.consentPage(request) // LG-04, LG-05: asked every time
	yes := ann.submit(at, url.Values{"decision": {"approve"}, "scope": {"customers:read", "tickets:write"}})
	if yes.status != 303 || yes.away.Query().Get("code") == "" || yes.header.Get("Referrer-Policy") != "no-referrer" {
		t.Fatalf("approving: got %d to %v", yes.status, yes.away)
	}
	_, answer := a.token(redemption(yes.away.Query().Get("code")))
	if answer["scope"] != "customers:read tickets:write" {
		t.Errorf("with one scope unticked: got %v, want the two others", answer["scope"])
	}

	at = ann.consentPage(request)
	none := ann.submit(at, url.Values{"decision": {"approve"}, "scope": nil})
	if none.away != nil || !strings.Contains(none.body, "Nothing was ticked") {
		t.Errorf("with nothing ticked: got %d to %v, want the page again", none.status, none.away)
	}
	if yes := ann.submit(none, url.Values{"decision": {"approve"}, "scope": {"customers:read"}}); yes.away.Query().Get(
		"code") == "" {
		t.Errorf("ticked then: got %d to %v, want a code", yes.status, yes.away)
	}
	at = ann.consentPage(a.authorization("customers:read"))
	more := ann.submit(at, url.Values{"decision": {"approve"}, "scope": {"customers:read", "customers:write"}})
	more.want(t, "ticking what was not offered", 400, "/consent")
	at = ann.consentPage(request)
	ann.submit(at, url.Values{"decision": {"maybe"}}).want(t, "neither yes nor no", 400, "/consent")
	other := ann.submit(at, url.Values{"decision": {"approve"}, "tenant": {"globex"}})
	other.want(t, "a tenant that is not hers", 400, "/consent")
}

func TestAPersonOfSeveralTenantsChooses(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	carol := h.person("carol@both.example")
	at := carol.consentPage(a.authorization("customers:read"))
	if !strings.Contains(at.body, `value="acme"`) || !strings.Contains(at.body, `value="globex"`) {
		t.Fatalf("no picker: %.400s", at.body)
	}
	at = carol.open("/consent?tx=" + at.url.Query().Get("tx") + "&tenant=globex")
	at = carol.submit(at, url.Values{"decision": {"approve"}})
	_, answer := a.token(redemption(at.away.Query().Get("code")))
	if _, body := claims(t, answer["access_token"].(string)); body["tenant_id"] != "globex" ||
		body["sub"] != "usr_carol" {
		t.Errorf("got %v, want carol of globex", body)
	}
	at = carol.consentPage(a.authorization("customers:read"))
	at = carol.open("/consent?tx=" + at.url.Query().Get("tx") + "&tenant=initech")
	if !strings.Contains(at.body, `value="acme"`) {
		t.Error("a tenant that is not hers is not answered by the picker")
	}
}

// LG-01 to LG-03, AZ-32, AZ-33
func TestConsentCannotBeStolen(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	ann, mallory := h.person("ann@acme.example"), h.person("bob@globex.example")
	request := a.authorization("customers:read", "customers:write")

	mallorys := mallory.consentPage(request)
	ann.consentPage(request) // signs her in
	ann.open(mallorys.url.RequestURI()).want(t, "another browser's transaction", 400, "/consent")
	ann.submit(mallorys, url.Values{"decision": {"approve"}}).want(t, "another browser's form", 403, "/consent")

	at := ann.consentPage(request)
	ann.submit(at, url.Values{"decision": {"approve"}, "csrf": {""}}).want(t, "without the form's token", 403,
		"/consent")
	if r := ann.open("/consent?decision=approve&tx=" + at.url.Query().Get("tx")); r.away != nil {
		t.Errorf("deciding by GET: got a redirect to %v", r.away)
	}
	forged := ann.submit(at, url.Values{"decision": {"approve"}, "client_id": {"cli_other"},
		"redirect_uri": {"https://evil.example/"}})
	if forged.away == nil || forged.away.Host != "app.example" {
		t.Errorf("hidden fields changed: went to %v, want the stored request's address", forged.away)
	}

	at = ann.consentPage(request)
	// AZ-32: her role was narrowed meanwhile
	must(t, h.Store.PutRole(context.Background(),
		user.Role{TenantID: "acme", Name: "member", Scopes: []string{"customers:read"}}))
	ann.submit(at, url.Values{"decision": {"approve"}}).want(t, "a scope withdrawn meanwhile", 400, "/consent")

	stranger := h.person("ann@acme.example")
	page := stranger.open("/oauth2/authorize?" + request.Encode())
	page.want(t, "nobody signed in", 200, "/signin")
	stranger.submit(page, url.Values{"email": {"ann@acme.example"}, "password": {password}, "csrf": {"x"}}).want(t,
		"signing in from elsewhere", 403, "/signin")
}

// LG-08, LG-09, LG-11, LG-12, LG-14
func TestGuessingPasswords(t *testing.T) {
	h := startServer(t)
	mallory := h.person("ann@acme.example")
	try := func(email, pw string) page {
		return mallory.submit(mallory.open("/signin"), url.Values{"email": {email}, "password": {pw}})
	}
	known, unknown := try("ann@acme.example", "not the password"), try("nobody@acme.example", "not the password")
	if known.status != 403 || unknown.status != 403 || !strings.Contains(known.body, "do not belong together") ||
		!strings.Contains(unknown.body, "do not belong together") {
		t.Errorf("got %d and %d, want the same refusal for both", known.status, unknown.status)
	}
	try("ann@acme.example", strings.Repeat("x", 2000)).want(t, "an endless password", 400, "/signin")
	spellings := []string{"ann@acme.example", "ANN@acme.example", " ann@acme.example "}
	refused := 0
	for i := range 30 {
		if at := try(spellings[i%len(spellings)], "guess-guess-guess"); at.status == 429 {
			refused++
			if at.header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
		}
	}
	if refused != 30-9 {
		t.Errorf("of 30 guesses, after one: got %d refused, want 21: ten tries in all, whatever the spelling", refused)
	}
	if at := try("ann@acme.example", password); at.status != 429 {
		t.Errorf("the right password, when locked: got %d, want 429", at.status)
	}
	h.Clock.step(6 * time.Minute) // LG-12: the lock has an end
	try("ann@acme.example", password).want(t, "after the wait", 200, "/agents")
	if h.Log.Contains(password) || h.Log.Contains("guess-guess-guess") {
		t.Error("the log holds a password")
	}
}

// RV-11
func TestAPersonEndsAnAgent(t *testing.T) {
	ctx, h := context.Background(), startServer(t)
	a := h.register(map[string]any{"client_name": "Agent Smith"})
	ann, bob := h.person("ann@acme.example"), h.person("bob@globex.example")
	access, refresh := a.tokens(ann, "customers:read")
	_, body := claims(t, access)
	id := body["grant_id"].(string)

	at := ann.open("/agents")
	if !strings.Contains(at.body, "Agent Smith") || !strings.Contains(at.body, "Read customers") ||
		!strings.Contains(at.body, "ACME") {
		t.Errorf("her agents: %.600s", at.body)
	}
	a.tokens(bob, "customers:read")
	stolen := bob.open("/agents")
	stolen.body = formAction.ReplaceAllString(stolen.body, `<form method="post" action="/agents/`+id+`/revoke"`)
	bob.submit(stolen, nil).want(t, "another's agent", 404, "/agents/"+id+"/revoke")

	after := ann.submit(at, nil)
	after.want(t, "revoking it", 200, "/agents")
	if again := ann.open("/agents"); !strings.Contains(after.body, "Access revoked.") ||
		strings.Contains(again.body, "Access revoked.") {
		t.Error("the page after the form confirms it, and no other page does")
	}
	if ended, err := h.List.Ended(ctx, id); !ended || err != nil {
		t.Errorf("the list: got %v %v, want it ended", ended, err)
	}
	if g, err := h.Store.Grant(ctx, id); err != nil || g.RevokeReason != grant.ReasonPerson {
		t.Errorf("the ledger: got %+v %v", g, err)
	}
	if a.alive(refresh) {
		t.Error("the refresh token is valid on")
	}
}

func TestSigningOut(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	ann.open("/agents").want(t, "nobody", 200, "/signin")
	at := ann.submit(ann.open("/signin"), url.Values{"email": {"ann@acme.example"}, "password": {password}})
	at.want(t, "signed in", 200, "/agents")
	if r := h.do("POST", "/signout", "application/x-www-form-urlencoded", "",
		nil); r.StatusCode != http.StatusForbidden {
		// LG-20
		t.Errorf("signing out from elsewhere: got %d, want 403", r.StatusCode)
	}
	ann.submit(at, nil).want(t, "signed out", 200, "/signin")
	ann.open("/agents").want(t, "after", 200, "/signin")
}

// AZ-34, AZ-37, LG-13: nothing on the way to or from signing in takes an address from the stranger.
func TestPagesHeaders(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	for _, at := range []page{
		ann.open("/signin?tx=//evil.example&return_to=//evil.example"), ann.open("/signin"),
		ann.consentPage(a.authorization("customers:read")), ann.open("/agents"),
		ann.open("/oauth2/authorize?client_id=%3Cscript%3E"),
	} {
		if at.header.Get("Referrer-Policy") != "no-referrer" || at.header.Get("Cache-Control") != "no-store" ||
			at.header.Get("X-Frame-Options") != "DENY" ||
			!strings.Contains(at.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") ||
			at.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", at.url, at.header)
		}
		if strings.Contains(at.body, "evil.example") || strings.Contains(at.body, "<script") {
			t.Errorf("%s: the stranger's words are on the page", at.url)
		}
	}
}
