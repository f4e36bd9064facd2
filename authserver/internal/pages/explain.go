package pages

import (
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/web"
)

// explanations say what an error code means: for the person, and for the application's developer.
var explanations = map[string]web.Explanation{
	"invalid_request": {
		Person: "The application sent something that cannot be understood. It is not your fault; start again from " +
			"the application, and tell its makers if it stays so.",
		Developer: "A parameter is missing, repeated, malformed or in the wrong place. error_description names it. " +
			"Form bodies are application/x-www-form-urlencoded in UTF-8, and PKCE with S256 is required (OAuth 2.1 " +
			"§4.1.1).",
	},
	"invalid_client": {
		Person: "This server does not know the application any more, or the application could not prove who it " +
			"is. Remove the connection in the application and connect again: it registers anew.",
		Developer: "The client_id is unknown, its registration has expired, or the secret or assertion does not fit. " +
			"Throw the client_id away and register again (RFC 7591). An assertion's aud is the issuer alone, its exp " +
			"at most five minutes ahead, its jti never used before.",
	},
	"invalid_grant": {
		Person: "The permission has ended or was used up. Connect again from the application.",
		Developer: "The code or refresh token is unknown, expired, used before, another client's, or its grant has " +
			"ended. Do not try it again: ask the person anew. A refresh token changes at every use; keep the newest.",
	},
	"unauthorized_client": {
		Person: "The application may not do this here. Ask the administrator of this server.",
		Developer: "This client is not registered for the grant type, or the operator ended its permission. " +
			"client_credentials is for clients that belong to a tenant.",
	},
	"unsupported_grant_type": {Person: "The application asked in a way that is not offered here. Tell its makers.",
		Developer: "See grant_types_supported in the metadata."},
	"unsupported_response_type": {Person: "The application asked in a way that is not offered here. Tell its makers.",
		Developer: "The only response_type is code."},
	"invalid_scope": {
		Person: "The application asked for more than it may have here.",
		Developer: "A scope is unknown at the resource, outside the client's or the permission's, or malformed. " +
			"error_description names what there is. Scopes are compared exactly; on renewal they can be narrowed, " +
			"never widened.",
	},
	"invalid_target": {
		Person: "The application asked for a server that is not served here. Check the address that you gave it.",
		Developer: "The resource parameter (RFC 8707) is not the URI of a resource here, or not the permission's. " +
			"error_description says which was expected: send it byte for byte.",
	},
	"access_denied": {
		Person: "You said no, or your organisation or your role in it does not allow what was asked for.",
		Developer: "The person did not agree, or could not, or the tenant's policy does not let this client in: " +
			"error_description says which. Do not ask again at once.",
	},
	"authorization_pending": {Person: "The device waits for you: open the page that it names and type the code that " +
		"it shows.", Developer: "Nobody has decided yet. Ask again after interval seconds (RFC 8628 §3.5)."},
	"slow_down": {Person: "The device asks too often. Give it a little time.",
		Developer: "Wait five seconds more between askings from now on (RFC 8628 §3.5)."},
	"expired_token": {Person: "The code that the device showed is over. Have it show a new one.",
		Developer: "The device_code is unknown, or its ten minutes are over: begin anew at the device authorization " +
			"endpoint."},
	"login_required": {Person: "You have to sign in; the application tried to go without.",
		Developer: "prompt=none cannot be met: nobody has signed in here, not lately enough for max_age, or somebody " +
			"else than id_token_hint names. Send the request without prompt."},
	"consent_required": {Person: "You have to agree; the application tried to go without.",
		Developer: "prompt=none is met only for clients that the operator made, with a secret or a key, and for what " +
			"the person allowed them before. Send the request without prompt."},
	"interaction_required": {Person: "You have to choose an organisation; the application tried to go without.",
		Developer: "The person has let this client in for several organisations: prompt=none cannot choose. Send the " +
			"request without prompt."},
	"invalid_token": {Person: "The application's access is over. Connect again if it does not do so by itself.",
		Developer: "The bearer token is missing, malformed, expired, ended or not for this. Renew it once; if that " +
			"does not do, ask the person."},
	"invalid_dpop_proof": {
		Person: "The application did not prove that it is the one that the access was given to. Check this " +
			"device's clock, and connect again if it stays so.",
		Developer: "The DPoP proof (RFC 9449 §4.3) is missing where it is needed, or does not hold; " +
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
		Person: "The application describes itself in a way that cannot be taken. Tell its makers.",
		Developer: "A member of the registration (RFC 7591 §2), or of the document at the client_id, is malformed or " +
			"not offered. error_description says which.",
	},
	"request_not_supported": {Person: "The application asked in a way that is not offered here. Tell its makers.",
		Developer: "Request objects (RFC 9101) are not taken: send plain parameters."},
	"request_uri_not_supported": {Person: "The application asked in a way that is not offered here. Tell its makers.",
		Developer: "No request_uri is fetched. Push the parameters first (RFC 9126), or send them plainly."},
	"invalid_request_uri": {Person: "You came too late, or twice. Start again from the application.",
		Developer: "A pushed request (RFC 9126) is good for 90 seconds, once, and for the client that pushed it: " +
			"push anew for every attempt."},
	"registration_not_supported": {Person: "The application asked in a way that is not offered here. Tell its makers.",
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
		d.ErrorPage(w, r, &oauth.Error{Code: "invalid_request", Status: http.StatusNotFound,
			Description: "There is no such error code here. The answer that brought you says itself what was wrong."})
		return
	}
	p.Code = code
	d.show(w, r, http.StatusOK, p)
}
