package guard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

const resource = "https://mcp.example/mcp"

// gate is a guard before a handler that only notes its callers.
type gate struct {
	t       testing.TB
	issuer  *tokentest.Issuer
	guard   *guard.Guard
	handler http.Handler
	list    *revocation.Memory

	mu      sync.Mutex
	clock   time.Duration // ahead of the real one
	callers []mcp.Caller
}

func (g *gate) now() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Now().Add(g.clock)
}

func (g *gate) step(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clock += d
}

func newGate(t testing.TB, change ...func(*guard.Config)) *gate {
	t.Helper()
	g := &gate{t: t, issuer: tokentest.NewIssuer(t)}
	g.list = revocation.NewMemory(g.now)
	must(t, g.list.Restore(context.Background(), nil, 1000*time.Hour))
	c := guard.Config{
		Issuer: g.issuer.URL(), Resource: resource, Revoked: g.list, Baseline: []string{"read", "search"}, Now: g.now,
		Algorithms: []string{"ES256", "RS256", "EdDSA"},
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	g.guard, err = guard.New(c)
	must(t, err)
	g.handler = g.guard.Protect(func(w http.ResponseWriter, _ *http.Request, c mcp.Caller) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.callers = append(g.callers, c)
		w.WriteHeader(http.StatusNoContent)
	})
	return g
}

// passed counts the requests that came through, and forgets them.
func (g *gate) passed() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.callers)
	g.callers = nil
	return n
}

// ask sends a request with a token.
func (g *gate) ask(raw string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", resource, nil)
	if raw != "" {
		r.Header.Set("Authorization", "Bearer "+raw)
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	g.handler.ServeHTTP(w, r)
	return w
}

// good is a good token of the algorithm.
func (g *gate) good(options ...tokentest.Option) string {
	return g.issuer.Sign(g.issuer.Claims(resource, "read"), options...)
}

// want fails unless the answer has the status and, for anything but a pass, nothing came through.
func (g *gate) want(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	n := g.passed()
	if w.Code != status || (n == 1) != (status == http.StatusNoContent) {
		t.Errorf("got %d with %d let through, want %d: %s %s", w.Code, n, status,
			w.Header().Get("WWW-Authenticate"), w.Body)
	}
}

var errDown = errors.New("dial tcp 10.0.0.5:6379: connection refused")

// down is a list of ended grants that does not answer.
type down struct{}

func (down) Ended(context.Context, string) (bool, error) { return false, errDown }

func (down) Suspended(revocation.Subject, int64) bool { return false }

// bystander is the testing.TB of examples, which have none.
type bystander struct{ testing.TB }

func (bystander) Helper()           {}
func (bystander) Cleanup(func())    {}
func (bystander) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// toyIssuer is an issuer for examples, with an empty list of ended grants.
func toyIssuer() (*tokentest.Issuer, revocation.Reader) {
	ended := revocation.NewMemory(nil)
	must(bystander{}, ended.Restore(context.Background(), nil, time.Hour))
	return tokentest.NewIssuer(bystander{}), ended
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
