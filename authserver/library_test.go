package authserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
)

// The tests of this file pin what fosite v0.49.0 does not do by itself, measured as L1 to L17. The
// plain library fails each of them.

// L1, TK-04: fosite deletes the PKCE record before it checks the verifier, so that a second attempt
// without one passes where PKCE is not enforced for the client.
func TestL01NoDowngradeAfterAWrongVerifier(t *testing.T) {
	h := startServer(t)
	confidential := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"})
	public := h.register(map[string]any{})
	for name, a := range map[string]app{"confidential": confidential, "public": public} {
		t.Run(name, func(t *testing.T) {
			code := a.code(h.person("ann@acme.example"), "customers:read")
			wrong := redemption(code)
			wrong.Set("code_verifier", strings.Repeat("w", 43))
			status, answer := a.token(wrong)
			wantError(t, "wrong verifier", status, answer, 400, "invalid_grant")
			none := redemption(code)
			none.Del("code_verifier")
			status, answer = a.token(none)
			wantError(t, "then without verifier", status, answer, 400, "invalid_grant")
			if status, answer := a.token(redemption(code)); status != 200 {
				t.Errorf("then the honest client: got %d %v, want 200: a wrong verifier must not burn the code",
					status, answer)
			}
		})
	}
}

// L2, RV-02, RV-05, FT-06: fosite's writer answers 200 whatever went wrong.
func TestL02RevocationNeverClaimsWhatDidNotHappen(t *testing.T) {
	h := startServer(t)
	a, b := h.register(map[string]any{}), h.register(map[string]any{})
	_, refresh := a.tokens(h.person("ann@acme.example"), "customers:read")

	status, answer := h.post("/oauth2/revoke", "application/x-www-form-urlencoded",
		url.Values{"client_id": {b.ID}, "token": {refresh}}.Encode(), nil)
	wantError(t, "another client's token", status, answer, 400, "invalid_grant")

	must(t, h.Server.Close()) // the store is gone
	status, answer = h.post("/oauth2/revoke", "application/x-www-form-urlencoded",
		url.Values{"client_id": {a.ID}, "token": {refresh}}.Encode(), nil)
	wantError(t, "with the store gone", status, answer, 503, "temporarily_unavailable")
	if h.Log.Contains(refresh) {
		t.Error("the log holds the refresh token")
	}
}

// L3, AZ-24 to AZ-28, TK-14: fosite ignores resource, and takes audience by path prefix.
func TestL03ResourceDecidesTheAudience(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	for _, foreign := range []string{
		"https://evil.example/mcp", resourceURI + "/", resourceURI + "/t/other", "https://u:p@mcp.example/mcp",
		resourceURI + "#z", resourceURI + "?x=y", "mcp",
		"https://mcp.example:443/mcp", "https://mcp.example/mcp/../admin",
	} {
		request := a.authorization("customers:read")
		request["resource"] = []string{foreign}
		if got := ann.open("/oauth2/authorize?" + request.Encode()).away; got == nil ||
			got.Query().Get("error") != "invalid_target" {
			t.Errorf("resource %s: got %v, want a redirect with invalid_target", foreign, got)
		}
		request["resource"] = []string{resourceURI, foreign}
		if got := ann.open("/oauth2/authorize?" + request.Encode()).away; got == nil ||
			got.Query().Get("error") != "invalid_target" {
			t.Errorf("our resource and %s: got %v, want a redirect with invalid_target", foreign, got) // AZ-26
		}
	}
	request := a.authorization("customers:read")
	request.Del("resource")
	request.Set("audience", resourceURI+"/t/other") // AZ-27, AZ-28
	status, answer := a.token(redemption(ann.approve(request).Get("code")))
	if status != 200 {
		t.Fatalf("got %d %v, want 200", status, answer)
	}
	if _, body := claims(t, answer["access_token"].(string)); body["aud"] != resourceURI {
		t.Errorf("got aud %v, want %s", body["aud"], resourceURI)
	}
	m := h.machine("acme", "customers:read")
	status, answer = m.token(url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI + "/t/other"}})
	wantError(t, "a machine below our resource", status, answer, 400, "invalid_target")
}

