package oauthapi

import (
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
)

// VerificationPath is the path of the page on which people type a user code, below the issuer.
const VerificationPath = "/device"

// deviceBody is a device authorization response (RFC 8628 section 3.2).
type deviceBody struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	Verification    string `json:"verification_uri"`
	VerificationAll string `json:"verification_uri_complete"`
	ExpiresIn       int64  `json:"expires_in"`
	Interval        int64  `json:"interval"`
}

// device is the device authorization endpoint (RFC 8628 section 3.1).
func (d *API) device(w http.ResponseWriter, r *http.Request) {
	c, form, ok := d.readLimited(w, r)
	if !ok {
		return
	}
	begun, err := d.Engine.AuthorizeDevice(r.Context(), c, form)
	attempt.FromContext(r.Context()).SetParameters(form)
	attempt.FromContext(r.Context()).Attempt(begun.DeviceCode)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	page := d.Engine.Issuer + VerificationPath
	respond(w, http.StatusOK, deviceBody{
		DeviceCode: begun.DeviceCode, UserCode: begun.UserCode, Verification: page,
		VerificationAll: page + "?user_code=" + begun.UserCode,
		ExpiresIn:       int64(begun.ExpiresIn.Seconds()), Interval: int64(begun.Interval.Seconds()),
	})
}
