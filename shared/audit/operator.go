package audit

import (
	"context"
	"regexp"
)

// Operator is the actor of an operator without a name. With one it is "operator:NAME", and
// "operator:NAME (USER)" when the stated name differs from that of the local user.
const Operator = "operator"

type operatorKey struct{}

var operatorName = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,62}[A-Za-z0-9])?$`)

// ValidOperator reports whether a name may stand for an operator: 1 to 64 letters, digits and . _ @
// + -, with a letter or digit at both ends.
func ValidOperator(name string) bool { return operatorName.MatchString(name) }

// WithOperator returns a context in which an operator acts: stated is the name that they gave,
// local that of the operating system's user. Either may be empty; invalid names are dropped.
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

// OperatorOf returns the actor of the operator in ctx.
func OperatorOf(ctx context.Context) string {
	if actor, ok := ctx.Value(operatorKey{}).(string); ok {
		return actor
	}
	return Operator
}
