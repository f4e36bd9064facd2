// Package oauth owns the wire vocabulary of OAuth that both wings and their users speak: one file
// per RFC.
//
// It holds words and their spelling, no policy: what is allowed is decided by whoever uses it.
package oauth
