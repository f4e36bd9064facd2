package guard_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// slowly is a guard in front of a server whose calls take until they are released, over HTTP and
// with a log.
type slowly struct {
	*fort
	url     string
	arrived chan struct{}
	release chan struct{}
	log     testenv.Book
}

func newSlowly(t *testing.T, streams bool) *slowly {
	s := &slowly{fort: newFort(t, func(p *guard.Policy) { p.CallTimeout = 3 * time.Hour }),
		arrived: make(chan struct{}), release: make(chan struct{})}
	s.behind.answer = func(w http.ResponseWriter, r *http.Request, body string) {
		const done = `{"jsonrpc":"2.0","id":1,"result":{"content":[],"done":true}}`
		if streams || !strings.Contains(body, "tools/call") {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n")
			w.(http.Flusher).Flush()
		}
		s.arrived <- struct{}{}
		select {
		case <-r.Context().Done():
			return
		case <-s.release:
		}
		if streams {
			io.WriteString(w, "data: "+done+"\n\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, done)
	}
	logged := httpd.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = "mcp.example"
		s.handler.ServeHTTP(w, r)
	}), httpd.Options{Log: slog.New(slog.NewTextHandler(&s.log, nil)), Timeout: time.Hour})
	server := httptest.NewServer(logged)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// begin asks, and gives what the whole answer is when it has come.
func (s *slowly) begin(t *testing.T, c token.Claims, body string) <-chan string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.url, strings.NewReader(body))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+s.issuer.Sign(c))
	r.Header.Set("Content-Type", "application/json")
	answer := make(chan string, 1)
	go func() {
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			text = append(text, err.Error()...)
		}
		answer <- string(text)
	}()
	<-s.arrived
	return answer
}

// claims are those of a grant's token, good for ten minutes from now on.
func (s *slowly) claims(grant string) token.Claims {
	c := s.issuer.Claims(resource, "read")
	c.GrantID, c.IssuedAt, c.NotBefore, c.Expires = grant, s.now().Unix(), 0, s.now().Add(10*time.Minute).Unix()
	return c
}

// A call that was admitted is not cut by its token's expiry, while a subscription ends with it, and
// the log says why.
func TestACallOutlivesItsToken(t *testing.T) {
	s := newSlowly(t, true)
	called := s.begin(t, s.claims("grt_call"), call("read_it"))
	for _, grant := range []string{"grt_1", "grt_2"} {
		// the second's end is after the call was looked at, which is every two seconds
		listener := s.begin(t, s.claims(grant), listenToTools)
		s.step(20 * time.Minute)
		if got := <-listener; !strings.Contains(got, "the access token has expired") ||
			!strings.Contains(got, `"id":"s"`) {
			t.Errorf("a subscription after its token: %s", got)
		}
	}
	close(s.release)
	if got := <-called; !strings.Contains(got, `"done":true`) || strings.Contains(got, `"error"`) {
		t.Errorf("a call after its token: %s", got)
	}
	if n := strings.Count(s.log.String(), `cut="the access token has expired`); n != 2 {
		t.Errorf("the log says %d times why a stream ended, want 2:\n%s", n, &s.log)
	}
}

// The stream that an older client opens with GET ends with its token, as a subscription does, and
// neither with the time for a call.
func TestAStreamEndsWithItsTokenAlone(t *testing.T) {
	f := newFort(t, func(p *guard.Policy) { p.CallTimeout = time.Minute })
	begun := make(chan struct{}, 2)
	f.behind.answer = func(w http.ResponseWriter, r *http.Request, body string) {
		if strings.Contains(body, "initialize") {
			w.Header().Set("Mcp-Session-Id", "s")
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, ": begun\n\n")
		w.(http.Flusher).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	}
	var log testenv.Book
	server := httptest.NewServer(httpd.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = "mcp.example"
		f.handler.ServeHTTP(w, r)
	}), httpd.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Timeout: time.Hour}))
	defer server.Close()
	raw := f.token("read") // good for some minutes
	session := f.send(raw,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`).Header().Get(
		"Mcp-Session-Id")
	ended := make(chan string, 2)
	for method, body := range map[string]string{"GET": "", "POST": listenToTools} {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL, strings.NewReader(body))
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+raw)
		r.Header.Set("Content-Type", "application/json")
		if method == "GET" {
			r.Header.Set("Mcp-Session-Id", session)
		}
		go func() {
			a, err := server.Client().Do(r)
			if err != nil {
				ended <- err.Error()
				return
			}
			defer a.Body.Close()
			_, _ = io.Copy(io.Discard, a.Body) // how it ends is the other tests'
			ended <- r.Method
		}()
		<-begun
	}
	f.step(2 * time.Minute) // more than a call may take
	select {
	case which := <-ended:
		t.Errorf("%s ends before its token", which)
	case <-time.After(5 * time.Second): // streams are looked at every two
	}
	f.step(time.Hour)
	for range 2 {
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatal("a stream goes on after its token")
		}
	}
	server.Close() // and its log is whole
	if n := strings.Count(log.String(), `cut="the access token has expired`); n != 2 {
		t.Errorf("the log says %d times why, want 2:\n%s", n, &log)
	}
}

// It is cut when its permission ends, and when it takes longer than may be: with an error for its
// id, and a line in the log.
func TestACallEndsWithItsPermission(t *testing.T) {
	s := newSlowly(t, true)
	revoked, slow := s.begin(t, s.claims("grt_revoked"), call("read_it")),
		s.begin(t, s.claims("grt_slow"), call("read_it"))
	must(t, s.list.Add(context.Background(), "grt_revoked", s.now().Add(24*time.Hour)))
	if got := <-revoked; !strings.Contains(got, "the grant of the access token is revoked") ||
		!strings.Contains(got, `"id":1`) {
		t.Errorf("after the end of its permission: %s", got)
	}
	s.step(4 * time.Hour)
	if got := <-slow; !strings.Contains(got, "call_timeout") || !strings.Contains(got, `"id":1`) {
		t.Errorf("after the time for a call: %s", got)
	}
	if log := s.log.String(); strings.Count(log, "cut=") != 2 {
		t.Errorf("the log does not say why both were cut:\n%s", log)
	}
	s = newSlowly(t, false)
	whole, expired := s.begin(t, s.claims("grt_whole"), call("read_it")),
		s.begin(t, s.claims("grt_expired"), call("read_it"))
	must(t, s.list.Add(context.Background(), "grt_whole", s.now().Add(24*time.Hour)))
	s.step(20 * time.Minute)
	close(s.release)
	if got := <-whole; strings.Contains(got, "done") ||
		!strings.Contains(got, "the grant of the access token is revoked") {
		t.Errorf("an answer in one message after the end of its permission: %s", got)
	}
	if got := <-expired; !strings.Contains(got, `"done":true`) {
		t.Errorf("an answer in one message after its token: %s", got)
	}
}
