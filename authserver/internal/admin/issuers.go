package admin

import (
	"context"
	"errors"
	"net/url"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// IssuerSpec describes an identity provider that a tenant trusts, with its keys at JWKSURI or in
// JWKS.
type IssuerSpec struct {
	Tenant  string
	Issuer  string // its issuer identifier, compared byte for byte
	JWKSURI string
	JWKS    string // a JSON Web Key set
	// VerifiedEmails says that every asserted address is verified. Otherwise the assertion must say
	// so (email_verified).
	VerifiedEmails bool
}

// maxIssuer bounds an issuer identifier, in bytes.
const maxIssuer = 1024

// TrustIssuer accepts identity assertions (ID-JAG) of an organisation's identity provider, for
// members of that tenant only.
func (d *API) TrustIssuer(ctx context.Context, s IssuerSpec) error {
	t, err := d.tenant(ctx, s.Tenant)
	if err != nil {
		return err
	}
	u, err := url.Parse(s.Issuer)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		len(s.Issuer) > maxIssuer:
		return refuse("give it as its own metadata do, as https://idp.example.com", "issuer %.200q is not an https URL",
			s.Issuer)
	case (s.JWKSURI == "") == (s.JWKS == ""):
		return refuse("give --jwks-uri or --jwks-file", "either one of the two says where the issuer's keys are")
	}
	if s.JWKSURI != "" {
		if err := client.CheckDocumentURL(s.JWKSURI); err != nil {
			return refuse("", "the keys' address cannot be used: %v", err)
		}
	} else if _, err := client.ParseKeys([]byte(s.JWKS)); err != nil {
		return refuse("", "the keys are %v", err)
	}
	if err := d.record(ctx, audit.Event{Action: "issuer.trust", Target: s.Issuer, Tenant: t.ID,
		Detail: s.JWKSURI}); err != nil {
		return err
	}
	err = d.Trust.PutIssuer(ctx, trustedissuer.Issuer{Issuer: s.Issuer, TenantID: t.ID, JWKSURI: s.JWKSURI,
		JWKS:   s.JWKS,
		Emails: s.VerifiedEmails, CreatedAt: d.now()})
	if errors.Is(err, trustedissuer.ErrTaken) {
		return refuse("an issuer speaks for one tenant", "another tenant trusts %s already", s.Issuer)
	}
	return err
}

// ListIssuers lists the identity providers that a tenant trusts, or all.
func (d *API) ListIssuers(ctx context.Context, tenantID string) ([]trustedissuer.Issuer, error) {
	if tenantID != "" {
		if _, err := d.tenant(ctx, tenantID); err != nil {
			return nil, err
		}
	}
	return d.Trust.Issuers(ctx, tenantID)
}

// ReasonDistrusted is the reason of revocations after an identity provider was removed.
const ReasonDistrusted = "its issuer is trusted no more"

// DistrustIssuer removes a trusted identity provider and then revokes every grant made by its
// assertions: from then on nothing new can begin. An interrupted removal is finished by repeating
// it.
func (d *API) DistrustIssuer(ctx context.Context, issuer string) error {
	i, err := d.Trust.Issuer(ctx, issuer)
	gone := errors.Is(err, trustedissuer.ErrNotFound)
	if err != nil && !gone {
		return err
	}
	if !gone {
		if err := d.record(ctx, audit.Event{Action: "issuer.distrust", Target: issuer,
			Tenant: i.TenantID}); err != nil {
			return err
		}
		if err := d.Trust.DeleteIssuer(ctx, issuer); err != nil && !errors.Is(err, trustedissuer.ErrNotFound) {
			return err
		}
	}
	return d.later.Do(ctx, func(ctx context.Context) error {
		ended, err := d.Ledger.RevokeAll(ctx, actor(ctx), grant.Filter{AssertedBy: issuer}, ReasonDistrusted)
		if err == nil && gone && ended == 0 {
			return refuse("gatehouse issuer list shows them", "no tenant trusts issuer %.200q", issuer)
		}
		return err
	})
}
