package guard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop/dpoptest"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

// behind is somebody's MCP server, which knows nothing of scopes: it lists and does whatever it is
// asked.
type behind struct {
	mu     sync.Mutex
	bodies []string
	caller mcp.Caller
	answer func(w http.ResponseWriter, r *http.Request, body string) // nil: the tools
}

const allTools = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_it"},{"name":"write_it","description":"a ` +
	`\u00e9 \"quoted\" one"},{"name":"secret"},{"name":"unnamed"}],"cacheScope":"public","ttlMs":3600000}}`

func (b *behind) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.bodies = append(b.bodies, string(body))
	b.caller, _ = guard.CallerOf(r.Context())
	answer := b.answer
	b.mu.Unlock()
	if answer != nil {
		answer(w, r, string(body))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if strings.Contains(string(body), `"tools/list"`) {
		io.WriteString(w, allTools)
		return
	}
	io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`)
}

func (b *behind) got() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.bodies
	b.bodies = nil
	return out
}

var rules = guard.Rules{
	Tools: []guard.Rule{
		{Name: "read_it", Scopes: []string{"read"}}, {Name: "write_it", Scopes: []string{"write", "read"}, Write: true},
		{Name: "secret", Scopes: []string{"admin"}, Hidden: true},
		{Name: "free"}, {Name: "crm_*_get", Scopes: []string{"crm:read"}},
	},
	Prompts: []guard.Rule{{Name: "greet*", Scopes: []string{"read"}}},
	Resources: []guard.Rule{{Name: "file:///open/*", Scopes: []string{"read"}},
		{Name: "file:///*", Scopes: []string{"admin"}, Hidden: true}},
	Methods: []guard.Rule{{Name: "completion/complete", Scopes: []string{"read"}}},
	Implies: map[string][]string{"admin": {"write"}, "write": {"read"}},
}

// fort is a guard with rules before a server that has none.
type fort struct {
	*gate
	behind  *behind
	records []guard.Record
}

func newFort(t testing.TB, change ...func(*guard.Policy)) *fort {
	t.Helper()
	f := &fort{gate: newGate(t), behind: &behind{}}
	tables, err := guard.Always(rules)
	must(t, err)
	p := guard.Policy{Tables: tables, Record: func(r guard.Record) {
		f.mu.Lock() // streams end at once
		defer f.mu.Unlock()
		f.records = append(f.records, r)
	}}
	for _, c := range change {
		c(&p)
	}
	f.handler, err = f.guard.Enforce(f.behind, p)
	must(t, err)
	return f
}

// last is the newest record.
func (f *fort) last() *guard.Record { return &f.records[len(f.records)-1] }

// token is a good token with scopes.
func (f *fort) token(scopes ...string) string {
	return f.issuer.Sign(f.issuer.Claims(resource, scopes...))
}

// send posts a message with a token.
func (f *fort) send(raw, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	return f.ask(raw, append([]func(*http.Request){func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
	}}, change...)...)
}

func call(tool string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":{"a":1}}}`
}

