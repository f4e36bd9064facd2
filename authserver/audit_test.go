package authserver_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// records are all audit lines, oldest first, when there are at least so many of the action: those
// of machine clients' tokens are written a moment later.
func (h *testServer) records(action string, atLeast int) (all []audit.Record) {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		newest, err := h.Server.Operator().Events(context.Background(), audit.Filter{Limit: 10_000})
		must(h.t, err)
		n := 0
		all = nil
		for i := len(newest) - 1; i >= 0; i-- {
			all = append(all, newest[i])
			if newest[i].Action == action {
				n++
			}
		}
		if n >= atLeast {
			return all
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("got %d lines of %s, want %d", n, action, atLeast)
		}
	}
}

// of are the lines of an action.
func of(action string, all []audit.Record) []audit.Record {
	return slices.DeleteFunc(slices.Clone(all), func(r audit.Record) bool { return r.Action != action })
}

// line finds the only line of an action and an outcome, or fails.
func line(t *testing.T, all []audit.Record, action, outcome string) audit.Record {
	t.Helper()
	var found []audit.Record
	for _, r := range all {
		if r.Action == action && r.Outcome == outcome {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Errorf("%s, %s: got %d lines, want one: %+v", action, outcome, len(found), found)
		return audit.Record{}
	}
	return found[0]
}

// Every way of an agent through the issuer leaves its lines, each with who, for whom and what
// became of it, and none with a secret.
func TestEachActLeavesItsLine(t *testing.T) {
	h := startServer(t)
	const typed = "my password, typed where the address goes"
	stranger := h.person("ann@acme.example")
	stranger.submit(stranger.open("/signin"),
		url.Values{"email": {"ann@acme.example"}, "password": {"a wrong password"}})
	stranger.submit(stranger.open("/signin"), url.Values{"email": {typed}, "password": {"a wrong password"}})
	all := of("user.sign_in", h.records("user.sign_in", 2))
	if all[0].Target+all[1].Target != "usr_ann" || all[0].Outcome != audit.Refused ||
		!strings.HasPrefix(all[0].Actor, "address:127.0.0.1") {
		t.Errorf("wrong sign-ins: got %+v", all)
	}

	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	code := a.code(ann, "customers:read", "tickets:write")
	_, answer := a.token(redemption(code))
	access, refresh := answer["access_token"].(string), answer["refresh_token"].(string)
	_, body := claims(t, access)
	grantID := body["grant_id"].(string)
	_, answer = a.token(refreshment(refresh))
	next := answer["refresh_token"].(string)
	_, again := claims(t, answer["access_token"].(string))
	_, answer = a.token(refreshment(refresh)) // a lost answer
	_, replayed := claims(t, answer["access_token"].(string))
	ann.submit(ann.consentPage(a.authorization("customers:read")), url.Values{"decision": {"deny"}})
	a.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"ghr_unknown-secret-of-somebodys"}})
	a.revoke(next)
	ann.submit(ann.open("/agents"), nil)
	m := h.machine("acme", "customers:read")
	m.token(url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}})
	m.token(url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}, "scope": {"tickets:write"}})
	h.post("/oauth2/token", "application/x-www-form-urlencoded", "grant_type=client_credentials",
		basicAuth(m.ID, "ghs_a-wrong-secret"))
	h.post("/oauth2/token", "application/x-www-form-urlencoded", "grant_type=client_credentials",
		basicAuth("cli_nobody", "ghs_a-wrong-secret"))
	h.post("/oauth2/register", "application/json", `{"redirect_uris":["javascript:alert(1)"]}`, nil)
	h.get("/oauth2/authorize?client_id="+a.ID+"&redirect_uri="+url.QueryEscape("https://evil.example/"), nil)

	all = h.records("token.issue", 4)
	want := func(r audit.Record, actor, target, tenantID, clientID, grant, detail string) {
		t.Helper()
		if r.Actor != actor || target != "" && r.Target != target || r.Tenant != tenantID || r.Client != clientID ||
			r.Grant != grant || !strings.Contains(r.Detail, detail) || r.Time.IsZero() {
			t.Errorf("got %+v\nwant %s, target %s, tenant %s, client %s, grant %s, detail %s", r, actor, target,
				tenantID, clientID, grant, detail)
		}
	}
	signedIn := line(t, all, "user.sign_in", audit.OK)
	want(signedIn, "user:usr_ann", "usr_ann", "", "", "", "127.0.0.1")
	registered := line(t, all, "client.register", audit.OK)
	want(registered, registered.Actor, a.ID, "", a.ID, "", "")
	want(line(t, all, "client.register", audit.Refused), registered.Actor, "", "", "", "", "invalid_redirect_uri")
	var allowed, issued, refreshed, refused, failed []audit.Record
	for _, r := range all {
		switch {
		case r.Action == "grant.create":
			allowed = append(allowed, r)
		case r.Action == "token.issue" && r.Outcome == audit.OK:
			issued = append(issued, r)
		case r.Action == "token.refresh":
			refreshed = append(refreshed, r)
		case r.Action == "token.issue":
			refused = append(refused, r)
		case r.Action == "client.authenticate":
			failed = append(failed, r)
		}
	}
	if len(allowed) != 2 || len(issued) != 2 || len(refreshed) != 2 || len(refused) != 2 || len(failed) != 2 {
		t.Fatalf("got %d grants, %d tokens, %d refreshes, %d refusals, %d failed authentications; want two of each",
			len(allowed), len(issued), len(refreshed), len(refused), len(failed))
	}
	want(allowed[0], "user:usr_ann", grantID, "acme", a.ID, grantID, "customers:read tickets:write")
	want(issued[0], "client:"+a.ID, body["jti"].(string), "acme", a.ID, grantID,
		"authorization_code: customers:read tickets:write for "+resourceURI)
	want(refreshed[0], "client:"+a.ID, again["jti"].(string), "acme", a.ID, grantID, "refresh_token: ")
	want(refreshed[1], "client:"+a.ID, replayed["jti"].(string), "acme", a.ID, grantID, "once more")
	want(line(t, all, "consent.deny", audit.Refused), "user:usr_ann", a.ID, "", a.ID, "",
		"customers:read for "+resourceURI)
	want(refused[0], "client:"+a.ID, "", "", a.ID, "", "refresh_token: invalid_grant: the refresh token is unknown")
	want(line(t, all, "grant.revoke", audit.OK), "client:"+a.ID, grantID, "acme", a.ID, grantID,
		"revoked by its client")
	want(issued[1], "client:"+m.ID, "", "acme", m.ID, allowed[1].Grant, "client_credentials: customers:read for "+
		resourceURI)
	want(refused[1], "client:"+m.ID, "", "acme", m.ID, "", "client_credentials: invalid_scope: ")
	want(failed[0], registered.Actor, m.ID, "acme", m.ID, "", "invalid_client")
	want(failed[1], registered.Actor, "", "", "", "", "invalid_client")
	want(line(t, all, "authorization.request", audit.Refused), registered.Actor, a.ID, "", a.ID, "", "redirect_uri")
	for _, r := range all {
		for _, secret := range []string{code, access, refresh, next, verifier, m.Secret, "ghs_a-wrong-secret",
			"ghr_unknown", typed, password, "a wrong password", "cli_nobody", "evil.example"} {
			if strings.Contains(r.Actor+r.Target+r.Client+r.Detail, secret) {
				t.Errorf("%s holds %.20q: %+v", r.Action, secret, r)
			}
		}
	}
}

