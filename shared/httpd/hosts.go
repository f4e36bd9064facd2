package httpd

import (
	"net"
	"net/url"
	"strings"
)

// Hosts are the values of the Host header that a server answers to. A page that lets its own name
// lead to the server's address (DNS rebinding) has a Host of its own, and with that the browser
// takes the server's answers for the page's.
type Hosts map[string]bool

// HostsOf are those of a URL: its host and, on a loopback host, the other names of that, which
// nobody can make lead elsewhere.
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

// NewHosts are the hosts of these names, each with its port if that is not the scheme's own.
func NewHosts(names ...string) Hosts {
	h := Hosts{}
	for _, name := range names {
		h[plainHost(name)] = true
	}
	return h
}

// Has says whether a Host header is one of these: in any case, the default port of http or https
// said or not.
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
