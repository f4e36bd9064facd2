package authserver_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// elsewhere are the quirks that no single way in shows, and the tests here that do.
var elsewhere = map[string]string{"5": "TestTwoProcessesShareARefreshToken", "19": "TestACloudsUsersShareAnAddress"}

// TestEveryQuirkIsPlayed holds that each of the twenty quirks of clients in the field that an
// issuer must tolerate is in a handshake or has a test.
func TestEveryQuirkIsPlayed(t *testing.T) {
	played := map[string]bool{}
	for _, hs := range readHandshakes(t) {
		for _, q := range hs.quirks {
			played[q] = true
		}
	}
	for n := 1; n <= 20; n++ {
		if q := fmt.Sprint(n); !played[q] && elsewhere[q] == "" {
			t.Errorf("quirk %s is in no handshake and has no test", q)
		}
	}
}

// quirk 5: two processes of one client share its refresh token, and both renew.
func TestTwoProcessesShareARefreshToken(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	_, refresh := a.tokens(h.person("ann@acme.example"), "customers:read")
	_, first := a.token(refreshment(refresh))
	h.Clock.step(20 * time.Second)
	status, second := a.token(refreshment(refresh))
	if status != 200 || first["refresh_token"] != second["refresh_token"] {
		t.Fatalf("the second process: got %d %v, want the successor that the first got", status, second)
	}
	if !a.alive(second["refresh_token"].(string)) {
		t.Error("the permission has ended")
	}
}

// quirk 7: a callback that is its connector's alone is compared exactly, however it became known:
// no prefix of a host's stands for all its pages. Each connector registers its own, or has a
// document that names it.
func TestAConnectorsCallbackIsItsOwn(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{"redirect_uris": []string{"https://chatgpt.com/connector/oauth/AbC123xYz"}})
	for _, uri := range []string{
		"https://chatgpt.com/connector/oauth/other", "https://chatgpt.com/connector/oauth/",
		"https://chatgpt.com/connector/oauth/AbC123xYz/", "https://chatgpt.com/connector_platform_oauth_redirect",
		"https://chatgpt.com/connector/oauth/AbC123xYz/../other",
	} {
		request := a.authorization("customers:read")
		request.Set("redirect_uri", uri)
		if at := h.person("ann@acme.example").open("/oauth2/authorize?" + request.Encode()); at.status != 400 ||
			at.away != nil {
			t.Errorf("%s: got %d to %v, want a page", uri, at.status, at.away)
		}
	}
}

// quirk 9: what a client registers is no ceiling of what people may let it do; that is the tenant's
// policy and their role.
func TestScopesBeyondTheRegistered(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{"scope": "customers:read"})
	q := h.person("ann@acme.example").approve(a.authorization("tickets:write"))
	if status, answer := a.token(redemption(q.Get("code"))); status != 200 || answer["scope"] != "tickets:write" {
		t.Errorf("got %d %v, want what ann allowed", status, answer)
	}
}

// quirk 16: a client_id from a registration that is gone, replayed from a file: the person reads
// what to do, the program is told by the code at which it registers again.
func TestARegistrationThatIsGone(t *testing.T) {
	h := startServer(t)
	a := h.register(said(nil))
	must(t, h.Store.DeleteClient(t.Context(), a.ID, h.Clock.Now()))
	h.start()
	request := a.authorization("customers:read")
	request.Set("redirect_uri", "http://127.0.0.1:3334/oauth/callback")
	at := h.person("ann@acme.example").open("/oauth2/authorize?" + request.Encode())
	if at.status != 400 || at.away != nil || !strings.Contains(at.body, "connect again") {
		t.Errorf("authorizing: got %d to %v: %.300s", at.status, at.away, at.body)
	}
	for _, form := range []url.Values{refreshment("ghr_x"), redemption("ghc_x")} {
		status, answer := a.token(form)
		wantError(t, form.Get("grant_type"), status, answer, http.StatusUnauthorized, "invalid_client")
	}
	if again := h.register(said(nil)); again.ID == a.ID {
		t.Error("registering anew brought the client that is gone")
	}
}

// quirk 19: the users of a cloud come from one address. With what is set when nothing is, a hundred
// of them register and come in within minutes.
func TestACloudsUsersShareAnAddress(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) { c.RegistrationsPerHour = 0 })
	ann := h.person("ann@acme.example")
	var refused []int
	for range 100 {
		a := h.register(map[string]any{"client_name": "Claude",
			"redirect_uris": []string{"https://claude.ai/api/mcp/auth_callback"}})
		request := a.authorization("customers:read")
		request.Set("redirect_uri", "https://claude.ai/api/mcp/auth_callback")
		form := redemption(ann.approve(request).Get("code"))
		form.Set("redirect_uri", "https://claude.ai/api/mcp/auth_callback")
		if status, _ := a.token(form); status != 200 {
			refused = append(refused, status)
		}
	}
	if len(refused) > 0 {
		t.Errorf("%d of 100 were refused: %v", len(refused), slices.Compact(refused))
	}
}
