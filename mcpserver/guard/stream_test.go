package guard_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

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