// L4, JW-06, JW-07: fosite writes typ JWT, an empty aud, scp and no client_id.
func TestL04AccessTokensAreRFC9068(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	access, _ := a.tokens(h.person("ann@acme.example"), "customers:read", "customers:write")
	header, body := claims(t, access)
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] == nil {
		t.Errorf("got header %v, want typ at+jwt, alg ES256 and a kid", header)
	}
	want := map[string]any{
		"iss": h.URL, "aud": resourceURI, "client_id": a.ID, "sub": "usr_ann", "tenant_id": "acme",
		"scope": "customers:read customers:write",
		"iat":   float64(h.Clock.Now().Unix()), "exp": float64(h.Clock.Now().Add(10 * time.Minute).Unix()),
	}
	for name, value := range want {
		if body[name] != value {
			t.Errorf("claim %s: got %v, want %v", name, body[name], value)
		}
	}
	if got, ok := body["scopes"].([]any); !ok || len(got) != 2 || got[0] != "customers:read" {
		t.Errorf("claim scopes: got %v, want an array of the two scopes", body["scopes"])
	}
	for _, name := range []string{"jti", "grant_id"} {
		if s, _ := body[name].(string); len(s) < 22 {
			t.Errorf("claim %s: got %v, want an id of 128 bits or more", name, body[name])
		}
	}
	if body["scp"] != nil {
		t.Error("there is an scp claim")
	}
}

// L5, AZ-16, AZ-19, TK-08: fosite sends no iss, insists on a state of 8 characters and lets a code
// live for 15 minutes.
func TestL05IssAlwaysStateNeverCodeShort(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	for _, state := range []string{"", "x", "state&iss=https://evil.example", strings.Repeat("s", 2000),
		"ünï\x00\r\nSet-Cookie: a=b"} {
		request := a.authorization("customers:read")
		request.Del("state")
		if state != "" {
			request.Set("state", state)
		}
		q := ann.approve(request)
		if got := q["iss"]; len(got) != 1 || got[0] != h.URL {
			t.Errorf("state %.20q: got iss %v, want exactly %s", state, got, h.URL) // AZ-17
		}
		if got := q.Get("state"); got != state {
			t.Errorf("state %.20q came back as %.20q", state, got) // AZ-18
		}
		if state == "" && q.Has("state") {
			t.Error("the answer has a state that was never sent")
		}
	}
	request := a.authorization("no:such-scope")
	if got := ann.open("/oauth2/authorize?" + request.Encode()).away; got == nil || got.Query().Get("iss") != h.URL ||
		got.Query().Get("error") != "invalid_scope" {
		t.Errorf("an error redirect: got %v, want iss and invalid_scope", got)
	}
	code := a.code(ann, "customers:read")
	h.Clock.step(61 * time.Second)
	status, answer := a.token(redemption(code))
	wantError(t, "a code after 61 s", status, answer, 400, "invalid_grant")
}

// L6, AZ-07, AZ-08, TK-17: fosite takes the first of two values.
func TestL06RepeatedParameters(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	for _, name := range []string{"client_id", "redirect_uri", "scope", "state", "response_type", "code_challenge",
		"code_challenge_method"} {
		request := a.authorization("customers:read")
		request.Add(name, "https://evil.example/cb")
		at := ann.open("/oauth2/authorize?" + request.Encode())
		// an answer has its state or is a page
		local := name == "client_id" || name == "redirect_uri" || name == "state"
		if local && (at.status != 400 || at.away != nil) {
			t.Errorf("two of %s: got %d to %v, want a page with 400", name, at.status, at.away)
		}
		if !local && (at.away == nil || at.away.Query().Get("error") != "invalid_request" ||
			at.away.Host != "app.example") {
			t.Errorf("two of %s: got %v, want a redirect with invalid_request", name, at.away)
		}
	}
	m := h.machine("acme", "customers:read")
	for _, name := range []string{"grant_type", "scope", "client_id"} {
		form := url.Values{"grant_type": {"client_credentials"}, "scope": {"customers:read"}}
		form.Add(name, "x")
		form.Add(name, "y")
		status, answer := m.token(form)
		wantError(t, "two of "+name, status, answer, 400, "invalid_request")
	}
}