// listed are the names of a list.
func listed(t *testing.T, body string) []string {
	t.Helper()
	var a struct {
		Result struct {
			Tools []struct{ Name string }
		}
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	out := []string{}
	for _, tool := range a.Result.Tools {
		out = append(out, tool.Name)
	}
	return out
}

func complete(ref string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{` + ref +
		`},"argument":{"name":"name","value":"a"}}}`
}

// RS-17, RS-18, RS-19, MC-04 to MC-06: each call needs all its scopes; what no rule speaks of, and
// what is hidden, is not there.
func TestCallsAreDecidedByRules(t *testing.T) {
	f := newFort(t)
	for _, row := range []struct {
		scopes string
		body   string
		want   string // "pass", the challenge's scopes, or "gone"
	}{
		{"read", call("read_it"), "pass"}, {"", call("read_it"), "read"}, {"", call("free"), "pass"},
		{"read", call("write_it"), "read write"}, {"write", call("write_it"), "pass"},
		{"admin", call("write_it"), "pass"}, {"other", call("write_it"), "other read write"},
		{"read write", call("secret"), "gone"}, {"admin", call("secret"), "pass"}, {"admin", call("unnamed"), "gone"},
		{"admin", call("Read_it"), "gone"}, {"admin", call("read_it "), "gone"},
		{"admin", call("ｒead_it"), "gone"}, {"admin", call(`read_it\u0000`), "gone"}, {"admin", call(""), "gone"},
		{"admin", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["read_it"]}}`, "gone"},
		{"crm:read", call("crm_a_get"), "pass"}, {"crm:*", call("crm_a_get"), "pass"},
		{"crm", call("crm_a_get"), "crm crm:read"}, {"crm:*", call("crm_a_gets"), "gone"},
		{"read", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"greeting"}}`, "pass"},
		{"read", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"other"}}`, "gone"},
		{"read", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///open/a"}}`, "pass"},
		{"read", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}`, "gone"},
		// TN-05
		{"read", `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"file:///etc/passwd"}}`,
			"gone"}, // MC-30
		{"read", complete(`"type":"ref/prompt","name":"greeting"`), "pass"},
		{"", complete(`"type":"ref/prompt","name":"greeting"`), "read"},
		{"read", complete(`"type":"ref/prompt","name":"other"`), "gone"},
		{"read", complete(`"type":"ref/resource","uri":"file:///open/{name}"`), "pass"},
		{"read", complete(`"type":"ref/resource","uri":"file:///open/a"`), "pass"},
		{"read", complete(`"type":"ref/resource","uri":"file:///{name}"`), "gone"},
		{"admin", complete(`"type":"ref/resource","uri":"file:///{name}"`), "pass"},
		{"read", complete(`"type":"ref/resource","uri":"file:///etc/passwd"`), "gone"},
		{"read", complete(`"type":"ref/resource","uri":"file:///open{/name}"`), "gone"},
		{"read", complete(`"type":"ref/resource","uri":"file:///open/../{name}"`), "gone"},
		{"read", complete(`"type":"ref/tool","name":"read_it"`), "gone"},
		{"read", complete(`"type":"ref/prompt","name":"greeting","uri":"file:///etc/passwd"`), "gone"},
		{"read", complete(`"type":"ref/prompt","name":["greeting"]`), "gone"},
		{"read", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{}}`, "gone"},
		{"read", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":[]}}`, "gone"},
		{"admin", `{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`, "gone"},
		{"", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "pass"},
		{"", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "pass"},
		{"", `{"jsonrpc":"2.0","id":1,"result":{}}`, "pass"},
	} {
		w := f.send(f.token(strings.Fields(row.scopes)...), row.body)
		got := f.behind.got()
		switch row.want {
		case "pass":
			if w.Code != 200 || len(got) != 1 || got[0] != row.body {
				t.Errorf("%q %s: got %d and %q behind, want the message byte for byte", row.scopes, row.body,
					w.Code, got)
			}
		case "gone":
			if w.Code != 200 || !strings.Contains(w.Body.String(), `"error"`) ||
				w.Header().Get("WWW-Authenticate") != "" || len(got) != 0 {
				t.Errorf("%q %s: got %d %s %q behind, want what is not there", row.scopes, row.body, w.Code,
					w.Body, got)
			}
		default:
			if want := `scope="` + row.want + `"`; w.Code != 403 ||
				!strings.Contains(w.Header().Get("WWW-Authenticate"), want) || len(got) != 0 {
				t.Errorf("%q %s: got %d %q, want a challenge with %s", row.scopes, row.body, w.Code,
					w.Header().Get("WWW-Authenticate"), want)
			}
		}
	}
}

