package authserver_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// LG-02, LG-03: a consent counts once, from the page that we showed, at the browser that brought
// the request.
func TestConsentIsGivenOnceAndHere(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	ann, mallory := h.person("ann@acme.example"), h.person("bob@globex.example")
	at, mallorys := ann.consentPage(a.authorization("customers:read")),
		mallory.consentPage(a.authorization("customers:read"))
	tx := at.url.Query().Get("tx")
	good := url.Values{"decision": {"approve"}, "tx": {tx}, "tenant": {"acme"}, "scope": {"customers:read"},
		"csrf": {csrfOf(at)}}
	bent := func(name, value string) url.Values {
		v := clone(good)
		v.Set(name, value)
		return v
	}
	for what, got := range map[string]page{
		"no token":                h.crafted("/consent", bent("csrf", ""), nil, ann.cookies()...),
		"another session's token": h.crafted("/consent", bent("csrf", csrfOf(mallorys)), nil, ann.cookies()...),
		"from another site": h.crafted("/consent", good, http.Header{"Sec-Fetch-Site": {"cross-site"}},
			ann.cookies()...), "from mallory's browser": h.crafted("/consent", good, nil, mallory.cookies()...),
		"mallory's request": h.crafted("/consent", bent("tx", mallorys.url.Query().Get("tx")), nil, ann.cookies()...),
		"no request":        h.crafted("/consent", bent("tx", ""), nil, ann.cookies()...),
	} {
		if got.status != 403 && got.status != 400 || got.away != nil {
			t.Errorf("%s: got %d to %v, want 403 or 400", what, got.status, got.away)
		}
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
		r, err := http.NewRequest(method, h.URL+"/consent?"+good.Encode(), nil)
		must(t, err)
		for _, c := range ann.cookies() {
			r.AddCookie(c)
		}
		response, err := noFollow.Do(r)
		must(t, err)
		if response.Body.Close(); response.Header.Get("Location") != "" {
			t.Errorf("%s: got %d to %s", method, response.StatusCode, response.Header.Get("Location"))
		}
	}
	none, err := h.Store.Grants(t.Context(), grant.Filter{})
	if len(none) != 0 || err != nil {
		t.Errorf("it left %d grants %v", len(none), err)
	}
	first := h.crafted("/consent", good, nil, ann.cookies()...)
	again := h.crafted("/consent", good, nil, ann.cookies()...)
	one, err := h.Store.Grants(t.Context(), grant.Filter{})
	if first.away == nil || first.away.Query().Get("code") == "" || again.status != 400 || again.away != nil ||
		len(one) != 1 || err != nil {
		t.Errorf("her own, twice: went to %v, then %d; %d grants %v", first.away, again.status, len(one), err)
	}
}

// LG-04 to LG-06, AZ-29, RS-20: who has let one agent in has authorized that one, for that, once.
// The page lists everything each time.
func TestConsentIsAskedEachTime(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) {
		other := c.Resources[0]
		other.URI, other.Name = "https://other.example/mcp", "The other server"
		c.Resources = append(c.Resources, other)
	})
	ann := h.person("ann@acme.example")
	described := map[string]any{"client_name": "Trusted", "logo_uri": "https://app.example/logo",
		"redirect_uris": []string{callback, "http://127.0.0.1/cb", "cursor://x/cb"}}
	a := h.register(described)
	a.tokens(ann, "customers:read")
	look := func(what string, of app, change func(url.Values), wants ...string) {
		t.Helper()
		v := of.authorization("customers:read")
		change(v)
		at := ann.open("/oauth2/authorize?" + v.Encode())
		if at.status != 200 || at.url.Path != "/consent" || at.away != nil {
			t.Errorf("%s: got %d at %s to %v, want the consent page", what, at.status, at.url, at.away)
		}
		for _, want := range wants {
			if !strings.Contains(at.body, want) {
				t.Errorf("%s: the page does not say %q", what, want)
			}
		}
	}
	look("the same again", a, func(url.Values) {}, "Read customers")
	look("the same, quietly", a, func(v url.Values) { v.Set("login_hint", ann.email) }, "Read customers")
	// LG-04
	look("another client of the same name", h.register(described), func(url.Values) {}, "Trusted", "Nobody has checked")
	// LG-05
	look("a loopback redirect", a, func(v url.Values) { v.Set("redirect_uri", "http://127.0.0.1:5555/cb") },
		"127.0.0.1")
	look("a private scheme", a, func(v url.Values) { v.Set("redirect_uri", "cursor://x/cb") }, "cursor:")
	// LG-06
	look("a wider scope", a, func(v url.Values) { v.Set("scope", "customers:read tickets:write") }, "Read customers",
		"Open tickets")
	look("another resource", a, func(v url.Values) { v.Set("resource", "https://other.example/mcp") },
		"The other server", "https://other.example/mcp")
}

