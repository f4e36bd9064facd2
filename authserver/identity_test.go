package authserver_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
)

const home = "https://app.example/signed-out"

// relyingParty makes an application of the operator's that signs people in and keeps a secret.
func (h *testServer) relyingParty() app {
	h.t.Helper()
	secret := client.NewSecret()
	c := client.Client{
		ID: client.NewID(), Name: "Portal", RedirectURIs: []string{callback}, PostLogoutRedirectURIs: []string{home},
		GrantTypes: []string{client.GrantCode, client.GrantRefresh},
		AuthMethod: client.AuthBasic, SecretHash: client.HashSecret(secret), Origin: client.OriginOperator,
		CreatedAt: h.Clock.Now(),
	}
	must(h.t, h.Store.CreateClient(context.Background(), c))
	return app{h, c.ID, secret}
}

// identification is a good request for who somebody is, and for no server.
func (a app) identification(scopes ...string) url.Values {
	form := a.authorization(append([]string{"openid"}, scopes...)...)
	form.Del("resource")
	form.Set("nonce", "n-0S6_WzA2Mj")
	return form
}

// identified believes an id token by the published keys and returns its claims.
func (h *testServer) identified(raw, algorithm string) map[string]any {
	h.t.Helper()
	_, body := h.get("/oauth2/jwks", nil)
	var set jose.JSONWebKeySet
	must(h.t, json.Unmarshal(body, &set))
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
	must(h.t, err)
	keys := set.Key(jws.Signatures[0].Header.KeyID)
	if len(keys) != 1 {
		h.t.Fatalf("the id token's kid is published %d times, want once", len(keys))
	}
	payload, err := jws.Verify(keys[0].Key)
	must(h.t, err)
	var out map[string]any
	must(h.t, json.Unmarshal(payload, &out))
	return out
}

// userInfo asks who somebody is.
func (h *testServer) userInfo(access string) (*http.Response, map[string]any) {
	h.t.Helper()
	r := h.do("GET", "/oauth2/userinfo", "", "", http.Header{"Authorization": {"Bearer " + access}})
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	must(h.t, err)
	var out map[string]any
	must(h.t, json.Unmarshal(raw, &out))
	h.explained(out)
	return r, out
}

// OpenID Connect Core §2, §3.1, §5.3: an ordinary relying party signs a person in.
func TestAPersonSignsInElsewhere(t *testing.T) {
	h := startServer(t)
	a := h.relyingParty()
	ann := h.person("ann@acme.example")
	at := ann.consentPage(a.identification("email", "profile"))
	for _, want := range []string{"asks who you are", "Know your e-mail address", "Know your name"} {
		if !strings.Contains(at.body, want) {
			t.Errorf("the consent page does not say %q", want)
		}
	}
	signedIn := h.Clock.Now()
	h.Clock.step(5 * time.Second)
	gone := ann.submit(at, url.Values{"decision": {"approve"}, "scope": {"openid", "email"}}) // the name was unticked
	status, answer := a.token(redemption(gone.away.Query().Get("code")))
	if status != 200 || answer["scope"] != "openid email" || answer["refresh_token"] == nil {
		t.Fatalf("got %d %v, want tokens", status, answer)
	}
	access := answer["access_token"].(string)
	got := h.identified(answer["id_token"].(string), "RS256")
	sum := sha256.Sum256([]byte(access))
	want := map[string]any{
		"iss": h.URL, "sub": "usr_ann", "aud": a.ID, "iat": float64(h.Clock.Now().Unix()),
		"exp":       float64(h.Clock.Now().Add(10 * time.Minute).Unix()),
		"auth_time": float64(signedIn.Unix()), "nonce": "n-0S6_WzA2Mj",
		"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]), "tenant_id": "acme", "email": "ann@acme.example",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("claim %s: got %v, want %v", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want no more than was ticked", got)
	}
	if _, body := claims(t, access); body["aud"] != h.URL || body["scope"] != "openid email" {
		t.Errorf("the access token is %v, want one for the issuer", body)
	}
	r, info := h.userInfo(access)
	if r.StatusCode != 200 || info["sub"] != "usr_ann" || info["email"] != "ann@acme.example" || info["name"] != nil ||
		r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("userinfo: got %d %v", r.StatusCode, info)
	}

	// On renewal: the same sign-in, no nonce (§12.2), and none at all where openid is left out.
	h.Clock.step(time.Minute)
	_, answer = a.token(refreshment(answer["refresh_token"].(string)))
	again := h.identified(answer["id_token"].(string), "RS256")
	if again["auth_time"] != want["auth_time"] || again["nonce"] != nil || again["sub"] != "usr_ann" {
		t.Errorf("renewed: got %v", again)
	}
	narrower := refreshment(answer["refresh_token"].(string))
	narrower.Set("scope", "email")
	if _, answer = a.token(narrower); answer["id_token"] != nil || answer["access_token"] == nil {
		t.Errorf("renewed without openid: got %v, want no id token", answer)
	}
	r, info = h.userInfo(answer["access_token"].(string))
	if r.StatusCode != 403 || info["error"] != "insufficient_scope" ||
		!strings.Contains(r.Header.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
		t.Errorf("userinfo without openid: got %d %v", r.StatusCode, info)
	}
}