// A URI that a server would resolve to another is open to nobody, and a name that is no string is
// no name: else a rule for one thing opens another.
func TestWhatIsNamedIsWhatIsMeant(t *testing.T) {
	f := newFort(t, func(p *guard.Policy) {
		tables, err := guard.Always(guard.Rules{
			Tools:     []guard.Rule{{Name: "admin", Scopes: []string{"admin"}}, {Name: "*"}},
			Resources: []guard.Rule{{Name: "file:///secret/*", Scopes: []string{"admin"}}, {Name: "*"}},
		})
		must(t, err)
		p.Tables = tables
	})
	read := func(uri string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"` + uri + `"}}`
	}
	for _, uri := range []string{"file:///public/a.b..c/d", "http://h.example/A?x=..", "demo://Res/Text:1",
		"test://x/a%2Fy", "file:///my%20files/100%", "demo://caf%C3%A9"} {
		if w := f.send(f.token("read"), read(uri)); w.Code != 200 || len(f.behind.got()) != 1 {
			t.Errorf("%s: got %d %s", uri, w.Code, w.Body)
		}
	}
	for _, body := range []string{
		read("file:///public/../secret/k"), read("file:///public/%2e%2E/secret/k"),
		read("file:///public/..%2fsecret/k"), read(`file:///public\\..\\secret/k`), read("FILE:///secret/k"),
		read("file:///s%65cret/k"), read("file:///secret%2Fk"), read("file:///%73%65cret/k"),
		read("file:///s%2565cret/k"), read("file:///public/%252e%252e/secret/k"), read("file:///s%25252565cret/k"),
		read("file:///secre%0At/k"), call("ADMIN"), call("admin "), call(" admin"), call("ａｄｍｉｎ"), call("x/../admin"),
		call(strings.Repeat("a", 129)),
		read("file:///./secret/k"), read("http://H.example/a"), read("file:///sec\\tret/k"),
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["admin"]}}`,
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":["file:///secret/k"]}}`,
	} {
		if w := f.send(f.token("read"), body); !strings.Contains(w.Body.String(), `"error"`) ||
			len(f.behind.got()) != 0 {
			t.Errorf("%s: got %d %s", body, w.Code, w.Body)
		}
	}
}

// A list that comes in the stream of another request's answer is cut down like any other, and one
// that only a reader who folds case would find does not come.
func TestListsInOtherAnswers(t *testing.T) {
	f := newFort(t)
	f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: "+allTools+"\n\n")
		for _, folded := range []string{`{"Result":{"tools":[{"name":"secret"}]}}`,
			`{"result":{"Tools":[{"name":"secret"}]}}`, `{"result":{"tools":[{"name":"read_it","Name":"secret"}]}}`,
			`{"params":{},"result":{"tools":[{"name":"secret"}]}}`} {
			io.WriteString(w, "data: "+strings.Replace(folded, "{", `{"jsonrpc":"2.0","id":2,`, 1)+"\n\n")
		}
		io.WriteString(w, `data: {"jsonrpc":"2.0","id":1,"result":{"content":[]}}`+"\n\n")
	}
	w := f.send(f.token("read"), call("read_it"))
	if body := w.Body.String(); w.Code != 200 || strings.Contains(body, "secret") ||
		!strings.Contains(body, "read_it") || !strings.Contains(body, `"content":[]`) {
		t.Errorf("got %d %s", w.Code, body)
	}
}

// Several messages in one answer, where no list was asked for, could hold the list that was asked
// for elsewhere: they do not come. One message comes byte for byte.
func TestABatchInAnAnswer(t *testing.T) {
	f := newFort(t)
	raw := f.token("read")
	for _, row := range []struct {
		body string
		code int
	}{
		{"[" + allTools + "]", 502}, {" \r\n\t[" + allTools + "]", 502}, {"\ufeff[" + allTools + "]", 502}, {"[]", 502},
		{` {"jsonrpc":"2.0", "id":1,"result":{"content":[]}}` + "\n", 200}, {"", 200}, {"  ", 200},
	} {
		for _, pieces := range []bool{false, true} {
			f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				w.Header().Set("ETag", `"a"`)
				if !pieces {
					io.WriteString(w, row.body)
					return
				}
				for _, b := range []byte(row.body) {
					if _, err := w.Write([]byte{b}); err != nil {
						return
					}
					w.(http.Flusher).Flush()
				}
			}
			w := f.send(raw, call("read_it"))
			if w.Code != row.code || strings.Contains(w.Body.String(), "secret") || row.code == 200 &&
				(w.Body.String() != row.body || w.Header().Get("ETag") == "") {
				t.Errorf("%q: got %d %q", row.body, w.Code, w.Body)
			}
		}
	}
}

