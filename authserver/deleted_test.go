package authserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// What is personal of the person who is deleted.
const (
	doraEmail  = "dora.quimby@acme.example"
	doraName   = "Dora Quimby"
	doraSource = "203.0.113.77"
)

// withRedis runs a test on SQLite, and on PostgreSQL with Redis.
func withRedis(t *testing.T, test func(*testing.T, *testServer)) {
	for name, change := range map[string]func(*authserver.Config){
		"SQLite": throughProxy,
		"PostgreSQL and Redis": func(c *authserver.Config) {
			throughProxy(c)
			c.Database = testenv.Postgres(t)
			url, prefix := testenv.Redis(t)
			c.Redis, c.RedisPrefix = config.Secret(url), prefix
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, startServer(t, change)) })
	}
}

// operate does an act as a command does.
func (h *testServer) operate(name string, arguments, answer any) error {
	h.t.Helper()
	encoded, err := json.Marshal(arguments)
	must(h.t, err)
	raw, err := h.Server.Operator().Act(h.t.Context(), name, encoded)
	if err == nil && answer != nil {
		err = json.Unmarshal(raw, answer)
	}
	return err
}

// dora makes the person who will be deleted, who signs in from an address of hers.
func (h *testServer) dora() (id string, p *person) {
	h.t.Helper()
	var made admin.UserMade
	must(h.t, h.operate("user.create", admin.UserSpec{Email: doraEmail, Name: doraName, Password: password,
		Tenant: "acme", Role: "member"}, &made))
	return made.User.ID, h.person(doraEmail).from(doraSource)
}

// dump is all that is in the database's tables, one row a line.
func (h *testServer) dump() string {
	h.t.Helper()
	db := h.Store.Audit().Read
	tables := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if h.config.Redis != "" {
		tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
	}
	rows, err := db.QueryContext(h.t.Context(), tables)
	must(h.t, err)
	var names []string
	for rows.Next() {
		var name string
		must(h.t, rows.Scan(&name))
		names = append(names, name)
	}
	must(h.t, rows.Err())
	var all strings.Builder
	for _, name := range names {
		rows, err := db.QueryContext(h.t.Context(), "SELECT * FROM "+name)
		must(h.t, err)
		columns, err := rows.Columns()
		must(h.t, err)
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			must(h.t, rows.Scan(into...))
			fmt.Fprintf(&all, "%s:", name)
			for _, v := range values {
				if b, ok := v.([]byte); ok {
					v = fmt.Sprintf("%q", b)
				}
				fmt.Fprintf(&all, " %v", v)
			}
			all.WriteByte('\n')
		}
		must(h.t, rows.Err())
	}
	return all.String()
}

// memory is all that is in Redis under this test's prefix.
func (h *testServer) memory() string {
	h.t.Helper()
	if h.config.Redis == "" {
		return ""
	}
	options, err := redis.ParseURL(h.config.Redis.Reveal())
	must(h.t, err)
	db := redis.NewClient(options)
	defer db.Close()
	ctx := h.t.Context()
	var all strings.Builder
	for keys := db.Scan(ctx, 0, h.config.RedisPrefix+"*", 1000).Iterator(); keys.Next(ctx); {
		key := keys.Val()
		var value any
		switch db.Type(ctx, key).Val() {
		case "string":
			value = db.Get(ctx, key).Val()
		case "hash":
			value = db.HGetAll(ctx, key).Val()
		case "zset":
			value = db.ZRange(ctx, key, 0, -1).Val()
		case "stream":
			value = db.XRange(ctx, key, "-", "+").Val()
		}
		fmt.Fprintf(&all, "%s: %v\n", key, value)
	}
	return all.String()
}

// nowhere fails where something personal is still kept.
func (h *testServer) nowhere(when string) {
	h.t.Helper()
	places := map[string]string{"tables": h.dump(), "Redis": h.memory()}
	if path, ok := strings.CutPrefix(h.config.Database, "sqlite:"); ok {
		for _, name := range []string{path, path + "-wal"} {
			content, err := os.ReadFile(name)
			must(h.t, err)
			places[name] = string(content)
		}
	}
	for place, content := range places {
		for _, personal := range []string{doraEmail, "dora.quimby", doraName, doraSource} {
			content := strings.ToLower(content)
			if i := strings.Index(content, strings.ToLower(personal)); i >= 0 {
				h.t.Errorf("%s: %q is still in %s: …%q…", when, personal, place,
					content[max(0, i-100):min(len(content), i+100)])
			}
		}
	}
}

