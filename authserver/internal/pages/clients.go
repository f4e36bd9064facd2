package pages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/session"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/web"
)

// The pages of a tenant's administrators. Administration is checked in the database at every
// request; others get 404.

// maxShown bounds how many clients one page shows.
const maxShown = 200

var (
	errNoTenant = told(&oauth.Error{Code: "invalid_request", Status: http.StatusNotFound,
		Description: "You are an administrator of no organisation of this name, or it is suspended."})
	errNoClient = told(&oauth.Error{Code: "invalid_request", Status: http.StatusNotFound,
		Description: "This organisation has no such application."})
	errNoRole = told(&oauth.Error{Code: "invalid_request", Status: http.StatusNotFound,
		Description: "This organisation has no such role."})
	errShownOnce = told(&oauth.Error{Code: "invalid_request", Status: http.StatusNotFound,
		Description: "A secret is shown once, and this one was, or was not fetched within five minutes. Replace it " +
			"to see another."})
	errNoneTicked = clientadmin.Refuse("", "Tick at least one thing that it may do.")
)

// administrator is a person who administers a tenant.
type administrator struct {
	user   user.User
	tenant tenant.Tenant
	caller clientadmin.Caller
	action string // what they do, for the audit record; empty: only reading
}

// keeping checks that the person administers the tenant in the URL before it calls h.
func (d *Handler) keeping(h func(http.ResponseWriter, *http.Request, administrator)) http.HandlerFunc {
	return d.keeper("", h)
}

// acting is keeping for a form that changes something.
func (d *Handler) acting(action string, h func(http.ResponseWriter, *http.Request, administrator)) http.HandlerFunc {
	return d.form(d.keeper(action, h))
}

func (d *Handler) keeper(action string, h func(http.ResponseWriter, *http.Request, administrator)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, ok := d.person(w, r)
		if !ok {
			return
		}
		k := administrator{user: u.User, caller: clientadmin.Person(u.ID, mux.Vars(r)["tenant"]), action: action}
		var err error
		if k.tenant, err = d.Registrar.Tenant(r.Context(), k.caller, mux.Vars(r)["tenant"]); err != nil {
			d.recordFailure(r, k, err)
			d.failAdministrator(w, r, err)
			return
		}
		h(w, r, k)
	}
}

// mostSaid bounds, in characters, what an audit record keeps of a refusal, which may repeat what
// was typed.
const mostSaid = 500

// recordFailure writes the audit record of an operation that was rejected or failed, beside one
// that may have been rolled back with it. They are limited per person and minute (audit.Refusals).
// A record that cannot be written does not change the response; it is logged.
func (d *Handler) recordFailure(r *http.Request, k administrator, err error) {
	if k.action == "" {
		return
	}
	vars, ctx := mux.Vars(r), context.WithoutCancel(r.Context())
	e := audit.Event{
		Time: d.Engine.Now().UTC().Truncate(time.Second), Actor: string(k.caller.Actor(r.Context())), Action: k.action,
		Outcome: audit.Failed,
		Target:  fmt.Sprintf("%.80s", vars["client"]+vars["role"]), Detail: fmt.Sprintf("%.*s", mostSaid, err.Error()),
	}
	if tenant.ValidID(vars["tenant"]) {
		e.Tenant = vars["tenant"] // the requested tenant, whether or not it exists
	}
	var refusal *clientadmin.Refusal
	if errors.As(err, &refusal) || errors.Is(err, clientadmin.ErrNotAllowed) {
		e.Outcome = audit.Refused
	}
	if err := d.Engine.Refusals.Record(ctx, e.Actor, e); err != nil {
		httpd.Note(ctx, "audit", err)
	}
}

// failAdministrator is fail for what an administrator may not do or cannot see.
func (d *Handler) failAdministrator(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, clientadmin.ErrNotAllowed):
		err = errNoTenant
	case errors.Is(err, client.ErrNotFound):
		err = errNoClient
	case errors.Is(err, session.ErrNothingLeft):
		err = errShownOnce
	}
	d.fail(w, r, err)
}

