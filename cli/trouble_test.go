package cli_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/cli"
)

// free are flags that let a start that should not succeed do no harm if it does.
var free = []string{"--issuer-listen", "127.0.0.1:0", "--resource-listen", "127.0.0.1:0"}

// KY-10, AD-08: what is insecure is refused at the start, unless somebody says so by name.
func TestTroubleIsOneLineAndAHint(t *testing.T) {
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	file := write("file", "not a folder")
	damaged := write("gatehouse.db", strings.Repeat("this is no database ", 1000))
	rows := []struct {
		name, says string
		args       []string
	}{
		{"a port in use", "address already in use", []string{"serve", "--issuer-listen", taken.Addr().String()}},
		{"the other port in use", "address already in use",
			[]string{"serve", "--resource-listen", taken.Addr().String(), "--issuer-listen", "127.0.0.1:0"}},
		{"a port that is none", "cannot listen", []string{"serve", "--issuer-listen", "127.0.0.1:http:8080"}},
		{"a folder that cannot be made", "making the data directory",
			[]string{"serve", "--data-dir", filepath.Join(file, "data")}},
		{"a damaged configuration", "line 1: could not find",
			[]string{"serve", "--config", write("c.json", `{"issuer":`)}},
		{"a misspelt setting", `is it issuer?`,
			[]string{"serve", "--config", write("c.json", `{"isuer":"https://x.example"}`)}},
		{"a configuration that is not there", "configuration file", []string{"serve", "--config", file + ".json"}},
		{"a damaged database", "not a database", []string{"serve", "--database", "sqlite:" + damaged,
			"--key-encryption-key", strings.Repeat("A", 43) + "="}},
		{"a database of no kind", "unknown kind", []string{"serve", "--database", "mysql://root:hunter2@db/x"}},
		{"PostgreSQL without the key", "key-encryption-key is not set",
			[]string{"serve", "--database", "postgres://nobody@127.0.0.1:1/x"}},
		{"a key that is none", "key-encryption-key is not 32 bytes",
			[]string{"serve", "--key-encryption-key", "hunter2"}},
		{"a previous key that is none", "previous-key-encryption-key is not 32 bytes",
			[]string{"serve", "--previous-key-encryption-key", "hunter2"}},
		{"keys that are turned too often", "key-rotation-interval", []string{"serve", "--key-rotation-interval", "1m"}},
		{"a log level that is none", "log-level", []string{"serve", "--log-level", "loud"}},
		{"an algorithm that is none", "algorithm", []string{"serve", "--resource-algorithm", "HS256"}},
		{"a token that lives too long", "access token lifetime", []string{"serve", "--access-token-lifetime", "2h"}},
		{"http off this machine", "plain http", []string{"serve", "--issuer", "http://auth.example.com"}},
		{"an MCP server on http off this machine", "plain http",
			[]string{"serve", "--resource", "http://mcp.example.com/mcp"}},
		{"a demo that others reach", "is not on this machine, and an empty store would be filled with demo accounts",
			[]string{"serve", "--issuer", "https://auth.example.com"}},
		{"a demo whose server others reach", "demo accounts",
			[]string{"serve", "--resource", "https://mcp.example.com/mcp"}},
		{"a demo that others reach, before it is started", "demo accounts",
			[]string{"config", "validate", "--issuer", "https://10.0.0.1"}},
		{"an issuer with a slash", "trailing slash",
			[]string{"serve", "--demo=false", "--issuer", "https://auth.example.com/"}},
		{"a URL that is none", "not an http(s) URL", []string{"serve", "--issuer", "auth.example.com"}},
		{"proxies that are none", "trusted-proxies", []string{"serve", "--trusted-proxies", "everybody"}},
		{"an unknown flag", "--colour", []string{"serve", "--colour", "red"}},
		{"an operand too many", "does not take", []string{"serve", "now"}},
		{"a user without an address", "--email is missing", []string{"user", "create", "--name", "Ann"}},
		{"an unknown command", `no command "dance"`, []string{"dance"}},
		{"half a command", `no command "grant revok"`, []string{"grant", "revok"}},
		{"no operand", "grant revoke: ID, --client, --user or --tenant is missing", []string{"grant", "revoke"}},
		{"nothing there yet", "there is no database", []string{"tenant", "list"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			args := row.args
			if !strings.Contains(strings.Join(args, " "), "--data-dir") && len(args) > 1 {
				args = append(args, "--data-dir", filepath.Join(t.TempDir(), "data"))
			}
			if args[0] == "serve" {
				args = append(append([]string{"serve"}, free...), args[1:]...)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var stderr bytes.Buffer
			p := &cli.Program{Args: args, Stdout: &bytes.Buffer{}, Stderr: &stderr,
				Ready: func(cli.Addresses) { cancel() }}
			code := p.Run(ctx)
			cancel()
			complaint(t, code, stderr.String(), 2, row.says)
			if strings.Contains(stderr.String(), "hunter2") {
				t.Error("a secret is shown")
			}
		})
	}
}

func TestTwoServersDoNotShareADataDirectory(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	code, _, stderr := run(t, append([]string{"serve", "--data-dir", dir}, free...)...)
	complaint(t, code, stderr, 2, "is in use: another process holds the data directory: gatehouse serve (process ")
	code, _, stderr = run(t, "migrate", "--data-dir", dir)
	complaint(t, code, stderr, 2, "is in use: another process holds the data directory: gatehouse serve (process ")
}

// E5: a command kept the server from starting, and one command another.
func TestServerAndCommandsWaitForACommand(t *testing.T) {
	dir := t.TempDir()
	do(t, dir, "", "up to date", "migrate")
	for _, next := range []func(){
		func() { do(t, dir, "", "tenant acme", "tenant", "create", "--id", "acme") },
		func() { serve(t, dir).stop() },
	} {
		lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0o600)
		must(t, err)
		must(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
		do(t, dir, "", "", "tenant", "list") // what only reads does not wait
		timer := time.AfterFunc(200*time.Millisecond, func() { lock.Close() })
		next()
		timer.Stop()
	}
}

func TestWhoHoldsTheDataDirectoryIsNamed(t *testing.T) {
	dir := t.TempDir()
	do(t, dir, "", "up to date", "migrate")
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0o600)
	must(t, err)
	defer lock.Close()
	must(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	code, _, stderr := run(t, "tenant", "create", "--id", "acme", "--data-dir", dir)
	complaint(t, code, stderr, 2, "another process holds the data directory: gatehouse migrate (process ")
}

func TestKeyEncryptionKeyThatIsLostOrWrong(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir).stop()
	start := func() (int, string) {
		code, _, stderr := run(t, append([]string{"serve", "--data-dir", dir}, free...)...)
		return code, stderr
	}
	path := filepath.Join(dir, "key-encryption-key")
	right, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0o600))
	code, stderr := start()
	complaint(t, code, stderr, 2, "does not open the stored signing keys")
	must(t, os.Remove(path))
	code, stderr = start()
	complaint(t, code, stderr, 2, "key-encryption-key is missing")
	if _, err := os.Stat(path); err == nil {
		t.Error("a new key was made, which opens nothing")
	}
	must(t, os.WriteFile(path, right, 0o600))
	serve(t, dir)
}

