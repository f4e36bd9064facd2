package gateway_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// step is one request of a trace; again: in the session that was given last.
type step struct {
	upstream, body string
	again          bool
}

// trace is a random trace of a tenant's, the same for the same seed: over HTTP and to a process,
// calls that succeed, that are refused and that fail, with an answer of one message and with a
// stream, without a session and in one that was given before.
func trace(seed uint64, steps int) []step {
	r := rand.New(rand.NewPCG(seed, 1))
	bodies := []string{
		list, call("read_it"), call("write_it"), call("unnamed"), call("slow"),
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///open/a"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `[]`, `{`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},` +
			`"clientInfo":{"name":"x","version":"1"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`,
	}
	var all []step
	for range steps {
		body := bodies[r.IntN(len(bodies))]
		if r.IntN(3) == 0 {
			body = saying(fmt.Sprint(r.IntN(5)), fmt.Sprintf(`"echo":"%d"`, r.IntN(1000)))
		}
		all = append(all, step{[]string{"web", "crm"}[r.IntN(2)], body, r.IntN(3) == 0})
	}
	return all
}

// eventMACs bind event ids to the caller and the resource, whose URL differs from one run to the
// next.
var eventMACs = regexp.MustCompile(`\b(id: s\.\d+)\.[\w-]{22}`)

// ids are what differs from one run to the next without meaning anything: support codes, sessions,
// processes, tokens for progress.
var ids = regexp.MustCompile(`support code [a-z2-7]{12}\b|inner-session\.[\w-]+|\|\d+\||progressToken\\":\\"[A-Z2-7]+`)

// client is a tenant's program, which takes up its sessions.
type client struct {
	*gate
	tokens, sessions map[string]string
}

func (c *client) do(s step) answer {
	a := c.post(s.upstream, c.tokens[s.upstream], s.body, func(r *http.Request) {
		if id := c.sessions[s.upstream]; s.again && id != "" {
			r.Header.Set("Mcp-Session-Id", id)
		}
	})
	if id := a.header.Get("Mcp-Session-Id"); id != "" {
		c.sessions[s.upstream] = id
	}
	return a
}

// streaming answers calls that have something to echo with a stream, and all else as before.
func (b *behind) streaming() {
	plain := &behind{}
	b.answers(func(w http.ResponseWriter, r *http.Request, body string) {
		_, echo, ok := strings.Cut(body, `"echo":"`)
		if !ok {
			r.Body = io.NopCloser(strings.NewReader(body))
			plain.ServeHTTP(w, r)
			return
		}
		echo, _, _ = strings.Cut(echo, `"`)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: s.%s\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n",
			echo)
		w.(http.Flusher).Flush()
		fmt.Fprintf(w,
			"data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":%q}]}}\n\n",
			echo+r.Header.Get("Mcp-Session-Id"))
	})
}

// TestTenantsDoNotInterfere runs one tenant's trace twice, alone and beside another tenant who asks
// for as much as can be asked for. Every answer is the same.
func TestTenantsDoNotInterfere(t *testing.T) {
	const steps = 150
	t.Setenv("GATEWAY_TEST_SESSIONS", strings.Repeat("s", 32)) // so that events have one name in both
	run := func(beside bool) []string {
		b := newBehind(t)
		b.streaming()
		g := openGate(t, strings.ReplaceAll(crm(b.URL, tenants), "crm", "web")+
			lines("serve", "    limits: {processes: 8}\n"),
			"calls_per_minute: -1\nsession_key: {env: GATEWAY_TEST_SESSIONS}\n")
		program := func(tenant string) *client {
			return &client{g, map[string]string{"web": g.token("web", tenant, "read"),
				"crm": g.token("crm", tenant, "read")}, map[string]string{}}
		}
		stop := make(chan struct{})
		var others sync.WaitGroup
		if beside {
			for i := range 3 {
				acme := program("acme")
				others.Go(func() {
					for n := uint64(0); ; n++ {
						for _, s := range trace(1000*uint64(i)+n, 20) {
							select {
							case <-stop:
								return
							default:
								acme.do(s)
							}
						}
					}
				})
			}
		}
		var answers []string
		globex := program("globex")
		for _, s := range trace(7, steps) {
			a := globex.do(s)
			answers = append(answers, fmt.Sprint(a.status, " ", a.header.Get("Content-Type"), " ",
				a.header.Get("WWW-Authenticate"), " ", a.header.Get("Mcp-Session-Id"), " ", a.body))
		}
		close(stop)
		others.Wait()
		for i, a := range answers {
			a = eventMACs.ReplaceAllString(a, "$1")
			answers[i] = strings.ReplaceAll(ids.ReplaceAllString(a, "ID"), g.url, "URL")
		}
		return answers
	}
	alone, beside := run(false), run(true)
	if all := strings.Join(alone, "\n"); !strings.Contains(all, "text/event-stream") ||
		!strings.Contains(all, "inner-session\"") {
		t.Errorf("there is no stream, or none in a session: %s", all)
	}
	for i := range alone {
		if alone[i] != beside[i] {
			t.Errorf("step %d, %v:\nalone  %s\nbeside %s", i, trace(7, steps)[i], alone[i], beside[i])
		}
	}
}
