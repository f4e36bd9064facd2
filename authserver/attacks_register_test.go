package authserver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// enrol registers with a body as it stands.
func (h *testServer) enrol(body string) (int, map[string]any) {
	h.t.Helper()
	return h.post("/oauth2/register", "application/json", body, nil)
}

func quoted(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// DR-01, DR-02, AS-15, AS-46: addresses that no answer may go to.
func TestRedirectURIsThatCannotBeRegistered(t *testing.T) {
	h := startServer(t)
	fifty := make([]string, 50)
	for i := range fifty {
		fifty[i] = fmt.Sprint(callback, "/", i)
	}
	for what, uris := range map[string][]string{
		"DR-01, javascript": {"javascript:alert(1)"}, "DR-01, data": {"data:text/html,x"},
		"DR-01, vbscript": {"vbscript:x"}, "DR-01, file": {"file:///etc/passwd"},
		"DR-01, blob":          {"blob:https://app.example/x"},
		"DR-01, in both cases": {"JaVaScRiPt:alert(1)"}, "DR-01, after a blank": {" javascript:alert(1)"},
		"DR-01, with slashes": {"javascript://%0aalert(1)"}, "DR-01, after a tab": {"\tjavascript:alert(1)"},
		"DR-01, with a line in it": {"java\nscript:alert(1)"},
		"DR-01, beside a good one": {callback, "javascript:alert(1)"},
		"DR-01, view-source":       {"view-source:https://app.example/"},
		"DR-02, plain http":        {"http://evil.example/cb"},
		"DR-02, nearly loopback":   {"http://127.0.0.1.evil.example/cb"},
		"DR-02, a private address": {"http://192.168.0.1/cb"}, "DR-02, a fragment": {callback + "#f"},
		"DR-02, a star": {"https://*.example/cb"}, "DR-02, a star in the path": {"https://app.example/*"},
		"DR-02, relative": {"/cb"}, "DR-02, without a scheme": {"//app.example/cb"},
		"DR-02, a user": {"https://u:p@app.example/cb"},
		"DR-02, none":   {}, "DR-02, an empty one": {""}, "DR-02, fifty": fifty,
		"DR-02, ten kilobytes":  {callback + "?" + strings.Repeat("x", 10<<10)},
		"DR-02, half an answer": {callback + "?code=x&iss=https://evil.example"},
	} {
		status, answer := h.enrol(`{"redirect_uris":` + quoted(uris) + `}`)
		wantError(t, what, status, answer, 400, "invalid_redirect_uri")
	}
}

// DR-03, DR-04: what a client calls itself, and the addresses that it names of itself.
func TestWhatClientsSayOfThemselves(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	address, hits := canary(t)
	for name, shown := range map[string]string{
		"<script>alert(1)</script>": "&lt;script&gt;alert(1)&lt;/script&gt;",
		`" onx=alert(1) x="`:        "&#34; onx=alert(1) x=&#34;", "evil\u202eelpmaxe": "evilelpmaxe",
		"zero\u200bwidth\u200d\ufeff": "zerowidth",
		"a\x00b\x1b[31m":              "ab[31m", strings.Repeat("n", 10<<10): ">" + strings.Repeat("n", 64) + "<",
		"Claude": "Nobody has checked", "": "cli_", "\u2066\u2069\u200b": "cli_",
	} {
		body := map[string]any{"client_name": name, "redirect_uris": []string{callback}}
		for _, member := range []string{"logo_uri", "client_uri", "policy_uri", "tos_uri"} {
			body[member] = address + "/" + member
		}
		a := h.register(body)
		at := ann.consentPage(a.authorization("customers:read"))
		if !strings.Contains(at.body, shown) || strings.Contains(at.body, "<script") ||
			strings.Contains(at.body, "\u202e") || strings.Contains(at.body, address) {
			t.Errorf("%q: the page does not say %q, or what it should not", shortened(name), shown)
		}
		if !strings.Contains(at.header.Get("Content-Security-Policy"), "img-src 'self'") {
			t.Errorf("policy %q", at.header.Get("Content-Security-Policy"))
		}
		ann.submit(at, map[string][]string{"decision": {"deny"}})
	}
	for _, evil := range []string{"javascript:alert(1)", "http://10.0.0.1/logo.svg", "data:image/svg+xml,<svg/>",
		"https://u:p@app.example/"} {
		status, answer := h.enrol(`{"redirect_uris":["` + callback + `"],"logo_uri":` + quoted(evil) +
			`,"client_uri":` + quoted(evil) + `,"policy_uri":` + quoted(evil) + `,"tos_uri":` + quoted(evil) + `}`)
		if said := fmt.Sprint(answer); status != 201 && status != 400 || strings.Contains(said, evil) {
			t.Errorf("%s: got %d %v, want it refused or left away", evil, status, answer)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests went out", hits.Load())
	}
}

// DR-05, DR-06, CM-17: addresses of a client's that we could be made to call.
func TestAddressesThatNobodyCalls(t *testing.T) {
	h := startServer(t)
	plain, plainHits := canary(t)
	locked, lockedHits := secretCanary(t)
	port := locked[strings.LastIndex(locked, ":"):]
	for _, address := range []string{
		plain, "http://127.0.0.1" + port + "/jwks", "https://127.0.0.1" + port + "/jwks",
		"https://localhost" + port + "/jwks", "https://[::1]" + port + "/jwks", "https://[::ffff:127.0.0.1]" + port +
			"/jwks",
		"https://0.0.0.0" + port + "/jwks", "https://169.254.169.254/latest", "https://10.0.0.1/jwks",
		"https://[fd00::1]/jwks",
	} {
		initial, err := h.Server.Operator().CreateInitialToken(t.Context(),
			authserver.InitialTokenSpec{Tenant: "acme", Uses: 1})
		must(t, err)
		status, made := h.post("/oauth2/register", "application/json",
			`{"grant_types":["client_credentials"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":`+
				quoted(address)+`}`, http.Header{"Authorization": {"Bearer " + initial}})
		if status == 400 {
			continue
		}
		id, _ := made["client_id"].(string)
		status, answer := h.proof(encode(`{"alg":"ES256","kid":"k"}`) + "." +
			encode(`{"iss":"`+id+`","sub":"`+id+`"}`) + "." + encode(strings.Repeat("x", 64)))
		if said := answer["error_description"].(string); status != 401 || strings.Contains(said, "refused") ||
			strings.Contains(said, "address") {
			t.Errorf("%s: got %d %v, want 401 that says nothing of the address", address, status, answer)
		}
	}
	for _, member := range []string{"sector_identifier_uri", "initiate_login_uri", "backchannel_logout_uri",
		"frontchannel_logout_uri", "request_uris"} {
		for _, address := range []string{plain, locked} {
			value := quoted(address)
			if member == "request_uris" {
				value = "[" + value + "]"
			}
			status, answer := h.enrol(`{"redirect_uris":["` + callback + `"],"` + member + `":` + value + `}`)
			if status != 400 && (status != 201 || answer[member] != nil) {
				t.Errorf("%s: got %d %v, want it refused or left away", member, status, answer)
			}
		}
	}
	if plainHits.Load() != 0 || lockedHits.Load() != 0 {
		t.Errorf("%d and %d requests went out", plainHits.Load(), lockedHits.Load())
	}
}

// DR-08, DR-09, DR-14, DR-16, AS-48: what a client cannot say of itself.
func TestWhatClientsCannotSay(t *testing.T) {
	h := startServer(t)
	status, made := h.enrol(`{"redirect_uris":["` + callback + `"],"client_id":"usr_ann","client_secret":"mine",
		"client_secret_expires_at":1,
		"registration_access_token":"mine","registration_client_uri":"https://evil.example",
		"skip_consent":true,"tenant_id":"acme","is_admin":true,"trusted":true,"operator":true,
		"origin":"operator","owner":"usr_ann","scope":"admin customers:read","audience":["https://evil.example"],
		"software_statement":"eyJhbGciOiJub25lIn0.e30.","created_at":1,"client_id_issued_at":1}`)
	if status != 201 {
		t.Fatalf("got %d %v", status, made)
	}
	for _, member := range []string{"client_secret", "client_secret_expires_at", "skip_consent", "tenant_id",
		"is_admin", "trusted", "operator", "origin", "owner", "scope", "audience", "software_statement", "created_at"} {
		if made[member] != nil {
			t.Errorf("the answer has %s: %v", member, made[member])
		}
	}
	id, token := made["client_id"].(string), made["registration_access_token"].(string)
	if !strings.HasPrefix(id, "cli_") || token == "mine" || made["client_id_issued_at"] == 1.0 ||
		!strings.HasPrefix(made["registration_client_uri"].(string), h.URL) {
		t.Errorf("got %v", made)
	}
	if c, err := h.Store.Client(t.Context(), id); err != nil || c.TenantID != "" || c.Origin != "registration" ||
		c.SecretHash != "" || len(c.Scopes) != 0 {
		t.Errorf("kept %+v %v", c, err)
	}
	for what, body := range map[string]string{
		"by itself, of nobody": `{"grant_types":["client_credentials"]}`,
		"the password":         `{"grant_types":["password"],"redirect_uris":["` + callback + `"]}`,
		"token exchange alone": `{"grant_types":["urn:ietf:params:oauth:grant-type:token-exchange"],` +
			`"redirect_uris":["` + callback + `"]}`,
		"implicit": `{"grant_types":["implicit"],"response_types":["token"],"redirect_uris":["` +
			callback + `"]}`,
		"tokens by redirect": `{"response_types":["token"],"redirect_uris":["` + callback + `"]}`,
		"code and token":     `{"response_types":["code token"],"redirect_uris":["` + callback + `"]}`,
		"an unknown way to prove it": `{"token_endpoint_auth_method":"client_secret_jwt","redirect_uris":["` +
			callback + `"]}`, "a malformed scope": `{"scope":"a\u0000b","redirect_uris":["` + callback + `"]}`,
	} {
		status, answer := h.enrol(body)
		wantError(t, what, status, answer, 400, "invalid_client_metadata")
	}
	initial, err := h.Server.Operator().CreateInitialToken(t.Context(),
		authserver.InitialTokenSpec{Tenant: "acme", Uses: 1})
	must(t, err)
	status, answer := h.post("/oauth2/register", "application/json",
		`{"grant_types":["client_credentials"],"token_endpoint_auth_method":"none"}`,
		http.Header{"Authorization": {"Bearer " + initial}})
	wantError(t, "by itself, without proof", status, answer, 400, "invalid_client_metadata")
	status, answer = h.enrol(`{"redirect_uris":["` + callback +
		`"],"grant_types":["authorization_code","password","urn:ietf:params:oauth:grant-type:token-exchange"]}`)
	if got := fmt.Sprint(answer["grant_types"]); status != 201 || strings.Contains(got, "password") ||
		strings.Contains(got, "exchange") {
		t.Errorf("what is not offered, beside what is: got %d %v, want it left away", status, answer)
	}
}

// DR-12: an address that registers without end is told when to come back, and nobody else notices.
func TestRegisteringWithoutEnd(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) { c.RegistrationsPerHour = 150 })
	a := h.register(map[string]any{})
	_, refresh := a.tokens(h.person("ann@acme.example"), "customers:read")
	refused := 0
	for range 200 {
		r := h.do("POST", "/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`,
			http.Header{"X-Forwarded-For": {fmt.Sprint("203.0.113.", refused)}})
		if r.Body.Close(); r.StatusCode == 429 && r.Header.Get("Retry-After") != "" {
			refused++
		}
	}
	if refused != 51 {
		t.Errorf("of two hundred after one: got %d refused, want 51", refused)
	}
	if !a.alive(refresh) {
		t.Error("a client of before does not work any more")
	}
	h.Clock.step(time.Hour + time.Second)
	h.register(map[string]any{})
}

