package pages

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/session"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
	"github.com/gatehouse-mcp/gatehouse/web"
)

// home redirects to the connected agents.
func (d *Handler) home(w http.ResponseWriter, _ *http.Request) { seeOther(w, "/agents") }

// showSignIn shows the sign-in page.
func (d *Handler) showSignIn(w http.ResponseWriter, r *http.Request) {
	transaction, device := r.URL.Query().Get("tx"), deviceOf(r.URL.Query())
	u, err := d.who(r)
	switch {
	case err != nil && !errors.Is(err, session.ErrNobody):
		d.fail(w, r, err)
		return
	case err == nil && !d.again(r, u, transaction):
		seeOther(w, after(transaction, device))
		return
	}
	d.showSignInForm(w, r, http.StatusOK, web.SignIn{Transaction: transaction, Device: device})
}

// again reports whether a signed-in person must sign in again for the request.
func (d *Handler) again(r *http.Request, u visitor, transaction string) bool {
	t, err := d.Sessions.Transaction(r, transaction)
	return err == nil && !lately(u, t)
}

// deviceOf returns the device code in the form: "" for none, "-" for the page that asks for one.
func deviceOf(form url.Values) string {
	if !form.Has("device") {
		return ""
	}
	if code := issuer.NormalizeUserCode(form.Get("device")); code != "" {
		return code
	}
	return "-"
}

// showSignInForm shows the sign-in page with the client's name. A missing transaction is reported
// before a password is typed.
func (d *Handler) showSignInForm(w http.ResponseWriter, r *http.Request, status int, p web.SignIn) {
	if p.Transaction != "" {
		t, err := d.Sessions.Transaction(r, p.Transaction)
		if err != nil {
			d.fail(w, r, err)
			return
		}
		attempt.FromContext(r.Context()).SetParameters(t.Form)
		if p.Client, err = d.asking(r, t.Form); err != nil {
			d.fail(w, r, err)
			return
		}
		if p.Email == "" {
			p.Email = text.Line(t.Form.Get("login_hint"), 0)
		}
	}
	p.CSRF = d.Sessions.CSRF(w, r)
	d.show(w, r, status, p)
}

// asking returns the client's name. A metadata document is not fetched before sign-in; until then
// its URL is shown.
func (d *Handler) asking(r *http.Request, form url.Values) (string, error) {
	if deferred, _ := d.Engine.Deferred(form); deferred {
		return form.Get("client_id"), nil
	}
	a, err := d.Engine.Authorize(r.Context(), form)
	if err != nil {
		return "", err
	}
	return clientName(a.Client), nil
}

// after returns where to redirect after sign-in.
func after(transaction, device string) string {
	switch device {
	case "":
	case "-":
		return "/device"
	default:
		return "/device?user_code=" + device
	}
	if transaction == "" {
		return "/agents"
	}
	return "/consent" + query(transaction)
}

// The one answer to every failed sign-in, which does not reveal which accounts exist.
const wrong = "This e-mail address and password do not belong together. Check both and try again."

