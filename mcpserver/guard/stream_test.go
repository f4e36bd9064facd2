package guard_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
)

const listenToTools = `{"jsonrpc":"2.0","id":"s","method":"subscriptions/listen",` +
	`"params":{"notifications":{"toolsListChanged":true}}}`

// An answer that is replaced, because its server compresses it in a way that is not known, is
// replaced while its stream is already watched and told: nothing more goes out, and nothing is
// written beside the lock (run with -race).
func TestAReplacedStreamIsToldNothing(t *testing.T) {
	f := newFort(t)
	handler := f.handler.(*guard.Handler)
	f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Encoding", "br")
		io.WriteString(w, "x")
	}
	raw := f.token("read")
	var work sync.WaitGroup
	done := make(chan struct{})
	work.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				handler.ToolsChanged(func(string) bool { return true })
			}
		}
	})
	for range 2000 {
		if w := f.send(raw, listenToTools); w.Code != 502 || strings.Contains(w.Body.String(), "list_changed") {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
	}
	close(done)
	work.Wait()
}

// switched is a rollout whose one mode is changed while requests are under way.
type switched struct{ mode atomic.Value }

func (s *switched) Mode(string, string) guard.Mode { return s.mode.Load().(guard.Mode) }

// A stream of nobody's ends when nobody may pass any more, as one of somebody's ends with its
// grant.
func TestAStreamOfNobodysEndsWithTheMode(t *testing.T) {
	var rollout switched
	rollout.mode.Store(guard.Observe)
	f := newFort(t, func(p *guard.Policy) { p.Rollout, p.AllowAnonymous = &rollout, true })
	begun, ended := make(chan struct{}), make(chan struct{})
	f.behind.answer = func(w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, ": begun\n\n")
		close(begun)
		select {
		case <-r.Context().Done():
		case <-t.Context().Done():
		}
		close(ended)
	}
	go f.send("", call("read_it"))
	<-begun
	rollout.mode.Store(guard.Enforce)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the stream goes on")
	}
}

// A stream that is silent gets comments, between two events and never within one, and no more than
// that: neither before its head nor in an answer that is no stream. What the server writes itself
// counts when it goes out.
func TestASilentStreamIsKeptAlive(t *testing.T) {
	const event, half = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n\n", 15
	for _, row := range []struct {
		name, body, kind string
		status           int
		kept             bool
	}{
		{"the answer to a call", call("read_it"), "text/event-stream", 200, true},
		{"a subscription", listenToTools, "text/event-stream; charset=utf-8", 200, true},
		{"a refusal", call("read_it"), "text/event-stream", 404, false},
		{"an answer of one message", call("read_it"), "application/json", 200, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFort(t, func(p *guard.Policy) { p.KeepAlive = 30 * time.Millisecond })
			goOn, enough := make(chan struct{}), sync.Once{}
			f.behind.answer = func(w http.ResponseWriter, r *http.Request, _ string) {
				w.Header().Set("Content-Type", row.kind)
				w.WriteHeader(row.status)
				if row.kind == "application/json" {
					io.WriteString(w, `{"jsonrpc":"2.0",`)
					time.Sleep(200 * time.Millisecond)
					io.WriteString(w, `"id":7,"result":{}}`)
					return
				}
				io.WriteString(w, event+event[:half])
				w.(http.Flusher).Flush()
				for range 40 { // comments of its own that end no event do not reach the client, and count for nothing
					io.WriteString(w, ":\n")
				}
				if row.kept {
					<-goOn
				} else {
					time.Sleep(200 * time.Millisecond)
				}
				io.WriteString(w, event[half:])
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Host = "mcp.example"
				f.handler.ServeHTTP(w, r)
			}))
			defer server.Close()
			r, err := http.NewRequest("POST", server.URL, strings.NewReader(row.body))
			must(t, err)
			r.Header.Set("Authorization", "Bearer "+f.token("read"))
			r.Header.Set("Content-Type", "application/json")
			a, err := server.Client().Do(r)
			must(t, err)
			defer a.Body.Close()
			var got strings.Builder
			for piece := make([]byte, 4096); ; {
				n, err := a.Body.Read(piece)
				got.Write(piece[:n])
				if strings.Count(got.String(), ": keep-alive\n\n") >= 3 {
					enough.Do(func() { close(goOn) })
				}
				if err != nil {
					break
				}
			}
			parts := strings.Split(got.String(), ": keep-alive\n\n")
			if (len(parts) > 3) != row.kept || !row.kept && len(parts) != 1 {
				t.Fatalf("got %q", got.String())
			}
			if !row.kept {
				return
			}
			if parts[0] != event || !strings.HasPrefix(parts[len(parts)-1], "event: ") ||
				!strings.HasSuffix(got.String(), "\n\n") {
				t.Errorf("got %q", got.String())
			}
			for _, p := range parts[1 : len(parts)-1] {
				if p != "" {
					t.Errorf("between two comments is %q", p)
				}
			}
		})
	}
}