// An access token has one audience, always: identity beside a server's scopes brings an id token,
// and userinfo wants a token of its own (RFC 8707 §2.2).
func TestIdentityBesideAServer(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	request := a.authorization("openid", "email", "customers:read", "tickets:write")
	request.Set("nonce", "n")
	at := ann.consentPage(request)
	if strings.Contains(at.body, "asks who you are") || !strings.Contains(at.body, "asks for access to") {
		t.Error("the consent page does not say that it is about a server")
	}
	gone := ann.submit(at, url.Values{"decision": {"approve"}})
	_, answer := a.token(redemption(gone.away.Query().Get("code")))
	if answer["scope"] != "customers:read tickets:write" || answer["id_token"] == nil {
		t.Fatalf("got %v, want an id token beside", answer)
	}
	if _, body := claims(t, answer["access_token"].(string)); body["aud"] != resourceURI ||
		body["scope"] != "customers:read tickets:write" || body["email"] != nil {
		t.Errorf("the access token is %v", body)
	}
	r, info := h.userInfo(answer["access_token"].(string))
	if r.StatusCode != 401 || info["error"] != "invalid_token" ||
		!strings.Contains(info["error_description"].(string), "resource="+h.URL) {
		t.Errorf("userinfo with the server's token: got %d %v, want to be told which it takes", r.StatusCode, info)
	}
	own := refreshment(answer["refresh_token"].(string))
	own.Set("resource", h.URL)
	_, answer = a.token(own)
	if r, info = h.userInfo(answer["access_token"].(string)); r.StatusCode != 200 ||
		info["email"] != "ann@acme.example" {
		t.Errorf("userinfo with its own token: got %d %v", r.StatusCode, info)
	}
	if _, body := claims(t, answer["access_token"].(string)); body["aud"] != h.URL || body["scope"] != "openid email" {
		t.Errorf("the token for userinfo is %v", body)
	}

	// JW-07: an id token opens nothing; a server's own tools in another's name neither.
	for _, raw := range []string{answer["id_token"].(string), "garbage", answer["access_token"].(string) + "x"} {
		if r, _ := h.userInfo(raw); r.StatusCode != 401 {
			t.Errorf("userinfo with what is no access token: got %d, want 401", r.StatusCode)
		}
	}
	request = a.authorization("customers:read")
	request.Set("resource", h.URL)
	if got := ann.open("/oauth2/authorize?" + request.Encode()).away; got == nil ||
		got.Query().Get("error") != "invalid_scope" {
		t.Errorf("a tool's scope at the issuer: got %v, want invalid_scope", got)
	}
	request = a.authorization("email", "customers:read") // without openid it is no scope of identity (§3.1.2.1)
	if got := ann.open("/oauth2/authorize?" + request.Encode()).away; got == nil ||
		got.Query().Get("error") != "invalid_scope" {
		t.Errorf("email without openid: got %v, want invalid_scope", got)
	}

	// Nothing of the server ticked is nothing allowed, and a role that allows nothing there offers
	// nothing.
	none := ann.submit(ann.consentPage(a.authorization("openid", "customers:read")),
		url.Values{"decision": {"approve"}, "scope": {"openid"}})
	if none.away != nil || !strings.Contains(none.body, "Nothing was ticked") {
		t.Errorf("identity alone ticked: got %d to %v, want the page again", none.status, none.away)
	}
	must(t, h.Store.PutMember(t.Context(), "acme", "usr_ann", "reader"))
	if at := ann.consentPage(a.authorization("openid", "tickets:write")); !strings.Contains(at.body,
		"includes nothing that the application asks for") {
		t.Error("a role that allows nothing is offered identity alone")
	}
}

