package mcpserver_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// The table that says who may what: it is all that the oracle of the property test knows of the
// product.
var (
	scopeOf = map[string]string{
		"read_customer": "customers:read", "update_customer": "customers:write", "create_ticket": "tickets:write",
		"search_knowledge_base": "knowledge:read",
	}
	toolNames = []string{"read_customer", "update_customer", "create_ticket", "search_knowledge_base",
		"drop_everything"}
	tenants      = []string{"acme", "globex", "initech"} // initech has nothing
	articlesWith = map[string]map[string][]string{       // word → tenant → ids, in any order
		"sled": {"acme": {"art_acme_1"}}, "hammock": {"globex": {"art_globex_1"}}, "anvil": {"acme": {"art_acme_2"}},
		"refund": {"acme": {"art_acme_2", "art_acme_3"}, "globex": {"art_globex_2"}}, "nowhere": {},
	}
)

// principal is somebody with a token.
type principal struct {
	tenant string
	scopes []string
	good   bool // the token is
	raw    string
}

// model is what the oracle believes that the data are.
type model struct {
	customers map[string]map[string]string // tenant → id → name
	tickets   map[string]int
}

func newModel() *model {
	return &model{map[string]map[string]string{
		"acme": {"cus_acme_1001": "Road Runner Logistics", "cus_acme_1002": "Wile E. Coyote",
			"cus_acme_1003": "Mesa Hardware", "cus_acme_1004": "Granny's Bakery"},
		"globex": {"cus_globex_2001": "Springfield Power", "cus_globex_2002": "Cypress Creek School",
			"cus_globex_2003": "Hank Scorpio"},
		"initech": {},
	}, map[string]int{}}
}

var customerIDs = []string{"cus_acme_1001", "cus_acme_1002", "cus_acme_1003", "cus_acme_1004", "cus_globex_2001",
	"cus_globex_2002", "cus_globex_2003", "cus_nobody_1", "CUS_ACME_1001", "cus_acme_1001 "}

// deed is one call of a tool.
type deed struct {
	tool      string
	arguments map[string]any
	id, word  string
	name      string // the new one
}

func randomDeed(r *rand.Rand) deed {
	d := deed{tool: toolNames[r.IntN(len(toolNames))], id: customerIDs[r.IntN(len(customerIDs))]}
	if r.IntN(4) == 0 { // what changes something costs a write to the disk
		d.tool = "read_customer"
	}
	switch d.tool {
	case "update_customer":
		d.name = fmt.Sprint("Name ", r.IntN(1000))
		d.arguments = map[string]any{"customer_id": d.id, "name": d.name}
	case "create_ticket":
		d.arguments = map[string]any{"customer_id": d.id, "subject": "s"}
	case "search_knowledge_base":
		words := []string{"sled", "hammock", "anvil", "refund", "nowhere"}
		d.word = words[r.IntN(len(words))]
		d.arguments = map[string]any{"query": d.word, "limit": 20}
	default:
		d.arguments = map[string]any{"customer_id": d.id}
	}
	return d
}

// want is what the policy table says of a deed: a status, and words that the answer has.
func (m *model) want(p principal, d deed) (status int, has []string) {
	scope, known := scopeOf[d.tool]
	customers := m.customers[p.tenant]
	name, there := customers[d.id]
	switch {
	case !p.good:
		return 401, []string{"invalid_token"}
	case !known:
		return 200, []string{"-32602"}
	case !slices.Contains(p.scopes, scope):
		return 403, []string{"insufficient_scope"}
	case d.tool == "search_knowledge_base":
		return 200, append([]string{`"isError":false`}, articlesWith[d.word][p.tenant]...)
	case !there:
		return 200, []string{`"isError":true`, "There is no customer of this id"}
	}
	switch d.tool {
	case "update_customer":
		customers[d.id], name = d.name, d.name
	case "create_ticket":
		m.tickets[p.tenant]++
		name = ""
	}
	return 200, []string{`"isError":false`, d.id, name}
}

// post calls a tool without a network in between.
func (p principal) post(h http.Handler, host string, d deed) *httptest.ResponseRecorder {
	encoded, err := json.Marshal(d.arguments)
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest("POST", "/mcp",
		strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+d.tool+`","arguments":`+
			string(encoded)+`}}`))
	r.Host = host
	r.Header.Set("Authorization", "Bearer "+p.raw)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// principals are people of each tenant with each set of scopes, and some whose token is not good.
