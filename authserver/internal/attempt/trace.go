package attempt

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Trace is what one request contributes to an attempt. Handlers fill it while the request is
// served, as they fill the log event; Entry decides at the end what is stored.
type Trace struct {
	step            Step
	source, program string
	support         string

	client, name string
	tenant, user string
	grant        string
	redirect     string // redirect_uri as it was sent; reduced by bareURL before it is stored
	resource     string
	bare, unread bool
	machine      bool // the client acts for no person
	// what all requests of the attempt share: a PKCE challenge or a device code. Only a hash of it
	// is stored.
	attempt          string
	again            bool // the code or refresh token was used before
	err              error
	lost             bool // the authorization request was not found, and so its client is not known
	finished, silent bool
}

type wayKey struct{}

// Request is the origin of a request.
type Request struct {
	Step    Step
	Source  string // as in httpd.Source
	Program string // first product of the User-Agent; empty for a browser
	Support string
}

// Start begins the trace of a request.
func Start(ctx context.Context, r Request) (context.Context, *Trace) {
	w := &Trace{step: r.Step, source: r.Source, program: r.Program, support: r.Support}
	return context.WithValue(ctx, wayKey{}, w), w
}

// FromContext returns the trace of this request. Without one, it returns a trace that is discarded.
func FromContext(ctx context.Context) *Trace {
	if w, ok := ctx.Value(wayKey{}).(*Trace); ok {
		return w
	}
	return &Trace{}
}

// Client sets the client; name may be empty.
func (w *Trace) Client(id, name string) { w.client, w.name = id, name }

// SetParameters records the parameters that may be stored. Values that are set already stay.
func (w *Trace) SetParameters(form url.Values) {
	if id := form.Get("client_id"); id != "" {
		w.client = id
	}
	w.redirect, w.resource, w.bare = form.Get("redirect_uri"), form.Get("resource"), !form.Has("resource")
	w.attempt = form.Get("code_challenge")
}

// SetUnread says that the client's metadata document has not been fetched yet, so that its id
// proves nothing.
func (w *Trace) SetUnread(yes bool) { w.unread = yes }

// Machine says that the client acts for no person (client_credentials).
func (w *Trace) Machine() { w.machine = true }

// For sets tenant and user. Empty values change nothing.
func (w *Trace) For(tenant, user string) {
	if tenant != "" {
		w.tenant = tenant
	}
	if user != "" {
		w.user = user
	}
}

// Attempt names the attempt by something that all of its requests share.
func (w *Trace) Attempt(name string) { w.attempt = name }

// Grant sets the grant; again says that the code or refresh token was used before.
func (w *Trace) Grant(id string, again bool) { w.grant, w.again = id, again }

// Reached says that the request came further than the first step of its endpoint.
func (w *Trace) Reached(s Step) { w.step = s }

// Finish says that the client got its token.
func (w *Trace) Finish() { w.step, w.finished = Token, true }

// Lost rejects a page's request whose authorization request was not found, so that its client is
// not known.
func (w *Trace) Lost(err error) { w.lost, w.err = true, err }

// Silence says that nothing is stored when the request succeeds.
func (w *Trace) Silence() { w.silent = true }

// Refuse sets why the request was rejected. The last call counts.
func (w *Trace) Refuse(err error) { w.err = err }

// passing are errors that are part of the protocol: the client repeats its request at once.
var passing = map[string]bool{"use_dpop_nonce": true, "authorization_pending": true, "slow_down": true}

// Entry returns what is stored of the request; ok is false when that is nothing.
func (w *Trace) Entry(now time.Time) (e Entry, ok bool) {
	if w.err == nil && (w.silent || w.client == "" && w.step > Registration) {
		// most requests; nothing is computed for them
		return Entry{}, false
	}
	now = now.UTC().Truncate(time.Second)
	w.program, w.redirect, w.resource = clean(w.program), bareURL(w.redirect), bareURL(w.resource)
	r := Attempt{
		Client: clean(w.client), ClientName: clean(w.name), Program: w.program, Source: w.source,
		Tenant: clean(w.tenant), User: w.user, Resource: w.resource,
		StartedAt: now, UpdatedAt: now, Step: w.step, Outcome: Open, NoResource: w.bare && w.step >= Authorize &&
			w.step < Code, Unknown: w.client == "" || w.unread,
	}
	kind := ""
	var refused *oauth.Error
	switch {
	case w.client == "" && (w.step == SignIn || w.step == Consent) && !w.lost: // a person at their own account
		return Entry{}, false
	case w.err != nil:
		if errors.As(w.err, &refused) && passing[refused.Code] {
			return Entry{}, false
		}
		if w.step == Code && refused != nil && refused.Code == "access_denied" {
			// the client that polls for the token is told what the person answered
			w.step = Consent
			r.Step = Consent
		}
		r.Outcome, r.Refusals, r.Support = Failed, 1, w.support
		r.Reason, kind = w.explain()
		r.Unknown = r.Unknown || isStranger(w.err)
	case w.finished:
		r.Outcome = Done
	}
	r.ID = w.id(now, kind)
	return Entry{Attempt: r, Begins: w.step == Registration || w.step == Authorize}, true
}

// id returns the id of the record. One attempt gets one id at every replica, and values that anyone
// can vary freely do not make new ids.
func (w *Trace) id(now time.Time, kind string) string {
	window, day := strconv.FormatInt(now.Unix()/int64(Window/time.Second), 10), now.Format(time.DateOnly)
	switch {
	case w.client == "":
		return named("source", w.source, w.program, window)
	case w.attempt != "" && w.again:
		return named("again", w.client, w.attempt)
	case w.attempt != "":
		return named("attempt", w.client, w.attempt)
	case w.step <= Registration:
		return named("registration", w.client)
	case w.step < Code:
		return named("client", w.client, w.source, window)
	case w.grant != "":
		return named("refused", w.client, w.grant, kind, day)
	}
	return named("refused", w.client, w.source, kind, day)
}

// named derives an id by hashing, so that its parts cannot be recovered as far as they are random.
func named(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return "con_" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}
