package authserver_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cimd"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

const (
	resourceURI = "https://mcp.example/mcp"
	callback    = "https://app.example/cb"
	password    = "correct horse battery staple"
)

type authserverConfig = authserver.Config

var allScopes = []string{"customers:read", "customers:write", "tickets:write"}

// clock is a clock that the test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// testServer is a running authorization server with ann of acme, bob of globex and carol of both.
type testServer struct {
	t      testing.TB
	URL    string
	Store  *sqlstore.DB
	Clock  *clock
	List   *revocation.Memory
	Server *authserver.Server
	Log    *logBook

	config    authserver.Config
	documents *cimd.Fetcher
	handler   atomic.Pointer[http.Handler]
}

func startServer(t testing.TB, change ...func(*authserver.Config)) *testServer {
	t.Helper()
	ctx := context.Background()
	database := "sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db")
	ts := httptest.NewUnstartedServer(nil)
	h := &testServer{t: t, URL: "http://" + ts.Listener.Addr().String(),
		Clock: &clock{now: time.Now().UTC().Truncate(time.Second)}, Log: &logBook{}}
	h.List = revocation.NewMemory(h.Clock.Now)
	kek := make([]byte, 32)
	rand.Read(kek)
	c := authserver.Config{
		Issuer: h.URL, Database: database, KeyEncryptionKey: config.Secret(base64.StdEncoding.EncodeToString(kek)),
		RegistrationsPerHour: 10_000, MaxInFlight: 10_000, // however slow the machine is, nothing is refused for that
		Resources: []authserver.Resource{{URI: resourceURI, Name: "Companion", Scopes: []authserver.Scope{
			{Name: "customers:read", Description: "Read customers", Baseline: true},
			{Name: "customers:write", Description: "Change customers"},
			{Name: "tickets:write", Description: "Open tickets"},
		}}},
	}
	for _, f := range change {
		f(&c)
	}
	migrate(t, database, c.Database)
	database = c.Database
	h.config = c
	h.start()
	ts.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == ts.Listener.Addr().String() { // an issuer of another name is behind a proxy that keeps the Host
			r.Host = strings.TrimPrefix(strings.TrimPrefix(h.config.Issuer, "https://"), "http://")
		}
		(*h.handler.Load()).ServeHTTP(w, r)
	})
	ts.Start()
	var err error
	h.Store, err = sqlstore.Open(ctx, database)
	must(t, err)
	t.Cleanup(func() {
		ts.Close()
		h.Server.Close()
		h.Store.Close()
		h.keepsNoSecret()
	})
	h.populate(ctx)
	return h
}

// empty is a migrated SQLite database without anything in it: it is made once, and each house
// begins with a copy.
var empty = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp("", "gatehouse-empty-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "gatehouse.db")
	if err := schema.Up(context.Background(), "sqlite:"+path, migrations.Issuer,
		"schema_migrations_issuer"); err != nil {
		return nil, err
	}
	return os.ReadFile(path) // closed, so that all of it is in the one file
})

// migrate brings a house's database to the newest schema; usual is the one that it has when nobody
// asked for another.
func migrate(t testing.TB, usual, database string) {
	t.Helper()
	path, _ := strings.CutPrefix(usual, "sqlite:")
	if _, err := os.Stat(path); database != usual || !errors.Is(err, fs.ErrNotExist) {
		must(t, schema.Up(context.Background(), database, migrations.Issuer, "schema_migrations_issuer"))
		return
	}
	content, err := empty()
	must(t, err)
	must(t, os.WriteFile(path, content, 0o600))
}

// hashed is the password of every test's people, hashed once.
var hashed = sync.OnceValues(func() (string, error) { return user.HashPassword(context.Background(), password) })

// start opens the server on its stores. Called again, it is a restart: what was only in memory is
// gone.
func (h *testServer) start() {
	h.t.Helper()
	if h.Server != nil {
		must(h.t, h.Server.Close())
	}
	h.Server = h.process()
	handler := h.Server.Handler()
	h.handler.Store(&handler)
}

