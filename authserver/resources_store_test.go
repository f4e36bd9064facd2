package authserver_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// act does an act of the operator's in a running server.
func act(t *testing.T, s *authserver.Server, name string, arguments any) error {
	t.Helper()
	encoded, err := json.Marshal(arguments)
	must(t, err)
	_, err = s.Operator().Act(context.Background(), name, encoded)
	return err
}

// What somebody else wrote, and what only an earlier setting allowed, is left out, and stops
// neither the issuer nor the commands: they can remove it.
func TestAResourceThatDoesNotDo(t *testing.T) {
	h := startServer(t)
	must(t, act(t, h.Server, "resource.put", authserver.Resource{URI: "https://notes.example/mcp",
		Scopes: []authserver.Scope{{Name: "notes:read", Description: "Read"}}}))
	h.sql("UPDATE resources SET uri = $1", "http://notes.example/mcp")
	h.sql("UPDATE resources_revision SET revision = revision + 1")
	second := h.process()
	t.Cleanup(func() { second.Close() })
	handler := second.Handler()
	h.handler.Store(&handler)
	if m := h.described("/.well-known/oauth-authorization-server"); len(m["protected_resources"].([]any)) != 1 {
		t.Errorf("the metadata name %v", m["protected_resources"])
	}
	if !h.Log.Contains("plain http on a host that is not this machine") {
		t.Error("the log does not say what is left out")
	}
	must(t, act(t, second, "resource.remove", "http://notes.example/mcp"))
}

// A protected server is made while the issuer runs: its tokens are issued from the next request on,
// the metadata name it, and another replica knows it within a second, with the key of an algorithm
// that was not in use. The configuration's own are changed there alone.
func TestAResourceIsMadeWhileItRuns(t *testing.T) {
	h := startServer(t)
	other := h.process()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { other.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended; other.Close() })
	machine := h.machine("acme", "customers:read")
	notes := authserver.Resource{URI: "https://notes.example/mcp", Name: "Notes", Algorithm: "EdDSA",
		AccessTokenLifetime: 3 * time.Minute, Scopes: []authserver.Scope{{Name: "customers:read", Description: "Read"}}}
	ask := url.Values{"grant_type": {"client_credentials"}, "resource": {notes.URI}}
	if status, answer := machine.token(ask); status != 400 || answer["error"] != "invalid_target" {
		t.Fatalf("before: %d %v", status, answer)
	}
	must(t, act(t, h.Server, "resource.put", notes))
	status, answer := machine.token(ask)
	if status != 200 || answer["expires_in"] != float64(180) {
		t.Fatalf("after: %d %v", status, answer)
	}
	if head, _, _ := strings.Cut(answer["access_token"].(string), "."); head == "" {
		t.Error("no token")
	}
	if m := h.described("/.well-known/oauth-authorization-server"); len(m["protected_resources"].([]any)) != 2 {
		t.Errorf("the metadata name %v", m["protected_resources"])
	}
	handler := other.Handler()
	h.handler.Store(&handler) // the same client asks the other replica
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(20 * time.Millisecond) {
		if status, _ := machine.token(ask); status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("another replica does not know it")
		}
	}
	for what, wrong := range map[string]authserver.Resource{
		"the configuration's": {URI: resourceURI, Scopes: notes.Scopes}, "no scopes": {URI: notes.URI},
		"a fragment":     {URI: "https://a.example/#x", Scopes: notes.Scopes},
		"http":           {URI: "http://a.example/mcp", Scopes: notes.Scopes},
		"a long life":    {URI: notes.URI, AccessTokenLifetime: 2 * time.Hour, Scopes: notes.Scopes},
		"OpenID's scope": {URI: notes.URI, Scopes: []authserver.Scope{{Name: "openid", Description: "x"}}},
		"the issuer":     {URI: h.URL, Scopes: notes.Scopes},
		"a scope twice":  {URI: notes.URI, Scopes: append(notes.Scopes, notes.Scopes...)},
		"two words":      {URI: notes.URI, Scopes: []authserver.Scope{{Name: "a b", Description: "x"}}},
	} {
		if err := act(t, h.Server, "resource.put", wrong); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	must(t, act(t, other, "resource.remove", notes.URI))
	if status, _ := machine.token(ask); status != 400 {
		t.Errorf("removed: %d", status)
	}
	if err := act(t, other, "resource.remove", resourceURI); err == nil {
		t.Error("the configuration's was removed")
	}
}
