package roof

import (
	"context"
	"crypto/rand"
	"fmt"
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
		{email: "carol@consulting.example", name: "Carol", roles: [][2]string{{"acme", authserver.RoleReader}, {"globex", authserver.RoleReader}}},
		{email: "admin@gatehouse.example", name: "Admin", operator: true},
	}
}

// seed fills an empty store, and says whether it did. The passwords are on disk before the first account is made: an account whose password
// nobody knows would be the worse remains of an interrupted start.
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
	if err := keep(filepath.Join(h.dataDir, machineName), fmt.Sprintf("user = \"%s:%s\"\n", client.ID, secret)); err != nil {
		return false, err
	}
	if err := h.resource.SeedDemo(ctx); err != nil {
		return false, fmt.Errorf("filling the companion tools' demo data: %w", err)
	}
	return true, nil
}

func seedPerson(ctx context.Context, door *authserver.Operator, p person) error {
	if _, _, err := door.CreateUser(ctx, authserver.UserSpec{Email: p.email, Name: p.name, Password: p.password, Operator: p.operator}); err != nil {
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
