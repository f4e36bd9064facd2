package guard

import (
	"slices"
	"strings"
	"unicode"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// find is the first rule that fits, or nil.
func (k *kind) find(name string) *Rule {
	if r := k.exact[name]; r != nil {
		return r
	}
	for _, p := range k.patterns {
		if fits(p.Name, name) {
			return p
		}
	}
	return nil
}

// fits says whether a pattern fits a name, exactly but for its stars.
func fits(pattern, name string) bool {
	first, rest, starred := strings.Cut(pattern, "*")
	if !starred {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	for _, part := range parts[:len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return strings.HasSuffix(name, parts[len(parts)-1])
}

// rule is the rule that speaks of a thing, however the server behind may read its name: what could
// be another thing there is named by none.
func (t *Table) rule(of, name string) *Rule {
	k := t.kinds[of]
	switch of {
	case KindResource:
		return k.addressed(name)
	case kindTemplate:
		return k.template(name)
	}
	r := k.find(name)
	switch {
	case r == nil:
		return nil
	case r.Name == name && !r.IsPattern():
		return r
	case of == KindTool && !message.IsName(name), of == KindPrompt && strings.TrimSpace(name) != name:
		// a server may trim
		return nil
	case k.before(r, name), strings.ContainsFunc(name, isUnseen), of == KindMethod && isDisguised(name):
		return nil
	}
	return r
}

// isUnseen says whether a character has no form of its own, so that a server may leave it out: a
// control or format character, or a blank other than a space.
func isUnseen(c rune) bool { return !unicode.IsPrint(c) }

// decidedMethods are the methods that are decided by what they name or open nothing by themselves,
// in small letters.
var decidedMethods = []string{
	"tools/call", "tools/list", "prompts/get", "prompts/list", "resources/read", "resources/list",
	"resources/templates/list", "resources/subscribe",
	"resources/unsubscribe", "completion/complete", "logging/setlevel", "subscriptions/listen", "initialize", "ping",
	"server/discover",
}

// isDisguised says whether a method is one of decidedMethods in other letters or with blanks at its
// ends.
func isDisguised(method string) bool {
	plain := fold(strings.TrimSpace(method))
	known := slices.Contains(decidedMethods, plain)
	return known && method != plain && method != "logging/setLevel"
}