func (w *runningServer) principals() []principal {
	var all []principal
	for _, tenant := range tenants {
		for mask := range 1 << len(allScopes) {
			p := principal{tenant: tenant, good: true}
			for i, s := range allScopes {
				if mask&(1<<i) != 0 {
					p.scopes = append(p.scopes, s)
				}
			}
			p.raw = w.token(tenant, p.scopes...)
			all = append(all, p)
		}
		late := w.issuer.Claims(w.resource, allScopes...)
		late.TenantID, late.IssuedAt, late.Expires = tenant, late.IssuedAt-7200, late.IssuedAt-3600
		elsewhere := w.issuer.Claims("https://other.example/mcp", allScopes...)
		elsewhere.TenantID = tenant
		all = append(all, principal{tenant: tenant, scopes: allScopes, raw: w.issuer.Sign(late)},
			principal{tenant: tenant, scopes: allScopes, raw: w.issuer.Sign(elsewhere)})
	}
	return all
}

// foreign are words that only another tenant's data have.
var foreign = map[string]*regexp.Regexp{
	"acme":    regexp.MustCompile(`globex_|Springfield|Hammock`),
	"globex":  regexp.MustCompile(`_acme_\d+"|Road Runner|Rocket`),
	"initech": regexp.MustCompile(`_acme_\d+"|_globex_|Runner|Springfield|Rocket|Hammock`),
}

// TN-11: a random tool by a random person on a random object does what the policy table says, each
// time, and shows nobody anything of another tenant.
func TestPolicyProperty(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { holdToPolicy(t, 100_000) })
	t.Run("postgres", func(t *testing.T) {
		dsn := testenv.Postgres(t)
		demotest.Migrate(t, dsn)
		holdToPolicy(t, 10_000, func(c *mcpserver.Config) { c.Database = dsn })
	})
}

func holdToPolicy(t *testing.T, runs int, change ...func(*mcpserver.Config)) {
	if testing.Short() || raceEnabled {
		runs /= 10
	}
	w := openWing(t, append(change, func(c *mcpserver.Config) { c.CallsPerMinute = -1 })...)
	r := rand.New(rand.NewPCG(11, 1))
	people, m, h, host := w.principals(), newModel(), w.server.Handler(), strings.TrimPrefix(w.url, "http://")
	began := time.Now()
	for n := range runs {
		p, d := people[r.IntN(len(people))], randomDeed(r)
		status, has := m.want(p, d)
		got := p.post(h, host, d)
		body := strings.ReplaceAll(got.Body.String(), `\"`, `"`)
		ok := got.Code == status
		for _, word := range has {
			ok = ok && strings.Contains(body, word)
		}
		if d.tool == "search_knowledge_base" && status == 200 {
			ok = ok && strings.Count(got.Body.String(), `"id":"art_`) == len(has)-1
		}
		if !ok || foreign[p.tenant].MatchString(strings.ReplaceAll(body, d.id, "")) {
			t.Fatalf("run %d: somebody of %s with %v (good: %v) calls %s with %v: got %d %s, want %d with %q", n,
				p.tenant, p.scopes, p.good, d.tool, d.arguments, got.Code, body, status, has)
		}
	}
	for _, tenant := range tenants {
		if got := w.tickets(tenant); got != m.tickets[tenant] {
			t.Errorf("%s has %d tickets, want %d", tenant, got, m.tickets[tenant])
		}
	}
	t.Logf("%d runs in %v", runs, time.Since(began).Round(time.Millisecond))
}

// What one tenant's agents are told does not depend on what another's do: the same trace gives the
// same bytes, ids and times aside, with others' traffic and without.
func TestTenantsDoNotInterfere(t *testing.T) {
	trace := func(busy bool) []string {
		w := openWing(t, func(c *mcpserver.Config) { c.CallsPerMinute = -1 })
		h, host := w.server.Handler(), strings.TrimPrefix(w.url, "http://")
		acme, others := rand.New(rand.NewPCG(6, 1)), rand.New(rand.NewPCG(6, 2))
		var mine, theirs []principal
		for _, p := range w.principals() {
			if p.tenant == "acme" {
				mine = append(mine, p)
			} else {
				theirs = append(theirs, p)
			}
		}
		var told []string
		for range 3000 {
			if busy {
				for range others.IntN(3) {
					theirs[others.IntN(len(theirs))].post(h, host, randomDeed(others))
				}
			}
			got := mine[acme.IntN(len(mine))].post(h, host, randomDeed(acme))
			header := got.Header().Clone()
			header.Del("X-Request-Id")
			told = append(told, fmt.Sprint(got.Code, header, made.ReplaceAllString(got.Body.String(), "…")))
		}
		return told
	}
	alone, among := trace(false), trace(true)
	for i := range alone {
		if whoseURL.ReplaceAllString(alone[i], "") != whoseURL.ReplaceAllString(among[i], "") {
			t.Fatalf("answer %d is %s alone, and %s among others", i, alone[i], among[i])
		}
	}
}

var (
	made     = regexp.MustCompile(`tic_[a-z0-9]+`)
	whoseURL = regexp.MustCompile(`http://127\.0\.0\.1:\d+`) // two servers, two ports; and the challenge names one
)
