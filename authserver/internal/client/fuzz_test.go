package client_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
)

// FuzzMatchRedirectURI: whatever matches is what was registered, byte for byte; or both are http on
// the person's own machine, with the same path and query, and differ in the port or in the name of
// the loopback host (AZ-02 to AZ-05).
func FuzzMatchRedirectURI(f *testing.F) {
	uris := []string{
		"https://app.example/cb", "https://app.example/cb?x=1", "http://127.0.0.1/cb", "http://127.0.0.1:9999/cb",
		"http://[::1]:1/cb", "http://localhost:33418", "http://localhost:33418/", "cursor://anysphere/cb",
		"com.example.app:/cb", "https://127.0.0.1/tls", "http://evil@127.0.0.1:9999/cb", "http://127.0.0.1:9999/%63b",
		"http://127.0.0.1.evil.example/cb", "http://localhost.evil.example/", "http://127.0.0.1:99999999/cb",
		"javascript:alert(1)", "https://app.example/cb#f", "https://APP.example/cb", "HTTP://127.0.0.1/cb",
		"http://127.0.0.1:/cb", "http://localhost?x=1", "http://[::1%25lo]/cb", "https://app.example\\@evil.example/",
		"https://app.example/cb?code=x",
	}
	for i, u := range uris {
		f.Add(u, uris[(i+1)%len(uris)])
		f.Add(u, u)
	}
	f.Fuzz(func(t *testing.T, registered, requested string) {
		relaxed, ok := client.MatchRedirectURI([]string{registered}, requested)
		if !ok {
			return
		}
		if err := client.CheckRedirectURI(requested); err != nil {
			t.Fatalf("%q matches, but %v", requested, err)
		}
		if registered == requested {
			if relaxed != "" {
				t.Errorf("%q is what was registered, and yet relaxed: %s", requested, relaxed)
			}
			return
		}
		a, err := url.Parse(registered)
		if err != nil {
			t.Fatalf("%q matches %q, which is none: %v", requested, registered, err)
		}
		b, err := url.Parse(requested)
		if err != nil {
			t.Fatal(err)
		}
		own := map[string]bool{"127.0.0.1": true, "::1": true, "localhost": true}
		same := a.Scheme == "http" && b.Scheme == "http" && own[a.Hostname()] && own[b.Hostname()] && a.User == nil &&
			b.User == nil &&
			strings.TrimSuffix(a.EscapedPath(), "/") == strings.TrimSuffix(b.EscapedPath(), "/") &&
			a.RawQuery == b.RawQuery && a.Fragment == "" && b.Fragment == ""
		if !same {
			t.Errorf("%q matches %q (%s)", requested, registered, relaxed)
		}
		if a.Hostname() != b.Hostname() && relaxed != client.RelaxedLoopbackHost {
			t.Errorf("%q matches %q on another name of the host, and says %q", requested, registered, relaxed)
		}
	})
}

// FuzzCheckRedirectURI: what may be registered goes to one place, for every reader.
func FuzzCheckRedirectURI(f *testing.F) {
	for _, u := range []string{"https://app.example/cb", "http://localhost:1/", "cursor://x", "https://a\tb",
		"https://app.example:443/cb", "https://[::1]/", "ms-word:x", "https://%61pp.example",
		"https://app.example/?error=x", "https:/app.example", "https://app.example:port/"} {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if client.CheckRedirectURI(uri) != nil {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.User != nil || u.Fragment != "" || u.Scheme == "" ||
			strings.ContainsAny(uri, "\r\n\t \\\"<>") {
			t.Fatalf("%q may be registered: %v", uri, err)
		}
		switch u.Scheme {
		case "https":
			if u.Host == "" || !strings.HasPrefix(uri, "https://"+u.Host) {
				t.Errorf("%q may be registered, and its host is %q", uri, u.Host)
			}
		case "http":
			if h := u.Hostname(); h != "127.0.0.1" && h != "::1" && h != "localhost" {
				t.Errorf("%q may be registered, in clear to %s", uri, h)
			}
		case "javascript", "data", "file", "blob", "vbscript":
			t.Errorf("%q may be registered, and it runs or reads something", uri)
		}
		if _, ok := client.MatchRedirectURI([]string{uri}, uri); !ok {
			t.Errorf("%q may be registered and never used", uri)
		}
	})
}
