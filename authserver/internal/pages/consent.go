package pages

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/web"
)

// showConsent asks for consent at every request, because a client cannot be identified with
// certainty.
func (d *Handler) showConsent(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("tx")
	transaction, err := d.Sessions.Transaction(r, id)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	u, ok := d.personFor(w, r, id, transaction)
	if !ok {
		return
	}
	attempt.FromContext(r.Context()).SetParameters(transaction.Form)
	a, err := d.Engine.Authorize(r.Context(), transaction.Form)
	var refusal *issuer.Refusal
	if errors.As(err, &refusal) && refusal.RedirectTo != "" { // a request that could not be checked before sign-in
		d.leadBack(w, r, refusal)
		return
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	if deferred, _ := d.Engine.Deferred(transaction.Form); deferred { // already recorded where it was not
		for _, name := range a.Relaxed {
			httpd.Note(r.Context(), "relaxed", name)
		}
	}
	d.ask(w, r, u.User, a, web.Request{Action: "/consent", Transaction: id})
}

// ask shows a signed-in person a client's request: the tenants to choose from, or the consent page.
// request is where the answer is sent.
func (d *Handler) ask(w http.ResponseWriter, r *http.Request, u user.User, a *issuer.Authorization,
	request web.Request) {
	attempt.FromContext(r.Context()).Client(a.Client.ID, a.Client.Name)
	attempt.FromContext(r.Context()).For("", u.ID)
	offers, err := d.Engine.Offers(r.Context(), a, u.ID)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	var refused []issuer.Offer
	offers = slices.DeleteFunc(offers, func(o issuer.Offer) bool {
		if o.DenyReason != "" {
			refused = append(refused, o)
		}
		return o.DenyReason != ""
	})
	if i := slices.IndexFunc(refused,
		func(o issuer.Offer) bool { return o.TenantID == r.URL.Query().Get("tenant") }); i >= 0 {
		d.turnAway(w, r, a, refused[i])
		return
	}
	offer, chosen := choose(offers, r.URL.Query().Get("tenant"))
	switch {
	case len(offers) == 0 && len(refused) > 0:
		d.turnAway(w, r, a, refused...)
	case len(offers) == 0:
		d.fail(w, r, told(&oauth.Error{Code: "access_denied", Status: http.StatusForbidden,
			Description: "You belong to no organisation that could authorize this application. An administrator " +
				"can add you to one; then start again from your application."}))
	case !chosen:
		p := web.Tenants{Request: request, Client: clientName(a.Client), Person: u.Email}
		for _, o := range offers {
			p.Tenants = append(p.Tenants, web.Tenant{ID: o.TenantID, Name: o.TenantName, Role: o.Role})
		}
		for _, o := range refused {
			p.Refused = append(p.Refused, web.Refused{Tenant: o.TenantName, Why: o.DenyReason})
		}
		d.show(w, r, http.StatusOK, p)
	default:
		p := consentPage(a, offer)
		if r.URL.Query().Has("nothing") {
			request.Problem = "Nothing was ticked. Tick what you want to allow, or press Deny."
		}
		p.Request, p.CSRF, p.Person, p.Several = request, d.Sessions.CSRF(w, r), u.Email, len(offers) > 1
		d.show(w, r, http.StatusOK, p)
	}
}

// turnAway tells a person why their organisation does not allow the application, and tells the
// application when they go back.
func (d *Handler) turnAway(w http.ResponseWriter, r *http.Request, a *issuer.Authorization, refused ...issuer.Offer) {
	refusal := d.Engine.RefuseOffers(r.Context(), a, refused...)
	if refusal.RedirectTo == "" {
		d.fail(w, r, refusal.Err)
		return
	}
	d.leadBack(w, r, refusal)
}

// choose returns the tenant's offer; a single one needs no choice.
func choose(offers []issuer.Offer, tenantID string) (issuer.Offer, bool) {
	if tenantID == "" && len(offers) == 1 {
		return offers[0], true
	}
	i := slices.IndexFunc(offers, func(o issuer.Offer) bool { return o.TenantID == tenantID })
	if i < 0 {
		return issuer.Offer{}, false
	}
	return offers[i], true
}

func consentPage(a *issuer.Authorization, o issuer.Offer) web.Consent {
	p := web.Consent{
		Client: clientName(a.Client), ClientID: a.Client.ID, RedirectURI: a.RedirectURI,
		RedirectHost: redirectHost(a.RedirectURI),
		Local:        a.Client.LoopbackOnly(), Resource: a.Resource.Name, ResourceURI: a.Resource.URI,
		TokenLife:   o.AccessTokenLifetime,
		RefreshLife: o.RefreshTokenLifetime, RefreshIdle: o.RefreshTokenIdleTimeout,
		Renewed: slices.Contains(a.Client.GrantTypes, client.GrantRefresh),
		Tenant:  web.Tenant{ID: o.TenantID, Name: o.TenantName, Role: o.Role}, Identity: a.IsIdentity(),
	}
	switch a.Client.Origin {
	case client.OriginOperator:
		p.Known = "the operator of this server"
	case client.OriginInitialToken, client.OriginAdmin:
		p.Known = "an administrator of " + a.Client.TenantID
	case client.OriginDocument:
		p.Document = a.Client.DocumentHost()
	}
	for _, s := range o.Scopes {
		p.Scopes = append(p.Scopes, web.Scope{
			Name: s.Name, Description: s.Description, Fixed: s.Name == issuer.ScopeOpenID,
			// Scopes that change something are not ticked for a client that no one has checked.
			Writes: s.Writes(), Ticked: !s.Writes() || p.Known != "",
		})
	}
	return p
}

// clientName returns a client's name, or its id.
func clientName(c client.Client) string {
	if c.Name == "" {
		return c.ID
	}
	return c.Name
}

// redirectHost returns where the answer is sent, as people read it.
func redirectHost(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil || uri == "": // a device has none
		return uri
	case u.Scheme != "https" && u.Scheme != "http":
		return "the application behind " + u.Scheme + ": on this device"
	case u.Scheme == "http": // only loopback hosts have it
		return u.Hostname() + " (a program on this computer)"
	}
	return u.Host
}

