package cli_test

import (
	"strings"
	"testing"
)

// An operator says of which tool calls records are kept, and finds records by person and tool over
// all chains.
func TestTheCallsAtTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	done := func(want string, words ...string) {
		t.Helper()
		code, out, stderr := run(t, append(words, "--data-dir", dir)...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%v: exit code %d, want %q in\n%s%s", words, code, want, out, stderr)
		}
	}
	done("TENANT", "calls", "show")
	done("refused, or that change something", "calls", "set", "refusals_and_writes", "--tenant", "acme")
	done("refusals_and_writes", "calls", "show")
	done("calls.set", "audit", "list", "--tool", "acme")
	done("user.create", "audit", "list", "--user", "ann@acme.example")
	done("calls: 0 records", "audit", "verify")
	done("CALLS", "usage", "list", "--client", "cli_none")
	code, _, stderr := run(t, "calls", "set", "nothing", "--tenant", "acme", "--data-dir", dir)
	complaint(t, code, stderr, 1, `"nothing" cannot be kept`)
	code, _, stderr = run(t, "calls", "set", "all", "--data-dir", dir)
	complaint(t, code, stderr, 2, "--tenant is missing")
	code, _, stderr = run(t, "audit", "list", "--user", "nobody@acme.example", "--data-dir", dir)
	complaint(t, code, stderr, 1, "there is no user")
}