// What ends a permission ends the answers about the person.
func TestUserInfoEnds(t *testing.T) {
	h := startServer(t)
	a := h.relyingParty()
	get := func(p *person) string {
		_, answer := a.token(redemption(p.approve(a.identification()).Get("code")))
		return answer["access_token"].(string)
	}
	ann := h.person("ann@acme.example")
	first, second := get(ann), get(ann)
	_, body := claims(t, first)
	revoke(t, h.Server.Operator(), body["grant_id"].(string), "test")
	if r, _ := h.userInfo(first); r.StatusCode != 401 {
		t.Errorf("after the end of the grant: got %d, want 401", r.StatusCode)
	}
	if r, _ := h.userInfo(second); r.StatusCode != 200 {
		t.Errorf("another grant: got %d, want 200", r.StatusCode)
	}
	h.Clock.step(11 * time.Minute)
	if r, _ := h.userInfo(second); r.StatusCode != 401 ||
		!strings.Contains(r.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("expired: got %d, want 401", r.StatusCode)
	}
	for name, header := range map[string]http.Header{"nothing": nil, "basic": basicAuth(a.ID, a.Secret),
		"two": {"Authorization": {"Bearer x", "Bearer y"}}} {
		r := h.do("GET", "/oauth2/userinfo", "", "", header)
		r.Body.Close()
		if r.StatusCode != 401 || !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") ||
			strings.Contains(r.Header.Get("WWW-Authenticate"), "error=") {
			t.Errorf("with %s: got %d %q, want a bare challenge", name, r.StatusCode, r.Header.Get("WWW-Authenticate"))
		}
	}
	if r := h.do("GET", "/oauth2/userinfo?access_token="+second, "", "", nil); r.StatusCode != 401 {
		t.Errorf("a token in the URL: got %d, want 401", r.StatusCode)
	}
}

// A client says how its id tokens are to be signed, as far as there is a key for it.
func TestIDTokenAlgorithms(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) { c.Resources[0].Algorithm = "EdDSA" })
	a := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic",
		"id_token_signed_response_alg": "EdDSA", "post_logout_redirect_uris": []string{home}})
	_, answer := a.token(redemption(h.person("ann@acme.example").approve(a.identification()).Get("code")))
	if got := h.identified(answer["id_token"].(string), "EdDSA"); got["sub"] != "usr_ann" {
		t.Errorf("got %v", got)
	}
	for name, m := range map[string]map[string]any{
		"an algorithm without a key": {"id_token_signed_response_alg": "ES256"},
		"none":                       {"id_token_signed_response_alg": "none"},
		"a secret's":                 {"id_token_signed_response_alg": "HS256"},
		"a script":                   {"post_logout_redirect_uris": []string{"javascript:alert(1)"}},
		"plain http":                 {"post_logout_redirect_uris": []string{"http://app.example/out"}},
	} {
		m["redirect_uris"] = []string{callback}
		body, _ := json.Marshal(m)
		status, answer := h.post("/oauth2/register", "application/json", string(body), nil)
		wantError(t, name, status, answer, 400, "invalid_client_metadata")
	}
}

