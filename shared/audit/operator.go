package audit

import (
	"context"
	"regexp"
)

// Operator is the actor of an operator who has no name here. One who has is "operator:NAME", and
// one whose name was stated and differs from that of the local user is "operator:NAME (USER)".
const Operator = "operator"

type operatorKey struct{}

var operatorName = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,62}[A-Za-z0-9])?$`)

// ValidOperator says whether a name may stand for an operator: 1 to 64 letters, digits and . _ @ +
// -, with a letter or digit at both ends.
func ValidOperator(name string) bool { return operatorName.MatchString(name) }

// WithOperator is a context in which an operator acts: stated is the name that they gave, local
// that of the user as the operating system knows it. Either may be empty; a name that is not valid
// is left out.
func WithOperator(ctx context.Context, stated, local string) context.Context {
	if !ValidOperator(stated) {
		stated = ""
	}
	if !ValidOperator(local) {
		local = ""
	}
	actor := Operator
	switch {
	case stated == "" && local != "":
		actor += ":" + local
	case stated != "":
		actor += ":" + stated
		if local != "" && local != stated {
			actor += " (" + local + ")"
		}
	}
	return context.WithValue(ctx, operatorKey{}, actor)
}

// OperatorOf is the actor of the operator who acts in a context.
func OperatorOf(ctx context.Context) string {
	if actor, ok := ctx.Value(operatorKey{}).(string); ok {
		return actor
	}
	return Operator
}
