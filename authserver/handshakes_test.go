package authserver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// handshake is how one client of the field behaves, as its users' reports and its makers' documents tell: what it registers, what it then asks for, how
// it comes to the token endpoint, and which relaxations, by name, that takes.
type handshake struct {
	client   string
	register string            // the registration's body
	redirect string            // where it really waits
	ask      map[string]string // bent parameters of the authorization request; "-" leaves one away
	redeem   map[string]string // bent parameters of the token request
	basic    bool              // sends its secret by Basic, whatever it registered
	origin   string            // a page in a browser: CORS must let it
	relaxed  []string
}

var handshakes = []handshake{
	{
		client:   "Claude (web, desktop)",
		register: `{"client_name":"Claude","redirect_uris":["https://claude.ai/api/mcp/auth_callback","https://claude.com/api/mcp/auth_callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none","scope":"customers:read"}`,
		redirect: "https://claude.ai/api/mcp/auth_callback", ask: map[string]string{"scope": "customers:read customers:write tickets:write offline_access"},
	},
	{
		client:   "Claude Code",
		register: `{"client_name":"Claude Code","redirect_uris":["http://localhost:3118/callback"],"grant_types":["authorization_code","refresh_token"],"token_endpoint_auth_method":"none"}`,
		redirect: "http://localhost:52771/callback", ask: map[string]string{"resource": "-"}, redeem: map[string]string{"resource": "-"},
		relaxed: []string{"another port of localhost", "no resource: the default one"},
	},
	{
		client:   "Claude Code, that sends the origin for the resource",
		register: `{"client_name":"Claude Code","redirect_uris":["http://localhost/callback"],"token_endpoint_auth_method":"none"}`,
		redirect: "http://localhost:52771/callback", ask: map[string]string{"resource": "https://mcp.example/"}, redeem: map[string]string{"resource": "https://mcp.example/mcp/"},
		relaxed: []string{"another port of localhost", "an alias of the resource"},
	},
	{
		client:   "ChatGPT",
		register: `{"client_name":"ChatGPT","redirect_uris":["https://chatgpt.com/connector/oauth/AbC123","https://chatgpt.com/connector_platform_oauth_redirect"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"]}`,
		redirect: "https://chatgpt.com/connector/oauth/AbC123", ask: map[string]string{"scope": "customers:read tickets:write"},
	},
	{
		client:   "Cursor",
		register: `{"client_name":"Cursor","application_type":"web","redirect_uris":["cursor://anysphere.cursor-mcp/oauth/callback","http://localhost:8787/callback","https://www.cursor.com/agents/mcp/oauth/callback"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"]}`,
		redirect: "cursor://anysphere.cursor-mcp/oauth/callback",
	},
	{
		client:   "VS Code",
		register: `{"client_name":"Visual Studio Code","client_uri":"https://code.visualstudio.com","grant_types":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:device_code"],"response_types":["code"],"redirect_uris":["https://insiders.vscode.dev/redirect","https://vscode.dev/redirect","http://127.0.0.1/","http://127.0.0.1:33418/"],"application_type":"native"}`,
		redirect: "http://127.0.0.1:40127", relaxed: []string{"a loopback redirect's lone slash"},
	},
	{
		client:   "Codex CLI",
		register: `{"client_name":"Codex","redirect_uris":["http://127.0.0.1:1455/callback"],"token_endpoint_auth_method":"client_secret_post","grant_types":["authorization_code","refresh_token"]}`,
		redirect: "http://localhost:41233/callback", basic: true,
		relaxed: []string{"another name of the loopback host", "client_secret_basic for client_secret_post"},
	},
	{
		client:   "Copilot CLI",
		register: `{"client_name":"GitHub Copilot CLI","redirect_uris":["http://127.0.0.1:50123/"],"token_endpoint_auth_method":"none"}`,
		redirect: "http://127.0.0.1:50123/", ask: map[string]string{"scope": "-"},
	},
	{
		client:   "MCP Inspector",
		register: `{"client_name":"MCP Inspector","redirect_uris":["http://localhost:6274/oauth/callback"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],"response_types":["code"],"scope":""}`,
		redirect: "http://localhost:6274/oauth/callback", origin: "http://localhost:6274", ask: map[string]string{"scope": ""},
	},
	{
		client:   "mcp-remote",
		register: `{"client_name":"MCP CLI Proxy","redirect_uris":["http://localhost:3334/oauth/callback"],"grant_types":["authorization_code"],"response_types":["code"],"token_endpoint_auth_method":"none","software_id":"2e6dc280-f3c3-4e01-99a7-8181dbd1d23d","software_version":"0.1.29"}`,
		redirect: "http://localhost:9696/oauth/callback", relaxed: []string{"another port of localhost"},
	},
	{
		client:   "LM Studio",
		register: `{"client_name":"LM Studio","redirect_uris":["http://127.0.0.1:33389/mcp/oauth/callback","ftp//broken"],"token_endpoint_auth_method":"none","unknown_member":{"a":[null]}}`,
		redirect: "http://127.0.0.1:33389/mcp/oauth/callback", ask: map[string]string{"state": "-"},
		relaxed: []string{"no state, or a short one"},
	},
}