// AZ-30, AZ-31: how the person is to be met.
func TestPrompts(t *testing.T) {
	h := startServer(t)
	a := h.relyingParty()
	ann := h.person("ann@acme.example")
	with := func(pairs ...string) url.Values {
		form := a.identification("email")
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		return form
	}
	open := func(form url.Values) page { return ann.open("/oauth2/authorize?" + form.Encode()) }
	refused := func(what string, form url.Values, code string) {
		t.Helper()
		if at := open(form); at.away == nil || at.away.Query().Get("error") != code ||
			at.away.Query().Get("iss") != h.URL || at.away.Query().Get("state") != "state-123" {
			t.Errorf("%s: got %d to %v, want %s", what, at.status, at.away, code)
		}
	}
	refused("none and login", with("prompt", "none login"), "invalid_request")
	refused("max_age below nothing", with("max_age", "-1"), "invalid_request")
	refused("max_age far below nothing", with("max_age", "-"+strings.Repeat("9", 40)), "invalid_request")
	refused("max_age in letters", with("max_age", "abc"), "invalid_request")
	refused("nobody there", with("prompt", "none"), "login_required") // AZ-29

	hinted := open(with("login_hint", `ann@acme.example"><script>`))
	if hinted.url.Path != "/signin" || !strings.Contains(hinted.body, `value="ann@acme.example&#34;&gt;`) {
		t.Errorf("a login_hint: got %s without the address", hinted.url)
	}
	ann.consentPage(with())
	h.Clock.step(time.Minute)
	for what, form := range map[string]url.Values{
		"login": with("prompt", "login"), "another account": with("prompt", "select_account"),
		"max_age=0": with("max_age", "0"), "an old sign-in": with("max_age", "59"),
	} {
		at := open(form)
		if at.url.Path != "/signin" {
			t.Fatalf("%s: got %s, want the person to sign in anew", what, at.url)
		}
		if back := ann.open("/consent?" + at.url.RawQuery); back.url.Path != "/signin" {
			t.Errorf("%s: who goes on by hand gets %s, want /signin", what, back.url)
		}
		sneaky := ann.submit(page{url: at.url, body: strings.Replace(at.body, `action="/signin"`, `action="/consent"`,
			1)}, url.Values{"decision": {"approve"}, "scope": {"openid"}, "tenant": {"acme"}})
		if sneaky.away != nil {
			t.Errorf("%s: who answers without signing in anew gets %v", what, sneaky.away)
		}
		h.Clock.step(time.Second)
		at = ann.submit(at, url.Values{"email": {"ann@acme.example"}, "password": {password}})
		at.want(t, what+", signed in anew", 200, "/consent")
		h.Clock.step(time.Minute) // anyone who reads slowly is not sent round in circles
		if gone := ann.submit(at, url.Values{"decision": {"approve"}}); gone.away == nil ||
			gone.away.Query().Get("code") == "" {
			t.Errorf("%s: then got %d at %s, want a code", what, gone.status, gone.url)
		}
	}
	for what, form := range map[string]url.Values{"consent": with("prompt", "consent"),
		"a young sign-in": with("max_age", "3600"), "an unknown word": with("prompt", "dance"),
		"very old": with("max_age", "99999999999999"), "beyond any number": with("max_age", strings.Repeat("9", 40))} {
		if at := open(form); at.url.Path != "/consent" {
			t.Errorf("%s: got %s, want the consent page", what, at.url)
		}
	}
}

