package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// complete returns the words that are offered for the last of args.
func complete(t *testing.T, args ...string) string {
	t.Helper()
	code, out, _ := run(t, append([]string{"__complete"}, args...)...)
	if code != 0 {
		t.Fatal(args, code, out)
	}
	var words []string
	for line := range strings.Lines(out) {
		if word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); !strings.HasPrefix(word, ":") {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// The words that the shell is offered are those of the program.
func TestCompletion(t *testing.T) {
	for _, row := range []struct{ line, want string }{
		{"ten", "tenant"},
		{"tenant ", "create delete list rename resume show suspend"},
		{"rollout s", "set"},
		{"rollout set ", "enforce enforce_writes observe"},
		{"client create --redirect", "--redirect-uri"},
		{"serve --issuer-l", "--issuer-listen"},
		{"serve --log-level ", "debug error info warn"},
		{"nothing ", ""},
		{"grant revoke --data-dir=/nowhere/at/all ", ""}, // without a store there is nothing, and no error
	} {
		got := strings.Fields(complete(t, strings.Split(row.line, " ")...))
		slices.Sort(got)
		if strings.Join(got, " ") != row.want {
			t.Errorf("%q: got %q, want %q", row.line, got, row.want)
		}
	}
	for shell, want := range map[string]string{"bash": "complete -o default", "zsh": "#compdef gatehouse",
		"fish": "complete -c gatehouse"} {
		if code, out, _ := run(t, "completion", shell); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %s", shell, code, out)
		}
	}
	code, _, errs := run(t, "completion", "tcsh")
	complaint(t, code, errs, 2, `no command "completion tcsh"`)
}

// Ids and names are offered from the store, those of the tenant that is named.
func TestCompletionOfIDs(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir).stop()
	at := "--data-dir=" + dir
	for _, row := range [][2]string{
		{complete(t, "tenant", "suspend", at, ""), "acme globex"},
		{complete(t, "tenant", "suspend", at, "acme", ""), ""},
		{complete(t, "tenant", "suspend", at, "gl"), "globex"},
		{complete(t, "user", "list", at, "--tenant", ""), "acme globex"},
		{complete(t, "user", "disable", at, "ann"), "ann@acme.example"},
		{complete(t, "role", "delete", at, "--tenant", "acme", ""), "agent-admin reader"},
		{complete(t, "job", "run", at, "refresh"), "refresh-tokens"},
	} {
		if row[0] != row[1] {
			t.Errorf("got %q, want %q", row[0], row[1])
		}
	}
	if ids := complete(t, "client", "disable", at, ""); !strings.HasPrefix(ids, "cli_") {
		t.Errorf("clients: %q", ids)
	}
	if kids := complete(t, "key", "withdraw", at, ""); len(strings.Fields(kids)) < 2 {
		t.Errorf("keys: %q", kids)
	}
	if _, err := os.Stat(filepath.Join(dir, "nothing")); err == nil {
		t.Error("completing made a folder")
	}
}
