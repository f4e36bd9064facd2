// Package session manages browser sessions: their cookies, who signed in, and the authorization
// requests under way.
package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// ErrNobody says that no one is signed in at this browser.
var ErrNobody = errors.New("no one is signed in")

// ErrNoTransaction says that the authorization request is unknown, expired, or another browser's.
var ErrNoTransaction = errors.New("no such request under way")

// ErrCSRF says that a form is not from a page that was shown in this browser.
var ErrCSRF = errors.New("the form is not from a page of ours")

// TransactionLife is how long a person has between the authorization request and the response.
const TransactionLife = 10 * time.Minute

// The names of cookies; with https they get the __Host- prefix, which keeps other hosts of the
// domain from setting them.
const (
	browserName = "gatehouse_browser" // identifies the browser, not the person
	sessionName = "gatehouse_session" // identifies the signed-in person
	hostPrefix  = "__Host-"
)

// Manager keeps sessions and transactions in short memory: losing them signs people out and does no
// other harm.
type Manager struct {
	Sessions     ttl.Store
	Transactions ttl.Store // written by anyone, so it may be full when Sessions is not
	Secure       bool      // the issuer is https
	Now          func() time.Time
	Life         time.Duration // lifetime of a session
	Key          []byte        // signs the marks of known browsers; the same at all replicas
}

// Session is a signed-in person.
type Session struct {
	UserID     string
	SignedInAt time.Time
	// The count of times that all of the person's sessions were ended, when this one began; a
	// session with another count is invalid.
	Ended int64
}

// Transaction is an authorization request under way.
type Transaction struct {
	Form  url.Values
	Began time.Time // when it came
}

// transaction is a stored authorization request, bound to the browser that sent it.
type transaction struct {
	Browser string // hash of the browser's cookie
	Transaction
}

// Begin stores an authorization request for this browser and returns its id, which works in this
// browser only.
func (m *Manager) Begin(w http.ResponseWriter, r *http.Request, form url.Values) (string, error) {
	id := rand.Text()
	if err := m.keep(r.Context(), id, m.browser(w, r), Transaction{form, m.Now().UTC()}); err != nil {
		return "", err
	}
	return id, nil
}

// Transaction returns the authorization request of this id, or ErrNoTransaction.
func (m *Manager) Transaction(r *http.Request, id string) (Transaction, error) {
	return m.transaction(r, id, m.Transactions.Get)
}

// Finish returns and deletes the request: of concurrent calls exactly one gets it.
func (m *Manager) Finish(r *http.Request, id string) (Transaction, error) {
	if _, err := m.Transaction(r, id); err != nil { // another browser must not finish it
		return Transaction{}, err
	}
	return m.transaction(r, id, m.Transactions.Take)
}

// Resume stores a finished request again, when what it was finished for failed.
func (m *Manager) Resume(r *http.Request, id string, t Transaction) error {
	browser, ok := m.cookie(r, browserName)
	if !ok {
		return ErrNoTransaction
	}
	return m.keep(r.Context(), id, browser, t)
}

func (m *Manager) keep(ctx context.Context, id, browser string, t Transaction) error {
	value, err := json.Marshal(transaction{digest(browser), t})
	if err != nil {
		return fmt.Errorf("keeping a transaction: %w", err)
	}
	if err := m.Transactions.Put(ctx, httpd.Source(ctx), transactionKey(id), value, TransactionLife); err != nil {
		return fmt.Errorf("keeping a transaction: %w", err)
	}
	return nil
}

func (m *Manager) transaction(r *http.Request, id string, from func(context.Context, string) ([]byte, bool, error)) (
	Transaction, error) {
	browser, ok := m.cookie(r, browserName)
	if !ok || id == "" {
		return Transaction{}, ErrNoTransaction
	}
	value, ok, err := from(r.Context(), transactionKey(id))
	if err != nil {
		return Transaction{}, fmt.Errorf("reading a transaction: %w", err)
	}
	var t transaction
	if !ok || json.Unmarshal(value, &t) != nil ||
		subtle.ConstantTimeCompare([]byte(t.Browser), []byte(digest(browser))) != 1 {
		return Transaction{}, ErrNoTransaction
	}
	return t.Transaction, nil
}

