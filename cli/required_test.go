package cli_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/cli"
)

// Of each command that requires flags, the words with all of them; the next test leaves each out.
var whole = map[string][]string{
	"apply":                {"--file=organisation.yaml"},
	"tenant create":        {"--id=acme"},
	"tenant rename":        {"acme", "--name=Acme"},
	"policy set":           {"--tenant=acme"},
	"role put":             {"--tenant=acme", "--role=clerk", "--scopes=customers:read"},
	"role list":            {"--tenant=acme"},
	"role delete":          {"clerk", "--tenant=acme"},
	"resource put":         {"https://notes.example.com/mcp", "--scope=notes:read=Read"},
	"user create":          {"--email=ann@acme.example"},
	"member put":           {"--email=ann@acme.example", "--tenant=acme"},
	"member list":          {"--tenant=acme"},
	"member remove":        {"--email=ann@acme.example", "--tenant=acme"},
	"client create":        {"--tenant=acme", "--scopes=customers:read"},
	"initial-token create": {"--tenant=acme"},
	"issuer trust": {"https://login.acme.example", "--tenant=acme",
		"--jwks-uri=https://login.acme.example/keys"},
	"rollout set": {"observe", "--tenant=acme"},
	"explain":     {"--client=cli_1"},
	"calls set":   {"all", "--tenant=acme"},
}

// A command whose operand or required flag is left out, or has no value, does nothing: it is a
// usage error that names what is missing. Nothing is opened for that.
func TestAMissingRequiredFlagIsAUsageError(t *testing.T) {
	names, commands := cli.Commands()
	for _, name := range names {
		words, required := whole[name], false
		commands[name].Flags().VisitAll(func(f *pflag.Flag) {
			required = required || strings.Contains(f.Usage, "(required")
		})
		if required != (words != nil) {
			t.Errorf("%s: this test has not the flags that it requires", name)
			continue
		}
		if operand := cli.OperandOf(commands[name]); operand != "" && operand[0] != '[' {
			flags := slices.DeleteFunc(slices.Clone(words),
				func(word string) bool { return !strings.HasPrefix(word, "--") })
			code, stdout,
				stderr := run(t, append(append(strings.Fields(name), flags...), "--data-dir=/nowhere/at/all")...)
			complaint(t, code, stderr, 2, name+": "+operand+" is missing")
			if stdout != "" {
				t.Errorf("%s without %s: %s", name, operand, stdout)
			}
		}
		for i, word := range words {
			flag, _, isFlag := strings.Cut(word, "=")
			if !isFlag {
				continue
			}
			without := append(strings.Fields(name), slices.Delete(slices.Clone(words), i, i+1)...)
			code, stdout, stderr := run(t, append(without, "--data-dir=/nowhere/at/all")...)
			complaint(t, code, stderr, 2, strings.TrimPrefix(flag, "--"))
			if !strings.Contains(stderr, "is missing") || stdout != "" {
				t.Errorf("%v: %s%s", without, stdout, stderr)
			}
			if name == "resource put" || flag == "--client" { // which are read as they come
				continue
			}
			code, _, stderr = run(t, append(without, flag, " ", "--data-dir=/nowhere/at/all")...)
			complaint(t, code, stderr, 2, strings.TrimPrefix(flag, "--")+" ")
		}
	}
}

// A variable of the shell that is not set makes no command do more than was meant: revoke all of a
// tenant, relax all of its tools.
func TestAnEmptyWordIsAUsageError(t *testing.T) {
	for _, row := range []struct {
		want  string
		words []string
	}{
		{"grant revoke: ID is missing", []string{"grant", "revoke", "", "--tenant", "acme"}},
		{"grant revoke: ID is missing", []string{"grant", "revoke", "--tenant", "acme", " "}},
		{"grant revoke: --client has no value", []string{"grant", "revoke", "--client", "", "--tenant", "acme"}},
		{"grant revoke: --user has no value", []string{"grant", "revoke", "--user=", "--tenant", "acme"}},
		{"grant revoke: --tenant has no value", []string{"grant", "revoke", "--client", "cli_1", "--tenant", " "}},
		{"rollout set: --tool has no value", []string{"rollout", "set", "observe", "--tenant", "acme", "--tool", ""}},
		{"client create: --tenant has no value", []string{"client", "create", "--tenant", "", "--redirect-uri",
			"https://app.example/cb"}},
		{"tenant delete: ID is missing", []string{"tenant", "delete", "", "--yes"}},
		{"user delete: ID-OR-EMAIL is missing", []string{"user", "delete", " ", "--yes"}},
		{"client disable: ID is missing", []string{"client", "disable", "--json", ""}},
		{`does not take "acme"`, []string{"tenant", "delete", "", "acme"}},
	} {
		at := len(row.words)
		if strings.HasPrefix(row.words[2], "--") { // behind an operand that comes last stand no flags
			at = 2
		}
		code, stdout, stderr := run(t, slices.Insert(slices.Clone(row.words), at, "--data-dir=/nowhere/at/all")...)
		complaint(t, code, stderr, 2, row.want)
		if stdout != "" {
			t.Errorf("%q: %s", row.words, stdout)
		}
	}
}
