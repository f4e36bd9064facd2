package guard_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

// JK-01
func TestANewKeyIsFoundOnDemand(t *testing.T) {
	g := newGate(t)
	g.want(t, g.ask(g.good()), 204)
	g.issuer.Rotate("ES256")
	g.want(t, g.ask(g.good()), 204)
	if hits := g.issuer.JWKSHits(); hits != 2 {
		t.Errorf("got %d fetches, want 2", hits)
	}
}

// JK-02: however many tokens bring unknown kids, and however many at once, the issuer is asked once in a while.
func TestUnknownKeysDoNotFloodTheIssuer(t *testing.T) {
	g := newGate(t)
	good := g.good()
	g.want(t, g.ask(good), 204)
	flood := func() {
		var wg sync.WaitGroup
		for i := range 200 {
			raw := g.good(tokentest.Header("kid", fmt.Sprint("unknown-", i)))
			wg.Go(func() {
				if w := g.ask(raw); w.Code != 401 {
					t.Errorf("an unknown key: got %d, want 401", w.Code)
				}
			})
		}
		wg.Wait()
	}
	flood()
	flood()
	if hits := g.issuer.JWKSHits(); hits != 2 {
		t.Errorf("got %d fetches, want 2: the first, and one for all unknown keys", hits)
	}
	g.step(31 * time.Second)
	flood()
	if hits := g.issuer.JWKSHits(); hits != 3 {
		t.Errorf("after the cool-down: got %d fetches, want 3", hits)
	}
	g.want(t, g.ask(good), 204)
}

func TestOneFetchForManyWaiters(t *testing.T) {
	g := newGate(t)
	good := g.good()
	arrived, release := make(chan struct{}, 50), make(chan struct{})
	g.issuer.Fail(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		w.WriteHeader(http.StatusBadGateway)
	})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if w := g.ask(good); w.Code != 503 {
				t.Errorf("got %d, want 503", w.Code)
			}
		})
	}
	<-arrived // the first waiter's fetch; the others wait with it, or come too soon after it
	close(release)
	wg.Wait()
	if hits := g.issuer.JWKSHits(); hits != 1 {
		t.Errorf("got %d fetches, want 1", hits)
	}
	g.issuer.Fail(nil)
}

// JK-03: known keys serve while the issuer is out of reach, for a day; then nothing is believed.
func TestStaleKeys(t *testing.T) {
	g := newGate(t)
	g.want(t, g.ask(g.good()), 204)
	g.issuer.Fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	later := func(d time.Duration) string {
		g.step(d)
		c := g.issuer.Claims(resource, "read")
		c.IssuedAt, c.Expires = g.now().Unix(), g.now().Add(time.Minute).Unix()
		return g.issuer.Sign(c)
	}
	g.want(t, g.ask(later(23*time.Hour)), 204)
	w := g.ask(later(2 * time.Hour))
	g.want(t, w, 503)
	if w.Header().Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

// JK-05: a document that is no key set to believe changes nothing.
func TestBadKeySets(t *testing.T) {
	for name, body := range map[string]string{
		"HTML": "<html></html>", "an empty object": "{}", "no keys": `{"keys":[]}`, "endless": `{"keys":[` + strings.Repeat(" ", 1<<20) + `]}`,
		"a secret": `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"x","alg":"HS256"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t)
			good := g.good()
			g.want(t, g.ask(good), 204)
			g.issuer.Fail(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(body)) })
			g.want(t, g.ask(g.good(tokentest.Header("kid", "unknown"))), 503) // makes it fetch; whether there is such a key cannot be known
			g.want(t, g.ask(g.good()), 204)
		})
	}
}

// JK-06: a withdrawn key's tokens are refused once its absence is known, remembered or not.
func TestAWithdrawnKey(t *testing.T) {
	g := newGate(t)
	good := g.good()
	g.want(t, g.ask(good), 204)
	old := g.issuer.KeyID("ES256")
	g.issuer.Rotate("ES256")
	g.issuer.Withdraw(old)
	g.want(t, g.ask(g.good()), 204) // a new key makes the guard look
	g.want(t, g.ask(good), 401)
}

// KY-03, JK-06: the list of ended grants says that a key was withdrawn before the key set does, to tokens that are remembered and to new ones; other keys' tokens pass.
func TestAWithdrawnKeyIsOnTheList(t *testing.T) {
	g := newGate(t)
	good, old := g.good(), g.issuer.KeyID("ES256")
	g.want(t, g.ask(good), 204)
	must(t, g.list.Add(t.Context(), revocation.KeyID("another"), g.now().Add(time.Hour)))
	g.want(t, g.ask(good), 204)
	must(t, g.list.Add(t.Context(), revocation.KeyID(old), g.now().Add(time.Hour)))
	g.want(t, g.ask(good), 401)
	g.want(t, g.ask(g.good()), 401) // of the same key, which the issuer here still publishes
	g.issuer.Rotate("ES256")
	g.want(t, g.ask(g.good()), 204)
}

// JK-07: a kid is the issuer's. Another issuer's key of the same kid opens nothing, here or there.
func TestAKeyIsOfItsIssuer(t *testing.T) {
	here, there := newGate(t), newGate(t)
	here.want(t, here.ask(here.good()), 204)
	there.want(t, there.ask(there.good()), 204)
	for from, to := range map[*gate]*gate{here: there, there: here} {
		claims := from.issuer.Claims(resource, "read")
		kid := tokentest.Header("kid", to.issuer.KeyID("ES256"))
		to.want(t, to.ask(from.issuer.Sign(claims, kid)), 401)
		claims.Issuer = to.issuer.URL()
		to.want(t, to.ask(from.issuer.Sign(claims, kid)), 401)
	}
}

// The background fetch keeps the keys fresh without any request.
func TestRunFetches(t *testing.T) {
	g := newGate(t)
	arrived := make(chan struct{}, 1)
	g.issuer.Fail(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		w.WriteHeader(http.StatusBadGateway)
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { g.guard.Run(ctx); close(done) }()
	<-arrived
	stop()
	<-done
}
