package gateway_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain is the test, or one of the processes that it starts: an MCP server on standard input and
// output.
func TestMain(m *testing.M) {
	switch os.Getenv("GATEWAY_TEST_PROCESS") {
	case "":
		os.Exit(m.Run())
	case "serve":
		serveLines()
	case "never":
		os.Exit(3)
	}
}

// serveLines is a server that answers each call in a goroutine of its own, so that answers come in
// any order.
func serveLines() {
	fmt.Fprintln(os.Stderr, "begun for", os.Getenv("GATEHOUSE_TENANT"), strings.Repeat("x", 5000))
	fmt.Println("a banner that is no message")
	var mu sync.Mutex
	say := func(format string, a ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", a...)
	}
	lines := bufio.NewScanner(os.Stdin)
	cancelled := map[string]chan struct{}{}
	for lines.Scan() {
		var m struct {
			ID     json.RawMessage
			Method string
			Params json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			os.Exit(4)
		}
		var p struct {
			Name      string
			Arguments struct{ Echo, Wait, Kind string }
			Meta      struct{ ProgressToken json.RawMessage } `json:"_meta"`
			RequestID json.RawMessage                         `json:"requestId"`
		}
		_ = json.Unmarshal(m.Params, &p)
		switch m.Method {
		case "initialize":
			say(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"`+cmp.Or(os.Getenv("GATEWAY_TEST_VERSION"),
				"2025-06-18")+
				`","capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{}},`+
				`"serverInfo":{"name":"lines","version":"1"},"instructions":"hello"}}`, m.ID)
		case "tools/list":
			say(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[%s%s,{"name":"slow","inputSchema":{"type":"object"}}]}}`,
				m.ID, os.Getenv("GATEWAY_TEST_TOOLS"), tools)
		case "resources/read":
			say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32002,"message":"no such resource"}}`, m.ID)
		case "notifications/cancelled":
			if c := cancelled[string(p.RequestID)]; c != nil {
				close(c)
			}
		case "tools/call":
			gone := make(chan struct{})
			cancelled[string(m.ID)] = gone
			go callLine(say, m.ID, m.Params, p.Arguments.Echo, p.Arguments.Kind, p.Meta.ProgressToken, gone)
		case "":
			fmt.Fprintln(os.Stderr, "answered", string(m.Error))
		default:
			if m.ID != nil {
				say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, m.ID)
			}
		}
	}
}

