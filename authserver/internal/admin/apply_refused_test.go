package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/manifest"
)

// Whatever is wrong with a file, nothing of it is done, and no line but that of the refusal is
// left.
func TestAFileIsRefusedWhole(t *testing.T) {
	onStores(t, func(t *testing.T, o *office) {
		ctx := context.Background()
		o.applies(t, desired)
		must(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "boss", Scopes: []string{"customers:read"},
			Admin: true}))
		_, _, err := o.CreateUser(ctx, admin.UserSpec{Email: "ann@acme.example", Tenant: "acme", Role: "boss"})
		must(t, err)
		for range 2 {
			_, _, err := o.CreateClient(ctx,
				admin.ClientSpec{Name: "twin", Tenant: "acme", Scopes: []string{"customers:read"}})
			must(t, err)
		}
		before := o.everything(t)
		// line 4 is where the wrong part begins
		const good = "tenants:\n  - id: new\n    clients: [{name: first, scopes: ['customers:read']}]\n"
		for _, row := range []struct{ name, rest, says string }{
			{"a scope that no resource has",
				"  - id: acme\n    roles:\n      - role: clerk\n        scopes: [notes:read,\n          notes:raed]\n",
				`line 8: no resource has the scope "notes:raed"`},
			{"a scope that no resource has, in a policy",
				"  - id: acme\n    policy:\n      scopes: [customers:read, x]\n",
				`line 6: no resource has the scope "x"`},
			{"a scope that no resource has, of a client",
				"  - id: acme\n    clients:\n      - name: nightly\n        scopes: [x]\n",
				`line 7: no resource has the scope "x"`},
			{"a scope that the policy leaves out",
				"  - id: acme\n    clients:\n      - {name: nightly, scopes: ['tickets:write']}\n",
				`line 6: scope "tickets:write" is not one that a client of acme may have`},
			{"a scope that a new tenant's policy leaves out",
				"  - id: other\n    policy: {scopes: ['customers:read']}\n    roles:\n      - role: clerk\n        " +
					"scopes: ['notes:read']\n", `line 8: scope "notes:read" is not one that tenant other may have`},
			{"a circle",
				"  - id: acme\n    roles:\n      - {role: a, includes: [b]}\n      - {role: b, includes: [a]}\n",
				"line 6: the roles would include each other in a circle: a → b → a"},
			{"a circle with a role that is there",
				"  - id: acme\n    roles:\n      - {role: reader, includes: [clerk]}\n",
				"line 6: the roles would include each other in a circle: reader → clerk → reader"},
			{"a role that is nowhere",
				"  - id: acme\n    roles:\n      - role: a\n        includes:\n          - reader\n          - ghost\n",
				`line 9: role a would include "ghost", and there is no such role`},
			{"a role that gives nothing", "  - id: acme\n    roles:\n      - role: a\n",
				"line 6: the role would give no scope"},
			{"a policy that shuts the admins out", "  - id: acme\n    policy:\n      scopes: ['notes:read']\n",
				"line 6: with the scopes notes:read, no administrator of tenant acme could authorize any agent"},
			{"a role that leaves nobody",
				"  - id: acme\n    roles:\n      - role: clerk\n        scopes: ['notes:read']\n      - role: " +
					"boss\n        scopes: ['customers:read']\n",
				"line 8: no one would be left who administers tenant acme"},
			{"a tenant of no name", "  - id: Acme!\n", `line 4: "Acme!" cannot be a tenant's id`},
			{"a role of no name", "  - id: acme\n    roles: [{role: 'x y', scopes: ['customers:read']}]\n",
				`line 5: "x y" cannot be a role's name`},
			{"a name that hides something", "  - id: acme\n    name: \"a\\u202eb\"\n",
				"line 4: the name cannot be shown to people"},
			{"a way that is none", "  - id: acme\n    policy:\n      registrations:\n        - operator\n        - " +
				"friend\n", `line 8: clients do not become known as "friend"`},
			{"nobody's client", "  - id: acme\n    policy:\n      clients: [cli_nobody]\n",
				`line 6: tenant acme cannot allow client "cli_nobody"`},
			{"a life that is none", "  - id: acme\n    policy:\n      max_access_token_lifetime: 1s\n",
				"line 6: the life of tokens"},
			{"two clients of a name", "  - id: acme\n    clients:\n      - {name: twin, scopes: ['customers:read']}\n",
				`line 6: there are 2 clients of the name "twin"`},
			{"another kind of client",
				"  - id: acme\n    clients:\n      - {name: nightly, redirect_uris: ['https://a.example/cb']}\n",
				`line 6: the client "nightly" is a machine client, and cannot become an application with a secret`},
			{"an application that loses its secret",
				"  - id: acme\n    clients:\n      - {name: portal, redirect_uris: ['https://a.example/cb']}\n",
				`is a public application, and cannot become an application with a secret`},
			{"a machine client of no scope", "  - id: acme\n    clients:\n      - name: x\n",
				"line 6: the client would have no scope"},
			{"a machine client of no tenant", "clients:\n  - {name: x, scopes: ['customers:read']}\n",
				"line 5: a machine client must belong to a tenant"},
			{"a server that is none", "clients:\n  - {name: x, server: 'https://no.example/mcp'}\n",
				`line 5: there is no resource "https://no.example/mcp"`},
			{"a redirect URI that is none",
				"  - id: acme\n    clients:\n      - {name: x, redirect_uris: ['javascript:alert(1)']}\n",
				`line 6: redirect URI "javascript:alert(1)"`},
			{"the configuration's resource", "resources:\n  - uri: " + resourceURI +
				"\n    scopes: [{name: x, description: X}]\n", "line 5: the resource " + resourceURI +
				" is the configuration's"},
			{"a resource of no canonical URI",
				"resources:\n  - uri: HTTPS://a.example/\n    scopes: [{name: x, description: X}]\n",
				"line 5: resource \"HTTPS://a.example/\""},
			{"a resource of half seconds",
				"resources:\n  - uri: https://a.example\n    access_token_lifetime: 1500ms\n    scopes: [{name: x, " +
					"description: X}]\n", "line 5: tokens of https://a.example cannot live for 1.5s"},
			{"a scope of no description",
				"resources:\n  - uri: https://a.example\n    algorithm: EdDSA\n    scopes: [{name: x}]\n",
				"line 5: the scope x has no description"},
			{"a new algorithm in a file that is refused",
				"  - id: acme\n    roles:\n      - {role: boss, scopes: ['customers:read']}\nresources:\n  - uri: " +
					"https://a.example\n    algorithm: EdDSA\n    scopes: [{name: x, description: X}]\n",
				"line 6: no one would be left who administers tenant acme"},
		} {
			b := file(t, good+row.rest)
			for what, act := range map[string]func(context.Context, manifest.Manifest) ([]admin.Change,
				error){"applied": o.Apply, "planned": o.Plan} {
				changes, err := act(ctx, b)
				if err == nil {
					t.Errorf("%s: %s %q", row.name, what, said(changes))
					continue
				}
				refused(t, err, row.says)
			}
			if diff := cmp.Diff(before, o.everything(t)); diff != "" {
				t.Fatalf("%s left (-before +after)\n%s", row.name, diff)
			}
		}
	})
}

