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
	// that the default memory holds, about 300 bytes each; beyond it the grant that has most has to
	// make newer ones, and no proof counts twice
	mostProofs  = 500_000
	minNonceKey = 32 // characters
)

// errBound is the answer to a token that is bound to a key and comes without its proof: whoever
// stole it cannot use it so (RFC 9449 §7.2).
var errBound = &oauth.Error{Code: "invalid_token", Status: http.StatusUnauthorized,
	Description: "the access token is bound to a key: present it as DPoP, with a proof"}

// prove holds the request's proof against the key that its token is bound to (RFC 9449 §4.3, §7.1),
// and does not use it up: that is spend's. A token that is not bound needs none, and with the DPoP
// scheme is refused, lest somebody believe it protected. nonce is the one that the client is to go
// on with, when it has not the newest. why is the reason for the operator; nil: there is none, or
// the client only has to take the nonce.
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

// spend uses up the proof of a request that is let through, if it has one. It counts against the
// grant.
func (g *Guard) consumeProof(ctx context.Context, grantID string, p *dpop.Proof) (refused *oauth.Error, why error) {
	if p == nil {
		return nil, nil
	}
	return proofError(ctx, g.proofs.Consume(ctx, grantID, *p))
}

// unbelieved is what strangers see of what package dpop says, and why, as prove has it.
func proofError(ctx context.Context, err error) (refused *oauth.Error, why error) {
	switch {
	case errors.Is(err, dpop.ErrNonce):
		return &oauth.Error{Code: "use_dpop_nonce", Description: err.Error(), Status: http.StatusUnauthorized}, nil
	case errors.Is(err, dpop.ErrProof):
		return &oauth.Error{Code: "invalid_dpop_proof", Description: err.Error(), Status: http.StatusUnauthorized}, err
	case err != nil: // that it was not used before cannot be known
		httpd.Note(ctx, "error", err)
		return oauth.TemporarilyUnavailable(), nil
	}
	return nil, nil
}

// scheme is what a challenge begins with: what the request came with, or what it must come with. A
// request that came with nothing gets the one that every client knows, because clients in the field
// read the first challenge alone.
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
