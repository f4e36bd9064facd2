package authserver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

// RT-03, RT-17: two hundred rounds of fifty renewals of one token at once, at two programs on
// PostgreSQL and Redis. Each round has one new leaf, which everybody who is answered gets. No
// access token has a row anywhere that could be missing.
func TestFiftyRenewalsAtOnce(t *testing.T) {
	rounds, each := 200, 50
	if testing.Short() {
		rounds = 10
	}
	h := openReplicas(t)
	a := h.register(map[string]any{})
	_, leaf := a.tokens(h.person("ann@acme.example"), "customers:read")
	for round := range rounds {
		got := atOnce(each, func() string {
			status, answer := a.token(refreshment(leaf))
			if child, _ := answer["refresh_token"].(string); status == 200 && child != "" {
				return child
			}
			return fmt.Sprint(status, " ", answer["error"])
		})
		refused := got["400 invalid_grant"]
		delete(got, "400 invalid_grant")
		if len(got) != 1 {
			t.Fatalf("round %d: got %v beside %d refusals, want one child", round, got, refused)
		}
		for child := range got {
			leaf = child
		}
	}
	alive, err := h.Store.Grants(t.Context(), grant.Filter{ClientID: a.ID, Active: true})
	if len(alive) != 1 || err != nil || !a.alive(leaf) {
		t.Errorf("afterwards: %d living grants %v, want one, whose leaf renews", len(alive), err)
	}
}

// RT-02, RT-04, AS-30: when a parent may come back, and when that is the end.
func TestWhenAParentComesBack(t *testing.T) {
	for what, row := range map[string]struct {
		after     time.Duration
		childUsed bool
		times     int
		forgiven  bool
	}{
		"at once": {0, false, 1, true}, "at once, again and again": {0, false, 3, true},
		"a second before the end":  {29 * time.Second, false, 1, true},
		"when the window is over":  {30 * time.Second, false, 1, false},
		"after its child was used": {0, true, 1, false},
	} {
		t.Run(what, func(t *testing.T) {
			h := startServer(t)
			a := h.register(map[string]any{})
			access, parent := a.tokens(h.person("ann@acme.example"), "customers:read")
			_, answer := a.token(refreshment(parent))
			child := answer["refresh_token"].(string)
			leaf := child
			if row.childUsed {
				_, answer = a.token(refreshment(child))
				leaf = answer["refresh_token"].(string)
			}
			h.Clock.step(row.after)
			for range row.times {
				status, answer := a.token(refreshment(parent))
				if good := status == 200 && answer["refresh_token"] == child; good != row.forgiven {
					t.Errorf("got %d %v, want forgiven %v", status, answer, row.forgiven)
				}
			}
			_, body := claims(t, access)
			if ended, err := h.List.Ended(t.Context(), body["grant_id"].(string)); ended == row.forgiven || err != nil {
				t.Errorf("its access tokens: ended %v %v", ended, err)
			}
			if a.alive(leaf) != row.forgiven {
				t.Errorf("the newest refresh token: alive %v, want %v", !row.forgiven, row.forgiven)
			}
		})
	}
}

