package guard

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

const (
	// in the default memory, about 300 bytes each; beyond it the grant with the most proofs must
	// send newer ones, and no proof is accepted twice
	maxProofs   = 500_000
	minNonceKey = 32 // characters
)

// errBound answers a bound token that is presented without a proof: a thief cannot use it so (RFC
// 9449 section 7.2).
var errBound = &oauth.Error{Code: "invalid_token", Status: http.StatusUnauthorized,
	Description: "the access token is bound to a key: present it as DPoP, with a proof"}

// verifyProof verifies the proof of a request for the key that its token is bound to (RFC 9449
// sections 4.3 and 7.1), without consuming it. A token that is not bound needs no proof, and is
// rejected with the DPoP scheme, so that clients do not take it for bound. nonce is for the
// DPoP-Nonce header, if the client needs a newer one. why is the reason for the operator; nil if
// there is none, or the client only has to use the nonce.
func (g *Guard) verifyProof(r *http.Request, shown presented, jkt string) (proof *dpop.Proof, nonce string,
	refused *oauth.Error, why error) {
	switch {
	case !shown.dpop && jkt != "":
		return nil, "", errBound, errors.New(errBound.Description)
	case jkt == "" && (shown.dpop || g.config.RequireDPoP):
		refused = oauth.InvalidToken("the access token is not bound to a key; ask for one with a DPoP proof")
		return nil, "", refused, errors.New(refused.Description)
	case jkt == "":
		return nil, "", nil, nil
	}
	p, err := g.proofs.Verify(dpop.Request{
		Shown: r.Header.Values(dpop.Header), Method: r.Method, URL: g.origin + r.URL.EscapedPath(),
		AccessToken: shown.raw,
	})
	if err == nil && p.JKT != jkt {
		refused = oauth.InvalidToken("the DPoP proof is of another key than the access token is bound to")
		return nil, p.Nonce, refused, errors.New(refused.Description)
	}
	if errors.Is(err, dpop.ErrNonce) {
		nonce = g.proofs.Nonce()
	}
	if refused, why = proofError(r.Context(), err); refused != nil {
		return nil, nonce, refused, why
	}
	return &p, p.Nonce, nil, nil
}

// consumeProof consumes the proof of an authenticated request, if it has one. It counts against the
// grant.
func (g *Guard) consumeProof(ctx context.Context, grantID string, p *dpop.Proof) (refused *oauth.Error, why error) {
	if p == nil {
		return nil, nil
	}
	return proofError(ctx, g.proofs.Consume(ctx, grantID, *p))
}

// proofError converts an error of package dpop to the error for the client and the reason for the
// operator.
func proofError(ctx context.Context, err error) (refused *oauth.Error, why error) {
	switch {
	case errors.Is(err, dpop.ErrNonce):
		return &oauth.Error{Code: "use_dpop_nonce", Description: err.Error(), Status: http.StatusUnauthorized}, nil
	case errors.Is(err, dpop.ErrProof):
		return &oauth.Error{Code: "invalid_dpop_proof", Description: err.Error(), Status: http.StatusUnauthorized}, err
	case err != nil: // whether it was used before is not known
		httpd.Note(ctx, "error", err)
		return oauth.TemporarilyUnavailable(), nil
	}
	return nil, nil
}

// scheme returns the scheme of a challenge: the one of the request, or the required one. A request
// without credentials gets Bearer, because clients in the field read the first challenge alone.
func (g *Guard) scheme(r *http.Request) string {
	headers := r.Header["Authorization"]
	if g.config.RequireDPoP || len(headers) == 1 && isDPoP(headers[0]) {
		return dpop.Scheme
	}
	return ""
}

func isDPoP(authorization string) bool {
	scheme, _, _ := strings.Cut(authorization, " ")
	return strings.EqualFold(scheme, dpop.Scheme)
}
