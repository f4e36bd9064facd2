// Package keyring owns the signing keys, and the issuer's own secret: made, sealed, turned,
// published.
//
// The life of a key: it is next from the moment it is made, published and not signing, so that
// every replica and every resource knows it before the first token of it appears. From ActiveAt on
// it is active: it signs. When its successor is active it is retired, and published for as long as
// a token of it may live; then it is expired, proves nothing any more, and is kept for a while for
// what was signed long ago. Withdrawn it is nothing at once, and its private part is gone.
package keyring
