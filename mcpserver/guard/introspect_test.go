package guard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
)

// While the list of ended grants is not known, the issuer is asked about each token if the operator
// wants that. Whatever it answers that is not a plain yes about this very grant lets nobody
// through, and what cannot be had from it is 503 (RV-09, N6).
func TestIntrospectionWhileTheListIsUnknown(t *testing.T) {
	answer, asked := func(http.ResponseWriter, string) {}, 0
	var grantID string
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		id, secret, _ := r.BasicAuth()
		if id != "cli%3Acrm" || secret != "s%2Bcret" || r.Method != "POST" || r.FormValue("token") == "" ||
			r.URL.RawQuery != "" {
			t.Errorf("asked by %s %s with %v", id, secret, r.Form)
		}
		answer(w, grantID)
	}))
	defer issuer.Close()
	g := newGate(t, func(c *guard.Config) {
		c.Revoked = down{}
		c.WhenUnknown = &guard.Introspection{URL: issuer.URL + "/oauth2/introspect", ClientID: "cli:crm",
			ClientSecret: "s+cret"}
	})
	claims := g.issuer.Claims(resource, "read")
	raw := g.issuer.Sign(claims)
	grantID = claims.GrantID
	says := func(status int, body string) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, grantID string) {
			w.WriteHeader(status)
			fmt.Fprint(w, strings.ReplaceAll(body, "GRANT", grantID))
		}
	}
	for name, row := range map[string]struct {
		answer func(http.ResponseWriter, string)
		status int
	}{
		"alive":                          {says(200, `{"active":true,"grant_id":"GRANT"}`), 204},
		"ended":                          {says(200, `{"active":false}`), 401},
		"of another grant":               {says(200, `{"active":true,"grant_id":"grt_other"}`), 503},
		"active, as text":                {says(200, `{"active":"true","grant_id":"GRANT"}`), 503},
		"nothing":                        {says(200, `{}`), 503},
		"no JSON":                        {says(200, `<html>`), 503},
		"active in another case":         {says(200, `{"Active":true,"grant_id":"GRANT"}`), 503},
		"ended, and not in another case": {says(200, `{"active":false,"ACTIVE":true,"grant_id":"GRANT"}`), 401},
		"active twice":                   {says(200, `{"active":false,"active":true,"grant_id":"GRANT"}`), 503},
		"of another, and of this in another case": {says(200,
			`{"active":true,"grant_id":"grt_other","Grant_ID":"GRANT"}`), 503},
		"a name with a NUL": {says(200,
			`{"active":true,"active\u0000":false,"grant_id":"GRANT"}`), 503},
		"two answers": {says(200, `{"active":true,"grant_id":"GRANT"}{}`), 503},
		"too large": {says(200, `{"grant_id":"GRANT","active":true`+strings.Repeat(" ",
			70_000)+`}`), 503},
		"too many questions":      {says(429, `{"active":true,"grant_id":"GRANT"}`), 503},
		"the secret is wrong":     {says(401, `{"error":"invalid_client"}`), 503},
		"the issuer is not ready": {says(503, `{"error":"temporarily_unavailable"}`), 503},
		"a redirect": {func(w http.ResponseWriter, _ string) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(302)
		}, 503},
	} {
		answer = row.answer
		w := g.ask(raw)
		if g.want(t, w, row.status); t.Failed() {
			t.Fatal(name)
		}
		if row.status == 503 && w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", name)
		}
		if strings.Contains(w.Body.String(), issuer.URL) {
			t.Errorf("%s: a stranger learns where the issuer is asked: %s", name, w.Body)
		}
	}
	asked = 0
	claims.Expires = time.Now().Add(-time.Hour).Unix()
	g.want(t, g.ask(g.issuer.Sign(claims)), 401)
	if asked != 0 {
		t.Error("the issuer is asked about a token that is not believed anyway")
	}
	issuer.Close()
	g.want(t, g.ask(raw), 503)
}

// Requests that show one token at the same time are one question to the issuer, and only so many
// questions are under way: what comes beyond is 503.
func TestIntrospectionIsSharedAndBounded(t *testing.T) {
	asked, hold := make(chan string, 999), make(chan struct{})
	var grants sync.Map // by token
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw := r.FormValue("token")
		asked <- raw
		select {
		case <-hold:
		case <-r.Context().Done():
		}
		grant, _ := grants.Load(raw)
		fmt.Fprintf(w, `{"active":true,"grant_id":%q}`, grant)
	}))
	defer issuer.Close()
	g := newGate(t, func(c *guard.Config) {
		c.Revoked = down{}
		c.WhenUnknown = &guard.Introspection{URL: issuer.URL, ClientID: "cli", ClientSecret: "secret"}
	})
	const most, share, beyond = 32, 8, 40
	var tokens []string
	for i := range most + beyond {
		claims := g.issuer.Claims(resource, "read")
		claims.GrantID, claims.TenantID = fmt.Sprint("grt_", i), fmt.Sprint("tenant", i/share)
		raw := g.issuer.Sign(claims)
		grants.Store(raw, claims.GrantID)
		tokens = append(tokens, raw)
	}
	if err := g.guard.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	for i, raw := range tokens[:most] {
		work.Go(func() {
			if w := g.ask(raw); w.Code != 204 && w.Code != 503 {
				// 503: the machine is slow, and the issuer took too long
				t.Errorf("one of the first: got %d", w.Code)
			}
		})
		<-asked
		if i == share-1 { // one tenant has all that it may: it does not take the others' turns
			claims := g.issuer.Claims(resource, "read")
			claims.GrantID, claims.TenantID = "grt_more", "tenant0"
			if w := g.ask(g.issuer.Sign(claims)); w.Code != 503 || len(asked) != 0 {
				t.Errorf("beyond the share of a tenant: got %d, and the issuer was asked %d times", w.Code, len(asked))
			}
		}
	}
	for range 10 { // of a token that is asked about already
		work.Go(func() { g.ask(tokens[0]) })
	}
	select {
	case raw := <-asked:
		t.Errorf("the issuer is asked again: %v", raw == tokens[0])
	case <-time.After(200 * time.Millisecond):
	}
	refused := 0
	for _, raw := range tokens[most:] {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if w := g.ask(raw, func(r *http.Request) { *r = *r.WithContext(ctx) }); w.Code == 503 {
			refused++
		}
		cancel()
	}
	close(hold)
	work.Wait()
	counted := map[string]int{}
	for len(asked) > 0 {
		counted[<-asked]++
	}
	if refused != beyond || len(counted) > beyond/2 {
		t.Errorf("%d of %d beyond were refused, and the issuer was asked about %d more", refused, beyond, len(counted))
	}
}
