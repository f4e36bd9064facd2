package authserver_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

func (a app) revoke(token string, more ...string) *http.Response {
	a.h.t.Helper()
	form, header := url.Values{"token": {token}}, http.Header(nil)
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	if a.Secret == "" {
		form.Set("client_id", a.ID)
	} else {
		header = basicAuth(a.ID, a.Secret)
	}
	return a.h.do("POST", "/oauth2/revoke", urlencoded, form.Encode(), header)
}

// RV-01 to RV-04: whichever token is given back, by its own client, all of its grant is over.
func TestGivingTokensBack(t *testing.T) {
	h := startServer(t)
	a, other, confidential := h.register(map[string]any{}), h.register(map[string]any{}),
		h.register(map[string]any{"token_endpoint_auth_method": "client_secret_post"})
	ann := h.person("ann@acme.example")
	for what, row := range map[string]struct {
		pick func(access, refresh string) string
		hint string
	}{
		"the refresh token":    {func(_, refresh string) string { return refresh }, "refresh_token"},
		"the access token":     {func(access, _ string) string { return access }, "access_token"},
		"with the wrong hint":  {func(_, refresh string) string { return refresh }, "access_token"},
		"with an unknown hint": {func(access, _ string) string { return access }, "zzz"},
	} {
		access, refresh := a.tokens(ann, "customers:read")
		_, body := claims(t, access)
		r := other.revoke(row.pick(access, refresh)) // RV-02
		answer := decoded(t, r)
		wantError(t, what+", by another client", r.StatusCode, answer, 400, "invalid_grant")
		_, answer = a.token(refreshment(refresh))
		if refresh, _ = answer["refresh_token"].(string); refresh == "" {
			t.Fatalf("%s: another client's try ended it: %v", what, answer)
		}
		if r := a.revoke(row.pick(access, refresh), "token_type_hint", row.hint); r.StatusCode != 200 ||
			r.Header.Get("Cache-Control") != "no-store" {
			// RV-01
			t.Errorf("%s: got %d %v, want 200", what, r.StatusCode, r.Header)
		}
		if ended, err := h.List.Ended(t.Context(), body["grant_id"].(string)); !ended || err != nil ||
			a.alive(refresh) {
			t.Errorf("%s: the access token ended %v %v; or the refresh token is valid", what, ended, err)
		}
		if r := a.revoke(refresh); r.StatusCode != 200 {
			t.Errorf("%s, again: got %d, want 200", what, r.StatusCode)
		}
	}
	for _, garbage := range []string{"garbage", "ghr_garbage", "e30.e30.AA", strings.Repeat("x", 5000), "\u2603"} {
		// RV-03
		if r := h.register(map[string]any{}).revoke(garbage, "token_type_hint", "zzz"); r.StatusCode != 200 {
			t.Errorf("%s: got %d, want 200", shortened(garbage), r.StatusCode)
		}
	}
	_, refresh := confidential.tokens(ann, "customers:read")
	nobody := app{h: h, ID: confidential.ID}
	r := nobody.revoke(refresh) // RV-04
	answer := decoded(t, r)
	wantError(t, "a confidential client without its secret", r.StatusCode, answer, 401, "invalid_client")
	if !confidential.alive(refresh) {
		t.Error("and it is over all the same")
	}
}

// RV-07 to RV-09: of a token that is not worth anything now, or not the asker's, nothing is said.
func TestIntrospectionSaysLittle(t *testing.T) {
	h := startServer(t)
	a, b := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"}),
		h.machine("acme", "customers:read")
	ann := h.person("ann@acme.example")
	access, refresh := a.tokens(ann, "customers:read")
	ended, endedRefresh := a.tokens(ann, "customers:read")
	a.revoke(ended)
	spent := refresh
	_, answer := a.token(refreshment(refresh))
	refresh = answer["refresh_token"].(string)
	toy := tokentest.NewIssuer(t)
	forged := toy.Claims(resourceURI, "customers:read")
	forged.Issuer, forged.ClientID = h.URL, a.ID
	ask := func(who app, token string) (int, map[string]any) {
		return h.post("/oauth2/introspect", urlencoded,
			url.Values{"token": {token}, "token_type_hint": {"zzz"}}.Encode(), basicAuth(who.ID, who.Secret))
	}
	for what, row := range map[string]struct {
		who   app
		token string
	}{
		"another's access token": {b, access}, "another's refresh token": {b, refresh}, "an ended grant's": {a, ended},
		"an ended grant's refresh token": {a, endedRefresh}, "a spent one": {a, spent},
		"garbage":                   {a, "garbage"},
		"a token of another issuer": {a, toy.Sign(toy.Claims(resourceURI, "customers:read"))},
		"a token that another issuer signed for us": {a, toy.Sign(forged)},
		// TK-11
		"less": {a, access[:len(access)-1]}, "more": {a, access + "A"}, "padded": {a, access + "="},
		"in capitals": {a, strings.ToUpper(access)},
	} {
		if status, answer := ask(row.who, row.token); status != 200 || len(answer) != 1 || answer["active"] != false {
			t.Errorf("%s: got %d %v, want only active=false", what, status, answer)
		}
	}
	for what, token := range map[string]string{"its access token": access, "its refresh token": refresh} {
		if _, answer := ask(a, token); answer["active"] != true || answer["aud"] != resourceURI { // AS-28
			t.Errorf("%s: got %v, want active, for the resource", what, answer)
		}
	}
	for what, form := range map[string]string{"without a client": "token=" + access,
		"a public client": "token=" + access + "&client_id=" + h.register(map[string]any{}).ID} {
		status, answer := h.post("/oauth2/introspect", urlencoded, form, nil)
		wantError(t, what, status, answer, 401, "invalid_client")
	}
}