// process is one running program on the product's stores.
func (h *testServer) process() *authserver.Server {
	h.t.Helper()
	deps := authserver.Deps{Now: h.Clock.Now, Revocations: h.List, Log: h.Log.Logger(), Documents: h.documents}
	if h.config.Redis != "" {
		deps.Revocations = nil
	}
	s, err := authserver.New(context.Background(), h.config, deps)
	must(h.t, err)
	return s
}

func (h *testServer) populate(ctx context.Context) {
	t := h.t
	hash, err := hashed()
	must(t, err)
	for _, id := range []string{"acme", "globex"} {
		must(t, h.Store.CreateTenant(ctx,
			tenant.Tenant{ID: id, Name: strings.ToUpper(id),
				Policy:    tenant.Policy{Scopes: append(slices.Clone(allScopes), "knowledge:read")},
				CreatedAt: h.Clock.Now()}))
		must(t, h.Store.PutRole(ctx, user.Role{TenantID: id, Name: "member", Scopes: allScopes}))
		must(t, h.Store.PutRole(ctx, user.Role{TenantID: id, Name: "reader", Scopes: []string{"customers:read"}}))
	}
	for _, p := range []struct{ id, email, tenants string }{
		{"usr_ann", "ann@acme.example", "acme"}, {"usr_bob", "bob@globex.example", "globex"},
		{"usr_carol", "carol@both.example", "acme globex"},
	} {
		must(t, h.Store.CreateUser(ctx, user.User{ID: p.id, Email: p.email, Name: p.email, PasswordHash: hash,
			CreatedAt: h.Clock.Now()}))
		for _, id := range strings.Fields(p.tenants) {
			must(t, h.Store.PutMember(ctx, id, p.id, "member"))
		}
	}
}

// app is a client as its own program sees it.
type app struct {
	h          *testServer
	ID, Secret string
}

func (h *testServer) register(m map[string]any) app {
	h.t.Helper()
	if m["redirect_uris"] == nil {
		m["redirect_uris"] = []string{callback}
	}
	body, err := json.Marshal(m)
	must(h.t, err)
	status, answer := h.post("/oauth2/register", "application/json", string(body), nil)
	if status != http.StatusCreated {
		h.t.Fatalf("registration: got %d %v, want 201", status, answer)
	}
	secret, _ := answer["client_secret"].(string)
	return app{h, answer["client_id"].(string), secret}
}

// machine makes a client of a tenant that may use client_credentials.
func (h *testServer) machine(tenantID string, scopes ...string) app {
	h.t.Helper()
	secret := client.NewSecret()
	c := client.Client{
		ID: client.NewID(), Name: "machine", TenantID: tenantID, GrantTypes: []string{client.GrantCredentials},
		AuthMethod: client.AuthBasic,
		SecretHash: client.HashSecret(secret), Scopes: scopes, Origin: "operator", CreatedAt: h.Clock.Now(),
	}
	must(h.t, h.Store.CreateClient(context.Background(), c))
	return app{h, c.ID, secret}
}

// pair is what a public or confidential client sends beside its parameters.
func (a app) token(form url.Values) (int, map[string]any) {
	a.h.t.Helper()
	form = clone(form)
	if a.Secret == "" {
		form.Set("client_id", a.ID)
		return a.h.post("/oauth2/token", "application/x-www-form-urlencoded", form.Encode(), nil)
	}
	return a.h.post("/oauth2/token", "application/x-www-form-urlencoded", form.Encode(), basicAuth(a.ID, a.Secret))
}

func basicAuth(id, secret string) http.Header {
	return http.Header{
		"Authorization": {"Basic " +
			base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))}}
}

func clone(form url.Values) url.Values {
	out := url.Values{}
	for k, v := range form {
		out[k] = v
	}
	return out
}

func (h *testServer) post(path, contentType, body string, header http.Header) (int, map[string]any) {
	h.t.Helper()
	r := h.do(http.MethodPost, path, contentType, body, header)
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	must(h.t, err)
	answer := map[string]any{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &answer); err != nil {
			h.t.Fatalf("POST %s: %d with a body that is not a JSON object: %.200s", path, r.StatusCode, raw)
		}
	}
	if r.StatusCode >= 500 && r.StatusCode != http.StatusServiceUnavailable {
		h.t.Errorf("POST %s: got %d, never want a 5xx for a stranger's input: %s", path, r.StatusCode, raw)
	}
	h.explained(answer)
	return r.StatusCode, answer
}

