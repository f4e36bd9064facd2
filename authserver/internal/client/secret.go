package client

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// Prefixes make our credentials easy to find for scanners that look for leaked secrets.
const (
	secretPrefix       = "ghs_"
	initialTokenPrefix = "ghi_"
	manageTokenPrefix  = "ghm_"
	idPrefix           = "cli_"
)

// hashPrefix names the form of a stored secret, so that another form can come beside it.
const hashPrefix = "sha256$"

// NewID makes a client id: 128 random bits and more, never chosen by the caller, never like a URL
// or a user's id (RFC 9700 §4.15).
func NewID() string { return idPrefix + strings.ToLower(rand.Text()) }

// NewSecret makes a client secret of 256 random bits. Only its hash is ever stored.
func NewSecret() string { return secretPrefix + random256() }

// NewInitialToken makes an initial access token of 256 random bits (RFC 7591 §3). Only its hash is
// ever stored.
func NewInitialToken() string { return initialTokenPrefix + random256() }

// NewManageToken makes a registration access token of 256 random bits (RFC 7592 §3). Only its hash
// is ever stored.
func NewManageToken() string { return manageTokenPrefix + random256() }

// HashSecret is how a secret of ours is stored. SHA-256 is enough for 256 random bits: there is
// nothing to guess, so a slow hash would only slow us down. It is never used for anything that a
// person chose.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// CheckSecret says whether secret is the one that hash was made of, in constant time. An empty
// secret or hash never is.
func CheckSecret(hash, secret string) bool {
	same := subtle.ConstantTimeCompare([]byte(hash), []byte(HashSecret(secret))) == 1
	return same && secret != "" && hash != ""
}

// TokenHash is the key under which a token of ours is stored: SHA-256, hex.
func TokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func random256() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program rather than return weak bytes
	return base64.RawURLEncoding.EncodeToString(b[:])
}
