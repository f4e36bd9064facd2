package cli_test

import (
	"slices"
	"strings"
	"testing"

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

// A command whose operand or required flag is left out, or has no value, does nothing: it is
// misused, and what is missing is named. Nothing is opened for that.
func TestARequiredFlagThatIsLeftOutIsMisuse(t *testing.T) {
	for _, name := range cli.CommandNames() {
		words := whole[name]
		if (len(cli.Required(name)) > 0) != (words != nil) {
			t.Errorf("%s: this test has not the flags that it requires", name)
			continue
		}
		if operand := cli.OperandOf(name); operand != "" && operand[0] != '[' {
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
func TestAnEmptyWordIsMisuse(t *testing.T) {
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

// The help says what is required, and what is required is there.
func TestEachRequiredFlagIsOneOfTheCommands(t *testing.T) {
	for name := range whole {
		_, help, _ := run(t, append([]string{"help"}, strings.Fields(name)...)...)
		for _, either := range cli.Required(name) {
			for _, flag := range either {
				if !strings.Contains(help, "--"+flag+" ") && !strings.Contains(help, "--"+flag+"\n") {
					t.Errorf("%s has no flag --%s", name, flag)
				}
			}
		}
		if !strings.Contains(help, "(required") {
			t.Errorf("%s: the help does not say what is required", name)
		}
	}
}
