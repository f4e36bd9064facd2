package authserver_test

import (
	"database/sql"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// canary is a server that nobody has a reason to call.
func canary(t *testing.T) (address string, hits *atomic.Int64) {
	t.Helper()
	hits = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(s.Close)
	return s.URL, hits
}

// ask sends an authorization request as it is written, without following.
func (h *testServer) ask(query string) (*http.Response, string) {
	h.t.Helper()
	r, body := h.get("/oauth2/authorize?"+query, nil)
	return r, string(body)
}

// local fails unless the request was answered on the spot, and goes nowhere.
func (h *testServer) local(what, query string) {
	h.t.Helper()
	r, body := h.ask(query)
	if r.StatusCode != 400 || r.Header.Get("Location") != "" || !strings.Contains(body, "Support code") {
		h.t.Errorf("%s: got %d to %q, want a page with 400", what, r.StatusCode, r.Header.Get("Location"))
	}
}

// told fails unless the application was told this error, once, with our name and its state, in the
// query.
func (h *testServer) told(what, query, code string) {
	h.t.Helper()
	r, _ := h.ask(query)
	at, err := url.Parse(r.Header.Get("Location"))
	must(h.t, err)
	q := at.Query()
	if r.StatusCode != 303 || !strings.HasPrefix(at.String(), callback+"?") || at.Fragment != "" ||
		!slices.Equal(q["error"], []string{code}) || q.Has("code") {
		h.t.Errorf("%s: got %d to %s, want %s told %s", what, r.StatusCode, at, callback, code)
	}
	if !slices.Equal(q["iss"], []string{h.URL}) || q.Has("state") && q.Get("state") != "state-123" {
		h.t.Errorf("%s: the answer %s has another iss or state than it should", what, at)
	}
}

func shortened(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// crafted sends a form by somebody else's hand: with these cookies, and nothing else of a browser.
func (h *testServer) crafted(path string, form url.Values, header http.Header, cookies ...*http.Cookie) page {
	h.t.Helper()
	r, err := http.NewRequest(http.MethodPost, h.URL+path, strings.NewReader(form.Encode()))
	must(h.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, values := range header {
		r.Header[name] = values
	}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	response, err := noFollow.Do(r)
	must(h.t, err)
	return arrive(h.t, response)
}

// cookies are what the person's browser holds for us.
func (p *person) cookies() []*http.Cookie {
	at, err := url.Parse(p.h.URL)
	must(p.h.t, err)
	return p.http.Jar.Cookies(at)
}

var hidden = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

func csrfOf(at page) string {
	if found := hidden.FindStringSubmatch(at.body); found != nil {
		return found[1]
	}
	return ""
}

const urlencoded = "application/x-www-form-urlencoded"

// atOnce does it many times at once and counts the answers.
func atOnce(n int, do func() string) map[string]int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	counts := map[string]int{}
	for range n {
		wg.Go(func() {
			got := do()
			mu.Lock()
			defer mu.Unlock()
			counts[got]++
		})
	}
	wg.Wait()
	return counts
}

// secretCanary is a canary behind https.
func secretCanary(t *testing.T) (address string, hits *atomic.Int64) {
	t.Helper()
	hits = &atomic.Int64{}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			hits.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, hits
}

// withPublisher is a house that fetches documents from a publisher.
func withPublisher(t *testing.T) (*testServer, *publisher) {
	t.Helper()
	p := newPublisher(t)
	h := startServer(t)
	h.documents = p.fetcher
	h.start()
	return h, p
}

// signedIn is a person who is signed in already.
func (h *testServer) signedIn(email string) *person {
	h.t.Helper()
	p := h.person(email)
	at := p.submit(p.open("/signin"), url.Values{"email": {email}, "password": {password}})
	if at.url.Path != "/agents" {
		h.t.Fatalf("signing in: at %s", at.url)
	}
	return p
}

var problem = regexp.MustCompile(`<p class="problem" role="alert">[^<]*`)

// openReplicas is a house of two programs on PostgreSQL and Redis, with every request going to the
// other one than the last.
func openReplicas(t testing.TB) *testServer {
	t.Helper()
	redis, prefix := testenv.Redis(t)
	database := testenv.Postgres(t)
	h := startServer(t, func(c *authserverConfig) {
		c.Database, c.Redis, c.RedisPrefix = database, config.Secret(redis),
			prefix
	})
	second := h.process()
	t.Cleanup(func() { second.Close() })
	doors := []http.Handler{h.Server.Handler(), second.Handler()}
	var turn atomic.Uint64
	var both http.Handler = http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request) {
		doors[turn.Add(1)%2].ServeHTTP(w, r)
	})
	h.handler.Store(&both)
	return h
}

// sql acts on the embedded database behind the product's back, as nothing of the product does.
func (h *testServer) sql(statement string, arguments ...any) {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(h.config.Database, "sqlite:")+
		"?_pragma=busy_timeout(5000)")
	must(h.t, err)
	defer db.Close()
	_, err = db.Exec(statement, arguments...)
	must(h.t, err)
}

// decoded reads an answer's JSON object.
func decoded(t testing.TB, r *http.Response) map[string]any {
	t.Helper()
	defer r.Body.Close()
	answer := map[string]any{}
	must(t, json.NewDecoder(r.Body).Decode(&answer))
	return answer
}
