package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A browser or an address from which an account signed in before has a limit of its own, so that
// people guessing at the account elsewhere cannot use it up. Its cookie has no other use and signs
// no one in.

// knownName is the cookie that holds a browser's marks, one for each account that signed in there.
const knownName = "gatehouse_known"

const (
	knownLife   = 180 * 24 * time.Hour
	addressLife = 30 * 24 * time.Hour
	mostMarks   = 5 // of a browser, newest first
)

// A mark is a random id and a MAC over it and the account.
const (
	markID   = 12 // bytes
	markSize = markID + sha256.Size
)

// KnownBrowser returns the id of this browser's mark for an account id, or "" when the account has
// not signed in there.
func (m *Manager) KnownBrowser(r *http.Request, account string) string {
	for _, raw := range m.marks(r) {
		if mark, err := base64.RawURLEncoding.DecodeString(raw); err == nil && m.marked(mark, account) {
			return base64.RawURLEncoding.EncodeToString(mark[:markID])
		}
	}
	return ""
}

// KnownAddress reports whether the account signed in from this source before. It is false when the
// store fails.
func (m *Manager) KnownAddress(ctx context.Context, account, source string) bool {
	_, known, err := m.Sessions.Get(ctx, addressKey(account, source))
	return err == nil && known
}

// Know marks this browser and this source as known for the account.
func (m *Manager) Know(w http.ResponseWriter, r *http.Request, account, source string) error {
	if err := m.Sessions.Put(r.Context(), account, addressKey(account, source), []byte("1"), addressLife); err != nil {
		return fmt.Errorf("remembering where somebody signed in: %w", err)
	}
	if m.KnownBrowser(r, account) != "" {
		return nil
	}
	id := make([]byte, markID)
	rand.Read(id)
	marks := append([]string{base64.RawURLEncoding.EncodeToString(append(id, m.mark(id, account)...))}, m.marks(r)...)
	m.set(w, knownName, strings.Join(marks[:min(len(marks), mostMarks)], "."), knownLife)
	return nil
}

// marks returns the marks in the cookie: none when there are two such cookies or the value is too
// long.
func (m *Manager) marks(r *http.Request) []string {
	found := r.CookiesNamed(m.name(knownName))
	if len(found) != 1 || len(found[0].Value) > mostMarks*(base64.RawURLEncoding.EncodedLen(markSize)+1) {
		return nil
	}
	return strings.Split(found[0].Value, ".")
}

func (m *Manager) marked(mark []byte, account string) bool {
	return len(mark) == markSize && hmac.Equal(mark[markID:], m.mark(mark[:markID], account))
}

func (m *Manager) mark(id []byte, account string) []byte {
	mac := hmac.New(sha256.New, m.Key)
	mac.Write(id)
	mac.Write([]byte(account))
	return mac.Sum(nil)
}

func addressKey(account, source string) string { return "signed-in:" + digest(account+"\x00"+source) }
