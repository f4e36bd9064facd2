package client

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MaxRedirectURIs and MaxURI bound what a client may register.
const (
	MaxRedirectURIs = 20
	MaxURI          = 2048 // bytes
)

// appSchemes are private-use schemes without a dot that known applications use. All others must be
// a reverse domain name (RFC 8252 §7.1), which no handler of web sites, files or commands uses.
var appSchemes = []string{
	"aider", "amp", "antigravity", "chatgpt", "claude", "claude-cli", "claude-code", "claude-desktop", "cline",
	"code-oss", "codex", "continue", "copilot", "cursor", "cursor-nightly", "devin",
	"gemini", "goose", "insomnia", "jan", "jetbrains", "kiro", "librechat", "lmstudio", "mcp", "mcp-inspector", "msty",
	"opencode", "perplexity", "postman", "raycast", "roo", "trae", "trae-cn",
	"void", "vscode", "vscode-insiders", "vscodium", "warp", "windsurf", "windsurf-insiders", "windsurf-next", "zed",
	"zed-preview",
}

// inner finds a URL of another scheme inside a private-use URI: the application, or the handler of
// the scheme, might open it.
var inner = regexp.MustCompile(
	`(?i)[a-z][a-z0-9+.-]*:[/\\]|(^|[/\\?&=;,` +
		`])(about|blob|data|file|ftp|https?|javascript|mailto|vbscript|view-source):`)

// refusedSchemes run or read something when opened, or cannot belong to an application. A
// registration that names one is rejected whole.
var refusedSchemes = []string{
	"about", "afp", "applescript", "blob", "chrome", "chrome-extension", "content", "data", "dav", "file", "filesystem",
	"ftp", "ftps", "git", "gopher", "help", "intent",
	"itms-services", "jar", "javascript", "ldap", "ldaps", "livescript", "mailto", "mocha", "moz-extension", "nfs",
	"resource", "sftp", "shell", "smb",
	"sms", "ssh", "tel", "telnet", "vbscript", "view-source", "ws", "wss",
}

// refusedPrefixes are families of such schemes of one operating system.
var refusedPrefixes = []string{"firefox", "git+", "googlechrome", "http+", "https+", "microsoft-edge", "ms-",
	"opera-http", "search", "svn", "x-apple", "x-man-page", "x-web-search"}

// refusedHere says whether a scheme is one of these.
func refusedHere(scheme string) bool {
	return slices.Contains(refusedSchemes, scheme) ||
		slices.ContainsFunc(refusedPrefixes, func(p string) bool { return strings.HasPrefix(scheme, p) })
}

// checkPort says what is wrong with the port of a host, which may have none: it is a number up to
// 65535, written in one way.
func checkPort(port string) error {
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535 || port[0] == '0' ||
		port[0] == '+') {
		return fmt.Errorf("its port is no number between 1 and 65535")
	}
	return nil
}

// checkPrivate says what is wrong with a URI of a private-use scheme, if anything (RFC 8252 §7.1).
func checkPrivate(u *url.URL, uri string) error {
	switch {
	case refusedHere(u.Scheme) || !privateScheme.MatchString(u.Scheme):
		return fmt.Errorf("its scheme is not allowed")
	case !strings.Contains(u.Scheme, ".") && !slices.Contains(appSchemes, u.Scheme):
		return fmt.Errorf("its scheme is not one of an application that is known here: use a reverse domain name, as " +
			"in com.example.app:/callback (RFC 8252 section 7.1)")
	case len(uri) == len(u.Scheme)+1:
		return fmt.Errorf("nothing follows its scheme")
	}
	rest := uri[len(u.Scheme)+1:]
	for range 3 { // some handlers decode repeatedly
		if inner.MatchString(rest) {
			return fmt.Errorf("it holds an address of another scheme")
		}
		plain, err := url.PathUnescape(rest)
		if err != nil {
			return fmt.Errorf("it is not correctly encoded")
		}
		if rest == plain {
			break
		}
		rest = plain
	}
	if strings.HasSuffix(u.Host, ":") {
		return fmt.Errorf("its port is missing after the colon")
	}
	return checkPort(u.Port())
}

// plainHost matches a host that browsers and people read in one way: nothing encoded, ASCII only.
var plainHost = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

// answers are the parameters of an authorization response. A redirect URI that has one could be
// mistaken for a response.
var answers = []string{"code", "state", "iss", "error", "error_description", "error_uri", "access_token", "id_token"}

var privateScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)

