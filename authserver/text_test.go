package authserver_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

// What a client calls itself is shown without anything that hides or turns what stands beside it,
// and with what its language needs.
func TestNamesOfClientsAreClean(t *testing.T) {
	h := startServer(t)
	for name, want := range map[string]string{
		"Cla\u202eedu\u2066": "Claedu", "\u3164\u2800Agent\u200b \u00ad": "Agent", "می\u200cخواهم": "می\u200cخواهم",
		"👩\u200d💻 Agent": "👩\u200d💻 Agent", "a\u200db": "ab",
	} {
		a := h.register(map[string]any{"client_name": name})
		c, err := h.Store.Client(context.Background(), a.ID)
		if err != nil || c.Name != want {
			t.Errorf("%+q: got %+q %v, want %+q", name, c.Name, err, want)
		}
	}
	ask := h.register(map[string]any{}).authorization("customers:read")
	ask.Set("login_hint", "ann\u202e@acme.example")
	if at := h.person("ann@acme.example").open("/oauth2/authorize?" + ask.Encode()); strings.Contains(at.body,
		"\u202e") || !strings.Contains(at.body, "ann@acme.example") {
		t.Errorf("the hint is on the page as it came: %.400s", at.body)
	}
}

// One account for one address, however its domain is written, also one from before domains were
// kept in ASCII form.
func TestOneAccountForOneAddress(t *testing.T) {
	h := startServer(t)
	hash, err := hashed()
	must(t, err)
	for id, kept := range map[string]string{"usr_new": "dora@xn--bcher-kva.example", "usr_old": "emil@bücher.example"} {
		must(t, h.Store.CreateUser(context.Background(), user.User{ID: id, Email: kept, Name: id, PasswordHash: hash,
			CreatedAt: h.Clock.Now()}))
		local, _, _ := strings.Cut(kept, "@")
		for _, domain := range []string{"bücher.example", "BÜCHER.example", "bu\u0308cher.example",
			"xn--bcher-kva.example", "XN--BCHER-KVA.example"} {
			h.person(local+"@"+domain).try(password).want(t, kept+" as "+domain, 200, "/agents")
		}
	}
}
