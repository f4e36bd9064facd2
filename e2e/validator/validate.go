package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// believe believes an access token, or says why not. In front of an http.Handler, package guard
// does all this and more.
func believe(ctx context.Context, raw, issuer, resource string) (c token.Claims, err error) {
	// keep them five minutes, and fetch anew for a key that you have not seen
	response, err := http.Get(issuer + "/oauth2/jwks")
	if err != nil {
		return c, err
	}
	defer response.Body.Close()
	document, _ := io.ReadAll(response.Body) // what was cut off is no key set
	keys, err := token.ParseKeySet(document)
	if err != nil {
		return c, err
	}
	rules := token.Rules{Issuer: issuer, Audience: resource, Algorithms: []string{"ES256", "RS256", "EdDSA"},
		Leeway: 30 * time.Second, Now: time.Now}
	if c, err = rules.Verify(ctx, raw, keys); err == nil && c.Confirmation.JKT != "" { // RFC 9449 §7
		err = errors.New("the token is bound to a key: it is good with a proof of that key only")
	}
	return c, err
}
