package oauth

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ErrNotAResource is the error of ParseResource.
var ErrNotAResource = errors.New("not an absolute http(s) URI without fragment, userinfo and dot segments")

// ParseIndicator parses a resource parameter: a resource's URI, normalized by ParseResource, or any
// other absolute URI without fragment and userinfo, byte for byte (api://example), as operators'
// aliases are.
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

// ParseResource checks a resource indicator and normalizes it for comparison (RFC 8707 §2): scheme
// and host in lower case, and a path of "/" removed (RFC 3986 §6.2.3). Nothing else is changed:
// "/mcp" is not "/mcp/". The host must be ASCII (xn-- for others).
func ParseResource(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || !u.IsAbs() || u.Host == "" || u.User != nil || strings.Contains(s, "#") ||
		strings.ContainsAny(s, "\\ \t\r\n") {
		return "", ErrNotAResource
	}
	if strings.ContainsFunc(u.Host, func(c rune) bool { return c > '~' || c == '%' }) {
		// a non-ASCII letter may fold into an ASCII one, and so one host into another; a zone is
		// local to one machine
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

// PlainResource checks the URI of a configured resource and returns its one form: as ParseResource
// does, without the default port (RFC 3986 §6.2.3) and without a dot at the host's end, which DNS
// ignores. Dot segments are an error.
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

// CheckPlain returns an error for a configured http(s) URL whose scheme and host could be written
// in another way: capitals, the default port, a dot at the host's end. The error names the plain
// form, if there is one. The path is not checked.
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

// plainOrigin returns the scheme and host of an http(s) URL in their one form: lower case, without
// the default port (RFC 3986 §6.2.3) and without a dot at the host's end. The host must be ASCII
// (xn-- for others); an IP address is in its canonical form.
func plainOrigin(u *url.URL) (string, error) {
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	// A non-ASCII letter may fold into an ASCII one, and so one host into another; a zone is local
	// to one machine.
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
