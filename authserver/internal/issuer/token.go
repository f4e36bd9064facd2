package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Tokens is a token endpoint's success (RFC 6749 §5.1).
type Tokens struct {
	AccessToken  string
	Type         string // Bearer, or DPoP when it is bound to a key (RFC 9449 §5)
	RefreshToken string // empty when there is none
	IDToken      string // empty when openid was not granted
	IssuedType   string // of the access token, where RFC 8693 wants it said; else empty
	ExpiresIn    time.Duration
	Scopes       []string
	GrantID      string
	Relaxed      []string // the relaxations that it took
	Trail        Trail
}

// Trail is what a token request turned out to be about, also one that is refused: for the log of
// attempts. What was not found is empty.
type Trail struct {
	GrantID, TenantID, UserID string
	Challenge                 string // of the code that was brought
	Used                      bool   // what was brought had been used before
}

// trail is how far this exchange came.
func (x *exchange) trail() Trail {
	t := Trail{GrantID: x.grant.ID, TenantID: x.grant.TenantID, UserID: x.grant.UserID}
	if x.code != nil {
		t.Challenge, t.Used = x.code.Challenge, !x.code.UsedAt.IsZero()
	}
	return t
}

// RelaxedReplay: a spent refresh token brought its successor again, because the answer may have
// been lost.
const RelaxedReplay = "a spent refresh token brought its successor again"

// GrantTypes are the grant types that Token knows.
func GrantTypes() []string {
	return []string{client.GrantCode, client.GrantRefresh, client.GrantCredentials, client.GrantDevice,
		client.GrantExchange, client.GrantAssertion}
}

// Token answers a token request of a client that the door has authenticated, with the proof of a
// key that it has believed, or nil. form has no repeated parameter but resource. What a stranger
// may see comes back as *oauth.Error; then nothing was consumed, unless it says that something was
// used twice. The trail is told also with an error.
func (e *Engine) Token(ctx context.Context, c client.Client, form url.Values, proof *dpop.Proof) (told Tokens,
	err error) {
	x := &exchange{engine: e, client: c, now: e.now(), proof: proof, grantType: form.Get("grant_type")}
	told, err = x.token(ctx, form)
	told.Trail = x.trail()
	if err != nil {
		e.Refused(ctx, c, audit.Event{Action: "token.issue", Tenant: x.grant.TenantID, Grant: x.grant.ID,
			Detail: x.grantType}, err)
	}
	return told, err
}

func (x *exchange) token(ctx context.Context, form url.Values) (Tokens, error) {
	if !slices.Contains(GrantTypes(), x.grantType) {
		return Tokens{},
			oauth.UnsupportedGrantType("this grant_type is not offered; use " + strings.Join(GrantTypes(), ", "))
	}
	if !slices.Contains(x.client.GrantTypes, x.grantType) {
		return Tokens{}, oauth.UnauthorizedClient("this client is not registered for the grant type " + x.grantType)
	}
	if x.client.DPoPBound && x.proof == nil {
		// RFC 9449 §5.2
		return Tokens{}, oauth.InvalidDPoPProof("this client registered dpop_bound_access_tokens: send a DPoP proof")
	}
	var provider *fosite.Fosite
	var err error
	switch x.grantType {
	case client.GrantCode:
		provider, err = x.codeProvider(), x.loadCode(ctx, form)
	case client.GrantDevice:
		form = cloneForm(form)
		provider, err = x.codeProvider(), x.loadDevice(ctx, form)
	case client.GrantRefresh:
		provider, err = x.refreshProvider(), x.loadRefresh(ctx, form)
	case client.GrantExchange:
		provider, err = x.credentialsProvider(), x.loadExchange(ctx, form)
	case client.GrantAssertion:
		provider, err = x.credentialsProvider(), x.loadAssertion(ctx, form)
	default:
		provider, err = x.credentialsProvider(), x.loadMachine(ctx, form)
	}
	if err == nil {
		err = x.govern(ctx)
	}
	if err == nil {
		err = x.engine.spend(ctx, x.owner(), x.proof)
	}
	if err == nil && x.keep != nil {
		err = x.keep(ctx)
	}
	if err != nil {
		return Tokens{}, err
	}
	return x.answer(ctx, provider, form)
}

