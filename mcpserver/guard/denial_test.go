package guard_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop/dpoptest"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

// The operator is told why the door refused, and whom: the client of a token alone that the issuer
// has signed, never what anybody says of themselves.
func TestTheOperatorIsToldWhy(t *testing.T) {
	f := newFort(t, func(p *guard.Policy) { p.Rollout = modes{"observed": guard.Observe} })
	stranger := tokentest.NewIssuer(t)
	claims := func(change func(*token.Claims)) string {
		c := f.issuer.Claims(resource, "read")
		change(&c)
		return f.issuer.Sign(c)
	}
	now := f.now().Unix()
	ended := f.issuer.Claims(resource, "read")
	ended.GrantID = "grt_ended"
	must(t, f.list.Add(context.Background(), ended.GrantID, f.now().Add(time.Hour)))
	client := ended.ClientID
	key := dpoptest.NewKey(t, "ES256")
	bound := claims(func(c *token.Claims) { c.Confirmation.JKT = key.JKT() })
	origin := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Origin", value) }
	}
	none := func(*http.Request) {}
	for _, row := range []struct {
		name, raw      string
		change         func(*http.Request)
		reason, client string
		says           []string
	}{
		{"nothing", "", none, "", "", nil},
		{"a good one", f.token("read"), none, "", "", nil},
		{"another's audience", claims(func(c *token.Claims) { c.Audience = "https://other.example/mcp?secret=1" }),
			none, guard.DenyAudience, client, []string{"for https://other.example/mcp,", "this server is " + resource,
				"resource=" + resource}},
		{"over", claims(func(c *token.Claims) { c.Expires = now - 9550 }), none, guard.DenyExpired, client,
			[]string{"expired 95", "refresh"}},
		{"from the future", claims(func(c *token.Claims) { c.IssuedAt = now + 3050 }), none, guard.DenyFuture, client,
			[]string{"only in 30", "behind the issuer's"}},
		{"not before", claims(func(c *token.Claims) { c.NotBefore = now + 9050 }), none, guard.DenyFuture, client,
			[]string{"only in 90"}},
		{"another issuer's name", claims(func(c *token.Claims) { c.Issuer = "https://evil.example" }), none,
			guard.DenyIssuer, client, []string{"another issuer than " + f.issuer.URL()}},
		{"ended", f.issuer.Sign(ended), none, guard.DenyRevoked, client,
			[]string{"is revoked", "gatehouse grant list"}},
		{"another issuer's key", stranger.Sign(f.issuer.Claims(resource, "read")), none, guard.DenyKey, "",
			[]string{"does not publish"}},
		// whichever part it is, no client is named
		{"a changed one", f.token("read")[:40] + "x" + f.token("read")[41:], none, "", "", nil},
		{"an id token", f.issuer.Sign(f.issuer.Claims(resource), tokentest.Header("typ", "JWT")), none, guard.DenyForm,
			"", []string{"not an access token", "id_token"}},
		{"a refresh token", "ghr_secretsecretsecret", none, guard.DenyForm, "",
			[]string{"not an access token of this kind of issuer"}},
		{"two headers", f.token("read"), func(r *http.Request) { r.Header.Add("Authorization", "Bearer x") },
			guard.DenyHeader, "", []string{"exactly one access token"}},
		{"another site's page", f.token("read"), origin("https://page.example"), guard.DenyOrigin, "",
			[]string{"of https://page.example ", "--allowed-origins", "allowed_origins"}},
		{"a page of nowhere", f.token("read"), origin("null"), guard.DenyOrigin, "",
			[]string{"an unreadable origin"}},
		{"another Host", f.token("read"), func(r *http.Request) { r.Host = "evil.example" }, guard.DenyHost, "",
			[]string{"--allowed-hosts"}},
		{"bound, without a proof", bound, none, guard.DenyProof, client, []string{"bound to a key"}},
		{"a proof of a slow clock", bound, func(r *http.Request) {
			key.Now = func() time.Time { return f.now().Add(-3050 * time.Second) }
			r.Header.Set("Authorization", "DPoP "+bound)
			r.Header.Set("DPoP", key.Proof("POST", resource, dpoptest.Token(bound)))
		}, guard.DenyProof, client, []string{"made 30", "set the clock"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f.send(row.raw, call("read_it"), row.change)
			why := f.last().Denial
			if row.name == "a changed one" {
				if why != nil && why.Client != "" {
					t.Errorf("a client is named that nobody has signed: %+v", why)
				}
				return
			}
			if (why == nil) != (row.reason == "") {
				t.Fatalf("got %+v, want %q", why, row.reason)
			}
			if why == nil {
				return
			}
			if why.Reason != row.reason || why.Client != row.client || why.Resource != resource ||
				!strings.HasSuffix(why.Sentence, ".") {
				t.Errorf("got %+v, want %s of %q", why, row.reason, row.client)
			}
			for _, says := range row.says {
				if !strings.Contains(why.Sentence, says) {
					t.Errorf("got %q, want %q", why.Sentence, says)
				}
			}
			if text := fmt.Sprint(*why); strings.Contains(text, "secret") || row.raw != "" &&
				strings.Contains(text, row.raw) {
				t.Errorf("it holds a secret: %s", text)
			}
		})
	}
	f.send(f.token("read"), call("write_it"))
	if why := f.last().Denial; why == nil || why.Reason != guard.DenyScope || why.Client != client ||
		!strings.Contains(why.Sentence, "called write_it, for which its token lacks the scopes write") {
		t.Errorf("a scope that is lacking: got %+v", why)
	}
	// A token that was good and is remembered is told of when it is over, too.
	good := f.token("read")
	f.send(good, call("read_it"))
	f.step(2 * time.Hour)
	must(t, f.list.Restore(context.Background(), nil, 1000*time.Hour))
	f.send(good, call("read_it"))
	if why := f.last().Denial; why == nil || why.Reason != guard.DenyExpired || why.Client != client {
		t.Errorf("a remembered one that is over: got %+v", why)
	}
}
