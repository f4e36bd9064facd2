package admin_test

import (
	"maps"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
)

// What is there has its name, who was deleted their pseudonym, and what never was none; so many at
// once are bounded.
func TestListNames(t *testing.T) {
	o := open(t)
	o.acme(t)
	ann, _, err := o.CreateUser(t.Context(), admin.UserSpec{Email: "ann@acme.example"})
	must(t, err)
	bob, _, err := o.CreateUser(t.Context(), admin.UserSpec{Email: "bob@acme.example"})
	must(t, err)
	_, err = o.DeleteUser(t.Context(), admin.DeletionSpec{User: bob.Email})
	must(t, err)
	must(t, o.store.CreateClient(t.Context(), client.Client{ID: "cli_1", Name: "nightly", CreatedAt: now}))
	must(t, o.store.CreateClient(t.Context(), client.Client{ID: "cli_3", Name: "disabled", CreatedAt: now}))
	must(t, o.DisableClient(t.Context(), "cli_3"))
	got, err := o.ListNames(t.Context(), admin.IDs{Users: []string{ann.ID, bob.ID, "nobody"},
		Clients: []string{"cli_1", "cli_2", "cli_3"}, Tenants: []string{"acme", "globex"}})
	must(t, err)
	for _, row := range []struct{ got, want map[string]string }{
		{got.Users, map[string]string{ann.ID: "ann@acme.example", bob.ID: "deleted user " + bob.ID[4:12] + "…"}},
		{got.Clients, map[string]string{"cli_1": "nightly", "cli_3": "disabled"}},
		{got.Tenants, map[string]string{"acme": "Acme"}},
	} {
		if !maps.Equal(row.got, row.want) {
			t.Errorf("got %v, want %v", row.got, row.want)
		}
	}
	_, err = o.ListNames(t.Context(), admin.IDs{Users: make([]string, admin.MaxNames), Tenants: []string{"acme"}})
	refused(t, err, "more than 500")
}
