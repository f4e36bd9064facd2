package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/manifest"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// desired is the file of most tests.
const desired = `resources:
  - uri: https://notes.example/mcp
    name: Notes
    scopes:
      - {name: "notes:read", description: Read your notes, baseline: true}
      - {name: "notes:write", description: Change your notes}
tenants:
  - id: acme
    name: Acme Corporation
    policy:
      scopes: [customers:read, notes:read, notes:write]
      registrations: [operator, tenant]
      max_access_token_lifetime: 5m
    roles:
      - role: clerk
        scopes: [notes:write]
        includes: [reader]
    clients:
      - name: nightly
        scopes: [notes:read]
      - name: portal
        redirect_uris: [https://portal.example/cb]
        public: true
  - id: globex
    clients:
      - name: nightly
        scopes: [customers:read]
clients:
  - name: notes
    server: https://notes.example/mcp
`

// onStores runs a test on each kind of database.
func onStores(t *testing.T, test func(t *testing.T, o *office)) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func file(t testing.TB, text string) manifest.Manifest {
	t.Helper()
	b, err := manifest.Read([]byte(text))
	must(t, err)
	return b
}

// applies applies a file and returns what changed, a line each.
func (o *office) applies(t testing.TB, text string) []string {
	t.Helper()
	changes, err := o.Apply(context.Background(), file(t, text))
	must(t, err)
	return said(changes)
}

func said(changes []admin.Change) []string {
	all := []string{}
	for _, c := range changes {
		line := strings.Join(slices.DeleteFunc([]string{c.Verb, c.Kind, c.Tenant, c.Name},
			func(s string) bool { return s == "" }), " ")
		for _, f := range c.Fields {
			line += fmt.Sprintf("; %s %s→%s", f.Name, f.From, f.To)
		}
		all = append(all, line)
	}
	return all
}

// everything is all that a file could change, and the audit lines; secrets are their hashes.
func (o *office) everything(t testing.TB) string {
	t.Helper()
	ctx := context.Background()
	tenants, err := o.store.Tenants(ctx)
	must(t, err)
	all := []any{tenants}
	for _, tn := range tenants {
		roles, err := o.store.Roles(ctx, tn.ID)
		must(t, err)
		all = append(all, roles)
	}
	clients, err := o.store.Clients(ctx, client.Filter{Limit: 10_000})
	must(t, err)
	resources, err := o.store.Resources(ctx)
	must(t, err)
	revision, err := o.store.ResourcesRevision(ctx)
	must(t, err)
	keys, err := o.store.Keys(ctx)
	must(t, err)
	events, err := o.Events(ctx, audit.Filter{Limit: 1000})
	must(t, err)
	text, err := json.MarshalIndent(append(all, clients, resources, revision, len(keys), events), "", " ")
	must(t, err)
	return string(text)
}