// L7, RT-07, RT-08, RT-09: fosite ignores scope and resource on refresh.
func TestL07RefreshNarrowsAndNeverWidens(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	_, refresh := a.tokens(h.person("ann@acme.example"), "customers:read", "customers:write")

	wider := refreshment(refresh)
	wider.Set("scope", "customers:read tickets:write")
	status, answer := a.token(wider)
	wantError(t, "wider", status, answer, 400, "invalid_scope")
	elsewhere := refreshment(refresh)
	elsewhere.Set("resource", "https://evil.example/mcp")
	status, answer = a.token(elsewhere)
	wantError(t, "elsewhere", status, answer, 400, "invalid_target")

	narrower := refreshment(refresh) // neither attempt has consumed it
	narrower.Set("scope", "customers:read")
	status, answer = a.token(narrower)
	if status != 200 || answer["scope"] != "customers:read" {
		t.Fatalf("narrower: got %d %v, want 200 with customers:read", status, answer)
	}
	if _, body := claims(t, answer["access_token"].(string)); body["scope"] != "customers:read" {
		t.Errorf("narrower: the token says %v", body["scope"])
	}
	status, answer = a.token(refreshment(answer["refresh_token"].(string)))
	if status != 200 || answer["scope"] != "customers:read customers:write" {
		t.Errorf("back to the grant: got %d %v, want both scopes", status, answer)
	}
}

// L8, TK-10, RT-15: fosite finds a used code or token by its signature half, whatever sends it
// with whatever before it.
func TestL08NobodyEndsAnothersGrant(t *testing.T) {
	h := startServer(t)
	a, mallory := h.register(map[string]any{}), h.register(map[string]any{})
	code := a.code(h.person("ann@acme.example"), "customers:read")
	_, first := a.token(redemption(code))
	_, second := a.token(refreshment(first["refresh_token"].(string)))
	used := first["refresh_token"].(string)
	for _, stolen := range []url.Values{
		redemption(code), redemption("AAAA." + code), redemption("AAAA" + code[4:]),
		refreshment(used), refreshment("AAAA." + used), refreshment("AAAA" + used[4:]),
	} {
		status, answer := mallory.token(stolen)
		wantError(t, "mallory", status, answer, 400, "invalid_grant")
	}
	for _, bent := range []string{used[:len(used)-1], used + "A", used + "=", strings.ToUpper(used)} { // TK-11
		status, answer := a.token(refreshment(bent))
		wantError(t, "a bent token", status, answer, 400, "invalid_grant")
	}
	if !a.alive(second["refresh_token"].(string)) {
		t.Error("the grant is dead, want it untouched")
	}
}

// L9, AZ-01 to AZ-05, AS-13 to AS-15: fosite's loopback matching ignores scheme and userinfo, gives
// localhost no port, and follows what is stored.
func TestL09RedirectURIs(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{"redirect_uris": []string{callback, "http://127.0.0.1/cb",
		"http://localhost/callback", "https://127.0.0.1/tls", "cursor://anysphere.cursor-mcp/oauth/callback"}})
	ann := h.person("ann@acme.example")
	for uri, want := range map[string]bool{
		callback: true, "http://127.0.0.1:49152/cb": true, "http://localhost:3118/callback": true,
		"https://127.0.0.1/tls":                        true,
		"cursor://anysphere.cursor-mcp/oauth/callback": true,
		"https://evil.example/cb":                      false, "https://app.example/cb/": false,
		"https://app.example/cb/../x": false, "https://app.example/%63b": false,
		"https://APP.example/cb": false, "https://app.example/CB": false, "https://app.example:443/cb": false,
		"https://app.example/cb?x=1": false,
		"https://app.example/cb#f":   false, "https://app.example/cb#": false, `https://app.example\cb`: false,
		" https://app.example/cb": false, "https://app.example/c\tb": false,
		"https://app.example/cb%0a": false, "https://app.example%2ecom/cb": false,
		"http://127.0.0.1:49152/other": false, "http://127.0.0.1:49152/cb?x=1": false,
		"http://localhost:49152/cb": true, "http://127.0.0.1:49152/callback": true, "http://[::1]:49152/nope": false,
		"http://127.0.0.1:80@evil.example/cb": false, "http://127.0.0.1.evil.example/cb": false,
		"http://x@127.0.0.1:9/cb": false, "http://127.0.0.1:9/%63b": false,
		"http://127.0.0.1:9999/tls": false, "https://127.0.0.1:9999/tls": false, "http://10.0.0.1/cb": false,
		"http://[::1]:9/cb": true, "http://127.0.0.1:/cb": false,
	} {
		request := a.authorization("customers:read")
		request.Set("redirect_uri", uri)
		at := ann.open("/oauth2/authorize?" + request.Encode())
		if good := at.status == 200; good != want || at.away != nil {
			t.Errorf("%s: got %d to %v, want good=%v", uri, at.status, at.away, want)
		}
	}
	for _, stored := range []string{"javascript:alert(1)", "data:text/html,x", "http://evil.example/cb"} {
		// AZ-05: checked at use too
		c := client.Client{ID: client.NewID(), RedirectURIs: []string{stored}, GrantTypes: []string{client.GrantCode},
			AuthMethod: client.AuthNone, CreatedAt: h.Clock.Now()}
		must(t, h.Store.CreateClient(t.Context(), c))
		request := (app{h, c.ID, ""}).authorization("customers:read")
		request.Set("redirect_uri", stored)
		if at := ann.open("/oauth2/authorize?" + request.Encode()); at.status != 400 || at.away != nil {
			t.Errorf("%s in the client's row: got %d to %v, want a page with 400", stored, at.status, at.away)
		}
	}
}

