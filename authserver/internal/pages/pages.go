// Package pages serves the pages for people: sign-in, consent, connected agents, and the pages of a
// tenant's administrators.
//
// Each step stands alone and finds the authorization request by its transaction; no step trusts
// what an earlier page said:
//
//	/oauth2/authorize → /consent?tx=… → (not signed in: /signin?tx=… → /consent?tx=…)
//	→ the application
//
// Every answer to a POST is a 303, so that no password is ever sent on.
package pages

import (
	"cmp"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/mux"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/personal"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/session"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
	"github.com/gatehouse-mcp/gatehouse/web"
)

// Handler serves the pages.
type Handler struct {
	Engine   *issuer.Engine
	Sessions *session.Manager
	Users    user.Store
	Personal personal.Vault // of personal data in audit records
	Grants   grant.Store
	Clients  client.Store
	Ledger   *grant.Ledger
	// Registrar creates clients, for a tenant's administrators.
	Registrar *clientadmin.Admin

	// SignIns limits wrong passwords.
	SignIns SignInLimits
	// Codes limits how many wrong device codes one person tries.
	Codes *ratelimit.Limiter
}

// Mount adds the pages to a router.
func (d *Handler) Mount(r *mux.Router) {
	r.HandleFunc("/", d.home).Methods("GET", "HEAD")
	r.HandleFunc("/signin", d.showSignIn).Methods("GET", "HEAD")
	r.HandleFunc("/signin", d.form(d.signIn)).Methods("POST")
	r.HandleFunc("/signout", d.form(d.signOut)).Methods("POST")
	r.HandleFunc(LogoutPath, d.logout).Methods("GET", "HEAD", "POST")
	r.HandleFunc("/consent", d.showConsent).Methods("GET", "HEAD")
	r.HandleFunc("/consent", d.form(d.decide)).Methods("POST")
	r.HandleFunc("/device", d.showDevice).Methods("GET", "HEAD")
	r.HandleFunc("/device", d.form(d.decideDevice)).Methods("POST")
	r.HandleFunc("/device/done", d.deviceDone).Methods("GET", "HEAD")
	r.HandleFunc("/agents", d.showAgents).Methods("GET", "HEAD")
	r.HandleFunc("/agents/{grant}/revoke", d.form(d.revokeAgent)).Methods("POST")
	r.HandleFunc("/tenants/{tenant}/clients", d.keeping(d.showClients)).Methods("GET", "HEAD")
	r.HandleFunc("/tenants/{tenant}/clients", d.acting("client.create", d.createClient)).Methods("POST")
	r.HandleFunc("/tenants/{tenant}/clients/shown", d.keeping(d.showOnce)).Methods("GET")
	r.HandleFunc("/tenants/{tenant}/clients/{client}/secret",
		d.acting("client.replace_secret", d.replaceSecret)).Methods("POST")
	r.HandleFunc("/tenants/{tenant}/clients/{client}/delete", d.acting("client.delete", d.deleteClient)).Methods("POST")
	r.HandleFunc("/tenants/{tenant}/roles", d.keeping(d.showRoles)).Methods("GET", "HEAD")
	r.HandleFunc("/tenants/{tenant}/roles/{role}", d.acting("role.put", d.changeRole)).Methods("POST")
	r.HandleFunc("/tenants/{tenant}/initial-tokens",
		d.acting("initial_token.create", d.createInitialToken)).Methods("POST")
}

// The texts of error pages.
var (
	errGone = told(&oauth.Error{Code: "invalid_request", Status: http.StatusBadRequest,
		Description: "This request is no longer under way here: it was answered already, took longer than ten " +
			"minutes, or was begun in another browser. Start again from your application."})
	errForm = told(&oauth.Error{Code: "invalid_request", Status: http.StatusForbidden,
		Description: "This form is out of date or was not sent from our page. Go back, load the page again and " +
			"repeat it."})
	errNoAgent = told(&oauth.Error{Code: "invalid_request", Status: http.StatusNotFound,
		Description: "You have no such agent. Your agents' page shows those that you have."})
)

// ErrorPage shows a person what was wrong, with the error's status.
func (d *Handler) ErrorPage(w http.ResponseWriter, r *http.Request, e *oauth.Error) {
	if e.Wait > 0 {
		httpd.RetryAfter(w, e.Wait)
	}
	d.show(w, r, e.Status, problem(r, e))
}

// problem returns the page of an error: a sentence for the person, and the developer's in the
// details.
func problem(r *http.Request, e *oauth.Error) web.Problem {
	p := web.Problem{Status: e.Status, Code: e.Code, Detail: e.Description, Support: httpd.SupportCode(r.Context())}
	p.What = cmp.Or(e.Person, explanations[e.Code].Person, e.Description)
	if e.Wait > 0 { // it says how long to wait
		p.What = e.Description
	}
	if p.What == p.Detail {
		p.Detail = ""
	}
	return p
}

// told marks an error whose description is written for the person.
func told(e *oauth.Error) *oauth.Error {
	e.Person = e.Description
	return e
}

