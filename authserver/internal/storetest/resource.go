package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// resources are kept whole; each change is counted, with its line or not at all.
func resources(t *testing.T, open func() Store) {
	s, other := open(), open()
	first, err := s.ResourcesRevision(ctx)
	must(t, err)
	want := issuer.Resource{
		URI: "https://notes.example/mcp", Name: "Notes", Algorithm: "RS256", AccessTokenLifetime: 5 * time.Minute,
		Aliases: []string{"https://notes.example/"},
		Scopes: []issuer.Scope{{Name: "notes:read", Description: "Read \"notes\"", Baseline: true},
			{Name: "notes:write", Description: "Write"}},
	}
	must(t, s.PutResource(ctx, want, event("resource.put")))
	found, err := other.Resources(ctx)
	must(t, err)
	if diff := cmp.Diff([]issuer.Resource{want}, found); diff != "" {
		t.Error(diff)
	}
	want.AccessTokenLifetime, want.Scopes = 0, want.Scopes[:1]
	must(t, other.PutResource(ctx, want, event("resource.put")))
	if found, err = s.Resources(ctx); err != nil || len(found) != 1 || cmp.Diff(want, found[0]) != "" {
		t.Errorf("replaced: %+v %v", found, err)
	}
	if revision, err := s.ResourcesRevision(ctx); err != nil || revision != first+2 {
		t.Errorf("the revision is %d %v, want %d", revision, err, first+2)
	}
	must(t, s.DeleteResource(ctx, want.URI, event("resource.remove")))
	if err := s.DeleteResource(ctx, want.URI, event("resource.remove")); !errors.Is(err, issuer.ErrNoResource) {
		t.Errorf("removed twice: %v", err)
	}
	events, err := s.Events(ctx, audit.Filter{Limit: 10})
	must(t, err)
	if len(events) != 3 {
		t.Errorf("%d lines, want 3: a refused act has none", len(events))
	}
	if revision, err := other.ResourcesRevision(ctx); err != nil || revision != first+3 {
		t.Errorf("the revision is %d %v, want %d", revision, err, first+3)
	}
}
