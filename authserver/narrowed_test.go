package authserver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
)

// What a tenant's policy takes away under a living grant is gone from the next token: at renewal,
// from a code of before, and at exchange. Nothing else changes.
func TestAPolicyNarrowedUnderALivingGrantHolds(t *testing.T) {
	h := startServer(t)
	a, ann := h.register(map[string]any{}), h.person("ann@acme.example")
	_, refresh := a.tokens(ann, "customers:read customers:write")
	code := a.code(ann, "customers:read customers:write")
	h.allows("acme", func(s *admin.PolicySpec) { s.Scopes = &[]string{"customers:read"} })
	for what, ask := range map[string]func() (int, map[string]any){
		"a renewal":        func() (int, map[string]any) { return a.token(refreshment(refresh)) },
		"a code of before": func() (int, map[string]any) { return a.token(redemption(code)) },
	} {
		status, answer := ask()
		if status != 200 {
			t.Errorf("%s: got %d %v, want a token", what, status, answer)
			continue
		}
		_, body := claims(t, answer["access_token"].(string))
		if got, _ := body["scope"].(string); got != "customers:read" || strings.Contains(got, "write") {
			t.Errorf("%s: the token has %q, want customers:read alone", what, got)
		}
	}
}

// So it is when a server exchanges a token of before for another server's.
func TestAPolicyNarrowedUnderALivingGrantHoldsAtExchange(t *testing.T) {
	h := startServer(t, withBilling, func(c *authserver.Config) {
		billing := &c.Resources[len(c.Resources)-1]
		billing.Scopes = append(billing.Scopes,
			authserver.Scope{Name: "customers:write", Description: "Change customers"})
	})
	c, secret, err := h.Server.Operator().CreateClient(t.Context(),
		admin.ClientSpec{Name: "server", Resource: resourceURI, Scopes: []string{"customers:read", "customers:write"}})
	must(t, err)
	server, a := app{h, c.ID, secret}, h.register(map[string]any{})
	access, _ := a.tokens(h.person("ann@acme.example"), "customers:read customers:write")
	scope := func() string {
		t.Helper()
		status, answer := server.token(exchanging(access, "resource", billingURI))
		if status != 200 {
			t.Fatalf("got %d %v, want a token", status, answer)
		}
		_, body := claims(t, answer["access_token"].(string))
		return body["scope"].(string)
	}
	if got := scope(); got != "customers:read customers:write" {
		t.Fatalf("before: the token has %q, want both", got)
	}
	h.allows("acme", func(s *admin.PolicySpec) { s.Scopes = &[]string{"customers:read"} })
	if got := scope(); got != "customers:read" {
		t.Errorf("afterwards: the token has %q, want customers:read alone", got)
	}
}

// The consent page says for how long a client can renew what it is allowed: as long as the issuer
// and the policy of the organisation let it.
func TestTheConsentPageSaysForHowLong(t *testing.T) {
	h := startServer(t)
	a, ann := h.register(map[string]any{}), h.person("ann@acme.example")
	at := ann.consentPage(a.authorization("customers:read"))
	if want := "Access lasts at most 90 days, and ends after 14 days without use."; !strings.Contains(at.body, want) {
		t.Errorf("got %.3000s\nwant %q", at.body, want)
	}
	h.allows("acme", func(s *admin.PolicySpec) { life := 24 * time.Hour; s.MaxRefreshTokenLifetime = &life })
	if at = ann.consentPage(a.authorization("customers:read")); !strings.Contains(at.body,
		"Access lasts at most 1 day. You can") {
		t.Errorf("under the policy: got %.3000s", at.body)
	}
}
