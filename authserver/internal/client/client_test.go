package client_test

import (
	"errors"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// DR-01, DR-02, AZ-05
func TestCheckRedirectURI(t *testing.T) {
	allow := func(uri string) {
		t.Helper()
		if err := client.CheckRedirectURI(uri); err != nil {
			t.Errorf("%s: got %v, want it allowed", uri, err)
		}
	}
	deny := func(uri string) {
		t.Helper()
		if client.CheckRedirectURI(uri) == nil {
			t.Errorf("%q: got it allowed, want it refused", uri)
		}
	}
	allow("https://claude.ai/api/mcp/auth_callback")
	allow("https://app.example:8443/cb?x=1")
	allow("http://127.0.0.1/")
	allow("http://127.0.0.1:33418/")
	allow("http://[::1]:9/cb")
	allow("http://localhost/callback")
	allow("cursor://anysphere.cursor-mcp/oauth/callback")
	allow("com.example.app:/oauth")
	for _, uri := range []string{
		"", "cb", "/cb", "//app.example/cb", "https://", "https:cb", "https:///cb", "https://u@app.example/cb",
		"https://u:p@app.example/cb", "https://app.example/cb#f",
		"https://app.example/cb#", "http://app.example/cb", "http://10.0.0.1/cb", "http://127.0.0.1.evil.example/cb",
		"http://localhost.evil.example/cb", "https://app.example/*",
		"javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "javascript://%0aalert(1)",
		"data:text/html,x", "vbscript:x", "file:///etc/passwd",
		"blob:https://x", "about:blank", "HTTPS://app.example/cb", "cursor:", "https://app.example/c b",
		"https://app.example/c\nb", "https://app.example/ü",
		"https://app.example\\@evil.example/", "https://" + strings.Repeat("a", client.MaxURI),
		// look-alikes
		"https://cl%D0%B0ude.ai/cb", "https://claude%2eai/cb", "https://claude.ai:99999999/cb",
		"https://[::1%25eth0]/cb",
		// half an answer
		"https://app.example/cb?iss=https://evil.example", "https://app.example/cb?code=x",
		"https://app.example/cb?a=1&state=x",
		"ms-msdt:/id", "search-ms:query=x", "shell:startup", "smb://evil.example/x", "ssh://evil.example",
		"itms-services://?x",
	} {
		deny(uri)
	}
}

// A private-use scheme is an application's own: a reverse domain name or one that is known. It
// leads to no web site, runs nothing and ends somewhere.
func TestPrivateUseSchemes(t *testing.T) {
	for _, uri := range []string{
		"com.example.app:/cb", "com.example.app://cb", "com.example.app:/cb?x=1", "app.example.mcp://oauth:8080/cb",
		"cursor://anysphere.cursor-mcp/oauth/callback", "vscode://publisher.extension/cb",
		"vscode-insiders://publisher.extension", "windsurf://x", "claude://oauth", "com.example.app:cb",
		"com.example.app:/a%20b", "com.example.app:/at%2012:30",
	} {
		if err := client.CheckRedirectURI(uri); err != nil {
			t.Errorf("%s: got %v, want it allowed", uri, err)
		}
	}
	for _, uri := range []string{
		"microsoft-edge:https://evil.example", "microsoft-edge-holographic:https://evil.example",
		"googlechrome://evil.example", "googlechromes://evil.example", "firefox://open-url?url=https://evil.example",
		"http+unix://x/cb", "https+insecure://evil.example", "git://evil.example/x", "git+ssh://evil.example/x",
		"x-man-page://ls", "svn://x", "help:openbook=x", "applescript://x", "opera-http://x",
		"urn:ietf:params:oauth:grant-type:x", "urn:x", "tag:example.com,2024:x", "mid:x", "cid:x", "geo:1,2",
		"magnet:?x", "doi:10.1/2", "info:x", "myapp:/cb", "app:/cb", "x:/cb", "steam://run/1", "zoommtg://x",
		"slack://x",
		"cursor:https://evil.example", "cursor:http:/evil.example", "cursor:javascript:alert(1)",
		"cursor://x/?url=https://evil.example", "cursor://x/?url=https%3A%2F%2Fevil.example",
		"cursor://x/?url=https%253A%252F%252Fevil.example", "vscode://vscode.git/clone?url=ssh://evil.example/x",
		"com.example.app:https://evil.example", "com.example.app:///file:///etc/passwd",
		"com.example.app:/?u=data:text/html,x", "com.example.app:/%zz", "cursor://x/%6aavascript:alert(1)",
		"https://app.example:0/cb", "https://app.example:65536/cb", "https://app.example:99999/cb",
		"https://app.example:00443/cb", "https://app.example:/cb", "https://app.example:+443/cb",
		"http://127.0.0.1:65536/cb", "http://localhost:0/", "http://[::1]:99999/", "cursor://x:99999/cb",
		"cursor://x:/cb", "com.example.app://x:0/cb", "cursor://x:y/cb",
	} {
		if client.CheckRedirectURI(uri) == nil {
			t.Errorf("%q: got it allowed, want it refused", uri)
		}
	}
	if _, ok := client.MatchRedirectURI([]string{"http://127.0.0.1/cb"}, "http://127.0.0.1:65536/cb"); ok {
		t.Error("a loopback port that is none: got it matched")
	}
}

// A requested URI that is not the registered one differs from it in nothing but the port of an http
// loopback URI.
func TestMatchRedirectURIProperty(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	pick := func(of ...string) string { return of[r.Intn(len(of))] }
	uri := func() string {
		return pick("http", "https", "cursor", "javascript") + "://" + pick("", "", "x@") + pick("127.0.0.1",
			"localhost", "[::1]", "app.example", "10.0.0.1") +
			pick("", ":80", ":49152", ":x", ":", ":999999") + pick("", "/", "/cb", "/CB", "/cb/", "/%63b") +
			pick("", "?x=1", "?", "#", "#f")
	}
	for range 200_000 {
		registered, requested := uri(), uri()
		relaxed, ok := client.MatchRedirectURI([]string{registered}, requested)
		if !ok || registered == requested {
			continue
		}
		strip := func(s string) string {
			for _, host := range []string{"http://127.0.0.1", "http://localhost", "http://[::1]"} {
				if rest, ok := strings.CutPrefix(s, host); ok {
					rest = strings.TrimLeft(strings.TrimPrefix(rest, ":"), "0123456789")
					if rest == "/" {
						rest = ""
					}
					return "loopback" + rest
				}
			}
			return s
		}
		if strip(registered) != strip(requested) || !strings.HasPrefix(requested, "http://") {
			t.Fatalf("registered %s matches %s (%s)", registered, requested, relaxed)
		}
		// 127, loc or ::1
		named := func(s string) string { return strings.TrimLeft(strings.TrimPrefix(s, "http://"), "[")[:3] }
		if named(registered) != named(requested) && relaxed != client.RelaxedLoopbackHost {
			t.Fatalf("registered %s matches %s as %q", registered, requested, relaxed)
		}
	}
}

func TestFromMetadata(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	open := client.Registration{Now: now}
	tenant := client.Registration{Now: now, Tenant: &client.InitialToken{TenantID: "acme", Scopes: []string{"a", "b"}}}
	redirects := []string{"https://app.example/cb"}

	c, secret, err := client.FromMetadata(oauth.ClientMetadata{ClientName: "  A\u202eB\x00\u200b  C ",
		RedirectURIs: redirects,
		GrantTypes:   []string{"authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"}}, open)
	if err != nil || secret != "" || c.SecretHash != "" || c.AuthMethod != "none" {
		t.Fatalf("a public client: got %+v %q %v, want no secret", c, secret, err)
	}
	if c.Name != "AB C" { // DR-03
		t.Errorf("name: got %q, want AB C", c.Name)
	}
	if !slices.Equal(c.GrantTypes, []string{"authorization_code", "refresh_token"}) {
		t.Errorf("grant types: got %v; clients that register the code alone refresh all the same", c.GrantTypes)
	}
	if c.TenantID != "" || strings.HasPrefix(c.ID, "https://") || len(c.ID) < 26 { // DR-08, DR-16
		t.Errorf("got %+v, want no tenant and an id of 128 bits", c)
	}

	c, secret, err = client.FromMetadata(oauth.ClientMetadata{GrantTypes: []string{"client_credentials"},
		Scope: "b c"}, tenant)
	if err != nil || !client.CheckSecret(c.SecretHash, secret) || c.TenantID != "acme" ||
		!slices.Equal(c.Scopes, []string{"b"}) {
		t.Errorf("a tenant's machine client: got %+v %v", c, err)
	}

	for name, m := range map[string]oauth.ClientMetadata{
		"machine without a tenant": {GrantTypes: []string{"client_credentials"}},
		"implicit":                 {GrantTypes: []string{"implicit"}, RedirectURIs: redirects},
		"refresh alone":            {GrantTypes: []string{"refresh_token"}, RedirectURIs: redirects},
		"no redirect":              {},
		"token response":           {RedirectURIs: redirects, ResponseTypes: []string{"token"}},
		"unknown method":           {RedirectURIs: redirects, TokenEndpointAuthMethod: "private_key_jwt"},
		"bad redirect beside good": {RedirectURIs: append(redirects, "javascript:alert(1)")},
		"malformed scope":          {RedirectURIs: redirects, Scope: "a\x00b"},
	} {
		var refused *oauth.Error
		if _, _, err := client.FromMetadata(m, open); !errors.As(err, &refused) || refused.Status != 400 {
			t.Errorf("%s: got %v, want a 400", name, err) // DR-09
		}
	}
}

func TestLoopbackOnly(t *testing.T) {
	for uri, want := range map[string]bool{"http://127.0.0.1/cb": true, "http://localhost:1/cb": true,
		"https://app.example/cb": false, "cursor://x": false} {
		if got := (client.Client{RedirectURIs: []string{uri}}).LoopbackOnly(); got != want {
			t.Errorf("%s: got %v, want %v", uri, got, want)
		}
	}
}

// Those who say the same of a public application share one client; whatever differs makes another.
func TestWhoSharesAClient(t *testing.T) {
	now := time.Now()
	said := oauth.ClientMetadata{
		ClientName: "Agent", SoftwareID: "2e6dc280", SoftwareVersion: "1.0",
		RedirectURIs: []string{"http://127.0.0.1:1/cb", "https://app.example/cb"},
		GrantTypes:   []string{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "none",
	}
	make := func(change func(*oauth.ClientMetadata)) client.Client {
		t.Helper()
		m := said
		m.RedirectURIs = slices.Clone(said.RedirectURIs)
		change(&m)
		c, _, err := client.FromMetadata(m,
			client.Registration{Now: now.Add(time.Duration(rand.Intn(1000)) * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := make(func(*oauth.ClientMetadata) {})
	if !first.Shared() {
		t.Fatal("it is not shared")
	}
	for what, change := range map[string]func(*oauth.ClientMetadata){
		"the same":                       func(*oauth.ClientMetadata) {},
		"redirect URIs in another order": func(m *oauth.ClientMetadata) { slices.Reverse(m.RedirectURIs) },
		"a redirect URI twice": func(m *oauth.ClientMetadata) {
			m.RedirectURIs = append(m.RedirectURIs,
				m.RedirectURIs[0])
		},
		"the grant type that it gets too": func(m *oauth.ClientMetadata) { m.GrantTypes = nil },
		"no method, which is none":        func(m *oauth.ClientMetadata) { m.TokenEndpointAuthMethod = "" },
		"a name with a space more":        func(m *oauth.ClientMetadata) { m.ClientName = " Agent " },
		"a scope, which is not kept":      func(m *oauth.ClientMetadata) { m.Scope = "a" },
	} {
		if got := make(change); got.Fingerprint != first.Fingerprint || got.ID == first.ID {
			t.Errorf("%s: got another fingerprint, want the same", what)
		}
	}
	for what, change := range map[string]func(*oauth.ClientMetadata){
		"another name":          func(m *oauth.ClientMetadata) { m.ClientName = "Agent 2" },
		"another version":       func(m *oauth.ClientMetadata) { m.SoftwareVersion = "1.1" },
		"other software":        func(m *oauth.ClientMetadata) { m.SoftwareID = "x" },
		"a redirect URI less":   func(m *oauth.ClientMetadata) { m.RedirectURIs = m.RedirectURIs[:1] },
		"another port":          func(m *oauth.ClientMetadata) { m.RedirectURIs[0] = "http://127.0.0.1:2/cb" },
		"a URI of another host": func(m *oauth.ClientMetadata) { m.RedirectURIs[1] = "https://evil.example/cb" },
		"a grant type more": func(m *oauth.ClientMetadata) {
			m.GrantTypes = append(m.GrantTypes,
				client.GrantDevice)
		},
		"another page of its own": func(m *oauth.ClientMetadata) { m.ClientURI = "https://app.example/" },
		"native":                  func(m *oauth.ClientMetadata) { m.ApplicationType = "native" },
	} {
		if got := make(change); !got.Shared() || got.Fingerprint == first.Fingerprint {
			t.Errorf("%s: got %q, want a fingerprint of its own", what, got.Fingerprint)
		}
	}
	for what, change := range map[string]func(*oauth.ClientMetadata){
		"no software": func(m *oauth.ClientMetadata) { m.SoftwareID = "" },
		"a secret":    func(m *oauth.ClientMetadata) { m.TokenEndpointAuthMethod = "client_secret_basic" },
		"a key": func(m *oauth.ClientMetadata) {
			m.TokenEndpointAuthMethod, m.JWKSURI = "private_key_jwt", "https://app.example/jwks"
		},
	} {
		if make(change).Shared() {
			t.Errorf("%s: it is shared", what)
		}
	}
	c, _, err := client.FromMetadata(said,
		client.Registration{Now: now, Tenant: &client.InitialToken{TenantID: "acme", Scopes: []string{"a"}}})
	if err != nil || c.Shared() {
		t.Errorf("with an initial access token: got %+v %v, want it not shared", c, err)
	}
}

// A document says the same to every server: which of the methods that it leaves open is meant
// (clients.md 2.2 quirk 8).
func TestHowADocumentsClientProvesItself(t *testing.T) {
	const id = "https://chatgpt.com/oauth/client.json"
	for _, row := range []struct{ says, want string }{
		{``, "none"},
		{`"token_endpoint_auth_method":"none"`, "none"},
		{`"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://chatgpt.com/oauth/jwks.json"`,
			"private_key_jwt"},
		{`"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_methods_supported":["none",` +
			`"private_key_jwt"],"jwks_uri":"https://chatgpt.com/oauth/jwks.json"`, "private_key_jwt"},
		{`"token_endpoint_auth_method":"none","token_endpoint_auth_methods_supported":["none","private_key_jwt"],` +
			`"jwks_uri":"https://chatgpt.com/oauth/jwks.json"`, "none"},
		{`"token_endpoint_auth_methods_supported":["none","private_key_jwt"],"jwks_uri":"https://chatgpt.` +
			`com/oauth/jwks.json"`, "private_key_jwt"},
		{`"token_endpoint_auth_methods_supported":["none","private_key_jwt"]`, "none"},
		{`"token_endpoint_auth_methods_supported":["client_secret_basic","none"]`, "none"},
		{`"token_endpoint_auth_method":"client_secret_basic",` +
			`"token_endpoint_auth_methods_supported":["client_secret_basic","none"]`, "none"},
		{`"token_endpoint_auth_method":"client_secret_basic"`, ""},
		{`"token_endpoint_auth_methods_supported":["client_secret_basic","tls_client_auth"]`, ""},
		{`"token_endpoint_auth_method":"private_key_jwt"`, ""},
	} {
		says := row.says
		if says != "" {
			says = "," + says
		}
		c, err := client.FromDocument(id,
			[]byte(`{"client_id":"`+id+
				`","client_name":"ChatGPT","redirect_uris":["https://chatgpt.com/connector_platform_oauth_redirect"]`+
				says+`}`), time.Now())
		if c.AuthMethod != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%s: got %q %v, want %q", row.says, c.AuthMethod, err, row.want)
		}
	}
}
