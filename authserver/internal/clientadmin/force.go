package clientadmin

import (
	"errors"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

// Force allows a change that leaves a tenant or the installation without an administrator, or a
// tenant's administrators without any scope to grant: for an account in the wrong hands. Operator
// only. The audit record says "(forced)".
type Force bool

// Detail returns the detail of the audit record, marked when forced.
func (f Force) Detail(detail string) string {
	if f {
		return strings.TrimSpace(detail + " (forced)")
	}
	return detail
}

// Users returns the store in which the change is made.
func (f Force) Users(s user.Store) user.Store {
	if f {
		return s.Forced()
	}
	return s
}

// ByForce ends the hint of a refusal that --force overrides.
const ByForce = "; or, when the account is in wrong hands, say --force"

// Overrules adds to a refusal that forcing would override how to force it. Other errors are
// returned unchanged.
func Overrules(err error) error {
	var refused *Refusal
	var locked *user.Lockout
	if errors.As(err, &refused) && errors.As(err, &locked) {
		refused.Hint += ByForce
	}
	return err
}