// callLine is one call of a tool; its text is what it knows.
func callLine(say func(string, ...any), id, params json.RawMessage, echo, kind string, token json.RawMessage,
	gone chan struct{}) {
	progress := func(format string, a ...any) {
		say(`{"jsonrpc":"2.0","method":"notifications/progress","params":`+format+`}`, a...)
	}
	switch kind {
	case "progress": // and what is nobody's, or cannot be read
		progress(`{"progressToken":%s,"progress":1,"total":2,"message":"%s"}`, token, echo)
		for _, foreign := range []string{`1`, `"1"`, `"mine"`, string(id), `""`, `null`} {
			progress(`{"progressToken":%s,"progress":7,"message":"invented"}`, foreign)
		}
		progress(`{"progressToken":%s,"ProgressToken":"mine","progress":7,"message":"folded"}`, token)
		progress(`{"progressToken":%s,"progress":"seven","message":"no number"}`, token)
		progress(`{"progressToken":%s,"progress":7,"message":"long %s"}`, token, strings.Repeat("x", 20<<10))
		progress("{\"progressToken\":%s,\r\"progress\":2,\"total\":2,\"message\":\"%s\",\"_meta\":{\r\"a\":1}}",
			token, echo)
		defer progress(`{"progressToken":%s,"progress":9,"message":"late"}`, token)
	case "late": // when the answer is out
		defer progress(`{"progressToken":%s,"progress":9}`, token)
	case "flood": // until the caller no longer waits
		for i := 0; ; i++ {
			select {
			case <-gone:
				return
			default:
				progress(`{"progressToken":%s,"progress":%d}`, token, i)
			}
		}
	case "steadily": // longer than an answer may take, and each part of it within that
		for i := range 12 {
			time.Sleep(400 * time.Millisecond)
			progress(`{"progressToken":%s,"progress":%d}`, token, i)
		}
	case "once": // and then nothing any more
		progress(`{"progressToken":%s,"progress":1}`, token)
		<-gone
		return
	case "die":
		os.Exit(5)
	case "hang":
		fmt.Fprintln(os.Stderr, "hanging")
		<-gone
		fmt.Fprintln(os.Stderr, "cancelled")
		return
	case "long":
		say(`{"result":{"content":[{"type":"text","text":"%s"}]},"jsonrpc":"2.0","id":%s}`,
			strings.Repeat("x", 1<<20), id)
		return
	case "longer": // than there is memory for it, and its id is a string
		say(`{"jsonrpc":"2.0","id":"%s","result":{"content":[{"type":"text","text":"%s\"id\":7}"}]}}`, id,
			strings.Repeat("x", 1<<20))
		return
	case "unreadable":
		say(`{"jsonrpc":"2.0","result":{"a":1,"a":2},"id":%s}`, id)
		return
	case "half": // of a surrogate pair, as programs write it that cut texts
		say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"cut `+
			`\ud83d"}],"structuredContent":{"a\tb":1}}}`, id)
		return
	case "half in an error":
		say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32050,"message":"cut \ud83d","data":{"a\tb":1}}}`, id)
		return
	case "neither":
		say(`{"jsonrpc":"2.0","id":%s,"error":null}`, id)
		return
	case "quoted":
		say(`{"jsonrpc":"2.0","id":"%s","error":null,"result":{"content":[{"type":"text","text":"quoted"}]}}`, id)
		return
	case "noise": // that is nothing to anybody
		for range 3 {
			say(`INFO {"jsonrpc":"2.0","id":%s,"result":{}}`, id)
			say(`{"jsonrpc":"2.0","id":987654,"result":{}}`)
			say(`{"jsonrpc":"2.0","id":%s,"method":"a","method":"b","result":{}}`, id)
			say(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		}
	case "remember": // in every place that is a program's own
		here, _ := os.Getwd()
		var kept []string
		folders := []string{here, os.Getenv("HOME"), os.TempDir()}
		for _, folder := range folders {
			text, _ := os.ReadFile(filepath.Join(folder, "memory")) // none yet
			kept = append(kept, string(text))
		}
		for _, folder := range folders {
			if err := os.WriteFile(filepath.Join(folder, "memory"), []byte(echo), 0o600); err != nil {
				kept = append(kept, err.Error())
			}
		}
		echo = strings.Join(kept, ";")
	case "ask":
		say(`{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}`)
		say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"of nobody"}}`)
	case "spawn":
		c := exec.Command("/bin/sleep", "600")
		if err := c.Start(); err == nil {
			echo = strconv.Itoa(c.Process.Pid)
		}
	}
	text, _ := json.Marshal(fmt.Sprint(echo, "|", os.Getenv("GATEHOUSE_TENANT"), "|", os.Args[len(os.Args)-1], "|",
		os.Getpid(), "|", len(os.Environ()), "|", string(params)))
	say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":%s}]}}`, id, text)
}

// lines is an upstream that is a command.
func lines(kind string, more ...string) string {
	return fmt.Sprintf(`  - name: crm
    resource: $URL/crm
    command: [%q, "for-{tenant}"]
    set: {GATEWAY_TEST_PROCESS: %s}
    scopes: [{name: read, description: Read, baseline: true}, {name: write, description: Write}]
    tools:
      - {name: read_it, scopes: [read]}
      - {name: slow, scopes: [read]}
    resources: [{name: "*", scopes: [read]}]
%s`, os.Args[0], kind, strings.Join(more, ""))
}