func TestAFileIsApplied(t *testing.T) {
	onStores(t, func(t *testing.T, o *office) {
		ctx, before := context.Background(), o.everything(t)
		planned, err := o.Plan(ctx, file(t, desired))
		must(t, err)
		if diff := cmp.Diff(before, o.everything(t)); diff != "" {
			t.Errorf("a dry run changed (-before +after)\n%s", diff)
		}
		changes, err := o.Apply(ctx, file(t, desired))
		must(t, err)
		want := []string{
			`create resource https://notes.example/mcp; name null→"Notes"; algorithm null→"ES256"; scopes ` +
				`null→["notes:read=Read your notes","notes:write=Change your notes"]; baseline null→["notes:read"]`,
			`create tenant acme acme; name null→"Acme Corporation"; scopes ` +
				`null→["customers:read","notes:read","notes:write"]`,
			`change policy acme acme; registrations ["any"]→["operator","tenant"]; max_access_token_lifetime 0→300`,
			`create role acme clerk; scopes null→["notes:write"]; includes null→["reader"]`,
			`create client acme nightly; scopes null→["notes:read"]`,
			`create client acme portal; redirect_uris null→["https://portal.example/cb"]; public null→true`,
			`create tenant globex globex; name null→"globex"; scopes ` +
				`null→["customers:read","customers:write","tickets:write","notes:read","notes:write"]`,
			`create client globex nightly; scopes null→["customers:read"]`,
			`create client notes; server null→"https://notes.example/mcp"`,
		}
		if diff := cmp.Diff(want, said(changes)); diff != "" {
			t.Errorf("changes (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff(want, said(planned)); diff != "" {
			t.Errorf("a dry run said (-want +got)\n%s", diff)
		}
		for _, c := range planned {
			if c.Secret != "" || c.ClientID != "" {
				t.Errorf("a dry run showed the id or the secret of %s", c.Name)
			}
		}
		lines := []string{
			"resource.put https://notes.example/mcp", "tenant.create acme acme", "policy.set acme acme",
			"role.put agent-admin acme", "role.put reader acme", "role.put clerk acme",
			"client.create CLIENT acme", "client.create CLIENT acme", "tenant.create globex globex",
			"role.put agent-admin globex", "role.put reader globex", "client.create CLIENT globex",
			"client.create CLIENT",
		}
		got := o.lines(t)
		for i := range got {
			for _, c := range changes {
				if c.ClientID != "" {
					got[i] = strings.Replace(got[i], c.ClientID, "CLIENT", 1)
				}
			}
		}
		slices.Sort(lines) // PostgreSQL gives no order to lines of one statement
		if diff := cmp.Diff(lines, slices.Sorted(slices.Values(got))); diff != "" {
			t.Errorf("lines (-want +got)\n%s", diff)
		}
		o.holdSecrets(t, changes)

		after := o.everything(t)
		if again := o.applies(t, desired); len(again) > 0 {
			t.Errorf("applied again it changed %q", again)
		}
		if diff := cmp.Diff(after, o.everything(t)); diff != "" {
			t.Errorf("applied again it left (-before +after)\n%s", diff)
		}
	})
}

// holdSecrets checks that each secret opens its client, and that it stands nowhere.
func (o *office) holdSecrets(t *testing.T, changes []admin.Change) {
	t.Helper()
	all, secrets := o.everything(t), 0
	for _, c := range changes {
		if c.Kind != admin.KindClient {
			continue
		}
		kept, err := o.store.Client(context.Background(), c.ClientID)
		must(t, err)
		if public := kept.AuthMethod == client.AuthNone; public != (c.Secret == "") || !public &&
			!client.CheckSecret(kept.SecretHash, c.Secret) {
			t.Errorf("%s: the secret %q is not the client's", c.Name, c.Secret)
		}
		if c.Secret != "" {
			secrets++
			if strings.Contains(all, c.Secret) {
				t.Errorf("the secret of %s stands in the database", c.Name)
			}
		}
	}
	if secrets != 3 {
		t.Errorf("got %d secrets, want 3", secrets)
	}
}

// What a file changes, it changes field by field; what it does not name stays.
func TestWhatAFileDoesNotNameStays(t *testing.T) {
	onStores(t, func(t *testing.T, o *office) {
		ctx := context.Background()
		o.applies(t, desired)
		must(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "boss", Scopes: []string{"customers:read"},
			Admin: true}))
		other, _, err := o.CreateClient(ctx,
			admin.ClientSpec{Name: "by hand", Tenant: "acme", Scopes: []string{"customers:read"}})
		must(t, err)
		for _, row := range []struct {
			name, file string
			want       []string
		}{
			{"only a name", "tenants: [{id: acme, name: Acme & Sons}]",
				[]string{`change tenant acme acme; name "Acme Corporation"→"Acme & Sons"`}},
			{"only a life", "tenants: [{id: acme, policy: {max_access_token_lifetime: 10m}}]",
				[]string{`change policy acme acme; max_access_token_lifetime 300→600`}},
			{"a restriction is taken away", "tenants: [{id: acme, policy: {registrations: any}}]",
				[]string{`change policy acme acme; registrations ["operator","tenant"]→["any"]`}},
			{"the order of scopes says nothing",
				"tenants: [{id: acme, policy: {scopes: ['notes:write', 'notes:read', 'customers:read']}}]", nil},
			{"a role is said whole", "tenants: [{id: acme, roles: [{role: clerk, scopes: ['notes:read']}]}]",
				[]string{`change role acme clerk; scopes ["notes:write"]→["notes:read"]; includes ["reader"]→[]`}},
			{"a client is said whole",
				"tenants: [{id: acme, clients: [{name: nightly, scopes: ['customers:read'], token_exchange: true}]}]",
				[]string{`change client acme nightly; scopes ["notes:read"]→["customers:read"]; token_exchange ` +
					`false→true`}},
			{"where answers go",
				"tenants: [{id: acme, clients: [{name: portal, public: true, redirect_uris: " +
					"['https://other.example/cb']}]}]",
				[]string{`change client acme portal; redirect_uris ` +
					`["https://portal.example/cb"]→["https://other.example/cb"]`}},
			{"a resource is said whole",
				"resources: [{uri: 'https://notes.example/mcp', access_token_lifetime: 2m, scopes: [{name: " +
					"'notes:read', " +
					"description: Read}, {name: 'notes:write', description: Write}]}]",
				[]string{`change resource https://notes.example/mcp; name "Notes"→"https://notes.example/mcp"; ` +
					`access_token_lifetime 0→120; scopes ["notes:read=Read your notes","notes:write=Change your ` +
					`notes"]→["notes:read=Read","notes:write=Write"]; baseline ["notes:read"]→[]`}},
			{"the configuration's own, as it is", "resources: [{uri: '" + resourceURI +
				"', scopes: [{name: 'customers:read', baseline: true}, {name: 'customers:write'}, {name: " +
				"'tickets:write'}]}]", nil},
		} {
			if diff := cmp.Diff(append([]string{}, row.want...), o.applies(t, row.file)); diff != "" {
				t.Errorf("%s (-want +got)\n%s", row.name, diff)
			}
			if again := o.applies(t, row.file); len(again) > 0 {
				t.Errorf("%s: applied again it changed %q", row.name, again)
			}
		}
		if kept, err := o.store.Client(ctx, other.ID); err != nil || kept.Name != "by hand" {
			t.Errorf("a client that no file names: %+v %v", kept, err)
		}
		if boss, err := o.store.Role(ctx, "acme", "boss"); err != nil || !boss.Admin {
			t.Errorf("a role that no file names: %+v %v", boss, err)
		}
		events, err := o.Events(ctx, audit.Filter{Action: "client.update", Limit: 1})
		must(t, err)
		if want := `redirect_uris ["https://other.example/cb"], before ["https://portal.example/cb"]`; len(
			events) != 1 || events[0].Detail != want {
			t.Errorf("the line of a client that is altered says %+v, want %s", events, want)
		}
	})
}

