package authserver_test

import (
	"context"
	"net/url"
	"sync"
	"testing"
	"time"
)

// said is a registration as an MCP client sends it at every connection.
func said(change map[string]any) map[string]any {
	m := map[string]any{
		"client_name": "MCP CLI Proxy", "redirect_uris": []string{"http://127.0.0.1:3334/oauth/callback"},
		"token_endpoint_auth_method": "none",
		"software_id":                "2e6dc280-f3c3-4e01-99a7-8181dbd1d23d", "software_version": "0.1.29",
	}
	for name, value := range change {
		m[name] = value
	}
	return m
}

// Registrations pile up (clients.md 2.1 no. 6). Those who say the same of themselves share one,
// which is nobody's to manage.
func TestRegistrationsAreShared(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) { c.MaxClients = 3 })
	first := h.register(said(nil))
	_, answer := h.post("/oauth2/register", "application/json", `{"client_name":"MCP CLI Proxy",
		"redirect_uris":["http://127.0.0.1:3334/oauth/callback"],
		"software_id":"2e6dc280-f3c3-4e01-99a7-8181dbd1d23d","software_version":"0.1.29"}`, nil)
	if answer["client_id"] != first.ID || answer["registration_access_token"] != nil ||
		answer["registration_client_uri"] != nil || answer["client_secret"] != nil {
		t.Errorf("registering again: got %v, want the same client and nothing to manage it with", answer)
	}
	for what, change := range map[string]map[string]any{
		"another redirect URI": {"redirect_uris": []string{"https://evil.example/cb"}},
		"with a secret":        {"token_endpoint_auth_method": "client_secret_basic"},
	} {
		if other := h.register(said(change)); other.ID == first.ID {
			t.Errorf("%s: got the same client", what)
		}
	}
	secret := said(map[string]any{"token_endpoint_auth_method": "client_secret_basic"})
	if a, b := h.register(secret), h.register(secret); a.ID == b.ID || a.Secret == b.Secret {
		t.Errorf("with a secret, twice: got %v and %v, want two clients", a, b)
	}

	// Nobody manages it: not even the first to register it.
	for _, token := range []string{"", "ghm_guess"} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			if status, answer := h.manage(method, first.ID, token,
				map[string]string{"PUT": "{}"}[method]); status != 401 {
				t.Errorf("%s with %q: got %d %v, want 401", method, token, status, answer)
			}
		}
	}

	// Two people's programs share the client and nothing else.
	ann, bob := h.person("ann@acme.example"), h.person("bob@globex.example")
	first = h.register(said(nil))
	redirect := func(form url.Values) url.Values {
		form.Set("redirect_uri", "http://127.0.0.1:3334/oauth/callback")
		return form
	}
	tokens := func(p *person) string {
		q := p.approve(redirect(first.authorization("customers:read")))
		status, answer := first.token(redirect(redemption(q.Get("code"))))
		if status != 200 {
			t.Fatalf("got %d %v", status, answer)
		}
		return answer["refresh_token"].(string)
	}
	anns, bobs := tokens(ann), tokens(bob)
	if status, _ := h.post("/oauth2/revoke", "application/x-www-form-urlencoded",
		url.Values{"client_id": {first.ID}, "token": {anns}}.Encode(), nil); status != 200 {
		t.Errorf("revoking: got %d", status)
	}
	if first.alive(anns) || !first.alive(bobs) {
		t.Error("ann's program ended bob's permission, or not its own")
	}

	must(t, h.Store.DeleteClient(context.Background(), first.ID, h.Clock.Now()))
	h.start() // this process may remember the client for a second
	if again := h.register(said(nil)); again.ID == first.ID {
		t.Error("a deleted client came back to life")
	}
}

// DR-19: of 50 at once all get one client, which is there.
func TestManyRegisterTheSameAtOnce(t *testing.T) {
	h := startServer(t)
	var mu sync.Mutex
	ids := map[string]int{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			a := h.register(said(nil))
			mu.Lock()
			defer mu.Unlock()
			ids[a.ID]++
		})
	}
	wg.Wait()
	if len(ids) != 1 {
		t.Fatalf("got %v, want one client", ids)
	}
	for id := range ids {
		if _, err := h.Store.Client(context.Background(), id); err != nil {
			t.Error(err)
		}
	}
}

// A shared client that nobody has authorized yet is not gone a minute after somebody got it,
// however old it is.
func TestASharedClientIsAsYoungAsItsLastRegistration(t *testing.T) {
	ctx, h := context.Background(), startServer(t, func(c *authserverConfig) { c.MaxClients = 2 })
	first := h.register(said(nil))
	h.Clock.step(59 * time.Minute)
	other := h.register(map[string]any{})
	h.Clock.step(time.Second)
	h.register(said(nil))
	h.Clock.step(time.Minute)
	h.clean()
	h.register(map[string]any{"client_name": "third"}) // for which the oldest goes
	if _, err := h.Store.Client(ctx, first.ID); err != nil {
		t.Errorf("got %v, want it there", err)
	}
	if _, err := h.Store.Client(ctx, other.ID); err == nil {
		t.Error("the oldest is still there")
	}
}
