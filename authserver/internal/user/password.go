package user

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/mail"
	"runtime"
	"strings"

	"github.com/alexedwards/argon2id"
	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// The lengths of passwords, in bytes. The upper bound keeps anyone from having megabytes hashed.
const (
	MinPassword = 8
	MaxPassword = 1024
)

// ErrPassword says that a password is shorter than MinPassword or longer than MaxPassword.
var ErrPassword = errors.New("a password has 8 to 1024 bytes")

// ErrEmail says that the text is no e-mail address.
var ErrEmail = errors.New("not an e-mail address")

// maxEmail is the longest address that mail can be sent to, in bytes (RFC 5321 §4.5.3.1.3).
const maxEmail = 254

// params are the minimum of OWASP's Password Storage Cheat Sheet for argon2id: 19 MiB, two passes,
// one lane. Each hash names its own, so they can be raised later.
var params = argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// unknownUserHash is compared with when there is no account, so that the answer takes as long as
// for an existing one. It is the hash of a random password that no one knows.
const unknownUserHash = "$argon2id$v=19$m=19456,t=2," +
	"p=1$pNWtg8F9+fNA5Gh6Cnoidw$MbxWPdrXpBhTMxRHo2YP55fZOqrGjDacZQVwMdKcZB8"

// hashing bounds how many passwords are hashed at once, and with it the process's memory. Waiting
// ends with the context's error.
var hashing = make(chan struct{}, runtime.NumCPU())

// NewID returns a user id of at least 128 random bits.
func NewID() string { return Prefix + strings.ToLower(rand.Text()) }

// Normalize returns the form of an e-mail address by which accounts are found: one spelling
// whatever case, width or spaces were typed, with the domain in ASCII form (RFC 5891). It returns
// ErrEmail for anything else.
func Normalize(email string) (string, error) {
	email = strings.ToLower(strings.TrimSpace(norm.NFKC.String(email)))
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Address != email || len(email) > maxEmail {
		return "", ErrEmail
	}
	local, domain := cutEmail(email)
	if text.Hides(local) || strings.ContainsAny(local, "\u200c\u200d") { // two accounts would look alike
		return "", ErrEmail
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil || ascii == "" || strings.HasSuffix(ascii, ".") || len(local)+1+len(ascii) > maxEmail {
		return "", ErrEmail
	}
	return local + "@" + ascii, nil
}

// OlderForm returns the form that older accounts have, without the ASCII domain; it may be the
// same.
func OlderForm(email string) string {
	local, domain := cutEmail(email)
	shown, err := idna.Lookup.ToUnicode(domain)
	if err != nil {
		return email
	}
	return local + "@" + shown
}

func cutEmail(email string) (local, domain string) {
	at := strings.LastIndexByte(email, '@')
	return email[:max(at, 0)], email[at+1:]
}

// HashPassword returns the hash of a password, or ErrPassword when its length is out of bounds.
func HashPassword(ctx context.Context, password string) (string, error) {
	if len(password) < MinPassword || len(password) > MaxPassword {
		return "", ErrPassword
	}
	if err := enter(ctx); err != nil {
		return "", err
	}
	defer leave()
	return argon2id.CreateHash(password, &params)
}

// CheckPassword reports whether hash is that of password. An empty hash matches none and takes as
// long. A password of invalid length is rejected without hashing. The error is that of ctx, or of a
// damaged hash.
func CheckPassword(ctx context.Context, hash, password string) (bool, error) {
	if len(password) < MinPassword || len(password) > MaxPassword {
		return false, nil
	}
	if err := enter(ctx); err != nil {
		return false, err
	}
	defer leave()
	nobody := hash == ""
	if nobody {
		hash = unknownUserHash
	}
	same, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("comparing a password: %w", err)
	}
	return same && !nobody, nil
}

func enter(ctx context.Context) error {
	select {
	case hashing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting to hash a password: %w", ctx.Err())
	}
}

func leave() { <-hashing }
