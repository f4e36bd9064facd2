package authserver_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// overheard is a list at whose first entry somebody does something.
type overheard struct {
	revocation.List
	then func()
}

func (o overheard) Add(ctx context.Context, id string, until time.Time) error {
	err := o.List.Add(ctx, id, until)
	o.then()
	return err
}

// A client that deletes itself and hangs up in the middle of that leaves no grant alive.
func TestAClientThatHangsUpAtItsDeletionIsGoneAllTheSame(t *testing.T) {
	h := startServer(t)
	_, made := h.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`, nil)
	id := made["client_id"].(string)
	for _, email := range []string{"ann@acme.example", "bob@globex.example"} {
		app{h: h, ID: id}.tokens(h.person(email), "customers:read")
	}
	ctx, hangUp := context.WithCancel(t.Context())
	s, err := authserver.New(t.Context(), h.config,
		authserver.Deps{Now: h.Clock.Now, Revocations: overheard{h.List, hangUp}})
	must(t, err)
	defer s.Close()
	r := httptest.NewRequestWithContext(ctx, "DELETE", h.URL+"/oauth2/register/"+id, nil)
	r.Header.Set("Authorization", "Bearer "+made["registration_access_token"].(string))
	s.Handler().ServeHTTP(httptest.NewRecorder(), r)
	if ctx.Err() == nil {
		t.Fatal("no grant has ended")
	}
	if alive, err := h.Store.Grants(t.Context(), grant.Filter{ClientID: id, Active: true}); err != nil ||
		len(alive) != 0 {
		t.Errorf("%d grants live on: %v", len(alive), err)
	}
}
