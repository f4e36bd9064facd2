package web_test

import (
	"html/template"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/web"
)

const evil = `"><script>alert(1)</script>`

// every page, with what strangers wrote in every place that they can reach.
var every = map[string]web.Page{
	"sign in": web.SignIn{Transaction: evil, CSRF: evil, Client: evil, Email: evil, Problem: evil},
	"tenants": web.Tenants{Request: web.Request{Transaction: evil}, Client: evil, Person: evil,
		Tenants: []web.Tenant{{ID: evil, Name: evil, Role: evil}}},
	"consent": web.Consent{
		Request: web.Request{Transaction: evil}, CSRF: evil, Person: evil, Client: evil, ClientID: evil,
		RedirectHost: evil, RedirectURI: "javascript:alert(1)", Local: true,
		Resource: evil, ResourceURI: evil, Tenant: web.Tenant{ID: evil, Name: evil}, Several: true,
		Scopes: []web.Scope{{Name: evil, Description: evil, Writes: true}}, TokenLife: time.Minute,
	},
	"consent to a document": web.Consent{Client: evil, Document: evil, Local: true,
		Scopes: []web.Scope{{Name: evil, Description: evil, Fixed: true}}},
	"consent to nothing": web.Consent{Client: evil, Known: evil},
	"problem":            web.Problem{Status: 400, Code: evil, What: evil, Detail: evil, Support: evil},
	"agents": web.Agents{CSRF: evil, Person: evil,
		Agents: []web.Agent{{GrantID: evil, Client: evil, Tenant: evil, Resource: evil,
			Scopes: []web.Scope{{Name: evil, Description: evil, Fixed: true}}, Since: time.Now(), Suspended: true}},
		Alarms: []web.Agent{{Client: evil, Tenant: evil, Resource: evil, Ended: time.Now()}}},
	"clients": web.Clients{
		CSRF: evil, Person: evil, Tenant: web.Tenant{ID: evil, Name: evil}, More: true,
		Scopes: []web.Scope{{Name: evil, Description: evil}}, Problem: evil, Name: evil,
		RedirectURIs: "</textarea>" + evil,
		Clients: []web.Client{{ID: evil, Name: evil, Origin: evil, Proves: evil, Secret: true,
			RedirectURIs: []string{evil, "javascript:alert(1)"}, Scopes: []string{evil}, Since: time.Now(),
			Disabled: true}},
	},
	"roles": web.Roles{CSRF: evil, Person: evil, Tenant: web.Tenant{ID: evil, Name: evil}, Problem: evil,
		Roles: []web.Role{
			{Name: evil, Admin: true, Includes: []string{evil, evil},
				Scopes: []web.RoleScope{{Scope: web.Scope{Name: evil, Description: evil, Fixed: true}, Given: true}}}}},
	"tenants, some refused": web.Tenants{Client: evil, Tenants: []web.Tenant{{ID: evil}},
		Refused: []web.Refused{{Tenant: evil, Why: evil}}},
	"no clients": web.Clients{Machine: true, Name: evil},
	"a new client": web.Secret{Tenant: web.Tenant{ID: evil, Name: evil}, Issuer: evil, Client: evil,
		ClientID: evil, Secret: evil},
	"another secret":        web.Secret{ClientID: evil, Secret: evil, Replaced: true},
	"a client of no secret": web.Secret{Client: evil, ClientID: evil},
	"an initial token":      web.Secret{InitialToken: evil, Uses: 1, Hours: 2},
	"agents and a tenant":   web.Agents{LooksAfter: []web.Tenant{{ID: evil, Name: evil}}},
	"explanation":           web.Explanation{Code: evil, Person: evil, Developer: evil},
	"device":                web.Device{Person: evil},
	"device done":           web.Done{},
	"consent to a device": web.Consent{Request: web.Request{Action: "/device", UserCode: evil}, Client: evil,
		Several: true, Scopes: []web.Scope{{Name: evil, Description: evil, Fixed: true}}},
	"tenants for a device": web.Tenants{Request: web.Request{Action: "/device", UserCode: evil}, Client: evil,
		Tenants: []web.Tenant{{ID: evil}}},
	"no agents":  web.Agents{},
	"signed out": web.SignedOut{Back: "/out", BackTo: evil},
	"sign out": web.SignOut{CSRF: evil, Person: evil, Client: evil, ClientID: evil, To: evil, Host: evil,
		State: evil},
}

// foreign finds addresses of anybody else.
var foreign = regexp.MustCompile(`(?i)(src|href|action)="([a-z]+:|//)`)

// AZ-34, AZ-37, LG-23
func TestEveryPage(t *testing.T) {
	for name, page := range every {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if err := web.Write(w, 418, page); err != nil {
				t.Fatal(err)
			}
			body := w.Body.String()
			if w.Code != 418 || !strings.Contains(body, "</html>") {
				t.Errorf("got %d and a page that does not end", w.Code)
			}
			if strings.Contains(strings.ToLower(body), "<script") {
				t.Error("what a stranger wrote is markup")
			}
			if found := foreign.FindString(body); found != "" {
				t.Errorf("the page names an address that is not ours: %s", found)
			}
			for header, want := range map[string]string{
				"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Frame-Options": "DENY",
				"X-Content-Type-Options": "nosniff",
				"Content-Type":           "text/html; charset=utf-8",
			} {
				if got := w.Header().Get(header); got != want {
					t.Errorf("%s: got %q, want %q", header, got, want)
				}
			}
			policy := w.Header().Get("Content-Security-Policy")
			if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
				t.Errorf("policy %q", policy)
			}
			_, consent := page.(web.Consent)
			_, signOut := page.(web.SignOut)
			if (consent || signOut) == strings.Contains(policy, "form-action") {
				t.Errorf("policy %q: form-action belongs on every page but those that lead to an application", policy)
			}
		})
	}
}

// AS-17: the way back to an application of any scheme is a link, and stays within its quotes.
func TestTheWayBack(t *testing.T) {
	for back, want := range map[template.URL]string{
		"https://app.example/cb?error=x&state=%22": `href="https://app.example/cb?error=x&amp;state=%22"`,
		"cursor://x/cb?error=x":                    `href="cursor://x/cb?error=x"`,
		`https://app.example/"><script>`:           `href="https://app.example/%22%3e%3cscript%3e"`,
	} {
		w := httptest.NewRecorder()
		if err := web.Write(w, 400, web.Problem{What: "x", Back: back, BackTo: evil}); err != nil ||
			!strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String(), "<script") {
			t.Errorf("%s: %v, want %s in\n%s", back, err, want, w.Body)
		}
	}
}

func TestStatic(t *testing.T) {
	for path, want := range map[string]string{"/static/gatehouse.css": "text/css; charset=utf-8",
		"/static/gatehouse.svg": "image/svg+xml"} {
		w := httptest.NewRecorder()
		web.Static().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || w.Header().Get("Content-Type") != want {
			t.Errorf("%s: got %d %s, want 200 %s", path, w.Code, w.Header().Get("Content-Type"), want)
		}
	}
}