// A line has 1024 bytes: long lists pushed out of it where an application's codes go from now on,
// and what it may do.
func TestTheLineOfAClientSaysWhereItsCodesGo(t *testing.T) {
	ctx, o := context.Background(), open(t)
	var scopes, uris []string
	for i := range 200 {
		scopes = append(scopes, fmt.Sprintf("{name: scope-%d, description: S}", i))
	}
	for i := range 20 {
		uris = append(uris, fmt.Sprintf("'https://portal.example/%d/%s'", i, strings.Repeat("x", 200)))
	}
	resource := "resources: [{uri: 'https://notes.example/mcp', scopes: [" + strings.Join(scopes, ", ") + "]}]\n"
	o.applies(t, resource+"clients: [{name: portal, redirect_uris: ["+strings.Join(uris, ", ")+"]}]")
	all := regexp.MustCompile("scope-[0-9]+").FindAllString(resource, -1)
	o.applies(t, "clients: [{name: portal, token_exchange: true, redirect_uris: ['https://mallory.example/cb'], "+
		"post_logout_redirect_uris: ["+strings.Join(uris, ", ")+"], scopes: ["+strings.Join(all, ", ")+"]}]")
	events, err := o.Events(ctx, audit.Filter{Action: "client.update", Limit: 10})
	must(t, err)
	if want := `token_exchange true, before false; redirect_uris ["https://mallory.example/cb"], before ` +
		`["https://portal.example/0/`; len(events) != 1 || !strings.HasPrefix(events[0].Detail, want) {
		t.Errorf("got %+v, want one that begins %s", events, want)
	}
}

