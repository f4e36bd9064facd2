package oauth

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ErrNotAResource is the answer of ParseResource to a value that can be no resource identifier.
var ErrNotAResource = errors.New("not an absolute http(s) URI without fragment, userinfo and dot segments")

// ParseIndicator reads what a client may name a resource by: a resource's own URI as ParseResource
// writes it, or any other absolute URI without fragment and userinfo, byte for byte
// (api://example). Only an operator's aliases are of the other kind.
func ParseIndicator(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.User != nil || len(s) == len(u.Scheme)+1 ||
		strings.ContainsAny(s, "#\\ \t\r\n") {
		return "", ErrNotAResource
	}
	if scheme := strings.ToLower(u.Scheme); scheme == "https" || scheme == "http" {
		return ParseResource(s)
	}
	return s, nil
}

// ParseResource checks a resource indicator and gives it back in comparable form (RFC 8707 §2):
// scheme and host in lower case, and a path of "/" written as none, which RFC 3986 §6.2.3 calls the
// same. Nothing else is folded: "/mcp" is not "/mcp/". A host is in ASCII (xn-- for others).
func ParseResource(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || !u.IsAbs() || u.Host == "" || u.User != nil || strings.Contains(s, "#") ||
		strings.ContainsAny(s, "\\ \t\r\n") {
		return "", ErrNotAResource
	}
	if strings.ContainsFunc(u.Host, func(c rune) bool { return c > '~' || c == '%' }) {
		// a letter beyond ASCII may fold into one of ASCII, and so one host into another; a zone
		// names a place on one machine
		return "", ErrNotAResource
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme != "https" && scheme != "http" {
		return "", ErrNotAResource
	}
	path := u.EscapedPath()
	if path == "/" {
		path = ""
	}
	query := ""
	if u.RawQuery != "" || u.ForceQuery {
		query = "?" + u.RawQuery
	}
	return scheme + "://" + strings.ToLower(u.Host) + path + query, nil
}

// PlainResource checks the URI of a resource of ours and gives it back as every reader writes it:
// as ParseResource does, without the scheme's own port (RFC 3986 section 6.2.3) and without a dot
// at the host's end, which DNS takes for the same host. Dot segments are an error.
func PlainResource(s string) (string, error) {
	s, err := ParseResource(s)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", ErrNotAResource
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return "", ErrNotAResource
		}
	}
	origin, err := plainOrigin(u)
	if err != nil {
		return "", ErrNotAResource
	}
	return origin + strings.TrimPrefix(s, u.Scheme+"://"+u.Host), nil
}

// CheckPlain says what is wrong with an http(s) URL of ours, such as an issuer identifier, whose
// scheme and host others would write in another way: capitals, the scheme's own port, a dot at the
// host's end. The error names the plain form, where there is one. What stands after the host is not
// looked at.
func CheckPlain(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil {
		return errNotPlain
	}
	origin, err := plainOrigin(u)
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(s, "//")
	after := ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		after = rest[i:]
	}
	if plain := origin + after; plain != s {
		return fmt.Errorf("is not in its plain form; give it as %s", plain)
	}
	return nil
}

var errNotPlain = errors.New("is not an http(s) URL with a host in ASCII; give it as https://auth.example.com")

// plainOrigin is the scheme and host of an http(s) URL as every reader writes them: in small
// letters, without the scheme's own port (RFC 3986 section 6.2.3) and without a dot at the host's
// end, which DNS takes for the same host. The host is in ASCII (xn-- for others); an address is in
// its one form.
func plainOrigin(u *url.URL) (string, error) {
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	// A letter beyond ASCII may fold into one of ASCII, and so one host into another; a zone names
	// a place on one machine.
	if scheme != "https" && scheme != "http" ||
		strings.ContainsFunc(u.Host, func(c rune) bool { return c > '~' || c == '%' }) {
		return "", errNotPlain
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + a.String() + "]"
	} else if host = strings.TrimSuffix(host, "."); host == "" || strings.HasPrefix(host, ".") ||
		strings.HasSuffix(host, ".") || strings.Contains(host, ":") {
		return "", errNotPlain
	} else if last := host[strings.LastIndexByte(host, '.')+1:]; err != nil &&
		(strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x")) {
		return "", errNotPlain // some readers take it for an address
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return "", errNotPlain
		}
		if !(scheme == "https" && n == 443 || scheme == "http" && n == 80) {
			host += ":" + strconv.FormatUint(n, 10)
		}
	}
	return scheme + "://" + host, nil
}