// destroyed fails where a key is still kept.
func (h *testServer) destroyed(key []byte) {
	h.t.Helper()
	places := [][]byte{[]byte(h.dump())}
	if path, ok := strings.CutPrefix(h.config.Database, "sqlite:"); ok {
		for _, name := range []string{path, path + "-wal"} {
			content, err := os.ReadFile(name)
			must(h.t, err)
			places = append(places, content)
		}
	}
	for _, content := range places {
		if bytes.Contains(content, key) ||
			strings.Contains(string(content), strings.Trim(fmt.Sprintf("%q", key), `"`)) {
			h.t.Error("her key is still kept")
		}
	}
}

// whole seals what waits, and verifies the chain.
func (h *testServer) whole(when string) {
	h.t.Helper()
	ctx := h.t.Context()
	for {
		n, err := h.Server.Seal(ctx)
		must(h.t, err)
		if n == 0 {
			break
		}
	}
	found, err := h.Server.Operator().VerifyAudit(ctx, authserver.AuditWalk{Limit: 100_000})
	if err != nil || found.Finding != nil || !found.Done || found.Records == 0 {
		h.t.Errorf("%s: verifying the audit: %+v %v", when, found, err)
	}
}

func TestADeletedUserLeavesNothingPersonal(t *testing.T) {
	withRedis(t, func(t *testing.T, h *testServer) {
		id, dora := h.dora()
		a := h.register(map[string]any{})
		ann, annsRefresh := h.person("ann@acme.example"), ""
		_, annsRefresh = a.tokens(ann, "customers:read")
		dora.try("guess-guess-guess")
		a.tokens(dora, "customers:read")
		for _, refused := range []struct {
			act       string
			arguments any
		}{
			{"user.create", admin.UserSpec{Email: doraEmail, Name: doraName}},
			{"user.create", admin.UserSpec{Email: doraName}},
			{"member.remove", admin.RemovalSpec{Email: doraEmail, Tenant: "globex"}},
			{"member.put", admin.MemberSpec{Email: doraEmail, Tenant: "acme", Role: "nothing"}},
			{"user.enable", doraName},
		} {
			if err := h.operate(refused.act, refused.arguments, nil); err == nil {
				t.Errorf("%s %+v is not refused", refused.act, refused.arguments)
			}
		}
		must(t, h.operate("user.disable", admin.DisableSpec{User: doraEmail}, nil)) // which revokes
		must(t, h.operate("user.enable", doraEmail, nil))
		must(t, h.operate("user.set_password", admin.PasswordSpec{User: id, Password: password}, nil))
		must(t, h.operate("member.remove", admin.RemovalSpec{Email: doraEmail, Tenant: "acme", Force: true}, nil))
		must(t, h.operate("member.put", admin.MemberSpec{Email: doraEmail, Tenant: "acme", Role: "member"}, nil))
		a.tokens(dora, "customers:read")
		must(t, h.operate("grant.revoke", admin.GrantSelection{User: doraEmail, Reason: "asked for by " + doraEmail},
			nil))
		access, refresh := a.tokens(dora, "customers:read")
		must(t, h.Server.Flush(t.Context()))
		h.whole("before")

		server := h.protected(resourceURI)
		if _, answer := server.asks("/oauth2/introspect", "token", access); answer["active"] != true {
			t.Fatalf("before: the access token is not active: %v", answer)
		}
		found := func(f audit.Filter) (said string) {
			t.Helper()
			var records []audit.Record
			f.Limit = 1000
			must(t, h.operate("audit.list", f, &records))
			for _, r := range records {
				said += fmt.Sprintf("%s %s %s %s %s\n", r.Actor, r.Action, r.Outcome, r.Target, r.Detail)
			}
			return said
		}
		for _, want := range []string{
			"user.create ok " + id + " " + doraEmail, "user.disable ok " + id + " " + doraEmail,
			"member.remove ok " + id + " " + doraEmail + " (forced)",
			"user.sign_in ok " + id + " from " + doraSource, "address:" + doraSource + " user.sign_in refused " + id +
				" another password",
			"user.create refused " + id + " there is a user " + id + " already",
		} {
			if said := found(audit.Filter{User: id}); !strings.Contains(said, want) {
				t.Errorf("before: the audit does not say %q:\n%s", want, said)
			}
		}

		key, err := h.Store.AuditKey(t.Context(), id)
		must(t, err)
		var done admin.UserDeleted
		must(t, h.operate("user.delete", admin.DeletionSpec{User: doraEmail}, &done))
		if done.ID != id || done.Plain != 0 {
			t.Errorf("got %+v, want %s and no records of before", done, id)
		}
		if _, answer := server.asks("/oauth2/introspect", "token", access); answer["active"] != false {
			t.Errorf("the access token is active: %v", answer)
		}
		status, answer := a.token(refreshment(refresh))
		wantError(t, "renewing", status, answer, 400, "invalid_grant")
		if at := dora.open("/agents"); at.url.Path != "/signin" {
			t.Errorf("her session leads to %s", at.url)
		}
		if at := h.person(doraEmail).try(password); at.status != http.StatusForbidden {
			t.Errorf("signing in: got %d, want 403", at.status)
		}
		must(t, h.Server.Flush(t.Context()))
		h.whole("after")
		h.nowhere("after")
		h.destroyed(key)
		pseudonym := "deleted user " + strings.TrimPrefix(id, "usr_")[:8] + "…"
		said := found(audit.Filter{User: id})
		for _, want := range []string{"user.create ok " + id + " " + pseudonym,
			"user.sign_in ok " + id + " " + pseudonym, "address:" + pseudonym + " user.sign_in refused",
			"user.delete ok " + id} {
			if !strings.Contains(said, want) {
				t.Errorf("after: the audit does not say %q:\n%s", want, said)
			}
		}

		h.start()
		h.whole("after a restart")
		var again admin.UserMade
		must(t, h.operate("user.create", admin.UserSpec{Email: doraEmail, Password: password}, &again))
		if again.User.ID == id {
			t.Error("who gets the address has the id of the person of before")
		}
		if memberships, err := h.Store.Memberships(t.Context(), again.User.ID); len(memberships) > 0 || err != nil {
			t.Errorf("who gets the address belongs to %v %v", memberships, err)
		}
		if grants, err := h.Store.Grants(t.Context(), grant.Filter{UserID: again.User.ID}); len(grants) > 0 ||
			err != nil {
			t.Errorf("who gets the address has the grants %v %v", grants, err)
		}
		if said := found(audit.Filter{User: again.User.ID}); strings.Count(said, "\n") != 1 {
			t.Errorf("who gets the address has a past:\n%s", said)
		}
		if at := dora.open("/agents"); at.url.Path != "/signin" {
			t.Errorf("the session of before leads to %s", at.url)
		}
		if !a.alive(annsRefresh) {
			t.Error("somebody else's permission is gone")
		}
		must(t, h.operate("user.delete", admin.DeletionSpec{User: again.User.ID}, nil))

		h.Clock.step(25 * time.Hour)
		h.clean()
		if left := h.dump(); strings.Contains(strings.Join(slices.DeleteFunc(strings.Split(left, "\n"),
			func(row string) bool {
				return strings.HasPrefix(row, "audit_")
			}), "\n"), id) {
			t.Errorf("a day later her id is still somewhere else than in the audit:\n%s", left)
		}
		h.whole("a day later")
		h.nowhere("a day later")
	})
}

