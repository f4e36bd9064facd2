package e2e_test

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

// The scenarios are texts in which people, agents and the operator act on the running product, once
// for each pair of stores:
//
//	agent|mallory registers [INITIAL-TOKEN]      as a public client; with a token, as a machine
//	                                             client of its tenant
//	agent|mallory is CLIENT-ID SECRET            a client that the operator made
//	agent|mallory renews|replays|redeems|revokes|gets-token
//	agent|mallory lists|calls TOOL ARGUMENTS [with TOKEN] [at annex|toy-annex]
//	ann|bob|carol allows AGENT [TENANT!] SCOPE…  signs in and allows all that is asked
//	ann|bob|carol ticks AGENT SCOPE… of SCOPE…   of those asked for, ticks the former
//	ann|bob|carol denies|ends AGENT [SCOPE…]
//	ann|bob|carol gives TENANT ROLE SCOPE…       on the page of the tenant's administrators
//	operator ARGS…                               a command of the gatehouse program
//	explains TOKEN                               the operator asks which tools a token opens
//	remember NAME PATTERN                        keeps what the pattern found in stdout, as $NAME
//	keep TOKEN AGENT                             keeps the agent's access token under a name
//	forge TOKEN KEY=VALUE…                       a token of another issuer: iss=house|toy
//	                                             aud=house|toy-annex typ=…
//	later DURATION                               the product is started again after that
//
// A "!" before a line says that it must be refused. What was answered is in stdout.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("scenarios/*.txtar")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("there are no scenarios")
	}
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			for _, file := range files {
				t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
					t.Parallel()
					w := &world{t: t}
					// The world begins when the scenario does: those that wait for their turn hold
					// no connections.
					begin := func(*testscript.Env) error { w.begin(pair.flags(t)); return nil }
					testscript.Run(t, testscript.Params{Files: []string{file}, Setup: begin, Cmds: w.verbs(),
						RequireUniqueNames: true})
				})
			}
		})
	}
}

// world is what a scenario acts on.
type world struct {
	t      *testing.T
	house  *product
	agents map[string]*agent
	people map[string]*person
	tokens map[string]string
	toy    *tokentest.Issuer // another issuer
	places map[string]string
}

// Who acts: agents, and people with their addresses.
var (
	agents = []string{"agent", "mallory", "other"}
	people = map[string]string{"ann": "ann@acme.example", "bob": "bob@globex.example",
		"carol": "carol@consulting.example"}
)

func (w *world) begin(flags []string) {
	h := open(w.t, flags...)
	w.house, w.toy, w.tokens, w.places = h, stranger(w.t), map[string]string{}, map[string]string{"": h.Resource}
	w.agents, w.people = map[string]*agent{}, map[string]*person{}
	for _, name := range agents {
		w.agents[name] = &agent{house: h}
	}
	for name, email := range people {
		w.people[name] = newPerson(h, email)
	}
}

// place finds a server by its name, and opens the annexes when first asked.
func (w *world) place(name string) string {
	if _, open := w.places[name]; !open {
		switch name {
		case "annex":
			w.places[name] = annex(w.t, w.house.Issuer)
		case "toy-annex":
			w.places[name] = annex(w.t, w.toy.URL())
		}
	}
	return w.places[name]
}

type verb = func(ts *testscript.TestScript, neg bool, args []string)

func (w *world) verbs() map[string]verb {
	verbs := map[string]verb{
		"operator": w.said(func(args []string) (bool, string, error) {
			code, out := w.house.operate(args...)
			return code == 0, out, nil
		}),
		"explains": w.said(func(args []string) (bool, string, error) {
			code, out := w.house.operateOn(w.tokens[args[0]], "explain", "--token", "-")
			return code == 0, out, nil
		}),
		"remember": remember, "keep": w.keep, "forge": w.forge, "later": w.later,
	}
	for _, name := range agents {
		verbs[name] = w.said(func(args []string) (bool, string, error) {
			got, err := w.agentActs(w.agents[name], args)
			return got.ok(), got.String(), err
		})
	}
	for name := range people {
		verbs[name] = w.said(func(args []string) (bool, string, error) { return w.personActs(w.people[name], args) })
	}
	return verbs
}

// said is a verb whose outcome is checked and whose answer goes to stdout.
func (w *world) said(act func(args []string) (ok bool, out string, err error)) verb {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		ok, out, err := act(args)
		ts.Check(err)
		fmt.Fprint(ts.Stdout(), out)
		if ok == neg {
			ts.Fatalf("%v: refused is %v, want %v:\n%s", args, !ok, neg, out)
		}
	}
}

