package pages

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/web"
)

// showDevice asks for the code that a device shows (RFC 8628 §3.3), and then for consent. A code in
// the URL is shown for comparison and never accepted unseen (§5.4).
func (d *Handler) showDevice(w http.ResponseWriter, r *http.Request) {
	typed := r.URL.Query().Get("user_code")
	code := issuer.NormalizeUserCode(typed)
	u, ok := d.personAt(w, r, "/signin?device="+code)
	if !ok {
		return
	}
	if typed == "" {
		d.show(w, r, http.StatusOK, web.Device{Person: u.Email})
		return
	}
	if !d.mayTryCode(w, r, u.User) {
		return
	}
	a, err := d.Engine.DeviceRequest(r.Context(), code)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.Codes.Return(r.Context(), u.ID)
	d.ask(w, r, u.User, a, web.Request{Action: "/device", UserCode: code})
}

// decideDevice carries out the person's answer to a device.
func (d *Handler) decideDevice(w http.ResponseWriter, r *http.Request) {
	form := r.PostForm
	code := issuer.NormalizeUserCode(form.Get("user_code"))
	u, ok := d.personAt(w, r, "/signin?device="+code)
	if !ok {
		return
	}
	if !d.mayTryCode(w, r, u.User) {
		return
	}
	var consent *issuer.Consent
	switch form.Get("decision") {
	case "approve":
		consent = &issuer.Consent{SignedIn: u.someone(), TenantID: form.Get("tenant"), Scopes: form["scope"]}
	case "deny":
	default:
		d.ErrorPage(w, r,
			invalid("The form says neither yes nor no. Go back and press one of the buttons."))
		return
	}
	err := d.Engine.DecideDevice(r.Context(), code, u.someone(), consent)
	if errors.Is(err, issuer.ErrNothingAllowed) {
		seeOther(w, "/device?"+url.Values{"user_code": {code}, "tenant": {form.Get("tenant")},
			"nothing": {"1"}}.Encode())
		return
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.Codes.Return(r.Context(), u.ID)
	httpd.Note(r.Context(), "decision", form.Get("decision"))
	seeOther(w, "/device/done")
}

// mayTryCode counts a code that a person typed or answered, because 34 bits could be guessed with
// many tries (RFC 8628 §5.1). A code that exists is not counted.
func (d *Handler) mayTryCode(w http.ResponseWriter, r *http.Request, u user.User) bool {
	ok, wait := d.Codes.Allow(r.Context(), u.ID)
	if !ok {
		d.fail(w, r, oauth.TooManyRequests(wait))
	}
	return ok
}

// deviceDone says that a device was answered.
func (d *Handler) deviceDone(w http.ResponseWriter, r *http.Request) {
	d.show(w, r, http.StatusOK, web.Done{})
}
