package callerassertion_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/callerassertion"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

var ann = mcp.Caller{Subject: "usr_ann", TenantID: "acme", ClientID: "cli_1", GrantID: "grt_1",
	Scopes: []string{"read"}}

const secret = config.Secret("0123456789012345678901234567890123456789")

// A voucher says who calls, and is believed with the published key.
func TestSign(t *testing.T) {
	s := signer(t, "")
	now := time.Unix(1_700_000_000, 0)
	raw := s.Sign(ann, "https://gw.example/crm", "https://crm.internal/mcp", "req1", now)
	set, err := token.ParseKeySet(s.KeySet())
	must(t, err)
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	must(t, err)
	header := signed.Signatures[0].Header
	if header.ExtraHeaders["typ"] != callerassertion.Type {
		t.Errorf("typ is %v, want %s", header.ExtraHeaders["typ"], callerassertion.Type)
	}
	key, err := set.Key(context.Background(), header.KeyID)
	must(t, err)
	payload, err := signed.Verify(key.Key)
	must(t, err)
	var c callerassertion.Claims
	must(t, json.Unmarshal(payload, &c))
	if c.Issuer != "https://gw.example/crm" || c.Audience != "https://crm.internal/mcp" || c.Subject != "usr_ann" ||
		c.TenantID != "acme" || c.ClientID != "cli_1" ||
		c.GrantID != "grt_1" || !slices.Equal(c.Scope, []string{"read"}) || c.ID != "req1" ||
		c.Expires-c.IssuedAt != 60 || c.IssuedAt != now.Unix() {
		t.Errorf("it says %+v", c)
	}
}

// A voucher is no access token: anyone who believes the key for those, too, refuses it for its type
// (RFC 8725 §3.11).
func TestAVoucherIsNoAccessToken(t *testing.T) {
	s := signer(t, "")
	raw := s.Sign(ann, "https://gw.example/crm", "https://crm.internal/mcp", "req1", time.Now())
	set, err := token.ParseKeySet(s.KeySet())
	must(t, err)
	rules := token.Rules{Issuer: "https://gw.example/crm", Audience: "https://crm.internal/mcp",
		Algorithms: []string{"EdDSA"}, Now: time.Now}
	if _, err := rules.Verify(context.Background(), raw, set); err != token.ErrType {
		t.Errorf("got %v, want %v", err, token.ErrType)
	}
}

// Replicas that share the secret share the key; a short secret is none.
func TestReplicasShareTheKey(t *testing.T) {
	if a, b := signer(t, secret), signer(t, secret); string(a.KeySet()) != string(b.KeySet()) {
		t.Error("two signers of one secret have two keys")
	}
	if a, b := signer(t, ""), signer(t, secret); string(a.KeySet()) == string(b.KeySet()) {
		t.Error("a signer without a secret has the key of one")
	}
	if _, err := callerassertion.New("short"); err == nil {
		t.Error("a short secret is taken")
	}
}

func BenchmarkSign(b *testing.B) {
	s := signer(b, "")
	for b.Loop() {
		s.Sign(ann, "https://gw.example/crm", "https://crm.internal/mcp", "req1", time.Now())
	}
}

func signer(t testing.TB, secret config.Secret) *callerassertion.Signer {
	t.Helper()
	s, err := callerassertion.New(secret)
	must(t, err)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