func (w *world) agentActs(a *agent, args []string) (answer, error) {
	if len(args) == 0 {
		return answer{}, errors.New("which verb?")
	}
	switch verb, rest := args[0], args[1:]; verb {
	case "registers":
		if len(rest) == 1 {
			return a.register(map[string]any{"client_name": "Machine", "grant_types": []string{"client_credentials"}},
				rest[0])
		}
		return a.register(map[string]any{"client_name": "Agent Smith", "redirect_uris": []string{callback},
			"token_endpoint_auth_method": "none"}, "")
	case "is":
		a.id, a.secret = rest[0], rest[1]
		return answer{status: 200}, nil
	case "gets-token":
		form := url.Values{"grant_type": {"client_credentials"}, "resource": {w.house.Resource}}
		if len(rest) > 0 {
			form.Set("scope", strings.Join(rest, " "))
		}
		return a.token(form)
	case "renews":
		w.tokens["spent"] = a.refresh
		return a.renew(a.refresh)
	case "replays":
		return a.renew(w.tokens["spent"])
	case "redeems":
		return a.redeem()
	case "revokes":
		if len(rest) == 1 {
			return a.revoke(w.tokens[rest[0]])
		}
		return a.revoke(a.access)
	case "lists", "calls":
		return w.asks(a, verb, rest)
	}
	return answer{}, fmt.Errorf("an agent does not know how to %q", args[0])
}

// asks sends tools/list or tools/call, with a token and at a place that may be named.
func (w *world) asks(a *agent, verb string, rest []string) (answer, error) {
	token, place := a.access, ""
	for len(rest) >= 2 && (rest[len(rest)-2] == "with" || rest[len(rest)-2] == "at") {
		word, value := rest[len(rest)-2], rest[len(rest)-1]
		rest = rest[:len(rest)-2]
		if word == "at" {
			place = value
			continue
		}
		known := false
		if token, known = w.tokens[value]; !known && value != "nothing" {
			return answer{}, fmt.Errorf("no token is kept as %s", value)
		}
	}
	if verb == "lists" {
		return ask(w.place(place), token, "tools/list", "")
	}
	if len(rest) != 2 {
		return answer{}, errors.New("calls which tool, with what?")
	}
	return ask(w.place(place), token, "tools/call", `"name":"`+rest[0]+`","arguments":`+rest[1])
}

func (w *world) personActs(p *person, args []string) (bool, string, error) {
	if len(args) > 3 && args[0] == "gives" {
		return p.gives(args[1], args[2], args[3:])
	}
	if len(args) < 2 || w.agents[args[1]] == nil {
		return false, "", errors.New("does what to whom?")
	}
	a, scopes := w.agents[args[1]], args[2:]
	switch args[0] {
	case "allows":
		tenant := ""
		if len(scopes) > 0 && strings.HasSuffix(scopes[0], "!") {
			tenant, scopes = strings.TrimSuffix(scopes[0], "!"), scopes[1:]
		}
		return w.answers(p, a, tenant, "approve", scopes, nil)
	case "ticks":
		ticked, asked, _ := strings.Cut(strings.Join(scopes, " "), " of ")
		return w.answers(p, a, "", "approve", strings.Fields(asked), strings.Fields(ticked))
	case "denies":
		return w.answers(p, a, "", "deny", scopes, nil)
	case "ends":
		at, err := p.enter(w.house.Issuer + "/agents")
		if err == nil {
			at, err = p.submit(at, nil)
		}
		return at.status == 200, at.body, err
	}
	return false, "", fmt.Errorf("a person does not know how to %q", args[0])
}

// answers lets the person answer the agent's request; when they approve, the agent redeems its
// code.
func (w *world) answers(p *person, a *agent, tenant, decision string, asked, ticked []string) (bool, string, error) {
	at, err := p.consent(a.request(asked), tenant)
	if err != nil {
		return false, "", err
	}
	if at.status != http.StatusOK || at.url.Path != "/consent" {
		return false, html.UnescapeString(at.body), nil
	}
	q, err := p.decide(at, decision, ticked)
	if err != nil {
		return false, "", err
	}
	if q.Get("iss") != w.house.Issuer {
		return false, "", fmt.Errorf("the answer's iss is %q", q.Get("iss"))
	}
	if a.code = q.Get("code"); a.code == "" {
		return false, q.Encode(), nil
	}
	got, err := a.redeem()
	return got.ok(), got.String(), err
}

// remember keeps what a pattern found in the last answer.
func remember(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("remember NAME PATTERN")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	found := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if found == nil {
		ts.Fatalf("%s is not in the last answer", args[1])
	}
	ts.Setenv(args[0], found[len(found)-1])
}

func (w *world) keep(ts *testscript.TestScript, _ bool, args []string) {
	w.tokens[args[0]] = w.agents[args[1]].access
}

// forge makes a token that another issuer signs.
func (w *world) forge(ts *testscript.TestScript, _ bool, args []string) {
	c := w.toy.Claims(w.house.Resource, "customers:read")
	var options []tokentest.Option
	for _, bend := range args[1:] {
		name, value, _ := strings.Cut(bend, "=")
		switch {
		case name == "iss" && value == "house":
			c.Issuer = w.house.Issuer
		case name == "aud":
			c.Audience = w.place(value)
		case name == "typ":
			options = append(options, tokentest.Header("typ", value))
		case name == "kid":
			options = append(options, tokentest.Header("kid", value))
		}
	}
	w.tokens[args[0]] = w.toy.Sign(c, options...)
}

func (w *world) later(ts *testscript.TestScript, _ bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	w.house.later(d)
}