// answer lets fosite decide, and Commit write.
func (x *exchange) answer(ctx context.Context, provider *fosite.Fosite, form url.Values) (Tokens, error) {
	form = cloneForm(form)
	if x.code == nil && x.refresh == nil {
		form.Set("grant_type", client.GrantCredentials) // fosite knows no other that brings an access token alone
	}
	form.Set("scope", oauth.FormatScope(x.scopes))
	// what fosite calls the resource; a client's own audience parameter counts for nothing
	form.Set("audience", x.resource.URI)
	r := &http.Request{Method: http.MethodPost, Header: http.Header{}, Form: form, PostForm: form}
	request, err := provider.NewAccessRequest(ctx, r, &session{})
	if x.ended != nil {
		return Tokens{}, fmt.Errorf("ending the grant of a reused token: %w", x.ended)
	}
	if err != nil {
		return Tokens{}, fromFosite(err)
	}
	for _, s := range x.scopes {
		request.GrantScope(s)
	}
	request.GrantAudience(x.resource.URI)
	response, err := provider.NewAccessResponse(ctx, request)
	if err != nil {
		return Tokens{}, fromFosite(err)
	}
	refresh, _ := response.GetExtra("refresh_token").(string)
	if err := x.record(ctx); err != nil {
		return Tokens{}, err
	}
	if x.replay {
		x.relax(RelaxedReplay)
	}
	tokenType := "Bearer" // fosite knows no other
	if x.proof != nil {
		tokenType = dpop.Scheme
	}
	return Tokens{
		AccessToken: response.GetAccessToken(), Type: tokenType, RefreshToken: refresh, IDToken: x.idToken,
		IssuedType: x.issued, ExpiresIn: x.life(),
		Scopes: x.scopes, GrantID: x.grant.ID, Relaxed: x.relaxed,
	}, nil
}

// loadCode brings the presented code, after our rules: its own client, its resource, its grant
// alive. The client is checked before anything can be ended, so that nobody ends another's grant.
func (x *exchange) loadCode(ctx context.Context, form url.Values) error {
	raw := form.Get("code")
	if raw == "" {
		return oauth.InvalidRequest("code is missing; send the one that came with the redirect")
	}
	if form.Get("redirect_uri") == "" {
		return oauth.InvalidGrant("redirect_uri is missing: send the one of the authorization request")
	}
	code, g, err := x.engine.Store.Code(ctx, client.TokenHash(raw))
	// A code without a challenge cannot come to be; if one did, no verifier could fit it (RFC 9700
	// §4.8.2).
	if errors.Is(err, ErrNotFound) ||
		(err == nil && (code.ClientID != x.client.ID || code.RedirectURI == deviceRedirect || code.Challenge == "")) {
		return oauth.InvalidGrant("the code is unknown, or was given to another client; ask the person again")
	}
	if err != nil {
		return fmt.Errorf("reading a code: %w", err)
	}
	x.code, x.grant, x.scopes = &code, g, g.Scopes
	if err := x.checkKey(code.JKT); err != nil {
		return err
	}
	if !code.UsedAt.IsZero() {
		if err := x.reused(ctx, codeReused); err != nil {
			return err
		}
	}
	if err := x.checkGrant(ctx, form); err != nil {
		return err
	}
	return x.narrow(form)
}

// codeReused is what a client is told that brings its code a second time.
const codeReused = "The authorization code has already been used."

// loadRefresh does for a refresh token what loadCode does for a code.
func (x *exchange) loadRefresh(ctx context.Context, form url.Values) error {
	x.raw = form.Get("refresh_token")
	if x.raw == "" {
		return oauth.InvalidRequest("refresh_token is missing; send the newest that you were given")
	}
	refresh, g, err := x.engine.Store.RefreshToken(ctx, client.TokenHash(x.raw))
	if errors.Is(err, ErrNotFound) || (err == nil && refresh.ClientID != x.client.ID) {
		return oauth.InvalidGrant("the refresh token is unknown, or was given to another client; ask the person again")
	}
	if err != nil {
		return fmt.Errorf("reading a refresh token: %w", err)
	}
	x.refresh, x.grant, x.scopes = &refresh, g, g.Scopes
	if err := x.checkKey(refresh.JKT); err != nil {
		return err
	}
	if !refresh.UsedAt.IsZero() {
		if err := x.comeBack(ctx); err != nil {
			return err
		}
	}
	if err := x.checkGrant(ctx, form); err != nil {
		return err
	}
	return x.narrow(form)
}

// comeBack finds out whether a spent refresh token is forgiven, and ends its grant when not, before
// anybody asks what is allowed today: while a policy refuses its client, a stolen one ends what the
// thief has, too.
func (x *exchange) comeBack(ctx context.Context) (err error) {
	if x.next, x.replay, err = x.engine.replayed(ctx, x.raw, x.client.ID); err != nil {
		return err
	}
	if x.replay {
		return x.checkKey(x.next.JKT) // a successor may be bound where its parent was not
	}
	return x.reused(ctx, "The refresh token was already used.")
}