// RS-15, MC-24: what the client showed goes no further, so that a server behind cannot send it on,
// unless it needs it and says so. The rest is as it came.
func TestTheTokenStaysAtTheGuard(t *testing.T) {
	for _, pass := range []bool{false, true} {
		f := newFort(t, func(p *guard.Policy) { p.PassToken = pass })
		var saw http.Header
		f.behind.answer = func(w http.ResponseWriter, r *http.Request, _ string) { saw = r.Header }
		raw := f.token("read")
		for _, body := range []string{call("read_it"), `{"jsonrpc":"2.0","method":"notifications/initialized"}`} {
			var sent http.Header
			f.send(raw, body, func(r *http.Request) { r.Header.Set("X-Trace", "7"); sent = r.Header })
			if saw == nil || (saw.Get("Authorization") != "") != pass || saw.Get("X-Trace") != "7" ||
				sent.Get("Authorization") == "" {
				t.Errorf("passing is %v: the server behind saw %v", pass, saw)
			}
			saw = nil
		}
	}
	f := newFort(t)
	var saw http.Header
	f.behind.answer = func(w http.ResponseWriter, r *http.Request, _ string) { saw = r.Header }
	k := dpoptest.NewKey(t, "ES256")
	claims := f.issuer.Claims(resource, "read")
	claims.Confirmation.JKT = k.JKT()
	raw := f.issuer.Sign(claims)
	f.send(raw, call("read_it"), func(r *http.Request) {
		r.Header.Set("Authorization", "DPoP "+raw)
		r.Header.Set("DPoP", k.Proof("POST", resource, dpoptest.Token(raw)))
	})
	if saw == nil || saw.Get("Authorization") != "" || saw.Get("DPoP") != "" {
		t.Errorf("the server behind saw %v", saw)
	}
}

// Hidden and unknown are one answer, byte for byte.
func TestHiddenIsAsIfItWereNotThere(t *testing.T) {
	f := newFort(t)
	raw := f.token("read")
	hidden, unknown := f.send(raw, call("secret")), f.send(raw, call("no_such_tool"))
	if hidden.Body.String() != unknown.Body.String() || hidden.Code != unknown.Code ||
		len(hidden.Header()) != len(unknown.Header()) {
		t.Errorf("got %d %s for a hidden tool and %d %s for none", hidden.Code, hidden.Body, unknown.Code, unknown.Body)
	}
}

// RS-27, MC-07 to MC-09, MC-19, MC-20: what two readers could read in two ways passes to nobody.
func TestWhatIsAmbiguousDoesNotPass(t *testing.T) {
	f := newFort(t)
	raw := f.token("admin", "read", "write")
	modern := func(headers ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				r.Header.Add(headers[i], headers[i+1])
			}
		}
	}
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.` +
		`modelcontextprotocol/clientCapabilities":{}}`
	good := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it",` + meta + `}}`
	if w := f.send(raw, good, modern("Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name",
		"read_it")); w.Code != 200 || len(f.behind.got()) != 1 {
		t.Fatalf("a good modern call: got %d %s", w.Code, w.Body)
	}
	for name, row := range map[string]struct {
		body   string
		change func(*http.Request)
	}{
		"a batch": {`[` + call("read_it") + `,` + call("secret") + `]`, nil}, "an empty batch": {`[]`, nil},
		"two methods": {`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`, nil},
		"two names": {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","name":"secret"}}`,
			nil}, "a name in " +
			"another case": {
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"secret","name":"read_it"}}`, nil},
		"an escaped twin": {
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","n\u0061me":"secret"}}`, nil},
		"two arguments": {
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":{"a":1,"a":2}}}`,
			nil},
		"a member too many": {`{"jsonrpc":"2.0","id":1,"Method":"ping","method":"tools/list"}`, nil},
		"no UTF-8":          {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\xff\"}", nil},
		"too deep": {`{"jsonrpc":"2.0","id":1,"method":"ping","params":` + strings.Repeat(`{"a":`, 100) + `1` +
			strings.Repeat(`}`, 100) + `}`, nil}, "trailing": {call("read_it") + call("secret"), nil},
		"another name in the header": {good, modern("Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call",
			"Mcp-Name", "free")},
		"another method in the header": {good, modern("Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list",
			"Mcp-Name", "read_it")},
		"no headers": {good, nil},
		"two headers": {good, modern("Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name",
			"read_it", "Mcp-Name", "secret")},
		"not JSON":         {call("read_it"), func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
		"compressed":       {call("read_it"), func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }},
		"asks and answers": {`{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`, nil},
		"endless":          {call(strings.Repeat("x", 2<<20)), nil},
		"a foreign origin": {call("read_it"), func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }},
		"a foreign host":   {call("read_it"), func(r *http.Request) { r.Host = "evil.example" }},
	} {
		change := row.change
		if change == nil {
			change = func(*http.Request) {}
		}
		w := f.send(raw, row.body, change)
		if got := f.behind.got(); w.Code < 400 || w.Code >= 500 || len(got) != 0 {
			t.Errorf("%s: got %d %s and %q behind, want a refusal", name, w.Code, w.Body, got)
		}
	}
	f.records = nil
	if w := f.send("", call("read_it")); w.Code != 401 || len(f.behind.got()) != 0 ||
		f.last().Refused != guard.RefusedNoToken {
		t.Errorf("without a token: got %d, recorded %+v", w.Code, f.last())
	}
}

