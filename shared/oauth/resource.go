package oauth

import (
	"errors"
	"net/url"
	"strings"
)

// ErrNotAResource is the answer of ParseResource to a value that can be no resource identifier.
var ErrNotAResource = errors.New("not an absolute http(s) URI without fragment and userinfo")

// ParseIndicator reads what a client may name a resource by: a resource's own URI as ParseResource writes it, or any other absolute URI without fragment and
// userinfo, byte for byte (api://example). Only an operator's aliases are of the other kind.
func ParseIndicator(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.User != nil || len(s) == len(u.Scheme)+1 || strings.ContainsAny(s, "#\\ \t\r\n") {
		return "", ErrNotAResource
	}
	if scheme := strings.ToLower(u.Scheme); scheme == "https" || scheme == "http" {
		return ParseResource(s)
	}
	return s, nil
}

// ParseResource checks a resource indicator and gives it back in comparable form (RFC 8707 §2): scheme and host in lower
// case, and a path of "/" written as none, which RFC 3986 §6.2.3 calls the same. Nothing else is folded: "/mcp" is not "/mcp/".
func ParseResource(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || !u.IsAbs() || u.Host == "" || u.User != nil || strings.Contains(s, "#") || strings.ContainsAny(s, "\\ \t\r\n") {
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