// L10, AZ-20: fosite lets an unsigned request object override redirect_uri, scope and state.
func TestL10NoRequestObjects(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{"jwks": map[string]any{"keys": []any{}}})
	enc := base64.RawURLEncoding.EncodeToString
	object := enc([]byte(`{"alg":"none"}`)) + "." +
		enc([]byte(`{"redirect_uri":"https://evil.example/cb","scope":"customers:write","state":"evil"}`)) + "."
	for parameter, want := range map[string]string{"request": "request_not_supported",
		"request_uri": "request_uri_not_supported", "registration": "registration_not_supported"} {
		request := a.authorization("customers:read")
		request.Set(parameter, object)
		got := h.person("ann@acme.example").open("/oauth2/authorize?" + request.Encode()).away
		if got == nil || got.Host != "app.example" || got.Query().Get("error") != want ||
			got.Query().Get("state") != "state-123" {
			t.Errorf("%s: got %v, want %s at the registered address with the outer state", parameter, got, want)
		}
	}
}

// L11, TK-16, DS-01: fosite parses multipart bodies and spools them to disk.
func TestL11OnlyFormsAndOnlySmall(t *testing.T) {
	h := startServer(t)
	t.Setenv("TMPDIR", t.TempDir())
	m := h.machine("acme", "customers:read")
	form := "grant_type=client_credentials&scope=customers%3Aread"
	for _, contentType := range []string{"multipart/form-data; boundary=b", "application/json", "text/plain", ""} {
		status, answer := h.post("/oauth2/token", contentType, form, basicAuth(m.ID, m.Secret))
		wantError(t, "as "+contentType, status, answer, 400, "invalid_request")
	}
	big := "--b\r\nContent-Disposition: form-data; name=\"x\"; filename=\"x\"\r\n\r\n" + strings.Repeat("x", 8<<20) +
		"\r\n--b--\r\n"
	for contentType, body := range map[string]string{
		"multipart/form-data; boundary=b": big, "application/x-www-form-urlencoded": form + "&x=" +
			strings.Repeat("x", 2<<20),
	} {
		r := h.do("POST", "/oauth2/token", contentType, body, basicAuth(m.ID, m.Secret))
		r.Body.Close()
		if r.StatusCode != 400 && r.StatusCode != 413 {
			t.Errorf("2 MiB and more as %s: got %d, want 400 or 413", contentType, r.StatusCode)
		}
	}
	if files, err := os.ReadDir(os.TempDir()); err != nil || len(files) != 0 {
		t.Errorf("temporary files: got %v %v, want none", files, err)
	}
}

