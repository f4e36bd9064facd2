package authserver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cimd"
)

// CM-01, CM-02, AS-38, AS-40: with the real network in place, nobody is met at an address of this
// machine.
func TestClientIDsThatLeadInside(t *testing.T) {
	h := startServer(t)
	h.documents = cimd.NewFetcher(nil)
	h.start()
	plain, plainHits := canary(t)
	locked, lockedHits := secretCanary(t)
	port := locked[strings.LastIndex(locked, ":"):]
	ann := h.signedIn("ann@acme.example")
	bodies := map[string]bool{}
	for _, id := range []string{
		"https://127.0.0.1" + port + "/c.json", "https://[::1]" + port + "/c.json",
		"https://localhost" + port + "/c.json", "https://[::ffff:127.0.0.1]" + port + "/c.json",
		"https://0.0.0.0" + port + "/c.json",
		"https://127.1.2.3" + port + "/c.json",
	} {
		at := ann.open("/oauth2/authorize?" + (app{h: h, ID: id}).authorization("customers:read").Encode())
		if at.status != 400 || at.away != nil {
			t.Errorf("%s: got %d to %v, want a page with 400", id, at.status, at.away)
		}
		bodies[problem.FindString(at.body)] = true
	}
	if len(bodies) != 1 { // CM-20
		t.Errorf("the pages differ: %v", bodies)
	}
	for _, id := range []string{plain + "/c.json", strings.Replace(locked, "https", "HTTPS", 1) + "/c.json",
		"ftp://127.0.0.1/c.json", "//127.0.0.1" + port + "/c.json"} {
		h.local(id, (app{h: h, ID: id}).authorization("customers:read").Encode())
	}
	if plainHits.Load() != 0 || lockedHits.Load() != 0 {
		t.Errorf("%d and %d connections were made", plainHits.Load(), lockedHits.Load())
	}
}

// AS-34 to AS-37, AS-49, CM-09, CM-11, CM-12, CM-20: what is wrong with a document is told to the
// person, at once and alike, and goes nowhere.
func TestWhatIsWrongWithADocumentIsTold(t *testing.T) {
	h, p := withPublisher(t)
	ann := h.signedIn("ann@acme.example")
	a := app{h: h, ID: documentURL}
	try := func() page { return ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode()) }
	for _, id := range []string{
		"https://example.com/oauth/client.json/", "https://example.com:443/oauth/client.json",
		"https://EXAMPLE.com/oauth/client.json", "https://example.com/oauth/client%2Ejson",
		"https://example.com/oauth/client.json?",
		"http://example.com/oauth/client.json", "https://example.com/oauth//client.json", "",
	} {
		p.publish("client_id", id)
		if at := try(); at.status != 400 || at.away != nil ||
			!strings.Contains(at.body, "another client_id than its own address") {
			t.Errorf("client_id %q: got %d to %v: %.200s", id, at.status, at.away, at.body)
		}
		h.Clock.step(10 * time.Second)
	}
	p.publish("client_id", documentURL)
	p.publish("redirect_uris", []string{"https://app.example/other"}) // CM-12, AS-37
	if at := try(); at.status != 400 || at.away != nil || !strings.Contains(at.body, "redirect_uri") {
		t.Errorf("a redirect that is not in it: got %d to %v", at.status, at.away)
	}
	p.publish("redirect_uris", []string{callback})
	h.Clock.step(time.Hour)
	if at := try(); at.status != 200 || at.url.Path != "/consent" {
		t.Errorf("and then a good one: got %d at %s", at.status, at.url)
	}
	if last, err := h.Store.Client(t.Context(), documentURL); err != nil || last.Name != "Documented Agent" {
		t.Errorf("kept %+v %v", last, err)
	}
}

// CM-10, CM-15, CM-20, AS-41: what could not be had is not remembered, and what was had is not
// forgotten for it.
func TestFailuresAreNotRemembered(t *testing.T) {
	h, p := withPublisher(t)
	ann := h.signedIn("ann@acme.example")
	a := app{h: h, ID: documentURL}
	try := func() page { return ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode()) }
	told := map[string]bool{}
	for _, status := range []int{204, 206, 301, 404, 500, 503} {
		p.mu.Lock()
		p.status = status
		p.mu.Unlock()
		at := try()
		told[problem.FindString(at.body)] = true
		if at.status != 400 || at.away != nil {
			t.Errorf("%d: got %d to %v", status, at.status, at.away)
		}
		p.mu.Lock()
		p.status = 200
		p.mu.Unlock()
		if at = try(); at.status != 200 || at.url.Path != "/consent" {
			t.Errorf("after %d: got %d at %s, want the consent page", status, at.status, at.url)
		}
		h.Clock.step(61 * time.Second) // its max-age
	}
	if len(told) != 1 {
		t.Errorf("the pages tell the failures apart: %v", told)
	}
	_, refresh := a.tokens(ann, "customers:read")
	h.Clock.step(61 * time.Second)
	p.publish("client_secret", "s")
	if at := try(); at.status != 400 {
		t.Errorf("a document that does not do any more: got %d", at.status)
	}
	if c, err := h.Store.Client(t.Context(), documentURL); err != nil || c.Name != "Documented Agent" ||
		!a.alive(refresh) {
		t.Errorf("the good one of before: %+v %v, or its refresh token is dead", c, err)
	}
	before := p.fetched()
	p.publish("client_secret", nil)
	for range 3 {
		if at := try(); at.status != 200 {
			t.Errorf("when it does again: got %d", at.status)
		}
	}
	if n := p.fetched() - before; n != 1 {
		t.Errorf("it was fetched %d times within max-age, want once", n)
	}
}

