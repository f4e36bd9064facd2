package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// The files with the secrets of the demo, readable by their owner only.
const (
	signInsName = "demo-sign-ins.txt"
	machineName = "demo-machine-client.curl" // in the form that curl reads with -K
)

// person is a person of the demo.
type person struct {
	email, name string
	roles       [][2]string // tenant, role
	operator    bool
	password    string
}

func demoPeople() []person {
	return []person{
		{email: "ann@acme.example", name: "Ann", roles: [][2]string{{"acme", authserver.RoleAdmin}}},
		{email: "bob@globex.example", name: "Bob", roles: [][2]string{{"globex", authserver.RoleAdmin}}},
		{email: "carol@consulting.example", name: "Carol", roles: [][2]string{{"acme", authserver.RoleReader},
			{"globex", authserver.RoleReader}}},
		{email: "admin@gatehouse.example", name: "Admin", operator: true},
	}
}

// checkDemo rejects a demo that other machines can reach, unless --demo is given: its accounts and
// clients have no owner.
func (c *command) checkDemo() error {
	if !c.demo || c.origin["demo"] != "" {
		return nil
	}
	for _, u := range []struct{ name, value string }{{"issuer", c.issuer}, {"resource", c.resource}} {
		if u.value != "" && !isLoopback(u.value) {
			return usageError("use --demo=false, or --demo if there shall be demo accounts all the same",
				fmt.Errorf("%s %q is not on this machine, and an empty store would be filled with demo accounts",
					u.name, u.value))
		}
	}
	return nil
}

// isLoopback reports whether a URL's host is localhost, a name below it (RFC 6761 section 6.3), or
// a loopback address.
func isLoopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.Unmap().IsLoopback()
}

// seed fills an empty store with the demo, and reports whether it did. It writes the passwords
// before it creates the accounts, so that an interrupted start leaves no account with an unknown
// password.
func (h *app) seed(ctx context.Context) (bool, error) {
	issuer := h.issuer.Operator()
	tenants, err := issuer.ListTenants(ctx)
	if err != nil {
		return false, fmt.Errorf("list tenants: %w", err)
	}
	if len(tenants) > 0 {
		return false, nil
	}
	people := demoPeople()
	for i := range people {
		people[i].password = demoPassword()
	}
	if err := writePrivate(filepath.Join(h.dataDir, signInsName), signIns(people)); err != nil {
		return false, err
	}
	for _, t := range []authserver.TenantSpec{{ID: "acme", Name: "Acme Corporation"}, {ID: "globex", Name: "Globex"}} {
		if _, err := issuer.CreateTenant(ctx, t); err != nil {
			return false, fmt.Errorf("create demo tenant %s: %w", t.ID, err)
		}
	}
	for _, p := range people {
		if err := seedPerson(ctx, issuer, p); err != nil {
			return false, fmt.Errorf("create %s: %w", p.email, err)
		}
	}
	machine := authserver.ClientSpec{Name: "Demo machine client", Tenant: "acme", Scopes: h.scopeNames()}
	client, secret, err := issuer.CreateClient(ctx, machine)
	if err != nil {
		return false, fmt.Errorf("create the demo machine client: %w", err)
	}
	if err := writePrivate(filepath.Join(h.dataDir, machineName),
		fmt.Sprintf("user = \"%s:%s\"\n", client.ID, secret)); err != nil {
		return false, err
	}
	if err := h.resource.SeedDemo(ctx); err != nil {
		return false, fmt.Errorf("create the demo data of the tools: %w", err)
	}
	return true, nil
}

func seedPerson(ctx context.Context, issuer *authserver.Operator, p person) error {
	if _, _, err := issuer.CreateUser(ctx, authserver.UserSpec{Email: p.email, Name: p.name, Password: p.password,
		Operator: p.operator}); err != nil {
		return err
	}
	for _, r := range p.roles {
		if err := issuer.PutMember(ctx, authserver.MemberSpec{Email: p.email, Tenant: r[0], Role: r[1]}); err != nil {
			return err
		}
	}
	return nil
}

// demoPassword returns 80 random bits in a form that a person can type.
func demoPassword() string {
	text := strings.ToLower(rand.Text())
	return text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:16]
}

// signIns has one line for each person: e-mail address, password, roles.
func signIns(people []person) string {
	var b strings.Builder
	for _, p := range people {
		var roles []string
		for _, r := range p.roles {
			roles = append(roles, r[1]+" of "+r[0])
		}
		if p.operator {
			roles = append(roles, "operator")
		}
		fmt.Fprintf(&b, "%-26s %s   %s\n", p.email, p.password, strings.Join(roles, ", "))
	}
	return b.String()
}