// seen are the error codes whose pages were there.
var seen sync.Map

var supportCode = regexp.MustCompile(`\(support code ([a-z0-9]{12})\)$`)

// explained holds every error answer of every test to this: it says what was wrong, its support
// code finds the log's line, its error_uri leads to a page.
func (h *testServer) explained(answer map[string]any) {
	h.t.Helper()
	if answer["error"] != nil {
		said, _ := answer["error_description"].(string)
		if found := supportCode.FindStringSubmatch(said); found == nil ||
			len(said) < len("(support code 012345678901)")+10 || !h.Log.Contains(`"support":"`+found[1]+`"`) {
			h.t.Errorf("%v: it does not say what was wrong, with a support code that the log has", answer)
		}
	}
	uri, _ := answer["error_uri"].(string)
	path, ours := strings.CutPrefix(uri, h.URL)
	if _, was := seen.Load(path); uri == "" || !ours || was {
		return
	}
	if r, _ := h.get(path, nil); r.StatusCode != http.StatusOK {
		h.t.Errorf("error_uri %s: got %d, want a page that explains the code", uri, r.StatusCode)
		return
	}
	seen.Store(path, true)
}

func (h *testServer) do(method, path, contentType, body string, header http.Header) *http.Response {
	h.t.Helper()
	r, err := http.NewRequest(method, h.URL+path, strings.NewReader(body))
	must(h.t, err)
	for k, v := range header {
		r.Header[k] = v
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := noFollow.Do(r)
	must(h.t, err)
	return resp
}

var noFollow = &http.Client{CheckRedirect: func(*http.Request,
	[]*http.Request) error {
	return http.ErrUseLastResponse
}}

const verifier = "verifier-verifier-verifier-verifier-verifier"

func challengeOf(v string) string {
	sum := sha256.Sum256([]byte(v))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorization is a good authorization request of the client.
func (a app) authorization(scopes ...string) url.Values {
	return url.Values{
		"client_id": {a.ID}, "redirect_uri": {callback}, "response_type": {"code"}, "state": {"state-123"},
		"code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"}, "resource": {resourceURI},
		"scope": {strings.Join(scopes, " ")},
	}
}

// person is someone at a browser.
type person struct {
	h     *testServer
	email string
	http  *http.Client
}

func (h *testServer) person(email string) *person {
	jar, _ := cookiejar.New(nil)
	return &person{h, email, &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), h.URL) {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// page is where a browser has arrived: a page of ours, or a redirect away from us.
type page struct {
	status int
	url    *url.URL
	body   string
	away   *url.URL // the Location, when it leaves our house
	header http.Header
}

func (p *person) open(path string) page {
	p.h.t.Helper()
	r, err := p.http.Get(p.h.URL + path)
	must(p.h.t, err)
	return arrive(p.h.t, r)
}

func arrive(t testing.TB, r *http.Response) page {
	t.Helper()
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	must(t, err)
	at := page{status: r.StatusCode, url: r.Request.URL, body: string(body), header: r.Header}
	if l := r.Header.Get("Location"); l != "" {
		at.away, err = url.Parse(l)
		must(t, err)
	}
	return at
}

var (
	inputs     = regexp.MustCompile(`<input\b[^>]*>`)
	attributes = regexp.MustCompile(`([a-z-]+)(?:="([^"]*)")?`)
	formAction = regexp.MustCompile(`<form\b[^>]*\baction="([^"]*)"`)
)

// submit sends the page's form as a browser would, with fields set, and the named submit button
// pressed.
func (p *person) submit(at page, set url.Values) page {
	p.h.t.Helper()
	form := url.Values{}
	for _, tag := range inputs.FindAllString(at.body, -1) {
		a := map[string]string{}
		for _, m := range attributes.FindAllStringSubmatch(tag[len("<input"):], -1) {
			a[m[1]] = html.UnescapeString(m[2])
		}
		_, checked := a["checked"]
		// ticks all that is offered
		checked = checked || a["name"] == "scope" && (at.url.Path == "/consent" || at.url.Path == "/device")
		if a["name"] == "" || a["type"] == "submit" || (a["type"] == "checkbox" || a["type"] == "radio") && !checked {
			continue
		}
		form.Add(a["name"], a["value"])
	}
	for k, v := range set {
		form[k] = v
	}
	action := at.url
	if m := formAction.FindStringSubmatch(at.body); m != nil {
		ref, err := url.Parse(html.UnescapeString(m[1]))
		must(p.h.t, err)
		action = at.url.ResolveReference(ref)
	}
	r, err := p.http.PostForm(action.String(), form)
	must(p.h.t, err)
	return arrive(p.h.t, r)
}

// consentPage brings the person, signed in, to the consent page of a request.
func (p *person) consentPage(request url.Values) page {
	p.h.t.Helper()
	at := p.open("/oauth2/authorize?" + request.Encode())
	if strings.HasPrefix(at.url.Path, "/signin") {
		at = p.submit(at, url.Values{"email": {p.email}, "password": {password}})
	}
	if at.url.Path != "/consent" {
		p.h.t.Fatalf("%s is at %s (%d), want /consent: %.300s", p.email, at.url, at.status, at.body)
	}
	return at
}

// approve lets the person allow all that is asked for and returns the answer's parameters.
func (p *person) approve(request url.Values) url.Values {
	p.h.t.Helper()
	at := p.submit(p.consentPage(request), url.Values{"decision": {"approve"}})
	if at.away == nil {
		p.h.t.Fatalf("approving: at %s (%d), want a redirect away: %.300s", at.url, at.status, at.body)
	}
	return at.away.Query()
}

// code gets a code for the client from the person.
func (a app) code(p *person, scopes ...string) string {
	a.h.t.Helper()
	q := p.approve(a.authorization(scopes...))
	if q.Get("code") == "" {
		a.h.t.Fatalf("got %v, want a code", q)
	}
	return q.Get("code")
}

func redemption(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback},
		"code_verifier": {verifier}}
}

