package cli_test

import (
	"database/sql"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

var headOf = regexp.MustCompile(`(?m)^issuer: .*\n(?:  \d+ lines.*\n)?  head (\d+:[0-9a-f]{64})$`)

// An operator looks at who did what, proves it, notes the head, and finds what somebody did to the
// database.
func TestTheAuditAtTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	audit := func(words ...string) (int, string, string) {
		t.Helper()
		return run(t, append(append([]string{"audit"}, words...), "--data-dir", dir)...)
	}
	done := func(words ...string) string {
		t.Helper()
		code, out, stderr := run(t, append(words, "--data-dir", dir)...)
		if code != 0 {
			t.Fatalf("%v: exit code %d\n%s%s", words, code, out, stderr)
		}
		return out
	}
	done("tenant", "create", "--id", "initech", "--name", "Initech")
	done("rollout", "set", "observe", "--tenant", "initech")
	if code, _, _ := run(t, "client", "create", "--tenant", "initech", "--scopes", "no:such", "--data-dir",
		dir); code == 0 {
		t.Fatal("a scope that is none: exit code 0")
	}
	out := done("audit", "list", "--tenant", "initech")
	for _, want := range []string{"tenant.create", "rollout.set", "role.put"} {
		if !strings.Contains(out, want) {
			t.Errorf("no line of %s:\n%s", want, out)
		}
	}
	if out = done("audit", "list", "--outcome", "refused", "--since", "1h", "--actor", "operator"); strings.Count(out,
		"\n") != 2 || !strings.Contains(out, "client.create") || !strings.Contains(out, "no:such") {
		t.Errorf("what the operator was refused:\n%s", out)
	}
	if out = done("audit", "list", "--action", "tenant", "--until", "2020-01-01"); strings.Count(out, "\n") != 1 {
		t.Errorf("before there was anything:\n%s", out)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		out = done("audit", "verify")
		if !strings.Contains(out, "no place") && strings.Contains(out, "tools: 1 records") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not sealed:\n%s", out)
		}
	}
	if out := done("audit", "list", "--tenant", "initech"); !strings.Contains(out, "issuer ") ||
		!strings.Contains(out, "tools 1 ") {
		t.Errorf("the list does not tell the records' numbers:\n%s", out)
	}
	head := headOf.FindStringSubmatch(out)
	if head == nil {
		t.Fatalf("no head in:\n%s", out)
	}
	done("user", "create", "--email", "ann@initech.example", "--name", "Ann")
	s.stop()
	out = done("audit", "verify", "--head", head[1])
	if later := headOf.FindStringSubmatch(out); later == nil || later[1] == head[1] {
		t.Errorf("the same head after another act:\n%s", out)
	}

	code, _, stderr := audit("verify", "--head", "12")
	complaint(t, code, stderr, 2, "a head is a number")
	code, _, stderr = audit("list", "--since", "yesterday")
	complaint(t, code, stderr, 2, "neither a duration")
	code, _, stderr = audit("list", "--outcome", "good")
	complaint(t, code, stderr, 2, "there is no outcome")

	tamper := func(file, statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, file))
		must(t, err)
		defer db.Close()
		_, err = db.Exec(statement)
		must(t, err)
	}
	tamper("companion.db", "UPDATE companion_records SET actor = 'user:usr_ann'")
	code, out, stderr = audit("verify")
	complaint(t, code, stderr, 1, "not as they were sealed")
	if !strings.Contains(out, "tools: BROKEN (changed, at ") || strings.Contains(out, "issuer: BROKEN") {
		t.Errorf("what was found:\n%s", out)
	}
	tamper("gatehouse.db", "DELETE FROM audit_records WHERE action = 'tenant.create'")
	code, out, stderr = audit("verify")
	complaint(t, code, stderr, 1, "not as they were sealed")
	if !strings.Contains(out, "issuer: BROKEN (removed, at ") || !strings.Contains(out, "missing") {
		t.Errorf("what was found:\n%s", out)
	}
}