// AZ-29, AZ-31, LG-04 to LG-06: no page is shown only to somebody who let this very client in
// before, to all of this, at these addresses.
func TestSilence(t *testing.T) {
	h := startServer(t)
	a, other, self := h.relyingParty(), h.relyingParty(),
		h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"})
	ann, carol := h.person("ann@acme.example"), h.person("carol@both.example")
	silent := func(p *person, form url.Values) url.Values {
		t.Helper()
		form.Set("prompt", "none")
		at := p.open("/oauth2/authorize?" + form.Encode())
		if at.away == nil {
			t.Fatalf("got a page (%d at %s), want none", at.status, at.url)
		}
		return at.away.Query()
	}
	ann.consentPage(a.identification())
	if got := silent(ann, a.identification()).Get("error"); got != "consent_required" {
		t.Errorf("signed in, and nothing allowed: got %q, want consent_required", got)
	}
	ann.approve(a.identification("email"))
	ann.approve(self.identification("email"))
	q := silent(ann, a.identification("email"))
	status, answer := a.token(redemption(q.Get("code")))
	if status != 200 || answer["id_token"] == nil {
		t.Fatalf("allowed before: got %v, then %d %v", q, status, answer)
	}
	for what, form := range map[string]url.Values{
		"another client": other.identification("email"), "more than before": a.identification("email", "profile"),
		"a server":                           a.authorization("openid", "email", "customers:read"),
		"a client that registered by itself": self.identification("email"),
	} {
		if got := silent(ann, form).Get("error"); got != "consent_required" {
			t.Errorf("%s: got %q, want consent_required", what, got)
		}
	}
	hint := func(raw string) url.Values {
		form := a.identification("email")
		form.Set("id_token_hint", raw)
		return form
	}
	mine := answer["id_token"].(string)
	if q := silent(ann, hint(mine)); q.Get("code") == "" {
		t.Errorf("with ann's own hint: got %v, want a code", q)
	}
	parts := strings.Split(mine, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."
	for what, raw := range map[string]string{"unsigned": none, "bent": parts[0] + "." + parts[1] + ".AAAA",
		"an access token": answer["access_token"].(string), "nothing": "x"} {
		if got := silent(ann, hint(raw)).Get("error"); got != "login_required" {
			t.Errorf("a hint that is %s: got %q, want login_required", what, got)
		}
	}
	carol.consentPage(a.identification("email"))
	if got := silent(carol, hint(mine)).Get("error"); got != "login_required" {
		t.Errorf("carol with ann's hint: got %q, want login_required", got)
	}

	old := a.identification("email")
	old.Set("max_age", "10")
	h.Clock.step(time.Minute)
	if got := silent(ann, old).Get("error"); got != "login_required" {
		t.Errorf("a sign-in that is too old: got %q, want login_required", got)
	}
	ends, err := h.Store.Grants(t.Context(), grant.Filter{UserID: "usr_ann", ClientID: a.ID, Active: true})
	must(t, err)
	for _, g := range ends {
		revoke(t, h.Server.Operator(), g.ID, "test")
	}
	if got := silent(ann, a.identification("email")).Get("error"); got != "consent_required" {
		t.Errorf("after the permission ended: got %q, want consent_required", got)
	}

	// Of several organisations nobody chooses for the person.
	for _, tenant := range []string{"acme", "globex"} {
		at := carol.consentPage(a.identification("email"))
		at = carol.open("/consent?" + at.url.RawQuery + "&tenant=" + tenant)
		carol.submit(at, url.Values{"decision": {"approve"}})
	}
	if got := silent(carol, a.identification("email")).Get("error"); got != "interaction_required" {
		t.Errorf("two organisations: got %q, want interaction_required", got)
	}
}

// What a person ends has ended: nothing that the client got silently on the strength of it lives
// on, and no silence outlives it. A hundred silences hide nothing.
func TestSilenceEndsWithThePermission(t *testing.T) {
	h := startServer(t)
	a, other := h.relyingParty(), h.register(map[string]any{"client_name": "Oldie"})
	ann := h.person("ann@acme.example")
	ann.approve(other.authorization("customers:read"))
	silent := func() url.Values {
		form := a.identification("email")
		form.Set("prompt", "none")
		return ann.open("/oauth2/authorize?" + form.Encode()).away.Query()
	}
	h.Clock.step(time.Second)
	ann.approve(a.identification("email"))
	for range 105 {
		h.Clock.step(time.Second)
		if q := silent(); q.Get("code") == "" {
			t.Fatal(q)
		}
	}
	_, answer := a.token(redemption(silent().Get("code")))
	at := ann.open("/agents")
	if strings.Count(at.body, "Revoke access") != 2 || !strings.Contains(at.body, "Oldie") {
		t.Errorf("the page shows %d agents, want the two that ann authorized", strings.Count(at.body, "Revoke access"))
	}
	ann.submit(at, nil) // the newest: the relying party
	if q := silent(); q.Get("error") != "consent_required" {
		t.Errorf("after the end: got %v, want to be asked", q)
	}
	alive, err := h.Store.Grants(t.Context(), grant.Filter{UserID: "usr_ann", ClientID: a.ID, Active: true})
	if err != nil || len(alive) != 0 {
		t.Errorf("after the end %d grants live on %v", len(alive), err)
	}
	if r, _ := h.userInfo(answer["access_token"].(string)); r.StatusCode != 401 ||
		a.alive(answer["refresh_token"].(string)) {
		t.Error("what came silently outlives the permission")
	}
}

// The issuer in one process with a server whose clients name one process: the server is meant, at
// the token endpoint as at the authorization endpoint.
func TestAnAliasThatIsTheIssuer(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) { c.Resources[0].Aliases = []string{c.Issuer} })
	a := h.register(map[string]any{})
	request := a.authorization("openid", "customers:read")
	request.Set("resource", h.URL)
	form := redemption(h.person("ann@acme.example").approve(request).Get("code"))
	form.Set("resource", h.URL)
	_, answer := a.token(form)
	if _, body := claims(t, answer["access_token"].(string)); body["aud"] != resourceURI {
		t.Errorf("got a token for %v, want the server's", body["aud"])
	}
}

