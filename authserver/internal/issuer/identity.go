package issuer

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/jws"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// OpenID Connect Core 1.0. The issuer is a resource of its own: its URI is the issuer's, its scopes
// are these, and its access tokens are for the userinfo endpoint alone. A request may ask for these
// scopes together with those of another resource; then it gets an ID token, and its access token is
// for that resource alone.

// The scopes of OpenID Connect (Core section 5.4). They allow no tool, so that no policy and no
// role has them: the person alone decides.
const (
	ScopeOpenID  = "openid"
	ScopeProfile = "profile"
	ScopeEmail   = "email"
)

// DefaultIDTokenAlg signs the ID tokens of clients that name no algorithm (OpenID Connect
// Registration 1.0 section 2).
const DefaultIDTokenAlg = "RS256"

// identityScopes are the scopes of OpenID Connect with their descriptions for people.
func identityScopes() []Scope {
	return []Scope{
		{ScopeOpenID, "Know that it is you, and in which organisation", true, AccessRead},
		{ScopeProfile, "Know your name", false, AccessRead},
		{ScopeEmail, "Know your e-mail address", false, AccessRead},
	}
}

// IdentityScopes are the names of the scopes of OpenID Connect.
func IdentityScopes() []string { return []string{ScopeOpenID, ScopeProfile, ScopeEmail} }

// identityOf separates the scopes of OpenID Connect, which mean nothing without openid (Core
// section 3.1.2.1), from the others.
func identityOf(asked []string) (identity, others []string) {
	if !slices.Contains(asked, ScopeOpenID) {
		return nil, asked
	}
	for _, s := range asked {
		if slices.Contains(IdentityScopes(), s) {
			identity = append(identity, s)
		} else {
			others = append(others, s)
		}
	}
	return identity, others
}

// identityClaims are the claims of an ID token (OpenID Connect Core sections 2 and 5.1).
type identityClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Expires  int64  `json:"exp"`
	IssuedAt int64  `json:"iat"`
	AuthTime int64  `json:"auth_time,omitempty"`
	Nonce    string `json:"nonce,omitempty"`
	AtHash   string `json:"at_hash"`
	Person
}

// Person is what a client may learn about a person (OpenID Connect Core section 5.1).
// email_verified is set only where the operator said so: this server sends no mail.
type Person struct {
	TenantID string `json:"tenant_id"`
	Name     string `json:"name,omitempty"`
	Email    string `json:"email,omitempty"`
	Verified bool   `json:"email_verified,omitempty"`
}

func personOf(u user.User, tenantID string, scopes []string) Person {
	p := Person{TenantID: tenantID}
	if slices.Contains(scopes, ScopeProfile) {
		p.Name = u.Name
	}
	if slices.Contains(scopes, ScopeEmail) {
		p.Email, p.Verified = u.Email, u.EmailVerified
	}
	return p
}

// signIdentity signs the ID token that goes with the access token (OpenID Connect Core sections
// 3.1.3.3 and 12.2).
func (x *exchange) signIdentity(ctx context.Context) (string, error) {
	u, err := x.engine.Users.User(ctx, x.grant.UserID)
	if errors.Is(err, user.ErrNotFound) {
		return "", oauth.InvalidGrant("the person behind the permission is gone")
	}
	if err != nil {
		return "", fmt.Errorf("load the user of grant %s: %w", x.grant.ID, err)
	}
	algorithm := x.client.IDTokenAlg
	if algorithm == "" {
		algorithm = DefaultIDTokenAlg
	}
	claims := identityClaims{
		Issuer: x.engine.Issuer, Subject: u.ID, Audience: x.client.ID, IssuedAt: x.now.Unix(),
		Expires: x.now.Add(x.policy.Life(x.resource.AccessTokenLifetime)).Unix(),
		AtHash:  leftHalf(algorithm, x.accessToken), Nonce: x.nonce,
		Person: personOf(u, x.grant.TenantID, x.grant.Scopes),
	}
	if !x.grant.SignedInAt.IsZero() {
		claims.AuthTime = x.grant.SignedInAt.Unix()
	}
	return x.engine.Keys.SignIdentity(algorithm, claims)
}

