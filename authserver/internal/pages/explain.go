package pages

import (
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/web"
)

// explanations say what an error code means: for the person, and for the application's developer.
var explanations = map[string]web.Explanation{
	"invalid_request": {
		Person: "The application sent a request that cannot be understood. This is not your fault: start again " +
			"from the application, and tell its makers if it happens again.",
		Developer: "A parameter is missing, repeated, malformed or in the wrong place. error_description names it. " +
			"Form bodies are application/x-www-form-urlencoded in UTF-8, and PKCE with S256 is required (OAuth 2.1 " +
			"§4.1.1).",
	},
	"invalid_client": {
		Person: "This server does not know the application, or the application did not authenticate. Remove the " +
			"connection in the application and connect again: it then registers again.",
		Developer: "The client_id is unknown, its registration has expired, or the secret or assertion does not fit. " +
			"Throw the client_id away and register again (RFC 7591). An assertion's aud is the issuer alone, its exp " +
			"at most five minutes ahead, its jti never used before.",
	},
	"invalid_grant": {
		Person: "The access was revoked, has expired, or was already used. Connect again from the application.",
		Developer: "The code or refresh token is unknown, expired, used before, another client's, or its grant was " +
			"revoked. Do not retry: ask the person again. A refresh token changes at every use; keep the newest.",
	},
	"unauthorized_client": {
		Person: "The application may not do this here. Ask the administrator of this server.",
		Developer: "This client is not registered for the grant type, or the operator revoked its grant. " +
			"client_credentials is for clients that belong to a tenant.",
	},
	"unsupported_grant_type": {Person: "The application asked in a way that is not supported here. Tell its makers.",
		Developer: "See grant_types_supported in the metadata."},
	"unsupported_response_type": {Person: "The application asked in a way that is not supported here. Tell its makers.",
		Developer: "The only response_type is code."},
	"invalid_scope": {
		Person: "The application asked for more than it may have here.",
		Developer: "A scope is unknown at the resource, not allowed for the client or the grant, or malformed. " +
			"error_description names what there is. Scopes are compared exactly; a refresh can narrow them, " +
			"never widen them.",
	},
	"invalid_target": {
		Person: "The application asked for a server that is not served here. Check the address that you gave it.",
		Developer: "The resource parameter (RFC 8707) is not the URI of a resource here, or not that of the grant. " +
			"error_description says which was expected: send it byte for byte.",
	},
	"access_denied": {
		Person: "You denied the request, or your organisation or your role in it does not allow it.",
		Developer: "The person denied it, or was not allowed to agree, or the tenant's policy denies this client: " +
			"error_description says which. Do not ask again immediately.",
	},
	"authorization_pending": {Person: "The device is waiting for you: open the page that it names and type the code " +
		"that it shows.", Developer: "The person has not answered yet. Poll again after interval seconds (RFC 8628 " +
		"§3.5)."},
	"slow_down": {Person: "The device asks too often. Wait a little.",
		Developer: "Add five seconds to the interval from now on (RFC 8628 §3.5)."},
	"expired_token": {Person: "The code that the device showed has expired. Let it show a new one.",
		Developer: "The device_code is unknown, or has expired after ten minutes: begin again at the device " +
			"authorization endpoint."},
	"login_required": {Person: "You have to sign in; the application tried to continue without that.",
		Developer: "prompt=none cannot be met: no one is signed in, or not recently enough for max_age, or not the " +
			"person of id_token_hint. Send the request without prompt."},
	"consent_required": {Person: "You have to agree; the application tried to continue without that.",
		Developer: "prompt=none is supported only for confidential clients of the operator, and for what the person " +
			"allowed them before. Send the request without prompt."},
	"interaction_required": {Person: "You have to choose an organisation; the application tried to continue " +
		"without that.",
		Developer: "The person authorized this client for several organisations: prompt=none cannot choose. Send the " +
			"request without prompt."},
	"invalid_token": {Person: "The application's access has expired or was revoked. Connect again if it does not do " +
		"so by itself.",
		Developer: "The bearer token is missing, malformed, expired, revoked or for another audience. Refresh it " +
			"once; if that fails, ask the person."},
	"invalid_dpop_proof": {
		Person: "The application did not prove that the access was given to it. Check this device's clock, and " +
			"connect again if it happens again.",
		Developer: "The DPoP proof (RFC 9449 §4.3) is missing where it is required, or invalid; " +
			"error_description says why. One header, typ dpop+jwt, the public key in jwk, htm and htu of this " +
			"request without query, iat within the last minute, a jti never used before, and at a resource ath.",
	},
	"use_dpop_nonce": {
		Person: "The application should try again by itself, at once. Tell its makers if it does not.",
		Developer: "Make another proof with the nonce of the answer's DPoP-Nonce header and send the request again " +
			"(RFC 9449 §8). A nonce is good for two minutes at least; an answer that names a newer one is to be " +
			"followed.",
	},
	"insufficient_scope": {
		Person: "The application needs another permission for this. It should ask you.",
		Developer: "The challenge's scope names all that the operation needs, and what the token has: ask for these " +
			"together.",
	},
	"invalid_redirect_uri": {
		Person: "The application cannot be registered with this address. Tell its makers.",
		Developer: "Redirect URIs are https, http on a loopback host, or a private-use scheme; without fragment, " +
			"user part and parameters of the answer.",
	},
	"invalid_client_metadata": {
		Person: "The application describes itself in a way that is not accepted. Tell its makers.",
		Developer: "A member of the registration (RFC 7591 §2), or of the document at the client_id, is malformed or " +
			"not supported. error_description says which.",
	},
	"request_not_supported": {Person: "The application asked in a way that is not supported here. Tell its makers.",
		Developer: "Request objects (RFC 9101) are not supported: send plain parameters."},
	"request_uri_not_supported": {Person: "The application asked in a way that is not supported here. Tell its makers.",
		Developer: "No request_uri is fetched. Push the parameters first (RFC 9126), or send them plainly."},
	"invalid_request_uri": {Person: "The request has expired or was used already. Start again from the application.",
		Developer: "A pushed request (RFC 9126) is valid for 90 seconds, once, for the client that pushed it: " +
			"push again for every attempt."},
	"registration_not_supported": {Person: "The application asked in a way that is not supported here. Tell its " +
		"makers.",
		Developer: "The registration parameter is not taken: register first (RFC 7591)."},
	"temporarily_unavailable": {
		Person:    "The server is busy or a part of it does not answer. Wait a little and try again.",
		Developer: "Wait as long as Retry-After says. Nothing was changed by the request.",
	},
	"server_error": {Person: "Something broke on our side. Try again; if it stays so, give the support code to " +
		"the administrator of this server.",
		Developer: "The support code in the answer finds the line in the operator's log."},
}

// Explain shows what an error code means.
func (d *Handler) Explain(w http.ResponseWriter, r *http.Request, code string) {
	p, known := explanations[code]
	if !known {
		d.ErrorPage(w, r, told(&oauth.Error{Code: "invalid_request", Status: http.StatusNotFound,
			Description: "There is no such error code here. The answer that brought you says itself what was wrong."}))
		return
	}
	p.Code = code
	d.show(w, r, http.StatusOK, p)
}
