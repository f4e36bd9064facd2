package authserver_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// TK-01 to TK-03, TK-11, TK-19, AS-22, AS-26, AS-27: what does not redeem a code, and leaves it
// whole for those it was given to.
func TestWhatDoesNotRedeemACode(t *testing.T) {
	h := startServer(t)
	a, other := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"}),
		h.register(map[string]any{})
	v := a.authorization("customers:read")
	v.Set("code_challenge", challengeOf(strings.Repeat("v", 43)))
	code := h.person("ann@acme.example").approve(v).Get("code")
	good := redemption(code)
	good.Set("code_verifier", strings.Repeat("v", 43))
	for _, row := range []struct {
		id, name, value string
		code            string
	}{
		{"TK-02, another redirect_uri", "redirect_uri", "https://app.example/other", "invalid_grant"},
		{"TK-02, a longer redirect_uri", "redirect_uri", callback + "/", "invalid_grant"},
		{"TK-02, no redirect_uri", "redirect_uri", "-", "invalid_grant"},
		{"TK-03, another verifier", "code_verifier", strings.Repeat("w", 43), "invalid_grant"},
		{"TK-03, a short verifier", "code_verifier", strings.Repeat("v", 42), "invalid_grant"},
		{"TK-03, a long verifier", "code_verifier", strings.Repeat("v", 129), "invalid_grant"},
		{"TK-03, a verifier of other letters", "code_verifier", strings.Repeat("v", 42) + "!", "invalid_grant"},
		{"TK-03, the challenge itself", "code_verifier", challengeOf(strings.Repeat("v", 43)), "invalid_grant"},
		{"TK-03, an empty verifier", "code_verifier", "", "invalid_grant"},
		{"TK-03, no verifier", "code_verifier", "-", "invalid_grant"},
		{"TK-11, less", "code", code[:len(code)-1], "invalid_grant"},
		{"TK-11, more", "code", code + "A", "invalid_grant"},
		{"TK-11, padded", "code", code + "=", "invalid_grant"},
		{"TK-11, in capitals", "code", strings.ToUpper(code), "invalid_grant"},
		{"TK-11, without its prefix", "code", strings.TrimPrefix(code, "ghc_"), "invalid_grant"},
		{"TK-11, as its hash", "code", client.TokenHash(code), "invalid_grant"},
		{"TK-19, another resource", "resource", "https://other.example/mcp", "invalid_target"},
		{"a wider scope", "scope", "customers:read customers:write", "invalid_scope"},
	} {
		form := clone(good)
		if form.Set(row.name, row.value); row.value == "-" {
			form.Del(row.name)
		}
		status, answer := a.token(form)
		wantError(t, row.id, status, answer, 400, row.code)
	}
	status, answer := other.token(good)
	wantError(t, "TK-01, another client", status, answer, 400, "invalid_grant")
	status, answer = h.post("/oauth2/token", urlencoded, good.Encode()+"&client_id="+a.ID, nil)
	wantError(t, "AS-01, its client without its secret", status, answer, 401, "invalid_client")
	good["resource"] = []string{resourceURI, resourceURI} // TK-17: the one parameter that may be repeated
	if status, answer := a.token(good); status != 200 {
		t.Errorf("and then its own client, rightly: got %d %v, want 200", status, answer)
	}
}

// TK-05: a code without a challenge cannot come to be; one that did all the same is worth nothing.
func TestACodeWithoutAChallenge(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	now := h.Clock.Now()
	for _, sent := range []string{verifier, "", "-"} {
		code, g := "ghc_"+strings.ReplaceAll(fmt.Sprintf("%43q", sent), " ", "x"),
			grant.Grant{ID: client.NewID(), TenantID: "acme", ClientID: a.ID, UserID: "usr_ann", Resource: resourceURI,
				Scopes: []string{"customers:read"}, CreatedAt: now}
		must(t, h.Store.PutCode(t.Context(), g, issuer.Code{Hash: client.TokenHash(code), GrantID: g.ID, ClientID: a.ID,
			RedirectURI: callback, CreatedAt: now, ExpiresAt: now.Add(time.Minute)},
			audit.Event{Time: now, Actor: "test", Action: "test"}))
		form := redemption(code)
		if form.Set("code_verifier", sent); sent == "-" {
			form.Del("code_verifier")
		}
		status, answer := a.token(form)
		wantError(t, "with verifier "+sent, status, answer, 400, "invalid_grant")
	}
}

