// Package personal encrypts what audit records say of a person, under a key of that person's own.
//
// The chain of audit records holds and hashes the encrypted form, so that deleting the key makes it
// unreadable for ever and changes no record.
package personal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// Store stores people's wrapped keys.
type Store interface {
	// AuditKey returns a person's wrapped key; empty when there is none yet, user.ErrNotFound
	// without such a person.
	AuditKey(ctx context.Context, userID string) ([]byte, error)
	// PutAuditKey stores a person's wrapped key unless there is one, or no such person.
	PutAuditKey(ctx context.Context, userID string, wrapped []byte) error
}

// Secrets derives keys from the issuer's root secret, which is sealed under the key-encryption key.
type Secrets interface {
	// HasSecret reports whether there is a secret.
	HasSecret() bool
	// Derive derives the key of a purpose; there must be a secret.
	Derive(purpose, salt string) []byte
}

// Vault encrypts and decrypts. The zero value does neither.
type Vault struct{ Secrets Secrets }

// keySize is the size of a person's key, in bytes.
const keySize = 32

// errNoSecret says that nothing can be encrypted before the issuer has its secret.
var errNoSecret = errors.New("the issuer has no secret yet, which people's keys are wrapped under")

// sealed matches what Seal writes.
var sealed = regexp.MustCompile(`sealed\(([A-Za-z0-9_-]+)\)`)

// NewKey returns a new wrapped key for a person.
func (v Vault) NewKey(userID string) (wrapped []byte, err error) {
	wrap, err := v.wrapping()
	if err != nil {
		return nil, err
	}
	key := make([]byte, keySize)
	rand.Read(key) // never fails
	return wrap.Seal(nil, nil, key, []byte(userID)), nil
}

// SealUnder encrypts text about a person under their wrapped key. The result is printable ASCII
// without spaces, about a third and 40 bytes longer than the text.
func (v Vault) SealUnder(wrapped []byte, userID, text string) (string, error) {
	c, err := v.opened(wrapped, userID)
	if err != nil {
		return "", err
	}
	return "sealed(" + base64.RawURLEncoding.EncodeToString(c.Seal(nil, nil, []byte(text), []byte(userID))) + ")", nil
}

// Seal encrypts text about a person under their key, creating it at the first use. For a deleted
// person it returns the pseudonym.
func (v Vault) Seal(ctx context.Context, s Store, userID, text string) (string, error) {
	wrapped, err := s.AuditKey(ctx, userID)
	if err == nil && len(wrapped) == 0 {
		wrapped, err = v.first(ctx, s, userID)
	}
	if errors.Is(err, user.ErrNotFound) {
		return Pseudonym(userID), nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the key for what the audit says of a person: %w", err)
	}
	return v.SealUnder(wrapped, userID, text)
}

// first creates the key of a person who has none, and returns the one that is stored, which another
// process may have written.
func (v Vault) first(ctx context.Context, s Store, userID string) ([]byte, error) {
	wrapped, err := v.NewKey(userID)
	if err != nil {
		return nil, err
	}
	if err := s.PutAuditKey(ctx, userID, wrapped); err != nil {
		return nil, err
	}
	return s.AuditKey(ctx, userID)
}

// Open decrypts personal data in records. For a deleted person it inserts the pseudonym; what
// cannot be decrypted stays as it is.
func (v Vault) Open(ctx context.Context, s Store, records []audit.Record) error {
	readers := map[string]func(word string) string{} // by the person's id
	for i := range records {
		r := &records[i]
		if !sealed.MatchString(r.Actor) && !sealed.MatchString(r.Detail) || !strings.HasPrefix(r.Target, user.Prefix) {
			continue
		}
		read, known := readers[r.Target]
		if !known {
			wrapped, err := s.AuditKey(ctx, r.Target)
			if err != nil && !errors.Is(err, user.ErrNotFound) {
				return fmt.Errorf("reading the key for what the audit says of a person: %w", err)
			}
			read = v.reader(wrapped, r.Target, err != nil)
			readers[r.Target] = read
		}
		r.Actor, r.Detail = sealed.ReplaceAllStringFunc(r.Actor, read), sealed.ReplaceAllStringFunc(r.Detail, read)
	}
	return nil
}

// reader returns what decrypts the data of a person, who may be deleted.
func (v Vault) reader(wrapped []byte, userID string, gone bool) func(word string) string {
	if gone {
		return func(string) string { return Pseudonym(userID) }
	}
	key, err := v.opened(wrapped, userID)
	if err != nil { // the database was changed, or there is no secret to unwrap it: the record is shown all the same
		return func(word string) string { return word }
	}
	return func(word string) string {
		raw, err := base64.RawURLEncoding.DecodeString(sealed.FindStringSubmatch(word)[1])
		if err != nil {
			return word
		}
		text, err := key.Open(nil, nil, raw, []byte(userID))
		if err != nil {
			return word
		}
		return string(text)
	}
}

// Pseudonym returns what replaces a deleted person: the beginning of their id, which is random and
// never reused.
func Pseudonym(userID string) string {
	short := strings.TrimPrefix(userID, user.Prefix)
	return "deleted user " + short[:min(len(short), 8)] + "…"
}

// opened unwraps a person's key.
func (v Vault) opened(wrapped []byte, userID string) (cipher.AEAD, error) {
	wrap, err := v.wrapping()
	if err != nil {
		return nil, err
	}
	key, err := wrap.Open(nil, nil, wrapped, []byte(userID))
	if err != nil {
		return nil, fmt.Errorf("the key of person %s was wrapped under another secret, or altered", userID)
	}
	return newGCM(key)
}

func (v Vault) wrapping() (cipher.AEAD, error) {
	if v.Secrets == nil || !v.Secrets.HasSecret() {
		return nil, errNoSecret
	}
	return newGCM(v.Secrets.Derive("keys of people", ""))
}

// newGCM returns AES-256-GCM with random nonces.
func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("preparing a key: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}
