package oauthapi

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// manage is the client configuration endpoint (RFC 7592 section 2): a client that registered
// itself reads, changes or deletes its registration with its registration access token.
func (d *API) manage(w http.ResponseWriter, r *http.Request) {
	c, err := d.registered(r)
	if err != nil {
		if errors.Is(err, client.ErrNotFound) {
			if ok, wait := d.Authenticate.Allow(r.Context(), httpd.Source(r.Context())); !ok {
				d.tooMany(w, r, wait)
				return
			}
			d.refuseBearer(w, r,
				"the registration access token is not this client's, or the client is gone; register again")
			return
		}
		d.fail(w, r, err)
		return
	}
	httpd.Note(r.Context(), "client", c.ID)
	if err := d.tenantActive(r.Context(), c); err != nil {
		d.fail(w, r, err)
		return
	}
	switch r.Method {
	case http.MethodGet:
		respond(w, http.StatusOK, d.information(c))
	case http.MethodPut:
		// It counts as a registration: each writes an audit event and empties caches.
		if ok, wait := d.Register.Allow(r.Context(), httpd.Source(r.Context())); !ok {
			d.tooMany(w, r, wait)
			return
		}
		d.change(w, r, c)
	default:
		if err := d.forget(r, c); err != nil {
			d.fail(w, r, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
	}
}

// tenantActive refuses a client whose tenant is suspended: its changes would take effect when the
// tenant is resumed.
func (d *API) tenantActive(ctx context.Context, c client.Client) error {
	if c.TenantID == "" {
		return nil
	}
	t, err := d.Engine.Tenants.Tenant(ctx, c.TenantID)
	if err != nil && !errors.Is(err, tenant.ErrNotFound) {
		return fmt.Errorf("load the tenant of a client: %w", err)
	}
	if err != nil || !t.SuspendedAt.IsZero() {
		return oauth.AccessDenied("the organisation of this client is suspended; ask its administrator")
	}
	return nil
}

// registered authenticates a client by its registration access token. Whatever is wrong with that
// is client.ErrNotFound, and takes as long.
func (d *API) registered(r *http.Request) (client.Client, error) {
	raw, shown, err := bearer(r)
	if err != nil || !shown {
		return client.Client{}, client.ErrNotFound
	}
	c, err := d.Clients.Client(r.Context(), mux.Vars(r)["client"])
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return client.Client{}, fmt.Errorf("load client: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(c.ManageHash), []byte(client.TokenHash(raw))) != 1 {
		return client.Client{}, client.ErrNotFound
	}
	return c, nil
}

// change replaces the metadata of the client (RFC 7592 section 2.2).
func (d *API) change(w http.ResponseWriter, r *http.Request, c client.Client) {
	said, err := readMetadata(r)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	if said.ClientID != c.ID {
		d.fail(w, r, oauth.InvalidRequest("client_id must be there, and be this client's"))
		return
	}
	next, err := c.Update(said.ClientMetadata, d.IDTokenAlgorithms())
	if err == nil {
		err = d.record(r, c, "client.update")
	}
	if err == nil {
		err = d.Clients.UpdateClient(r.Context(), next)
	}
	if errors.Is(err, client.ErrNotFound) {
		d.refuseBearer(w, r, "the client is gone; register again")
		return
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	respond(w, http.StatusOK, d.information(next))
}

// record writes the audit event of what a client does to its registration, before it is done.
func (d *API) record(r *http.Request, c client.Client, action string) error {
	e := audit.Event{Time: d.Now().UTC().Truncate(time.Second), Actor: "client:" + c.ID, Action: action, Target: c.ID,
		Tenant: c.TenantID, Client: c.ID, Detail: c.Name}
	if err := d.Engine.Audit.Record(r.Context(), e); err != nil {
		return fmt.Errorf("write the audit event of %s: %w", action, err)
	}
	return nil
}

// forget deletes the client and then revokes its grants, also when the client has closed the
// connection: nothing new can be issued from then on. The client itself cannot repeat what was
// interrupted; the operator can.
func (d *API) forget(r *http.Request, c client.Client) error {
	if err := d.record(r, c, "client.delete"); err != nil {
		return err
	}
	if err := d.Clients.DeleteClient(r.Context(), c.ID, d.Now()); err != nil && !errors.Is(err, client.ErrNotFound) {
		return err
	}
	ctx, done := grant.Lasting(r.Context())
	defer done()
	_, err := d.Engine.Ledger.RevokeAll(ctx, grant.Actor("client:"+c.ID), grant.Filter{ClientID: c.ID},
		grant.ReasonGone)
	return err
}
