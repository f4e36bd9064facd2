package authserver_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// LG-01: a form that another site sends signs nobody in.
func TestNobodyIsSignedInFromElsewhere(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	at := ann.open("/signin")
	good := url.Values{"email": {ann.email}, "password": {password}, "csrf": {csrfOf(at)}}
	without, guessed := clone(good), clone(good)
	without.Del("csrf")
	guessed.Set("csrf", strings.Repeat("A", 43))
	for what, got := range map[string]page{
		"without the form's token": h.crafted("/signin", without, nil, ann.cookies()...),
		"with a guess":             h.crafted("/signin", guessed, nil, ann.cookies()...),
		"without cookies":          h.crafted("/signin", good, nil),
		"from another site": h.crafted("/signin", good, http.Header{"Sec-Fetch-Site": {"cross-site"}},
			ann.cookies()...),
		"from a neighbour": h.crafted("/signin", good, http.Header{"Sec-Fetch-Site": {"same-site"}},
			ann.cookies()...),
	} {
		if got.status != 403 || strings.Contains(strings.Join(got.header["Set-Cookie"], " "), "session") {
			t.Errorf("%s: got %d %v, want 403 and no session", what, got.status, got.header["Set-Cookie"])
		}
	}
	if got := h.crafted("/signin", good, http.Header{"Sec-Fetch-Site": {"same-origin"}},
		ann.cookies()...); got.status != 303 {
		t.Errorf("from our own page: got %d, want 303", got.status)
	}
}

// LG-07, LG-22: a session is one of ours, and one.
func TestSessionsThatSomebodyPlanted(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	at, err := url.Parse(h.URL)
	must(t, err)
	planted := &http.Cookie{Name: "gatehouse_session", Value: strings.Repeat("A", 52), Path: "/"}
	ann.http.Jar.SetCookies(at, []*http.Cookie{planted})
	ann.submit(ann.open("/signin"), url.Values{"email": {ann.email}, "password": {password}}).want(t, "signing in", 200,
		"/agents")
	session := func() *http.Cookie {
		i := slices.IndexFunc(ann.cookies(), func(c *http.Cookie) bool { return c.Name == "gatehouse_session" })
		return ann.cookies()[i]
	}
	first := session()
	if first.Value == planted.Value {
		t.Error("the planted cookie became a session")
	}
	seen := func(cookies ...*http.Cookie) string {
		r, err := http.NewRequest(http.MethodGet, h.URL+"/agents", nil)
		must(t, err)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		response, err := noFollow.Do(r)
		must(t, err)
		response.Body.Close()
		return response.Header.Get("Location")
	}
	if got := seen(first); got != "" {
		t.Errorf("her session: sent to %s", got)
	}
	for what, cookies := range map[string][]*http.Cookie{"the planted one": {planted},
		"hers and the planted one": {first, planted}, "the other way round": {planted, first},
		"hers twice": {first, first}} {
		if got := seen(cookies...); got != "/signin" {
			t.Errorf("%s: sent to %q, want to sign in", what, got)
		}
	}
	if got := ann.submit(ann.open("/agents"), nil); got.url.Path != "/signin" {
		t.Fatalf("signing out: at %s", got.url)
	}
	ann.submit(ann.open("/signin"), url.Values{"email": {ann.email}, "password": {password}})
	if seen(first) != "/signin" || session().Value == first.Value {
		t.Error("the session of before lives on")
	}
}

// LG-08 to LG-10, LG-12: guesses are counted by account, however it is written, wherever they seem
// to come from, and however many come at once.
func TestAHundredGuessesAtOnce(t *testing.T) {
	h := startServer(t)
	mallory, victim := h.person("ann@acme.example"), h.person("ann@acme.example")
	victim.submit(victim.open("/signin"), url.Values{"email": {victim.email}, "password": {password}})
	at := mallory.open("/signin")
	spellings := []string{"ann@acme.example", "ANN@ACME.EXAMPLE", " ann@acme.example", "ann@acme.example\t",
		"ａｎｎ@acme.example", "ann@acme.example\u00a0"}
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers := map[int]int{}
	for i := range 99 {
		wg.Go(func() {
			form := url.Values{"csrf": {csrfOf(at)}, "email": {spellings[i%len(spellings)]},
				"password": {"guess-guess-guess"}}
			forged := "203.0.113." + string(rune('0'+i%10))
			got := h.crafted("/signin", form, http.Header{"X-Forwarded-For": {forged}, "X-Real-Ip": {forged},
				"Forwarded": {"for=" + forged}}, mallory.cookies()...)
			mu.Lock()
			defer mu.Unlock()
			answers[got.status]++
		})
	}
	wg.Wait()
	if answers[403] != 10 || answers[429] != 89 { // her own sign-in does not count
		t.Errorf("of 99 at once: got %v, want 10 tried and 89 turned away", answers)
	}
	if got := mallory.submit(mallory.open("/signin"),
		url.Values{"email": {"ann@acme.example"}, "password": {password}}); got.status != 429 ||
		got.header.Get("Retry-After") == "" {
		t.Errorf("then the right one: got %d %v, want 429", got.status, got.header)
	}
	victim.open("/agents").want(t, "who is signed in stays in", 200, "/agents") // LG-12
	h.Clock.step(5*time.Minute + time.Second)
	mallory.submit(mallory.open("/signin"), url.Values{"email": {"ann+tag@acme.example"}, "password": {password}}).want(
		t, "an alias is another account", 403, "/signin")
	mallory.submit(mallory.open("/signin"), url.Values{"email": {"ann@acme.example"}, "password": {password}}).want(t,
		"after five minutes", 200, "/agents")
}

