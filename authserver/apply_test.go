package authserver_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// What a file changes counts at once where it was applied, and at another replica within a second:
// a client that it narrows, a tenant's policy, a resource.
func TestAFileCountsAtEveryReplica(t *testing.T) {
	h := startServer(t)
	other := h.process()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { other.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended; other.Close() })
	here, there := h.Server.Handler(), other.Handler()
	at := func(replica string) {
		h.handler.Store(map[string]*http.Handler{"here": &here, "there": &there}[replica])
	}
	apply := func(text string) []authserver.Change {
		b, err := authserver.ReadManifest([]byte(text))
		must(t, err)
		changes, err := h.Server.Operator().Apply(ctx, b)
		must(t, err)
		return changes
	}
	const notes = "resources:\n  - uri: https://notes.example/mcp\n    scopes:\n      - {name: 'notes:read', " +
		"description: Read}\n"
	changes := apply(notes + "tenants:\n  - id: initech\n    clients:\n      - name: nightly\n        scopes: " +
		"[notes:read, customers:read]\n")
	made := changes[len(changes)-1]
	machine := app{h, made.ClientID, made.Secret}
	ask := func(resource, scope string) url.Values {
		return url.Values{"grant_type": {"client_credentials"}, "resource": {resource}, "scope": {scope}}
	}
	until := func(what string, form url.Values, want int) {
		t.Helper()
		began := time.Now()
		for {
			status, answer := machine.token(form)
			if status == want {
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%s: got %d %v, want %d", what, status, answer, want)
			}
			<-time.After(20 * time.Millisecond)
		}
		t.Logf("%s: after %s", what, time.Since(began).Round(time.Millisecond))
	}
	at("there")
	until("a resource there", ask("https://notes.example/mcp", "notes:read"), 200)
	until("a client there", ask(resourceURI, "customers:read"), 200)

	apply("tenants:\n  - id: initech\n    clients:\n      - name: nightly\n        scopes: [notes:read]\n")
	until("a narrower client there", ask(resourceURI, "customers:read"), 400)
	at("here")
	if status, answer := machine.token(ask(resourceURI, "customers:read")); status != 400 {
		t.Errorf("a narrower client here: got %d %v, want it at once", status, answer)
	}
	at("there")
	until("what it still has", ask("https://notes.example/mcp", "notes:read"), 200)
	apply("tenants:\n  - id: initech\n    policy:\n      registrations: [document]\n")
	until("a policy that refuses it there", ask("https://notes.example/mcp", "notes:read"), 400)
	at("here")
	if status, _ := machine.token(ask("https://notes.example/mcp", "notes:read")); status != 400 {
		t.Error("the policy does not count at once where it was set")
	}
}
