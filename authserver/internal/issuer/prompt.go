package issuer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Prompt says how a request wants the person to be asked (OpenID Connect Core section 3.1.2.1):
// with no page at all, or after a recent sign-in.
type Prompt struct {
	None   bool          // no page may be shown
	MaxAge time.Duration // how old the sign-in may be at the time of the request; negative: any age
}

// maxAge bounds max_age.
const maxAge = 100 * 365 * 24 * time.Hour

// ParsePrompt reads prompt and max_age. "login" and "select_account" both mean a new sign-in;
// "consent" changes nothing, because people are asked each time. Other values are ignored.
func ParsePrompt(form url.Values) (Prompt, error) {
	p := Prompt{MaxAge: -1}
	if form.Has("max_age") {
		digits := form.Get("max_age")
		if digits == "" || strings.Trim(digits, "0123456789") != "" {
			return p, oauth.InvalidRequest("max_age is not a number of seconds")
		}
		seconds, err := strconv.ParseInt(digits, 10, 64)
		if err != nil { // out of range
			seconds = math.MaxInt64
		}
		p.MaxAge = time.Duration(min(seconds, int64(maxAge/time.Second))) * time.Second
	}
	asked := strings.Fields(form.Get("prompt"))
	p.None = slices.Contains(asked, "none")
	if p.None && len(asked) > 1 {
		return p, oauth.InvalidRequest("prompt=none goes with no other value")
	}
	if slices.Contains(asked, "login") || slices.Contains(asked, "select_account") {
		p.MaxAge = 0
	}
	return p, nil
}

// Fresh reports whether a sign-in is recent enough for a request of the time asked.
func (p Prompt) Fresh(signedIn, asked time.Time) bool {
	return p.MaxAge < 0 || !signedIn.Before(asked.Add(-p.MaxAge))
}

// promptError is the error for prompt=none when a page is needed (OpenID Connect Core section
// 3.1.2.6).
func promptError(code, description string) *oauth.Error {
	return &oauth.Error{Code: code, Description: description, Status: http.StatusBadRequest}
}

// SignedIn is the person who has signed in at a browser.
type SignedIn struct {
	UserID     string
	SignedInAt time.Time
}

// Silent answers a request with prompt=none and returns the URL to redirect to: with a code when
// this person has allowed the client all requested scopes before, and with an error otherwise.
// Only clients that the operator made and that authenticate get a code: of others it is not
// certain who is asking now (RFC 8252 section 8.6), and what a client changed of itself since was
// never consented to. No person: the zero SignedIn.
func (e *Engine) Silent(ctx context.Context, form url.Values, someone SignedIn) (string, error) {
	a, err := e.Authorize(ctx, form)
	if err != nil {
		return "", err
	}
	if someone.UserID == "" || !a.Prompt.Fresh(someone.SignedInAt, e.Now()) {
		return "", e.refuse(ctx, a,
			promptError("login_required", "no one has signed in here recently, and prompt=none shows no page"))
	}
	if hint := form.Get("id_token_hint"); hint != "" {
		if userID, _, err := e.Hint(hint); err != nil || userID != someone.UserID {
			return "", e.refuse(ctx, a,
				promptError("login_required", "another person has signed in here than the id_token_hint names"))
		}
	}
	before, err := e.earlierGrant(ctx, a, someone.UserID)
	if err != nil {
		return "", err
	}
	if err := e.checkAge(ctx, a, before); err != nil {
		return "", err
	}
	consent := Consent{SignedIn: someone, TenantID: before.TenantID, Scopes: a.Scopes, origin: before.ID}
	offered, err := e.offered(ctx, a, consent)
	var refused *oauth.Error
	if err != nil && !errors.As(err, &refused) {
		return "", err
	}
	if refused != nil && refused.Code == "access_denied" { // by the tenant's policy
		return "", err
	}
	if err != nil || !oauth.Subset(a.Scopes, offered) {
		return "", e.refuse(ctx, a,
			promptError("consent_required", "the person may not allow any more what they allowed before"))
	}
	to, err := e.Approve(ctx, form, consent)
	if errors.Is(err, ErrSpent) { // revoked in the meantime
		return "", e.refuse(ctx, a, promptError("consent_required", "what the person allowed before has been revoked"))
	}
	return to, err
}

// checkAge refuses a grant that is older than the tenant's policy lets it be renewed.
func (e *Engine) checkAge(ctx context.Context, a *Authorization, before grant.Grant) error {
	t, err := e.Tenants.Tenant(ctx, before.TenantID)
	if err != nil {
		return fmt.Errorf("load tenant: %w", err)
	}
	if t.MaxRefreshTokenLifetime > 0 && !e.now().Before(before.CreatedAt.Add(t.MaxRefreshTokenLifetime)) {
		return e.refuse(ctx, a, promptError("consent_required", overdue(t.Policy)))
	}
	return nil
}

// earlierGrant finds a grant of the requested scopes that the person made on the consent page, in
// the one tenant that has such a grant.
func (e *Engine) earlierGrant(ctx context.Context, a *Authorization, userID string) (grant.Grant, error) {
	none := e.refuse(ctx, a, promptError("consent_required", "the person has to agree, and prompt=none shows no page"))
	if a.Client.AuthMethod == client.AuthNone || a.Client.Origin != client.OriginOperator {
		return grant.Grant{}, none
	}
	alive, err := e.Grants.Grants(ctx, grant.Filter{UserID: userID, ClientID: a.Client.ID, Resource: a.Resource.URI,
		Active: true, Consented: true})
	if err != nil {
		return grant.Grant{}, fmt.Errorf("load a person's grants: %w", err)
	}
	var found []grant.Grant
	for _, g := range alive {
		if g.AssertedBy == "" && oauth.Subset(a.Scopes, g.Scopes) &&
			!slices.ContainsFunc(found, func(f grant.Grant) bool { return f.TenantID == g.TenantID }) {
			found = append(found, g)
		}
	}
	switch len(found) {
	case 0:
		return grant.Grant{}, none
	case 1:
		return found[0], nil
	}
	return grant.Grant{},
		e.refuse(ctx, a,
			promptError("interaction_required",
				"the person allowed the application for several organisations, and must choose"))
}