// DR-13: bodies that two readers could read in two ways, or none at all.
func TestRegistrationsThatCannotBeRead(t *testing.T) {
	h := startServer(t)
	const good = `{"redirect_uris":["` + callback + `"]}`
	for what, row := range map[string]struct {
		kind, body string
		status     int
	}{
		"a megabyte": {"application/json", `{"client_name":"` + strings.Repeat("x", 1<<20) + `"}`, 413},
		"deep": {"application/json", strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}",
			100_000), 400},
		"deep lists": {"application/json", `{"redirect_uris":` + strings.Repeat("[", 100_000), 400},
		"a member twice": {"application/json", `{"redirect_uris":["` + callback +
			`"],"redirect_uris":["https://evil.example/"]}`, 400},
		"text": {"text/plain", good, 415}, "a form": {urlencoded, "redirect_uris=x", 415},
		"no type":            {"", good, 415},
		"something after it": {"application/json", good + "x", 400}, "two": {"application/json", good + good, 400},
		"not UTF-8": {"application/json", "{\"client_name\":\"\xff\",\"redirect_uris\":[\"" + callback + "\"]}", 400},
		"a list":    {"application/json", "[" + good + "]", 400}, "an empty list": {"application/json", "[]", 400},
		"null": {"application/json", "null", 400}, "a word": {"application/json", `"x"`, 400},
		"nothing": {"application/json", "", 400}, "blanks": {"application/json", "  ", 400},
		"half":                {"application/json", good[:10], 400},
		"a byte order mark":   {"application/json", "\xef\xbb\xbf" + good, 400},
		"types that are none": {"application/json", `{"redirect_uris":{"a":1}}`, 400},
		"UTF-16":              {"application/json", "\xfe\xff\x00{\x00}", 400},
	} {
		status, answer := h.post("/oauth2/register", row.kind, row.body, nil)
		wantError(t, what, status, answer, row.status, "invalid_client_metadata")
	}
}

