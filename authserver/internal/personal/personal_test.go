package personal_test

import (
	"context"
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/personal"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// secret is an issuer's own secret.
type secret string

func (s secret) HasSecret() bool { return s != "" }

func (s secret) Derive(purpose, salt string) []byte {
	sum := sha256.Sum256([]byte(string(s) + purpose + salt))
	return sum[:]
}

// people keeps keys as a database does.
type people map[string][]byte

func (p people) AuditKey(_ context.Context, id string) ([]byte, error) {
	key, ok := p[id]
	if !ok {
		return nil, user.ErrNotFound
	}
	return key, nil
}

func (p people) PutAuditKey(_ context.Context, id string, wrapped []byte) error {
	if key, ok := p[id]; ok && len(key) == 0 {
		p[id] = wrapped
	}
	return nil
}

func TestWhatIsSaidOfAPersonEndsWithTheirKey(t *testing.T) {
	ctx, store, v := t.Context(), people{"usr_anna0000x": nil, "usr_bob": nil}, personal.Vault{Secrets: secret("s")}
	seal := func(id, text string) string {
		t.Helper()
		s, err := v.Seal(ctx, store, id, text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	anns, again, bobs := seal("usr_anna0000x", "ann@acme.example"), seal("usr_anna0000x", "ann@acme.example"),
		seal("usr_bob", "bob@globex.example")
	if anns == again || strings.Contains(anns, "ann") ||
		!regexp.MustCompile(`^sealed\([\w-]{50,120}\)$`).MatchString(anns) {
		t.Errorf("it is sealed as %s and %s", anns, again)
	}
	read := func(v personal.Vault, target, actor, detail string) string {
		t.Helper()
		records := []audit.Record{{Event: audit.Event{Target: target, Actor: actor, Detail: detail}}}
		if err := v.Open(ctx, store, records); err != nil {
			t.Fatal(err)
		}
		return records[0].Actor + " " + records[0].Detail
	}
	altered := strings.Replace(anns, anns[20:24], "AAAA", 1)
	for _, row := range []struct {
		what                        string
		v                           personal.Vault
		target, actor, detail, want string
	}{
		{"hers", v, "usr_anna0000x", "operator", anns + " (forced)", "operator ann@acme.example (forced)"},
		{"in both columns", v, "usr_anna0000x", "address:" + anns, again, "address:ann@acme.example ann@acme.example"},
		{"another's in her record", v, "usr_anna0000x", "x", bobs, "x " + bobs},
		{"altered", v, "usr_anna0000x", "x", altered, "x " + altered},
		{"of no person", v, "cli_anna", "x", anns, "x " + anns},
		{"said by somebody", v, "usr_anna0000x", "x", "sealed(abc) sealed()", "x sealed(abc) sealed()"},
		{"another secret", personal.Vault{Secrets: secret("other")}, "usr_anna0000x", "x", anns, "x " + anns},
		{"no secret", personal.Vault{Secrets: secret("")}, "usr_anna0000x", "x", anns, "x " + anns},
	} {
		if got := read(row.v, row.target, row.actor, row.detail); got != row.want {
			t.Errorf("%s: got %q, want %q", row.what, got, row.want)
		}
	}
	if _, err := (personal.Vault{Secrets: secret("")}).Seal(ctx, store, "usr_bob", "x"); err == nil {
		t.Error("sealed without a secret")
	}
	delete(store, "usr_anna0000x")
	if got := read(v, "usr_anna0000x", "address:"+again, anns); got != "address:deleted user anna0000… deleted user "+
		"anna0000…" {
		t.Errorf("after the end of the key: got %q", got)
	}
	if got := seal("usr_anna0000x", "late"); got != "deleted user anna0000…" {
		t.Errorf("what comes after the end: got %q", got)
	}
}
