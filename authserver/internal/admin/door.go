// Package admin owns the operator's door: what an operator may do to tenants, people, clients, grants and keys.
//
// Check and audit are one act: the line is written first, and an act whose line cannot be written does not happen. So a line may stand
// for an act that then did not succeed, and no act stands without its line.
package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trust"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// Log is the record of acts, which the operator may also read.
type Log interface {
	audit.Log
	// Events returns the newest lines first, at most limit.
	Events(ctx context.Context, limit int) ([]audit.Event, error)
}

// Door is the operator's door. It is safe for concurrent use.
type Door struct {
	Tenants   tenant.Store
	Users     user.Store
	Clients   client.Store
	Trust     trust.Store
	Grants    grant.Store
	Audit     Log
	Ledger    *grant.Ledger
	Keys      *keyring.Ring
	Resources []issuer.Resource // their scopes are the ones that there are
	Now       func() time.Time
	// More are acts of others that come through this door too, under one roof: those of the MCP server. One of ours goes before one of the same name.
	More map[string]Act
}

// actor is who stands in the lines that this door writes.
const actor = "operator"

// Refusal is an act that cannot be done as it was asked for. The operator reads both sentences.
type Refusal struct {
	Reason string // what is wrong
	Hint   string // what to do about it; may be empty
	Err    error  // the sentinel behind it, if there is one
}

func (r *Refusal) Error() string { return r.Reason }

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(hint, format string, a ...any) *Refusal {
	return &Refusal{Reason: fmt.Sprintf(format, a...), Hint: hint}
}

// record writes the line of an act. Only when it returns nil may the act happen.
func (d *Door) record(ctx context.Context, e audit.Event) error {
	e.Time, e.Actor = d.now(), actor
	if err := d.Audit.Record(ctx, e); err != nil {
		return fmt.Errorf("writing the audit line of %s: %w", e.Action, err)
	}
	return nil
}

func (d *Door) now() time.Time { return d.Now().UTC().Truncate(time.Second) }

// tenant returns a tenant that must be there.
func (d *Door) tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	if id == "" {
		return tenant.Tenant{}, refuse("name it with --tenant", "no tenant is named")
	}
	t, err := d.Tenants.Tenant(ctx, id)
	if errors.Is(err, tenant.ErrNotFound) {
		return tenant.Tenant{}, &Refusal{Reason: fmt.Sprintf("there is no tenant %q", id), Hint: "gatehouse tenant list shows them", Err: err}
	}
	if err != nil {
		return tenant.Tenant{}, fmt.Errorf("reading tenant %s: %w", id, err)
	}
	return t, nil
}

// scopes returns the names of all scopes of all resources, each once, and those of them that are a resource's baseline.
func (d *Door) scopes() (all, baseline []string) {
	for _, r := range d.Resources {
		for _, s := range r.Scopes {
			if !slices.Contains(all, s.Name) {
				all = append(all, s.Name)
				if s.Baseline {
					baseline = append(baseline, s.Name)
				}
			}
		}
	}
	return all, baseline
}

// within checks that every scope is one of those allowed, and gives them back each once.
func within(scopes, allowed []string, whose string) ([]string, error) {
	var out []string
	for _, s := range scopes {
		if !slices.Contains(allowed, s) {
			return nil, refuse(whose+" may have: "+strings.Join(allowed, " "), "scope %q is not one that %s may have", s, whose)
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}

// maxName bounds names that people read, in characters.
const maxName = 100

// name checks a name that people will read; empty means otherwise.
func name(s, otherwise string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		s = otherwise
	}
	bad := strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) })
	if bad || !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxName {
		return "", refuse(fmt.Sprintf("use at most %d visible characters", maxName), "the name cannot be shown to people as it is")
	}
	return s, nil
}

// Events returns the newest audit lines first, at most limit; 0 means 100.
func (d *Door) Events(ctx context.Context, limit int) ([]audit.Event, error) {
	if limit <= 0 {
		limit = 100
	}
	return d.Audit.Events(ctx, limit)
}
