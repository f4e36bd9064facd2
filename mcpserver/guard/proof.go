package guard

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

const (
	mostProofs  = 200_000 // that the default memory holds, about 200 bytes each; beyond it bound tokens wait, and no proof counts twice
	minNonceKey = 32      // characters
)

// errBound is the answer to a token that is bound to a key and comes without its proof: whoever stole it cannot use it so (RFC 9449 §7.2, DP-01).
var errBound = &oauth.Error{Code: "invalid_token", Status: http.StatusUnauthorized,
	Description: "the access token is bound to a key: present it as DPoP, with a proof"}

// prove holds the request's proof against the key that its token is bound to (RFC 9449 §4.3, §7.1). A token that is not bound needs none, and with the DPoP
// scheme is refused, lest somebody believe it protected. nonce is the one that the client is to go on with, when it has not the newest.
// why is the reason for the operator; nil: there is none, or the client only has to take the nonce.
func (g *Guard) prove(r *http.Request, shown presented, jkt string) (nonce string, refused *oauth.Error, why error) {
	switch {
	case !shown.dpop && jkt != "":
		return "", errBound, errors.New(errBound.Description)
	case jkt == "" && (shown.dpop || g.config.RequireDPoP):
		refused = oauth.InvalidToken("the access token is not bound to a key; ask for one with a DPoP proof")
		return "", refused, errors.New(refused.Description)
	case jkt == "":
		return "", nil, nil
	}
	p, err := g.proofs.Believe(dpop.Request{
		Shown: r.Header.Values(dpop.Header), Method: r.Method, URL: g.origin + r.URL.EscapedPath(), AccessToken: shown.raw,
	})
	if err == nil && p.JKT != jkt {
		refused = oauth.InvalidToken("the DPoP proof is of another key than the access token is bound to")
		return p.Nonce, refused, errors.New(refused.Description)
	}
	if err == nil {
		err = g.proofs.Spend(r.Context(), p)
	}
	switch {
	case errors.Is(err, dpop.ErrNonce):
		return g.proofs.Nonce(), &oauth.Error{Code: "use_dpop_nonce", Description: err.Error(), Status: http.StatusUnauthorized}, nil
	case errors.Is(err, dpop.ErrProof):
		return p.Nonce, &oauth.Error{Code: "invalid_dpop_proof", Description: err.Error(), Status: http.StatusUnauthorized}, err
	case err != nil: // that it was not used before cannot be known
		httpd.Note(r.Context(), "error", err)
		return p.Nonce, oauth.TemporarilyUnavailable(), nil
	}
	return p.Nonce, nil, nil
}

// scheme is what a challenge begins with: what the request came with, or what it must come with. A request that came with nothing gets the one that every
// client knows, because clients in the field read the first challenge alone.
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
