package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
)

// The operator who reads a server, to propose a file or to approve its tools, is told why it cannot
// be read.
func TestTheOperatorIsToldTheCause(t *testing.T) {
	serve := func(f http.HandlerFunc) string {
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		return s.URL
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	script := filepath.Join(t.TempDir(), "program")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\necho usage: program KEY\necho no API key is set >&2\nexit 7\n"),
		0o700))
	closed := serve(func(http.ResponseWriter, *http.Request) {})
	for name, row := range map[string]struct {
		url     string
		command []string
		want    []string
	}{
		"a redirect": {url: serve(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://user:pw@elsewhere.example/mcp?token=s3cret", http.StatusMovedPermanently)
		}), want: []string{"redirects (301) to https://elsewhere.example/mcp"}},
		"a credential": {url: serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Bearer realm=notes")
			w.WriteHeader(401)
		}), want: []string{"answers 401", "Bearer realm=notes", "needs a credential"}},
		"forbidden": {url: serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }),
			want: []string{"answers 403"}},
		"broken": {url: serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }),
			want: []string{"answers 500"}},
		"not there": {url: serve(http.NotFound), want: []string{"answers 404", "is the path right?"}},
		"a page": {url: serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, "<!doctype html>")
		}), want: []string{"a web page (text/html)"}},
		"a text": {url: serve(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }),
			want: []string{`"text/plain`}},
		"the older transport": {url: serve(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				http.Error(w, "no", http.StatusMethodNotAllowed)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "event: endpoint\ndata: /messages?id=1\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}), want: []string{"HTTP+SSE alone"}},
		"a certificate": {url: secure.URL, want: []string{"cannot be reached", "certificate"}},
		"nobody there":  {url: "http://127.0.0.1:1", want: []string{"cannot be reached", "refused"}},
		"TLS where there is none": {url: strings.Replace(closed, "http:", "https:", 1),
			want: []string{"cannot be reached"}},
		"no program": {command: []string{"/no/such/program"},
			want: []string{"does not start", "no such file"}},
		"no word": {command: []string{"no-such-program-anywhere"},
			want: []string{"does not start", "executable file not found"}},
		"a program that ends": {command: []string{script}, want: []string{"exit status 7", "no API key is set",
			"usage: program KEY"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := gateway.Propose(t.Context(), gateway.Existing{URL: row.url, Command: row.command,
				Getenv: os.Getenv})
			file := filepath.Join(t.TempDir(), "gateway.yaml")
			way := "url: " + row.url
			if row.command != nil {
				way = fmt.Sprintf("command: [%q]", row.command[0])
			}
			must(t, os.WriteFile(file,
				[]byte("issuer: http://localhost:1\nupstreams:\n  - name: crm\n    resource: "+
					"http://localhost/crm\n    "+way+"\n"), 0o600))
			_, approving := gateway.LookAt(t.Context(), file, "acme", gateway.Deps{})
			for what, err := range map[string]error{"init": err, "approve": approving} {
				for _, want := range row.want {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: got %v, want it to say %q", what, err, want)
					}
				}
				if err != nil && strings.Contains(errors.Join(err).Error(), "s3cret") {
					t.Errorf("%s repeats what may be a secret: %v", what, err)
				}
			}
		})
	}
}
