package e2e_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

var update = flag.Bool("update", false, "write recordings of clients and docs/reference anew")

// recorder stands in front of a product and writes down what a client sends there, in the form of
// authserver/testdata/handshakes.
type recorder struct {
	issuer, resource string

	mu       sync.Mutex
	clientID string
	blocks   []string
}

// recorded is a product behind a recorder.
func recorded(t *testing.T, flags ...string) (*product, *recorder) {
	t.Helper()
	rec := &recorder{}
	front := func() (public, behind string) {
		behind = freeAddress(t)
		proxy := httptest.NewServer(rec.before(t, behind))
		t.Cleanup(proxy.Close)
		return proxy.URL, behind
	}
	issuer, issuerBehind := front()
	resource, resourceBehind := front()
	rec.issuer, rec.resource = issuer, resource+"/mcp"
	h := &product{t: t, log: &testenv.Book{}, behind: []string{"--issuer-listen", issuerBehind, "--resource-listen",
		resourceBehind}}
	h.flags = append([]string{"--data-dir", t.TempDir(), "--issuer", issuer, "--resource", rec.resource}, flags...)
	h.start(h.behind...)
	t.Cleanup(func() {
		if code := h.stop(); code != 0 {
			t.Errorf("serve ended with exit code %d:\n%s", code, h.log)
		}
	})
	return h, rec
}

// freeAddress is one on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// before passes everything on to the product behind, and notes what a client sent and the status of
// the answer.
func (rec *recorder) before(t *testing.T, behind string) http.Handler {
	target, err := url.Parse("http://" + behind)
	must(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the body could not be read", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, r)
		rec.note(r, body, answer)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}

// of finds what belongs to a client's way in: what leads to the issuer, and all that it asks there.
// What a browser does in between is not the client's.
var of = regexp.MustCompile(`^/(\.well-known/.*|oauth2/(register|token|authorize|revoke|par))$`)

// kept are the headers that say something.
var kept = []string{"Content-Type", "Authorization", "Origin", "Mcp-Protocol-Version", "Mcp-Method"}

func (rec *recorder) note(r *http.Request, body []byte, answer *httptest.ResponseRecorder) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !of.MatchString(r.URL.Path) || r.Header.Get("User-Agent") == "Go-http-client/1.1" &&
		r.URL.Path != "/oauth2/authorize" {
		return // the second is the product's own MCP server
	}
	if r.URL.Path == "/oauth2/register" {
		var made struct {
			ClientID string `json:"client_id"`
		}
		_ = json.Unmarshal(answer.Body.Bytes(), &made) // an error has none
		rec.clientID = made.ClientID
	}
	where := rec.brace("http://" + r.Host + r.URL.Path)
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s %s %d\n", r.Method, where, answer.Code)
	if r.URL.Path == "/oauth2/authorize" {
		b.WriteString("\n" + rec.parameters(r.URL.RawQuery))
	} else {
		for _, name := range kept {
			if value := r.Header.Get(name); value != "" {
				fmt.Fprintf(&b, "%s: %s\n", name, value)
			}
		}
		b.WriteString("\n")
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			var indented bytes.Buffer
			if json.Indent(&indented, []byte(rec.brace(string(body))), "", "  ") == nil {
				b.WriteString(indented.String() + "\n")
			}
		} else if len(body) > 0 {
			b.WriteString(rec.parameters(string(body)))
		}
	}
	if block := strings.TrimRight(b.String(), "\n") + "\n"; !slices.Contains(rec.blocks, block) {
		// what is sent again is not noted again
		rec.blocks = append(rec.blocks, block)
	}
}

// parameters writes a form, one parameter a line and in its order, with braces for what is random
// or secret.
func (rec *recorder) parameters(form string) string {
	var b strings.Builder
	for pair := range strings.SplitSeq(form, "&") {
		name, value, _ := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(value)
		switch {
		case err != nil:
			value = pair
		case name == "code" || name == "refresh_token" || name == "client_secret":
			value = "{" + name + "}"
		case name == "code_verifier":
			value = "{verifier}"
		case name == "code_challenge":
			value = "{challenge}"
		case name == "state":
			value = fmt.Sprintf("{state:%d}", len(value))
		default:
			value = rec.brace(value)
		}
		fmt.Fprintf(&b, "%s = %s\n", name, value)
	}
	return b.String()
}

var loopbackPort = regexp.MustCompile(`(http://(?:localhost|127\.0\.0\.1):)\d+`)

// brace puts braces in place of what is another at every run.
func (rec *recorder) brace(text string) string {
	pairs := []string{rec.issuer, "{issuer}", rec.resource, "{mcp}", strings.TrimSuffix(rec.resource, "/mcp"),
		"{mcp-origin}"}
	if rec.clientID != "" {
		pairs = append(pairs, rec.clientID, "{client_id}")
	}
	return loopbackPort.ReplaceAllString(strings.NewReplacer(pairs...).Replace(text), "${1}{port}")
}

// matches holds a recording against the file that the issuer's tests play. Its head is written by
// hand; with -update the rest is written anew.
func (rec *recorder) matches(t *testing.T, path string) {
	t.Helper()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	text, err := os.ReadFile(path)
	must(t, err)
	head, want, _ := strings.Cut(string(text), "\n\n")
	got := strings.Join(rec.blocks, "\n")
	if *update {
		must(t, os.WriteFile(path, []byte(head+"\n\n"+got), 0o644))
		return
	}
	if got != want {
		t.Errorf("the client does not come in as %s has it (go test ./e2e -update writes it anew):\n%s\nwant\n%s", path,
			got, want)
	}
}
