package callerassertion_test

import (
	"encoding/json"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/callerassertion"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// What lies ready says what a voucher says that is signed now, is handed out once, and says who
// calls now: not who called before with the same grant.
func TestAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ahead(t)
		seen := map[string]bool{}
		take := func(what string, c mcp.Caller, made time.Time) {
			t.Helper()
			raw, id := a.Take(c)
			got := claims(t, raw)
			want := claims(t, a.Signer.Sign(c, a.From, a.To, id, made))
			if got.Subject != want.Subject || got.TenantID != want.TenantID || got.GrantID != want.GrantID ||
				got.ClientID != want.ClientID || len(got.Scope) != len(want.Scope) ||
				got.ID != id || got.Issuer != a.From || got.Audience != a.To || got.IssuedAt != made.Unix() ||
				got.Expires != want.Expires {
				t.Errorf("%s: it says %+v, want %+v", what, got, want)
			}
			if seen[id] {
				t.Errorf("%s: handed out twice", what)
			}
			seen[id] = true
		}
		prepare := func(c mcp.Caller) time.Time {
			a.Prepare(c)
			time.Sleep(time.Second)
			synctest.Wait()
			return time.Now().Add(-time.Second)
		}
		take("the first", ann, time.Now())
		take("one that lies ready", ann, prepare(ann))
		take("one that does not", ann, time.Now())
		prepare(ann)
		fewer := ann
		fewer.Scopes = nil
		time.Sleep(3 * time.Second)
		take("of a token with fewer scopes", fewer, time.Now())
		other := ann
		other.TenantID = "globex"
		prepare(ann)
		time.Sleep(3 * time.Second)
		take("of another tenant", other, time.Now())
		prepare(ann)
		time.Sleep(20 * time.Second)
		take("one that has lain too long", ann, time.Now())
	})
}

// However many callers come, and however often, only so much lies ready.
func TestAheadIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ahead(t)
		made := func(c mcp.Caller) bool { // before now
			raw, _ := a.Take(c)
			return claims(t, raw).IssuedAt < time.Now().Unix()
		}
		for range 300 {
			a.Prepare(ann)
		}
		synctest.Wait()
		time.Sleep(2 * time.Second)
		ready := 0
		for made(ann) {
			ready++
		}
		if ready != 8 {
			t.Errorf("%d lie ready for one grant, want 8", ready)
		}
		c := ann
		for i := range 4200 {
			c.GrantID = "grt_" + strconv.Itoa(i)
			a.Prepare(c)
			if i%200 == 0 {
				time.Sleep(2 * time.Millisecond)
			}
		}
		time.Sleep(2 * time.Second)
		ready = 0
		for i := range 4200 {
			c.GrantID = "grt_" + strconv.Itoa(i)
			if made(c) {
				ready++
			}
		}
		if ready != 4096 {
			t.Errorf("%d lie ready, want 4096", ready)
		}
	})
}

func ahead(t *testing.T) *callerassertion.Ahead {
	t.Helper()
	return &callerassertion.Ahead{Signer: signer(t, secret), From: "https://gw.example/crm",
		To:  "https://crm.internal/mcp",
		Now: time.Now}
}

func claims(t *testing.T, raw string) (c callerassertion.Claims) {
	t.Helper()
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	must(t, err)
	must(t, json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &c))
	return c
}
