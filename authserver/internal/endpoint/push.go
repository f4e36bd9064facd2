package endpoint

import (
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// pushBody is the answer to a pushed authorization request (RFC 9126 §2.2).
type pushBody struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int64  `json:"expires_in"`
}

// push is the pushed authorization request endpoint (RFC 9126 §2).
func (d *Door) push(w http.ResponseWriter, r *http.Request) {
	c, form, ok := d.ahead(w, r)
	if !ok {
		return
	}
	if len(form.Encode()) > maxQuery {
		d.fail(w, r, &oauth.Error{Code: "invalid_request", Description: "the request is too long; 16 KiB are the most", Status: http.StatusRequestEntityTooLarge})
		return
	}
	proof, err := d.proof(w, r, PushPath, "")
	if err != nil {
		d.fail(w, r, err)
		return
	}
	requestURI, life, names, err := d.Engine.Push(r.Context(), c, form, proof)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	relaxed(r, names)
	answer(w, http.StatusCreated, pushBody{requestURI, int64(life.Seconds())})
}
