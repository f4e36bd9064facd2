package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// ResourceFound is a resource, and whether only the configuration can change it.
type ResourceFound struct {
	issuer.Resource
	Fixed bool
}

// ListResources lists the resources, the default one first.
func (d *API) ListResources(ctx context.Context) ([]ResourceFound, error) {
	if _, err := d.Resources.Refresh(ctx); err != nil {
		return nil, err
	}
	var all []ResourceFound
	for _, r := range d.Resources.All() {
		all = append(all, ResourceFound{r, d.Resources.Fixed(r.URI)})
	}
	return all, nil
}

// PutResource creates or replaces a resource. It applies here at once, and in other processes
// within a second.
func (d *API) PutResource(ctx context.Context, r issuer.Resource) error {
	r, err := d.checkResource(r)
	if err != nil {
		return err
	}
	if err := d.keyFor(ctx, r.Algorithm); err != nil {
		return err
	}
	if err := d.Catalogue.PutResource(ctx, r, d.resourcePut(ctx, r)); err != nil {
		return err
	}
	_, err = d.Resources.Refresh(ctx)
	return err
}

// maxScopes bounds a resource's scopes, from which people choose.
const maxScopes = 500

// checkResource validates a resource before it is stored.
func (d *API) checkResource(r issuer.Resource) (issuer.Resource, error) {
	if d.Resources.Fixed(r.URI) {
		return r, refuse("change it there, and restart", "the resource %s is the configuration's", r.URI)
	}
	life := r.AccessTokenLifetime
	checked, err := r.Check(d.Resources.DefaultLifetime())
	if err != nil {
		return r, refuse("gatehouse resource put -h says what a resource may have", "%v", err)
	}
	if checked.AccessTokenLifetime = life; life%time.Second != 0 { // 0 follows the issuer's setting
		return r, refuse("", "tokens of %s cannot live for %s: it is no whole number of seconds", r.URI, life)
	}
	if d.Resources.IsInsecure(r.URI) {
		return r, refuse("use https; --insecure-http allows it all the same, and then anyone on the way can "+
			"read tokens", "the resource %s is plain http on a host that is not this machine", r.URI)
	}
	if r.URI == d.Issuer {
		return r, refuse("give the server an address of its own, such as "+d.Issuer+"/mcp",
			"the resource %s is the issuer itself", r.URI)
	}
	if checked.Name, err = clientadmin.Name(r.Name, r.URI); err != nil {
		return r, err
	}
	if n := len(checked.Scopes); n > maxScopes {
		return r, refuse("", "the resource %s has %d scopes; %d are as many as one may have", r.URI, n, maxScopes)
	}
	seen := map[string]bool{}
	for _, s := range checked.Scopes {
		if words, err := oauth.ParseScope(s.Name); err != nil || len(words) != 1 || seen[s.Name] ||
			slices.Contains(issuer.IdentityScopes(), s.Name) {
			return r, refuse("a scope is a word without spaces, quotes and backslashes (RFC 6749 §3.3), each once, "+
				"and none of OpenID's own", "%.80q cannot be a scope of %s", s.Name, r.URI)
		}
		if s.Description == "" {
			return r, refuse("people read it when they are asked to allow it",
				"the scope %s has no description", s.Name)
		}
		seen[s.Name] = true
	}
	return checked, nil
}

// keyFor creates the first key of an algorithm that was not in use.
func (d *API) keyFor(ctx context.Context, algorithm string) error {
	if err := d.Keys.Reload(ctx); err != nil {
		return err
	}
	return d.Keys.Ensure(ctx, algorithm)
}

// RemoveResource removes a resource: no more tokens are issued for it. Issued ones stay valid until
// they expire.
func (d *API) RemoveResource(ctx context.Context, uri string) error {
	if d.Resources.Fixed(uri) {
		return refuse("take it away there, and restart", "the resource %s is the configuration's", uri)
	}
	err := d.Catalogue.DeleteResource(ctx, uri, d.resourceEvent(ctx, "resource.remove", uri, ""))
	if errors.Is(err, issuer.ErrNoResource) {
		return &Refusal{Reason: fmt.Sprintf("there is no resource %.200q", uri),
			Hint: "gatehouse resource list shows them", Err: err}
	}
	if err != nil {
		return err
	}
	_, err = d.Resources.Refresh(ctx)
	return err
}

// resourcePut returns the audit event of a created or replaced resource.
func (d *API) resourcePut(ctx context.Context, r issuer.Resource) audit.Event {
	return d.resourceEvent(ctx, "resource.put", r.URI, oauth.FormatScope(r.ScopeNames()))
}

func (d *API) resourceEvent(ctx context.Context, action, uri, detail string) audit.Event {
	return audit.Event{Time: d.now(), Actor: audit.OperatorOf(ctx), Action: action, Target: uri, Detail: detail}
}
