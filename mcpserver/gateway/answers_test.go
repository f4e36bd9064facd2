package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// A line of a process that cannot be passed on fails the one request that it answers, at once and
// by its id; the process goes on, with what others asked of it.
func TestABadLineFailsItsOwnRequestAlone(t *testing.T) {
	g := openGate(t, lines("serve", "    limits: {answer_within: 10m, answer: 100000}\n"))
	raw := g.token("crm", "acme", "read")
	pid := said(t, g.post("crm", raw, saying("1", "")))[3]
	hung := make(chan answer, 1)
	go func() { hung <- g.post("crm", raw, saying("42", `"kind":"hang"`)) }()
	eventually(t, func() bool { return strings.Contains(g.log.String(), "text=hanging") })
	for kind, want := range map[string]string{"long": "more than is passed on", "longer": "more than is passed on",
		"unreadable": "no message", "neither": "no message"} {
		if got := g.post("crm", raw, saying(`"a-`+kind+`"`, `"kind":"`+kind+`"`)); got.status != 502 ||
			!strings.Contains(got.body, want) || !strings.Contains(got.body, `"id":"a-`+kind+`"`) {
			t.Errorf("%s: %d %s", kind, got.status, got.body)
		}
	}
	if got := g.post("crm", raw, saying("3", `"kind":"quoted"`)); got.status != 200 ||
		!strings.Contains(got.body, `"text":"quoted"`) || !strings.Contains(got.body, `"id":3`) {
		t.Errorf("an answer to 3 as \"3\", with an error that is none: %d %s", got.status, got.body)
	}
	for range 2 {
		if got := said(t, g.post("crm", raw, saying("4", `"kind":"noise","echo":"heard"`))); got[0] != "heard" ||
			got[3] != pid {
			t.Errorf("after noise: %v, want the process %s", got, pid)
		}
	}
	for _, what := range []string{"a line longer than limits.answer", "a line that is no message",
		"an answer without a request", "a notification"} {
		if n := strings.Count(g.log.String(), `what="`+what+`"`); n != 1 {
			t.Errorf("%s was reported %d times, want once", what, n)
		}
	}
	eventually(t, func() bool {
		g.post("crm", raw, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":42}}`)
		select {
		case got := <-hung:
			return strings.Contains(got.body, "cancelled")
		default:
			return false
		}
	})
}

// streaming answers a call in events.
func streaming(events ...string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range events {
			io.WriteString(w, e)
		}
	}
}

// errorOf is the error of the last event of a stream, by its request's id.
func errorOf(t *testing.T, stream string) (id, message string) {
	t.Helper()
	_, data, _ := strings.Cut(stream[max(0, strings.LastIndex(stream, "data: ")):], "data: ")
	var m struct {
		ID    json.RawMessage
		Error struct{ Message string }
	}
	if err := json.Unmarshal([]byte(data), &m); err != nil {
		t.Fatalf("%v in %.300q", err, stream)
	}
	return string(m.ID), m.Error.Message
}

// A request whose streamed answer is cut gets an error for its id, and has one line in the log with
// the reason.
func TestCutAnswersSayWhy(t *testing.T) {
	b := newBehind(t)
	const limit = 1 << 20
	g := openGate(t, crm(b.URL, fmt.Sprintf("    limits: {answer: %d, idle: 200ms}\n", limit)))
	raw := g.token("crm", "acme", "read")
	event := func(m string) string { return "event: message\ndata: " + m + "\n\n" }
	result := func(text string) string {
		return `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"` + text + `"}]}}`
	}
	progress := event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`)
	for name, row := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, string)
		want   string
	}{
		"too long an event": {streaming(progress, event(result(strings.Repeat("x", limit)))), "more than is passed on"},
		"broken off": {func(w http.ResponseWriter, r *http.Request, body string) {
			streaming(progress, "data: {\"half")(w, r, body)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "does not answer"},
		"silent for too long": {func(w http.ResponseWriter, r *http.Request, body string) {
			streaming(progress)(w, r, body)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "took too long"},
		"unreadable": {streaming(progress, event(`{"jsonrpc":"2.0","id":7,"result":{"tools":[],"tools":[]}}`)),
			"not one JSON message"},
	} {
		b.answers(row.answer)
		before := g.log.String()
		got := g.post("crm", raw, call("read_it"))
		if id, message := errorOf(t, got.body); id != "7" || !strings.Contains(message, row.want) ||
			!strings.Contains(got.body, "notifications/progress") {
			t.Errorf("%s: got %s %s in %.300q", name, id, message, got.body)
		}
		eventually(t, func() bool { return strings.Contains(strings.TrimPrefix(g.log.String(), before), "path=/crm") })
		if log := strings.TrimPrefix(g.log.String(), before); strings.Count(log, "path=/crm") != 1 ||
			strings.Count(log, " cut=") != 1 || !strings.Contains(log, row.want) {
			t.Errorf("%s: the log has\n%s", name, log)
		}
	}
	b.answers(streaming(progress, event(result(strings.Repeat("x", limit-200)))))
	if got := g.post("crm", raw, call("read_it")); strings.Contains(got.body, `"error"`) || len(got.body) < limit-200 {
		t.Errorf("within the limit: %d bytes %.300s", len(got.body), got.body)
	}
	g = openGate(t, crm(b.URL, "    limits: {answer: 33554432}\n"))
	b.answers(streaming(event(result(strings.Repeat("x", 9<<20)))))
	if got := g.post("crm", g.token("crm", "acme", "read"), call("read_it")); strings.Contains(got.body, `"error"`) ||
		len(got.body) < 9<<20 {
		t.Errorf("the limit of streams does not follow that of answers: %d bytes %.300s", len(got.body), got.body)
	}
	// One that can be taken up again is broken off, for its client takes it up.
	b.answers(func(w http.ResponseWriter, r *http.Request, body string) {
		streaming("id: 1\ndata: \n\n")(w, r, body)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	if got := g.post("crm", g.token("crm", "acme", "read"), call("read_it")); strings.Contains(got.body, `"error"`) {
		t.Errorf("a stream that can be taken up again: %s", got.body)
	}
	eventually(t, func() bool { return strings.Contains(g.log.String(), "aborted=true") })
}