// reused ends the grant of what was presented and had been used before (RFC 9700 §4.14.2), once the
// client, its key and a fresh proof of that are there. One that has ended already is for
// checkGrant. Both answers are fosite's own, which would come to the same later.
func (x *exchange) reused(ctx context.Context, says string) error {
	if x.grant.Ended() {
		return nil
	}
	if err := x.engine.spend(ctx, x.owner(), x.proof); err != nil {
		return err
	}
	if err := x.RevokeRefreshToken(ctx, x.grant.ID); err != nil {
		return fmt.Errorf("ending the grant of a reused token: %w", err)
	}
	return oauth.InvalidGrant(says + " Begin a new authorization.")
}

// replayed says whether a spent refresh token may bring its successor again: spent within the
// window, and the successor not used yet. That forgives a lost answer and two processes that share
// a token, without ever making a second leaf.
func (e *Engine) replayed(ctx context.Context, raw, clientID string) (*RefreshToken, bool, error) {
	parent, g, err := e.Store.RefreshToken(ctx, client.TokenHash(raw))
	if err != nil {
		return nil, false, fmt.Errorf("reading a spent refresh token: %w", err)
	}
	if g.Ended() || parent.UsedAt.IsZero() || !e.now().Before(parent.UsedAt.Add(e.ReplayWindow)) {
		return nil, false, nil
	}
	child, _, err := e.Store.RefreshToken(ctx, client.TokenHash(e.successor(raw)))
	if errors.Is(err, ErrNotFound) || (err == nil && (!child.UsedAt.IsZero() || child.ClientID != clientID)) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading a successor: %w", err)
	}
	return &child, true, nil
}

// errSuspended answers for a grant that is suspended. It is not invalid_grant, at which clients
// throw away a refresh token that counts again when the operator says so.
var errSuspended = &oauth.Error{Code: "access_denied", Status: http.StatusBadRequest,
	Description: "the organisation of this permission is suspended, or its client disabled; try again when its " +
		"administrator says so"}

// checkGrant holds the presented grant against today's rules: alive, its resource still ours and
// asked for, its scopes still within what tenant and role allow. What was lost since is gone from
// the token.
func (x *exchange) checkGrant(ctx context.Context, form url.Values) error {
	if x.grant.Suspended && !x.grant.Ended() {
		return errSuspended
	}
	if x.engine.ended(x.grant) {
		return oauth.InvalidGrant("this permission has ended; ask the person again")
	}
	resource, ok := x.engine.Resource(x.grant.Resource)
	if !ok {
		return oauth.InvalidGrant("the resource of this permission is no longer served here; ask the person for " +
			"another")
	}
	x.openid = slices.Contains(x.grant.Scopes, ScopeOpenID)
	if named, _, ok := x.engine.named(form.Get("resource")); x.openid && ok && len(form["resource"]) == 1 &&
		named.URI == x.engine.identity.URI {
		resource = x.engine.identity // the same permission, for the userinfo endpoint (RFC 8707 §2.2)
	}
	x.resource = resource
	relaxed, err := checkTarget(form, resource)
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
		return oauth.InvalidGrant("nothing of this permission is allowed any more; ask the person again")
	}
	return nil
}

// narrow applies the scope parameter: within the grant, never beyond it (RFC 6749 §6). A narrowed
// token does not narrow the grant.
func (x *exchange) narrow(form url.Values) error {
	asked, relaxed, err := x.engine.asked(form, x.resource)
	if err != nil {
		return err
	}
	x.relax(relaxed)
	if len(asked) == 0 {
		return nil
	}
	if !oauth.Subset(asked, x.grant.Scopes) {
		return oauth.InvalidScope("the scope is wider than the permission: " + oauth.FormatScope(x.grant.Scopes) +
			" was granted")
	}
	x.openid = x.openid && slices.Contains(asked, ScopeOpenID)
	x.scopes = oauth.Intersect(asked, x.scopes)
	if len(x.scopes) == 0 {
		return oauth.InvalidScope("none of these scopes is allowed any more; ask for others, or the person again")
	}
	return nil
}

// loadMachine finds or makes the one grant of a machine client (product.md, "A machine client has
// one grant").
func (x *exchange) loadMachine(ctx context.Context, form url.Values) error {
	if x.client.TenantID == "" {
		return oauth.UnauthorizedClient("client_credentials is for clients that belong to a tenant; register with an " +
			"initial access token of one")
	}
	resource, relaxed, err := x.engine.target(form)
	if err != nil {
		return err
	}
	x.resource = resource
	x.relax(relaxed)
	allowed, err := x.allow(ctx, Holder{TenantID: x.client.TenantID})
	var refused *oauth.Error
	if errors.As(err, &refused) {
		return oauth.UnauthorizedClient(refused.Description) // there is no person to ask
	}
	if err != nil {
		return err
	}
	allowed = oauth.Intersect(allowed, resource.ScopeNames())
	asked, relaxed, err := x.engine.asked(form, resource)
	if err != nil {
		return err
	}
	x.relax(relaxed)
	if len(asked) == 0 {
		asked = allowed // RFC 6749 §3.3: the default is everything that the operator gave this client
	}
	if len(asked) == 0 || !oauth.Subset(asked, allowed) {
		return oauth.InvalidScope("this client may have: " + oauth.FormatScope(allowed))
	}
	// What the grant says is not asked: what was allowed on the day when it was made would bind the
	// client for ever.
	x.scopes = asked
	x.grant, err = x.machineGrant(ctx)
	return err
}