// What no file could say is refused at the door, too.
func TestTheDoorChecksABlueprintItself(t *testing.T) {
	o := open(t)
	for says, b := range map[string]manifest.Manifest{
		`line 5: the tenant "acme" is in line 3 already`: {Tenants: []manifest.Tenant{{Line: 3, ID: "acme"},
			{Line: 5, ID: "acme"}}},
		`line 7: the client has no name`: {Clients: []manifest.Client{{Line: 7, Server: resourceURI}}},
		`it names 50001 things`:          {Clients: make([]manifest.Client, manifest.MaxEntries+1)},
	} {
		_, err := o.Apply(context.Background(), b)
		refused(t, err, says)
	}
	if lines := o.lines(t); len(lines) > 0 {
		t.Errorf("it left %q", lines)
	}
}

// An entry that fails last takes everything before it back; an audit that cannot be written does,
// too.
func TestAFileIsAppliedWholeOrNotAtAll(t *testing.T) {
	onStores(t, func(t *testing.T, o *office) {
		ctx := context.Background()
		o.applies(t, "tenants: [{id: acme, clients: [{name: last, scopes: ['customers:read']}]}]")
		before, within := o.everything(t), o.Atomically
		o.Atomically = func(ctx context.Context, do func(admin.Stores) error) error {
			return within(ctx, func(s admin.Stores) error { return do(worn{s}) })
		}
		text := desired[:strings.Index(desired, "clients:\n  - name: notes")] + "clients: [{name: x, server: '" +
			resourceURI + "'}]\n"
		text = strings.Replace(text, "      - name: nightly",
			"      - {name: last, scopes: ['notes:read']}\n      - name: nightly", 1)
		if _, err := o.Apply(ctx, file(t, text)); !errors.Is(err, errWorn) {
			t.Errorf("got %v, want the store's error", err)
		}
		if diff := cmp.Diff(before, o.everything(t)); diff != "" {
			t.Errorf("it left (-before +after)\n%s", diff)
		}
		o.Atomically = within
		log := o.Audit
		o.Audit = brokenLog{log}
		if _, err := o.Apply(ctx, file(t, text)); !errors.Is(err, errDiskFull) {
			t.Errorf("got %v, want the log's error", err)
		}
		o.Audit = log
		if diff := cmp.Diff(before, o.everything(t)); diff != "" {
			t.Errorf("without its lines it left (-before +after)\n%s", diff)
		}
	})
}

// worn are stores that fail at what is done last. Everything else is real.
type worn struct{ admin.Stores }

var errWorn = errors.New("the disk is worn")

func (worn) UpdateClient(context.Context, client.Client) error { return errWorn }
