package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
)

// listsByThePage reads lists page after page: each row comes once, the newest first, also where
// many were made in the same second.
func listsByThePage(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	var want []string
	for i := range 25 {
		c := client.Client{
			ID: fmt.Sprintf("cli_%02d", i), Name: "n", TenantID: "acme", Origin: client.OriginOperator,
			GrantTypes: []string{client.GrantCredentials},
			AuthMethod: client.AuthBasic, SecretHash: "h", Scopes: []string{"a"},
			CreatedAt: now.Add(time.Hour - time.Duration(i/7)*time.Minute),
		}
		must(t, s.CreateClient(ctx, c))
		g := grant.Grant{ID: fmt.Sprintf("grt_%02d", i), TenantID: "acme", ClientID: c.ID, Resource: resource,
			Scopes: []string{"a"}, CreatedAt: c.CreatedAt}
		_, err := s.PutMachineGrant(ctx, g, event("grant.create"))
		must(t, err)
		want = append(want, fmt.Sprintf("%02d", i))
	}
	for _, limit := range []int{1, 3, 7, 24, 25, 26} {
		pages := func(what string, page func(after string) []string) {
			var got []string
			for after := ""; ; {
				ids := page(after)
				if len(ids) == 0 {
					break
				}
				got, after = append(got, ids...), ids[len(ids)-1]
			}
			for i := range got {
				got[i] = got[i][4:]
			}
			if got = got[:min(len(got), len(want))]; !slices.Equal(got, want) {
				t.Errorf("%s, %d a page: got %v, want %v first", what, limit, got, want)
			}
		}
		pages("clients of a tenant", func(after string) (ids []string) {
			found, err := s.Clients(ctx, client.Filter{TenantID: "acme", After: after, Limit: limit})
			must(t, err)
			for _, c := range found {
				ids = append(ids, c.ID)
			}
			return ids
		})
		pages("all clients", func(after string) (ids []string) {
			found, err := s.Clients(ctx, client.Filter{After: after, Limit: limit})
			must(t, err)
			for _, c := range found {
				ids = append(ids, c.ID)
			}
			return ids
		})
		pages("grants", func(after string) (ids []string) {
			found, err := s.Grants(ctx, grant.Filter{TenantID: "acme", After: after, Limit: limit})
			must(t, err)
			for _, g := range found {
				ids = append(ids, g.ID)
			}
			return ids
		})
	}
	if found, err := s.Clients(ctx, client.Filter{After: "cli_nothing"}); err != nil || len(found) != 0 {
		t.Errorf("after a client that is not there: got %d, %v; want none", len(found), err)
	}
}
