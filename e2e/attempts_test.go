package e2e_test

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // registers "sqlite"

	"github.com/gatehouse-mcp/gatehouse/shared/dpop/dpoptest"
)

// TestConnectionsSayWhyAClientDidNotGetIn plants ten failures in the running product, each of
// another client, and reads what the operator is told of each.
func TestConnectionsSayWhyAClientDidNotGetIn(t *testing.T) {
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			t.Parallel()
			f := &failures{t: t, house: open(t, pair.flags(t)...)}
			f.ann = newPerson(f.house, "ann@acme.example")
			f.keep(f.house.password("ann@acme.example"))
			welcome := f.house.log.String() // which shows the demo's passwords
			want := f.plant()

			code, out := f.house.operate("attempt", "list", "--failed")
			if code != 0 {
				t.Fatalf("exit code %d:\n%s", code, out)
			}
			got := sentencesOf(out)
			if len(got) != len(want) {
				t.Errorf("%d attempts failed, want %d", len(got), len(want))
			}
			for _, w := range want {
				i := slices.IndexFunc(got, func(g told) bool { return strings.Contains(g.row, w.who) })
				switch {
				case i < 0:
					t.Errorf("%s: nothing is said of it", w.who)
				case !strings.Contains(got[i].row, " "+w.step+" ") || got[i].why != w.why:
					t.Errorf("%s: got\n%s\n%s\nwant at %s\n%s", w.who, got[i].row, got[i].why, w.step, w.why)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
			_, all := f.house.operate("attempt", "list", "--limit", "1000")
			for _, g := range got {
				code, one := f.house.operate("attempt", "show", strings.Fields(g.row)[0])
				if code != 0 || !strings.Contains(strings.Join(strings.Fields(one), " "), g.why) {
					t.Errorf("show: exit code %d, want %q in\n%s", code, g.why, one)
				}
				all += one
			}
			if !regexp.MustCompile(`good client .* call +done`).MatchString(all) {
				t.Errorf("the client that got in is not there with its call:\n%s", all)
			}
			f.silent("the command's answers", out+all)
			f.silent("the log", strings.TrimPrefix(f.house.log.String(), welcome))
			f.silent("the databases", f.rows(pair.name))
		})
	}
}

// slow is how far the slow clock is behind, by the time that its request is read.
var slow = regexp.MustCompile(`[67]\d\d seconds`)

// told is what the operator reads of one attempt.
type told struct{ row, why string }

func sentencesOf(out string) (found []told) {
	for line := range strings.Lines(out) {
		switch line = strings.TrimRight(line, "\n"); {
		case strings.HasPrefix(line, "    ") && len(found) > 0:
			last := &found[len(found)-1]
			last.why = slow.ReplaceAllString(strings.TrimSpace(last.why+" "+strings.TrimSpace(line)), "600 seconds")
		case strings.HasPrefix(line, "con_"), strings.HasPrefix(line, "ref_"):
			found = append(found, told{row: line + " "})
		}
	}
	return found
}

// failures are those that are planted, with all secrets that pass on the way.
type failures struct {
	t       *testing.T
	house   *product
	ann     *person
	secrets []string
}

// planted is a failure with what is to be said of it: in whose row, at which step, and why.
type planted struct{ who, step, why string }

// keep remembers secrets, which must be nowhere.
func (f *failures) keep(secrets ...string) {
	for _, s := range secrets {
		if s != "" {
			f.secrets = append(f.secrets, s)
		}
	}
}

// silent looks for the secrets.
func (f *failures) silent(where, text string) {
	f.t.Helper()
	for _, s := range f.secrets {
		if strings.Contains(text, s) {
			f.t.Errorf("%s hold a secret: %.6s…", where, s)
		}
	}
}