// While a person is deleted their agents renew, and they go on allowing: nothing of that outlives
// them.
func TestNothingIsAllowedWhileAUserIsDeleted(t *testing.T) {
	withRedis(t, func(t *testing.T, h *testServer) {
		id, _ := h.dora()
		a := h.register(map[string]any{})
		var wg sync.WaitGroup
		ready, gone := make(chan struct{}, 100), make(chan struct{})
		people := make([]*person, 4)
		for i := range people {
			people[i] = h.person(doraEmail)
			_, refresh := a.tokens(people[i], "customers:read")
			wg.Go(func() {
				for {
					ready <- struct{}{}
					status, answer := a.token(refreshment(refresh))
					if status != http.StatusOK {
						return
					}
					refresh = answer["refresh_token"].(string)
				}
			})
			wg.Go(func() { // asks, signs in where that is needed, allows, redeems
				for {
					at := people[i].open("/oauth2/authorize?" + a.authorization("customers:read").Encode())
					if at.url.Path == "/signin" {
						at = people[i].submit(at, url.Values{"email": {doraEmail}, "password": {password}})
					}
					if at.url.Path != "/consent" {
						return
					}
					at = people[i].submit(at, url.Values{"decision": {"approve"}})
					if at.status >= 500 {
						t.Errorf("allowing: got %d: %.300s", at.status, at.body)
					}
					if at.away == nil || at.away.Query().Get("code") == "" {
						continue // until signing in is refused, too
					}
					a.token(redemption(at.away.Query().Get("code")))
				}
			})
		}
		go func() {
			for range ready {
			}
			close(gone)
		}()
		for range 8 {
			people[0].open("/")
		}
		must(t, h.operate("user.delete", admin.DeletionSpec{User: id, Force: true}, nil))
		wg.Wait()
		close(ready)
		<-gone
		must(t, h.Server.Settle(t.Context()))
		h.Clock.step(11 * time.Second)
		must(t, h.Server.Settle(t.Context()))
		grants, err := h.Store.Grants(t.Context(), grant.Filter{UserID: id, Limit: 10_000})
		must(t, err)
		for _, g := range grants {
			if listed := h.Server.Revoked(g.ID); !g.Revoked() || !listed {
				t.Errorf("grant %s: revoked in SQL %v, on the list %v", g.ID, g.Revoked(), listed)
			}
		}
		if len(grants) < len(people) {
			t.Errorf("got %d grants, want those that there were at least", len(grants))
		}
		must(t, h.Server.Flush(t.Context()))
		h.whole("afterwards")
		h.nowhere("afterwards")
	})
}