// DR-15: what an answer to a registration is made of.
func TestAnswersToRegistrations(t *testing.T) {
	h := startServer(t)
	for method, secret := range map[string]bool{"none": false, "client_secret_basic": true,
		"client_secret_post": true} {
		r := h.do("POST", "/oauth2/register", "application/json",
			`{"redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"`+method+`"}`, nil)
		answer := decoded(t, r)
		expires, there := answer["client_secret_expires_at"]
		if r.StatusCode != 201 || r.Header.Get("Cache-Control") != "no-store" ||
			r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %d %v", method, r.StatusCode, r.Header)
		}
		if (answer["client_secret"] != nil) != secret || there != secret || secret && expires != 0.0 ||
			answer["token_endpoint_auth_method"] != method {
			t.Errorf("%s: got %v", method, answer)
		}
	}
	for _, body := range []string{`{"<script>alert(1)</script>":1,"redirect_uris":["<script>alert(1)</script>"]}`,
		`{"token_endpoint_auth_method":"<script>","redirect_uris":["` + callback + `"]}`,
		`{"grant_types":["<script>"]}`, `{"scope":"<script>\"","redirect_uris":["` + callback + `"]}`} {
		r := h.do("POST", "/oauth2/register", "application/json", body, nil)
		answer := decoded(t, r)
		if said := fmt.Sprint(answer); r.StatusCode != 400 || strings.Contains(said, "<script") ||
			r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %d %v %v, want nothing of it in the answer", body, r.StatusCode, r.Header, answer)
		}
	}
}