// AZ-40, AS-17: an id token goes into no address, an old one still says whose application it was,
// and a stranger's application redirects nobody from here.
func TestHintsAndStrangersWhenSigningOut(t *testing.T) {
	h := startServer(t)
	a := h.relyingParty()
	ann := h.person("ann@acme.example")
	_, answer := a.token(redemption(ann.approve(a.identification()).Get("code")))
	hint := answer["id_token"].(string)
	form := a.identification()
	form.Set("id_token_hint", hint)
	r := h.do("POST", "/oauth2/authorize", "application/x-www-form-urlencoded", form.Encode(), nil)
	r.Body.Close()
	if r.StatusCode != 303 || strings.Contains(r.Header.Get("Location"), hint[:20]) {
		t.Errorf("posted: got %d to %s", r.StatusCode, r.Header.Get("Location"))
	}
	form.Set("prompt", "none")
	r = h.do("POST", "/oauth2/authorize", "application/x-www-form-urlencoded", form.Encode(), nil)
	r.Body.Close()
	if r.StatusCode != 400 {
		t.Errorf("posted with prompt=none: got %d, want 400", r.StatusCode)
	}
	_, err := h.Server.Operator().RotateKey(t.Context(), authserver.KeyTurn{Algorithm: "RS256", Soon: true})
	must(t, err)
	h.Clock.step(3 * time.Hour)
	h.start() // the key that signed it is published no more
	if at := ann.open("/oauth2/logout?" + url.Values{"id_token_hint": {hint}}.Encode()); at.status != 200 {
		t.Errorf("an old id token: got %d, want 200", at.status)
	}
	stranger := client.Client{
		ID: "https://evil.example/client.json", Name: "Evil", Origin: client.OriginDocument,
		AuthMethod: client.AuthNone, GrantTypes: []string{client.GrantCode},
		RedirectURIs: []string{callback}, PostLogoutRedirectURIs: []string{"https://evil.example/phish"},
		CreatedAt: h.Clock.Now(),
	}
	must(t, h.Store.PutDocument(t.Context(), stranger))
	at := h.person("bob@globex.example").open("/oauth2/logout?" + url.Values{"client_id": {stranger.ID},
		"post_logout_redirect_uri": stranger.PostLogoutRedirectURIs}.Encode())
	if at.away != nil || at.status != 200 || !strings.Contains(at.body, "evil.example") {
		t.Errorf("a stranger's address, with nobody there: got %d to %v, want a page with a link", at.status, at.away)
	}
}