// TestHandshakes plays each client's way in to its end: registration, consent, code, tool-ready token, renewal.
func TestHandshakes(t *testing.T) {
	for _, hs := range handshakes {
		t.Run(hs.client, func(t *testing.T) {
			h := openHouse(t, func(c *authserverConfig) { c.Resources[0].Aliases = []string{"https://mcp.example", resourceURI + "/"} })
			header := http.Header{}
			if hs.origin != "" {
				header.Set("Origin", hs.origin)
			}
			r := h.do("POST", "/oauth2/register", "application/json", hs.register, header)
			var made map[string]any
			must(t, json.NewDecoder(r.Body).Decode(&made))
			r.Body.Close()
			if r.StatusCode != 201 {
				t.Fatalf("registering: got %d %v", r.StatusCode, made)
			}
			for name, value := range made {
				if value == nil {
					t.Errorf("the answer's %s is null, which LM Studio refuses", name)
				}
			}
			if grants, _ := made["grant_types"].([]any); !slices.Contains(grants, any("refresh_token")) {
				t.Errorf("the answer's grant types are %v: it could not renew", grants)
			}
			if hs.origin != "" && r.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Error("a page could not read the answer")
			}
			a := app{h: h, ID: made["client_id"].(string)}
			secret, _ := made["client_secret"].(string)

			ask := a.authorization("customers:read")
			ask.Set("redirect_uri", hs.redirect)
			bend(ask, hs.ask)
			q := h.person("ann@acme.example").approve(ask)
			if q.Get("code") == "" || q.Get("iss") != h.URL || q.Get("state") != ask.Get("state") {
				t.Fatalf("the answer: %v", q)
			}
			form := redemption(q.Get("code"))
			form.Set("redirect_uri", hs.redirect)
			form.Set("resource", resourceURI)
			bend(form, hs.redeem)
			tokens := hs.post(t, h, a.ID, secret, form)
			if _, body := claims(t, tokens["access_token"].(string)); body["aud"] != resourceURI {
				t.Errorf("aud is %v, want the resource itself", body["aud"])
			}
			hs.post(t, h, a.ID, secret, refreshment(tokens["refresh_token"].(string)))
			for _, name := range hs.relaxed {
				if !h.Log.Contains(`"relaxed":"` + name + `"`) {
					t.Errorf("the log does not name the relaxation %q", name)
				}
			}
			if len(hs.relaxed) == 0 && h.Log.Contains(`"relaxed"`) {
				t.Error("it took a relaxation that the pack does not name")
			}
		})
	}
}

// post asks the token endpoint in the client's own manner.
func (hs handshake) post(t *testing.T, h *house, id, secret string, form url.Values) map[string]any {
	t.Helper()
	header := http.Header{}
	if hs.origin != "" {
		header.Set("Origin", hs.origin)
	}
	switch {
	case secret != "" && hs.basic:
		header = basicAuth(id, secret)
	case secret != "":
		form.Set("client_id", id)
		form.Set("client_secret", secret)
	default:
		form.Set("client_id", id)
	}
	status, answer := h.post("/oauth2/token", "application/x-www-form-urlencoded", form.Encode(), header)
	if status != 200 {
		t.Fatalf("%s: got %d %v", form.Get("grant_type"), status, answer)
	}
	return answer
}

func bend(form url.Values, by map[string]string) {
	for name, value := range by {
		if value == "-" {
			form.Del(name)
			continue
		}
		form.Set(name, value)
	}
}

// A resource that is nobody's alias is refused, and the refusal says what was expected.
func TestInvalidTargetSaysWhatWasExpected(t *testing.T) {
	h := openHouse(t)
	m := h.machine("acme", "customers:read")
	status, answer := m.token(url.Values{"grant_type": {"client_credentials"}, "resource": {"https://mcp.example/mcp/"}})
	wantError(t, "a slash more, where it is no alias", status, answer, 400, "invalid_target")
	if said, _ := answer["error_description"].(string); !strings.Contains(said, resourceURI) {
		t.Errorf("it says %q, want it to name %s", said, resourceURI)
	}
}

// Preflights of pages in browsers, and that the authorization endpoint has none (AS-12).
func TestCORS(t *testing.T) {
	h := openHouse(t)
	for path, open := range map[string]bool{
		"/oauth2/token": true, "/oauth2/register": true, "/oauth2/revoke": true, "/oauth2/jwks": true, "/.well-known/oauth-authorization-server": true,
		"/oauth2/authorize": false, "/oauth2/introspect": false, "/consent": false, "/signin": false,
	} {
		r := h.do("OPTIONS", path, "", "", http.Header{"Origin": {"https://anybody.example"}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"content-type"}})
		r.Body.Close()
		if got := r.Header.Get("Access-Control-Allow-Origin") == "*" && r.StatusCode == 204; got != open || r.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: got %d %v, want open %v", path, r.StatusCode, r.Header, open)
		}
		if open && !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
			t.Errorf("%s: a page cannot read the challenge: %v", path, r.Header)
		}
	}
}