// RS-11: an access token in the URL does not reach the server behind, whatever comes with it:
// nobody comes so far with one but nobody.
func TestATokenInTheURLStaysAtTheGuard(t *testing.T) {
	f := newFort(t, func(p *guard.Policy) { p.Rollout, p.AllowAnonymous = modes{"": guard.Observe}, true })
	var came []string
	f.behind.answer = func(w http.ResponseWriter, r *http.Request, _ string) {
		came = append(came, r.URL.RawQuery+" "+r.RequestURI)
		io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}
	good := f.token("read")
	for query, want := range map[string]string{
		"a=1&access_token=secret&b=2": "a=1&b=2 /mcp?a=1&b=2", "access%5Ftoken=secret": " /mcp",
		"a=1;access_token=secret":   " /mcp",
		"access_token=secret&a=%zz": " /mcp", "b=2&a=1": "b=2&a=1 https://mcp.example/mcp?b=2&a=1",
	} {
		for _, raw := range []string{"", good} {
			came = nil
			w := f.send(raw, call("read_it"),
				func(r *http.Request) { r.URL.RawQuery = query; r.RequestURI = r.URL.String() })
			if w.Code != 200 || len(came) != 1 || came[0] != want {
				t.Errorf("%s: got %d, and the server got %q", query, w.Code, came)
			}
		}
	}
}

// MC-26: a stream ends with its grant also when its client does not read, so that what is being
// written to it never comes to an end by itself.
func TestAStreamThatIsNotReadEnds(t *testing.T) {
	f := newFort(t)
	ended := make(chan struct{})
	f.behind.answer = func(w http.ResponseWriter, r *http.Request, _ string) {
		defer close(ended)
		w.Header().Set("Content-Type", "text/event-stream")
		event := `data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"` + strings.Repeat("x",
			1<<20) + `"}}` + "\n\n"
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, event); err != nil {
				return
			}
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = "mcp.example"
		f.handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	claims := f.issuer.Claims(resource, "read")
	r, err := http.NewRequest("POST", server.URL, strings.NewReader(listenToTools))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+f.issuer.Sign(claims))
	r.Header.Set("Content-Type", "application/json")
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	must(t, err)
	defer c.Close()
	must(t, r.Write(c))
	one := make([]byte, 1)
	_, err = c.Read(one) // it has begun, and no more of it is read
	must(t, err)
	must(t, f.list.Add(t.Context(), claims.GrantID, time.Now().Add(time.Hour)))
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the stream goes on")
	}
}

// A client that reads is told why its stream ends, however much is being written to it just then.
func TestABusyStreamSaysWhyItEnds(t *testing.T) {
	f := newFort(t)
	f.behind.answer = func(w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		event := `data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"` + strings.Repeat("x",
			64<<10) + `"}}` + "\n\n"
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, event); err != nil {
				return
			}
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = "mcp.example"
		f.handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			claims := f.issuer.Claims(resource, "read")
			claims.GrantID = fmt.Sprint("grt_", i)
			r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL, strings.NewReader(listenToTools))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+f.issuer.Sign(claims))
			r.Header.Set("Content-Type", "application/json")
			a, err := server.Client().Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer a.Body.Close()
			if err := f.list.Add(t.Context(), claims.GrantID, time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
			var last []byte // of the stream
			for piece := make([]byte, 64<<10); err == nil; {
				var n int
				n, err = a.Body.Read(piece)
				last = append(last, piece[:n]...)
				last = last[max(0, len(last)-1000):]
			}
			if err != io.EOF || !strings.Contains(string(last), `"id":"s"`) ||
				!strings.HasSuffix(string(last), "\n\n") {
				t.Errorf("it ends with %v and %q", err, last)
			}
		})
	}
	work.Wait()
}

// A kind of answer whose parameters cannot be read is of that kind all the same: clients look no
// further.
func TestAStreamIsOneWhateverItsParameters(t *testing.T) {
	for _, kind := range []string{"text/event-stream; utf-8", "text/event-stream;charset", "TEXT/EVENT-STREAM; =",
		"application/json; utf-8"} {
		f := newFort(t)
		f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", kind)
			if strings.Contains(strings.ToLower(kind), "stream") {
				io.WriteString(w, "data: "+allTools+"\n\n")
				return
			}
			io.WriteString(w, "["+allTools+"]")
		}
		if w := f.send(f.token("read"), call("read_it")); strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: got %d %s", kind, w.Code, w.Body)
		}
	}
}
