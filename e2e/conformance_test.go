package e2e_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConformance runs the official suite's authorization server scenarios against the running
// product: they print an address, and ann answers there.
func TestConformance(t *testing.T) {
	w := openWorkshop(t, "conformance")
	h := open(t)
	ann := newPerson(h, "ann@acme.example")
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free; the suite listens on it itself
	must(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	must(t, l.Close())
	code, out := h.operate("client", "create", "--public", "--redirect-uri", "http://127.0.0.1:"+port+"/callback")
	if code != 0 {
		t.Fatal(out)
	}
	suite := exec.Command(w.node, filepath.Join("node_modules", "@modelcontextprotocol", "conformance", "dist",
		"index.js"), "authorization",
		"--url", h.Issuer, "--client-id", regexp.MustCompile(`cli_\S+`).FindString(out), "--resource", h.Resource,
		"--port", port)
	suite.Dir = w.dir
	stdout, err := suite.StdoutPipe()
	must(t, err)
	suite.Stderr = suite.Stdout
	must(t, suite.Start())
	var said strings.Builder
	lines := bufio.NewScanner(io.TeeReader(stdout, &said))
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), h.Issuer+"/oauth2/authorize") {
			continue
		}
		at, err := ann.consent(lines.Text(), "")
		must(t, err)
		gone, err := ann.submit(at, map[string][]string{"decision": {"approve"}})
		if err != nil || gone.away == nil {
			t.Fatalf("approving: %v %v", gone, err)
		}
		r, err := http.Get(gone.away.String()) // as the browser would go on
		must(t, err)
		r.Body.Close()
	}
	must(t, lines.Err())
	if err := suite.Wait(); err != nil || !strings.Contains(said.String(), "Total: 3 passed, 0 failed") {
		t.Errorf("%v:\n%s", err, &said)
	}
}
