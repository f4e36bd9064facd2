package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mcpClient is somebody else's MCP client as a program that runs: ann is at its browser.
type mcpClient struct {
	t      *testing.T
	ann    *person
	stdin  io.WriteCloser
	lines  chan string // of its standard output
	opened chan error  // what became of an address that it asked ann to open
	done   chan error
}

// authorizeURL finds the address that a client asks its person to open.
var authorizeURL = regexp.MustCompile(`https?://\S+/oauth2/authorize\?\S+`)

// launch starts a client. home is where it keeps what it remembers. What it says on standard error
// is looked through for addresses.
func (w workshop) launch(t *testing.T, ann *person, home string, args ...string) *mcpClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, w.node, args...)
	c.Dir = w.dir
	c.Env = append(os.Environ(), "HOME="+home, "BROWSER=true", "MCP_AUTO_OPEN_ENABLED=true",
		"MCP_INSPECTOR_SECRET_STORE=file")
	p := &mcpClient{t: t, ann: ann, lines: make(chan string, 64), opened: make(chan error, 8),
		done: make(chan error, 1)}
	var err error
	p.stdin, err = c.StdinPipe()
	must(t, err)
	stdout, err := c.StdoutPipe()
	must(t, err)
	stderr, err := c.StderrPipe()
	must(t, err)
	must(t, c.Start())
	read := func(r io.Reader, each func(string)) chan struct{} {
		end := make(chan struct{})
		go func() {
			defer close(end)
			lines := bufio.NewScanner(r)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				if address := authorizeURL.FindString(lines.Text()); address != "" {
					p.open(address)
				}
				each(lines.Text())
			}
		}()
		return end
	}
	out, errs := read(stdout, func(l string) { p.lines <- l }),
		read(stderr, func(l string) { t.Log(filepath.Base(args[0]), l) })
	go func() {
		<-out
		<-errs
		close(p.lines)
		p.done <- c.Wait()
	}()
	return p
}

// open is ann's browser: she agrees, and is sent on to the client's own address.
func (p *mcpClient) open(address string) {
	to, err := p.ann.agrees(address)
	if err == nil {
		err = arriveAt(to)
	}
	p.opened <- err
}

// arriveAt is the browser at the client's own address. Clients name the address to open before they
// listen there: ann is quicker than people are.
func arriveAt(to string) error {
	for deadline := time.Now().Add(20 * time.Second); ; {
		r, err := http.Get(to)
		if err == nil {
			return r.Body.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(deadline) {
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
}

// ask sends a message to a client that speaks MCP on its standard input, and returns the answer.
func (p *mcpClient) ask(id int, method, params string) string {
	p.t.Helper()
	_, err := fmt.Fprintf(p.stdin, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`+"\n", id, method, params)
	must(p.t, err)
	for line := range p.lines {
		if strings.Contains(line, fmt.Sprintf(`"id":%d`, id)) {
			return line
		}
	}
	p.t.Fatalf("%s: it ended without an answer: %v", method, <-p.done)
	return ""
}

// asked says how often ann was asked since, and fails if one of these did not end well.
func (p *mcpClient) asked() (times int) {
	p.t.Helper()
	for {
		select {
		case err := <-p.opened:
			must(p.t, err)
			times++
		default:
			return times
		}
	}
}

const initialize = `{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"gatehouse-e2e",` +
	`"version":"1"}}`

const search = `{"name":"search_knowledge_base","arguments":{"query":"refund"}}`

// TestMCPClients lets MCP clients that people run come in by themselves, and holds what they send
// against the recordings that the issuer's tests play.
func TestMCPClients(t *testing.T) {
	w := openWorkshop(t, "mcpclients")
	t.Run("mcp-remote", func(t *testing.T) { mcpRemote(t, w) })
	t.Run("inspector", func(t *testing.T) { mcpInspector(t, w) })
}

// mcpRemote goes with mcp-remote from nothing to a tool call, through a renewal, and through the
// end of its registration (quirk 16).
func mcpRemote(t *testing.T, w workshop) {
	h, rec := recorded(t)
	ann, home := newPerson(h, "ann@acme.example"), t.TempDir()
	program := filepath.Join("node_modules", "mcp-remote", "dist", "proxy.js")
	begin := func() *mcpClient {
		p := w.launch(t, ann, home, program, h.Resource)
		if got := p.ask(1, "initialize", initialize); !strings.Contains(got, "io.gatehouse/companion") {
			t.Fatalf("initialize: got %s", got)
		}
		return p
	}
	end := func(p *mcpClient) {
		must(t, p.stdin.Close())
		for range p.lines {
		}
		<-p.done
	}

	p := begin()
	if n := p.asked(); n != 1 {
		t.Errorf("ann was asked %d times, want once", n)
	}
	if got := p.ask(2, "tools/list", "{}"); !strings.Contains(got, "search_knowledge_base") ||
		strings.Contains(got, "update_customer") {
		t.Errorf("tools/list: got %s", got)
	}
	h.later(11 * time.Minute) // its token is over; it does not know that
	if got := p.ask(3, "tools/call", search); !strings.Contains(got, "Refunds for anvils") {
		t.Errorf("tools/call, with a token that is over: got %s", got)
	}
	if n := p.asked(); n != 0 {
		t.Errorf("ann was asked %d times for a renewal", n)
	}
	end(p)
	rec.matches(t, "../authserver/testdata/handshakes/mcp-remote-0.15.1.txt")

	// It remembers, and begins again without ann. All who register as it does share its client.
	p = begin()
	if n := p.asked(); n != 0 {
		t.Errorf("ann was asked %d times at the second start", n)
	}
	end(p)
	id := rec.clientID
	stranger := w.launch(t, ann, t.TempDir(), program, h.Resource)
	stranger.ask(1, "initialize", initialize)
	end(stranger)
	if rec.clientID != id {
		t.Errorf("a second installation got the client %s, want %s, which says the same of itself", rec.clientID, id)
	}

	// Its registration is gone: it throws the id away by itself, registers again, and asks ann.
	if code, out := h.operate("client", "delete", id); code != 0 {
		t.Fatal(out)
	}
	p = begin()
	if n := p.asked(); n != 1 || rec.clientID == id {
		t.Errorf("after the end of its registration ann was asked %d times, and the client is %s", n, rec.clientID)
	}
	if got := p.ask(2, "tools/call", search); !strings.Contains(got, "Refunds for anvils") {
		t.Errorf("tools/call: got %s", got)
	}
	end(p)
}

// mcpInspector goes with the Inspector's command from nothing to a tool call.
func mcpInspector(t *testing.T, w workshop) {
	h, rec := recorded(t)
	ann, home := newPerson(h, "ann@acme.example"), t.TempDir()
	program := filepath.Join("node_modules", ".bin", "mcp-inspector")
	p := w.launch(t, ann, home, program, "--cli", h.Resource, "--transport", "http", "--callback-url",
		"http://"+freeAddress(t)+"/oauth/callback",
		"--method", "tools/call", "--tool-name", "search_knowledge_base", "--tool-arg", "query=refund")
	must(t, p.stdin.Close())
	var said strings.Builder
	for line := range p.lines {
		said.WriteString(line + "\n")
	}
	if err := <-p.done; err != nil || !strings.Contains(said.String(), "Refunds for anvils") || p.asked() != 1 {
		t.Errorf("got %v: %s", err, &said)
	}
	rec.matches(t, "../authserver/testdata/handshakes/inspector-cli-2.12.0.txt")
}
