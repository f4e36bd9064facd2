package guard

import (
	"strconv"
	"strings"
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

// rule is the rule that speaks of a thing, however the server behind may read its name: what could be another thing there is named by none.
func (t *Table) rule(of, name string) *Rule {
	k := t.kinds[of]
	r := k.find(name)
	switch {
	case r == nil:
		return nil
	case of == KindResource:
		return k.read(name, r)
	case r.Name == name && !r.IsPattern():
		return r
	case of == KindTool && !isName(name), of == KindPrompt && strings.TrimSpace(name) != name, k.folded[strings.ToLower(name)] && !k.names[name]: // a server may trim, or fold
		return nil
	}
	return r
}

// mostDecodings is how often a URI may be written in percent signs: each reader on its way may take them away once.
const mostDecodings = 3

// read is the rule of a URI, if it is the rule of each URI that a server could make of it, too.
func (k *kind) read(uri string, r *Rule) *Rule {
	for range mostDecodings {
		if !isPlain(uri) {
			return nil
		}
		next := decoded(uri)
		if next == uri {
			return r
		}
		if k.find(next) != r {
			return nil
		}
		uri = next
	}
	return nil
}

// decoded takes the percent signs away once (RFC 3986 §2.1); what is none stays.
func decoded(uri string) string {
	if strings.IndexByte(uri, '%') < 0 {
		return uri
	}
	b := make([]byte, 0, len(uri))
	for i := 0; i < len(uri); i++ {
		if uri[i] == '%' && i+2 < len(uri) {
			if c, err := strconv.ParseUint(uri[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, uri[i])
	}
	return string(b)
}

// isPlain says whether a URI is the one that a server makes of it: one that it would resolve to another (dot segments, backslashes, control characters, a scheme or a
// host in capitals) could fit one rule here and be another thing there.
func isPlain(uri string) bool {
	if strings.ContainsFunc(uri, func(c rune) bool { return c == '\\' || c < ' ' || c == 0x7f }) {
		return false
	}
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		scheme, rest = "", uri
	}
	if strings.ToLower(scheme) != scheme {
		return false
	}
	switch scheme { // whose hosts are one in capitals or not (URL Standard, "special scheme")
	case "http", "https", "ws", "wss", "ftp", "file":
		host, _, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "/")
		if strings.ToLower(host) != host {
			return false
		}
	}
	for segment := range strings.FieldsFuncSeq(rest, func(c rune) bool { return c == '/' || c == '?' || c == '#' }) {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
