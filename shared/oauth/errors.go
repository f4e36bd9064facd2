package oauth

import (
	"net/http"
	"strings"
	"time"
)

// Error is an error response: the RFC's error code, a sentence that says what was wrong and what to
// do, and the HTTP status (RFC 6749 §5.2 and others). Any other error becomes server_error in the
// response, and its detail is only logged.
type Error struct {
	Code string // the RFC's error code, e.g. "invalid_grant"
	// for people; ASCII without quote and backslash (RFC 6749 §5.2), never a secret or internal
	// error
	Description string
	// Person is what a page tells a person in place of Description, which is for developers. Empty:
	// the explanation of Code.
	Person string `json:"-"`
	Status int    // HTTP status

	// Wait is how long the client should wait before the next try (Retry-After, RFC 9110 §10.2.3).
	// Zero: not sent.
	Wait time.Duration
}

func (e *Error) Error() string { return e.Code + ": " + e.Description }

// InvalidRequest: a parameter is missing, repeated or malformed (RFC 6749 §5.2).
func InvalidRequest(description string) *Error {
	return &Error{Code: "invalid_request", Description: description, Status: http.StatusBadRequest}
}

// InvalidClient: the client is unknown or did not authenticate (RFC 6749 §5.2).
func InvalidClient(description string) *Error {
	return &Error{Code: "invalid_client", Description: description, Status: http.StatusUnauthorized}
}

// InvalidGrant: the code or refresh token is unknown, used, expired, revoked or another client's
// (RFC 6749 §5.2).
func InvalidGrant(description string) *Error {
	return &Error{Code: "invalid_grant", Description: description, Status: http.StatusBadRequest}
}

// UnauthorizedClient: this client may not use this grant type (RFC 6749 §5.2).
func UnauthorizedClient(description string) *Error {
	return &Error{Code: "unauthorized_client", Description: description, Status: http.StatusBadRequest}
}

// UnsupportedGrantType: the token endpoint does not support this grant type (RFC 6749 §5.2).
func UnsupportedGrantType(description string) *Error {
	return &Error{Code: "unsupported_grant_type", Description: description, Status: http.StatusBadRequest}
}

// UnsupportedResponseType: only "code" is supported (RFC 6749 §4.1.2.1).
func UnsupportedResponseType(description string) *Error {
	return &Error{Code: "unsupported_response_type", Description: description, Status: http.StatusBadRequest}
}

// InvalidScope: the scope is unknown, malformed or wider than allowed (RFC 6749 §5.2).
func InvalidScope(description string) *Error {
	return &Error{Code: "invalid_scope", Description: description, Status: http.StatusBadRequest}
}

// InvalidTarget: the resource is unknown, malformed or outside the grant (RFC 8707 §2).
func InvalidTarget(description string) *Error {
	return &Error{Code: "invalid_target", Description: description, Status: http.StatusBadRequest}
}

// AccessDenied: the person denied the request (RFC 6749 §4.1.2.1).
func AccessDenied(description string) *Error {
	return &Error{Code: "access_denied", Description: description, Status: http.StatusForbidden}
}

// InvalidDPoPProof: a required proof is missing or invalid (RFC 9449 §5).
func InvalidDPoPProof(description string) *Error {
	return &Error{Code: "invalid_dpop_proof", Description: description, Status: http.StatusBadRequest}
}

// UseDPoPNonce: the proof must have the nonce of the response's DPoP-Nonce header (RFC 9449 §8).
func UseDPoPNonce(description string) *Error {
	return &Error{Code: "use_dpop_nonce", Description: description, Status: http.StatusBadRequest}
}

// InvalidToken: a bearer token is missing, malformed, expired, revoked or for another audience (RFC
// 6750 §3.1).
func InvalidToken(description string) *Error {
	return &Error{Code: "invalid_token", Description: description, Status: http.StatusUnauthorized}
}

// InsufficientScope: the token is valid but lacks a scope (RFC 6750 §3.1).
func InsufficientScope(description string) *Error {
	return &Error{Code: "insufficient_scope", Description: description, Status: http.StatusForbidden}
}

// InvalidRedirectURI: a redirect URI may not be registered (RFC 7591 §3.2.2).
func InvalidRedirectURI(description string) *Error {
	return &Error{Code: "invalid_redirect_uri", Description: description, Status: http.StatusBadRequest}
}

// InvalidClientMetadata: a registration member is malformed or not allowed (RFC 7591 §3.2.2).
func InvalidClientMetadata(description string) *Error {
	return &Error{Code: "invalid_client_metadata", Description: description, Status: http.StatusBadRequest}
}

// ServerError: an internal error, which is logged (RFC 6749 §4.1.2.1).
func ServerError() *Error {
	return &Error{Code: "server_error",
		Description: "Something went wrong on our side. Try again; if it persists, give the operator the support code.",
		Status:      http.StatusInternalServerError}
}

// TemporarilyUnavailable: a store or another server does not answer; the client should retry (RFC
// 6749 §4.1.2.1).
func TemporarilyUnavailable() *Error {
	return &Error{Code: "temporarily_unavailable",
		Description: "The service cannot answer just now. Try again in a few seconds.",
		Status:      http.StatusServiceUnavailable, Wait: 2 * time.Second}
}

// TooManyRequests: a rate limit was reached; Retry-After is wait (RFC 6585 §4).
func TooManyRequests(wait time.Duration) *Error {
	return &Error{Code: "temporarily_unavailable", Description: "Too many requests. Wait as long as Retry-After says.",
		Status: http.StatusTooManyRequests, Wait: wait}
}

// Description replaces what an error_description may not contain (RFC 6749 section 5.2).
func Description(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '`':
			return '\''
		case r < 0x20 || r > 0x7e || r == '\\':
			return ' '
		}
		return r
	}, s)
}
