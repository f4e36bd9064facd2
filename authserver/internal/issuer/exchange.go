package issuer

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer/fositeadapter"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// exchange is the state of one token request. What only one grant type has is in its grantFlow.
type exchange struct {
	engine    *Engine
	client    client.Client
	grantType string
	form      url.Values
	proof     *dpop.Proof // of the client's key; nil: none
	now       time.Time
	relaxed   []string
	trace     Trace
	action    string // of the audit event; empty: token.issue

	// Set by the grant flow.
	grant    grant.Grant
	resource Resource
	policy   *tenant.Policy // nil: not asked for yet
	scopes   []string       // of the access token
	openid   bool           // an ID token goes with it
	nonce    string         // of the ID token
	// notAfter is when the presented token expires, in Unix seconds: the new one expires then at
	// the latest. 0: it does not matter.
	notAfter   int64
	actor      *token.Actor // who acts for the subject (RFC 8693 section 4.1)
	issuedType string       // issued_token_type (RFC 8693 section 2.2.1)
	renewable  bool         // a refresh token goes with it

	// Set when they are made.
	tokenID, accessToken, refreshToken, idToken string
}

// relax notes a relaxation that this request needed.
func (x *exchange) relax(name string) {
	if name != "" {
		x.relaxed = append(x.relaxed, name)
	}
}

// request is this token request for fosite, without what is of codes.
func (x *exchange) request() fositeadapter.Request {
	return fositeadapter.Request{
		GrantID: x.grant.ID, ClientID: x.client.ID, Public: x.client.AuthMethod == client.AuthNone,
		RefreshToken: slices.Contains(x.client.GrantTypes, client.GrantRefresh), Resource: x.resource.URI,
		Offered: append(x.resource.ScopeNames(), IdentityScopes()...), Scopes: x.scopes,
	}
}

// event is the audit event of the tokens of this request. Its target is the access token's jti.
func (x *exchange) event() audit.Event {
	action := x.action
	if action == "" {
		action = "token.issue"
	}
	return audit.Event{
		Time: x.now, Actor: "client:" + x.client.ID, Action: action, Target: x.tokenID, Tenant: x.grant.TenantID,
		Client: x.client.ID, Grant: x.grant.ID,
		Detail: x.grantType + ": " + oauth.FormatScope(x.scopes) + " for " + x.resource.URI,
	}
}

// recorded says of which step an error of the audit log is.
func (x *exchange) recorded(err error) error {
	if err != nil {
		return fmt.Errorf("write the audit event of a token: %w", err)
	}
	return nil
}

// reused revokes the grant of a code or refresh token that was used before (RFC 9700 section
// 4.14.2), once the client, its key and a new proof of that are verified. A grant that is revoked
// already is refused by checkGrant.
func (x *exchange) reused(ctx context.Context, description string) error {
	if x.grant.Revoked() {
		return nil
	}
	if err := x.engine.useProof(ctx, x.owner(), x.proof); err != nil {
		return err
	}
	if err := x.engine.Ledger.Revoke(ctx, grant.Actor("client:"+x.client.ID), x.grant.ID,
		grant.ReasonReuse); err != nil {
		return fmt.Errorf("revoke the grant of a reused token: %w", err)
	}
	return oauth.InvalidGrant(description + " Begin a new authorization.")
}

// errSuspended is the error for a suspended grant. It is not invalid_grant, at which clients throw
// away a refresh token that works again when the operator resumes the client or tenant.
var errSuspended = &oauth.Error{Code: "access_denied", Status: http.StatusBadRequest,
	Description: "the organisation of this permission is suspended, or its client disabled; try again when its " +
		"administrator says so"}

// checkGrant checks the presented grant against today's rules: it is not revoked, its resource is
// still served and the one that is requested, and its scopes are still allowed by tenant and role.
// Scopes that are not are left out of the token.
func (x *exchange) checkGrant(ctx context.Context) error {
	if x.grant.Suspended && !x.grant.Revoked() {
		return errSuspended
	}
	if x.engine.revoked(x.grant) {
		return oauth.InvalidGrant("this permission has been revoked or has expired; ask the person again")
	}
	resource, ok := x.engine.Resource(x.grant.Resource)
	if !ok {
		return oauth.InvalidGrant("the resource of this permission is no longer served here; ask the person for " +
			"another")
	}
	x.openid = slices.Contains(x.grant.Scopes, ScopeOpenID)
	if named, _, ok := x.engine.named(x.form.Get("resource")); x.openid && ok && len(x.form["resource"]) == 1 &&
		named.URI == x.engine.identity.URI {
		resource = x.engine.identity // the same permission, for the userinfo endpoint (RFC 8707 section 2.2)
	}
	x.resource = resource
	relaxed, err := checkTarget(x.form, resource)
	if err != nil {
		return err
	}
	x.relax(relaxed)
	allowed, err := x.allow(ctx, Holder{x.grant.TenantID, x.grant.UserID})
	if err != nil {
		return err
	}
	x.scopes = oauth.Intersect(x.grant.Scopes, append(allowed, IdentityScopes()...), resource.ScopeNames())
	if len(x.scopes) == 0 {
		return oauth.InvalidGrant("none of this permission's scopes is allowed any more; ask the person again")
	}
	return nil
}

// narrow applies the scope parameter to the scopes of the token, which must be within the grant
// (RFC 6749 section 6). It does not narrow the grant.
func (x *exchange) narrow() error {
	requested, err := x.requested()
	if err != nil {
		return err
	}
	if len(requested) == 0 {
		return nil
	}
	if !oauth.Subset(requested, x.grant.Scopes) {
		return oauth.InvalidScope("the scope is wider than the permission: " + oauth.FormatScope(x.grant.Scopes) +
			" was granted")
	}
	x.openid = x.openid && slices.Contains(requested, ScopeOpenID)
	x.scopes = oauth.Intersect(requested, x.scopes)
	if len(x.scopes) == 0 {
		return oauth.InvalidScope("none of these scopes is allowed any more; ask for others, or the person again")
	}
	return nil
}

// requested reads the scope parameter (see Engine.asked).
func (x *exchange) requested() ([]string, error) {
	scopes, relaxed, err := x.engine.requested(x.form, x.resource)
	x.relax(relaxed)
	return scopes, err
}

// setTarget sets the resource that the request names, or the default one.
func (x *exchange) setTarget() error {
	resource, relaxed, err := x.engine.target(x.form)
	x.resource = resource
	x.relax(relaxed)
	return err
}
