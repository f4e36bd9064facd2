package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// step is one request of a trace.
type step struct{ upstream, body string }

// trace is a random trace of a tenant's, the same for the same seed: over HTTP and to a process, calls that succeed, that are refused and that fail.
func trace(seed uint64, steps int) []step {
	r := rand.New(rand.NewPCG(seed, 1))
	bodies := []string{
		list, call("read_it"), call("write_it"), call("unnamed"), call("slow"), `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///open/a"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}`, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, `[]`, `{`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`,
	}
	var all []step
	for range steps {
		body := bodies[r.IntN(len(bodies))]
		if r.IntN(3) == 0 {
			body = saying(fmt.Sprint(r.IntN(5)), fmt.Sprintf(`"echo":"%d"`, r.IntN(1000)))
		}
		all = append(all, step{[]string{"web", "crm"}[r.IntN(2)], body})
	}
	return all
}

// ids are what differs from one run to the next without meaning anything: support codes, sessions, processes.
var ids = regexp.MustCompile(`[a-z2-7]{12}\b|inner-session\.[\w-]+|\|\d+\|`)

// TestTenantsDoNotInterfere runs one tenant's trace twice, alone and beside another tenant who asks for as much as can be asked for. Every answer is the same.
func TestTenantsDoNotInterfere(t *testing.T) {
	const steps = 150
	run := func(beside bool) []string {
		b := newBehind(t)
		g := openGate(t, strings.ReplaceAll(crm(b.URL, tenants), "crm", "web")+lines("serve", "    limits: {processes: 8}\n"), "calls_per_minute: -1\n")
		tokens := map[string]map[string]string{}
		for _, tenant := range []string{"globex", "acme"} {
			tokens[tenant] = map[string]string{"web": g.token("web", tenant, "read"), "crm": g.token("crm", tenant, "read")}
		}
		stop := make(chan struct{})
		var others sync.WaitGroup
		if beside {
			for i := range 3 {
				others.Go(func() {
					for n := uint64(0); ; n++ {
						for _, s := range trace(1000*uint64(i)+n, 20) {
							select {
							case <-stop:
								return
							default:
								g.post(s.upstream, tokens["acme"][s.upstream], s.body)
							}
						}
					}
				})
			}
		}
		var answers []string
		for _, s := range trace(7, steps) {
			a := g.post(s.upstream, tokens["globex"][s.upstream], s.body)
			answers = append(answers, fmt.Sprint(a.status, " ", a.header.Get("Content-Type"), " ", a.header.Get("WWW-Authenticate"), " ", a.header.Get("Mcp-Session-Id"), " ", a.body))
		}
		close(stop)
		others.Wait()
		for i, a := range answers {
			answers[i] = strings.ReplaceAll(ids.ReplaceAllString(a, "ID"), g.url, "URL")
		}
		return answers
	}
	alone, beside := run(false), run(true)
	for i := range alone {
		if alone[i] != beside[i] {
			t.Errorf("step %d, %v:\nalone  %s\nbeside %s", i, trace(7, steps)[i], alone[i], beside[i])
		}
	}
}