// Who is refused over and over fills no database, and is counted.
func TestRefusalsFillNoDatabase(t *testing.T) {
	h := startServer(t)
	for range 40 {
		h.post("/oauth2/token", "application/x-www-form-urlencoded", "grant_type=client_credentials",
			basicAuth("cli_nobody", "ghs_wrong"))
	}
	if n := len(of("client.authenticate", h.records("client.authenticate", 10))); n != 10 {
		t.Errorf("got %d lines of forty refusals, want ten", n)
	}
	h.Clock.step(time.Minute)
	h.post("/oauth2/token", "application/x-www-form-urlencoded", "grant_type=client_credentials",
		basicAuth("cli_nobody", "ghs_wrong"))
	all := h.records("client.authenticate", 12)
	if r := all[len(all)-2]; !strings.HasPrefix(r.Detail, "30 more in the minute from ") {
		t.Errorf("got %+v, want the rest counted", r)
	}
}

// RT-14's neighbour: no line, no token. A ledger that does not take the line of a refresh does not
// take the refresh.
func TestNoLineNoRefresh(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	_, refresh := a.tokens(h.person("ann@acme.example"), "customers:read")
	write := h.Store.Audit().Write
	_, err := write.Exec("ALTER TABLE audit_events RENAME TO gone")
	must(t, err)
	if status, answer := a.token(refreshment(refresh)); status != http.StatusServiceUnavailable {
		t.Errorf("without a line: got %d %v, want 503", status, answer)
	}
	_, err = write.Exec("ALTER TABLE gone RENAME TO audit_events")
	must(t, err)
	h.Clock.step(time.Hour) // past the window of a lost answer
	if !a.alive(refresh) {
		t.Error("the refresh token was used up by a refresh that left no line")
	}
}

// What runs seals within a second or so, and is whole when it has ended; old lines go by
// themselves.
func TestARunningServerSeals(t *testing.T) {
	h := startServer(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.Server.Run(ctx)
	}()
	a := h.register(map[string]any{})
	a.tokens(h.person("ann@acme.example"), "customers:read")
	for deadline := time.Now().Add(20 * time.Second); ; {
		w, err := h.Server.Operator().VerifyAudit(t.Context(), authserver.AuditWalk{})
		must(t, err)
		if w.Records >= 4 && w.Waiting == 0 && w.Anchored && w.Finding == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v, want all sealed", w)
		}
		time.Sleep(10 * time.Millisecond)
	}
	must(t, h.Store.Record(t.Context(), audit.Event{Time: time.Now(), Action: "x.last"}))
	stop()
	<-ended
	if w, err := h.Server.Operator().VerifyAudit(t.Context(), authserver.AuditWalk{}); err != nil || w.Waiting != 0 ||
		w.Finding != nil {
		t.Errorf("after the end: got %+v %v, want all sealed", w, err)
	}
	if !h.Log.Contains("the head of the audit chain") {
		t.Error("the log does not tell the head")
	}
}
