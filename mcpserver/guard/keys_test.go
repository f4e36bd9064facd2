package guard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
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

// JK-02: however many tokens bring unknown kids, and however many at once, the issuer is asked once
// in a while.
func TestUnknownKeysDoNotFloodTheIssuer(t *testing.T) {
	g := newGate(t)
	good := g.good()
	g.want(t, g.ask(good), 204)
	flood := func() {
		var wg sync.WaitGroup
		for i := range 200 {
			raw := g.good(tokentest.Header("kid", fmt.Sprint("unknown-", i)))
			wg.Go(func() { // 401 when it was looked for, 503 when it could not be
				if w := g.ask(raw); w.Code != 401 && (w.Code != 503 || w.Header().Get("Retry-After") == "") {
					t.Errorf("an unknown key: got %d, want 401, or 503 with Retry-After", w.Code)
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
	g.step(6 * time.Second)
	flood()
	if hits := g.issuer.JWKSHits(); hits != 3 {
		t.Errorf("after the cool-down: got %d fetches, want 3", hits)
	}
	g.want(t, g.ask(good), 204)
}

// A kid that was looked for and is not there stays refused with 401 until another look is due; one
// that was not looked for since is not said to be unknown.
func TestUnknownKeyIsRefusedOnlyAfterALook(t *testing.T) {
	g := newGate(t)
	g.want(t, g.ask(g.good()), 204)
	invented := g.good(tokentest.Header("kid", "invented"))
	g.want(t, g.ask(invented), 401)
	g.want(t, g.ask(invented), 401)
	another := g.ask(g.good(tokentest.Header("kid", "another")))
	g.want(t, another, 503)
	if another.Header().Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	g.step(6 * time.Second)
	g.want(t, g.ask(g.good(tokentest.Header("kid", "another"))), 401)
}

// E3: one request with an invented kid made the guard refuse every token of a new key for half a
// minute, and so did a second rotation. A key is published ten seconds before it signs: no token of
// it is refused.
func TestRotationRefusesNoGoodToken(t *testing.T) {
	g := newGate(t)
	g.want(t, g.ask(g.good()), 204)
	for rotation := range 4 {
		for second := range 10 { // of the ten between publication and the first signature
			if second == rotation {
				g.issuer.Rotate("ES256")
			}
			w := g.ask(g.good(tokentest.Header("kid", fmt.Sprintf("invented-%d-%d", rotation, second))))
			if w.Code != 401 && w.Code != 503 {
				t.Fatalf("an invented kid: got %d", w.Code)
			}
			g.step(time.Second)
		}
		g.step(time.Duration(rotation) * time.Second)
		g.want(t, g.ask(g.good()), 204)
	}
}

// A key that signs at once, as after an emergency: until it can be looked up its tokens get 503,
// never 401.
func TestTokenOfAKeyThatSignsAtOnceIsNotRefused(t *testing.T) {
	g := newGate(t)
	g.want(t, g.ask(g.good()), 204)
	g.want(t, g.ask(g.good(tokentest.Header("kid", "invented"))), 401)
	g.issuer.Rotate("ES256")
	g.want(t, g.ask(g.good()), 503)
	g.step(5 * time.Second)
	g.want(t, g.ask(g.good()), 204)
}

// A fetch that began before a token arrived says nothing of a key that was published meanwhile.
func TestFetchUnderWayDoesNotDecideOnALaterToken(t *testing.T) {
	g := newGate(t)
	g.want(t, g.ask(g.good()), 204)
	old, err := json.Marshal(g.issuer.KeySet())
	must(t, err)
	arrived, release := make(chan struct{}), make(chan struct{})
	g.issuer.Fail(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		w.Write(old)
	})
	var wg sync.WaitGroup
	wg.Go(func() { g.want(t, g.ask(g.good(tokentest.Header("kid", "invented"))), 401) })
	<-arrived
	g.issuer.Rotate("ES256")
	fresh := g.good()
	g.step(time.Second)
	wg.Go(func() { // it waits for that fetch, or comes during the cool-down after it
		if w := g.ask(fresh); w.Code != 503 {
			t.Errorf("got %d, want 503: the fetch had begun before", w.Code)
		}
	})
	close(release)
	wg.Wait()
}

// E3: where the issuer is in this process its keys are known without a request.
func TestKeysOfAnIssuerInThisProcess(t *testing.T) {
	source := tokentest.NewIssuer(t)
	g := newGate(t, func(c *guard.Config) {
		c.Issuer, c.PublishedKeys = source.URL(), func() []byte {
			document, err := json.Marshal(source.KeySet())
			must(t, err)
			return document
		}
	})
	g.issuer = source
	g.want(t, g.ask(g.good()), 204)
	for range 3 {
		g.want(t, g.ask(g.good(tokentest.Header("kid", "invented"))), 401)
		source.Rotate("ES256")
		g.want(t, g.ask(g.good()), 204)
	}
	if hits := source.JWKSHits(); hits != 0 {
		t.Errorf("got %d fetches, want none", hits)
	}
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
		"HTML": "<html></html>", "an empty object": "{}", "no keys": `{"keys":[]}`,
		"endless":  `{"keys":[` + strings.Repeat(" ", 1<<20) + `]}`,
		"a secret": `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"x","alg":"HS256"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t)
			good := g.good()
			g.want(t, g.ask(good), 204)
			g.issuer.Fail(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(body)) })
			// makes it fetch; whether there is such a key cannot be known
			g.want(t, g.ask(g.good(tokentest.Header("kid", "unknown"))), 503)
			g.want(t, g.ask(g.good()), 204)
		})
	}
}

// The issuer's documents have one reading: names that differ from the known ones count for nothing,
// and what could be read in two ways changes nothing.
func TestTheIssuersDocumentsHaveOneReading(t *testing.T) {
	for name, row := range map[string]struct {
		change func(keys string) string
		status int
	}{
		"as it is": {func(keys string) string { return keys }, 204},
		"others beside": {func(keys string) string {
			return strings.Replace(keys, "{",
				"{\"Keys\":[],\"\u212aeys\":[],", 1)
		}, 204},
		"keys in another case": {func(keys string) string { return strings.Replace(keys, `"keys"`, `"Keys"`, 1) }, 503},
		"keys twice":           {func(keys string) string { return strings.Replace(keys, "{", `{"keys":[],`, 1) }, 503},
		"a kid twice in a key": {func(keys string) string {
			return strings.Replace(keys, `"kid"`, `"kid":"x","kid"`,
				1)
		}, 503}, "a kid with a NUL": {func(keys string) string {
			return strings.Replace(keys, `"kid"`,
				`"kid\u0000":"x","kid"`, 1)
		}, 503},
		"a second value": {func(keys string) string { return keys + "{}" }, 503},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t)
			r, err := http.Get(g.issuer.JWKSURL())
			must(t, err)
			defer r.Body.Close()
			keys, err := io.ReadAll(r.Body)
			must(t, err)
			g.issuer.Fail(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, row.change(string(keys))) })
			g.want(t, g.ask(g.good()), row.status)
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

// KY-03, JK-06: the list of ended grants says that a key was withdrawn before the key set does, to
// tokens that are remembered and to new ones; other keys' tokens pass.
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
