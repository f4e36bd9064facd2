package assertion

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/shared/jws"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// identityType is the JOSE "typ" of an Identity Assertion JWT Authorization Grant (ID-JAG).
const identityType = "oauth-id-jag+jwt"

// maxIdentityLifetime bounds how far ahead exp of an ID-JAG may be: it is remembered for so long.
const maxIdentityLifetime = time.Hour

// identityClaims are the claims of an ID-JAG.
type identityClaims struct {
	claims
	ClientID      string  `json:"client_id"`
	Resource      string  `json:"resource"`
	Scope         *string `json:"scope"`
	Email         string  `json:"email"`
	EmailVerified *bool   `json:"email_verified"`
}

// Identity implements issuer.Identities: it verifies that a trusted issuer made the assertion, for
// this issuer and now; or returns trustedissuer.ErrNotAccepted, or an internal error when the
// stores do not answer. The caller makes sure that it is used once.
func (c *Checker) Identity(ctx context.Context, raw string) (trustedissuer.Identity, error) {
	from, err := issuerOf(raw)
	if err != nil {
		return trustedissuer.Identity{}, err
	}
	trusted, err := c.Trust.Issuer(ctx, from)
	if errors.Is(err, trustedissuer.ErrNotFound) {
		return trustedissuer.Identity{}, fmt.Errorf("%w: its issuer is not trusted", trustedissuer.ErrNotAccepted)
	}
	if err != nil {
		return trustedissuer.Identity{}, fmt.Errorf("load trusted issuer: %w", err)
	}
	payload, err := c.verify(ctx, source{trusted.JWKS, trusted.JWKSURI, trusted.Issuer, &c.issuers}, raw, identityType)
	if errors.Is(err, ErrInvalid) {
		return trustedissuer.Identity{}, fmt.Errorf("%w: %w", trustedissuer.ErrNotAccepted, err)
	}
	if err != nil {
		return trustedissuer.Identity{}, err
	}
	var a identityClaims
	if err := strictjson.Unmarshal(payload, &a); err != nil {
		return trustedissuer.Identity{}, &invalid{"a claim has the wrong type", trustedissuer.ErrNotAccepted}
	}
	if err := c.checkIdentity(trusted, a); err != nil {
		return trustedissuer.Identity{}, err
	}
	sum := sha256.Sum256([]byte(a.Issuer + " " + a.ID))
	i := trustedissuer.Identity{
		Assertion: trustedissuer.Assertion{
			Issuer: a.Issuer, Subject: a.Subject, Hash: hex.EncodeToString(sum[:]),
			IssuedAt: time.Unix(int64(a.IssuedAt), 0).UTC(), ExpiresAt: time.Unix(int64(a.Expires), 0).UTC(),
		},
		TenantID: trusted.TenantID, ClientID: a.ClientID, Resource: a.Resource, HasScope: a.Scope != nil,
	}
	if a.Scope != nil {
		i.Scope = *a.Scope
	}
	if a.EmailVerified != nil && *a.EmailVerified || a.EmailVerified == nil && trusted.Emails {
		i.Email = a.Email
	}
	return i, nil
}

// issuerOf is the iss claim of an assertion that is not verified.
func issuerOf(raw string) (string, error) {
	_, payload, err := jws.Split(raw, maxSize)
	var c struct {
		Issuer string `json:"iss"`
	}
	if err != nil || strictjson.Unmarshal(payload, &c) != nil || c.Issuer == "" {
		return "", fmt.Errorf("%w: its form", trustedissuer.ErrNotAccepted)
	}
	return c.Issuer, nil
}

// checkIdentity checks the claims of an ID-JAG.
func (c *Checker) checkIdentity(trusted trustedissuer.Issuer, a identityClaims) error {
	switch {
	case a.Issuer != trusted.Issuer:
		return &invalid{"iss is not the issuer whose key signed it", trustedissuer.ErrNotAccepted}
	case a.Subject == "" || len(a.Subject) > maxID:
		return &invalid{"sub is missing or too long", trustedissuer.ErrNotAccepted}
	case a.ClientID == "":
		return &invalid{"client_id is missing", trustedissuer.ErrNotAccepted}
	case a.IssuedAt <= 0:
		return &invalid{"iat is missing", trustedissuer.ErrNotAccepted}
	}
	return c.checkCommon(a.claims, maxIdentityLifetime, trustedissuer.ErrNotAccepted)
}
