package roof_test

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/roof"
)

// TestOperatorsDay is a story: an empty house is furnished, once with a server running and once without.
func TestOperatorsDay(t *testing.T) {
	for _, form := range []string{"inside the running server", "on the stores themselves"} {
		t.Run(form, func(t *testing.T) {
			dir := t.TempDir()
			if form == "inside the running server" {
				serve(t, dir, "--demo=false")
			} else {
				do(t, dir, "", "up to date", "migrate")
				serve(t, dir, "--demo=false").stop() // who serves makes the keys
			}
			do(t, dir, "", "tenant acme", "tenant", "create", "--id", "acme", "--name", "Acme Corporation")
			do(t, dir, "", "Acme Corporation", "tenant", "list")
			do(t, dir, "", "role boss of acme", "role", "put", "--tenant", "acme", "--role", "boss", "--scopes", "customers:read", "--admin")
			do(t, dir, "", "role clerk of acme", "role", "put", "--tenant", "acme", "--role", "clerk", "--scopes", "customers:read,tickets:write")
			do(t, dir, "", "shown this once", "user", "create", "--email", "ann@acme.example", "--tenant", "acme", "--role", "clerk")
			do(t, dir, "correct horse battery staple\n", "user bob@acme.example", "user", "create", "--email", "bob@acme.example", "--password-stdin")
			do(t, dir, "", "is reader of acme", "member", "put", "--email", "bob@acme.example", "--tenant", "acme")
			do(t, dir, "", "ghs_", "client", "create", "--tenant", "acme", "--scopes", "customers:read", "--name", "nightly")
			do(t, dir, "", "client_id", "client", "create", "--public", "--require-pushed-requests", "--redirect-uri", "http://127.0.0.1/cb", "--redirect-uri", "https://app.example/cb")
			nightly := regexp.MustCompile(`cli_\S+`).FindString(do(t, dir, "", "nightly", "client", "list", "--tenant", "acme"))
			do(t, dir, "", "is gone", "client", "delete", nightly)
			do(t, dir, "", "ghi_", "initial-token", "create", "--tenant", "acme", "--uses", "3", "--life", "2h")
			do(t, dir, "", "STATE", "grant", "list", "--tenant", "acme")
			first := regexp.MustCompile(`(?m)^\S{43}`).FindString(do(t, dir, "", "signing", "keys", "list"))
			do(t, dir, "", "", "keys", "rotate", "--now")
			do(t, dir, "", "withdrawn", "keys", "withdraw", first)
			if keys := do(t, dir, "", "signing", "keys", "list"); strings.Contains(keys, first) {
				t.Errorf("the withdrawn key is still listed:\n%s", keys)
			}
			do(t, dir, "", "key.withdraw", "audit", "list")
		})
	}
}

// do runs a command that must succeed and say this.
func do(t *testing.T, dir, stdin, says string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	p := &roof.Program{Args: append(args, "--data-dir", dir), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs}
	if code := p.Run(context.Background()); code != 0 || !strings.Contains(out.String(), says) || errs.Len() > 0 {
		t.Fatalf("%v: exit code %d, want 0 and %q\n%s%s", args, code, says, &out, &errs)
	}
	return out.String()
}

func TestARefusedActIsOneLineAndAHint(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	code, _, stderr := run(t, "tenant", "create", "--id", "acme", "--data-dir", dir)
	complaint(t, code, stderr, 1, `there is a tenant "acme" already`)
	code, _, stderr = run(t, "keys", "withdraw", "-HKJLT-J0HGH7Zk7MMZBRt9G4yW_RP6JfD9kzMVaBLc", "--data-dir", dir) // a key id may begin with a hyphen
	complaint(t, code, stderr, 1, "there is no key")
	code, _, stderr = run(t, "grant", "end", "grt_nobody", "--data-dir", dir)
	complaint(t, code, stderr, 1, "there is no grant")
}