// CheckRedirectURI returns what is wrong with a redirect URI (RFC 6749 §3.1.2, RFC 8252 §7, RFC
// 9700 §2.1). It must be https, http on a loopback host, or of a private-use scheme; absolute,
// without fragment and userinfo, and unambiguous for every parser. It is checked at registration
// and at each use.
func CheckRedirectURI(uri string) error {
	if len(uri) > MaxURI {
		return fmt.Errorf("it is longer than %d bytes", MaxURI)
	}
	for i := range len(uri) {
		if c := uri[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"<>\^`+"`{|}*", c) >= 0 {
			return fmt.Errorf("character %d is not allowed in a URI here", i+1)
		}
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" {
		return fmt.Errorf("it is not an absolute URI")
	}
	if strings.Contains(uri, "#") {
		return fmt.Errorf("it has a fragment")
	}
	if u.User != nil {
		return fmt.Errorf("it has a user part")
	}
	if !strings.HasPrefix(uri, u.Scheme+":") {
		return fmt.Errorf("its scheme is not in lower case")
	}
	for name := range u.Query() {
		if slices.Contains(answers, name) {
			return fmt.Errorf("its query has a parameter of the answer")
		}
	}
	if authority, ok := strings.CutPrefix(uri, u.Scheme+"://"); ok && (u.Scheme == "https" || u.Scheme == "http") {
		if end := strings.IndexAny(authority, "/?"); end >= 0 {
			authority = authority[:end]
		}
		if !plainHost.MatchString(authority) {
			return fmt.Errorf("its host is not written plainly: use letters, digits, dots and hyphens, and xn-- " +
				"for others")
		}
	}
	switch {
	case u.Scheme == "https":
		if u.Hostname() == "" || u.Opaque != "" {
			return fmt.Errorf("it names no host")
		}
	case u.Scheme == "http":
		if !isLoopback(u.Hostname()) || u.Opaque != "" {
			return fmt.Errorf("http is allowed for 127.0.0.1, [::1] and localhost only; use https")
		}
	default:
		return checkPrivate(u, uri)
	}
	return checkPort(u.Port())
}

// The exceptions from exact matching that editors and command-line clients need. Each is for http
// on a loopback host only: whatever listens there is on the person's own machine.
const (
	// RFC 8252 §8.3 recommends the IP address, but clients register the name
	RelaxedLocalhostPort = "another port of localhost"
	RelaxedLoopbackSlash = "a loopback redirect's lone slash"  // http://127.0.0.1:1234 for http://127.0.0.1/
	RelaxedLoopbackHost  = "another name of the loopback host" // registered as 127.0.0.1, sent as localhost
)

// MatchRedirectURI reports whether a response may be sent to requested, and which exception that
// took. Strings are compared exactly (OAuth 2.1 §2.3.1); the standard's one exception is the port
// of an http URI on the same loopback address (RFC 8252 §7.3), which native apps choose at start.
func MatchRedirectURI(registered []string, requested string) (relaxed string, ok bool) {
	if CheckRedirectURI(requested) != nil {
		return "", false
	}
	if slices.Contains(registered, requested) {
		return "", true
	}
	host, rest, ok := loopbackParts(requested)
	if !ok {
		return "", false
	}
	found := false
	for _, uri := range registered {
		h, r, ok := loopbackParts(uri)
		if !ok || r != rest && !(lone(r) && lone(rest)) {
			continue
		}
		needed := ""
		switch {
		case h != host:
			needed = RelaxedLoopbackHost
		case r != rest:
			needed = RelaxedLoopbackSlash
		case h == "localhost":
			needed = RelaxedLocalhostPort
		}
		if needed == "" {
			return "", true
		}
		if !found || needed != RelaxedLoopbackHost {
			found, relaxed = true, needed
		}
	}
	return relaxed, found
}

// lone reports whether the part after the host is empty or one slash, which are equivalent (RFC
// 3986 §6.2.3).
func lone(rest string) bool { return rest == "" || rest == "/" }

// LoopbackOnly reports whether every redirect URI is on the person's own machine, where any program
// can impersonate the client.
func (c Client) LoopbackOnly() bool {
	return len(c.RedirectURIs) > 0 && !slices.ContainsFunc(c.RedirectURIs, func(uri string) bool {
		_, _, ok := loopbackParts(uri)
		return !ok
	})
}

// loopbackParts splits an http loopback URI into its host and what follows the port, byte for byte.
func loopbackParts(uri string) (host, rest string, ok bool) {
	after, ok := strings.CutPrefix(uri, "http://")
	if !ok {
		return "", "", false
	}
	for _, h := range []string{"127.0.0.1", "[::1]", "localhost"} {
		tail, found := strings.CutPrefix(after, h)
		if !found {
			continue
		}
		if port, cut := strings.CutPrefix(tail, ":"); cut {
			digits := strings.TrimLeft(port, "0123456789")
			if len(port) == len(digits) || len(port)-len(digits) > 5 {
				return "", "", false
			}
			tail = digits
		}
		if tail == "" || tail[0] == '/' || tail[0] == '?' {
			return h, tail, true
		}
	}
	return "", "", false
}

func isLoopback(host string) bool { return host == "127.0.0.1" || host == "::1" || host == "localhost" }
