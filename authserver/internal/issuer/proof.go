package issuer

import (
	"context"
	"errors"

	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// DPoP (RFC 9449): a client that proves possession of a key with its token request gets a token
// that is bound to the key.
//
// A proof is verified by the HTTP package, compared with the key of the code or refresh token, and
// used up only when the request is allowed. So an invalid proof uses nothing up, and only requests
// with a valid code or token fill the store of used proofs.

// Proof verifies the DPoP proof of a request to one of our endpoints; the error is an
// *oauth.Error.
func (e *Engine) Proof(r dpop.Request) (*dpop.Proof, error) {
	p, err := e.Proofs.Verify(r)
	if err != nil {
		return nil, proofError(err)
	}
	return &p, nil
}

// useProof uses a request's proof up, if it has one. The error is an *oauth.Error when it was used
// before, and an internal one when that is not known. owner is whom it counts against when there
// are too many.
func (e *Engine) useProof(ctx context.Context, owner string, p *dpop.Proof) error {
	if p == nil {
		return nil
	}
	return proofError(e.Proofs.Consume(ctx, owner, *p))
}

// proofError is the error of package dpop as the client may see it, joined with the error itself
// for the log.
func proofError(err error) error {
	switch {
	case errors.Is(err, dpop.ErrProof):
		return errors.Join(oauth.InvalidDPoPProof(err.Error()), err)
	case errors.Is(err, dpop.ErrNonce):
		return oauth.UseDPoPNonce(err.Error())
	}
	return err
}

// owner is whom the used proof counts against: the grant, or before there is one the client.
func (x *exchange) owner() string {
	if x.grant.ID != "" {
		return x.grant.ID
	}
	return x.client.ID
}

// jkt is the thumbprint of the key that the request proves; empty for none.
func (x *exchange) jkt() string {
	if x.proof == nil {
		return ""
	}
	return x.proof.JKT
}

// checkKey refuses a request that does not prove the key that a code or refresh token is bound to
// (RFC 9449 sections 5 and 10). It uses nothing up and revokes nothing: a code or refresh token
// without its key is useless, and must not revoke the grant of the one who has the key.
func (x *exchange) checkKey(bound string) error {
	if bound != "" && bound != x.jkt() {
		return oauth.InvalidGrant("it is bound to a key that the request does not prove: send a DPoP proof of the " +
			"key that it was asked for with")
	}
	return nil
}
