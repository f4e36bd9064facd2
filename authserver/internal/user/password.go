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

// The lengths that a password may have, in bytes. The upper bound is only there so that nobody
// makes us hash a megabyte.
const (
	MinPassword = 8
	MaxPassword = 1024
)

// ErrPassword says that a password is shorter than MinPassword or longer than MaxPassword.
var ErrPassword = errors.New("a password has 8 to 1024 bytes")

// ErrEmail says that something is no e-mail address.
var ErrEmail = errors.New("not an e-mail address")

// maxEmail is the longest address that mail can be sent to, in bytes (RFC 5321 §4.5.3.1.3).
const maxEmail = 254

// params are the least that OWASP's Password Storage Cheat Sheet allows for argon2id: 19 MiB, two
// passes, one lane. A hash says which it was made with, so raising them later locks nobody out.
var params = argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// nobodysHash is compared with when there is no hash, so that an account that is not there takes as
// long as one that is. No password fits it that anybody knows: it was made of a random one.
const nobodysHash = "$argon2id$v=19$m=19456,t=2,p=1$pNWtg8F9+fNA5Gh6Cnoidw$MbxWPdrXpBhTMxRHo2YP55fZOqrGjDacZQVwMdKcZB8"

// hashing bounds how many passwords are hashed at once: memory is the process's, so the bound is,
// too. Who waits longer than their context gets its error.
var hashing = make(chan struct{}, runtime.NumCPU())

// NewID makes a user id of 128 random bits and more.
func NewID() string { return Prefix + strings.ToLower(rand.Text()) }

// Normalize writes an e-mail address as accounts are found by it: one account, one spelling,
// whatever case, width or blanks it was typed with, its domain in ASCII form (RFC 5891). Something
// else is ErrEmail.
func Normalize(email string) (string, error) {
	email = strings.ToLower(strings.TrimSpace(norm.NFKC.String(email)))
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Address != email || len(email) > maxEmail {
		return "", ErrEmail
	}
	local, domain := cutEmail(email)
	if text.Hides(local) || strings.ContainsAny(local, "\u200c\u200d") { // two accounts that look alike
		return "", ErrEmail
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil || ascii == "" || strings.HasSuffix(ascii, ".") || len(local)+1+len(ascii) > maxEmail {
		return "", ErrEmail
	}
	return local + "@" + ascii, nil
}

// OlderForm is how an address was written before its domain was in ASCII form, for accounts from
// then; the same when it makes no difference.
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

// HashPassword hashes a password for keeping. One that is too short or too long is ErrPassword.
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

// CheckPassword says whether the hash was made of this password. An empty hash is nobody's and
// takes as long. A password that could not have been hashed is refused without work. The error says
// only that ctx ended or that the hash is damaged.
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
		hash = nobodysHash
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