// RT-05, RT-06, RT-11, RT-12, RT-18, AS-31: whose token it is, and what is no refresh token.
func TestWhatDoesNotRenew(t *testing.T) {
	h := startServer(t)
	a, other := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"}),
		h.register(map[string]any{})
	access, refresh := a.tokens(h.person("ann@acme.example"), "customers:read")
	stranger := h.machine("globex", "customers:read")
	for what, token := range map[string]string{
		"the access token": access, "less": refresh[:len(refresh)-1], "more": refresh + "A", "padded": refresh + "=",
		"in capitals": strings.ToUpper(refresh), "its hash": client.TokenHash(refresh), "a guess": "ghr_guess",
	} {
		status, answer := a.token(refreshment(token)) // RT-12, TK-11
		wantError(t, what, status, answer, 400, "invalid_grant")
	}
	status, answer := a.token(refreshment(""))
	wantError(t, "none", status, answer, 400, "invalid_request")
	status, answer = h.post("/oauth2/token", urlencoded, refreshment(refresh).Encode()+"&client_id="+a.ID, nil)
	wantError(t, "RT-06, its client without the secret", status, answer, 401, "invalid_client")
	status, answer = h.post("/oauth2/token", urlencoded, refreshment(refresh).Encode()+"&client_id="+a.ID+
		"&client_secret=", nil)
	wantError(t, "RT-06, its client with an empty secret", status, answer, 401, "invalid_client")
	status, answer = other.token(refreshment(refresh))
	wantError(t, "RT-05, another client", status, answer, 400, "invalid_grant")
	status, answer = stranger.token(refreshment(refresh))
	wantError(t, "RT-18, another tenant's client", status, answer, 400, "unauthorized_client")
	if !a.alive(refresh) {
		t.Error("somebody's try ended it")
	}
}

// RT-10: a chain ends in time, however often it is used.
func TestAChainEnds(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) {
		c.RefreshTokenIdleTimeout, c.RefreshTokenLifetime = 10*time.Hour, 24*time.Hour
	})
	a := h.register(map[string]any{})
	_, leaf := a.tokens(h.person("ann@acme.example"), "customers:read")
	for hours := range 30 {
		h.Clock.step(time.Hour)
		status, answer := a.token(refreshment(leaf))
		if want := hours+1 < 24; (status == 200) != want {
			t.Fatalf("after %d hours: got %d %v, want %v", hours+1, status, answer, want)
		}
		if status == 200 {
			leaf = answer["refresh_token"].(string)
		}
	}
}