// L12, CA-10 to CA-15, CA-17: fosite refuses the issuer as audience, takes foreign ones beside
// ours, any exp, answers 500 to an iat of tomorrow, and lets a bad assertion spend the id of a good
// one.
func TestL12ClientAssertions(t *testing.T) {
	h := startServer(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a := h.keyed("acme", key, "k1")
	other := h.keyed("acme", key, "k1")
	now := h.Clock.Now().Unix()
	ask := func(id string, raw string, more ...string) (int, map[string]any) {
		form := url.Values{"grant_type": {"client_credentials"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {raw}}
		if id != "" {
			form.Set("client_id", id)
		}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return h.post("/oauth2/token", "application/x-www-form-urlencoded", form.Encode(), nil)
	}
	good := func() map[string]any {
		return map[string]any{"iss": a.ID, "sub": a.ID, "aud": h.URL, "exp": now + 60, "iat": now, "jti": rand.Text()}
	}
	with := func(name string, value any) map[string]any {
		c := good()
		c[name] = value
		if value == nil {
			delete(c, name)
		}
		return c
	}
	for name, raw := range map[string]string{
		"good":                h.assert(key, "k1", good(), nil),
		"aud an array of one": h.assert(key, "k1", with("aud", []string{h.URL}), nil),
		"its own typ":         h.assert(key, "k1", good(), map[string]any{"typ": "client-authentication+jwt"}),
		"no kid":              h.assert(key, "", good(), nil),
	} {
		if status, answer := ask("", raw); status != 200 {
			t.Errorf("%s: got %d %v, want 200", name, status, answer)
		}
	}
	mallory, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	must(t, err)
	for name, raw := range map[string]string{
		"aud the token endpoint": h.assert(key, "k1", with("aud", h.URL+"/oauth2/token"), nil),
		"aud ours and another":   h.assert(key, "k1", with("aud", []string{h.URL, "https://evil.example"}), nil),
		"no aud":                 h.assert(key, "k1", with("aud", nil), nil),
		"aud with a slash":       h.assert(key, "k1", with("aud", h.URL+"/"), nil),
		"exp in ten years":       h.assert(key, "k1", with("exp", now+315360000), nil),
		"no exp":                 h.assert(key, "k1", with("exp", nil), nil),
		"over":                   h.assert(key, "k1", with("exp", now-31), nil),
		"iat tomorrow":           h.assert(key, "k1", with("iat", now+86400), nil),
		"nbf tomorrow":           h.assert(key, "k1", with("nbf", now+86400), nil),
		"exp a word":             h.assert(key, "k1", with("exp", "soon"), nil),
		"no jti":                 h.assert(key, "k1", with("jti", nil), nil),
		"an endless jti":         h.assert(key, "k1", with("jti", strings.Repeat("j", 1<<12)), nil),
		"another iss":            h.assert(key, "k1", with("iss", other.ID), nil),
		"another sub":            h.assert(key, "k1", with("sub", "cli_nobody"), nil),
		"another signer":         h.assert(mallory, "k1", good(), nil),
		"a key that it brings": h.assert(mallory, "k1", good(),
			map[string]any{"jwk": jose.JSONWebKey{Key: &mallory.PublicKey}}),
		"an unknown kid":  h.assert(key, "../../dev/null", good(), nil),
		"an access token": h.assert(key, "k1", good(), map[string]any{"typ": "at+jwt"}),
		"none": strings.TrimRight(encode(`{"alg":"none"}`)+"."+
			encode(`{"sub":"`+a.ID+`","iss":"`+a.ID+`"}`)+".", " "),
		"HS256 with the public key": hs256(public, a.ID, h.URL, now),
		"rubbish":                   "e30.e30.e30", "endless": strings.Repeat("a", 1<<16),
		"dots":       strings.Repeat(".", 1<<10),
		"five parts": "a.b.c.d.e", "nothing": "",
	} {
		status, answer := ask(a.ID, raw)
		wantError(t, name, status, answer, 401, "invalid_client")
	}

	claims := good() // CA-14: what is refused spends nothing; ids are each client's own
	claims["aud"] = "https://evil.example"
	ask("", h.assert(key, "k1", claims, nil))
	claims["aud"] = h.URL
	again := h.assert(key, "k1", claims, nil)
	if status, answer := ask("", again); status != 200 {
		t.Errorf("the right one after a wrong one of the same id: got %d %v, want 200", status, answer)
	}
	claims["iss"], claims["sub"] = other.ID, other.ID
	if status, answer := ask("", h.assert(key, "k1", claims, nil)); status != 200 {
		t.Errorf("another client's of the same id: got %d %v, want 200", status, answer)
	}
	status, answer := ask("", again) // CA-11
	wantError(t, "the same again", status, answer, 401, "invalid_client")
	once := h.assert(key, "k1", good(), nil)
	var wins atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if status, _ := ask("", once); status == 200 {
				wins.Add(1)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("fifty at once: got %d, want 1", wins.Load())
	}
	status, answer = ask("", h.assert(key, "k1", good(), nil), "client_secret", "x") // CA-03
	wantError(t, "beside a secret", status, answer, 400, "invalid_request")
	status, answer = ask(other.ID, h.assert(key, "k1", good(), nil))
	wantError(t, "for another client_id", status, answer, 401, "invalid_client")
	m := h.machine("acme", "customers:read") // CA-02
	claims = good()
	claims["iss"], claims["sub"] = m.ID, m.ID
	status, answer = ask("", h.assert(key, "k1", claims, nil))
	wantError(t, "of a client that has a secret", status, answer, 401, "invalid_client")
	status, answer = h.post("/oauth2/token", "application/x-www-form-urlencoded", "grant_type=client_credentials",
		basicAuth(a.ID, "x"))
	wantError(t, "a secret of a client that has a key", status, answer, 401, "invalid_client")
}

// L13, CA-06 to CA-08: fosite's bcrypt makes a known client a thousand times slower than an unknown
// one, and breaks over 72 bytes.
func TestL13SecretsOfAnyLengthOneAnswer(t *testing.T) {
	h := startServer(t)
	m := h.machine("acme", "customers:read")
	form := url.Values{"grant_type": {"client_credentials"}}.Encode()
	var descriptions []string
	for _, who := range []http.Header{
		basicAuth("cli_unknown", "x"), basicAuth(m.ID, "wrong"), basicAuth(m.ID, m.Secret+"x"),
		basicAuth(m.ID, strings.Repeat("s", 100)),
		basicAuth(m.ID, m.Secret[:len(m.Secret)-1]), basicAuth(m.ID, ""),
	} {
		status, answer := h.post("/oauth2/token", "application/x-www-form-urlencoded", form, who)
		wantError(t, "a wrong secret", status, answer, 401, "invalid_client")
		descriptions = append(descriptions, supportCode.ReplaceAllString(answer["error_description"].(string), ""))
	}
	for _, d := range descriptions {
		if d != descriptions[0] {
			t.Errorf("the answers differ: %q and %q", d, descriptions[0])
		}
	}
	if !strings.HasPrefix(client.HashSecret("x"), "sha256$") || client.CheckSecret("", "") ||
		client.CheckSecret(client.HashSecret(""), "") {
		t.Error("secrets must be stored as SHA-256, and an empty one must open nothing")
	}
}

// L14, RV-07 to RV-09: with fosite any confidential client reads any token.
func TestL14IntrospectionOfOnesOwn(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_post"})
	b := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"})
	access, refresh := a.tokens(h.person("ann@acme.example"), "customers:read")
	introspect := func(who app, token string) (int, map[string]any) {
		return h.post("/oauth2/introspect", "application/x-www-form-urlencoded", url.Values{"token": {token}}.Encode(),
			basicAuth(who.ID, who.Secret))
	}
	for _, token := range []string{access, refresh} {
		if _, answer := introspect(a, token); answer["active"] != true || answer["client_id"] != a.ID {
			t.Errorf("its own token: got %v, want active", answer)
		}
		if _, answer := introspect(b, token); len(answer) != 1 || answer["active"] != false {
			t.Errorf("another's token: got %v, want only active=false", answer)
		}
	}
	public := h.register(map[string]any{})
	status, answer := h.post("/oauth2/introspect", "application/x-www-form-urlencoded",
		url.Values{"token": {access}, "client_id": {public.ID}}.Encode(), nil)
	wantError(t, "a public client", status, answer, 401, "invalid_client")
	h.Clock.step(11 * time.Minute)
	for _, token := range []string{access, "garbage", "e30.e30.AA"} {
		if _, answer := introspect(a, token); len(answer) != 1 || answer["active"] != false {
			t.Errorf("expired or garbage: got %v, want only active=false", answer) // RV-09
		}
	}
}

// L15, CA-01, CA-04, TK-12, TK-15: mixed credentials pass, WWW-Authenticate is missing, an unknown
// grant is invalid_request, GET is 400.
func TestL15AnswersOnTheWire(t *testing.T) {
	h := startServer(t)
	m, other := h.machine("acme", "customers:read"), h.machine("acme", "customers:read")
	status, answer := h.post("/oauth2/token", "application/x-www-form-urlencoded",
		url.Values{"grant_type": {"client_credentials"}, "client_id": {other.ID}}.Encode(), basicAuth(m.ID, m.Secret))
	wantError(t, "Basic as one, client_id of another", status, answer, 401, "invalid_client")
	status, answer = h.post("/oauth2/token", "application/x-www-form-urlencoded",
		url.Values{"grant_type": {"client_credentials"}, "client_secret": {m.Secret}}.Encode(),
		basicAuth(m.ID, m.Secret))
	wantError(t, "two methods", status, answer, 400, "invalid_request") // CA-03

	r := h.do("POST", "/oauth2/token", "application/x-www-form-urlencoded", "grant_type=client_credentials",
		basicAuth(m.ID, "wrong"))
	r.Body.Close()
	if got := r.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") ||
		r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a wrong secret: got WWW-Authenticate %q, want Basic, with no-store", got)
	}
	for grantType, want := range map[string]string{
		"password": "unsupported_grant_type", "implicit": "unsupported_grant_type",
		"authorization_code refresh_token":              "unsupported_grant_type",
		"urn:ietf:params:oauth:grant-type:saml2-bearer": "unsupported_grant_type", "": "invalid_request",
	} {
		status, answer := m.token(url.Values{"grant_type": {grantType}})
		wantError(t, "grant_type "+grantType, status, answer, 400, want)
	}
	r = h.do("GET", "/oauth2/token?grant_type=client_credentials", "", "", basicAuth(m.ID, m.Secret))
	r.Body.Close()
	if r.StatusCode != 405 || !strings.Contains(r.Header.Get("Allow"), "POST") {
		t.Errorf("GET: got %d Allow %q, want 405 with POST", r.StatusCode, r.Header.Get("Allow"))
	}
	status, answer = h.post("/oauth2/token?client_secret="+m.Secret, "application/x-www-form-urlencoded",
		"grant_type=client_credentials&client_id="+m.ID, nil)
	wantError(t, "a secret in the URL", status, answer, 400, "invalid_request")
	if h.Log.Contains(m.Secret) {
		t.Error("the log holds a secret that came in the URL")
	}
}

// L16, CA-17: fosite asks for go-jose v3.0.3, which has two known holes. The graph has 3.0.5 or
// newer.
func TestL16GoJose(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	must(t, err)
	m := regexp.MustCompile(`github.com/go-jose/go-jose/v3 v3\.0\.(\d+)`).FindStringSubmatch(string(mod))
	if m == nil || m[1] < "5" || len(m[1]) > 1 && m[1] < "10" {
		t.Errorf("go.mod has go-jose/v3 %v, want v3.0.5 or newer", m)
	}
}

// L17, RT-03, TK-07: with fosite's own store parallel refreshes all win.
func TestL17OneWinner(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) { c.ReplayWindow = -1 })
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	_, refresh := a.tokens(ann, "customers:read")
	if winners := parallel(a, refreshment(refresh), 24); winners != 1 {
		t.Errorf("parallel refreshes of one token: got %d winners, want 1", winners)
	}
	if winners := parallel(a, redemption(a.code(ann, "customers:read")), 24); winners != 1 {
		t.Errorf("parallel redemptions of one code: got %d winners, want 1", winners)
	}
}

// parallel sends the same request many times at once and counts the 200s; everything else must be a
// 400.
func parallel(a app, form url.Values, n int) (winners int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range n {
		wg.Go(func() {
			status, answer := a.token(form)
			mu.Lock()
			defer mu.Unlock()
			if status == 200 {
				winners++
			} else if status != 400 || answer["error"] != "invalid_grant" {
				a.h.t.Errorf("a loser: got %d %v, want 400 invalid_grant", status, answer)
			}
		})
	}
	wg.Wait()
	return winners
}