// rows are the tables of connections and refusals as they are.
func (f *failures) rows(pair string) string {
	f.t.Helper()
	var text strings.Builder
	for table, file := range map[string]string{"connections": "gatehouse.db", "refusals": "companion.db",
		"usage_hours": "companion.db"} {
		driver, dsn := "sqlite", "file:"+filepath.Join(f.house.DataDir, file)
		if pair != "embedded" {
			driver, dsn = "pgx", f.house.flags[slices.Index(f.house.flags, "--database")+1]
		}
		db, err := sql.Open(driver, dsn)
		must(f.t, err)
		defer db.Close()
		rows, err := db.Query("SELECT * FROM " + table)
		must(f.t, err)
		columns, err := rows.Columns()
		must(f.t, err)
		n := 0
		for ; rows.Next(); n++ {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = &values[i]
			}
			must(f.t, rows.Scan(values...))
			fmt.Fprintln(&text, values...)
		}
		must(f.t, rows.Err())
		if n == 0 {
			f.t.Errorf("%s has no rows", table)
		}
		rows.Close()
	}
	return text.String()
}

// agent registers a client of this name.
func (f *failures) agent(name string) *agent {
	f.t.Helper()
	a := &agent{house: f.house}
	got, err := a.register(map[string]any{"client_name": name, "redirect_uris": []string{callback},
		"token_endpoint_auth_method": "none"}, "")
	must(f.t, err)
	f.keep(got.field("registration_access_token"))
	return a
}

// request is the agent's authorization request, with parameters changed; empty takes one away.
func (f *failures) request(a *agent, change url.Values) string {
	f.t.Helper()
	u, err := url.Parse(a.request([]string{"customers:read"}))
	must(f.t, err)
	q := u.Query()
	for name, values := range change {
		if q[name] = values; values[0] == "" {
			q.Del(name)
		}
	}
	f.keep(a.verifier, q.Get("state"), q.Get("code_challenge"))
	u.RawQuery = q.Encode()
	return u.String()
}

// allow lets ann allow what the agent asks for, and keeps the code.
func (f *failures) allow(a *agent, change url.Values) {
	f.t.Helper()
	at, err := f.ann.consent(f.request(a, change), "acme")
	must(f.t, err)
	answer, err := f.ann.decide(at, "approve", nil)
	must(f.t, err)
	if a.code = answer.Get("code"); a.code == "" {
		f.t.Fatalf("no code: %v", answer)
	}
	f.keep(a.code)
}

// got keeps what the token endpoint gave, which must have answered so.
func (f *failures) got(a *agent, status int) func(answer, error) {
	f.t.Helper()
	return func(got answer, err error) {
		f.t.Helper()
		must(f.t, err)
		if got.status != status {
			f.t.Errorf("got %d %s, want %d", got.status, got.body, status)
		}
		f.keep(a.access, a.refresh, got.field("id_token"))
	}
}

func (f *failures) opens(address string, status int) {
	f.t.Helper()
	at, err := f.ann.open(address)
	must(f.t, err)
	if at.status != status {
		f.t.Errorf("%s: got %d, want %d", address, at.status, status)
	}
}