// RT-11, LG-15: what was taken away meanwhile is gone from the next token, and with all of it gone
// there is none.
func TestWhatWasTakenAwayMeanwhile(t *testing.T) {
	h := startServer(t)
	initial, err := h.Server.Operator().CreateInitialToken(t.Context(),
		authserver.InitialTokenSpec{Tenant: "acme", Uses: 1})
	must(t, err)
	_, made := h.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`,
		http.Header{"Authorization": {"Bearer " + initial}})
	a := app{h: h, ID: made["client_id"].(string)}
	_, refresh := a.tokens(h.person("ann@acme.example"), "customers:read", "customers:write", "tickets:write")
	renew := func(what, want string) {
		t.Helper()
		status, answer := a.token(refreshment(refresh))
		if want == "" {
			wantError(t, what, status, answer, 400, "invalid_grant")
			return
		}
		if status != 200 || answer["scope"] != want {
			t.Fatalf("%s: got %d %v, want %q", what, status, answer, want)
		}
		if _, body := claims(t, answer["access_token"].(string)); body["scope"] != want {
			t.Errorf("%s: the token says %v", what, body["scope"])
		}
		refresh = answer["refresh_token"].(string)
	}
	renew("as it was", "customers:read customers:write tickets:write")
	must(t, h.Store.PutRole(t.Context(),
		user.Role{TenantID: "acme", Name: "member", Scopes: []string{"customers:read", "tickets:write"}}))
	renew("the role lost a scope", "customers:read tickets:write")
	change, err := json.Marshal(map[string]any{"client_id": a.ID, "redirect_uris": []string{callback},
		"scope": "customers:read"})
	must(t, err)
	if status, answer := h.manage("PUT", a.ID, made["registration_access_token"].(string),
		string(change)); status != 200 || answer["scope"] != "customers:read" {
		t.Fatalf("narrowing the client: got %d %v", status, answer)
	}
	renew("the client lost a scope", "customers:read")
	change, err = json.Marshal(map[string]any{"client_id": a.ID, "redirect_uris": []string{callback},
		"scope": "customers:read customers:write tickets:write"})
	must(t, err)
	h.manage("PUT", a.ID, made["registration_access_token"].(string), string(change))
	renew("the client says that it has more", "customers:read")
	must(t, h.Store.PutRole(t.Context(), user.Role{TenantID: "acme", Name: "member", Scopes: nil}))
	renew("the role has nothing", "")
	must(t, h.Store.PutRole(t.Context(), user.Role{TenantID: "acme", Name: "member", Scopes: allScopes}))
	renew("the role is back", "customers:read")
	h.sql("DELETE FROM memberships WHERE user_id = 'usr_ann'")
	renew("the person left the tenant", "")
}

// RT-13, AS-11, AS-33: a refresh token comes to a client that is registered for it, whether or not
// it names offline_access, which is in no token.
func TestWhoGetsARefreshToken(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	c := client.Client{ID: client.NewID(), RedirectURIs: []string{callback}, GrantTypes: []string{client.GrantCode},
		AuthMethod: client.AuthNone, Origin: "operator", CreatedAt: h.Clock.Now()}
	must(t, h.Store.CreateClient(t.Context(), c))
	for what, row := range map[string]struct {
		client app
		scope  string
		want   bool
	}{
		"without":               {h.register(map[string]any{}), "customers:read", true},
		"with":                  {h.register(map[string]any{}), "customers:read offline_access", true},
		"not registered for it": {app{h: h, ID: c.ID}, "customers:read offline_access", false},
	} {
		_, answer := row.client.token(redemption(row.client.code(ann, row.scope)))
		if got := answer["refresh_token"] != nil; got != row.want || answer["scope"] != "customers:read" {
			t.Errorf("%s: got %v, want a refresh token: %v", what, answer, row.want)
		}
	}
	_, body := h.get("/.well-known/oauth-authorization-server", nil)
	var m struct {
		Scopes []string `json:"scopes_supported"`
	}
	must(t, json.Unmarshal(body, &m))
	if got := strings.Join(m.Scopes, " "); got != "customers:read customers:write tickets:write offline_access" {
		t.Errorf("scopes_supported: %s", got)
	}
}

// RT-14: once a revocation was answered with 200, nothing of the grant lives, whichever came first.
func TestRevokingRacesRenewing(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	for round := range 100 {
		_, refresh := a.tokens(ann, "customers:read")
		var mu sync.Mutex
		var wg sync.WaitGroup
		tokens := []string{refresh}
		acked := 0
		for i := range 4 {
			wg.Go(func() {
				if i%2 == 0 {
					status, _ := h.post("/oauth2/revoke", urlencoded,
						url.Values{"token": {refresh}, "client_id": {a.ID}}.Encode(), nil)
					mu.Lock()
					defer mu.Unlock()
					acked = max(acked, status)
					return
				}
				status, answer := a.token(refreshment(refresh))
				mu.Lock()
				defer mu.Unlock()
				if child, _ := answer["refresh_token"].(string); status == 200 {
					tokens = append(tokens, child)
				}
			})
		}
		wg.Wait()
		for _, token := range tokens {
			if acked != 200 || a.alive(token) {
				t.Fatalf("round %d: revoking answered %d, and one of %d tokens lives", round, acked, len(tokens))
			}
		}
		h.Clock.step(time.Minute) // the limits of requests and revocations are not what this is about
	}
}

// RT-16: a used refresh token is known for one after the clean-up and in another program.
func TestReuseIsNoticedAfterCleaningUp(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	_, first := a.tokens(h.person("ann@acme.example"), "customers:read")
	_, answer := a.token(refreshment(first))
	leaf := answer["refresh_token"].(string)
	for range 5 {
		h.Clock.step(10 * 24 * time.Hour)
		h.clean()
		_, answer = a.token(refreshment(leaf))
		leaf = answer["refresh_token"].(string)
	}
	h.start()
	status, answer := a.token(refreshment(first))
	wantError(t, "the first one, fifty days later", status, answer, 400, "invalid_grant")
	if a.alive(leaf) {
		t.Error("the leaf lives on: the reuse was not noticed")
	}
}