// LG-23, AS-42: what the consent page says of a client whose answers all go to the person's own
// machine, and of one that the operator made.
func TestWhatTheConsentPageSays(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	const own = "It can be any program on your computer"
	for _, row := range []struct {
		uri      string
		says     []string
		warnings bool
	}{
		{"http://localhost/cb", []string{"localhost (a program on this computer)", "http://localhost/cb"}, true},
		{"http://127.0.0.1:7/cb", []string{"127.0.0.1 (a program on this computer)"}, true},
		{"http://[::1]/cb", []string{"::1 (a program on this computer)"}, true},
		{callback, []string{`<strong class="host">app.example</strong>`, "Continue only if you know the address above"},
			false},
		{"https://app.example:8443/cb", []string{`<strong class="host">app.example:8443</strong>`}, false},
		{"cursor://anysphere/cb", []string{"the application behind cursor: on this device"}, false},
	} {
		a := h.register(map[string]any{"client_name": `"><b>Evil`, "redirect_uris": []string{row.uri}})
		v := a.authorization("customers:read", "tickets:write")
		v.Set("redirect_uri", row.uri)
		at := ann.consentPage(v)
		for _, want := range append(row.says, "&#34;&gt;&lt;b&gt;Evil", "Read customers", "Open tickets", "ACME",
			resourceURI, "valid for 10 minutes", "Nobody has checked", a.ID) {
			if !strings.Contains(at.body, want) {
				t.Errorf("%s: the page does not say %q", row.uri, want)
			}
		}
		if strings.Contains(at.body, own) != row.warnings || strings.Contains(at.body, "<b>") {
			t.Errorf("%s: warned %v, want %v", row.uri, !row.warnings, row.warnings)
		}
	}
}

// RV-11: what a person ends is over as a whole, and written down.
func TestTheAuditKnowsWhoEndedIt(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	code := a.code(ann, "customers:read")
	ann.submit(ann.open("/agents"), nil).want(t, "ending it", 200, "/agents")
	status, answer := a.token(redemption(code)) // TK-09
	wantError(t, "its code", status, answer, 400, "invalid_grant")
	events, err := h.Server.Operator().Events(t.Context(), audit.Filter{})
	if err != nil || !slices.ContainsFunc(events, func(e audit.Record) bool {
		return e.Action == "grant.revoke" && e.Actor == "user:usr_ann" && e.Tenant == "acme"
	}) {
		t.Errorf("the audit: %+v %v, want a line of ann's", events, err)
	}
}

