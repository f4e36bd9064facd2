package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// steps finds the blocks of a guide's numbered steps, which are indented.
var steps = regexp.MustCompile("(?m)^ {3}```\n((?: {3}.*\n)+?) {3}```\n")

// TestTheGatewayGuideIsFollowed follows docs/guides/gateway.md alone, word for word, for a tenant
// that exists and a server of the official SDK: in the end a client may read and not delete. Only
// ports and the printed ids are put in.
func TestTheGatewayGuideIsFollowed(t *testing.T) {
	text, err := os.ReadFile("../docs/guides/gateway.md")
	must(t, err)
	upstream := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server {
		s := mcp.NewServer(&mcp.Implementation{Name: "notes", Version: "1"}, nil)
		for _, name := range []string{"read_note", "delete_note"} {
			s.AddTool(&mcp.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)},
				func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
					return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "done: " + name}}}, nil
				})
		}
		return s
	}, &mcp.StreamableHTTPOptions{Stateless: true}))
	t.Cleanup(upstream.Close)
	h := open(t)
	s := openShell(t, h.DataDir)
	port := freePort(t)
	ids := strings.NewReplacer()
	out := ""
	followed := 0
	for _, m := range steps.FindAllStringSubmatch(string(text), -1) {
		followed++
		block := regexp.MustCompile(`(?m)^ {3}`).ReplaceAllString(m[1], "")
		block = strings.NewReplacer("http://127.0.0.1:9000/mcp", upstream.URL, "http://localhost:8080", h.Issuer,
			"http://localhost:8090", "http://localhost:"+port).Replace(ids.Replace(block))
		if strings.Contains(block, "gateway serve") {
			s.serves(t, block, port)
			continue
		}
		if out, err = s.run(block); err != nil {
			t.Fatalf("the guide says\n%s\nand it answers %v:\n%s", block, err, out)
		}
		s.remember(out)
		if id, secret := word(out, "cli_"), word(out, "ghs_"); secret != "" {
			ids = strings.NewReplacer("cli_...", id, "ghs_...", secret)
		}
		if file := filepath.Join(s.dir, "gateway.yaml"); strings.Contains(block, "gateway init") {
			written, err := os.ReadFile(file)
			must(t, err)
			here := strings.NewReplacer("http://localhost:8080", h.Issuer, "8090", port).Replace(string(written))
			must(t, os.WriteFile(file, []byte(here), 0o600))
		}
	}
	if followed != 6 {
		t.Errorf("%d blocks were followed, want 6", followed)
	}
	if !strings.Contains(out, "done: read_note") || !strings.Contains(out, " 200\n") {
		t.Errorf("the reader may not read:\n%s", out)
	}
	if !strings.Contains(out, "insufficient_scope") || !strings.HasSuffix(out, " 403\n") ||
		strings.Contains(out, "done: delete_note") {
		t.Errorf("the reader may delete:\n%s", out)
	}
}

// serves runs a block that ends with a server, in the background until the test ends, and waits
// until it listens.
func (s *shell) serves(t *testing.T, block, port string) {
	t.Helper()
	i := strings.LastIndex(strings.TrimSpace(block), "\n") + 1
	c := exec.Command("bash", "-euc", block[:i]+"exec "+block[i:])
	c.Dir, c.Env = s.dir, s.env
	begin(t, port, c)
	t.Cleanup(func() { _ = c.Process.Signal(syscall.SIGTERM) }) // begin kills what is left
}

// word returns the first word of a text with this prefix.
func word(text, prefix string) string {
	for _, w := range strings.Fields(text) {
		if strings.HasPrefix(w, prefix) {
			return w
		}
	}
	return ""
}
