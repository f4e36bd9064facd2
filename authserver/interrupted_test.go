package authserver_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// breakRevocation makes SQL refuse every revocation, as a full disk or a read-only database does,
// and returns what mends it.
func (h *testServer) breakRevocation() (mend func()) {
	h.t.Helper()
	broken, mended := "CREATE TRIGGER broken BEFORE UPDATE OF ended_at ON grants BEGIN SELECT RAISE(ABORT, 'the disk "+
		"is full'); END", "DROP TRIGGER broken"
	if h.config.Redis != "" {
		h.exec("CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the disk is " +
			"full'; END $$")
		broken, mended = "CREATE TRIGGER broken BEFORE UPDATE OF ended_at ON grants FOR EACH ROW EXECUTE FUNCTION "+
			"broken()", "DROP TRIGGER broken ON grants"
	}
	h.exec(broken)
	return func() { h.exec(mended) }
}

func (h *testServer) exec(statement string, args ...any) {
	h.t.Helper()
	_, err := h.Store.Audit().Write.ExecContext(h.t.Context(), statement, args...)
	must(h.t, err)
}

// E4: a revocation that was answered 503 was on the list and not in SQL: the issuer renewed while
// MCP answered 401.
func TestInterruptedRevocationIsCompleted(t *testing.T) {
	for name, change := range map[string]func(*authserver.Config){
		"SQLite": func(*authserver.Config) {},
		"PostgreSQL and Redis": func(c *authserver.Config) {
			c.Database = testenv.Postgres(t)
			url, prefix := testenv.Redis(t)
			c.Redis, c.RedisPrefix = config.Secret(url), prefix
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := startServer(t, change)
			a, ann := h.register(map[string]any{}), h.person("ann@acme.example")
			access, refresh := a.tokens(ann, "customers:read")
			_, body := claims(t, access)
			id := body["grant_id"].(string)
			other := h.process() // another replica, or with SQLite what is started next on the same list
			t.Cleanup(func() { other.Close() })
			mend := h.breakRevocation()
			if r := a.revoke(refresh); r.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("revoking while SQL refuses: got %d, want 503", r.StatusCode)
			}
			for _, replica := range []*authserver.Server{h.Server, other} {
				_ = replica.Settle(t.Context()) // hears of it; completing it cannot succeed yet
				handler := replica.Handler()
				h.handler.Store(&handler)
				status, answer := a.token(refreshment(refresh))
				wantError(t, "renewing a grant that is on the list", status, answer, 400, "invalid_grant")
			}
			h.Clock.step(11 * time.Second)
			if err := other.Settle(t.Context()); err == nil {
				t.Error("completed while SQL refuses")
			}
			mend()
			must(t, other.Settle(t.Context()))
			g, err := h.Store.Grant(t.Context(), id)
			if err != nil || !g.Revoked() || g.RevokeReason != grant.ReasonInterrupted {
				t.Errorf("got %+v, %v; want it revoked as interrupted", g, err)
			}
			events, err := h.Store.Events(t.Context(), audit.Filter{Action: "grant.revoke"})
			if err != nil || len(events) != 1 || events[0].Actor != "system" || events[0].Grant != id {
				t.Errorf("got %+v, %v; want one record by system", events, err)
			}
			must(t, h.Server.Settle(t.Context())) // the other replica finds nothing left
		})
	}
}

// A revocation that is under way is left to anyone who does it.
func TestRevocationUnderWayIsNotTakenOver(t *testing.T) {
	h := startServer(t)
	a, ann := h.register(map[string]any{}), h.person("ann@acme.example")
	access, refresh := a.tokens(ann, "customers:read")
	_, body := claims(t, access)
	mend := h.breakRevocation()
	if r := a.revoke(refresh); r.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got %d, want 503", r.StatusCode)
	}
	mend()
	must(t, h.Server.Settle(t.Context()))
	if g, err := h.Store.Grant(t.Context(), body["grant_id"].(string)); err != nil || g.Revoked() {
		t.Errorf("got %+v, %v; want it left for ten seconds", g, err)
	}
	if r := a.revoke(refresh); r.StatusCode != 200 {
		t.Errorf("again: got %d, want 200", r.StatusCode)
	}
	if g, err := h.Store.Grant(t.Context(), body["grant_id"].(string)); err != nil ||
		g.RevokeReason != grant.ReasonClient {
		t.Errorf("got %+v, %v; want it revoked by its client", g, err)
	}
}

