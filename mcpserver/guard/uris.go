package guard

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxDecodings is how often a URI may be percent-encoded: each component on its way may decode it
// once.
const maxDecodings = 3

// addressed returns the rule of a resource URI. A rule without "*" matches the exact URI. One with
// "*" matches a URI only if that and all its variants match the same rule first.
func (k *kind) addressed(uri string) *Rule { return k.starred(uri, uri) }

// template returns the rule of a URI template (RFC 6570), by an expansion of it.
func (k *kind) template(template string) *Rule { return k.starred(template, expanded(template)) }

// starred returns the rule of a name, whose variants are those of uri.
func (k *kind) starred(name, uri string) *Rule {
	r := k.find(name)
	if r == nil || !r.IsPattern() {
		return r
	}
	if !isPlain(uri, r.Name) || k.drives && strings.HasPrefix(uri, "file:") && !hasDrive(uri) {
		return nil
	}
	own := k.reading(r.Name)
	for range maxDecodings {
		if !fits(own, k.reading(uri)) {
			return nil
		}
		for _, reading := range readings(uri, r.Name) {
			if k.before(r, reading) {
				return nil
			}
		}
		next := decoded(uri)
		if next == uri {
			return r
		}
		if !isClear(next) {
			return nil
		}
		uri = next
	}
	return nil
}

// before reports whether an exact rule, or one before r, matches a variant of the name in another
// case or decoded. The names of rules are normalized in the same way.
func (k *kind) before(r *Rule, name string) bool {
	name = k.reading(name)
	if k.single[name] {
		return true
	}
	for i, p := range k.patterns {
		if p == r {
			return false
		}
		if fits(k.lower[i], name) {
			return true
		}
	}
	return false
}

// reading normalizes a name: it folds the case, and decodes a URI.
func (k *kind) reading(name string) string {
	if !k.encoded {
		return fold(name)
	}
	for range maxDecodings {
		next := decoded(name)
		if next == name {
			break
		}
		name = next
	}
	return lenient(fold(name))
}

func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// lenient normalizes a URI for readers that only regard its scheme and its segments: any number of
// slashes after the scheme, blanks before the first segment, any Unicode normal form (UAX #15), "+"
// for a blank, and dots and blanks at the end of a segment.
func lenient(uri string) string {
	scheme, rest, ok := strings.Cut(fold(norm.NFKC.String(uri)), ":")
	if !ok {
		return scheme
	}
	segments := strings.Split(strings.TrimLeft(strings.ReplaceAll(rest, "+", " "), "/ "), "/")
	for i, s := range segments {
		segments[i] = strings.TrimRight(s, ". ")
	}
	return scheme + ":" + strings.Join(segments, "/")
}

// readings returns a URI and the variants that a server may take it for: without the fragment;
// without the query and path parameters, and with TLS, unless the rule names them; with and without
// a slash at the end; without a file's stream and drive, and a port without a meaning.
func readings(uri, rule string) []string {
	all := []string{uri}
	without := func(f func(string) string) {
		for _, s := range all {
			if shorter := f(s); shorter != s {
				all = append(all, shorter)
			}
		}
	}
	scheme, _, _ := strings.Cut(uri, ":")
	if (scheme == "http" || scheme == "ws") && !strings.HasPrefix(rule, scheme+":") {
		all = append(all, scheme+"s"+uri[len(scheme):]) // the server may redirect to TLS
	}
	without(func(s string) string { s, _, _ = strings.Cut(s, "#"); return s })
	if scheme == "file" || !strings.Contains(rule, "?") {
		without(func(s string) string { s, _, _ = strings.Cut(s, "?"); return s })
	} else {
		without(func(s string) string { return strings.TrimSuffix(s, "?") })
	}
	if !strings.Contains(rule, ";") {
		without(func(s string) string { return inSegments(s, ";") })
	}
	if scheme == "file" {
		without(func(s string) string { return inSegments(s, ":") })
		without(withoutDrive)
	} else if !isSpecial(scheme) {
		without(withoutPort)
	}
	without(func(s string) string { return strings.TrimSuffix(s, "/") })
	for _, s := range all {
		if !strings.HasSuffix(s, "/") {
			all = append(all, s+"/")
		}
	}
	return all
}

