package authserver_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// What is said on the command line is what counts, and what cannot be meant is refused by its name.
func TestLives(t *testing.T) {
	read := func(words ...string) (authserver.Config, error) {
		var c authserver.Config
		fs := pflag.NewFlagSet("t", pflag.ContinueOnError)
		fs.SetOutput(io.Discard)
		c.RegisterFlags(fs)
		return c, fs.Parse(words)
	}
	c, err := read("--authorization-code-lifetime", "30s", "--replay-window", "0", "--refresh-token-idle-timeout",
		"24h", "--max-clients", "7",
		"--key-rotation-interval", "0")
	if err != nil || c.AuthorizationCodeLifetime != 30*time.Second || c.ReplayWindow >= 0 ||
		c.KeyRotationInterval >= 0 ||
		c.RefreshTokenIdleTimeout != 24*time.Hour || c.RefreshTokenLifetime != 90*24*time.Hour || c.MaxClients != 7 {
		t.Errorf("got %+v %v", c, err)
	}
	if _, err := read("--replay-window", "-1s"); err == nil {
		t.Error("a window below nothing: got nil, want an error")
	}
	h := startServer(t)
	for want, change := range map[string]func(*authserver.Config){
		"authorization-code-lifetime": func(c *authserver.Config) { c.AuthorizationCodeLifetime = time.Hour },
		"session-lifetime":            func(c *authserver.Config) { c.SessionLifetime = time.Millisecond },
		"audit-retention":             func(c *authserver.Config) { c.AuditRetention = time.Hour },
		"key-rotation-interval":       func(c *authserver.Config) { c.KeyRotationInterval = time.Minute },
		"replay-window":               func(c *authserver.Config) { c.ReplayWindow = time.Hour },
		"refresh-token-idle-timeout":  func(c *authserver.Config) { c.RefreshTokenIdleTimeout = 100 * 24 * time.Hour },
		"client-idle-timeout":         func(c *authserver.Config) { c.ClientIdleTimeout = time.Hour },
		"max-clients":                 func(c *authserver.Config) { c.MaxClients = -1 },

		"authorizations-per-minute": func(c *authserver.Config) { c.AuthorizationsPerMinute = -1 },
		"introspections-per-minute": func(c *authserver.Config) { c.IntrospectionsPerMinute = -1 },
		"sign-ins-per-address":      func(c *authserver.Config) { c.SignInsPerAddress = -1 },
		"sign-ins-per-account":      func(c *authserver.Config) { c.SignInsPerAccount = -1 },

		"is the issuer":      func(c *authserver.Config) { c.Resources[0].URI = h.URL },
		"registration":       func(c *authserver.Config) { c.Registration = "ajar" },
		"lifetime 2h0m0s is": func(c *authserver.Config) { c.AccessTokenLifetime = 2 * time.Hour },
	} {
		c := h.config
		c.Resources = append([]authserver.Resource(nil), c.Resources...)
		change(&c)
		if s, err := authserver.New(context.Background(), c, authserver.Deps{}); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error that names it", want, err)
			if err == nil {
				s.Close()
			}
		}
	}
}
