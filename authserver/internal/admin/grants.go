package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/registrar"
)

// ReasonOperator is why a grant ended when the operator gives no reason.
const ReasonOperator = "ended by the operator"

// ListGrants lists grants, newest first.
func (d *Door) ListGrants(ctx context.Context, f grant.Filter) ([]grant.Grant, error) {
	if f.After != "" {
		if _, err := d.Grants.Grant(ctx, f.After); err != nil {
			return nil, unknown(err, grant.ErrNotFound, "grant", f.After)
		}
	}
	return d.Grants.Grants(ctx, f)
}

// unknown turns a store's error about an id that was given into a refusal.
func unknown(err, notFound error, noun, id string) error {
	if !errors.Is(err, notFound) {
		return err
	}
	return &Refusal{Reason: fmt.Sprintf("there is no %s %.80q", noun, id), Hint: "gatehouse " + noun + " list shows them", Err: err}
}

// EndGrant ends a grant with everything that hangs from it. When it returns nil, no token of the grant works.
func (d *Door) EndGrant(ctx context.Context, id, reason string) error {
	reason, err := registrar.Name(reason, ReasonOperator)
	if err != nil {
		return err
	}
	if reason == grant.ReasonClient {
		return refuse("choose other words", "that is what stands there when a client ended its grant itself; a machine client could begin anew")
	}
	return d.later.Do(ctx, func(ctx context.Context) error {
		err := d.Ledger.End(ctx, actor(ctx), id, reason)
		if err != nil {
			return unknown(err, grant.ErrNotFound, "grant", id)
		}
		return nil
	})
}
