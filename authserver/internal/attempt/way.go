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

// Way is what one request has to do with a client's way in. It is filled as the request goes, as
// the request's log event is, and travels with it in the same manner; what is to be kept of it is
// found out at the end.
type Way struct {
	step            Step
	source, program string
	support         string

	client, name string
	tenant, user string
	grant        string
	redirect     string // that was asked for, as it came: made bare when something is kept
	resource     string
	bare, unread bool
	machine      bool // the client acts for no person
	// what names it to every request that has to do with it: a PKCE challenge, or a device's code.
	// It is kept as part of a hash alone
	attempt          string
	again            bool // it came with something that was used before
	err              error
	lost             bool // its own request is not to be found, and so its client neither
	finished, silent bool
}

type wayKey struct{}

// Request is where a request comes from.
type Request struct {
	Step    Step
	Source  string // as httpd.Source has it
	Program string // the first product of its User-Agent; empty for a browser's
	Support string
}

// Follow begins a request's way.
func Follow(ctx context.Context, r Request) (context.Context, *Way) {
	w := &Way{step: r.Step, source: r.Source, program: r.Program, support: r.Support}
	return context.WithValue(ctx, wayKey{}, w), w
}

// On is the way of this request. Where none is followed, what it is told is forgotten.
func On(ctx context.Context) *Way {
	if w, ok := ctx.Value(wayKey{}).(*Way); ok {
		return w
	}
	return &Way{}
}

// Client says who asks. name may be empty.
func (w *Way) Client(id, name string) { w.client, w.name = id, name }

// Asks takes from a request's parameters what may be kept. What is there already stays.
func (w *Way) Asks(form url.Values) {
	if id := form.Get("client_id"); id != "" {
		w.client = id
	}
	w.redirect, w.resource, w.bare = form.Get("redirect_uri"), form.Get("resource"), !form.Has("resource")
	w.attempt = form.Get("code_challenge")
}

// Unread says that the client's own document has not been read yet: anybody can name any.
func (w *Way) Unread(yes bool) { w.unread = yes }

// Machine says that the client acts for no person (client_credentials).
func (w *Way) Machine() { w.machine = true }

// For says for whom it would act. Empty values change nothing.
func (w *Way) For(tenant, user string) {
	if tenant != "" {
		w.tenant = tenant
	}
	if user != "" {
		w.user = user
	}
}

// Attempt names the attempt, by something that all of its requests know.
func (w *Way) Attempt(name string) { w.attempt = name }

// Grant names the permission that the request is about; again says that what it brought was used
// before.
func (w *Way) Grant(id string, again bool) { w.grant, w.again = id, again }

// Reached says that the request came further than its endpoint's first step.
func (w *Way) Reached(s Step) { w.step = s }

// Finish says that the client got its token.
func (w *Way) Finish() { w.step, w.finished = Token, true }

// Lost refuses a page's request whose authorization request is not to be found: nobody knows whose
// it was.
func (w *Way) Lost(err error) { w.lost, w.err = true, err }

// Silence says that nothing is to be kept of a request that succeeds.
func (w *Way) Silence() { w.silent = true }

// Refuse says why the request was refused. The last word counts.
func (w *Way) Refuse(err error) { w.err = err }

// passing are refusals that are a part of the way: who gets them tries again at once.
var passing = map[string]bool{"use_dpop_nonce": true, "authorization_pending": true, "slow_down": true}

// Entry is what is to be kept of the request; ok is false when that is nothing.
func (w *Way) Entry(now time.Time) (e Entry, ok bool) {
	if w.err == nil && (w.silent || w.client == "" && w.step > Registration) { // most requests: they pay for nothing
		return Entry{}, false
	}
	now = now.UTC().Truncate(time.Second)
	w.program, w.redirect, w.resource = clean(w.program), bareURL(w.redirect), bareURL(w.resource)
	r := Record{
		Client: clean(w.client), ClientName: clean(w.name), Program: w.program, Source: w.source,
		Tenant: clean(w.tenant), User: w.user, Resource: w.resource,
		StartedAt: now, UpdatedAt: now, Step: w.step, Outcome: Open, Bare: w.bare && w.step >= Authorize &&
			w.step < Code, Stranger: w.client == "" || w.unread,
	}
	kind := ""
	var refused *oauth.Error
	switch {
	case w.client == "" && (w.step == SignIn || w.step == Consent) && !w.lost: // somebody on their own account
		return Entry{}, false
	case w.err != nil:
		if errors.As(w.err, &refused) && passing[refused.Code] {
			return Entry{}, false
		}
		if w.step == Code && refused != nil && refused.Code == "access_denied" {
			// what a device's person said is told to who asks for the token
			w.step = Consent
			r.Step = Consent
		}
		r.Outcome, r.Refusals, r.Support = Failed, 1, w.support
		r.Reason, kind = w.explain()
		r.Stranger = r.Stranger || isStranger(w.err)
	case w.finished:
		r.Outcome = Done
	}
	r.ID = w.id(now, kind)
	return Entry{Record: r, Begins: w.step == Registration || w.step == Authorize}, true
}

// id names the record. What is one attempt gets one name, at whichever replica; what strangers can
// repeat at will, with something else in it each time, does not get another each time.
func (w *Way) id(now time.Time, kind string) string {
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

// named is an id of a record: it cannot be guessed back to what it is made of, as far as that was
// random.
func named(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return "con_" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}