// saying is a call of a tool with arguments.
func saying(id, arguments string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"read_it","arguments":{` +
		arguments + `},"_meta":{"progressToken":1}}}`
}

// said is the text of an answer: what was said, for which tenant, the argument, the process, the
// size of its environment, the params.
func said(t testing.TB, a answer) []string {
	t.Helper()
	var m struct {
		ID     json.RawMessage
		Result struct{ Content []struct{ Text string } }
	}
	if err := json.Unmarshal([]byte(a.body), &m); err != nil || len(m.Result.Content) != 1 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	return append(strings.SplitN(m.Result.Content[0].Text, "|", 6), string(m.ID))
}

// Each tenant has a process of its own, which knows its tenant and nothing of the gateway's.
func TestOneProcessATenant(t *testing.T) {
	t.Setenv("GATEWAY_TEST_SECRET", "secret")
	g := openGate(t, lines("serve"))
	acme, globex := g.token("crm", "acme", "read"), g.token("crm", "globex", "read")
	a, b, again := said(t, g.post("crm", acme, saying("1", `"echo":"a"`))),
		said(t, g.post("crm", globex, saying("1", `"echo":"b"`))), said(t, g.post("crm", acme, saying(`"x"`, "")))
	if a[0] != "a" || a[1] != "acme" || a[2] != "for-acme" || b[0] != "b" || b[1] != "globex" || b[2] != "for-globex" {
		t.Errorf("got %v and %v", a, b)
	}
	if a[3] == b[3] || a[3] != again[3] || again[6] != `"x"` {
		t.Errorf("processes %s, %s and %s", a[3], b[3], again[3])
	}
	if a[4] != "2" { // the tenant and what was set
		t.Errorf("a process has %s variables", a[4])
	}
	if strings.Contains(a[5], `"progressToken":1`) || strings.Contains(a[5], "io.modelcontextprotocol") {
		t.Errorf("the process gets %s", a[5])
	}
	if log := g.log.String(); !strings.Contains(log, "begun for acme") ||
		strings.Contains(log, strings.Repeat("x", 1100)) {
		t.Error("what a process writes to standard error is not in the log, or not bounded there")
	}
}

// TN-03, TN-06: a tenant's id that is more than a word reaches no process.
func TestTenantsThatAreNoWord(t *testing.T) {
	g := openGate(t, lines("serve"))
	for _, tenant := range []string{"../acme", "-rf", "a b", "Acme", "a;b", "a/b", "{tenant}", "a\nb",
		strings.Repeat("a", 65)} {
		if got := g.post("crm", g.token("crm", tenant, "read"), saying("1", "")); got.status != 403 {
			t.Errorf("%q: got %d %s", tenant, got.status, got.body)
		}
	}
	if strings.Contains(g.log.String(), "begun") {
		t.Error("a process was started")
	}
}

// MC-15: a thousand calls of two clients of one tenant under the same ids; every answer goes to
// anyone who asked.
func TestAnswersGoToWhoAsked(t *testing.T) {
	g := openGate(t, lines("serve", "    limits: {per_tenant: 1000}\n"), "calls_per_minute: -1\n")
	tokens := []string{g.token("crm", "acme", "read"), g.token("crm", "acme", "read", "write")}
	var asking sync.WaitGroup
	for client := range 4 {
		asking.Go(func() {
			for i := range 250 {
				want := fmt.Sprintf("%d-%d", client, i)
				got := said(t, g.post("crm", tokens[client%2], saying("7", `"echo":"`+want+`"`)))
				if got[0] != want || got[6] != "7" {
					t.Errorf("got %v, want %s", got, want)
					return
				}
			}
		})
	}
	asking.Wait()
}

// Both eras are served from a process that knows only the older one.
func TestBothEras(t *testing.T) {
	g := openGate(t, lines("serve"))
	raw := g.token("crm", "acme", "read")
	initialize := func(version string) answer {
		return g.post("crm", raw, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+version+
			`","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
	}
	for asked, want := range map[string]string{"2025-11-25": "2025-06-18", "2025-03-26": "2025-03-26",
		"1999-01-01": "2025-06-18"} {
		got := initialize(asked)
		if got.status != 200 || !strings.Contains(got.body, `"protocolVersion":"`+want+`"`) ||
			strings.Contains(got.body, "subscribe") || strings.Contains(got.body, "logging") ||
			got.header.Get("Mcp-Session-Id") != "" {
			t.Errorf("initialize with %s: %d %s", asked, got.status, got.body)
		}
	}
	got := g.post("crm", raw, modernly("server/discover", ""), modern("server/discover", ""))
	if got.status != 200 || !strings.Contains(got.body, `"2026-07-28"`) ||
		!strings.Contains(got.body, `"name":"lines"`) || !strings.Contains(got.body, `"instructions":"hello"`) {
		t.Errorf("discover: %d %s", got.status, got.body)
	}
	got = g.post("crm", raw, modernly("tools/list", ""), modern("tools/list", ""))
	if got.status != 200 || listed(t, got.body) != "read_it slow" ||
		!strings.Contains(got.body, `"resultType":"complete"`) ||
		!strings.Contains(got.body, `"cacheScope":"private"`) {
		t.Errorf("list: %d %s", got.status, got.body)
	}
	got = g.post("crm", raw, modernly("tools/call", `"name":"read_it","arguments":{"echo":"hi"}`),
		modern("tools/call", "read_it"))
	if text := said(t, got); text[0] != "hi" || strings.Contains(text[5], "_meta") ||
		!strings.Contains(got.body, `"resultType":"complete"`) {
		t.Errorf("call: %d %s", got.status, got.body)
	}
	for _, row := range []struct {
		name, body string
		change     func(*http.Request) // nil: the older era
		status     int
		want       string
	}{
		{"a notification", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, nil, 202, ""},
		{"an answer to nothing", `{"jsonrpc":"2.0","id":1,"result":{}}`, nil, 400, "nothing was asked"},
		{"ping", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, nil, 200, `"result":{}`},
		{"a level for all", `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"debug"}}`, nil, 200,
			"-32601"},
		{"a subscription for all",
			`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"file:///a"}}`, nil, 200, "-32601"},
		{"an error of the process", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///a"}}`,
			nil, 200, "-32002"},
		{"the same in the modern era", modernly("resources/read", `"uri":"file:///a"`),
			modern("resources/read", "file:///a"), 400, "-32602"},
		{"a stream", modernly("subscriptions/listen", ""), modern("subscriptions/listen", ""), 404, "-32601"},
	} {
		change := func(*http.Request) {}
		if row.change != nil {
			change = row.change
		}
		if got := g.post("crm", raw, row.body, change); got.status != row.status ||
			!strings.Contains(got.body, row.want) {
			t.Errorf("%s: got %d %s, want %d %s", row.name, got.status, got.body, row.status, row.want)
		}
	}
}

