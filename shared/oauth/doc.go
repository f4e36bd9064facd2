// Package oauth defines the vocabulary of OAuth requests, responses and metadata, one file per RFC.
//
// It parses and writes; what is allowed is decided by its users.
package oauth