// A deletion that is cut short after its transaction is completed: by the settler, or by asking
// once more.
func TestADeletionThatIsCutShortIsCompleted(t *testing.T) {
	h := startServer(t)
	id, dora := h.dora()
	a := h.register(map[string]any{})
	_, refresh := a.tokens(dora, "customers:read")
	mend := h.breakRevocation()
	if err := h.operate("user.delete", admin.DeletionSpec{User: id}, nil); err == nil {
		t.Error("it says that all is done while nothing can be revoked")
	}
	mend()
	status, answer := a.token(refreshment(refresh))
	wantError(t, "renewing", status, answer, 400, "invalid_grant")
	must(t, h.operate("user.delete", admin.DeletionSpec{User: id}, nil))
	if alive, err := h.Store.Grants(context.Background(), grant.Filter{UserID: id, Active: true}); len(alive) > 0 ||
		err != nil {
		t.Errorf("alive is %v %v", alive, err)
	}
	if err := h.operate("user.delete", admin.DeletionSpec{User: id}, nil); err == nil ||
		!strings.Contains(err.Error(), "there is no user") {
		t.Errorf("once more: got %v", err)
	}
}

// Without --force nobody is deleted whom a tenant or the installation needs.
func TestTheLastAdminIsDeletedByForceAlone(t *testing.T) {
	h := startServer(t)
	must(t, h.operate("role.put", admin.RoleSpec{Tenant: "acme", Role: "boss", Scopes: []string{"customers:read"},
		Admin: true}, nil))
	var made admin.UserMade
	must(t, h.operate("user.create", admin.UserSpec{Email: doraEmail, Tenant: "acme", Role: "boss"}, &made))
	before := h.dump()
	if err := h.operate("user.delete", admin.DeletionSpec{User: doraEmail}, nil); err == nil ||
		!strings.Contains(err.Error(), "acme") {
		t.Errorf("got %v, want a refusal that names the tenant", err)
	}
	if u, err := h.Store.User(t.Context(), made.User.ID); err != nil || u.Email != doraEmail || u.Disabled {
		t.Errorf("after a refusal: %+v %v\n%s", u, err, before)
	}
	must(t, h.operate("user.delete", admin.DeletionSpec{User: doraEmail, Force: true}, nil))
	events, err := h.Store.Events(t.Context(), audit.Filter{Action: "user.delete", Outcome: audit.OK})
	if err != nil || len(events) != 1 || events[0].Detail != "(forced)" || events[0].Target != made.User.ID {
		t.Errorf("the record is %+v %v", events, err)
	}
}

// Records of before people had keys cannot change: who deletes the person is told how many there
// are.
func TestRecordsOfBeforePeopleHadKeysAreCounted(t *testing.T) {
	withRedis(t, func(t *testing.T, h *testServer) {
		for _, e := range []audit.Event{
			{Actor: "operator", Action: "user.create", Target: "usr_ann", Detail: "ann@acme.example"},
			{Actor: "user:usr_ann", Action: "user.sign_in", Target: "usr_ann", Detail: "from 203.0.113.5"},
			{Actor: "address:203.0.113.5", Action: "user.sign_in", Target: "usr_ann", Detail: "another password",
				Outcome: audit.Refused},
			{Actor: "operator", Action: "member.put", Target: "usr_ann", Tenant: "acme", Detail: "reader"},
			{Actor: "operator", Action: "user.create", Target: "usr_bob", Detail: "bob@globex.example"},
		} {
			e.Time = h.Clock.Now()
			must(t, h.Store.Record(t.Context(), e))
		}
		h.whole("before")
		h.person("ann@acme.example").try(password) // somebody of before gets a key
		var done admin.UserDeleted
		must(t, h.operate("user.delete", admin.DeletionSpec{User: "ann@acme.example"}, &done))
		if done.Plain != 3 {
			t.Errorf("got %d, want three", done.Plain)
		}
		h.whole("after")
		if bytes.Count([]byte(h.dump()), []byte("ann@acme.example")) != 1 {
			t.Error("the address is elsewhere than in the record of before")
		}
	})
}
