package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/registrar"
)

// ReasonOperator is why a grant ended when the operator gives no reason.
const ReasonOperator = "ended by the operator"

// ListGrants lists grants, newest first.
func (d *Door) ListGrants(ctx context.Context, f grant.Filter) ([]grant.Grant, error) {
	return d.Grants.Grants(ctx, f)
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
		err := d.Ledger.End(ctx, actor, id, reason)
		if errors.Is(err, grant.ErrNotFound) {
			return &Refusal{Reason: fmt.Sprintf("there is no grant %.80q", id), Hint: "gatehouse grant list shows them", Err: err}
		}
		return err
	})
}

// SigningKeys lists the keys that are not withdrawn, by algorithm and generation.
func (d *Door) SigningKeys(ctx context.Context) ([]keyring.Info, error) {
	if err := d.Keys.Reload(ctx); err != nil {
		return nil, err
	}
	return d.Keys.Keys(), nil
}

// RotateKey makes the next key of an algorithm; empty means the one in use, if there is only one. It signs after keyring.PublishLead; or, soon, after some seconds.
func (d *Door) RotateKey(ctx context.Context, algorithm string, soon bool) (kid string, err error) {
	var used []string
	for _, r := range d.Resources {
		if !slices.Contains(used, r.Algorithm) {
			used = append(used, r.Algorithm)
		}
	}
	if algorithm == "" && len(used) == 1 {
		algorithm = used[0]
	}
	if !slices.Contains(used, issuer.DefaultIDTokenAlg) { // id tokens are signed with it, whatever the resources use
		used = append(used, issuer.DefaultIDTokenAlg)
	}
	if !slices.Contains(used, algorithm) {
		return "", refuse("name one with --algorithm; in use: "+strings.Join(used, " "), "nothing is signed with the algorithm %.80q here", algorithm)
	}
	return d.Keys.Rotate(ctx, actor, algorithm, soon) // the key and its line are kept in one transaction
}

// WithdrawKey takes a key out of use and out of the key set at once: every token that it signed is worth nothing as soon as a resource reads the key set anew.
func (d *Door) WithdrawKey(ctx context.Context, kid string) error {
	err := d.Keys.Withdraw(ctx, actor, kid)
	if errors.Is(err, keyring.ErrNotFound) {
		return &Refusal{Reason: fmt.Sprintf("there is no key %.80q", kid), Hint: "gatehouse keys list shows them", Err: err}
	}
	return err
}