// signIn signs a person in.
func (d *Handler) signIn(w http.ResponseWriter, r *http.Request) {
	form := r.PostForm
	transaction, password, device := form.Get("tx"), form.Get("password"), ""
	if form.Get("device") != "" {
		device = deviceOf(form)
	}
	if len(password) > user.MaxPassword {
		d.ErrorPage(w, r,
			invalid("A password has at most 1024 characters. Go back and type a shorter one."))
		return
	}
	email, err := user.Normalize(form.Get("email"))
	if err != nil {
		email = "" // treated like an account that does not exist
	}
	u, err := d.Users.UserByEmail(r.Context(), email)
	if err != nil && !errors.Is(err, user.ErrNotFound) {
		d.fail(w, r, err)
		return
	}
	// Counters are kept by user id: a later user of a deleted person's address begins anew.
	account := cmp.Or(u.ID, email)
	tries := d.tries(r, account)
	if wait, ok := count(r.Context(), tries); !ok {
		httpd.RetryAfter(w, wait)
		httpd.Note(r.Context(), "refused", "too many sign-in attempts")
		d.Engine.Refuse(r.Context(), client.Client{}, audit.Event{Action: actSignIn, Detail: "too many tries"})
		attempt.FromContext(r.Context()).Refuse(attempt.ErrLocked)
		d.showSignInForm(w, r, http.StatusTooManyRequests, web.SignIn{
			Transaction: transaction, Device: device, Email: form.Get("email"),
			Problem: "There were too many tries. Wait " + minutes(wait) + " and try again.",
		})
		return
	}
	fits, err := user.CheckPassword(r.Context(), u.PasswordHash, password)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	if !fits || u.Disabled {
		httpd.Note(r.Context(), "refused", "sign-in")
		// A typed address may be a password: the record names an existing account, or none.
		e := audit.Event{Action: actSignIn, Target: u.ID, Detail: notSignedIn(u, fits)}
		// The source is encrypted under the person's key, which is looked up in vain for an unknown
		// account, so that both take as long.
		from, err := d.Personal.Seal(r.Context(), d.Users, u.ID, httpd.ClientAddr(r.Context()).String())
		if err != nil {
			d.fail(w, r, err)
			return
		}
		if u.ID != "" {
			e.Actor = "address:" + from
		}
		d.Engine.Refuse(r.Context(), client.Client{}, e)
		attempt.FromContext(r.Context()).Refuse(attempt.ErrSignIn)
		d.showSignInForm(w, r, http.StatusForbidden, web.SignIn{Transaction: transaction, Device: device,
			Email: form.Get("email"), Problem: wrong})
		return
	}
	takeBack(r.Context(), tries)
	if err := d.record(r, u.ID, actSignIn); err != nil {
		d.fail(w, r, err)
		return
	}
	if err := d.Sessions.Know(w, r, account, httpd.Source(r.Context())); err != nil {
		d.fail(w, r, err)
		return
	}
	if err := d.Sessions.SignIn(w, r, u.ID, u.SessionsEnded); err != nil {
		d.fail(w, r, err)
		return
	}
	httpd.Note(r.Context(), "user", u.ID)
	seeOther(w, after(transaction, device))
}

// The actions of audit records.
const (
	actSignIn  = "user.sign_in"
	actSignOut = "user.sign_out"
)

// record writes the audit record of what a person does here, before it is done.
func (d *Handler) record(r *http.Request, userID, action string) error {
	from, err := d.Personal.Seal(r.Context(), d.Users, userID, "from "+httpd.ClientAddr(r.Context()).String())
	if err != nil {
		return err
	}
	e := audit.Event{Time: d.Sessions.Now().UTC().Truncate(time.Second), Actor: "user:" + userID, Action: action,
		Target: userID, Detail: from}
	if err := d.Engine.Audit.Record(r.Context(), e); err != nil {
		return fmt.Errorf("writing the audit line of %s: %w", action, err)
	}
	return nil
}

func notSignedIn(u user.User, fits bool) string {
	switch {
	case u.ID == "":
		return "no such account"
	case fits:
		return "the account is disabled"
	}
	return "another password"
}

// signOut signs a person out.
func (d *Handler) signOut(w http.ResponseWriter, r *http.Request) {
	to, err := d.afterwards(r.Context(), r.PostForm) // before: an invalid request must not be half done
	if err != nil {
		d.fail(w, r, err)
		return
	}
	u, err := d.who(r)
	if err == nil {
		err = d.record(r, u.ID, actSignOut)
	}
	if err != nil && !errors.Is(err, session.ErrNobody) {
		d.fail(w, r, err)
		return
	}
	if err := d.Sessions.SignOut(w, r); err != nil {
		d.fail(w, r, err)
		return
	}
	if to == "" {
		to = "/signin" + query(r.PostForm.Get("tx"))
	}
	seeOther(w, to)
}
