package manifest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/manifest"
	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
)

const whole = `# everything that there is to say
resources:
  - uri: https://notes.example/mcp
    name: Notes
    algorithm: RS256
    access_token_lifetime: 5m
    aliases: ["https://notes.example"]
    scopes:
      - {name: "notes:read", description: Read your notes, baseline: true, access: read}
      - name: notes:write
        description: >-
          Change
          your notes
tenants:
  - id: acme
    name: "Acme"
    policy:
      scopes: [notes:read,
        notes:write]
      clients: any
      registrations: [operator]
      max_access_token_lifetime: 2m
      max_refresh_token_lifetime: 0
    roles:
      - role: clerk
        scopes:
          - notes:read
        includes: [reader]
        admin: true
    clients:
      - name: " nightly "
        scopes: [notes:read]
  - id: globex
clients:
  - name: portal
    redirect_uris: [https://portal.example/cb]
    post_logout_redirect_uris: [https://portal.example/]
    public: true
    require_pushed_requests: true
  - name: notes
    server: https://notes.example/mcp
    scopes: []
    token_exchange: true
    assertions: false
`

func TestAFileSaysWhatThereShouldBe(t *testing.T) {
	name, long, short := "Acme", time.Duration(0), 2*time.Minute
	want := manifest.Manifest{
		Resources: []manifest.Resource{{
			Line: 3, URI: "https://notes.example/mcp", Name: "Notes", Algorithm: "RS256",
			AccessTokenLifetime: 5 * time.Minute,
			Aliases:             []string{"https://notes.example"},
			Scopes: []manifest.Scope{{9, "notes:read", "Read your notes", true, "read"},
				{10, "notes:write", "Change your notes", false, ""}},
		}},
		Tenants: []manifest.Tenant{
			{
				Line: 15, ID: "acme", Name: &name, Policy: manifest.Policy{
					Line: 18, Scopes: &manifest.Words{{"notes:read", 18}, {"notes:write", 19}},
					Clients: &manifest.Words{}, Registrations: &manifest.Words{{"operator", 21}},
					MaxAccessTokenLifetime: &short, MaxRefreshTokenLifetime: &long,
				},
				Roles: []manifest.Role{{Line: 25, Name: "clerk", Scopes: manifest.Words{{"notes:read", 27}},
					Includes: manifest.Words{{"reader", 28}}, Admin: true}},
				Clients: []manifest.Client{{Line: 31, Name: " nightly ", Scopes: manifest.Words{{"notes:read", 32}}}},
			},
			{Line: 33, ID: "globex"},
		},
		Clients: []manifest.Client{
			{Line: 35, Name: "portal", RedirectURIs: []string{"https://portal.example/cb"},
				PostLogoutRedirectURIs: []string{"https://portal.example/"}, Public: true, PushRequired: true},
			{Line: 40, Name: "notes", Server: "https://notes.example/mcp", TokenExchange: true},
		},
	}
	got, err := manifest.Read([]byte(whole))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if n := got.Entries(); n != 7 {
		t.Errorf("got %d entries, want 7", n)
	}
	if n := got.Words(); n != 11 {
		t.Errorf("got %d words, want 11", n)
	}
	asJSON, err := manifest.Read(
		[]byte(`{"tenants": [{"id": "acme", "roles": [{"role": "clerk", "scopes": ["a"]}]}]}`))
	if err != nil || len(asJSON.Tenants) != 1 || asJSON.Tenants[0].Roles[0].Name != "clerk" {
		t.Errorf("JSON: got %+v %v", asJSON, err)
	}
}