func refreshment(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

// tokens gets a pair of tokens for the client from the person.
func (a app) tokens(p *person, scopes ...string) (access, refresh string) {
	a.h.t.Helper()
	status, answer := a.token(redemption(a.code(p, scopes...)))
	if status != http.StatusOK {
		a.h.t.Fatalf("redeeming: got %d %v, want 200", status, answer)
	}
	return answer["access_token"].(string), answer["refresh_token"].(string)
}

// claims reads an access token without believing it.
func claims(t testing.TB, access string) (header, body map[string]any) {
	t.Helper()
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		t.Fatalf("the access token has %d parts, want 3", len(parts))
	}
	for i, into := range []*map[string]any{&header, &body} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		must(t, err)
		must(t, json.Unmarshal(raw, into))
	}
	return header, body
}

// alive says whether the issuer still takes a refresh token, and spends it.
func (a app) alive(refresh string) bool {
	a.h.t.Helper()
	status, _ := a.token(refreshment(refresh))
	return status == http.StatusOK
}

func wantError(t testing.TB, what string, status int, answer map[string]any, wantStatus int, wantCode string) {
	t.Helper()
	if status != wantStatus || answer["error"] != wantCode {
		t.Errorf("%s: got %d %v, want %d %s", what, status, answer, wantStatus, wantCode)
	}
	if answer["access_token"] != nil {
		t.Errorf("%s: got a token beside the error", what)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clean does all the jobs to their end, as another program that stands on the same stores.
func (h *testServer) clean() {
	h.t.Helper()
	for _, j := range h.Store.Jobs(job.Keeping{Clients: 90 * 24 * time.Hour, Keys: 30 * 24 * time.Hour, Audit: -1}) {
		for next := ""; ; {
			done, err := j.Batch(context.Background(), h.Clock.Now(), next)
			must(h.t, err)
			if next = done.Next; next == "" {
				break
			}
		}
	}
}

// revoke revokes one grant as the operator does.
func revoke(t *testing.T, o *admin.API, id, reason string) {
	t.Helper()
	_, err := o.RevokeGrants(t.Context(), admin.GrantSelection{ID: id, Reason: reason})
	must(t, err)
}
