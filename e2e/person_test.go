package e2e_test

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// person is somebody at a browser that runs no script.
type person struct {
	house *product
	email string
	http  *http.Client
}

func newPerson(h *product, email string) *person {
	jar, _ := cookiejar.New(nil)
	return &person{h, email, &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), h.Issuer) {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// page is where a browser has arrived.
type page struct {
	status int
	url    *url.URL
	body   string
	away   *url.URL // where it is sent, away from the issuer
}

func (p *person) arrive(r *http.Response, err error) (page, error) {
	if err != nil {
		return page{}, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	at := page{status: r.StatusCode, url: r.Request.URL, body: string(body)}
	if l := r.Header.Get("Location"); l != "" && err == nil {
		at.away, err = url.Parse(l)
	}
	return at, err
}

func (p *person) open(address string) (page, error) { return p.arrive(p.http.Get(address)) }

var (
	tags       = regexp.MustCompile(`<(?:input|form)\b[^>]*>`)
	attributes = regexp.MustCompile(`([a-z-]+)(?:="([^"]*)")?`)
)

// submit sends the page's first form with fields set, as a browser does.
func (p *person) submit(at page, set url.Values) (page, error) {
	fields, action, forms := url.Values{}, at.url, 0
	for _, tag := range tags.FindAllString(at.body, -1) {
		a := map[string]string{}
		for _, m := range attributes.FindAllStringSubmatch(tag, -1) {
			a[m[1]] = html.UnescapeString(m[2])
		}
		if strings.HasPrefix(tag, "<form") {
			if forms++; forms == 1 && a["action"] != "" {
				ref, err := url.Parse(a["action"])
				if err != nil {
					return page{}, err
				}
				action = at.url.ResolveReference(ref)
			}
			continue
		}
		_, checked := a["checked"]
		// ticks all that is offered
		checked = checked || a["name"] == "scope" && (at.url.Path == "/consent" || at.url.Path == "/device")
		if forms == 1 && a["name"] != "" && (a["type"] != "checkbox" || checked) {
			fields.Add(a["name"], a["value"])
		}
	}
	for name, values := range set {
		fields[name] = values
	}
	return p.arrive(p.http.PostForm(action.String(), fields))
}

// enter opens an address, and signs in if it is asked to.
func (p *person) enter(address string) (page, error) {
	at, err := p.open(address)
	if err == nil && at.url.Path == "/signin" {
		at, err = p.submit(at, url.Values{"email": {p.email}, "password": {p.house.password(p.email)}})
	}
	return at, err
}

// consent brings the person to the consent page of a request, signing in and choosing the tenant on
// the way.
func (p *person) consent(address, tenant string) (page, error) {
	at, err := p.enter(address)
	if err == nil && strings.Contains(at.body, `name="tenant" value="`+tenant+`"`) && tenant != "" {
		at, err = p.open(p.house.Issuer + "/consent?tx=" + at.url.Query().Get("tx") + "&tenant=" + tenant)
	}
	if err == nil && at.url.Path != "/consent" && at.url.Path != "/signin" {
		err = fmt.Errorf("%s is at %s (%d), not at the consent page:\n%s", p.email, at.url, at.status, at.body)
	}
	return at, err
}

// gives makes a tenant's role give these scopes, on the page of its roles.
func (p *person) gives(tenant, role string, scopes []string) (bool, string, error) {
	at, err := p.enter(p.house.Issuer + "/tenants/" + tenant + "/roles")
	if err != nil || at.url.Path == "/signin" {
		return false, at.body, err
	}
	if at.url.Path == "/agents" { // where signing in leads
		at, err = p.open(p.house.Issuer + "/tenants/" + tenant + "/roles")
	}
	if err != nil || at.status != http.StatusOK {
		return false, at.body, err
	}
	csrf := csrfField.FindStringSubmatch(at.body)
	if csrf == nil {
		return false, at.body, fmt.Errorf("the page of roles has no form")
	}
	at, err = p.arrive(p.http.PostForm(p.house.Issuer+"/tenants/"+tenant+"/roles/"+role,
		url.Values{"csrf": csrf[1:], "scope": scopes}))
	return at.status == http.StatusOK, at.body, err
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// decide answers the consent page; scopes nil ticks what the page ticks. It returns the answer to
// the application.
func (p *person) decide(at page, decision string, scopes []string) (url.Values, error) {
	set := url.Values{"decision": {decision}}
	if scopes != nil {
		set["scope"] = scopes
	}
	at, err := p.submit(at, set)
	if err != nil {
		return nil, err
	}
	if at.away == nil {
		return nil, fmt.Errorf("%s is at %s (%d), not sent back to the application:\n%s", p.email, at.url, at.status,
			at.body)
	}
	return at.away.Query(), nil
}