// LG-11: the answer tells nobody which accounts there are, nor which are locked or disabled. That
// an account which is not there costs as much work is user's own test.
func TestAccountsAreNotTold(t *testing.T) {
	h := startServer(t)
	h.sql("UPDATE users SET disabled = TRUE WHERE id = 'usr_bob'")
	strip := regexp.MustCompile(`(name="csrf" value|name="email" value)="[^"]*"`)
	for round := range 12 {
		var first page
		for i, email := range []string{"ann@acme.example", "nobody@acme.example", "bob@globex.example"} {
			mallory := h.person(email)
			got := mallory.submit(mallory.open("/signin"),
				url.Values{"email": {email}, "password": {"guess-guess-guess"}})
			got.body = strip.ReplaceAllString(got.body, "")
			if i == 0 {
				first = got
			}
			if got.status != first.status || got.body != first.body || len(got.header) != len(first.header) {
				t.Errorf("round %d, %s: got %d %v, want as for the first: %d %v", round, email, got.status, got.header,
					first.status, first.header)
			}
		}
		if want := map[bool]int{true: 403, false: 429}[round < 10]; first.status != want {
			t.Errorf("round %d: got %d, want %d", round, first.status, want)
		}
	}
	h.Clock.step(6 * time.Minute)
	bob := h.person("bob@globex.example")
	bob.submit(bob.open("/signin"), url.Values{"email": {bob.email}, "password": {password}}).want(t,
		"a disabled account's right password", 403, "/signin")
}

// LG-13: after signing in a person goes to a page of ours, whatever the address that brought them
// says.
func TestNobodyIsSentElsewhereAfterSigningIn(t *testing.T) {
	h := startServer(t)
	for _, to := range []string{"//evil.example", `/\evil.example`, "https:evil.example", "https://evil.example",
		"%2f%2fevil.example", "javascript:alert(1)", "/..//evil.example", "\t//evil.example",
		"http://evil.example\\@ours"} {
		for _, name := range []string{"return_to", "next", "redirect", "tx", "device"} {
			at := h.person("ann@acme.example").open("/signin?" + url.Values{name: {to}}.Encode())
			if strings.Contains(at.body, "evil.example") {
				t.Errorf("%s=%s is on the page", name, to)
			}
		}
	}
	ann := h.person("ann@acme.example")
	form := url.Values{"email": {ann.email}, "password": {password}, "csrf": {csrfOf(ann.open("/signin"))},
		"return_to": {"//evil.example"}, "next": {"//evil.example"}, "device": {"//evil.example"},
		"tx": {"//evil.example"}}
	if got := h.crafted("/signin?return_to=//evil.example", form, nil, ann.cookies()...); got.status != 303 ||
		got.header.Get("Location") != "/device" {
		t.Errorf("went to %q with %d, want a page of ours", got.header.Get("Location"), got.status)
	}
	form.Del("device")
	form.Set("csrf", csrfOf(h.person("x").open("/signin")))
	bob := h.person("bob@globex.example")
	form.Set("csrf", csrfOf(bob.open("/signin")))
	if got := h.crafted("/signin", form, nil,
		bob.cookies()...); got.header.Get("Location") != "/consent?tx=%2F%2Fevil.example" {
		t.Errorf("went to %q, want the consent page, which knows no such request", got.header.Get("Location"))
	}
}