// MC-05, MC-23, RS-23: a server's list is cut down to what is open, in JSON and in streams, however
// they are cut into pieces, and is the caller's alone.
func TestListsAreCutDown(t *testing.T) {
	f := newFort(t)
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	stream := func(text string, size int) func(http.ResponseWriter, *http.Request, string) {
		return func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			for at := 0; at < len(text); at += size {
				io.WriteString(w, text[at:min(at+size, len(text))])
				w.(http.Flusher).Flush()
			}
		}
	}
	for scopes, want := range map[string][]string{"": {}, "read": {"read_it"}, "write": {"read_it", "write_it"},
		"admin": {"read_it", "write_it", "secret"}} {
		raw := f.token(strings.Fields(scopes)...)
		f.behind.answer = nil
		w := f.send(raw, list)
		if got := listed(t, w.Body.String()); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", scopes, got, want)
		}
		if !strings.Contains(w.Body.String(), `"cacheScope":"private","ttlMs":0`) ||
			w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%q: the list may be shared: %s %v", scopes, w.Body, w.Header())
		}
		for _, end := range []string{"\n", "\r\n", "\r"} {
			text := strings.ReplaceAll(": hello\n\nevent: message\nid: 7\ndata: "+
				"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progress\":1}}\n\nevent: "+
				"message\ndata: "+strings.Replace(allTools, `,"cacheScope"`, ",\ndata: \"cacheScope\"", 1)+"\n\n",
				"\n", end)
			for _, size := range []int{1, 7, 1000, len(text)} {
				f.behind.answer = stream(text, size)
				w := f.send(raw, list)
				events := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(w.Body.String()), "\n\n")
				if len(events) != 4 || !strings.Contains(events[1], "progress") ||
					!strings.Contains(events[1], "id: 7") {
					t.Fatalf("%q in pieces of %d: got %q", scopes, size, w.Body)
				}
				_, data, _ := strings.Cut(events[2], "data: ")
				if got := listed(t, strings.ReplaceAll(data, "\ndata: ", "\n")); !slices.Equal(got, want) {
					t.Errorf("%q in pieces of %d: got %v, want %v", scopes, size, got, want)
				}
			}
		}
	}
	// An entry that cannot be read in one way alone is left out, and the others are there.
	for _, bad := range []string{`{"name":"read_it","name":"secret"}`, `{"Name":"secret","name":"read_it"}`,
		`{"name":["secret"]}`} {
		answer := `{"jsonrpc":"2.0","id":1,"result":{"tools":[` + bad + `,{"name":"read_it"}]}}`
		f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, answer)
		}
		if w := f.send(f.token("read"), list); w.Code != 200 ||
			!slices.Equal(listed(t, w.Body.String()), []string{"read_it"}) ||
			strings.Contains(w.Body.String(), "secret") {
			t.Errorf("beside %s: got %d %s", bad, w.Code, w.Body)
		}
	}
	// What cannot be read could be read by somebody else: it does not come through.
	for name, answer := range map[string]string{
		"two lists":     `{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"secret"}]}}`,
		"two results":   `{"jsonrpc":"2.0","id":1,"result":{},"result":{"tools":[{"name":"secret"}]}}`,
		"half a list":   `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"secret"}`,
		"a strange one": `{"jsonrpc":"2.0","id":1,"result":{"tools":{"name":"secret"}}}`,
		"a batch":       `[` + allTools + `]`,
	} {
		f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, answer)
		}
		if w := f.send(f.token("read"), list); w.Code != 502 || strings.Contains(w.Body.String(), "secret") ||
			!strings.Contains(w.Body.String(), `"id":1`) {
			t.Errorf("%s: got %d %s, want 502 without the list", name, w.Code, w.Body)
		}
		f.behind.answer = stream("data: "+answer+"\n\n", 5)
		if w := f.send(f.token("read"), list); strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s in a stream: got %s", name, w.Body)
		}
	}
	// A refusal in the server's own words keeps its status, which tells an older client that its
	// session is over; its words are not shown.
	f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
		http.Error(w, "session not found: secret", http.StatusNotFound)
	}
	if w := f.send(f.token("read"), list); w.Code != 404 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("a list that the server refuses: got %d %s, want its 404", w.Code, w.Body)
	}
	f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusAccepted) }
	if w := f.send(f.token("read"), list); w.Code != 202 || w.Body.Len() != 0 {
		t.Errorf("an empty answer: got %d %q", w.Code, w.Body)
	}
	f.behind.answer = stream("data: "+
		`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///etc/x"}}`+"\n\ndata: "+
		`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///open/x"}}`+"\n\n", 9)
	w := f.send(f.token("read"), `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}`,
		func(r *http.Request) {}) // MC-30
	if strings.Contains(w.Body.String(), "/etc/") || w.Code == 200 && !strings.Contains(w.Body.String(), "/open/") {
		t.Errorf("a listener: got %d %s, want to hear of what is open alone", w.Code, w.Body)
	}
}

