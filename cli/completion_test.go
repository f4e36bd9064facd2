package cli_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/cli"
)

// asProgram makes this test's binary the program itself, for tests that need one on the PATH.
const asProgram = "GATEHOUSE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	p := &cli.Program{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	os.Exit(p.Run(context.Background()))
}

// onPath puts the program into a folder of its own, which is to be put on the PATH.
func onPath(t *testing.T) (folder string) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	folder = t.TempDir()
	must(t, os.WriteFile(filepath.Join(folder, "gatehouse"),
		[]byte("#!/bin/sh\n"+asProgram+"=1 exec '"+self+"' \"$@\"\n"), 0o755))
	return folder
}

// The words that the shell is offered are those of the program: bash itself asks for them.
func TestCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	folder := onPath(t)
	for _, row := range []struct{ line, want string }{
		{"gatehouse ten", "tenant"},
		{"gatehouse tenant ", "create list show rename suspend resume delete"},
		{"gatehouse rollout s", "set"},
		{"gatehouse client create --redirect", "--redirect-uri"},
		{"gatehouse grant revoke --rea", "--reason"},
		{"gatehouse nothing ", ""},
	} {
		words := strings.Split(row.line, " ")
		script := `eval "$(gatehouse completion bash)"; compopt() { :; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); ` +
			`_gatehouse; printf '%s\n' "${COMPREPLY[@]}"`
		c := exec.Command(bash, append([]string{"-c", script, "bash"}, words...)...)
		c.Env = append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"))
		out, err := c.CombinedOutput()
		got := strings.Fields(string(out))
		if err != nil || strings.Join(got, " ") != row.want {
			t.Errorf("%q: got %q %v, want %q", row.line, got, err, row.want)
		}
	}
	code, out, _ := run(t, "completion", "zsh")
	if code != 0 || !strings.Contains(out, "#compdef gatehouse") {
		t.Errorf("zsh: %d %s", code, out)
	}
	if code, out, _ = run(t, "completion", "fish"); code != 0 || !strings.Contains(out, "complete -c gatehouse") {
		t.Errorf("fish: %d %s", code, out)
	}
	code, _, errs := run(t, "completion", "tcsh")
	complaint(t, code, errs, 2, "no completion")
}