// A scope that takes a word from its description, or gives it one, read as no change.
func TestAScopeIsNotItsDescription(t *testing.T) {
	ctx, o := context.Background(), open(t)
	for _, s := range []issuer.Scope{{Name: "a", Description: "b=c"}, {Name: "a=b", Description: "c"}} {
		changes := o.applies(t,
			fmt.Sprintf("resources: [{uri: 'https://notes.example/mcp', scopes: [{name: %q, description: %q}]}]",
				s.Name, s.Description))
		kept, err := o.store.Resources(ctx)
		must(t, err)
		if len(changes) != 1 || kept[0].Scopes[0] != s {
			t.Errorf("got %q, and %+v is kept, want %+v", changes, kept[0].Scopes, s)
		}
	}
}

// What is right in the end is right, whatever it would be half-way: one change after the other,
// each of these is refused.
func TestOnlyTheEndCounts(t *testing.T) {
	onStores(t, func(t *testing.T, o *office) {
		ctx := context.Background()
		o.applies(t, desired)
		must(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "boss", Scopes: []string{"customers:read"},
			Admin: true}))
		_, _, err := o.CreateUser(ctx, admin.UserSpec{Email: "ann@acme.example", Tenant: "acme", Role: "boss"})
		must(t, err)
		o.applies(t, "tenants: [{id: acme, policy: {scopes: ['notes:read', 'notes:write']}, roles: [{role: boss, "+
			"scopes: ['notes:write'], admin: true}]}]")
		// clerk included reader
		o.applies(t, "tenants: [{id: acme, roles: [{role: reader, scopes: ['notes:read'], includes: [clerk]}, {role: "+
			"clerk, scopes: ['notes:write']}]}]")
		o.applies(t, `resources: [{uri: 'https://tasks.example/mcp', algorithm: EdDSA,
  scopes: [{name: 'tasks:do', description: Do tasks}]}]
tenants: [{id: acme, policy: {scopes: ['notes:read', 'notes:write', 'tasks:do']},
  clients: [{name: doer, scopes: ['tasks:do']}]}]`)
		role, err := o.store.Role(ctx, "acme", "reader")
		if err != nil || !slices.Equal(role.Gives, []string{"notes:read", "notes:write"}) {
			t.Errorf("reader gives %v %v", role.Gives, err)
		}
		keys, err := o.SigningKeys(ctx)
		if err != nil || len(keys) != 2 {
			t.Errorf("got %d keys %v, want one of EdDSA too", len(keys), err)
		}
	})
}

// Many at once: one does it, and the others find that it is done; of two that do not go together
// one is refused.
func TestManyApplyAtOnce(t *testing.T) {
	onStores(t, func(t *testing.T, o *office) {
		done := o.atOnce(t, desired, desired, desired, desired)
		if n := len(slices.DeleteFunc(slices.Clone(done), func(n int) bool { return n == 0 })); n != 1 {
			t.Errorf("%d of 4 changed something: %v", n, done)
		}
		clients, err := o.store.Clients(context.Background(), client.Filter{TenantID: "", Limit: 100})
		if err != nil || len(clients) != 4 {
			t.Errorf("got %d clients %v, want 4", len(clients), err)
		}
		o.applies(t, "tenants: [{id: acme, roles: [{role: x, scopes: ['notes:read']}, {role: y, scopes: "+
			"['notes:read']}]}]")
		done = o.atOnce(t, "tenants: [{id: acme, roles: [{role: x, includes: [y]}]}]",
			"tenants: [{id: acme, roles: [{role: y, includes: [x]}]}]")
		if slices.Sort(done); !slices.Equal(done, []int{-1, 1}) {
			t.Errorf("both halves of a circle: got %v, want one refused", done)
		}
	})
}