// showClients shows the tenant's clients to its administrators.
func (d *Handler) showClients(w http.ResponseWriter, r *http.Request, k administrator) {
	d.listClients(w, r, k, http.StatusOK, web.Clients{Notice: d.notice(w, r)})
}

// listClients shows the tenant's clients and the forms; p has a form's error and what was typed.
func (d *Handler) listClients(w http.ResponseWriter, r *http.Request, k administrator, status int, p web.Clients) {
	clients, err := d.Registrar.List(r.Context(), k.caller, client.Filter{TenantID: k.tenant.ID, Limit: maxShown + 1})
	if err != nil {
		d.failAdministrator(w, r, err)
		return
	}
	own, err := d.Registrar.Gives(r.Context(), k.caller, k.tenant)
	if err != nil {
		d.failAdministrator(w, r, err)
		return
	}
	p.CSRF, p.Person, p.Tenant = d.Sessions.CSRF(w, r), k.user.Email, web.Tenant{ID: k.tenant.ID, Name: k.tenant.Name}
	for _, name := range k.tenant.Scopes {
		p.Scopes = append(p.Scopes,
			web.Scope{Name: name, Description: d.means(name), Fixed: !slices.Contains(own, name)})
	}
	p.More = len(clients) > maxShown
	for _, c := range clients[:min(len(clients), maxShown)] {
		machine := slices.Contains(c.GrantTypes, client.GrantCredentials)
		p.Clients = append(p.Clients, web.Client{
			ID: c.ID, Name: clientName(c), Origin: madeBy(c), Proves: proves(c), Secret: c.SecretHash != "",
			Machine: machine,
			Beyond:  machine && !oauth.Subset(c.Scopes, own), RedirectURIs: c.RedirectURIs, Scopes: c.Scopes,
			Since: c.CreatedAt, Disabled: !c.DisabledAt.IsZero(),
		})
	}
	d.show(w, r, status, p)
}

// means returns a scope's description; its name when no resource has it any more.
func (d *Handler) means(scope string) string {
	for _, resource := range d.Engine.Resources.All() {
		if s, ok := resource.Scope(scope); ok {
			return s.Description
		}
	}
	return scope
}

func madeBy(c client.Client) string {
	switch c.Origin {
	case client.OriginAdmin:
		return "made by an administrator"
	case client.OriginOperator:
		return "made by the operator of this server"
	case client.OriginInitialToken:
		return "registered with an initial access token"
	}
	return c.Origin
}

func proves(c client.Client) string {
	switch c.AuthMethod {
	case client.AuthNone:
		return "nothing: it cannot keep a secret"
	case client.AuthKey:
		return "a key of its own"
	}
	return "a secret"
}

// createClient creates an application or a machine client.
func (d *Handler) createClient(w http.ResponseWriter, r *http.Request, k administrator) {
	form := r.PostForm
	typed := web.Clients{Name: form.Get("name"), RedirectURIs: form.Get("redirect_uris"),
		Machine: form.Get("kind") == "machine"}
	s := clientadmin.Spec{Name: form.Get("name"), Tenant: k.tenant.ID, Scopes: form["scope"]}
	if !typed.Machine {
		s.RedirectURIs, s.Public = strings.Fields(form.Get("redirect_uris")), form.Get("secret") == ""
	}
	var err error
	switch {
	case len(s.Scopes) == 0:
		err = errNoneTicked
	case !typed.Machine && len(s.RedirectURIs) == 0:
		err = clientadmin.Refuse("", "Name at least one address to which the answer goes.")
	}
	if err != nil {
		d.showFormError(w, r, k, err, typed)
		return
	}
	c, secret, err := d.Registrar.Create(r.Context(), k.caller, s)
	if err != nil {
		d.showFormError(w, r, k, err, typed)
		return
	}
	httpd.Note(r.Context(), "client", c.ID)
	d.leave(w, r, k, web.Secret{Client: c.Name, ClientID: c.ID, Secret: secret})
}

