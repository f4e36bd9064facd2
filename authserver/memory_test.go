package authserver_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Right device codes do not use up what a person may type (RFC 8628 §5.1); wrong ones do.
func TestRightDeviceCodesAreNotCounted(t *testing.T) {
	h := startServer(t)
	d, ann := h.device(), h.person("ann@acme.example")
	ann.try(password).want(t, "signing in", 200, "/agents")
	for i := range 15 { // two looks at each: 30 of 20
		_, userCode, _ := d.begin("customers:read")
		at := ann.open("/device?user_code=" + userCode)
		if at.status != 200 {
			t.Fatalf("right code no. %d: got %d", i+1, at.status)
		}
		ann.submit(at, url.Values{"decision": {"approve"}}).want(t, "approving", 200, "/device/done")
		h.Clock.step(time.Second)
	}
	refused := 0
	for i := range 25 {
		if got := ann.open(fmt.Sprintf("/device?user_code=BCDF-GH%c%c", 'J'+rune(i%2),
			"KLMNPQRSTVWXZ"[i%13])); got.status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused != 5 {
		t.Errorf("of 25 wrong codes: got %d refused, want 5", refused)
	}
}

// Requests that one source begins and never ends cost another source nothing, beyond what the
// memory holds.
func TestASourceThatFillsTheMemoryOfRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("it fills a memory of 10,000")
	}
	h := startServer(t, throughProxy, func(c *authserverConfig) { c.AuthorizationsPerMinute = 1_000_000 })
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example").from("198.51.100.1")
	at := ann.consentPage(a.authorization("customers:read"))
	mallory := h.person("x").from("203.0.113.1")
	mallory.http.CheckRedirect = noFollow.CheckRedirect
	ask := "/oauth2/authorize?" + a.authorization("customers:read").Encode()
	for i := range 10_050 {
		r, err := mallory.http.Get(h.URL + ask)
		must(t, err)
		r.Body.Close()
		if !strings.HasPrefix(r.Header.Get("Location"), "/consent") {
			t.Fatalf("request %d: got %d to %q", i, r.StatusCode, r.Header.Get("Location"))
		}
	}
	if got := ann.submit(at, url.Values{"decision": {"approve"}}); got.away == nil ||
		got.away.Query().Get("code") == "" {
		t.Errorf("ann's request, begun before: got %d at %s, want her code", got.status, got.url)
	}
	bob := h.person("bob@globex.example").from("198.51.100.2")
	if code := a.code(bob, "customers:read"); code == "" {
		t.Error("bob's, begun after: got no code")
	}
}