// What was as the file says only in part, each part at another moment, was called as the file says.
// What counts is what is there when nobody changes anything.
func TestNothingToChangeIsSaidOfOneMoment(t *testing.T) {
	onStores(t, func(t *testing.T, o *office) {
		ctx, within := context.Background(), o.Atomically
		o.applies(t, desired)
		other := "Renamed"
		o.Atomically = func(ctx context.Context, do func(admin.Stores) error) error {
			must(t, o.store.RenameTenant(ctx, "globex", other)) // after what was read before
			return within(ctx, do)
		}
		b := file(t, "tenants: [{id: globex, name: globex, clients: [{name: new, scopes: ['customers:read']}]}]")
		planned, err := o.Plan(ctx, b)
		must(t, err)
		changes, err := o.Apply(ctx, b)
		must(t, err)
		want := []string{`change tenant globex globex; name "Renamed"→"globex"`,
			`create client globex new; scopes null→["customers:read"]`}
		for what, got := range map[string][]admin.Change{"planned": planned, "applied": changes} {
			if diff := cmp.Diff(want, said(got)); diff != "" {
				t.Errorf("%s (-want +got)\n%s", what, diff)
			}
		}
		if c := planned[1]; c.ClientID != "" || c.Secret != "" {
			t.Errorf("a dry run showed the id or the secret of %s", c.Name)
		}
		if planned, err = o.Plan(ctx, b); err != nil || len(planned) != 1 {
			t.Errorf("where there was nothing to change before: planned %q %v", said(planned), err)
		}
		if changes, err = o.Apply(ctx, b); err != nil || len(changes) != 1 {
			t.Errorf("where there was nothing to change before: applied %q %v", said(changes), err)
		}
		other = "globex"
		if changes, err = o.Apply(ctx, b); err != nil || len(changes) != 0 {
			t.Errorf("applied again: %q %v", said(changes), err)
		}
	})
}

// atOnce applies files at once, and says how much each changed; -1: it was refused.
func (o *office) atOnce(t *testing.T, files ...string) []int {
	t.Helper()
	done := make([]int, len(files))
	var all sync.WaitGroup
	for i, text := range files {
		b := file(t, text)
		all.Go(func() {
			changes, err := o.Apply(context.Background(), b)
			done[i] = len(changes)
			var r *admin.Refusal
			if errors.As(err, &r) {
				done[i] = -1
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return done
}

// Anyone who can make clients of a tenant cannot have one waiting under a name that the operator's
// file will give more to.
func TestAClientThatWaitsIsNotGivenWhatTheFileGives(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	must(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "deputy", Scopes: []string{"customers:read"},
		Admin: true}))
	mallory, _, err := o.CreateUser(ctx, admin.UserSpec{Email: "mallory@acme.example", Tenant: "acme", Role: "deputy"})
	must(t, err)
	waiting, _, err := o.Registrar().Create(ctx, clientadmin.Person(mallory.ID, "acme"),
		admin.ClientSpec{Name: "deploy", Tenant: "acme", Scopes: []string{"customers:read"}})
	must(t, err)
	changes, err := o.Apply(ctx,
		file(t, "tenants: [{id: acme, clients: [{name: deploy, scopes: ['customers:read', 'customers:write']}]}]"))
	must(t, err)
	if len(changes) != 1 || changes[0].Verb != admin.VerbCreate || changes[0].ClientID == waiting.ID {
		t.Errorf("got %+v, want another client", changes)
	}
	if kept, err := o.store.Client(ctx, waiting.ID); err != nil ||
		!slices.Equal(kept.Scopes, []string{"customers:read"}) {
		t.Errorf("mallory's client: %+v %v", kept.Scopes, err)
	}
}

// A refused file leaves one line by the act, and a refused dry run none.
func TestALineOfARefusedFile(t *testing.T) {
	ctx, o := context.Background(), open(t)
	arguments, err := json.Marshal(file(t, "tenants: [{id: 'no name'}]"))
	must(t, err)
	for _, name := range []string{"apply.plan", "apply"} {
		_, err := o.Act(ctx, name, arguments)
		refused(t, err, "line 1: ")
	}
	events, err := o.Events(ctx, audit.Filter{Outcome: audit.Refused, Limit: 10})
	if err != nil || len(events) != 1 || events[0].Action != "apply" {
		t.Errorf("got %+v %v, want one line of apply", events, err)
	}
}