// What a process asks of its client is refused, and what it tells unasked goes to nobody.
func TestProcessesAskNobody(t *testing.T) {
	g := openGate(t, lines("serve"))
	raw := g.token("crm", "acme", "read")
	if got := g.post("crm", raw, saying("1", `"kind":"ask","echo":"done"`)); said(t, got)[0] != "done" ||
		strings.Contains(got.body, "of nobody") {
		t.Errorf("got %s", got.body)
	}
	eventually(t, func() bool { return strings.Contains(g.log.String(), "passes no requests of servers on") })
}

// The end of a process fails what it worked on, and it is started again, more slowly each time.
func TestTheEndOfAProcess(t *testing.T) {
	g := openGate(t, lines("serve", "    limits: {answer_within: 30s, answer: 100000}\n"))
	raw := g.token("crm", "acme", "read")
	pid := said(t, g.post("crm", raw, saying("1", "")))[3]
	hung := make(chan answer)
	go func() { hung <- g.post("crm", raw, saying("2", `"kind":"hang"`)) }()
	if got := g.post("crm", raw, saying("3", `"kind":"die"`)); got.status != 502 ||
		!strings.Contains(got.body, "ended while it worked on this") {
		t.Errorf("the one that it died of: %d %s", got.status, got.body)
	}
	if got := <-hung; got.status != 502 && got.status != 503 { // it may have come after the end
		t.Errorf("the other: %d %s", got.status, got.body)
	}
	eventually(t, func() bool { _, body := g.get("/readyz"); return strings.Contains(body, `"crm":"failing"`) })
	if got := g.post("crm", raw, saying("4", "")); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("at once: %d %s", got.status, got.body)
	}
	if got := said(t, g.post("crm", g.token("crm", "globex", "read"), saying("1", ""))); got[1] != "globex" {
		t.Errorf("another tenant: %v", got)
	}
	g.later(2 * time.Second)
	if got := said(t, g.post("crm", raw, saying("5", ""))); got[3] == pid {
		t.Errorf("the same process answers: %v", got)
	}
	if got := g.post("crm", raw, saying("6", `"kind":"long"`)); got.status != 502 {
		t.Errorf("a line without end: %d %s", got.status, got.body)
	}
}

