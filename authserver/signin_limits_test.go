package authserver_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// throughProxy lets a test say from which address a request comes.
func throughProxy(c *authserverConfig) {
	c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// from lets this browser's requests come from an address.
func (p *person) from(address string) *person {
	p.http.Transport = forwarded{address}
	return p
}

type forwarded struct{ address string }

func (f forwarded) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Forwarded-For", f.address)
	return http.DefaultTransport.RoundTrip(r)
}

// try types a password at the sign-in page.
func (p *person) try(pw string) page {
	p.h.t.Helper()
	return p.submit(p.open("/signin"), url.Values{"email": {p.email}, "password": {pw}})
}

// lockOut tries wrong passwords until one is not taken any more.
func (p *person) lockOut(most int) page {
	p.h.t.Helper()
	for range most {
		if got := p.try("guess-guess-guess"); got.status == http.StatusTooManyRequests {
			return got
		}
	}
	p.h.t.Fatalf("%d wrong passwords for %s were all taken, want a limit", most, p.email)
	return page{}
}

func TestCorrectPasswordsDoNotUseUpTheSignInLimit(t *testing.T) {
	h := startServer(t, throughProxy, func(c *authserverConfig) { c.SignInsPerAddress, c.SignInsPerAccount = 20, 4 })
	for i := range 8 { // at the same address, in other browsers
		if got := h.person("ann@acme.example").from("203.0.113.1").try(password); got.url.Path != "/agents" {
			t.Fatalf("right password no. %d: got %d at %s, want it taken", i+1, got.status, got.url)
		}
	}
	for i := range 8 { // each from another address
		if got := h.person("bob@globex.example").from(fmt.Sprint("203.0.113.", 10+i)).try(
			password); got.url.Path != "/agents" {
			t.Fatalf("right password no. %d from elsewhere: got %d at %s, want it taken", i+1, got.status, got.url)
		}
	}
}

func TestAStrangerCannotLockAPersonOut(t *testing.T) {
	h := startServer(t, throughProxy, func(c *authserverConfig) { c.SignInsPerAddress, c.SignInsPerAccount = 20, 9 })
	home := h.person("ann@acme.example").from("198.51.100.1")
	home.try(password).want(t, "at home", 200, "/agents")

	h.person("ann@acme.example").from("203.0.113.1").lockOut(3) // two for one account from one address
	h.person("ann@acme.example").from("198.51.100.2").try(password).want(t, "from another address", 200, "/agents")

	// Many strangers use up the account's own count.
	for i := range 5 {
		h.person("ann@acme.example").from(fmt.Sprint("203.0.113.", 10+i)).lockOut(3)
	}
	got := h.person("ann@acme.example").from("198.51.100.9").try(password)
	if got.status != http.StatusTooManyRequests {
		t.Errorf("from an address that nobody knows: got %d, want 429: the account's count is used up", got.status)
	}
	home.from("198.51.100.77").submit(home.open("/agents"), nil).want(t, "signing out", 200, "/signin")
	home.try(password).want(t, "her browser, at another address", 200, "/agents")
	h.person("ann@acme.example").from("198.51.100.1").try(password).want(t, "another browser at home", 200, "/agents")

	// The mark of a browser is one account's: it opens no count of somebody else's.
	mallory := h.person("bob@globex.example").from("203.0.113.40")
	mallory.try(password).want(t, "bob", 200, "/agents")
	mallory.submit(mallory.open("/agents"), nil)
	mallory.email = "ann@acme.example"
	if got := mallory.try(password); got.status != http.StatusTooManyRequests {
		t.Errorf("another account's browser: got %d, want 429", got.status)
	}
}

// Neither does a neighbour behind the same address who guesses at all accounts.
func TestANeighbourCannotLockAPersonOut(t *testing.T) {
	h := startServer(t, throughProxy, func(c *authserverConfig) { c.SignInsPerAddress = 20 })
	ann := h.person("ann@acme.example").from("198.51.100.1")
	ann.try(password).want(t, "before", 200, "/agents")
	for i := range 21 {
		h.person(fmt.Sprintf("nobody%d@acme.example", i)).from("198.51.100.1").try("guess-guess-guess")
	}
	if got := h.person("bob@globex.example").from("198.51.100.1").try(
		password); got.status != http.StatusTooManyRequests {
		t.Errorf("bob, for the first time from there: got %d, want 429", got.status)
	}
	h.person("ann@acme.example").from("198.51.100.1").try(password).want(t, "ann, in another browser", 200, "/agents")
}

// A browser's or an address's own count is a count, too.
func TestWhatIsKnownIsCountedAsWell(t *testing.T) {
	h := startServer(t, throughProxy, func(c *authserverConfig) { c.SignInsPerAddress = 20 })
	ann := h.person("ann@acme.example").from("198.51.100.1")
	ann.try(password)
	ann.submit(ann.open("/agents"), nil)
	ann.lockOut(3)
	h.person("ann@acme.example").from("198.51.100.1").lockOut(3)
	for name, marks := range map[string]string{"a guess": strings.Repeat("A", 59),
		"too long": strings.Repeat("A.", 500), "empty": "", "dots": "...."} {
		forged := h.person("ann@acme.example").from("203.0.113.5")
		at, _ := url.Parse(h.URL)
		forged.http.Jar.SetCookies(at, []*http.Cookie{{Name: "gatehouse_known", Value: marks, Path: "/"}})
		h.person("ann@acme.example").from("203.0.113.5").try("guess-guess-guess")
		h.person("ann@acme.example").from("203.0.113.5").try("guess-guess-guess")
		if got := forged.try(password); got.status != http.StatusTooManyRequests {
			t.Errorf("a mark that is %s: got %d, want 429", name, got.status)
		}
	}
}

// Retry-After is what is left of the window, not its length; the page says the same.
func TestRetryAfterIsWhatIsLeft(t *testing.T) {
	h := startServer(t, throughProxy, func(c *authserverConfig) {
		c.SignInsPerAddress, c.AuthorizationsPerMinute, c.RegistrationsPerHour = 10, 1, 1
	})
	left := func(what string, header http.Header, want time.Duration) {
		t.Helper()
		if got := header.Get("Retry-After"); got != strconv.Itoa(int(want.Seconds())) {
			t.Errorf("%s: got Retry-After %q, want %d", what, got, int(want.Seconds()))
		}
	}
	ann := h.person("ann@acme.example").from("203.0.113.1")
	ann.try("guess-guess-guess")
	h.Clock.step(3*time.Minute + 20*time.Second)
	got := ann.lockOut(2)
	left("signing in", got.header, 100*time.Second)
	if !strings.Contains(got.body, "Wait 2 minutes and try again") {
		t.Errorf("the page does not say how long: %.600s", got.body)
	}
	h.get("/oauth2/authorize", nil)
	h.Clock.step(50 * time.Second)
	r, _ := h.get("/oauth2/authorize", nil)
	left("authorizing", r.Header, 10*time.Second)
	r = h.do(http.MethodPost, "/oauth2/par", "application/x-www-form-urlencoded", "", nil)
	r.Body.Close()
	left("pushing", r.Header, 10*time.Second)
	for _, wait := range []time.Duration{0, 45 * time.Minute} {
		h.Clock.step(wait)
		r = h.do(http.MethodPost, "/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`, nil)
		r.Body.Close()
	}
	left("registering", r.Header, 15*time.Minute)
}
