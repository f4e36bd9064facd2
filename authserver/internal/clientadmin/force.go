package clientadmin

import (
	"errors"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

// Force says that a change happens although nobody is left then who administers a tenant or the
// installation, or none of a tenant's administrators could allow an agent anything. It is the
// operator's alone, for an account that is in wrong hands. The audit says "(forced)".
type Force bool

// Detail is the detail of the audit line of a change, with the word for one that is forced.
func (f Force) Detail(detail string) string {
	if f {
		return strings.TrimSpace(detail + " (forced)")
	}
	return detail
}

// Users is the store that the change is made in.
func (f Force) Users(s user.Store) user.Store {
	if f {
		return s.Forced()
	}
	return s
}

// ByForce is the last words of the hint of a refusal that --force overrules.
const ByForce = "; or, when the account is in wrong hands, say --force"

// Overrules lets a refusal that forcing would overrule name --force. Other errors it gives back as
// they are.
func Overrules(err error) error {
	var refused *Refusal
	var locked *user.Lockout
	if errors.As(err, &refused) && errors.As(err, &locked) {
		refused.Hint += ByForce
	}
	return err
}