func TestWhatIsWrittenWronglyNamesItsLine(t *testing.T) {
	for _, row := range []struct{ name, file, says string }{
		{"nothing", "", "line 1: the file names nothing"},
		{"only words about it", "# later\n", "line 1: the file names nothing"},
		{"a list", "- a\n", "line 1: want names with values, for the file"},
		{"two documents", "tenants: []\n---\ntenants: []\n", "several documents"},
		{"no YAML", "tenants:\n  - id: acme\n  id: x\n", "line 3: "},
		{"a tab", "tenants:\n\t- id: acme\n", "line 2: "},
		{"an unknown word", "tenants:\n  - id: acme\n    roels: []\n",
			`line 3: there is no "roels" in a tenant; is it "roles"?`},
		{"an unknown word at the top", "tenant:\n  - id: acme\n",
			`line 1: there is no "tenant" in the file; is it "tenants"?`},
		{"an unknown word of a policy", "tenants:\n  - id: acme\n    policy:\n      scope: [a]\n",
			`line 4: there is no "scope" in a policy; is it "scopes"?`},
		{"a word twice", "tenants:\n  - id: acme\n    id: acme\n", "line 3: "},
		{"a null", "tenants:\n  - id: acme\n    roles:\n", "line 3: roles says nothing"},
		{"a mapping for a list", "tenants: {id: acme}\n", "line 1: want a list"},
		{"a text for a list", "tenants:\n  - id: acme\n    clients:\n      - name: a\n        scopes: customers:read\n",
			"line 5: want a list"},
		{"a number for a text", "tenants:\n  - id: 12\n", "line 2: want a text; put 12 in quotes"},
		{"a truth value for a text", "tenants:\n  - id: acme\n    name: true\n",
			"line 3: want a text; put true in quotes"},
		{"a list for a text", "tenants:\n  - id: [acme]\n", "line 2: want a text"},
		{"a text for a truth value", "tenants:\n  - id: acme\n    roles:\n      - role: a\n        admin: 'yes'\n",
			"line 5: want true or false"},
		{"no length of time", "tenants:\n  - id: acme\n    policy: {max_access_token_lifetime: 5}\n",
			"line 3: want a length of time such as 5m"},
		{"a word that stands for another", "tenants: &all\n  - id: acme\nclients: *all\n", "line 1: want a list"},
		{"words taken from elsewhere", "tenants:\n  - id: acme\n    <<: {name: x}\n",
			`line 3: there is no "<<" in a tenant`},
		{"a policy of nothing", "tenants:\n  - id: acme\n    policy:\n      scopes: []\n",
			"line 4: the list is empty: the policy would allow no scope"},
		{"a policy for nobody", "tenants:\n  - id: acme\n    policy:\n      clients: []\n",
			"line 4: the list is empty; the word any takes the restriction away"},
		{"no id", "tenants:\n  - id: acme\n  - name: x\n", "line 3: the tenant has no id"},
		{"no uri", "resources:\n  - name: x\n", "line 2: the resource has no uri"},
		{"no name of a client", "clients:\n  - server: https://a.example\n    name: ' '\n",
			"line 2: the client has no name"},
		{"no name of a role", "tenants:\n  - id: acme\n    roles:\n      - scopes: [a]\n",
			"line 4: the role has no name; say it as role: NAME"},
		{"a tenant twice", "tenants:\n  - id: acme\n  - id: globex\n  - id: acme\n",
			`line 4: the tenant "acme" is in line 2 already`},
		{"a resource twice", "resources:\n  - uri: https://a.example\n  - uri: https://a.example\n",
			`line 3: the resource "https://a.example" is in line 2 already`},
		{"a scope twice", "resources:\n  - uri: https://a.example\n    scopes:\n      - name: a\n      - name: a\n",
			`line 5: the scope "a" is in line 4 already`},
		{"a role twice", "tenants:\n  - id: acme\n    roles:\n      - role: a\n      - role: a\n",
			`line 5: the role "a" is in line 4 already`},
		{"a client twice, but for spaces",
			"tenants:\n  - id: acme\n    clients:\n      - name: a\n      - name: 'a '\n",
			`line 5: the client "a" is in line 4 already`},
		{"too large", strings.Repeat("#", manifest.MaxFile+1), "over 16777216 bytes"},
		{"too many words", "clients: [{name: a, scopes: [" + strings.Repeat("a, ", manifest.MaxWords) + "a]}]",
			"it has 100001 scopes"},
		{"too many scopes", "resources: [{uri: a, scopes: [" + scopes(manifest.MaxWords+1) + "]}]",
			"it has 100001 scopes"},
		{"too many", "tenants:\n  - id: acme\nclients:" + many(manifest.MaxEntries), "50001 things"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := manifest.Read([]byte(row.file))
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want an error that says %q", err, row.says)
			}
		})
	}
	// The same name at two tenants is two clients.
	if _, err := manifest.Read(
		[]byte("tenants:\n  - id: a\n    clients: [{name: x}]\n  - id: b\n    clients: [{name: x}]\nclients: " +
			"[{name: x}]\n")); err != nil {
		t.Error(err)
	}
}

// many are so many clients, each of another name.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\n  - name: c%d", i)
	}
	return b.String()
}

// scopes are so many, each of another name.
func scopes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{name: s%d},", i)
	}
	return b.String()
}

// FuzzRead looks for files that end the program, and for lines that are not in them.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{whole, "", "- a", "tenants: [{id: a, clients: [{name: x, scopes: [a:b]}]}]",
		"tenants: &a [*a]", "a: |\n  b\n", "{\"tenants\": [{\"id\": 1}]}", "? [a]\n: b",
		"tenants:\n  - id: !!str 1\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := manifest.Read([]byte(text))
		var wrong *configfile.LineError
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 1
		if errors.As(err, &wrong) && (wrong.Line < 1 || wrong.Line > lines) {
			t.Errorf("%v, and it has %d lines", err, lines)
		}
		if err == nil && b.Check() != nil {
			t.Error(b.Check())
		}
	})
}
