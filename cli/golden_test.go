package cli_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-mcp/gatehouse/cli"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden holds a text against the file of this name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s differs; if that is right: go test ./cli -run Golden -update\ngot:\n%s\nwant:\n%s", path,
			got, want)
	}
}

// The help of the program, of each noun and of each command is held.
func TestGoldenHelp(t *testing.T) {
	for _, words := range [][]string{{"--help"}, {"help"}, {}} {
		code, said, errs := run(t, words...)
		if code != 0 || errs != "" {
			t.Fatal(words, code, errs)
		}
		golden(t, "help/gatehouse.txt", said)
	}
	var walk func(cmd *cobra.Command, path ...string)
	walk = func(cmd *cobra.Command, path ...string) {
		for _, sub := range cmd.Commands() {
			words := append(slices.Clone(path), sub.Name())
			for _, args := range [][]string{append([]string{"help"}, words...), append(words, "-h")} {
				code, said, errs := run(t, args...)
				if code != 0 || errs != "" {
					t.Fatal(args, code, errs)
				}
				golden(t, "help/"+strings.Join(words, "-")+".txt", said)
			}
			if words[0] != "completion" {
				walk(sub, words...)
			}
		}
	}
	walk(cli.Root())
	code, said, errs := run(t, "settings")
	if code != 0 {
		t.Fatal(code, errs)
	}
	golden(t, "settings.txt", said)
}

// A noun by itself lists its commands; that is no error.
func TestANounListsItsCommands(t *testing.T) {
	_, help, _ := run(t, "tenant", "--help")
	if code, said, errs := run(t, "tenant"); code != 0 || errs != "" || said != help {
		t.Errorf("got %d\n%s%s, want\n%s", code, said, errs, help)
	}
}

// masked puts what is different at each run out of sight; its length stays, so that columns do.
func masked(text string) string {
	text = regexp.MustCompile(`\b(cli|grt|usr|ghs|ghi)_[A-Za-z0-9_-]+`).ReplaceAllStringFunc(text,
		func(id string) string { return id[:4] + strings.Repeat("x", len(id)-4) })
	text = regexp.MustCompile(`(?m)(^|[^A-Za-z0-9_-])[A-Za-z0-9_-]{43}`).ReplaceAllString(text,
		"${1}"+strings.Repeat("k", 43))
	text = regexp.MustCompile(`"sealed_under":"[^"]*"`).ReplaceAllString(text, `"sealed_under":"x"`)
	if local := regexp.MustCompile(`operator:[A-Za-z0-9._-]+`); local.MatchString(text) {
		// whose tests these are, and how wide that makes a column
		text = regexp.MustCompile(`(ACTOR|operator:\S+) +| {3,}`).ReplaceAllString(text, "$1  ")
		text = local.ReplaceAllString(text, "operator:user")
	}
	text = regexp.MustCompile(`"replica":"[^"]+"`).ReplaceAllString(text, `"replica":"x"`)
	return regexp.MustCompile(`"password":"[^"]*"`).ReplaceAllString(text, `"password":"x"`)
}

// What commands answer is held, for people in a terminal of 100 characters and for programs.
func TestGoldenAnswers(t *testing.T) {
	dir := t.TempDir()
	now := func() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }
	say := func(name string, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		p := &cli.Program{Args: append(args, "--data-dir", dir), Stdout: &out, Stderr: &errs, Now: now, Width: 100}
		if code := p.Run(context.Background()); code != 0 {
			t.Fatal(args, code, errs.String())
		}
		if name != "" {
			golden(t, "answers/"+name, masked(out.String()))
		}
		return out.String()
	}
	say("migrate.txt", "migrate")
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	made := &cli.Program{ // who serves makes the keys
		Args: []string{"serve", "--data-dir", dir, "--issuer-listen", "127.0.0.1:0", "--resource-listen", "127.0.0.1:0",
			"--demo=false"}, Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}, Now: now,
		Ready: func(cli.Addresses) { stop() },
	}
	if code := made.Run(ctx); code != 0 {
		t.Fatal(code)
	}
	say("tenant-create.txt", "tenant", "create", "--id", "acme", "--name", "Acme Corporation")
	say("tenant-create.json", "tenant", "create", "--id", "globex", "--json")
	say("role-put.txt", "role", "put", "--tenant", "acme", "--role", "clerk", "--scopes",
		"customers:read,tickets:write")
	say("user-create.json", "user", "create", "--email", "ann@acme.example", "--tenant", "acme", "--role",
		"agent-admin", "--json")
	say("member-put.json", "member", "put", "--email", "ann@acme.example", "--tenant", "globex", "--json")
	client := regexp.MustCompile(`cli_[^"]+`).FindString(say("client-create.json", "client", "create", "--tenant",
		"acme", "--name", "nightly", "--scopes", "customers:read", "--json"))
	say("client-replace-secret.json", "client", "replace-secret", client, "--json")
	say("rollout-set.txt", "rollout", "set", "observe", "--tenant", "acme")
	for _, list := range []string{"tenant list", "client list", "grant list", "key list", "usage list",
		"rollout report", "audit list --action tenant", "issuer list", "explain --tenant acme --client " + client} {
		words := strings.Fields(list)
		name := strings.Join(words[:min(2, len(words))], "-")
		if words[0] == "explain" {
			name = "explain"
		}
		say(name+".txt", words...)
		say(name+".json", append(words, "--json")...)
	}
	say("job-list.txt", "job", "list")
	say("job-run.txt", "job", "run", "codes")
	say("job-run.json", "job", "run", "codes", "--json")
	say("job-list.json", "job", "list", "--json")
	say("client-delete.json", "client", "delete", client, "--json")
	desired := filepath.Join(t.TempDir(), "organisation.yaml")
	must(t, os.WriteFile(desired, []byte(organisation(t)), 0o600))
	for _, row := range [][]string{{"apply-dry-run.txt", "--dry-run"}, {"apply-dry-run.json", "--dry-run", "--json"},
		{"apply.json", "--json"}, {"apply-again.txt"}, {"apply-again.json", "--json"}} {
		say(row[0], append([]string{"apply", "-f", desired}, row[1:]...)...)
	}
	must(t, os.WriteFile(desired,
		[]byte(strings.NewReplacer("nightly", "weekly", "5m", "10m", "[customers:read, notes:read]",
			"[notes:read]").Replace(organisation(t))), 0o600))
	say("apply.txt", "apply", "-f", desired)
}
