package guard_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
)

const listenToTools = `{"jsonrpc":"2.0","id":"s","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}`

// An answer that is replaced, because its server compresses it, is replaced while its stream is already watched and told: nothing more goes out, and nothing is written
// beside the lock (run with -race).
func TestAReplacedStreamIsToldNothing(t *testing.T) {
	var streams guard.Streams
	f := newFort(t, func(p *guard.Policy) { p.Streams = &streams })
	f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Encoding", "gzip")
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
				streams.ToolsChanged(func(string) bool { return true })
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

// A stream of nobody's ends when nobody may pass any more, as one of somebody's ends with its grant.
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

// RS-11: an access token in the URL does not reach the server behind, whoever comes with it: nobody comes so far with one but nobody.
func TestATokenInTheURLStaysAtTheGuard(t *testing.T) {
	f := newFort(t, func(p *guard.Policy) { p.Rollout, p.AllowAnonymous = modes{"": guard.Observe}, true })
	var came []string
	f.behind.answer = func(w http.ResponseWriter, r *http.Request, _ string) {
		came = append(came, r.URL.RawQuery+" "+r.RequestURI)
		io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}
	good := f.token("read")
	for query, want := range map[string]string{
		"a=1&access_token=secret&b=2": "a=1&b=2 /mcp?a=1&b=2", "access%5Ftoken=secret": " /mcp", "a=1;access_token=secret": " /mcp",
		"access_token=secret&a=%zz": " /mcp", "b=2&a=1": "b=2&a=1 https://mcp.example/mcp?b=2&a=1",
	} {
		for _, raw := range []string{"", good} {
			came = nil
			w := f.send(raw, call("read_it"), func(r *http.Request) { r.URL.RawQuery = query; r.RequestURI = r.URL.String() })
			if w.Code != 200 || len(came) != 1 || came[0] != want {
				t.Errorf("%s: got %d, and the server got %q", query, w.Code, came)
			}
		}
	}
}