// A program that does not start is a 503, and is not tried again at once.
func TestAProgramThatDoesNotStart(t *testing.T) {
	g := openGate(t, lines("never"))
	raw := g.token("crm", "acme", "read")
	for range 3 {
		if got := g.post("crm", raw, saying("1", "")); got.status != 503 || strings.Contains(got.body, os.Args[0]) {
			t.Errorf("got %d %s", got.status, got.body)
		}
	}
	if n := strings.Count(g.log.String(), "ended by itself"); n != 1 {
		t.Errorf("it was started %d times", n)
	}
}

// Anyone who goes away, or says so, cancels the call at the process; nobody cancels another
// grant's.
func TestCancelling(t *testing.T) {
	g := openGate(t, lines("serve"))
	raw := g.token("crm", "acme", "read")
	said(t, g.post("crm", raw, saying("1", "")))
	ended := make(chan answer)
	go func() { ended <- g.post("crm", raw, saying("42", `"kind":"hang"`)) }()
	cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":42}}`
	other := g.issuer.Claims(g.url+"/crm", "read")
	other.GrantID = "grt_other"
	if got := g.post("crm", g.issuer.Sign(other), cancel); got.status != 202 {
		t.Errorf("another grant's: %d", got.status)
	}
	eventually(t, func() bool {
		g.post("crm", raw, cancel)
		return strings.Contains(g.log.String(), "text=cancelled")
	})
	if got := <-ended; !strings.Contains(got.body, "cancelled") {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// Only so many processes run; one that is idle makes room, and all end with the gateway, with what
// they started.
func TestProcessesAreBounded(t *testing.T) {
	g := openGate(t, lines("serve", "    limits: {processes: 2}\n"))
	for i := range 5 {
		tenant := fmt.Sprint("tenant-", i)
		if got := said(t, g.post("crm", g.token("crm", tenant, "read"), saying("1", ""))); got[1] != tenant {
			t.Errorf("got %v", got)
		}
	}
	hangs := make(chan answer, 2)
	for i := range 2 {
		raw := g.token("crm", fmt.Sprint("busy-", i), "read")
		said(t, g.post("crm", raw, saying("1", "")))
		go func() { hangs <- g.post("crm", raw, saying("2", `"kind":"hang"`)) }()
	}
	eventually(t, func() bool { return strings.Count(g.log.String(), "text=hanging") == 2 })
	if got := g.post("crm", g.token("crm", "acme", "read"), saying("1", "")); got.status != 503 ||
		got.header.Get("Retry-After") == "" {
		t.Errorf("when all are busy: %d %s", got.status, got.body)
	}
	must(t, g.gateway.Close())
	<-hangs
	<-hangs
}

func TestWhatAProcessStartedEndsWithIt(t *testing.T) {
	g := openGate(t, lines("serve"))
	got := said(t, g.post("crm", g.token("crm", "acme", "read"), saying("1", `"kind":"spawn"`)))
	must(t, g.gateway.Close())
	eventually(t, func() bool { return !alive(got[0]) })
	eventually(t, func() bool { return !alive(got[3]) })
}

// alive says whether a process of this id runs: one that has ended and was not waited for does not.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// eventually waits for what comes of itself.
func eventually(t testing.TB, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatal("it did not come about")
}
