// Package keyring creates, seals, rotates and publishes the signing keys and the issuer's root
// secret.
//
// A new key is "next": published but not signing, so that every replica and resource server knows
// it before its first token. From ActiveAt on it is "active" and signs. When its successor is
// active it is "retired", and published as long as a token of it may be valid; then it is
// "expired", verifies nothing any more, and is kept for a while for what was signed long ago. A
// "withdrawn" key is invalid at once, and its private part is deleted.
package keyring
