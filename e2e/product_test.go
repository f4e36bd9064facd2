package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // testenv.Postgres asks for it

	"github.com/gatehouse-mcp/gatehouse/cli"
	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

// pairs are the stores that every flow runs on: the embedded form, and production's.
var pairs = []struct {
	name  string
	flags func(t testing.TB) []string
}{
	{"embedded", func(testing.TB) []string { return nil }},
	{"postgres+redis", func(t testing.TB) []string {
		redis, prefix := testenv.Redis(t)
		key := make([]byte, 32)
		rand.Read(key)
		return []string{
			"--database", testenv.Postgres(t), "--redis", redis, "--redis-prefix", prefix,
			"--key-encryption-key", base64.StdEncoding.EncodeToString(key),
		}
	}},
}

// product is the running product: the very program, in this process.
type product struct {
	t     testing.TB
	flags []string
	log   *testenv.Book
	cli.Addresses
	behind []string // how it listens, when something stands in front of it

	mu    sync.Mutex
	ahead time.Duration // of the real clock
	stop  func() int
}

// open boots the product with its demo on free ports, and stops it when the test ends.
func open(t testing.TB, flags ...string) *product {
	t.Helper()
	h := &product{t: t, flags: append([]string{"--data-dir", t.TempDir()}, flags...), log: &testenv.Book{}}
	h.start("--issuer-listen", "127.0.0.1:0", "--resource-listen", "127.0.0.1:0")
	t.Cleanup(func() {
		if code := h.stop(); code != 0 {
			t.Errorf("serve ended with exit code %d:\n%s", code, h.log)
		}
	})
	return h
}

func (h *product) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.ahead)
}

func (h *product) start(more ...string) {
	h.t.Helper()
	ready, ended := make(chan cli.Addresses, 1), make(chan int, 1)
	p := &cli.Program{
		Args: append(append([]string{"serve"}, h.flags...), more...), Stdout: h.log, Stderr: h.log, Now: h.now,
		Ready: func(a cli.Addresses) { ready <- a },
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- p.Run(ctx) }()
	h.stop = sync.OnceValue(func() int { cancel(); return <-ended })
	select {
	case h.Addresses = <-ready:
	case code := <-ended:
		ended <- code
		h.t.Fatalf("serve ended with exit code %d:\n%s", code, h.log)
	}
}

// later stops the product and starts it again where it was, when so much time has passed: what must
// not be lost is still there.
func (h *product) later(d time.Duration) {
	h.t.Helper()
	if code := h.stop(); code != 0 {
		h.t.Errorf("serve ended with exit code %d", code)
	}
	http.DefaultClient.CloseIdleConnections() // those to the product that was: a POST on one is never tried again
	h.mu.Lock()
	h.ahead += d
	h.mu.Unlock()
	if h.behind == nil {
		h.start("--issuer-listen", listening(h.t, h.Issuer), "--resource-listen", listening(h.t, h.Resource))
		return
	}
	h.start(h.behind...)
}

// listening is the address behind a URL of ours.
func listening(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	must(t, err)
	return "127.0.0.1:" + u.Port()
}

// operate runs a command of the operator's on the running product.
func (h *product) operate(args ...string) (code int, out string) {
	return h.operateOn("", args...)
}

// operateOn runs a command with this on its standard input.
func (h *product) operateOn(stdin string, args ...string) (code int, out string) {
	var text bytes.Buffer
	p := &cli.Program{Args: append(args, h.flags...), Stdin: strings.NewReader(stdin), Stdout: &text, Stderr: &text,
		Now: h.now}
	code = p.Run(context.Background())
	return code, text.String()
}

// password is a demo person's, from the file that the first start wrote.
func (h *product) password(email string) string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.DataDir, "demo-sign-ins.txt"))
	must(h.t, err)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == email {
			return fields[1]
		}
	}
	h.t.Fatalf("there is no demo sign-in of %s", email)
	return ""
}

// annex is a second MCP server of the same kind, at another URL, that believes the issuer it is
// told.
func annex(t testing.TB, issuer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	resource := "http://" + l.Addr().String() + "/mcp"
	s, err := mcpserver.New(context.Background(), mcpserver.Config{
		Resource: resource, Issuer: issuer, Database: companionDatabase(t), InsecureIgnoreRevocations: true,
	}, mcpserver.Deps{})
	must(t, err)
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(l)
	t.Cleanup(func() {
		server.Close()
		s.Close()
	})
	return resource
}

// companionDatabase is a migrated database without data.
func companionDatabase(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	p := &cli.Program{Args: []string{"migrate", "--data-dir", dir}, Stdout: &testenv.Book{}, Stderr: &testenv.Book{}}
	if code := p.Run(context.Background()); code != 0 {
		t.Fatalf("migrate: exit code %d", code)
	}
	return "sqlite:" + filepath.Join(dir, "companion.db")
}

// stranger is another issuer, with keys of its own.
func stranger(t testing.TB) *tokentest.Issuer { return tokentest.NewIssuer(t) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
