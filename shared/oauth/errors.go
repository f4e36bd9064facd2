package oauth

import (
	"net/http"
	"time"
)

// Error is an answer that a stranger may see: an RFC's error code, a sentence that says what was
// wrong and what to do, and the HTTP status that goes with it (RFC 6749 §5.2 and its neighbours).
// Anything that is not an Error becomes server_error at the door, and its detail stays in the log.
type Error struct {
	Code string // the RFC's error code, e.g. "invalid_grant"
	// for people; ASCII without quote and backslash (RFC 6749 §5.2), never a secret or an inner
	// error
	Description string
	Status      int // HTTP status

	// Wait is how long the asker should wait before the next try; the answer's Retry-After says it
	// (RFC 9110 §10.2.3). Zero says nothing.
	Wait time.Duration
}

func (e *Error) Error() string { return e.Code + ": " + e.Description }

// InvalidRequest: a parameter is missing, repeated or malformed (RFC 6749 §5.2).
func InvalidRequest(description string) *Error {
	return &Error{Code: "invalid_request", Description: description, Status: http.StatusBadRequest}
}

// InvalidClient: the client is unknown or did not prove who it is (RFC 6749 §5.2).
func InvalidClient(description string) *Error {
	return &Error{Code: "invalid_client", Description: description, Status: http.StatusUnauthorized}
}

// InvalidGrant: the code or refresh token is unknown, spent, expired, ended or another client's
// (RFC 6749 §5.2).
func InvalidGrant(description string) *Error {
	return &Error{Code: "invalid_grant", Description: description, Status: http.StatusBadRequest}
}

// UnauthorizedClient: this client may not use this grant type (RFC 6749 §5.2).
func UnauthorizedClient(description string) *Error {
	return &Error{Code: "unauthorized_client", Description: description, Status: http.StatusBadRequest}
}

// UnsupportedGrantType: the token endpoint does not know this grant type (RFC 6749 §5.2).
func UnsupportedGrantType(description string) *Error {
	return &Error{Code: "unsupported_grant_type", Description: description, Status: http.StatusBadRequest}
}

// UnsupportedResponseType: only "code" is answered (RFC 6749 §4.1.2.1).
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

// AccessDenied: the person said no (RFC 6749 §4.1.2.1).
func AccessDenied(description string) *Error {
	return &Error{Code: "access_denied", Description: description, Status: http.StatusForbidden}
}

// InvalidDPoPProof: a request lacks the proof of a key that it needs, or the proof does not hold
// (RFC 9449 §5).
func InvalidDPoPProof(description string) *Error {
	return &Error{Code: "invalid_dpop_proof", Description: description, Status: http.StatusBadRequest}
}

// UseDPoPNonce: the proof must have the nonce of the answer's DPoP-Nonce header (RFC 9449 §8).
func UseDPoPNonce(description string) *Error {
	return &Error{Code: "use_dpop_nonce", Description: description, Status: http.StatusBadRequest}
}

// InvalidToken: a bearer token is missing, malformed, expired, ended or not for us (RFC 6750 §3.1).
func InvalidToken(description string) *Error {
	return &Error{Code: "invalid_token", Description: description, Status: http.StatusUnauthorized}
}

// InsufficientScope: the token is good, but does not open this (RFC 6750 §3.1).
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

// ServerError: something of ours broke; the log knows (RFC 6749 §4.1.2.1).
func ServerError() *Error {
	return &Error{Code: "server_error",
		Description: "Something went wrong on our side. Try again; if it persists, give the operator the support code.",
		Status:      http.StatusInternalServerError}
}

// TemporarilyUnavailable: a store or a neighbour does not answer; trying again is right (RFC 6749
// §4.1.2.1).
func TemporarilyUnavailable() *Error {
	return &Error{Code: "temporarily_unavailable",
		Description: "The service cannot answer just now. Try again in a few seconds.",
		Status:      http.StatusServiceUnavailable, Wait: 2 * time.Second}
}

// TooManyRequests: a rate limit was reached, and has room again after wait; Retry-After says so
// (RFC 6585 §4).
func TooManyRequests(wait time.Duration) *Error {
	return &Error{Code: "temporarily_unavailable", Description: "Too many requests. Wait as long as Retry-After says.",
		Status: http.StatusTooManyRequests, Wait: wait}
}