// Grants that live though what they belong to is gone, because the process that revoked them was
// killed, are revoked.
func TestGrantsLeftAliveAreRevoked(t *testing.T) {
	for what, statement := range map[string]string{
		"a disabled account": "UPDATE users SET disabled = TRUE WHERE email = 'ann@acme.example'",
		"a member that left": "DELETE FROM memberships WHERE user_id = (SELECT id FROM users WHERE email = " +
			"'ann@acme.example')",
		"a deleted client":        "UPDATE clients SET deleted_at = 1 WHERE id = $1",
		"an issuer of the past":   "UPDATE grants SET asserted_by = 'https://idp.example' WHERE client_id = $1",
		"what it is derived from": "UPDATE grants SET derived_from = 'grt_origin' WHERE client_id = $1",
	} {
		t.Run(what, func(t *testing.T) {
			h := startServer(t)
			a, bystander := h.register(map[string]any{}), h.register(map[string]any{})
			access, _ := a.tokens(h.person("ann@acme.example"), "customers:read")
			_, stays := bystander.tokens(h.person("bob@globex.example"), "customers:read")
			_, body := claims(t, access)
			if what == "what it is derived from" {
				h.exec("INSERT INTO grants (id, tenant_id, client_id, user_id, resource, scopes, created_at, "+
					"ended_at) SELECT 'grt_origin', tenant_id, client_id, user_id, resource, scopes, created_at, 1 "+
					"FROM grants WHERE client_id = $1", a.ID)
			}
			var args []any
			if statement[len(statement)-1] == '1' && what != "a disabled account" {
				args = append(args, a.ID)
			}
			h.exec(statement, args...)
			must(t, h.Server.Settle(t.Context()))
			h.Clock.step(11 * time.Second)
			must(t, h.Server.Settle(t.Context()))
			id := body["grant_id"].(string)
			if g, err := h.Store.Grant(t.Context(), id); err != nil || !g.Revoked() {
				t.Errorf("got %+v, %v; want it revoked", g, err)
			}
			if revoked, err := h.List.Ended(t.Context(), id); err != nil || !revoked {
				t.Errorf("on the list: got %v, %v; want true", revoked, err)
			}
			if !bystander.alive(stays) {
				t.Error("another person's grant was revoked")
			}
		})
	}
}

// An identity assertion renews no grant whose revocation was interrupted.
func TestAssertionRenewsNoGrantThatIsOnTheList(t *testing.T) {
	h := startServer(t)
	p, a := h.trusts("acme", acmeIDP), h.managed()
	status, answer := a.token(asserting(p.lets(a, nil)))
	if status != http.StatusOK {
		t.Fatalf("got %d %v", status, answer)
	}
	mend := h.breakRevocation()
	defer mend()
	if r := a.revoke(answer["access_token"].(string)); r.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("revoking while SQL refuses: got %d, want 503", r.StatusCode)
	}
	h.Clock.step(2 * time.Second)
	status, answer = a.token(asserting(p.lets(a, nil)))
	wantError(t, "another assertion", status, answer, 400, "invalid_grant")
}

// E4: a machine client whose own revocation was interrupted may begin again when it is completed;
// one whose grant somebody else's interrupted revocation ended may not, even if it revokes it once
// more itself.
func TestAMachinesInterruptedRevocation(t *testing.T) {
	for _, own := range []bool{true, false} {
		t.Run(map[bool]string{true: "its own", false: "the operator's"}[own], func(t *testing.T) {
			h := startServer(t)
			m, credentials := h.machine("acme", "customers:read"),
				url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}}
			_, answer := m.token(credentials)
			access := answer["access_token"].(string)
			_, body := claims(t, access)
			mend := h.breakRevocation()
			if own {
				if status, answer := m.asks("/oauth2/revoke", "token",
					access); status != http.StatusServiceUnavailable {
					t.Fatalf("got %d %v, want 503", status, answer)
				}
			} else if _, err := h.Server.Operator().RevokeGrants(t.Context(),
				admin.GrantSelection{ID: body["grant_id"].(string)}); err == nil {
				t.Fatal("revoked while SQL refuses")
			}
			_ = h.Server.Settle(t.Context())
			status, answer := m.token(credentials)
			wantError(t, "until it is completed", status, answer, 400, "unauthorized_client")
			mend()
			if !own { // it tries to make the revocation its own
				if status, answer := m.asks("/oauth2/revoke", "token", access); status != 200 {
					t.Fatalf("got %d %v, want 200", status, answer)
				}
			}
			h.Clock.step(11 * time.Second)
			must(t, h.Server.Settle(t.Context()))
			status, answer = m.token(credentials)
			if own {
				if status != 200 {
					t.Errorf("completed: got %d %v, want a token of a new grant", status, answer)
				} else if _, next := claims(t, answer["access_token"].(string)); next["grant_id"] == body["grant_id"] {
					t.Error("its token is of the revoked grant")
				}
				return
			}
			wantError(t, "completed", status, answer, 400, "unauthorized_client")
		})
	}
}