// inSegments cuts each segment off at the mark, except in the scheme and a drive.
func inSegments(uri, mark string) string {
	scheme, rest, _ := strings.Cut(uri, ":")
	segments := strings.Split(rest, "/")
	for i, s := range segments {
		if !isDrive(s) {
			segments[i], _, _ = strings.Cut(s, mark)
		}
	}
	return scheme + ":" + strings.Join(segments, "/")
}

// isDrive reports whether a segment is a Windows drive.
func isDrive(s string) bool {
	return len(s) == 2 && s[1] == ':' && (s[0]|0x20 >= 'a' && s[0]|0x20 <= 'z')
}

func hasDrive(uri string) bool { return withoutDrive(uri) != uri }

// withoutDrive removes the drive of a file URI.
func withoutDrive(uri string) string {
	const before = "file:///"
	if path, ok := strings.CutPrefix(decoded(uri), before); ok {
		if drive, rest, _ := strings.Cut(path, "/"); isDrive(drive) {
			return before + rest
		}
	}
	return uri
}

// withoutPort removes the port of a URI whose scheme gives ports no meaning.
func withoutPort(uri string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return uri
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, port, _ := cutPort(rest[:end])
	if port == "" || !isDigits(port) {
		return uri
	}
	return scheme + "://" + host + rest[end:]
}

// isSpecial reports whether a scheme is special (WHATWG URL): "file", or one with a default port.
func isSpecial(scheme string) bool { return scheme == "file" || defaultPorts[scheme] != "" }

var defaultPorts = map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}

// isPlain reports whether all parsers read a URI in the same way; see Rules.Tools. pattern is the
// name of the rule.
func isPlain(uri, pattern string) bool {
	scheme, rest, ok := strings.Cut(uri, ":")
	hidden := func(c rune) bool { return !unicode.IsPrint(c) }
	if !ok || !isScheme(scheme) || !isClear(uri) || strings.ContainsFunc(uri, hidden) {
		return false
	}
	rest, slashes := strings.CutPrefix(rest, "//")
	authority := ""
	if slashes {
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		authority = rest[:end]
		rest = rest[end:]
	} else if inner, _, _ := strings.Cut(rest, ":"); isSpecial(strings.ToLower(strings.TrimLeft(inner, " /"))) {
		return false // some readers remove an outer scheme
	}
	if strings.ContainsFunc(authority, func(c rune) bool { return c <= ' ' || c > '~' || c == '@' }) {
		return false
	}
	host, port, ported := cutPort(authority)
	if ported && (port == "" || port[0] == '0' && isDigits(port)) || strings.HasSuffix(host, ".") {
		return false
	}
	if !isSpecial(scheme) {
		return true
	}
	encoded := func(c rune) bool { return c > '~' || strings.ContainsRune(" \"'<>^`{}|", c) }
	if !slashes || !strings.HasPrefix(rest, "/") || strings.ContainsFunc(rest, encoded) {
		return false
	}
	if scheme == "file" {
		return authority == "" // many readers look at the path alone
	}
	if n, err := strconv.ParseUint(port, 10, 16); ported && (err != nil || n == 0 || port == defaultPorts[scheme]) {
		return false
	}
	return isHost(host, strings.HasPrefix(pattern, scheme+"://"+authority+"/"))
}

// isClear reports whether no reader trims a URI, decoded or not, or resolves it to another one, in
// any Unicode normal form.
func isClear(uri string) bool {
	return isClearly(uri) && (norm.NFKC.IsNormalString(uri) || isClearly(norm.NFKC.String(uri)))
}

