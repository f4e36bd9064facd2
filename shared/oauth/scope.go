package oauth

import (
	"fmt"
	"slices"
	"strings"
)

// MaxScopes bounds the scopes of one request: as many as all resources of an installation may have.
const MaxScopes = 5000

// ParseScope splits a scope parameter into its tokens, in order, without repeats (RFC 6749 §3.3).
// Tokens are separated by single spaces; a character outside %x21 / %x23-5B / %x5D-7E, or more than
// MaxScopes tokens, is an error. Empty in, nil out.
func ParseScope(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	var scopes []string
	seen := map[string]bool{}
	for token := range strings.SplitSeq(s, " ") {
		if token == "" {
			continue
		}
		for i := range len(token) {
			if c := token[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
				return nil, fmt.Errorf("scope token %d holds a character that RFC 6749 does not allow", len(scopes)+1)
			}
		}
		if !seen[token] {
			seen[token] = true
			scopes = append(scopes, token)
		}
		if len(scopes) > MaxScopes {
			return nil, fmt.Errorf("more than %d scopes", MaxScopes)
		}
	}
	return scopes, nil
}

// FormatScope joins scopes into a scope parameter (RFC 6749 §3.3).
func FormatScope(scopes []string) string { return strings.Join(scopes, " ") }

// Intersect returns the scopes of a that are in every one of the others, in a's order. Matching is
// exact.
func Intersect(a []string, others ...[]string) []string {
	out := make([]string, 0, len(a))
	for _, s := range a {
		if !slices.ContainsFunc(others, func(o []string) bool { return !slices.Contains(o, s) }) {
			out = append(out, s)
		}
	}
	return out
}

// Subset reports whether every scope of a is in b. Matching is exact.
func Subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}
