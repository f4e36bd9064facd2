package guard_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// FuzzEvents: however a server writes its stream and however that is cut into pieces, what is not
// open comes out in no event, and the pieces change nothing.
func FuzzEvents(f *testing.F) {
	const tools = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_it"},{"name":"secret"}]}}`
	for _, text := range []string{
		"data: " + tools + "\n\n", "event: message\r\ndata: " + tools + "\r\n\r\n", "data:" + tools + "\r\r",
		": hello\n\nid: 7\ndata\ndata: " + tools + "\n\n",
		"data: " + strings.Replace(tools, `,"result"`, ",\ndata: \"result\"", 1) + "\n\n",
		"\ufeffdata: " + tools + "\n\n", "data: " + tools + "\n", "data: " + tools, "\n\ndata: x\n\n",
		"data: {}\rdata: " + tools + "\n\r\n", "retry: 1\ndata: [" + tools + "]\n\n", "data:\u00a0" + tools + "\n\n",
		"data : " + tools + "\n\n", "Data: " + tools + "\n\n", "data: \ndata: " + tools + "\n\n",
	} {
		for _, size := range []byte{1, 7, 200} {
			f.Add(text, size)
		}
	}
	fort := newFort(f)
	raw := fort.token("read")
	through := func(text string, size int) string {
		fort.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", "text/event-stream")
			for at := 0; at < len(text); at += size {
				io.WriteString(w, text[at:min(at+size, len(text))])
			}
		}
		fort.records = nil
		w := fort.send(raw, list)
		fort.behind.got()
		return w.Body.String()
	}
	f.Fuzz(func(t *testing.T, text string, size byte) {
		got := through(text, int(size)+1)
		for _, data := range eventsOf(got) {
			var a map[string]json.RawMessage
			var result map[string]json.RawMessage
			var tools []map[string]json.RawMessage
			if json.Unmarshal([]byte(data), &a) != nil || json.Unmarshal(a["result"], &result) != nil ||
				json.Unmarshal(result["tools"], &tools) != nil {
				continue
			}
			for _, tool := range tools {
				var name string
				if json.Unmarshal(tool["name"], &name) == nil && name == "secret" {
					t.Errorf("%q in pieces of %d: %q came through", text, int(size)+1, data)
				}
			}
		}
		if whole := through(text, len(text)+1); whole != got {
			t.Errorf("%q is %q in pieces of %d, and %q in one", text, got, int(size)+1, whole)
		}
	})
}

// eventsOf reads a stream as the standard has it (HTML, "Interpreting an event stream"), and
// returns the data of its events, also of one that did not end: some clients take it.
func eventsOf(stream string) []string {
	stream = strings.TrimPrefix(stream, "\ufeff")
	stream = strings.ReplaceAll(strings.ReplaceAll(stream, "\r\n", "\n"), "\r", "\n")
	var all []string
	var data []string
	for line := range strings.SplitSeq(stream+"\n\n", "\n") {
		if line == "" {
			if len(data) > 0 {
				all = append(all, strings.Join(data, "\n"))
			}
			data = nil
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		if name == "data" {
			data = append(data, strings.TrimPrefix(value, " "))
		}
	}
	return all
}
