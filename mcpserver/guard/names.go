package guard

import (
	"slices"
	"strings"
	"unicode"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// find returns the first rule that matches, or nil.
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

// fits reports whether a pattern matches a name, in which "*" stands for any characters.
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

// rule returns the rule of a name, or nil. A name that the server could take for another one, which
// another rule names, has none.
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
		// a server may trim names
		return nil
	case k.before(r, name), strings.ContainsFunc(name, isUnseen), of == KindMethod && isDisguised(name):
		return nil
	}
	return r
}

// isUnseen reports whether a character is invisible, so that a server may ignore it: a control or
// format character, or a blank other than a space.
func isUnseen(c rune) bool { return !unicode.IsPrint(c) }

// decidedMethods are the methods that are decided by what they name, or need no rule, in lower
// case.
var decidedMethods = []string{
	"tools/call", "tools/list", "prompts/get", "prompts/list", "resources/read", "resources/list",
	"resources/templates/list", "resources/subscribe",
	"resources/unsubscribe", "completion/complete", "logging/setlevel", "subscriptions/listen", "initialize", "ping",
	"server/discover",
}

// isDisguised reports whether a method is one of decidedMethods in another case or with blanks.
func isDisguised(method string) bool {
	plain := fold(strings.TrimSpace(method))
	known := slices.Contains(decidedMethods, plain)
	return known && method != plain && method != "logging/setLevel"
}
