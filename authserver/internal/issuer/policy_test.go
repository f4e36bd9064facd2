package issuer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
)

// A suspended tenant denies every client, a protected server's too: each endpoint asks this,
// beside what it asks of its store.
func TestASuspendedTenantDenies(t *testing.T) {
	for _, c := range []client.Client{{ID: "cli_1"}, {ID: "cli_2", Resource: "https://mcp.example.com/mcp"}} {
		acme := tenant.Tenant{ID: "acme", Name: "Acme"}
		if why := issuer.DenyReason(acme, c); why != "" {
			t.Errorf("%s: got %q, want it allowed", c.ID, why)
		}
		acme.SuspendedAt = time.Unix(1_900_000_000, 0)
		if why := issuer.DenyReason(acme, c); !strings.Contains(why, "Acme is suspended") {
			t.Errorf("%s of a suspended tenant: got %q", c.ID, why)
		}
	}
}
