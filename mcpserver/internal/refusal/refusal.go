// Package refusal lets a handler behind the guard report why it refused a call that the guard's
// rules allowed.
package refusal

import "context"

type key struct{}

// WithReason returns a context in which Set writes to reason.
func WithReason(ctx context.Context, reason *string) context.Context {
	return context.WithValue(ctx, key{}, reason)
}

// Set reports why a call is refused, in a word or two. It does nothing outside a guard.
func Set(ctx context.Context, reason string) {
	if r, ok := ctx.Value(key{}).(*string); ok {
		*r = reason
	}
}