// AZ-32: what was true when the page was shown and is not any more.
func TestMuchChangesWhileAPersonThinks(t *testing.T) {
	for what, change := range map[string]func(h *testServer, id, manage string){
		"the client is gone": func(h *testServer, id, manage string) { h.manage("DELETE", id, manage, "") },
		"the redirect URI is removed": func(h *testServer, id, manage string) {
			h.manage("PUT", id, manage, `{"client_id":"`+id+`","redirect_uris":["https://app.example/other"]}`)
		},
		"the role lost a scope": func(h *testServer, _, _ string) {
			must(h.t, h.Store.PutRole(context.Background(),
				user.Role{TenantID: "acme", Name: "member", Scopes: []string{"tickets:write"}}))
		},
		"the person has no role": func(h *testServer, _,
			_ string) {
			h.sql("DELETE FROM memberships WHERE user_id = 'usr_ann'")
		},
		"the account is disabled": func(h *testServer, _,
			_ string) {
			h.sql("UPDATE users SET disabled = TRUE WHERE id = 'usr_ann'")
		},
		"the tenant lost the scope": func(h *testServer, _, _ string) {
			h.sql(`UPDATE tenants SET scopes = '["tickets:write"]' WHERE id = 'acme'`)
			h.start()
		},
	} {
		t.Run(what, func(t *testing.T) {
			h := startServer(t)
			_, made := h.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`, nil)
			a := app{h: h, ID: made["client_id"].(string)}
			ann := h.person("ann@acme.example")
			at := ann.consentPage(a.authorization("customers:read"))
			change(h, a.ID, made["registration_access_token"].(string))
			done := ann.submit(at, url.Values{"decision": {"approve"}})
			if done.away != nil || done.status != 400 && done.url.Path != "/signin" {
				t.Errorf("approving: got %d at %s to %v, want 400", done.status, done.url, done.away)
			}
			if grants, err := h.Store.Grants(t.Context(), grant.Filter{UserID: "usr_ann"}); len(grants) != 0 ||
				err != nil {
				t.Errorf("it left %d grants %v", len(grants), err)
			}
		})
	}
}

// AZ-33: a page's hidden fields say nothing about the request.
func TestHiddenFieldsDecideNothing(t *testing.T) {
	h := startServer(t)
	a, other := h.register(map[string]any{}), h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	at := ann.submit(ann.consentPage(a.authorization("customers:read")), url.Values{
		"decision": {"approve"}, "client_id": {other.ID}, "redirect_uri": {"https://evil.example/"},
		"resource": {"https://evil.example/"}, "state": {"evil"},
		"code_challenge": {challengeOf("evil")}, "user": {"usr_bob"},
	})
	if at.away == nil || at.away.Host != "app.example" || at.away.Query().Get("state") != "state-123" {
		t.Fatalf("went to %v, want the address and state of the request", at.away)
	}
	status, answer := a.token(redemption(at.away.Query().Get("code")))
	if status != 200 {
		t.Fatalf("redeeming by the request's own client: got %d %v", status, answer)
	}
	if _, body := claims(t, answer["access_token"].(string)); body["sub"] != "usr_ann" || body["client_id"] != a.ID ||
		body["aud"] != resourceURI {
		t.Errorf("claims: %v", body)
	}
	wider := ann.submit(ann.consentPage(a.authorization("customers:read")),
		url.Values{"decision": {"approve"}, "scope": {"customers:read", "tickets:write"}})
	wider.want(t, "a scope that was not asked for", 400, "/consent")
}

// A scope with which something can be changed stands apart and is not ticked for a client that
// nobody has checked; what nobody says of a scope, its name does.
func TestWriteScopesAreTickedByThePersonAlone(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	box := func(at page, scope string) (ticked, apart bool) {
		t.Helper()
		i := strings.Index(at.body, `name="scope" value="`+scope+`"`)
		if i < 0 {
			t.Fatalf("%s is not offered: %.2000s", scope, at.body)
		}
		tag := at.body[i : i+strings.Index(at.body[i:], ">")]
		return strings.Contains(tag, "checked"), strings.LastIndex(at.body[:i], `class="writes"`) > 0
	}
	own := h.register(map[string]any{})
	for _, row := range []struct {
		name   string
		at     page
		ticked bool
	}{
		{"registered by itself", ann.consentPage(own.authorization("customers:read", "tickets:write")), false},
		{"made by the operator", ann.consentPage(h.relyingParty().authorization("customers:read", "tickets:write")),
			true},
	} {
		if ticked, apart := box(row.at, "customers:read"); !ticked || apart {
			t.Errorf("%s: the scope that reads is ticked %v, apart %v", row.name, ticked, apart)
		}
		if ticked, apart := box(row.at, "tickets:write"); ticked != row.ticked || !apart {
			t.Errorf("%s: the scope that writes is ticked %v, apart %v, want %v, true", row.name, ticked, apart,
				row.ticked)
		}
	}
	device := h.device()
	deviceCode, userCode, _ := device.begin("customers:read", "tickets:write")
	at := ann.atDevice("/device?user_code=" + userCode)
	if ticked, apart := box(at, "tickets:write"); ticked || !apart {
		t.Errorf("on the page of a device: ticked %v, apart %v", ticked, apart)
	}
	none := ann.submit(at, url.Values{"decision": {"approve"}, "scope": nil})
	if none.url.Path != "/device" || !strings.Contains(none.body, "Nothing was ticked") {
		t.Errorf("nothing ticked: got %s %.600s, want the page again", none.url, none.body)
	}
	status, answer := device.token(polling(deviceCode))
	wantError(t, "nothing was decided", status, answer, 400, "authorization_pending")
}
