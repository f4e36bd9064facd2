package issuer

import (
	"context"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// grantFlow is what one grant type adds to a token request, and holds what is its own for one
// request. Engine.Token calls the methods in this order. To add a grant type, write a file
// grant_NAME.go and a row in grantTypes.
type grantFlow interface {
	// load finds what the request presents, checks that it is the client's, and sets the grant. It
	// uses nothing up; a code or refresh token that was used before revokes its grant here.
	load(ctx context.Context, x *exchange) error
	// authorize sets the resource and the scopes: those requested that client, tenant and role
	// allow today. It asks for the policy by exchange.allow; Token refuses to go on without it.
	authorize(ctx context.Context, x *exchange) error
	// consume uses up what is used once and is not part of store's transaction.
	consume(ctx context.Context, x *exchange) error
	// decide lets fosite check the request.
	decide(ctx context.Context, x *exchange) error
	// store keeps what the request changes together with its audit event. Single use is decided
	// there, too: ErrSpent when another request was first.
	store(ctx context.Context, x *exchange) error
}

// GrantType is a grant type that this server offers.
type GrantType struct {
	name string
	new  func() grantFlow
}

// grantTypes is the one list of the grant types.
func grantTypes() []GrantType {
	return []GrantType{
		{client.GrantCode, func() grantFlow { return &codeGrant{} }},
		{client.GrantRefresh, func() grantFlow { return &refreshGrant{} }},
		{client.GrantCredentials, func() grantFlow { return &credentialsGrant{} }},
		{client.GrantDevice, func() grantFlow { return &deviceGrant{} }},
		{client.GrantExchange, func() grantFlow { return &exchangeGrant{} }},
		{client.GrantAssertion, func() grantFlow { return &assertionGrant{} }},
	}
}

// GrantTypes returns the names of the grant types that this server offers.
func GrantTypes() []string {
	var names []string
	for _, t := range grantTypes() {
		names = append(names, t.name)
	}
	return names
}

// ParseGrantType reads the parameter grant_type of a token request. The error is an *oauth.Error.
func ParseGrantType(name string) (GrantType, error) {
	all := grantTypes()
	i := slices.IndexFunc(all, func(t GrantType) bool { return t.name == name })
	switch {
	case name == "":
		return GrantType{},
			oauth.InvalidRequest("grant_type is missing; use one of " + strings.Join(GrantTypes(), ", "))
	case i < 0:
		return GrantType{},
			oauth.UnsupportedGrantType("this grant_type is not offered; use " + strings.Join(GrantTypes(), ", "))
	}
	return all[i], nil
}

// consumesNothing is embedded by grant types whose single use store decides, or that have none.
type consumesNothing struct{}

func (consumesNothing) consume(context.Context, *exchange) error { return nil }

// accessTokenOnly is embedded by grant types that issue an access token and store nothing else.
type accessTokenOnly struct{}

func (accessTokenOnly) decide(ctx context.Context, x *exchange) error {
	return x.engine.fosite.Credentials(ctx, x.request())
}

// store queues the audit event: nothing else is written, and the response does not wait for the
// disk.
func (accessTokenOnly) store(ctx context.Context, x *exchange) error {
	return x.recorded(x.engine.Issued(ctx, x.event()))
}