// What was probably meant is named: of a command, of a flag, and of one with a single hyphen.
func TestDidYouMean(t *testing.T) {
	for _, row := range []struct {
		words []string
		hint  string
	}{
		{[]string{"tennant", "list"}, "did you mean gatehouse tenant?"},
		{[]string{"tenant", "crate", "--id", "acme"}, "did you mean gatehouse tenant create?"},
		{[]string{"help", "tenant", "crate"}, "did you mean gatehouse tenant create?"},
		{[]string{"grant", "list", "--activ"}, "did you mean --active?"},
		{[]string{"serve", "-data-dir", "x"}, "did you mean --data-dir?"},
		{[]string{"migrate", "stats"}, "did you mean gatehouse migrate status?"},
		{[]string{"serve", "--colour"}, "gatehouse serve -h lists what it takes"},
	} {
		code, _, stderr := run(t, row.words...)
		complaint(t, code, stderr, 2, "")
		if !strings.Contains(stderr, "hint: "+row.hint+"\n") {
			t.Errorf("%v: want %q in\n%s", row.words, row.hint, stderr)
		}
	}
}

// One key id in 64 begins with a hyphen, and is an operand all the same.
func TestAKeyIDThatBeginsWithAHyphen(t *testing.T) {
	dir := t.TempDir()
	do(t, dir, "", "up to date", "migrate")
	kid := "-q2XfTzL0mB8cD5vR1nYk7sJgHpEaUiOZx3M4tCbFhQ"
	for _, words := range [][]string{{kid, "--emergency"}, {"--emergency", kid}} {
		code, _, stderr := run(t, append(append([]string{"key", "withdraw"}, words...), "--data-dir", dir)...)
		if code == 0 || !strings.Contains(stderr, kid) || strings.Contains(stderr, "flag") {
			t.Errorf("%v: %d %s", words, code, stderr)
		}
	}
}
