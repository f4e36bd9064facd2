package oauthapi

import (
	"errors"
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// proof verifies the DPoP proof of a request to one of our endpoints, if there is one (RFC 9449
// sections 5 and 10.1). The response tells the client the next nonce when it has another one
// (section 8.2). presented is the access token of the request; empty for none.
func (d *API) proof(w http.ResponseWriter, r *http.Request, path, presented string) (*dpop.Proof, error) {
	shown := r.Header.Values(dpop.Header)
	if len(shown) == 0 {
		return nil, nil
	}
	p, err := d.Engine.Proof(dpop.Request{Shown: shown, Method: r.Method, URL: d.Engine.Issuer + path,
		AccessToken: presented})
	var refused *oauth.Error
	if errors.As(err, &refused) && refused.Code == "use_dpop_nonce" {
		w.Header().Set(dpop.NonceHeader, d.Engine.Proofs.Nonce())
	}
	if err == nil && p.Nonce != "" {
		w.Header().Set(dpop.NonceHeader, p.Nonce)
	}
	return p, err
}
