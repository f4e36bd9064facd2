package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// ErrNothingLeft says that nothing is kept for this session under this name: it was collected or
// has expired.
var ErrNothingLeft = errors.New("nothing is left for this session")

// onceLife is how long a value waits to be collected; the browser needs one redirect.
const onceLife = 5 * time.Minute

// Leave stores a secret for the session of this browser, to be shown once, and returns its name:
// the redirect carries the name, and no URL the secret. It is encrypted under the session's cookie,
// which is stored nowhere, so that the store alone reveals nothing, and the name is worth nothing
// in another session.
func (m *Manager) Leave(r *http.Request, secret []byte) (name string, err error) {
	name = rand.Text()
	key, seal, err := m.once(r, name)
	if err != nil {
		return "", err
	}
	if err := m.Sessions.Put(r.Context(), httpd.Source(r.Context()), key, seal.Seal(nil, nil, secret, nil),
		onceLife); err != nil {
		return "", fmt.Errorf("leaving a secret: %w", err)
	}
	return name, nil
}

// Collect returns and deletes what was stored for this session: of concurrent calls exactly one
// gets it.
func (m *Manager) Collect(r *http.Request, name string) ([]byte, error) {
	key, seal, err := m.once(r, name)
	if err != nil {
		return nil, err
	}
	sealed, there, err := m.Sessions.Take(r.Context(), key)
	if err != nil {
		return nil, fmt.Errorf("collecting a secret: %w", err)
	}
	if !there {
		return nil, ErrNothingLeft
	}
	secret, err := seal.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, ErrNothingLeft
	}
	return secret, nil
}

// once returns the key under which a session's secret is stored, and the cipher that opens it.
func (m *Manager) once(r *http.Request, name string) (key string, seal cipher.AEAD, err error) {
	session, ok := m.cookie(r, sessionName)
	if !ok {
		return "", nil, ErrNobody
	}
	raw, err := hkdf.Key(sha256.New, []byte(session), nil, "gatehouse shown once "+name, 32)
	if err != nil {
		return "", nil, fmt.Errorf("deriving a key: %w", err)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return "", nil, fmt.Errorf("making a cipher: %w", err)
	}
	if seal, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return "", nil, fmt.Errorf("making a cipher: %w", err)
	}
	return "once:" + digest(session+" "+name), seal, nil
}