// leftHalf is at_hash: the left half of the digest of the signature algorithm (OpenID Connect Core
// section 3.1.3.6).
func leftHalf(algorithm, accessToken string) string {
	if algorithm == "EdDSA" {
		sum := sha512.Sum512([]byte(accessToken))
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// UserInfo is the response of the userinfo endpoint (OpenID Connect Core section 5.3.2).
type UserInfo struct {
	Subject string `json:"sub"`
	Person
}

// UserInfo returns who the person of an access token for this issuer is. proof is the verified
// DPoP proof that was sent with the token, or nil. What is wrong with the token is an
// *oauth.Error.
func (e *Engine) UserInfo(ctx context.Context, raw string, proof *dpop.Proof) (UserInfo, error) {
	claims, err := e.verifyFor(ctx, raw, e.identity, 0)
	if errors.Is(err, token.ErrAudience) {
		return UserInfo{}, oauth.InvalidToken("the access token is for another resource; ask for one with resource=" +
			e.Issuer)
	}
	if err != nil {
		return UserInfo{}, oauth.InvalidToken(err.Error()) // the text is one of package token's
	}
	if bound := claims.Confirmation.JKT; bound != "" && (proof == nil || proof.JKT != bound) || bound == "" &&
		proof != nil {
		// RFC 9449 sections 7.1 and 7.2
		return UserInfo{},
			oauth.InvalidToken("the access token is bound to a key and needs the DPoP scheme with a proof of it, or " +
				"is not bound and needs Bearer")
	}
	if err := e.useProof(ctx, claims.GrantID, proof); err != nil {
		return UserInfo{}, err
	}
	if !slices.Contains(claims.Scopes, ScopeOpenID) {
		return UserInfo{}, oauth.InsufficientScope("the access token lacks the scope openid")
	}
	g, err := e.Grants.Grant(ctx, claims.GrantID)
	if errors.Is(err, grant.ErrNotFound) || err == nil && (e.revoked(g) || e.Suspended(claims)) {
		return UserInfo{}, oauth.InvalidToken("the permission behind the access token has been revoked")
	}
	if err != nil {
		return UserInfo{}, fmt.Errorf("load grant: %w", err)
	}
	u, err := e.Users.User(ctx, claims.Subject)
	if errors.Is(err, user.ErrNotFound) || err == nil && u.Disabled {
		return UserInfo{}, oauth.InvalidToken("the person behind the access token is gone")
	}
	if err != nil {
		return UserInfo{}, fmt.Errorf("load user: %w", err)
	}
	return UserInfo{u.ID, personOf(u, claims.TenantID, claims.Scopes)}, nil
}

// errHint says that an id_token_hint is not an ID token of this issuer.
var errHint = errors.New("not an ID token of this issuer")

// Hint returns the subject and the client of an ID token of this issuer, however old it is (OpenID
// Connect Core section 3.1.2.1; RP-Initiated Logout 1.0 section 2). It does not authenticate
// anybody.
func (e *Engine) Hint(raw string) (userID, clientID string, err error) {
	header, _, err := jws.Split(raw, token.MaxSize)
	if err != nil {
		return "", "", errHint
	}
	kind, _ := strictjson.Text(header["typ"])
	keyID, _ := strictjson.Text(header["kid"])
	if kind != keyring.IdentityType {
		return "", "", errHint
	}
	key, err := e.Keys.PastKey(keyID)
	if err != nil {
		return "", "", errHint
	}
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(key.Algorithm)})
	if err != nil {
		return "", "", errHint
	}
	payload, err := signed.Verify(key.Key)
	var claims identityClaims
	if err != nil || strictjson.Unmarshal(payload, &claims) != nil || claims.Issuer != e.Issuer {
		return "", "", errHint
	}
	return claims.Subject, claims.Audience, nil
}

// IsIdentity reports whether a request asks for scopes of OpenID Connect alone.
func (a *Authorization) IsIdentity() bool {
	return !slices.ContainsFunc(a.Scopes, func(s string) bool { return !slices.Contains(IdentityScopes(), s) })
}
