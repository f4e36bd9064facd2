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

// The files in which the demo's secrets are kept, for their owner only.
const (
	signInsName = "demo-sign-ins.txt"
	machineName = "demo-machine-client.curl" // in the form that curl reads with -K
)

// person is somebody of the demo.
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

// demoStaysHere refuses a demo where others can reach it, unless it was asked for: its accounts and
// clients are no one's who looks after them.
func (c *call) demoStaysHere() error {
	if !c.demo || c.origin["demo"] != "" {
		return nil
	}
	for _, u := range []struct{ name, value string }{{"issuer", c.issuer}, {"resource", c.resource}} {
		if u.value != "" && !isLoopback(u.value) {
			return misused("say --demo=false, or --demo when demo accounts shall be there all the same",
				fmt.Errorf("%s %q is not on this machine, and an empty store would be filled with demo accounts",
					u.name, u.value))
		}
	}
	return nil
}

// isLoopback says whether a URL's host is this machine by its name: localhost, a name below it (RFC
// 6761 section 6.3), or a loopback address.
func isLoopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.Unmap().IsLoopback()
}

// seed fills an empty store, and says whether it did. The passwords are on disk before the first
// account is made: an account whose password nobody knows would be the worse remains of an
// interrupted start.
func (h *house) seed(ctx context.Context) (bool, error) {
	door := h.issuer.Operator()
	tenants, err := door.ListTenants(ctx)
	if err != nil {
		return false, fmt.Errorf("looking for tenants: %w", err)
	}
	if len(tenants) > 0 {
		return false, nil
	}
	people := demoPeople()
	for i := range people {
		people[i].password = demoPassword()
	}
	if err := keep(filepath.Join(h.dataDir, signInsName), signIns(people)); err != nil {
		return false, err
	}
	for _, t := range []authserver.TenantSpec{{ID: "acme", Name: "Acme Corporation"}, {ID: "globex", Name: "Globex"}} {
		if _, err := door.CreateTenant(ctx, t); err != nil {
			return false, fmt.Errorf("making demo tenant %s: %w", t.ID, err)
		}
	}
	for _, p := range people {
		if err := seedPerson(ctx, door, p); err != nil {
			return false, fmt.Errorf("making %s: %w", p.email, err)
		}
	}
	machine := authserver.ClientSpec{Name: "Demo machine client", Tenant: "acme", Scopes: h.scopeNames()}
	client, secret, err := door.CreateClient(ctx, machine)
	if err != nil {
		return false, fmt.Errorf("making the demo machine client: %w", err)
	}
	if err := keep(filepath.Join(h.dataDir, machineName),
		fmt.Sprintf("user = \"%s:%s\"\n", client.ID, secret)); err != nil {
		return false, err
	}
	if err := h.resource.SeedDemo(ctx); err != nil {
		return false, fmt.Errorf("filling the companion tools' demo data: %w", err)
	}
	return true, nil
}

func seedPerson(ctx context.Context, door *authserver.Operator, p person) error {
	if _, _, err := door.CreateUser(ctx, authserver.UserSpec{Email: p.email, Name: p.name, Password: p.password,
		Operator: p.operator}); err != nil {
		return err
	}
	for _, r := range p.roles {
		if err := door.PutMember(ctx, authserver.MemberSpec{Email: p.email, Tenant: r[0], Role: r[1]}); err != nil {
			return err
		}
	}
	return nil
}

// demoPassword is 80 random bits that a person can type.
func demoPassword() string {
	text := strings.ToLower(rand.Text())
	return text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:16]
}

// signIns writes one line a person: address, password, where they belong.
func signIns(people []person) string {
	var b strings.Builder
	for _, p := range people {
		var places []string
		for _, r := range p.roles {
			places = append(places, r[1]+" of "+r[0])
		}
		if p.operator {
			places = append(places, "operator")
		}
		fmt.Fprintf(&b, "%-26s %s   %s\n", p.email, p.password, strings.Join(places, ", "))
	}
	return b.String()
}
