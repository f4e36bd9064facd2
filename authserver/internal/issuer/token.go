package issuer

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// TokenRequest is a token request (RFC 6749 section 3.2) of an authenticated client.
type TokenRequest struct {
	Client    client.Client
	GrantType GrantType
	Form      url.Values  // no parameter is repeated but resource
	Proof     *dpop.Proof // verified, and not used up yet; nil: none
}

// Tokens is a successful token response (RFC 6749 section 5.1).
type Tokens struct {
	AccessToken  string
	Type         string // Bearer, or DPoP when it is bound to a key (RFC 9449 section 5)
	RefreshToken string // empty: none
	IDToken      string // empty: openid was not granted
	IssuedType   string // issued_token_type of RFC 8693; empty for the other grant types
	ExpiresIn    time.Duration
	Scopes       []string
	GrantID      string
	Relaxed      []string // names of the relaxations that the request needed
}

// Trace says what a token request is about, for the log of attempts. What was not found is empty.
type Trace struct {
	GrantID, TenantID, UserID string
	Challenge                 string // of the presented code
	Used                      bool   // the presented code was used before
}

// Token answers a token request. It owns the order of the steps; a grant type fills in its own
// parts (see grantFlow): the checks that all share, what the request presents, the tenant's policy,
// the DPoP proof, single use, fosite, signing, and storing with the audit event. An error that the
// client may see is an *oauth.Error; then nothing is used up, except that a code or refresh token
// which is used a second time revokes its grant. The trace is set on an error, too.
func (e *Engine) Token(ctx context.Context, r TokenRequest) (Tokens, Trace, error) {
	x := &exchange{engine: e, client: r.Client, form: r.Form, proof: r.Proof, now: e.now(),
		grantType: r.GrantType.name}
	tokens, err := x.run(ctx, r.GrantType.new())
	x.trace.GrantID, x.trace.TenantID, x.trace.UserID = x.grant.ID, x.grant.TenantID, x.grant.UserID
	if err != nil {
		e.Refused(ctx, r.Client, audit.Event{Action: "token.issue", Tenant: x.grant.TenantID, Grant: x.grant.ID,
			Detail: x.grantType}, err)
	}
	return tokens, x.trace, err
}

// run takes the steps of a token request in their order.
func (x *exchange) run(ctx context.Context, flow grantFlow) (Tokens, error) {
	if err := x.checkClient(); err != nil {
		return Tokens{}, err
	}
	if err := flow.load(ctx, x); err != nil {
		return Tokens{}, err
	}
	if err := flow.authorize(ctx, x); err != nil {
		return Tokens{}, err
	}
	if x.policy == nil {
		return Tokens{}, errors.New("a token was about to be issued without the tenant's policy")
	}
	if err := x.engine.useProof(ctx, x.owner(), x.proof); err != nil {
		return Tokens{}, err
	}
	if err := flow.consume(ctx, x); err != nil {
		return Tokens{}, err
	}
	if err := flow.decide(ctx, x); err != nil {
		return Tokens{}, err
	}
	if err := x.sign(ctx); err != nil {
		return Tokens{}, err
	}
	if err := flow.store(ctx, x); err != nil {
		return Tokens{}, storeError(err)
	}
	return x.tokens(), nil
}

// checkClient checks that the client may use the grant type, and proves a key if it has registered
// that it always does (RFC 9449 section 5.2).
func (x *exchange) checkClient() error {
	if !slices.Contains(x.client.GrantTypes, x.grantType) {
		return oauth.UnauthorizedClient("this client is not registered for the grant type " + x.grantType)
	}
	if x.client.DPoPBound && x.proof == nil {
		return oauth.InvalidDPoPProof("this client registered dpop_bound_access_tokens: send a DPoP proof")
	}
	return nil
}

// storeError answers the client whose code or refresh token another request used in the meantime:
// losing that race is no failure of the server.
func storeError(err error) error {
	if errors.Is(err, ErrSpent) {
		return oauth.InvalidGrant("it was used by another request, or its permission has been revoked; go on " +
			"with what that request got, or ask the person again")
	}
	return err
}

// tokens is the response.
func (x *exchange) tokens() Tokens {
	tokenType := "Bearer"
	if x.proof != nil {
		tokenType = dpop.Scheme
	}
	return Tokens{
		AccessToken: x.accessToken, Type: tokenType, RefreshToken: x.refreshToken, IDToken: x.idToken,
		IssuedType: x.issuedType, ExpiresIn: x.lifetime(), Scopes: x.scopes, GrantID: x.grant.ID, Relaxed: x.relaxed,
	}
}
