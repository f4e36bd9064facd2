package issuer

import (
	"context"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// sign signs the access token (RFC 9068 section 2), which has one audience, always, and the ID
// token if one goes with it.
func (x *exchange) sign(ctx context.Context) (err error) {
	subject := x.grant.UserID
	if subject == "" {
		subject = x.grant.ClientID // RFC 9068 section 2.2: without a resource owner, the client
	}
	agent := x.grant.ClientID
	if agent == x.client.ID {
		agent = ""
	}
	x.tokenID = newID("")
	x.accessToken, err = x.engine.Keys.Sign(x.resource.Algorithm, token.Claims{
		Issuer: x.engine.Issuer, Subject: subject, Audience: x.resource.URI, ClientID: x.client.ID,
		TenantID: x.grant.TenantID, GrantID: x.grant.ID, ID: x.tokenID, Scope: oauth.FormatScope(x.scopes),
		Scopes: x.scopes, Actor: x.actor, IssuedAt: x.now.Unix(), Expires: x.now.Add(x.lifetime()).Unix(),
		Confirmation: token.Confirmation{JKT: x.jkt()}, GrantClientID: agent,
	})
	if err == nil && x.openid {
		x.idToken, err = x.signIdentity(ctx)
	}
	return err
}

// lifetime is that of the access token.
func (x *exchange) lifetime() time.Duration {
	lifetime := x.policy.Life(x.resource.AccessTokenLifetime)
	if x.notAfter == 0 {
		return lifetime
	}
	return min(lifetime, time.Unix(x.notAfter, 0).Sub(x.now))
}