// A server behind may still set the times of its streams.
func TestDeadlinesReachTheConnection(t *testing.T) {
	f := newFort(t)
	var read, write error
	f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
		c := http.NewResponseController(w)
		read, write = c.SetReadDeadline(time.Now().Add(time.Minute)), c.SetWriteDeadline(time.Now().Add(time.Minute))
	}
	server := httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter,
			r *http.Request) {
			r.Host = "mcp.example"
			f.handler.ServeHTTP(w, r)
		}))
	defer server.Close()
	r, err := http.NewRequest("POST", server.URL, strings.NewReader(call("read_it")))
	must(t, err)
	r.Header = http.Header{"Authorization": {"Bearer " + f.token("read")}, "Content-Type": {"application/json"}}
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	response.Body.Close()
	if response.StatusCode != 200 || read != nil || write != nil {
		t.Errorf("got %d, %v, %v", response.StatusCode, read, write)
	}
}

// MC-10 to MC-14, RS-21, S-13: an older client's session is its grant's, and nobody else's.
func TestSessionsBelongToTheirGrant(t *testing.T) {
	f := newFort(t)
	f.behind.answer = func(w http.ResponseWriter, r *http.Request, body string) {
		if strings.Contains(body, "initialize") {
			w.Header().Set("Mcp-Session-Id", "s.1")
		}
		w.Header().Set("X-Saw", r.Header.Get("Mcp-Session-Id"))
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}
	with := func(id string, methods ...string) func(*http.Request) {
		return func(r *http.Request) {
			if id != "" {
				r.Header.Set("Mcp-Session-Id", id)
			}
			for _, m := range methods {
				r.Method = m
			}
		}
	}
	mine := f.token("read")
	id := f.send(mine,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`).Header().Get(
		"Mcp-Session-Id")
	if !strings.HasPrefix(id, "s.1.") || len(id) < 40 {
		t.Fatalf("the session is called %q, want a name that says whose it is", id)
	}
	for _, method := range []string{"POST", "GET", "DELETE"} {
		if w := f.send(mine, call("read_it"), with(id, method)); w.Code != 200 || w.Header().Get("X-Saw") != "s.1" {
			t.Errorf("%s with one's own session: got %d, the server saw %q", method, w.Code, w.Header().Get("X-Saw"))
		}
		f.behind.got()
		claims := f.issuer.Claims(resource, "read")
		claims.GrantID = "grt_other"
		another := f.issuer.Sign(claims)
		claims = f.issuer.Claims(resource, "read")
		claims.TenantID = "globex"
		elsewhere := f.issuer.Sign(claims)
		for what, row := range map[string][2]string{
			"another grant's": {another, id}, "another tenant's": {elsewhere, id},
			"the server's own name": {mine, "s.1"}, "a made-up one": {mine, "s.2" + id[3:]},
			"a bent one": {mine, id[:len(id)-1]}, "nothing": {mine, "."},
		} {
			if w := f.send(row[0], call("read_it"), with(row[1], method)); w.Code != 404 || len(f.behind.got()) != 0 {
				t.Errorf("%s with %s: got %d, want 404 and nothing behind", method, what, w.Code)
			}
		}
		if w := f.send(mine, call("read_it"), with("", method),
			func(r *http.Request) { r.Header["Mcp-Session-Id"] = []string{id, id} }); w.Code != 404 ||
			len(f.behind.got()) != 0 {
			t.Errorf("%s with one's own session twice: got %d, want 404 and nothing behind", method, w.Code)
		}
		if w := f.send("", call("read_it"), with(id, method)); w.Code != 401 { // MC-11
			t.Errorf("%s with a session and no token: got %d, want 401", method, w.Code)
		}
	}
	for _, method := range []string{"GET", "DELETE", "PUT"} { // MC-13
		if w := f.send(mine, "", with("", method)); w.Code != 405 ||
			!strings.Contains(w.Header().Get("Allow"), "POST") {
			t.Errorf("%s without a session: got %d %v, want 405", method, w.Code, w.Header())
		}
	}
	other := newFort(t)
	if w := other.send(other.token("read"), call("read_it"), with(id)); w.Code != 404 {
		t.Errorf("at a server with another key: got %d, want 404", w.Code)
	}
}

// modes is a rollout by tenant and tool.
type modes map[string]guard.Mode

func (m modes) Mode(tenantID, name string) guard.Mode {
	if mode, ok := m[tenantID+"/"+name]; ok {
		return mode
	}
	return m[tenantID]
}

// In observe everything passes, and the true decision stands beside; writes are enforced first; a
// bad token never acts as anybody.
func TestRollout(t *testing.T) {
	m := modes{"acme": guard.Observe, "acme/secret": guard.Enforce}
	f := newFort(t, func(p *guard.Policy) { p.Rollout = m })
	raw := f.token()
	if w := f.send(raw, call("write_it")); w.Code != 200 || len(f.behind.got()) != 1 || !f.last().Passed ||
		f.last().Refused != "insufficient_scope" || f.last().Mode != guard.Observe || f.last().Decision.Allowed {
		t.Errorf("observed: got %d, recorded %+v", w.Code, f.last())
	}
	if w := f.send(raw, call("unnamed")); w.Code != 200 || len(f.behind.got()) != 1 || f.last().Refused != "hidden" {
		t.Errorf("observed, and no rule speaks of it: got %d, recorded %+v", w.Code, f.last())
	}
	if w := f.send(raw, call("secret")); strings.Contains(w.Body.String(), "result") || len(f.behind.got()) != 0 ||
		f.last().Passed {
		t.Errorf("enforced for one tool: got %d %s, recorded %+v", w.Code, w.Body, f.last())
	}
	if got := listed(t, f.send(raw, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`).Body.String()); !slices.Equal(got,
		[]string{"read_it", "write_it", "unnamed"}) {
		t.Errorf("observed: got %v listed, want all that passes", got)
	}
	m["acme"] = guard.EnforceWrites
	f.behind.got()
	if w := f.send(raw, call("write_it")); w.Code != 403 || len(f.behind.got()) != 0 {
		t.Errorf("a write, with writes enforced: got %d", w.Code)
	}
	if w := f.send(raw, call("read_it")); w.Code != 200 || len(f.behind.got()) != 1 {
		t.Errorf("a read, with writes enforced: got %d", w.Code)
	}
	if w := f.send(raw, call("unnamed")); w.Code != 200 || !strings.Contains(w.Body.String(), "-32602") ||
		len(f.behind.got()) != 0 {
		t.Errorf("what no rule names, with writes enforced: got %d %s", w.Code, w.Body)
	}
	m["acme"] = "a mode that is misspelt"
	if w := f.send(raw, call("read_it")); w.Code != 403 {
		t.Errorf("a mode that is none: got %d, want it enforced", w.Code)
	}
	// Nobody.
	bad := f.issuer.Sign(f.issuer.Claims("https://other.example/mcp", "admin"))
	for what, raw := range map[string]string{"no token": "", "another server's token": bad,
		"an expired one": f.issuer.Sign(expired(f))} {
		m["acme"], m[""] = guard.Observe, guard.Observe
		if w := f.send(raw, call("read_it")); w.Code != 401 || len(f.behind.got()) != 0 {
			t.Errorf("%s, observed: got %d, want 401 as long as the operator lets nobody in", what, w.Code)
		}
		open := newFort(t, func(p *guard.Policy) { p.Rollout, p.AllowAnonymous = m, true })
		if raw != "" {
			raw = open.issuer.Sign(open.issuer.Claims("https://other.example/mcp", "admin"))
		}
		if w := open.send(raw, call("read_it")); w.Code != 200 || open.behind.caller.TenantID != "" ||
			open.last().Caller.TenantID != "" || open.last().Refused != map[bool]string{true: guard.RefusedNoToken,
			false: "invalid_token"}[raw == ""] {
			t.Errorf("%s, with no one authorized: got %d as %+v, recorded %+v", what, w.Code, open.behind.caller,
				open.last())
		}
		m[""] = guard.Enforce
		if w := open.send(raw, call("read_it")); w.Code != 401 {
			t.Errorf("%s, enforced: got %d, want 401", what, w.Code)
		}
		m[""], m["/read_it"] = guard.Observe, guard.Enforce
		if w := open.send(raw, call("read_it")); w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s, enforced for the tool: got %d, want to be asked for a token", what, w.Code)
		}
		delete(m, "/read_it")
	}
}

