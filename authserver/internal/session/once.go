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

// ErrNothingLeft says that nothing waits for this session by this name: it was collected, or its
// time is over.
var ErrNothingLeft = errors.New("nothing is left for this session")

// onceLife is how long something waits to be collected. It takes a redirect.
const onceLife = 5 * time.Minute

// Leave keeps a secret for whoever is signed in at this browser, to be shown once, and returns its
// name: a redirect carries the name, and no address ever the secret. It is sealed with the
// session's cookie, which is kept nowhere, so that short memory by itself tells nothing; the name
// is worth nothing to anybody else.
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

// Collect returns what was left for this session and ends it: of many at once, exactly one gets it.
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

// once is where a session's secret of a name lies, and what opens it.
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
