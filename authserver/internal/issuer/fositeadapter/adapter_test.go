package fositeadapter_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer/fositeadapter"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

const redirectURI = "https://app.example/callback"

var verifier = strings.Repeat("v", 43)

// request is one that fosite accepts for every grant type, changed as a test needs.
func request(change ...func(*fositeadapter.Request)) fositeadapter.Request {
	sum := sha256.Sum256([]byte(verifier))
	r := fositeadapter.Request{
		GrantID: "grt_1", ClientID: "cli_1", RefreshToken: true, RedirectURI: redirectURI,
		Challenge: base64.RawURLEncoding.EncodeToString(sum[:]), Resource: "https://mcp.example/mcp",
		Offered: []string{"notes:read", "notes:write"}, Scopes: []string{"notes:read"},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func adapter() *fositeadapter.Adapter {
	return fositeadapter.New("https://issuer.example", func(uri string) bool { return uri == redirectURI })
}

// code is the error code of an *oauth.Error; empty for none.
func code(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var refused *oauth.Error
	if !errors.As(err, &refused) {
		t.Fatalf("got the internal error %v", err)
	}
	return refused.Code
}

func TestCodesNeedTheirVerifierAndRedirectURI(t *testing.T) {
	for _, row := range []struct{ name, redirectURI, verifier, want string }{
		{"as it was asked for", redirectURI, verifier, ""},
		{"no verifier", redirectURI, "", "invalid_grant"},
		{"another verifier", redirectURI, strings.Repeat("w", 43), "invalid_grant"},
		{"a short verifier", redirectURI, "v", "invalid_grant"},
		{"another redirect URI", "https://app.example/other", verifier, "invalid_grant"},
	} {
		refresh, err := adapter().Code(t.Context(), request(), row.redirectURI, row.verifier)
		if got := code(t, err); got != row.want || refresh != (row.want == "") {
			t.Errorf("%s: got %q, refresh token %t; want %q", row.name, got, refresh, row.want)
		}
	}
	without := request(func(r *fositeadapter.Request) { r.RefreshToken = false })
	if refresh, err := adapter().Code(t.Context(), without, redirectURI, verifier); refresh || err != nil {
		t.Errorf("a client without refresh_token: got refresh token %t, %v", refresh, err)
	}
	bare := request(func(r *fositeadapter.Request) { r.Challenge = "" })
	if _, err := adapter().Code(t.Context(), bare, redirectURI, ""); code(t, err) == "" {
		t.Error("a code without a challenge was accepted")
	}
}

func TestScopesAndClientsAreChecked(t *testing.T) {
	beyond := request(func(r *fositeadapter.Request) { r.Scopes = []string{"notes:delete"} })
	for name, err := range map[string]error{
		"authorize":   adapter().Authorize(t.Context(), beyond),
		"refresh":     adapter().Refresh(t.Context(), beyond),
		"credentials": adapter().Credentials(t.Context(), beyond),
	} {
		if got := code(t, err); got != "invalid_scope" {
			t.Errorf("%s with a scope that is not offered: got %q, want invalid_scope", name, got)
		}
	}
	for name, err := range map[string]error{
		"authorize":   adapter().Authorize(t.Context(), request()),
		"refresh":     adapter().Refresh(t.Context(), request()),
		"credentials": adapter().Credentials(t.Context(), request()),
	} {
		if err != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
	public := request(func(r *fositeadapter.Request) { r.Public = true })
	if got := code(t, adapter().Credentials(t.Context(), public)); got != "invalid_grant" {
		t.Errorf("a public client for itself: got %q, want invalid_grant", got)
	}
	insecure := request(func(r *fositeadapter.Request) { r.RedirectURI = "http://app.example/callback" })
	if got := code(t, adapter().Authorize(t.Context(), insecure)); got != "invalid_request" {
		t.Errorf("an insecure redirect URI: got %q, want invalid_request", got)
	}
	bare := request(func(r *fositeadapter.Request) { r.Challenge = "" })
	if got := code(t, adapter().Authorize(t.Context(), bare)); got != "invalid_request" {
		t.Errorf("no challenge: got %q, want invalid_request", got)
	}
}
