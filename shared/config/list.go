package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// List splits a setting at commas and spaces.
func List(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// ThisMachine reports whether a URL's host is this machine, by a name for which plain http is
// allowed.
func ThisMachine(host string) bool {
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, host)
}

// Networks parses a list of networks and addresses, as in "10.0.0.0/8,192.0.2.7".
func Networks(s string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, word := range List(s) {
		if ip, err := netip.ParseAddr(word); err == nil {
			out = append(out, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(word)
		if err != nil {
			return nil, fmt.Errorf("%.80q is neither a network nor an address; give them as 10.0.0.0/8,192.0.2.7", word)
		}
		out = append(out, prefix)
	}
	return out, nil
}