// replaceSecret replaces the secret of a client of the tenant.
func (d *Handler) replaceSecret(w http.ResponseWriter, r *http.Request, k administrator) {
	turn := clientadmin.SecretReplacement{Client: mux.Vars(r)["client"], Overlap: 24 * time.Hour}
	if r.PostForm.Get("at_once") != "" {
		turn.Overlap = 0
	}
	secret, err := d.Registrar.ReplaceSecret(r.Context(), k.caller, turn)
	if err != nil {
		d.showFormError(w, r, k, err, web.Clients{})
		return
	}
	httpd.Note(r.Context(), "client", turn.Client)
	d.leave(w, r, k, web.Secret{ClientID: turn.Client, Secret: secret, Replaced: true, AtOnce: turn.Overlap == 0})
}

// deleteClient deletes a client of the tenant and revokes its grants.
func (d *Handler) deleteClient(w http.ResponseWriter, r *http.Request, k administrator) {
	if err := d.Registrar.Delete(r.Context(), k.caller, mux.Vars(r)["client"]); err != nil {
		d.showFormError(w, r, k, err, web.Clients{})
		return
	}
	httpd.Note(r.Context(), "client", mux.Vars(r)["client"])
	d.Sessions.LeaveNotice(w, session.Deleted)
	seeOther(w, clientsPath(k))
}

// createInitialToken creates an initial access token of the tenant.
func (d *Handler) createInitialToken(w http.ResponseWriter, r *http.Request, k administrator) {
	uses, err := strconv.Atoi(r.PostForm.Get("uses"))
	hours, errHours := strconv.Atoi(r.PostForm.Get("hours"))
	s := clientadmin.InitialTokenSpec{Tenant: k.tenant.ID, Scopes: r.PostForm["scope"], Uses: uses,
		Lifetime: time.Duration(hours) * time.Hour}
	switch {
	case err != nil || errHours != nil || uses < 1 || hours < 1 || hours > 1000:
		err = clientadmin.Refuse("", "Say with whole numbers how often and how long the token can be used.")
	case len(s.Scopes) == 0:
		err = errNoneTicked
	}
	if err != nil {
		d.showFormError(w, r, k, err, web.Clients{})
		return
	}
	token, err := d.Registrar.CreateInitialToken(r.Context(), k.caller, s)
	if err != nil {
		d.showFormError(w, r, k, err, web.Clients{})
		return
	}
	d.leave(w, r, k, web.Secret{InitialToken: token, Uses: uses, Hours: hours})
}

// showFormError shows the page again with a form's error; other errors are a page of their own.
func (d *Handler) showFormError(w http.ResponseWriter, r *http.Request, k administrator, err error, typed web.Clients) {
	d.recordFailure(r, k, err)
	var refusal *clientadmin.Refusal
	if errors.As(err, &refusal) && !errors.Is(err, client.ErrNotFound) {
		httpd.Note(r.Context(), "refused", refusal.Reason)
		typed.Problem = refusal.Reason
		d.listClients(w, r, k, http.StatusBadRequest, typed)
		return
	}
	d.failAdministrator(w, r, err)
}

// leave redirects to the page that shows a secret once.
func (d *Handler) leave(w http.ResponseWriter, r *http.Request, k administrator, p web.Secret) {
	value, err := json.Marshal(p)
	if err != nil {
		d.fail(w, r, fmt.Errorf("leaving a secret: %w", err))
		return
	}
	name, err := d.Sessions.Leave(r, value)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	seeOther(w, clientsPath(k)+"/shown?once="+url.QueryEscape(name))
}

// showOnce shows a new secret, once.
func (d *Handler) showOnce(w http.ResponseWriter, r *http.Request, k administrator) {
	value, err := d.Sessions.Collect(r, r.URL.Query().Get("once"))
	var p web.Secret
	if err == nil {
		err = json.Unmarshal(value, &p)
	}
	if err != nil {
		d.failAdministrator(w, r, err)
		return
	}
	p.Tenant, p.Issuer = web.Tenant{ID: k.tenant.ID, Name: k.tenant.Name}, d.Engine.Issuer
	d.show(w, r, http.StatusOK, p)
}

func clientsPath(k administrator) string { return "/tenants/" + k.tenant.ID + "/clients" }