// plant plants a success and ten failures.
func (f *failures) plant() []planted {
	t, issuer, server := f.t, f.house.Issuer, f.house.Resource

	good := f.agent("good client")
	f.allow(good, nil)
	f.got(good, 200)(good.redeem())
	f.got(good, 200)(ask(server, good.access, "tools/list", ""))

	f.opens(f.request(f.agent("wrong redirect"),
		url.Values{"redirect_uri": {"http://127.0.0.1:7777/elsewhere?secret=hunter2hunter2"}}), 400)
	f.keep("hunter2hunter2")

	bare := f.agent("missing resource")
	f.allow(bare, url.Values{"resource": {""}, "scope": {"openid"}})
	f.got(bare, 200)(bare.token(url.Values{"grant_type": {"authorization_code"}, "code": {bare.code},
		"redirect_uri": {callback}, "code_verifier": {bare.verifier}}))
	f.got(bare, 401)(ask(server, bare.access, "tools/list", ""))

	f.opens(f.request(f.agent("no pkce"), url.Values{"code_challenge": {""}, "code_challenge_method": {""}}), 303)

	at, err := f.ann.consent(f.request(f.agent("denied"), nil), "acme")
	must(t, err)
	_, err = f.ann.decide(at, "deny", nil)
	must(t, err)

	twice := f.agent("code twice")
	f.allow(twice, nil)
	f.got(twice, 200)(twice.redeem())
	f.got(twice, 400)(twice.redeem())

	stale := f.agent("stale")
	if code, out := f.house.operate("client", "delete", stale.id); code != 0 {
		t.Fatal(out)
	}
	f.opens(f.request(stale, nil), 400)

	preflight, err := http.NewRequest("OPTIONS", server, nil)
	must(t, err)
	preflight.Header = http.Header{"Origin": {"https://page.example"}, "Access-Control-Request-Method": {"POST"},
		"User-Agent": {"Mozilla/5.0 (a browser)"}}
	response, err := http.DefaultClient.Do(preflight)
	must(t, err)
	response.Body.Close()

	wrong := f.agent("wrong audience")
	f.allow(wrong, url.Values{"resource": {issuer}, "scope": {"openid"}})
	f.got(wrong,
		200)(wrong.token(url.Values{"grant_type": {"authorization_code"}, "code": {wrong.code},
		"redirect_uri": {callback}, "code_verifier": {wrong.verifier}, "resource": {issuer}}))
	f.got(wrong, 401)(ask(server, wrong.access, "tools/list", ""))

	off := f.agent("clock off")
	f.allow(off, nil)
	f.clockOff(off)

	reused := f.agent("refresh reused")
	f.allow(reused, nil)
	f.got(reused, 200)(reused.redeem())
	first := reused.refresh
	f.got(reused, 200)(reused.renew(first))
	f.got(reused, 200)(reused.renew(reused.refresh))
	f.got(reused, 400)(reused.renew(first))

	return []planted{
		{"wrong redirect", "authorize",
			"The application wanted its answer at http://127.0.0.1:7777/elsewhere, which is none of the redirect " +
				"URIs that its client has registered: let it register again with that address, or set the address " +
				"right in its configuration."},
		{"missing resource", "call",
			"The client asked the issuer without naming a resource, so that its token is for " + issuer +
				" and not for " + server + ", to which it showed it: it must send resource=" + server +
				" with its authorization and token requests (RFC 8707)."},
		{"no pkce", "authorize", "The authorization request has no PKCE challenge of the kind that is needed here: " +
			"the application must send code_challenge with code_challenge_method=S256, so update it, or the OAuth " +
			"library that it uses."},
		{"denied", "consent", "The person said no when they were asked, so nothing is wrong with the client: talk to " +
			"them, and start again from the application if they agree."},
		{"code twice", "code", "The client brought its code a second time, which ended the permission that the first " +
			"time had brought: it must redeem a code once and begin a new authorization; if that was not the client " +
			"itself, somebody has read the code on its way."},
		{"stale", "authorize", "The client is not known here, or not any more (its registration was deleted, has " +
			"expired, or was made at another issuer): remove the connection in the application and connect again, so " +
			"that it registers again."},
		{"Mozilla", "call", "A web page of https://page.example tried to call this server from a browser, and its " +
			"origin is not allowed: if it may, add it to --allowed-origins (allowed_origins in a gateway's file)."},
		{"wrong audience", "call", "The client presented a token for " + issuer + ", and this server is " +
			server + ": it must request one with resource=" + server +
			"; if both mean this server, correct its --resource."},
		{"clock off", "code", "The client proved itself with something that was made 600 seconds in the past by our " +
			"clock: set the clock of the client's machine, or of this one, by NTP."},
		{"refresh reused", "token",
			"The client brought a refresh token that it had used before and that is replaced, which ended its " +
				"permission: it must keep the newest in one place only, and the person must authorize it again; " +
				"if that " +
				"was not the client itself, the token was stolen."},
	}
}

// clockOff redeems with a proof of a clock that is ten minutes slow.
func (f *failures) clockOff(a *agent) {
	f.t.Helper()
	key := dpoptest.NewKey(f.t, "ES256")
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {a.id}, "code": {a.code}, "redirect_uri": {callback},
		"code_verifier": {a.verifier}, "resource": {f.house.Resource},
	}
	key.Now = func() time.Time { return f.house.now().Add(-10 * time.Minute) }
	proof := key.Proof("POST", f.house.Issuer+"/oauth2/token")
	f.keep(proof)
	r, err := http.NewRequest("POST", f.house.Issuer+"/oauth2/token", strings.NewReader(form.Encode()))
	must(f.t, err)
	r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Dpop": {proof}}
	response, err := http.DefaultClient.Do(r)
	must(f.t, err)
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	must(f.t, err)
	if !strings.Contains(string(body), "set your clock") {
		f.t.Errorf("got %d %s", response.StatusCode, body)
	}
}
