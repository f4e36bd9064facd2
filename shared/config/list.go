package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// List splits a setting that holds several words, separated by commas or spaces.
func List(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// ThisMachine says whether a URL's host is this machine, under one of the names that plain http is
// allowed for: what goes there leaves for nowhere else.
func ThisMachine(host string) bool {
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, host)
}

// Networks reads a list of networks and single addresses, as in "10.0.0.0/8,192.0.2.7".
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
