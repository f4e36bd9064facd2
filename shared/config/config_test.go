package config_test

import (
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

func TestNearest(t *testing.T) {
	known := []string{"issuer", "issuer-listen", "resource", "redis"}
	for word, want := range map[string]string{"isuer": "issuer", "issuer_listen": "issuer-listen", "reddis": "redis",
		"": "redis"} {
		if got := config.Nearest(word, known); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}