// decide carries out the person's answer. The request comes from the transaction, never from the
// page.
func (d *Handler) decide(w http.ResponseWriter, r *http.Request) {
	form := r.PostForm
	transaction, err := d.Sessions.Transaction(r, form.Get("tx"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	u, ok := d.personFor(w, r, form.Get("tx"), transaction)
	if !ok {
		return
	}
	decision := form.Get("decision")
	if decision != "approve" && decision != "deny" {
		d.ErrorPage(w, r,
			invalid("The form says neither yes nor no. Go back and press one of the buttons."))
		return
	}
	if transaction, err = d.Sessions.Finish(r, form.Get("tx")); err != nil { // once: a second submit is told so
		d.fail(w, r, err)
		return
	}
	way := attempt.FromContext(r.Context())
	way.SetParameters(transaction.Form)
	way.For(form.Get("tenant"), u.ID)
	var to string
	if decision == "approve" {
		to, err = d.Engine.Approve(r.Context(), transaction.Form,
			issuer.Consent{SignedIn: u.someone(), TenantID: form.Get("tenant"), Scopes: form["scope"]})
	} else {
		to, err = d.Engine.Deny(r.Context(), transaction.Form, u.someone())
		way.Refuse(issuer.Denied)
	}
	httpd.Note(r.Context(), "decision", decision)
	var refusal *issuer.Refusal
	if errors.As(err, &refusal) && refusal.RedirectTo != "" {
		httpd.Note(r.Context(), "refused", refusal.Err.Code)
		way.Refuse(refusal.Err)
		to, err = refusal.RedirectTo, nil
	} else if err == nil && decision == "approve" {
		way.Reached(attempt.Redirect)
	}
	if errors.Is(err, issuer.ErrNothingAllowed) {
		if err := d.Sessions.Resume(r, form.Get("tx"), transaction); err != nil {
			d.fail(w, r, err)
			return
		}
		seeOther(w, "/consent?"+url.Values{"tx": {form.Get("tx")}, "tenant": {form.Get("tenant")},
			"nothing": {"1"}}.Encode())
		return
	}
	var refused *oauth.Error
	if err != nil && !errors.As(err, &refused) {
		// a fault of the server, so the person can try again
		err = errors.Join(err, d.Sessions.Resume(r, form.Get("tx"), transaction))
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	seeOther(w, to)
}
