// Package keyring owns the signing keys: made, sealed, turned, published.
//
// A key is published from the moment it is made and signs from ActiveAt on, so that every replica and every resource knows it before the
// first token of it appears. It stays published after its successor has taken over for as long as a token of it may live.
package keyring
