package storetest

import (
	"errors"
	"testing"
	"time"

	attempt1 "github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

// deletedUsers holds that nothing finds a person who was deleted, and nothing is given to them any
// more.
func deletedUsers(t *testing.T, open func() Store) {
	s, replica := open(), open()
	populate(t, s)
	must(t, s.PutCode(ctx, aGrant("g"), aCode("g"), event("grant.create")))
	must(t, s.PutAuditKey(ctx, "usr_ann", []byte("key")))
	must(t, replica.PutAuditKey(ctx, "usr_ann", []byte("another"))) // too late
	key, err := s.AuditKey(ctx, "usr_ann")
	same(t, "the key", []byte("key"), key, err)
	_, err = s.AuditKey(ctx, "usr_none")
	wantErr(t, "the key of nobody", user.ErrNotFound, err)
	of := attempt("hers", attempt1.Consent, 0)
	of.User = "usr_ann"
	put(t, s, of, attempt("nobody's", attempt1.Authorize, 0))
	wantErr(t, "deleting nobody", user.ErrNotFound, s.DeleteUser(ctx, "usr_none", now))

	must(t, s.CreateUser(ctx, user.User{ID: "usr_boss", Email: "boss@acme.example", PasswordHash: "h", CreatedAt: now}))
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "boss", Scopes: []string{"a"}, Admin: true}))
	must(t, s.PutMember(ctx, "acme", "usr_boss", "boss"))
	var locked *user.Lockout
	if err := s.DeleteUser(ctx, "usr_boss", now); !errors.As(err, &locked) || locked.TenantID != "acme" {
		t.Errorf("deleting the last admin: got %v, want a lockout of acme", err)
	}
	boss, err := replica.User(ctx, "usr_boss")
	same(t, "the last admin", user.User{ID: "usr_boss", Email: "boss@acme.example", PasswordHash: "h", CreatedAt: now},
		boss, err)

	must(t, s.DeleteUser(ctx, "usr_ann", now)) // someone else administers the tenant
	must(t, s.Forced().DeleteUser(ctx, "usr_boss", now))
	wantErr(t, "deleting twice", user.ErrNotFound, s.DeleteUser(ctx, "usr_ann", now))
	wantErr(t, "deleting twice by force", user.ErrNotFound, replica.Forced().DeleteUser(ctx, "usr_ann", now))
	_, err = replica.User(ctx, "usr_ann")
	wantErr(t, "by id", user.ErrNotFound, err)
	for _, email := range []string{"ann@acme.example", "deleted usr_ann"} {
		_, err = replica.UserByEmail(ctx, email)
		wantErr(t, "by "+email, user.ErrNotFound, err)
	}
	_, err = replica.AuditKey(ctx, "usr_ann")
	wantErr(t, "the key", user.ErrNotFound, err)
	must(t, replica.PutAuditKey(ctx, "usr_ann", []byte("new")))
	_, err = replica.AuditKey(ctx, "usr_ann")
	wantErr(t, "a new key", user.ErrNotFound, err)
	users, err := replica.Users(ctx, "", 10)
	same(t, "all", []user.User{}, users, err)
	wantErr(t, "enabling", user.ErrNotFound, s.SetDisabled(ctx, "usr_ann", false))
	wantErr(t, "a password", user.ErrNotFound, s.SetPassword(ctx, "usr_ann", "h"))
	wantErr(t, "a role", user.ErrNotFound, s.PutMember(ctx, "acme", "usr_ann", "member"))
	wantErr(t, "a grant", user.ErrNotFound, s.PutCode(ctx, aGrant("late"), aCode("late"), event("grant.create")))
	put(t, replica, of)
	found, err := replica.Attempts(ctx, attempt1.Filter{Limit: 10})
	if err != nil || len(found) != 1 || found[0].User != "" {
		t.Errorf("the attempts are %+v %v, want nobody's alone", found, err)
	}
	left, err := replica.Orphans(ctx, 10)
	same(t, "what is left to be revoked", []string{"g"}, left, err)

	again := user.User{ID: "usr_2", Email: "ann@acme.example", Name: "Ann", PasswordHash: "h", CreatedAt: now}
	must(t, s.CreateUser(ctx, again))
	byEmail, err := replica.UserByEmail(ctx, "ann@acme.example")
	same(t, "who has the address now", again, byEmail, err)

	// The id stays as long as a grant of theirs lives, or may have to be put on the list of revoked
	// grants once more.
	clear := func(at time.Time) {
		t.Helper()
		for _, j := range s.Jobs(job.Keeping{Audit: -1}) {
			if j.Name != "deleted-users" {
				continue
			}
			for next := "begin"; next != ""; {
				done, err := j.Batch(ctx, at, "")
				must(t, err)
				next = done.Next
			}
		}
	}
	clear(now.Add(48 * time.Hour))
	if _, err := replica.Grant(ctx, "g"); err != nil {
		t.Errorf("a grant that was never revoked: %v", err)
	}
	must(t, s.RevokeGrant(ctx, "g", now.Add(48*time.Hour), "r", event("grant.revoke")))
	clear(now.Add(71 * time.Hour))
	if _, err := replica.Grant(ctx, "g"); err != nil {
		t.Errorf("a grant that was revoked less than a day ago: %v", err)
	}
	clear(now.Add(73 * time.Hour))
	_, err = replica.Grant(ctx, "g")
	wantErr(t, "a grant that was revoked more than a day ago", grant.ErrNotFound, err)
	// nothing of the row is left
	must(t, s.CreateUser(ctx, user.User{ID: "usr_ann", Email: "late@acme.example", CreatedAt: now}))
	_, err = replica.User(ctx, "usr_2")
	must(t, err)
}
