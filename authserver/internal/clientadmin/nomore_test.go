package clientadmin_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// Who administers a tenant gives programs nothing that they do not have themselves: not by a
// machine client, not by the secret of one that may do more, and not by an initial access token,
// also one that names no scope. acme may a and b; ann's role gives a.
func TestNobodyGivesProgramsMoreThanTheyHave(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{"sqlite": sqliteFile, "postgres": testenv.Postgres} {
		t.Run(name, func(t *testing.T) {
			r, store := openOn(t, database(t))
			givesNoMore(t, r, store)
		})
	}
}

func givesNoMore(t *testing.T, r *clientadmin.Admin, store *sqlstore.DB) {
	ann := clientadmin.Person("usr_ann", "acme")
	wider, _, err := r.Create(ctx, clientadmin.Operator,
		clientadmin.Spec{Name: "wider", Tenant: "acme", Scopes: []string{"a", "b"}})
	must(t, err)
	kept := func(f func() (int, error)) int { n, err := f(); must(t, err); return n }
	clients := func() (int, error) {
		all, err := store.Clients(ctx, client.Filter{TenantID: "acme", Limit: 100})
		return len(all), err
	}
	before := kept(clients)
	for what, act := range map[string]func() error{
		"a machine client": func() error {
			_, _, err := r.Create(ctx, ann, clientadmin.Spec{Tenant: "acme", Scopes: []string{"a", "b"}})
			return err
		},
		"an initial token": func() error {
			_, err := r.CreateInitialToken(ctx, ann,
				clientadmin.InitialTokenSpec{Tenant: "acme", Scopes: []string{"b"}})
			return err
		},
		"the secret of one that may do more": func() error {
			_, err := r.ReplaceSecret(ctx, ann, clientadmin.SecretReplacement{Client: wider.ID})
			return err
		},
	} {
		var refused *clientadmin.Refusal
		if err := act(); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "do not have themselves: b") {
			t.Errorf("%s: got %v, want it refused for b", what, err)
		}
	}
	if now := kept(clients); now != before {
		t.Errorf("%d clients were made", now-before)
	}
	if c, err := store.Client(ctx, wider.ID); err != nil || c.SecretHash != wider.SecretHash {
		t.Errorf("the secret was replaced: %v", err)
	}

	// A token that names no scope has hers, and not the policy's.
	token, err := r.CreateInitialToken(ctx, ann, clientadmin.InitialTokenSpec{Tenant: "acme"})
	must(t, err)
	if got := scopesOf(t, store, token); !slices.Equal(got, []string{"a"}) {
		t.Errorf("an initial token without scopes gives %v, want a", got)
	}
	// An application is bounded by the role of each who allows it.
	if _, _, err := r.Create(ctx, ann, clientadmin.Spec{Tenant: "acme", Scopes: []string{"a", "b"},
		RedirectURIs: []string{"https://app.example/cb"}}); err != nil {
		t.Errorf("an application: %v", err)
	}
	// What her role has by including another is hers, what the policy takes away is not.
	must(t, store.PutRole(ctx, user.Role{TenantID: "acme", Name: "more", Scopes: []string{"b"}}))
	must(t, store.PutRole(ctx, user.Role{TenantID: "acme", Name: "admin", Scopes: []string{"a"},
		Includes: []string{"more"}, Admin: true}))
	if _, err := r.ReplaceSecret(ctx, ann, clientadmin.SecretReplacement{Client: wider.ID}); err != nil {
		t.Errorf("with a role that includes b: %v", err)
	}
	must(t, store.PutPolicy(ctx, "acme", tenant.Policy{Scopes: []string{"a"}}))
	if _, err := r.ReplaceSecret(ctx, ann, clientadmin.SecretReplacement{Client: wider.ID}); err == nil {
		t.Error("a client that has b again when the policy does: its secret was replaced")
	}
	// The operator may all.
	if _, err = r.CreateInitialToken(ctx, clientadmin.Operator,
		clientadmin.InitialTokenSpec{Tenant: "acme"}); err != nil {
		t.Errorf("the operator's token: %v", err)
	}
	if _, err := r.ReplaceSecret(ctx, clientadmin.Operator,
		clientadmin.SecretReplacement{Client: wider.ID}); err != nil {
		t.Errorf("the operator replaces its secret: %v", err)
	}
}

// scopesOf is what an initial access token gives. It uses it up.
func scopesOf(t *testing.T, store *sqlstore.DB, token string) (scopes []string) {
	t.Helper()
	_, err := store.UseInitialToken(ctx, client.TokenHash(token), now,
		func(it client.InitialToken) (client.Client, audit.Event, error) {
			scopes = it.Scopes
			return client.Client{ID: client.NewID(), TenantID: it.TenantID, CreatedAt: now}, audit.Event{Time: now}, nil
		})
	must(t, err)
	return scopes
}
