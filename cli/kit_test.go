package cli_test

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/cli"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// run runs one command to its end.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &cli.Program{Args: args, Stdout: &out, Stderr: &errs}
	return p.Run(context.Background()), out.String(), errs.String()
}

// complaint checks that a run ended with this code, one error line and one hint.
func complaint(t *testing.T, code int, stderr string, wantCode int, says string) {
	t.Helper()
	var errs, hints []string
	for line := range strings.Lines(stderr) {
		switch {
		case strings.HasPrefix(line, "gatehouse: error: "):
			errs = append(errs, line)
		case strings.HasPrefix(line, "gatehouse: hint: "):
			hints = append(hints, line)
		}
	}
	if code != wantCode || len(errs) != 1 || len(hints) != 1 || !strings.Contains(errs[0], says) {
		t.Errorf("got exit code %d and\n%s\nwant exit code %d, one error line that says %q, and one hint", code, stderr,
			wantCode, says)
	}
}

// until asks again and again, for half a minute at most, until it is so.
func until(t *testing.T, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not become so")
		}
	}
}

// served is a program that serves.
type served struct {
	cli.Addresses
	stdout, stderr *testenv.Book
	stop           func() int // stops it as Ctrl-C does, and returns its exit code
}

// serve boots the very program on ports that are free, and stops it when the test ends.
func serve(t *testing.T, dir string, more ...string) *served {
	t.Helper()
	s := &served{stdout: &testenv.Book{}, stderr: &testenv.Book{}}
	args := append([]string{"serve", "--data-dir", dir, "--issuer-listen", "127.0.0.1:0", "--resource-listen",
		"127.0.0.1:0"}, more...)
	ready, ended := make(chan cli.Addresses, 1), make(chan int, 1)
	p := &cli.Program{Args: args, Stdout: s.stdout, Stderr: s.stderr, Ready: func(a cli.Addresses) { ready <- a }}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- p.Run(ctx) }()
	s.stop = sync.OnceValue(func() int { cancel(); return <-ended })
	t.Cleanup(func() { s.stop() })
	select {
	case s.Addresses = <-ready:
	case code := <-ended:
		ended <- code
		t.Fatalf("serve ended with exit code %d:\n%s", code, s.stderr)
	}
	return s
}

// shell runs lines as somebody who pastes them, and returns what they print.
func shell(t *testing.T, lines string) string {
	t.Helper()
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not there: install it to see the printed lines run", program)
		}
	}
	out, err := exec.Command("bash", "-c", "set -eu -o pipefail\n"+lines).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\nof the lines\n%s", err, out, lines)
	}
	return string(out)
}

// pasteable are the lines that are printed between two sentences: everything that is indented
// there.
func pasteable(t *testing.T, printed, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(printed, from)
	part, _, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("nothing stands between %q and %q in\n%s", from, to, printed)
	}
	return part
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