// CSRF returns the token for forms shown in this browser. It changes with every sign-in and
// sign-out.
func (m *Manager) CSRF(w http.ResponseWriter, r *http.Request) string {
	return m.csrf(r, m.browser(w, r))
}

// CheckCSRF returns ErrCSRF unless a form is from a page that was shown in this browser: its token
// does not match, or the browser says that another site sent it.
func (m *Manager) CheckCSRF(r *http.Request, token string) error {
	browser, ok := m.cookie(r, browserName)
	if !ok || subtle.ConstantTimeCompare([]byte(token), []byte(m.csrf(r, browser))) != 1 {
		return ErrCSRF
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return ErrCSRF
	}
	return nil
}

func (m *Manager) csrf(r *http.Request, browser string) string {
	session, _ := m.cookie(r, sessionName)
	mac := hmac.New(sha256.New, []byte(browser))
	mac.Write([]byte("csrf " + session))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// SignIn begins a new session for the user; the previous cookie value is invalid from then on.
// ended is how often all of the user's sessions were ended.
func (m *Manager) SignIn(w http.ResponseWriter, r *http.Request, userID string, ended int64) error {
	if err := m.forget(r); err != nil {
		return err
	}
	secret := rand.Text() + rand.Text()
	value, err := json.Marshal(Session{UserID: userID, SignedInAt: m.Now().UTC(), Ended: ended})
	if err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	if err := m.Sessions.Put(r.Context(), userID, sessionKey(secret), value, m.Life); err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	m.set(w, sessionName, secret, m.Life)
	return nil
}

// Who returns who is signed in at this browser, or ErrNobody.
func (m *Manager) Who(r *http.Request) (Session, error) {
	secret, ok := m.cookie(r, sessionName)
	if !ok {
		return Session{}, ErrNobody
	}
	value, ok, err := m.Sessions.Get(r.Context(), sessionKey(secret))
	if err != nil {
		return Session{}, fmt.Errorf("reading a session: %w", err)
	}
	var s Session
	if !ok || json.Unmarshal(value, &s) != nil || s.UserID == "" {
		return Session{}, ErrNobody
	}
	return s, nil
}

// SignOut ends the session of this browser; without one it is no error.
func (m *Manager) SignOut(w http.ResponseWriter, r *http.Request) error {
	if err := m.forget(r); err != nil {
		return err
	}
	m.set(w, sessionName, "", -time.Second)
	return nil
}

func (m *Manager) forget(r *http.Request) error {
	secret, ok := m.cookie(r, sessionName)
	if !ok {
		return nil
	}
	if _, _, err := m.Sessions.Take(r.Context(), sessionKey(secret)); err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return nil
}

// browser returns the browser's cookie value, setting one if there is none.
func (m *Manager) browser(w http.ResponseWriter, r *http.Request) string {
	if secret, ok := m.cookie(r, browserName); ok {
		return secret
	}
	secret := rand.Text() + rand.Text()
	m.set(w, browserName, secret, 0)
	// for a second call during this request
	r.AddCookie(&http.Cookie{Name: m.name(browserName), Value: secret})
	return secret
}

// cookie returns the value of a cookie. Two cookies of one name count as none: another host of the
// domain may have set one.
func (m *Manager) cookie(r *http.Request, name string) (string, bool) {
	found := r.CookiesNamed(m.name(name))
	if len(found) != 1 || len(found[0].Value) != secretLength {
		return "", false
	}
	return found[0].Value, true
}

// secretLength is the length of a cookie value: two of rand.Text, 260 random bits.
const secretLength = 52

func (m *Manager) set(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: m.name(name), Value: value, Path: "/", MaxAge: int(life.Seconds()), Secure: m.Secure, HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
}

func (m *Manager) name(name string) string {
	if m.Secure {
		return hostPrefix + name
	}
	return name
}

// Each kind of value has its own prefix, so that none is taken for another. Secrets are hashed.
func transactionKey(id string) string { return "transaction:" + digest(id) }

func sessionKey(secret string) string { return "session:" + digest(secret) }

func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
