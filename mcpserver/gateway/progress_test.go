package gateway_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// progressing is a call of a tool that tells of its progress.
func progressing(id, token, arguments string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"read_it","arguments":{` +
		arguments + `},"_meta":{"progressToken":` + token + `}}}`
}

// streamed are the messages of an answer that is a stream.
func streamed(t *testing.T, a answer) (all []map[string]any) {
	t.Helper()
	if kind := a.header.Get("Content-Type"); a.status != 200 || kind != "text/event-stream" {
		t.Fatalf("got %d %s %s", a.status, kind, a.body)
	}
	for event := range strings.SplitSeq(strings.TrimSpace(a.body), "\n\n") {
		data, ok := strings.CutPrefix(event, "event: message\ndata: ")
		var m map[string]any
		if err := json.Unmarshal([]byte(data), &m); !ok || err != nil {
			t.Fatalf("the event %q: %v", event, err)
		}
		all = append(all, m)
	}
	return all
}

// What a program tells of progress goes to who asked, on the answer to that request alone, under
// the token of theirs: also where two have the same, and whatever the program invents.
func TestProgressGoesToWhoAsked(t *testing.T) {
	g := openGate(t, lines("serve"))
	raw := g.token("crm", "acme", "read")
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			token := []string{`1`, `"1"`, `"mine"`, `1.5`}[i%4]
			whose := fmt.Sprint("of ", i)
			a := g.post("crm", raw, progressing("1", token, `"kind":"progress","echo":"`+whose+`"`))
			all := streamed(t, a)
			if len(all) != 3 {
				t.Errorf("%d messages: %s", len(all), a.body)
				return
			}
			for n, m := range all[:2] {
				params, _ := m["params"].(map[string]any)
				got, _ := json.Marshal(params["progressToken"])
				if m["method"] != "notifications/progress" || string(got) != token ||
					params["progress"] != float64(n+1) || params["total"] != 2.0 || params["message"] != whose {
					t.Errorf("got %v, want progress %d %s under %s", m, n+1, whose, token)
				}
			}
			if last := all[2]; last["id"] != 1.0 || !strings.Contains(fmt.Sprint(last["result"]), whose) {
				t.Errorf("the answer is %v", last)
			}
		})
	}
	work.Wait()
	for what, want := range map[string]int{"progress without a request": 1, "progress that cannot be read": 1,
		"progress that is too long": 1} {
		if n := strings.Count(g.log.String(), what); n != want {
			t.Errorf("%q is in the log %d times, want %d", what, n, want)
		}
	}
	if strings.Contains(g.log.String(), "invented") {
		t.Error("what a program tells nobody is in the log")
	}
	// Without a token, and with one that is none, the answer is one message as ever.
	for _, token := range []string{"null", "{}", "true", `["1"]`, `"` + strings.Repeat("x", 2000) + `"`} {
		if a := g.post("crm", raw, progressing("1", token, `"echo":"plain"`)); !strings.HasPrefix(
			a.header.Get("Content-Type"), "application/json") || said(t, a)[0] != "plain" ||
			strings.Contains(a.body, "progressToken") {
			t.Errorf("with %.40s: %s %s", token, a.header.Get("Content-Type"), a.body)
		}
	}
	// And in the modern era.
	body := strings.Replace(modernly("tools/call", `"name":"read_it","arguments":{"kind":"progress","echo":"modern"}`),
		`"_meta":{`, `"_meta":{"progressToken":"m",`, 1)
	a := g.post("crm", raw, body, modern("tools/call", "read_it"))
	if all := streamed(t, a); len(all) != 3 || !strings.Contains(a.body, `"progressToken":"m"`) ||
		!strings.Contains(a.body, `"resultType":"complete"`) {
		t.Errorf("modern: %s", a.body)
	}
}

// A token is good until the answer: what a program tells under it afterwards is nobody's.
func TestATokenEndsWithItsRequest(t *testing.T) {
	g := openGate(t, lines("serve"))
	if a := said(t,
		g.post("crm", g.token("crm", "acme", "read"),
			progressing("1", `1`, `"kind":"late","echo":"early"`))); a[0] != "early" {
		t.Errorf("got %v", a)
	}
	eventually(t, func() bool { return strings.Contains(g.log.String(), "progress without a request") })
}

// A program may take as long as it tells of progress; one that told of some and then of none is
// given up, in the stream that has begun.
func TestProgressGivesTime(t *testing.T) {
	g := openGate(t, lines("serve", "    limits: {answer_within: 3s}\n"))
	raw := g.token("crm", "acme", "read")
	said(t, g.post("crm", raw, saying("0", ""))) // it runs
	if a := g.post("crm", raw, progressing("1", `"a"`, `"kind":"steadily","echo":"in the end"`)); !strings.Contains(
		a.body, "in the end") || strings.Count(a.body, "notifications/progress") != 12 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	a := g.post("crm", raw, progressing(`"x"`, `"a"`, `"kind":"once"`))
	if all := streamed(t, a); len(all) != 2 || all[1]["id"] != "x" ||
		!strings.Contains(fmt.Sprint(all[1]["error"]), "took too long") {
		t.Errorf("got %s", a.body)
	}
	if a := g.post("crm", raw, saying("3", `"kind":"hang"`)); a.status != 504 {
		t.Errorf("without progress: %d %s", a.status, a.body)
	}
}

// Progress is bounded by call_timeout, and by nothing that a program does: it harms no other
// caller.
func TestProgressWithoutEndIsCut(t *testing.T) {
	g := openGate(t, lines("serve"), "call_timeout: 3s\n")
	raw := g.token("crm", "acme", "read")
	done := make(chan answer)
	go func() { done <- g.post("crm", raw, progressing("1", `1`, `"kind":"flood"`)) }()
	if a := said(t, g.post("crm", raw, saying("2", `"echo":"meanwhile"`))); a[0] != "meanwhile" {
		t.Errorf("another call: %v", a)
	}
	if a := <-done; !strings.Contains(a.body, "call_timeout") {
		t.Errorf("got %d, %d bytes, ending %q", a.status, len(a.body), a.body[max(0, len(a.body)-300):])
	}
}
