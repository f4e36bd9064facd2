package client

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// The prefixes let secret scanners find our credentials.
const (
	secretPrefix       = "ghs_"
	initialTokenPrefix = "ghi_"
	manageTokenPrefix  = "ghm_"
	idPrefix           = "cli_"
)

// hashPrefix names the form of a stored secret, so that another form can be added.
const hashPrefix = "sha256$"

// NewID returns a client id of at least 128 random bits. It is never chosen by the caller, and
// never looks like a URL or a user's id (RFC 9700 §4.15).
func NewID() string { return idPrefix + strings.ToLower(rand.Text()) }

// NewSecret returns a client secret of 256 random bits. Only its hash is stored.
func NewSecret() string { return secretPrefix + random256() }

// NewInitialToken returns an initial access token of 256 random bits (RFC 7591 §3). Only its hash
// is stored.
func NewInitialToken() string { return initialTokenPrefix + random256() }

// NewManageToken returns a registration access token of 256 random bits (RFC 7592 §3). Only its
// hash is stored.
func NewManageToken() string { return manageTokenPrefix + random256() }

// HashSecret returns the stored form of a generated secret. SHA-256 suffices for 256 random bits,
// which cannot be guessed; it is never used for anything that a person chose.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// CheckSecret reports, in constant time, whether hash is that of secret. It is false when either is
// empty.
func CheckSecret(hash, secret string) bool {
	same := subtle.ConstantTimeCompare([]byte(hash), []byte(HashSecret(secret))) == 1
	return same && secret != "" && hash != ""
}

// TokenHash returns the key under which a token is stored: SHA-256, hex.
func TokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func random256() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand crashes the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}