// machineGrant returns the client's living grant, or makes it, with the client's ceiling. One that
// somebody else ended stays ended: the client cannot undo that by asking again. One that the client
// ended itself (RFC 7009) it may have anew.
func (x *exchange) machineGrant(ctx context.Context) (grant.Grant, error) {
	g, err := x.engine.Grants.MachineGrant(ctx, x.client.ID, x.resource.URI)
	switch {
	case err == nil && g.Suspended && !g.Ended():
		return grant.Grant{}, oauth.UnauthorizedClient(errSuspended.Description)
	case err == nil && x.engine.ended(g):
		return grant.Grant{},
			oauth.UnauthorizedClient("the permission of this client was ended; the operator can make a new client")
	case err == nil || !errors.Is(err, grant.ErrNotFound):
		return g, err
	}
	g = grant.Grant{
		ID: newID("grt_"), TenantID: x.client.TenantID, ClientID: x.client.ID, Resource: x.resource.URI,
		Scopes: x.client.Scopes, CreatedAt: x.now,
	}
	g, err = x.engine.Grants.PutMachineGrant(ctx, g, audit.Event{
		Time: x.now, Actor: "client:" + x.client.ID, Action: "grant.create", Target: g.ID, Tenant: g.TenantID,
		Client: g.ClientID, Grant: g.ID, Detail: oauth.FormatScope(g.Scopes),
	})
	if errors.Is(err, grant.ErrSuspended) {
		return grant.Grant{}, oauth.UnauthorizedClient(errSuspended.Description)
	}
	return g, err
}

// target finds the resource that a request names (RFC 8707 §2): one of ours, by its URI or an
// alias, exactly; none means the default one. relaxed says which relaxation that took, if one.
func (e *Engine) target(form url.Values) (found Resource, relaxed string, err error) {
	found, relaxed = e.Resources.All()[0], RelaxedNoResource
	for i, raw := range form["resource"] {
		uri, err := oauth.ParseIndicator(raw)
		if err != nil {
			return Resource{}, "", oauth.InvalidTarget("resource must be an absolute URI without fragment; expected " +
				e.Resources.All()[0].URI)
		}
		r, alias, ok := e.named(uri)
		if !ok || (i > 0 && r.URI != found.URI) {
			return Resource{}, "",
				oauth.InvalidTarget("this resource is not served here, or is not the only one; expected " +
					e.Resources.All()[0].URI)
		}
		if found, relaxed = r, ""; alias {
			relaxed = RelaxedResourceAlias
		}
	}
	return found, relaxed, nil
}

// named finds the resource of a URI or an alias. A URI of one wins over an alias of another, and
// both over the issuer, which stands under one roof with a server whose clients name the roof.
func (e *Engine) named(uri string) (r Resource, alias, ok bool) {
	if r, ok := e.Resource(uri); ok && r.URI != e.identity.URI {
		return r, false, true
	}
	for _, r := range e.Resources.All() {
		if alias, ok := r.named(uri); ok {
			return r, alias, true
		}
	}
	return e.identity, false, uri == e.identity.URI
}

// checkTarget refuses a resource that is not the grant's (RFC 8707 §2.2). Nothing is consumed.
func checkTarget(form url.Values, granted Resource) (relaxed string, err error) {
	for _, raw := range form["resource"] {
		uri, err := oauth.ParseIndicator(raw)
		if err != nil {
			return "", oauth.InvalidTarget("send no resource, or the one of this permission: " + granted.URI)
		}
		alias, ok := granted.named(uri)
		if !ok {
			return "", oauth.InvalidTarget("send no resource, or the one of this permission: " + granted.URI)
		}
		if alias {
			relaxed = RelaxedResourceAlias
		}
	}
	return relaxed, nil
}

// withoutOffline drops offline_access: clients may ask for it, and a refresh token comes by grant
// type.
func withoutOffline(scopes []string) []string {
	return slices.DeleteFunc(scopes, func(s string) bool { return s == OfflineAccess })
}

// OfflineAccess is the scope by which clients ask for a refresh token (OpenID Connect Core §11). It
// opens no tool and is in no token.
const OfflineAccess = "offline_access"

func cloneForm(form url.Values) url.Values {
	out := make(url.Values, len(form)+2)
	for k, v := range form {
		out[k] = v
	}
	return out
}
