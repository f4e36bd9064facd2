package guard_test

import (
	"bufio"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
)

// compressed is a ResponseWriter of a middleware that compresses, and passes on what is flushed.
type compressed struct {
	http.ResponseWriter
	coder interface {
		io.WriteCloser
		Flush() error
	}
}

func (w *compressed) Write(p []byte) (int, error) { return w.coder.Write(p) }

func (w *compressed) Flush() {
	_ = w.coder.Flush()
	w.ResponseWriter.(http.Flusher).Flush()
}

// compressing is such a middleware: it asks the request, or it does not.
func compressing(coding string, always bool, next func(http.ResponseWriter, *http.Request, string)) func(
	http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, r *http.Request, body string) {
		if !always && !strings.Contains(r.Header.Get("Accept-Encoding"), coding) {
			next(w, r, body)
			return
		}
		w.Header().Set("Content-Encoding", coding)
		w.Header().Del("Content-Length")
		c := &compressed{ResponseWriter: w, coder: gzip.NewWriter(w)}
		if coding == "deflate" {
			c.coder = zlib.NewWriter(w)
		}
		next(c, r, body)
		_ = c.coder.Close() // to a client that has gone
	}
}

// A server whose middleware compresses works behind the guard, whether it asks or not: what is
// compressed is undone, cut down like all else, and bounded.
func TestACompressingMiddlewareWorksBehindTheGuard(t *testing.T) {
	const text = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"$"}]}}`
	bomb := strings.Repeat("x", 4<<20)
	for _, row := range []struct {
		name, coding, kind, body, text string
		status                         int
		want, not                      string
	}{
		{"a list", "gzip", "application/json", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, allTools, 200,
			"read_it", "secret"},
		{"a list", "deflate", "application/json", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, allTools, 200,
			"read_it", "secret"},
		{"a list in a stream", "gzip", "text/event-stream", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
			"data: " + allTools + "\n\n", 200, "read_it", "secret"},
		{"a call", "gzip", "application/json", call("read_it"), text, 200, `"text":"$"`, "\x1f\x8b"},
		{"a call in a stream", "gzip", "text/event-stream", call("read_it"), "data: " + text + "\n\n", 200,
			`"text":"$"`, "\x1f\x8b"},
		{"a list as an answer to a call", "gzip", "text/event-stream", call("read_it"), "data: " + allTools + "\n\n",
			200, "read_it", "secret"},
		{"two messages", "gzip", "application/json", call("read_it"), "[" + allTools + "," + text + "]", 502,
			"not one JSON message", "secret"},
		{"too much", "gzip", "application/json", call("read_it"), strings.ReplaceAll(text, "$", bomb), 502,
			"more than is passed on", "xxx"},
		{"too much in a stream", "gzip", "text/event-stream", call("read_it"),
			"data: " + strings.ReplaceAll(text, "$", bomb) + "\n\n", 200, "more than is passed on", "xxx"},
		{"an unknown coding", "br", "application/json", call("read_it"), text, 502, "content coding", "$"},
	} {
		for _, always := range []bool{false, true} {
			f := newFort(t, func(p *guard.Policy) { p.MaxAnswer = 1 << 20 })
			f.behind.answer = compressing(row.coding, always, func(w http.ResponseWriter, _ *http.Request, _ string) {
				w.Header().Set("Content-Type", row.kind)
				_, _ = io.WriteString(w, row.text)
			})
			if !always && (row.status != 200 || strings.HasPrefix(row.name, "too much")) {
				continue
			}
			w := f.send(f.token("read"), row.body,
				func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip, deflate, br") })
			if got := w.Body.String(); w.Code != row.status || !strings.Contains(got, row.want) ||
				strings.Contains(got, row.not) || w.Header().Get("Content-Encoding") != "" {
				t.Errorf("%s, %s, always %v: got %d %.300q", row.name, row.coding, always, w.Code, got)
			}
		}
	}
}

// A coding counts in whichever header it stands, and several are none that is undone; a header that
// names none is none. What a header says of the body that its server wrote does not go on with
// another.
func TestACodingCountsWhereverItStands(t *testing.T) {
	squeezed := func(text string) string {
		var b strings.Builder
		z := gzip.NewWriter(&b)
		_, err := io.WriteString(z, text)
		must(t, err)
		must(t, z.Close())
		return b.String()
	}
	for _, row := range []struct {
		headers []string
		status  int
	}{
		{[]string{"gzip"}, 200}, {[]string{"", "gzip"}, 200}, {[]string{"identity", "gzip"}, 200},
		{[]string{"identity, GZIP"}, 200}, {[]string{" gzip ", ""}, 200},
		{[]string{"gzip", "gzip"}, 502}, {[]string{"gzip, br"}, 502}, {[]string{"", "br"}, 502},
	} {
		for kind, text := range map[string]string{
			"application/json": "[" + allTools + "]", "text/event-stream": "data: " + allTools + "\n\n",
		} {
			f := newFort(t)
			f.behind.answer = func(w http.ResponseWriter, r *http.Request, _ string) {
				h := w.Header()
				h["Content-Encoding"] = row.headers
				for _, name := range []string{"ETag", "Content-Digest", "Repr-Digest", "Digest", "Content-MD5",
					"Accept-Ranges"} {
					h.Set(name, "x")
				}
				h.Set("Content-Type", kind)
				_, _ = io.WriteString(w, squeezed(text))
			}
			w := f.send(f.token("read"), call("read_it"))
			status, plain := row.status, row.status == 200 && kind == "text/event-stream"
			if !plain {
				status = 502 // a batch is no answer
			}
			got := w.Body.String()
			if w.Code != status || strings.Contains(got, "\x1f\x8b") || strings.Contains(got, "secret") ||
				strings.Contains(got, "read_it") != plain || len(w.Header()["Content-Encoding"]) > 0 {
				t.Errorf("%q %s: got %d %q %.200q", row.headers, kind, w.Code, w.Header(), got)
			}
			for _, name := range []string{"ETag", "Content-Digest", "Repr-Digest", "Digest", "Content-MD5",
				"Accept-Ranges"} {
				if plain && w.Header().Get(name) != "" {
					t.Errorf("%q %s: %s goes on", row.headers, kind, name)
				}
			}
		}
	}
}

// A part of an answer is not asked for: of a stream it could begin within a line, which would be
// none that is cut down.
func TestNoPartOfAnAnswerIsAskedFor(t *testing.T) {
	f := newFort(t)
	f.behind.answer = func(w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("data: "+allTools+"\n\n"))
	}
	for name, change := range map[string]func(*http.Request){
		"a range": func(r *http.Request) { r.Header.Set("Range", "bytes=3-") },
		"if":      func(r *http.Request) { r.Header.Set("Range", "bytes=3-"); r.Header.Set("If-Range", `"x"`) },
	} {
		w := f.send(f.token("read"), `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, change)
		if got := w.Body.String(); w.Code != 200 || strings.Contains(got, "secret") ||
			!strings.Contains(got, "read_it") {
			t.Errorf("%s: got %d %s", name, w.Code, got)
		}
	}
}