// DR-17: an initial access token counts until it is used up or over.
func TestInitialTokensEnd(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) { c.Registration = "token" })
	initial, err := h.Server.Operator().CreateInitialToken(t.Context(),
		authserver.InitialTokenSpec{Tenant: "acme", Uses: 5, Lifetime: time.Hour})
	must(t, err)
	try := func() (int, map[string]any) {
		return h.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`,
			http.Header{"Authorization": {"Bearer " + initial}})
	}
	if status, answer := try(); status != 201 {
		t.Errorf("within its life: got %d %v", status, answer)
	}
	h.Clock.step(time.Hour)
	status, answer := try()
	wantError(t, "after it", status, answer, 401, "invalid_token")
}

// DR-16, DR-19: fifty clients at once are fifty clients, and each that was told so can begin.
func TestFiftyRegistrationsAtOnce(t *testing.T) {
	h := startServer(t)
	var mu sync.Mutex
	var ids []string
	got := atOnce(50, func() string {
		status, answer := h.enrol(`{"redirect_uris":["` + callback + `"]}`)
		id, _ := answer["client_id"].(string)
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, id)
		return fmt.Sprint(status)
	})
	seen := map[string]bool{}
	for _, id := range ids {
		seen[id] = true
		if len(id) < len("cli_")+26 || strings.HasPrefix(id, "https://") || strings.HasPrefix(id, "usr_") {
			t.Errorf("an id is %q", id)
		}
		r, _ := h.ask((app{h: h, ID: id}).authorization("customers:read").Encode())
		if !strings.HasPrefix(r.Header.Get("Location"), "/consent") {
			t.Errorf("%s cannot begin: got %d to %q", id, r.StatusCode, r.Header.Get("Location"))
		}
	}
	if got["201"] != 50 || len(seen) != 50 {
		t.Errorf("got %v and %d ids", got, len(seen))
	}
}
