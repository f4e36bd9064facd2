package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/cli"
)

// with runs a command in an environment.
func with(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &cli.Program{Args: args, Stdout: &out, Stderr: &errs, Getenv: func(name string) string { return env[name] }}
	return p.Run(context.Background()), out.String(), errs.String()
}

// An operator sees what counts and where it comes from; a secret shows as dots, a wrong word is
// refused with the right one, and nothing is made.
func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "gatehouse.yaml")
	write := func(text string) { must(t, os.WriteFile(file, []byte(text), 0o600)) }
	write("issuer: https://auth.example.com\nresource: https://mcp.example.com/mcp\naccess-token-lifetime: " +
		"5m\nredis: " +
		"redis://:hunter2@cache:6379/0\nallowed-origins: [https://a.example, https://b.example]\ndemo: false\n")
	env := map[string]string{"GATEHOUSE_ACCESS_TOKEN_LIFETIME": "7m", "GATEHOUSE_DATA_DIR": filepath.Join(dir, "data")}
	code, out, errs := with(t, env, "config", "show", "--origin", "--config", file, "--log-level", "debug")
	if code != 0 || strings.Contains(out, "hunter2") {
		t.Fatal(code, out, errs)
	}
	for setting, want := range map[string]string{
		"issuer":                "https://auth.example.com " + file + " line 1",
		"access-token-lifetime": "7m0s environment GATEHOUSE_ACCESS_TOKEN_LIFETIME",
		"redis":                 "•••••••• " + file + " line 4",
		"log-level":             "debug command line", "allowed-origins": "https://a.example,https://b.example " +
			file + " line 5",
		"authorization-code-lifetime": "1m0s default", "key-encryption-key": "- default",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), setting+" "+want) {
			t.Errorf("%s: want %q in\n%s", setting, want, out)
		}
	}
	if code, out, errs = with(t, env, "config", "show", "--json", "--config", file); code != 0 ||
		!strings.Contains(out, `{"setting":"redis","value":"••••••••"}`) {
		t.Errorf("as JSON: %d %s%s", code, out, errs)
	}
	if code, out, errs = with(t, env, "config", "validate", "--config", file); code != 0 ||
		out != "the settings are valid\n" {
		t.Errorf("right settings: %d %s%s", code, out, errs)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("looking at settings made the data folder")
	}
	for text, want := range map[string]string{
		"isuer: https://auth.example.com\n": "line 1: isuer: there is no such setting; is " +
			"it issuer?",
		"issuer: https://auth.example.com/path\n":                    "must have no path",
		"issuer: http://auth.example.com\n":                          "plain http",
		"issuer: https://auth.example.com:443\n":                     "give it as https://auth.example.com",
		"issuer: HTTPS://Auth.example.com\n":                         "give it as https://auth.example.com",
		"issuer: https://auth.example.com.\n":                        "give it as https://auth.example.com",
		"resource: https://mcp.example.com:443/mcp\n":                "give it as https://mcp.example.com/mcp",
		"resource: https://MCP.example.com./mcp\n":                   "give it as https://mcp.example.com/mcp",
		"access-token-lifetime: 2h\n":                                "access token lifetime 2h0m0s is not between",
		"resource: https://mcp.example.com/mcp?x\n":                  "has a query",
		"registration: maybe\n":                                      "not open, token or closed",
		"trusted-proxies: [10.0.0.0/99]\n":                           "neither a network",
		"database: mysql://x\n":                                      "of an unknown kind",
		"issuer: https://a.example\nissuer: https://b.example\n":     "line 2",
		"key-encryption-key: not base64 at all, but a long secret\n": "not 32 bytes in base64",
	} {
		write(text)
		code, _, errs := with(t, nil, "config", "validate", "--config", file)
		complaint(t, code, errs, 2, want)
		if strings.Contains(errs, "long secret") {
			t.Error("an error shows a secret:", errs)
		}
	}
	write("insecure-http: true\nissuer: http://auth.example.com\ninsecure-allow-anonymous: true\ndemo: false\n")
	if code, out, errs = with(t, nil, "config", "validate", "--config", file); code != 0 ||
		strings.Count(out, "\ninsecure-") != 2 {
		t.Errorf("insecure settings: %d %s%s", code, out, errs)
	}
}

// Every insecure option is named at the start, and counted.
func TestInsecureSettingsAreLogged(t *testing.T) {
	s := serve(t, t.TempDir(), "--demo=false", "--insecure-allow-anonymous", "--insecure-http",
		"--insecure-client-metadata-document-hosts", "docs.example", "--metrics-listen", "127.0.0.1:0")
	for _, setting := range []string{"insecure-allow-anonymous", "insecure-http",
		"insecure-client-metadata-document-hosts"} {
		if !strings.Contains(s.stderr.String(), "setting="+setting) {
			t.Errorf("%s is not in the log: %s", setting, s.stderr)
		}
	}
	if said := shell(t, "curl -s "+s.Metrics); !strings.Contains(said, "\ngatehouse_insecure_settings 2\n") {
		// of the MCP server
		t.Errorf("they are not counted: %s", said)
	}
}