// LG-15: an account that is disabled in the database alone, past the operation that revokes its
// grants, can do nothing more with what it had, nor its agents with what it gave them; an access
// token that was issued before has ten minutes at most. What the operation does is held by
// TestShuttingSomebodyOut.
func TestADisabledAccount(t *testing.T) {
	for what, away := range map[string]string{
		"disabled":         "UPDATE users SET disabled = TRUE WHERE id = 'usr_ann'",
		"without a tenant": "DELETE FROM memberships WHERE user_id = 'usr_ann'",
	} {
		t.Run(what, func(t *testing.T) {
			h := startServer(t)
			a, d := h.register(map[string]any{}), h.device()
			ann := h.person("ann@acme.example")
			code := a.code(ann, "customers:read")
			access, refresh := a.tokens(ann, "customers:read")
			deviceCode, userCode, _ := d.begin("customers:read")
			ann.submit(ann.open("/device?user_code="+userCode), url.Values{"decision": {"approve"}}).want(t, "a device",
				200, "/device/done")
			h.sql(away)
			if what == "disabled" {
				ann.open("/agents").want(t, "with the cookie", 200, "/signin")
			}
			status, answer := a.token(redemption(code))
			wantError(t, "the pending code", status, answer, 400, "invalid_grant")
			status, answer = a.token(refreshment(refresh))
			wantError(t, "the refresh token", status, answer, 400, "invalid_grant")
			status, answer = d.token(polling(deviceCode))
			wantError(t, "the device's code", status, answer, 400, "invalid_grant")
			_, body := claims(t, access)
			if left := time.Unix(int64(body["exp"].(float64)), 0).Sub(h.Clock.Now()); left > 10*time.Minute {
				t.Errorf("the access token acts for %s more, want ten minutes at most", left)
			}
		})
	}
}

// LG-18: every kind of one-time value opens its own door alone.
func TestOneKindIsNeverTakenForAnother(t *testing.T) {
	h := startServer(t)
	_, made := h.post("/oauth2/register", "application/json",
		`{"redirect_uris":["`+callback+`"],"grant_types":["authorization_code","refresh_token","`+deviceGrant+
			`"]}`, nil)
	a := app{h: h, ID: made["client_id"].(string)}
	ann := h.person("ann@acme.example")
	at := ann.consentPage(a.authorization("customers:read"))
	deviceCode, userCode, _ := a.begin("customers:read")
	code := a.code(ann, "customers:read")
	access, refresh := a.tokens(ann, "customers:read")
	cookie := ann.cookies()
	values := map[string]string{
		"code": code, "refresh token": refresh, "access token": access, "device code": deviceCode,
		"user code": userCode, "manage token": made["registration_access_token"].(string),
		"transaction": at.url.Query().Get("tx"), "form token": csrfOf(at), "cookie": cookie[0].Value,
		"other cookie": cookie[1].Value, "pushed": a.pushed("customers:read").Get("request_uri"),
	}
	opened := map[string]func(v string) bool{
		"code":          func(v string) bool { status, _ := a.token(redemption(v)); return status == 200 },
		"refresh token": func(v string) bool { status, _ := a.token(refreshment(v)); return status == 200 },
		"device code": func(v string) bool {
			_, answer := a.token(polling(v))
			return answer["error"] == "authorization_pending" || answer["access_token"] != nil
		},
		"manage token": func(v string) bool { status, _ := h.manage("GET", a.ID, v, ""); return status == 200 },
		"initial token": func(v string) bool {
			status, _ := h.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`,
				http.Header{"Authorization": {"Bearer " + v}})
			return status == 201
		},
		"transaction": func(v string) bool { return ann.open("/consent?tx="+url.QueryEscape(v)).status == 200 },
		"user code": func(v string) bool {
			return strings.Contains(ann.open("/device?user_code="+url.QueryEscape(v)).body, ">Allow</button>")
		},
		"pushed": func(v string) bool {
			r, _ := h.ask(url.Values{"client_id": {a.ID}, "request_uri": {v}}.Encode())
			return strings.HasPrefix(r.Header.Get("Location"), "/consent")
		},
		"form token": func(v string) bool {
			form := url.Values{"csrf": {v}, "tx": {values["transaction"]}, "decision": {"maybe"}}
			return h.crafted("/consent", form, nil, cookie...).status == 400
		},
	}
	for door, open := range opened {
		for kind, value := range values {
			if kind != door && open(value) {
				t.Errorf("the %s opened the door of the %s", kind, door)
			}
		}
	}
	for door, open := range opened { // and the wrong doors have spent nothing
		if door != "initial token" && !open(values[door]) {
			t.Errorf("the %s does not open its own door", door)
		}
	}
}

// LG-21, AS-24: what the first page of an https issuer sets.
func TestTheFirstCookies(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) { c.Issuer = "https://auth.example" })
	r, body := h.get("/signin", nil)
	cookies := r.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("got %d cookies, want one: %s", len(cookies), body)
	}
	c := cookies[0]
	if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode ||
		c.Path != "/" || c.Domain != "" || len(c.Value) < 43 {
		t.Errorf("got %s", r.Header["Set-Cookie"])
	}
	if r.Header.Get("X-Frame-Options") != "DENY" ||
		!strings.Contains(r.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Errorf("the page can be framed: %v", r.Header)
	}
}