// LG-20, RP-Initiated Logout 1.0: nobody is signed out without being asked, and goes on only to
// where the application registered.
func TestSigningOutFromElsewhere(t *testing.T) {
	h := startServer(t)
	a, other := h.relyingParty(), h.relyingParty()
	ann := h.person("ann@acme.example")
	_, answer := a.token(redemption(ann.approve(a.identification()).Get("code")))
	hint := answer["id_token"].(string)
	out := func(pairs ...string) page {
		form := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			form.Add(pairs[i], pairs[i+1])
		}
		return ann.open("/oauth2/logout?" + form.Encode())
	}
	here := func() bool { return ann.open("/agents").url.Path == "/agents" }
	for what, at := range map[string]page{
		"an address that is not registered": out("client_id", a.ID, "post_logout_redirect_uri",
			"https://evil.example/"),
		"a near miss":      out("client_id", a.ID, "post_logout_redirect_uri", home+"/"),
		"nobody's address": out("post_logout_redirect_uri", home),
		"the callback":     out("client_id", a.ID, "post_logout_redirect_uri", callback),
		"another's hint": out("client_id", other.ID, "id_token_hint", hint,
			"post_logout_redirect_uri", home),
		"no hint at all":    out("id_token_hint", "x", "post_logout_redirect_uri", home),
		"an unknown client": out("client_id", "cli_none", "post_logout_redirect_uri", home),
		"two addresses": out("client_id", a.ID, "post_logout_redirect_uri", home,
			"post_logout_redirect_uri", home),
	} {
		if at.status != 400 || at.away != nil || !here() {
			t.Errorf("%s: got %d to %v, want a page with 400 and ann still there", what, at.status, at.away)
		}
	}
	at := out("id_token_hint", hint, "post_logout_redirect_uri", home, "state", "s&iss=x")
	if at.status != 200 || !strings.Contains(at.body, "app.example") || !strings.Contains(at.body, "Portal") ||
		strings.Contains(at.body, hint) || !here() {
		t.Fatalf("asking: got %d, %.300s", at.status, at.body)
	}
	// the page is not believed
	bent := ann.submit(at, url.Values{"post_logout_redirect_uri": {"https://evil.example/"}})
	if bent.status != 400 || bent.away != nil || !here() {
		t.Errorf("a bent form: got %d to %v", bent.status, bent.away)
	}
	forged := ann.submit(at, url.Values{"csrf": {"x"}})
	if forged.status != 403 || !here() {
		t.Errorf("a forged form: got %d, want 403", forged.status)
	}
	gone := ann.submit(at, nil)
	if gone.status != 303 || gone.away == nil || !strings.HasPrefix(gone.away.String(), home+"?") ||
		gone.away.Query().Get("state") != "s&iss=x" || len(gone.away.Query()) != 1 || here() {
		t.Errorf("signing out: got %d to %v", gone.status, gone.away)
	}
	if at := out("client_id", a.ID, "post_logout_redirect_uri", home); at.away == nil || at.away.String() != home {
		t.Errorf("with nobody there: got %d to %v, want to go on", at.status, at.away)
	}
	ann.consentPage(a.identification())
	// §2: by POST, too
	r, err := ann.http.PostForm(h.URL+"/oauth2/logout",
		url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {home}, "state": {"x"}})
	must(t, err)
	at = arrive(t, r)
	if at.url.Path != "/oauth2/logout" || at.status != 200 || strings.Contains(at.url.String(), hint) { // AZ-40
		t.Errorf("by POST: got %d at %s", at.status, at.url)
	}
	if gone := ann.submit(at, nil); gone.away == nil || gone.away.String() != home+"?state=x" {
		t.Errorf("by POST: got %v", gone.away)
	}
	if h.Log.Contains(hint) {
		t.Error("the log holds the id token")
	}
}

// email_verified is true where the operator said so, and absent elsewhere.
func TestAnAddressThatTheOperatorVerified(t *testing.T) {
	h := startServer(t)
	a := h.relyingParty()
	for _, row := range []struct {
		email string
		want  any
	}{{"dora@acme.example", true}, {"emil@acme.example", nil}} {
		spec := admin.UserSpec{Email: row.email, Verified: row.want != nil, Password: password, Tenant: "acme"}
		_, _, err := h.Server.Operator().CreateUser(t.Context(), spec)
		must(t, err)
		_, answer := a.token(redemption(h.person(row.email).approve(a.identification("email")).Get("code")))
		if body := h.identified(answer["id_token"].(string), "RS256"); body["email"] != row.email ||
			body["email_verified"] != row.want {
			t.Errorf("the id token of %s has %v and %v, want email_verified %v", row.email, body["email"],
				body["email_verified"], row.want)
		}
		if _, info := h.userInfo(answer["access_token"].(string)); info["email"] != row.email ||
			info["email_verified"] != row.want {
			t.Errorf("userinfo of %s: %v, want email_verified %v", row.email, info, row.want)
		}
		narrow := h.person(row.email).approve(a.identification("profile"))
		_, answer = a.token(redemption(narrow.Get("code")))
		if body := h.identified(answer["id_token"].(string), "RS256"); body["email_verified"] != nil {
			t.Errorf("without the scope email: %v", body)
		}
	}
}