func expired(f *fort) any {
	c := f.issuer.Claims(resource, "admin")
	c.Expires = time.Now().Add(-time.Hour).Unix()
	return c
}

// MC-26, DS-04: a stream ends with its token and its grant, and one grant holds so many open.
func TestStreamsEnd(t *testing.T) {
	f := newFort(t, func(p *guard.Policy) { p.MaxStreams = 2 })
	ended := make(chan struct{}, 8)
	f.behind.answer = func(w http.ResponseWriter, r *http.Request, body string) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n")
		w.(http.Flusher).Flush()
		if strings.Contains(body, "tools/call") {
			return
		}
		<-r.Context().Done()
		_, err := io.WriteString(w, "data: {\"after\":1}\n\n")
		if err == nil {
			t.Error("something went out after the end")
		}
		ended <- struct{}{}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = "mcp.example"
		f.handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	ask := func(raw, body string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL, strings.NewReader(body))
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+raw)
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		must(t, err)
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	listen := func(raw string) *http.Response { return ask(raw, listenToTools) }
	claims := f.issuer.Claims(resource, "read")
	raw := f.issuer.Sign(claims)
	first, second := listen(raw), listen(raw)
	f.behind.got()
	if first.StatusCode != 200 || second.StatusCode != 200 || first.Header.Get("X-Accel-Buffering") != "no" { // RS-40
		t.Fatalf("got %d and %d, %v", first.StatusCode, second.StatusCode, first.Header)
	}
	if third := listen(raw); third.StatusCode != 429 || third.Header.Get("Retry-After") == "" ||
		len(f.behind.got()) != 0 {
		t.Errorf("one stream too many: got %d, want 429 before the server is asked", third.StatusCode)
	}
	if called := ask(raw, call("read_it")); called.StatusCode != 200 { // it would have been done, and then refused
		t.Errorf("a call that is answered by a stream: got %d", called.StatusCode)
	}
	must(t, f.list.Add(context.Background(), claims.GrantID, time.Now().Add(time.Hour)))
	for _, r := range []*http.Response{first, second} {
		body, err := io.ReadAll(r.Body)
		if err != nil || strings.Contains(string(body), "after") {
			t.Errorf("after the end of the grant: got %v %s", err, body)
		}
		<-ended
	}
	claims.GrantID = "grt_next"
	short := listen(f.issuer.Sign(claims, tokentest.Algorithm("ES256")))
	f.step(time.Hour)
	if body, err := io.ReadAll(short.Body); err != nil || strings.Contains(string(body), "after") {
		t.Errorf("after the end of the token: got %v %s", err, body)
	}
}

func TestRulesThatAreNone(t *testing.T) {
	for name, r := range map[string]guard.Rules{
		"no name":    {Tools: []guard.Rule{{Scopes: []string{"a"}}}},
		"no scope":   {Tools: []guard.Rule{{Name: "a", Scopes: []string{""}}}},
		"two in one": {Tools: []guard.Rule{{Name: "a", Scopes: []string{"a b"}}}},
		"a circle":   {Implies: map[string][]string{"a": {"b"}, "b": {"a"}}},
	} {
		if _, err := r.Compile(); err == nil {
			t.Errorf("%s: got nil, want an error", name)
		}
	}
	g := newGate(t)
	if _, err := g.guard.Enforce(g.handler, guard.Policy{}); err == nil {
		t.Error("a policy without rules: got nil, want an error")
	}
}
