package httpd

import (
	"net"
	"net/url"
	"strings"
)

// Hosts are the accepted values of the Host header. With DNS rebinding, a page's own host name
// resolves to this server, and the browser treats the server's responses as the page's; the Host
// header shows it.
type Hosts map[string]bool

// HostsOf returns those of a URL: its host and, for a loopback host, the other loopback names.
func HostsOf(u *url.URL) Hosts {
	switch u.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		port := u.Port()
		if port != "" {
			port = ":" + port
		}
		return NewHosts("localhost"+port, "127.0.0.1"+port, "[::1]"+port)
	}
	return NewHosts(u.Host)
}

// NewHosts returns the hosts of these names, each with its port unless it is the default.
func NewHosts(names ...string) Hosts {
	h := Hosts{}
	for _, name := range names {
		h[plainHost(name)] = true
	}
	return h
}

// Has reports whether a Host header is one of these, case-insensitively, with the default port
// optional.
func (h Hosts) Has(host string) bool { return h[host] || h[plainHost(host)] }

func plainHost(host string) string {
	host = strings.ToLower(host)
	if name, port, err := net.SplitHostPort(host); err == nil && (port == "443" || port == "80") {
		host = name
		if strings.Contains(name, ":") {
			host = "[" + name + "]"
		}
	}
	return host
}