// TK-06, AS-22: a code that comes twice ends the result of it.
func TestACodeThatComesTwice(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	code := a.code(h.person("ann@acme.example"), "customers:read")
	_, first := a.token(redemption(code))
	_, body := claims(t, first["access_token"].(string))
	status, answer := a.token(redemption(code))
	wantError(t, "the second time", status, answer, 400, "invalid_grant")
	if a.alive(first["refresh_token"].(string)) {
		t.Error("the refresh token of the first time lives on")
	}
	if ended, err := h.List.Ended(t.Context(), body["grant_id"].(string)); !ended || err != nil {
		t.Errorf("the access token of the first time: ended %v %v, want true", ended, err)
	}
}

// TK-07, RT-03: of fifty at once at two programs on PostgreSQL and Redis, one wins.
func TestOneWinnerAtTwoReplicas(t *testing.T) {
	h := openReplicas(t)
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	for range 5 {
		code := a.code(ann, "customers:read")
		if winners := parallel(a, redemption(code), 50); winners != 1 {
			t.Errorf("fifty redemptions of a code: got %d winners, want 1", winners)
		}
		h.Clock.step(time.Minute)
	}
	grants, err := h.Store.Grants(t.Context(), grant.Filter{ClientID: a.ID, Active: true})
	if len(grants) > 5 || err != nil {
		t.Errorf("%d living grants %v of five codes", len(grants), err)
	}
}

// TK-09: what was withdrawn between the code and its redemption.
func TestACodeWhoseGroundIsGone(t *testing.T) {
	for what, row := range map[string]struct {
		change func(h *testServer, id, manage string)
		status int
		code   string
	}{
		"the account is disabled": {func(h *testServer, _, _ string) { h.sql("UPDATE users SET disabled = TRUE") }, 400,
			"invalid_grant"},
		"the permission ended": {func(h *testServer, _, _ string) {
			ann := h.person("ann@acme.example")
			ann.submit(ann.open("/signin"), url.Values{"email": {ann.email}, "password": {password}})
			ann.submit(ann.open("/agents"), nil)
		}, 400, "invalid_grant"},
		// DR-18
		"the client is gone": {func(h *testServer, id, manage string) { h.manage("DELETE", id, manage, "") }, 401,
			"invalid_client"},
	} {
		t.Run(what, func(t *testing.T) {
			h := startServer(t)
			_, made := h.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`, nil)
			a := app{h: h, ID: made["client_id"].(string)}
			code := a.code(h.person("ann@acme.example"), "customers:read")
			row.change(h, a.ID, made["registration_access_token"].(string))
			status, answer := a.token(redemption(code))
			wantError(t, what, status, answer, row.status, row.code)
		})
	}
}

// TK-08: a code is valid for a minute, with the clock of anyone who asks out of the question.
func TestACodesLife(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	for _, row := range []struct {
		after  time.Duration
		status int
	}{{59 * time.Second, 200}, {60 * time.Second, 400}, {time.Hour, 400}} {
		code := a.code(ann, "customers:read")
		h.Clock.step(row.after)
		status, answer := a.token(redemption(code))
		said, _ := answer["error_description"].(string)
		if status != row.status || status == 400 && !strings.Contains(said, "begin a new authorization") {
			t.Errorf("after %s: got %d %v, want %d and what to do", row.after, status, answer, row.status)
		}
	}
}
