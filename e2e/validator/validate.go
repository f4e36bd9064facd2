package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// verify verifies an access token. In front of an http.Handler, use package guard.
func verify(ctx context.Context, raw, issuer, resource string) (c token.Claims, err error) {
	response, err := http.Get(issuer + "/oauth2/jwks") // cache it, and fetch again for an unknown key
	if err != nil {
		return c, err
	}
	defer response.Body.Close()
	document, _ := io.ReadAll(response.Body) // a truncated key set does not parse
	keys, err := token.ParseKeySet(document)
	if err != nil {
		return c, err
	}
	rules := token.Rules{Issuer: issuer, Audience: resource, Algorithms: []string{"ES256", "RS256", "EdDSA"},
		Leeway: 30 * time.Second, Now: time.Now}
	if c, err = rules.Verify(ctx, raw, keys); err == nil && c.Confirmation.JKT != "" { // RFC 9449 §7
		err = errors.New("the token is bound to a key and needs a proof of it")
	}
	return c, err
}
