package config_test

import (
	"fmt"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

func TestNetworks(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"", "[]"},
		{"10.0.0.0/8,192.0.2.7", "[10.0.0.0/8 192.0.2.7/32]"},
		{"::1 fd00::/8", "[::1/128 fd00::/8]"},
		{"example.com", `"example.com" is neither a network nor an address; give them as 10.0.0.0/8,192.0.2.7`},
		{"10.0.0.0/99", `"10.0.0.0/99" is neither a network nor an address; give them as 10.0.0.0/8,192.0.2.7`},
	} {
		networks, err := config.Networks(row.in)
		got := fmt.Sprint(networks)
		if err != nil {
			got = err.Error()
		}
		if got != row.want {
			t.Errorf("Networks(%q): got %s, want %s", row.in, got, row.want)
		}
	}
}