// invalid returns an invalid_request error with a description for the person.
func invalid(description string) *oauth.Error { return told(oauth.InvalidRequest(description)) }

// leadBack shows a person what is wrong with a request, with a link back to the application: an
// open registration's redirect URI is never followed automatically (OAuth 2.1 §7.12.2).
func (d *Handler) leadBack(w http.ResponseWriter, r *http.Request, refusal *issuer.Refusal) {
	e := refusal.Err
	attempt.FromContext(r.Context()).Refuse(e)
	httpd.Note(r.Context(), "refused", e.Code)
	httpd.Note(r.Context(), "reason", e.Description)
	p := problem(r, e)
	p.Status = http.StatusBadRequest
	p.Back = template.URL(refusal.RedirectTo) // checked as a redirect URI: its scheme runs nothing
	p.BackTo = redirectHost(refusal.RedirectTo)
	d.show(w, r, http.StatusBadRequest, p)
}

// fail shows an error as a page. What is no *oauth.Error is internal: its detail is logged only.
func (d *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	var refused *oauth.Error
	way := attempt.FromContext(r.Context())
	way.Refuse(err)
	switch {
	case errors.Is(err, session.ErrNoTransaction):
		refused = errGone
		way.Lost(refused)
	case errors.Is(err, session.ErrCSRF):
		refused = errForm
	case !errors.As(err, &refused):
		httpd.Note(r.Context(), "error", err.Error())
		refused = oauth.TemporarilyUnavailable()
	}
	httpd.Note(r.Context(), "refused", refused.Code)
	d.ErrorPage(w, r, refused)
}

// form parses a form and checks its CSRF token before it calls h.
func (d *Handler) form(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				d.ErrorPage(w, r, told(&oauth.Error{Code: "invalid_request", Status: http.StatusRequestEntityTooLarge,
					Description: "The form is too large. Go back and write less."}))
				return
			}
			d.ErrorPage(w, r,
				invalid("The form cannot be read. Go back, load the page again and repeat it."))
			return
		}
		if err := d.Sessions.CheckCSRF(r, r.PostForm.Get("csrf")); err != nil {
			d.fail(w, r, err)
			return
		}
		h(w, r)
	}
}

// visitor is the signed-in account of a browser, and when it signed in.
type visitor struct {
	user.User
	signedIn time.Time
}

// someone returns the visitor as package issuer describes people.
func (v visitor) someone() issuer.SignedIn {
	return issuer.SignedIn{UserID: v.ID, SignedInAt: v.signedIn}
}

// who returns the signed-in account, or session.ErrNobody, also when the account was disabled or
// the session ended since.
func (d *Handler) who(r *http.Request) (visitor, error) {
	s, err := d.Sessions.Who(r)
	if err != nil {
		return visitor{}, err
	}
	u, err := d.Users.User(r.Context(), s.UserID)
	if errors.Is(err, user.ErrNotFound) || err == nil && (u.Disabled || u.SessionsEnded != s.Ended) {
		return visitor{}, session.ErrNobody
	}
	if err == nil {
		httpd.Note(r.Context(), "user", u.ID)
	}
	return visitor{u, s.SignedInAt}, err
}

// person returns the signed-in account; without one it redirects to sign-in and ok is false.
func (d *Handler) person(w http.ResponseWriter, r *http.Request) (u visitor, ok bool) {
	return d.personAt(w, r, "/signin")
}

// personFor is person for an authorization request, which may require a recent sign-in (OpenID
// Connect Core §3.1.2.1).
func (d *Handler) personFor(w http.ResponseWriter, r *http.Request, id string, t session.Transaction) (u visitor,
	ok bool) {
	if u, ok = d.personAt(w, r, "/signin"+query(id)); ok && !lately(u, t) {
		seeOther(w, "/signin"+query(id))
		return u, false
	}
	return u, ok
}

// lately reports whether the sign-in is as recent as the authorization request requires. An invalid
// max_age is rejected elsewhere.
func lately(u visitor, t session.Transaction) bool {
	p, err := issuer.ParsePrompt(t.Form)
	return err != nil || p.Fresh(u.signedIn, t.Began)
}

// personAt is person with the URL of the sign-in page.
func (d *Handler) personAt(w http.ResponseWriter, r *http.Request, signIn string) (u visitor, ok bool) {
	u, err := d.who(r)
	if errors.Is(err, session.ErrNobody) {
		seeOther(w, signIn)
		return u, false
	}
	if err != nil {
		d.fail(w, r, err)
		return u, false
	}
	return u, true
}

func query(transaction string) string {
	if transaction == "" {
		return ""
	}
	return "?tx=" + url.QueryEscape(transaction)
}

// seeOther redirects with 303.
func seeOther(w http.ResponseWriter, to string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

func (d *Handler) show(w http.ResponseWriter, r *http.Request, status int, p web.Page) {
	if err := web.Write(w, status, p); err != nil {
		httpd.Note(r.Context(), "error", err.Error())
	}
}