// CM-14, CM-18, AS-43, AS-44, LG-06: a document that changes is asked about anew, with what it says
// now; what was allowed before goes on.
func TestADocumentThatChanges(t *testing.T) {
	h, p := withPublisher(t)
	ann := h.signedIn("ann@acme.example")
	a := app{h: h, ID: documentURL}
	p.publish("logo_uri", "https://example.com/logo.png")
	p.publish("client_uri", "https://example.com/about")
	_, refresh := a.tokens(ann, "customers:read")
	at := ann.consentPage(a.authorization("customers:read"))
	for _, want := range []string{"Documented Agent", `<strong class="host">example.com</strong>`, documentURL,
		`<strong class="host">app.example</strong>`} {
		if !strings.Contains(at.body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(at.body, "logo.png") {
		t.Error("the page shows a picture from somebody else's address")
	}
	h.Clock.step(2 * time.Minute)
	p.publish("client_name", "Another Agent")
	p.publish("redirect_uris", []string{"http://localhost/cb", "http://127.0.0.1:3000/cb"})
	local := a.authorization("customers:read")
	local.Set("redirect_uri", "http://localhost:5151/cb")
	for range 2 { // CM-18: never remembered
		at = ann.consentPage(local)
		for _, want := range []string{"Another Agent", "localhost (a program on this computer)",
			"Any program on your computer can use its name"} {
			if !strings.Contains(at.body, want) {
				t.Errorf("the page does not say %q", want)
			}
		}
		if to := ann.submit(at, url.Values{"decision": {"approve"}}).away; to == nil || to.Host != "localhost:5151" ||
			to.Query().Get("code") == "" {
			t.Errorf("went to %v", to)
		}
	}
	if !a.alive(refresh) {
		t.Error("what was allowed before is dead")
	}
}

// CM-07: while somebody's site lets us wait, nobody else waits.
func TestASlowPublisherKeepsNobodyElse(t *testing.T) {
	h, p := withPublisher(t)
	m := h.machine("acme", "customers:read")
	ann, bob := h.signedIn("ann@acme.example"), h.signedIn("bob@globex.example")
	other := h.register(map[string]any{})
	began, release := make(chan struct{}), make(chan struct{})
	p.fetcher.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		close(began)
		select {
		case <-release:
			return nil, errors.New("nobody there")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	done := make(chan page)
	go func() {
		done <- ann.open("/oauth2/authorize?" + (app{h: h, ID: documentURL}).authorization("customers:read").Encode())
	}()
	<-began
	if status, answer := m.token(url.Values{"grant_type": {"client_credentials"}}); status != 200 {
		t.Errorf("a token meanwhile: got %d %v", status, answer)
	}
	other.tokens(bob, "customers:read")
	close(release)
	if at := <-done; at.status != 400 || strings.Contains(at.body, "nobody there") {
		t.Errorf("and anyone who waited: got %d", at.status)
	}
}

// CM-16: anyone who names a thousand hosts makes us call twenty.
func TestAThousandHosts(t *testing.T) {
	h, p := withPublisher(t)
	ann := h.signedIn("ann@acme.example")
	var dials atomic.Int64
	p.fetcher.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		dials.Add(1)
		return nil, errors.New("nobody there")
	}
	last := 0
	for i := range 1000 {
		at := ann.open("/oauth2/authorize?" +
			(app{h: h, ID: fmt.Sprintf("https://h%d.example/c.json", i)}).authorization("customers:read").Encode())
		if last = at.status; last == 429 && i > 290 {
			break // and beyond three hundred the authorization endpoint itself has had enough
		}
	}
	if last != 429 || dials.Load() > 20 {
		t.Errorf("got %d after %d calls, want 429 after twenty", last, dials.Load())
	}
}