func isClearly(uri string) bool {
	// some file systems ignore format characters
	bad := func(c rune) bool { return c == '\\' || unicode.IsControl(c) || unicode.Is(unicode.Cf, c) }
	if !utf8.ValidString(uri) || strings.TrimSpace(uri) != uri || strings.ContainsFunc(uri, bad) ||
		strings.Contains(uri, "%u") || strings.Contains(uri, "%U") {
		return false // %u0041 is decoded by some
	}
	scheme, rest, _ := strings.Cut(uri, ":")
	for segment := range strings.FieldsFuncSeq(rest, func(c rune) bool { return c == '/' || c == '?' || c == '#' }) {
		if segment == "." || segment == ".." || scheme == "file" &&
			(strings.TrimRight(segment, ". ") != segment || isShort(segment)) {
			return false // Windows removes dots and blanks at the end of a name
		}
	}
	path := rest
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		path = rest[:i]
	}
	path = strings.TrimPrefix(path, "//")
	if scheme == "file" {
		path = strings.TrimPrefix(path, "/")
		first, _, _ := strings.Cut(path, "/")
		relative := len(first) > 2 && isDrive(first[:2]) // to the current folder of the drive
		return !relative && !(len(first) > 1 && first[1] == '|') && !strings.HasPrefix(path, "/") &&
			!strings.HasPrefix(path, "~") && !strings.Contains(path, "//")
	}
	_, path, _ = strings.Cut(path, "/") // after the host
	return !strings.HasPrefix(path, "/") && !strings.Contains(path, "//")
}

// isShort reports whether a file name may be the Windows short name of another: at most eight
// characters that end with a tilde and digits, and an extension of at most three.
func isShort(name string) bool {
	base, extension, _ := strings.Cut(name, ".")
	head, number, ok := strings.Cut(base, "~")
	return ok && head != "" && number != "" && isDigits(number) && len(base) <= 8 && len(extension) <= 3
}

// isScheme reports whether s is a scheme in lower case (RFC 3986 section 3.1). One letter is a
// Windows drive, and some readers ignore "url:" before a URL.
func isScheme(s string) bool {
	if len(s) < 2 || s == "url" || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.'
	})
}

// cutPort splits an authority without userinfo.
func cutPort(authority string) (host, port string, ok bool) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") {
		return authority, "", false
	}
	return authority[:i], authority[i+1:], true
}

func isDigits(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < '0' || c > '9' })
}

// isHost reports whether the host of a special scheme is in normal form: a name in lower case
// without a final dot, or an address. A name with xn-- is accepted only if the rule names it,
// because its form cannot be checked without Unicode's tables.
func isHost(host string, named bool) bool {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return ok && err == nil && a.Is6() && !a.Is4In6() && a.Zone() == "" && a.String() == inner
	}
	if host == "" {
		return false
	}
	labels := strings.Split(host, ".")
	other := func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' }
	for _, label := range labels {
		if label == "" || label[0] == '-' || strings.HasPrefix(label, "xn--") && !named ||
			strings.ContainsFunc(label, other) {
			return false
		}
	}
	if last := labels[len(labels)-1]; isDigits(last) || strings.HasPrefix(last, "0x") {
		a, err := netip.ParseAddr(host)
		return err == nil && a.Is4() && a.String() == host
	}
	return true
}

// expanded returns an expansion of a URI template (RFC 6570 section 3.2).
func expanded(template string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(template, "{")
		expression, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return b.String() + template
		}
		b.WriteString(before)
		switch {
		case expression == "":
		case strings.IndexByte("/.;#", expression[0]) >= 0:
			b.WriteString(expression[:1] + "x")
		case expression[0] == '?' || expression[0] == '&':
			b.WriteString(expression[:1] + "x=x")
		default:
			b.WriteString("x")
		}
		template = after
	}
}

// decoded decodes the percent-encoding once (RFC 3986 section 2.1), as far as it is valid.
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
