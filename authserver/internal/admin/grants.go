package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
)

// ReasonOperator is the default reason of a revocation by the operator.
const ReasonOperator = "revoked by the operator"

// GrantSelection selects grants to revoke: one by id, or all of a client, a person and a tenant;
// several conditions must all match.
type GrantSelection struct {
	ID       string
	ClientID string
	User     string // an id or an e-mail address
	TenantID string
	Reason   string // empty: ReasonOperator
}

// GrantsRevoked says how many grants were revoked.
type GrantsRevoked struct{ Revoked int }

// ListGrants lists grants, newest first. The person is named by id or e-mail address; a client,
// person or tenant that does not exist is an error.
func (d *API) ListGrants(ctx context.Context, f grant.Filter) ([]grant.Grant, error) {
	f, err := d.selected(ctx, f)
	if err != nil {
		return nil, err
	}
	if f.After != "" {
		if _, err := d.Grants.Grant(ctx, f.After); err != nil {
			return nil, unknown(err, grant.ErrNotFound, "grant", f.After)
		}
	}
	return d.Grants.Grants(ctx, f)
}

// unknown turns a store's not-found error about a given id into a Refusal.
func unknown(err, notFound error, noun, id string) error {
	if !errors.Is(err, notFound) {
		return err
	}
	return &Refusal{Reason: fmt.Sprintf("there is no %s %.80q", noun, id),
		Hint: "gatehouse " + noun + " list shows them", Err: err}
}

// RevokeGrants revokes grants with all their tokens. When it returns nil, no token of any of them
// works. It does not prevent new grants; what creates them must have been stopped before, as with
// DisableUser.
func (d *API) RevokeGrants(ctx context.Context, s GrantSelection) (done GrantsRevoked, err error) {
	all := s.ClientID != "" || s.User != "" || s.TenantID != ""
	switch {
	case s.ID != "" && all:
		return done,
			refuse("name either the one, or whose", "a grant was named, and a client, person or tenant beside it")
	case s.ID == "" && !all:
		return done, refuse("give its ID, or --client, --user or --tenant", "it is not said which grants")
	}
	reason, err := clientadmin.Name(s.Reason, ReasonOperator)
	if err != nil {
		return done, err
	}
	if slices.Contains([]string{grant.ReasonClient, grant.ReasonExpired, grant.ReasonReuse}, reason) {
		return done,
			refuse("choose other words",
				"that reason is one that the server gives itself and decides by: a client could begin again")
	}
	reason = d.withoutAddresses(ctx, reason)
	f, err := d.selected(ctx, grant.Filter{ClientID: s.ClientID, UserID: s.User, TenantID: s.TenantID})
	if err != nil {
		return done, err
	}
	err = d.later.Do(ctx, func(ctx context.Context) error {
		if s.ID != "" {
			if err := d.Ledger.Revoke(ctx, actor(ctx), s.ID, reason); err != nil {
				return unknown(err, grant.ErrNotFound, "grant", s.ID)
			}
			done.Revoked = 1
			return nil
		}
		done.Revoked, err = d.Ledger.RevokeAll(ctx, actor(ctx), f, reason)
		return err
	})
	return done, err
}

// selected returns the filter with the person's id, after checking that its client, person and
// tenant exist. A deleted client exists as long as it has grants.
func (d *API) selected(ctx context.Context, f grant.Filter) (grant.Filter, error) {
	if f.TenantID != "" {
		if _, err := d.tenant(ctx, f.TenantID); err != nil {
			return f, err
		}
	}
	if f.UserID != "" {
		u, err := d.user(ctx, f.UserID)
		if err != nil {
			return f, err
		}
		f.UserID = u.ID
	}
	if f.ClientID == "" {
		return f, nil
	}
	_, err := d.Clients.RegisteredClient(ctx, f.ClientID)
	if !errors.Is(err, client.ErrNotFound) {
		return f, err
	}
	of, err := d.Grants.Grants(ctx, grant.Filter{ClientID: f.ClientID, Limit: 1})
	if err == nil && len(of) == 0 {
		err = unknown(client.ErrNotFound, client.ErrNotFound, "client", f.ClientID)
	}
	return f, err
}