// What cannot be undone is no answer, and says so where it can.
func TestWhatIsNotOfItsCodingIsNoAnswer(t *testing.T) {
	var whole strings.Builder
	z := gzip.NewWriter(&whole)
	_, err := io.WriteString(z, allTools)
	must(t, err)
	must(t, z.Close())
	for name, bytes := range map[string]string{"plain text": allTools, "half": whole.String()[:whole.Len()/2],
		"more behind": whole.String() + "x", "a wrong sum": whole.String()[:whole.Len()-8] + "12345678"} {
		for _, body := range []string{`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, call("read_it")} {
			f := newFort(t)
			f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Encoding", "gzip")
				for i := range len(bytes) {
					if _, err := io.WriteString(w, bytes[i:i+1]); err != nil {
						return
					}
				}
			}
			if w := f.send(f.token("read"), body); w.Code != 502 || strings.Contains(w.Body.String(), "read_it") {
				t.Errorf("%s: got %d %s", name, w.Code, w.Body)
			}
		}
	}
}

// What a stream has flushed goes on at once, though it is compressed, and what the stream answers
// is looked at.
func TestACompressedStreamGoesOnAsItComes(t *testing.T) {
	f := newFort(t)
	heard := make(chan struct{})
	f.behind.answer = compressing("gzip", true, func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w,
			"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,"+
				"\"progress\":1}}\n\n")
		w.(http.Flusher).Flush()
		<-heard
		_, _ = io.WriteString(w,
			"data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[],\"isError\":true}}\n\n")
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = "mcp.example"
		f.handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	r, err := http.NewRequest("POST", server.URL, strings.NewReader(call("read_it")))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+f.token("read"))
	r.Header.Set("Content-Type", "application/json")
	a, err := server.Client().Do(r)
	must(t, err)
	defer a.Body.Close()
	from := bufio.NewReader(a.Body)
	line, err := from.ReadString('\n')
	if err != nil || !strings.Contains(line, "progress") {
		t.Fatalf("got %q %v", line, err)
	}
	close(heard)
	rest, err := io.ReadAll(from)
	if err != nil || !strings.Contains(string(rest), "isError") {
		t.Errorf("got %q %v", rest, err)
	}
	server.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.last(); l.Failure != "isError" || l.Outcome() != guard.OutcomeFailed {
		t.Errorf("recorded %+v", l)
	}
}

// A call whose answer says that it failed is recorded as one that did, however it says so; one
// whose text only looks like it is not.
func TestACallThatFailedIsRecordedAsOne(t *testing.T) {
	for _, row := range []struct {
		kind, text, failure, outcome string
		status                       int
	}{
		{"application/json",
			`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\"isError\":true"}]}}`, "",
			guard.OutcomeOK, 200},
		{"application/json", `{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}`, "isError",
			guard.OutcomeFailed, 200},
		{"application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}`, "error -32602",
			guard.OutcomeFailed, 200},
		{"application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}`, "error -32602",
			guard.OutcomeFailed, 400},
		{"text/event-stream",
			": hello\n\ndata: " +
				"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"isError\":true}}\n\ndata: " +
				"{\"jsonrpc\":\"2.0\",\"id\":1,\ndata: \"result\":{\"isError\":true}}\n\n", "isError",
			guard.OutcomeFailed, 200},
		{"text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32000,\"message\":\"\"}}\n\n",
			"error -32000", guard.OutcomeFailed, 200},
		{"text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[]}}\n\n", "",
			guard.OutcomeOK, 200},
		{"text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[\"" + strings.Repeat("x",
			9<<20) + "\"]}}\n\n", "cut", guard.OutcomeFailed, 200},
		{"text/event-stream",
			"data: {\"a\":{\"b\":[\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32000}}\n\n",
			"error -32000", guard.OutcomeFailed, 200},
		{"text/event-stream",
			"data: \"a\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"isError\":true}}\n\ndata: " +
				"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n", "isError", guard.OutcomeFailed, 200},
		{"text/plain", "{", "", guard.OutcomeOK, 200},
	} {
		f := newFort(t)
		f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", row.kind)
			w.WriteHeader(row.status)
			_, _ = io.WriteString(w, row.text)
		}
		f.send(f.token("read"), call("read_it"))
		if l := f.last(); l.Failure != row.failure || l.Outcome() != row.outcome {
			t.Errorf("%s %.200s: recorded %q %q, want %q %q", row.kind, row.text, l.Failure, l.Outcome(), row.failure,
				row.outcome)
		}
		// A list that fails is no call: what became of it is its status.
		f.send(f.token("read"), `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		if l := f.last(); l.Failure != "" {
			t.Errorf("a list: recorded %q", l.Failure)
		}
	}
}
