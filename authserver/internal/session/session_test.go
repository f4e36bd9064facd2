package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/session"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// browser keeps cookies as a browser does.
type browser map[string]string

// visit lets f act on a request of this browser, and keeps the cookies that come back.
func (b browser) visit(f func(w http.ResponseWriter, r *http.Request)) []*http.Cookie {
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil)
	for name, value := range b {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	f(w, r)
	got := w.Result().Cookies()
	for _, c := range got {
		if c.MaxAge < 0 {
			delete(b, c.Name)
			continue
		}
		b[c.Name] = c.Value
	}
	return got
}

func manager() *session.Manager {
	return &session.Manager{Sessions: ttl.NewMemory(ttl.Options{}), Transactions: ttl.NewMemory(ttl.Options{}),
		Secure: true, Now: time.Now, Life: time.Hour}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b browser) begin(t *testing.T, m *session.Manager) (id string) {
	b.visit(func(w http.ResponseWriter, r *http.Request) {
		var err error
		id, err = m.Begin(w, r, url.Values{"client_id": {"cli_app"}})
		must(t, err)
	})
	return id
}

func (b browser) signIn(t *testing.T, m *session.Manager, userID string) []*http.Cookie {
	return b.visit(func(w http.ResponseWriter, r *http.Request) { must(t, m.SignIn(w, r, userID, 0)) })
}

func (b browser) who(m *session.Manager) (s session.Session, err error) {
	b.visit(func(_ http.ResponseWriter, r *http.Request) { s, err = m.Who(r) })
	return s, err
}

// LG-03: the browser that begins is the only one that goes on.
func TestATransactionIsBoundToItsBrowser(t *testing.T) {
	m, ann, mallory := manager(), browser{}, browser{}
	id := mallory.begin(t, m)
	ann.begin(t, m)
	ann.visit(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := m.Transaction(r, id); !errors.Is(err, session.ErrNoTransaction) {
			t.Errorf("reading another browser's transaction: got %v, want ErrNoTransaction", err)
		}
		if _, err := m.Finish(r, id); !errors.Is(err, session.ErrNoTransaction) {
			t.Errorf("finishing another browser's transaction: got %v, want ErrNoTransaction", err)
		}
	})
	mallory.visit(func(_ http.ResponseWriter, r *http.Request) {
		if form, err := m.Transaction(r, id); err != nil || form.Form.Get("client_id") != "cli_app" {
			t.Errorf("its own: got %v %v, want it still there", form, err)
		}
		if _, err := m.Transaction(r, ""); !errors.Is(err, session.ErrNoTransaction) {
			t.Errorf("no id: got %v, want ErrNoTransaction", err)
		}
	})
}

func TestATransactionIsFinishedOnce(t *testing.T) {
	m, ann := manager(), browser{}
	id := ann.begin(t, m)
	var wg sync.WaitGroup
	var wins atomic.Int64
	for range 20 {
		wg.Go(func() {
			r := httptest.NewRequest("POST", "/", nil)
			for name, value := range ann {
				r.AddCookie(&http.Cookie{Name: name, Value: value})
			}
			if _, err := m.Finish(r, id); err == nil {
				wins.Add(1)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("got %d winners, want 1", wins.Load())
	}
}

// LG-01, LG-02
func TestFormsComeFromOurPages(t *testing.T) {
	m, ann, mallory := manager(), browser{}, browser{}
	token := func(b browser) (s string) {
		b.visit(func(w http.ResponseWriter, r *http.Request) { s = m.CSRF(w, r) })
		return s
	}
	check := func(b browser, token, site string) (err error) {
		b.visit(func(_ http.ResponseWriter, r *http.Request) {
			if site != "" {
				r.Header.Set("Sec-Fetch-Site", site)
			}
			err = m.CheckCSRF(r, token)
		})
		return err
	}
	anns, mallorys := token(ann), token(mallory)
	for _, row := range []struct {
		name, token, site string
		want              error
	}{
		{"her own", anns, "", nil},
		{"her own, as browsers say", anns, "same-origin", nil},
		{"from another site", anns, "cross-site", session.ErrCSRF},
		{"from a neighbour", anns, "same-site", session.ErrCSRF},
		{"another browser's", mallorys, "", session.ErrCSRF},
		{"none", "", "", session.ErrCSRF},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := check(ann, row.token, row.site); !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
	ann.signIn(t, m, "usr_ann")
	if err := check(ann, anns, ""); !errors.Is(err, session.ErrCSRF) {
		t.Errorf("a token from before signing in: got %v, want ErrCSRF", err)
	}
	if err := check(browser{}, anns, ""); !errors.Is(err, session.ErrCSRF) {
		t.Errorf("a browser without cookies: got %v, want ErrCSRF", err)
	}
}

func TestSigningIn(t *testing.T) {
	m, ann := manager(), browser{}
	if _, err := ann.who(m); !errors.Is(err, session.ErrNobody) {
		t.Errorf("before: got %v, want ErrNobody", err)
	}
	planted := strings.Repeat("A", 52)
	ann["__Host-gatehouse_session"] = planted
	for _, c := range ann.signIn(t, m, "usr_ann") { // LG-21
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode ||
			c.Path != "/" || c.Domain != "" {
			t.Errorf("cookie %+v, want __Host-, Secure, HttpOnly, SameSite=Lax, Path=/ and no Domain", c)
		}
	}
	first := ann["__Host-gatehouse_session"]
	if s, err := ann.who(m); s.UserID != "usr_ann" || err != nil || first == planted { // LG-07
		t.Errorf("got %v %v with cookie %s, want ann with a cookie of her own", s, err, first)
	}
	ann.signIn(t, m, "usr_ann")
	if s, err := (browser{"__Host-gatehouse_session": first}).who(m); !errors.Is(err, session.ErrNobody) {
		t.Errorf("the cookie of the earlier session: got %v %v, want ErrNobody", s, err)
	}
	twice := httptest.NewRequest("GET", "/", nil) // LG-22
	twice.AddCookie(&http.Cookie{Name: "__Host-gatehouse_session", Value: ann["__Host-gatehouse_session"]})
	twice.AddCookie(&http.Cookie{Name: "__Host-gatehouse_session", Value: planted})
	if _, err := m.Who(twice); !errors.Is(err, session.ErrNobody) {
		t.Errorf("two cookies of one name: got %v, want ErrNobody", err)
	}
	kept := browser{"__Host-gatehouse_session": ann["__Host-gatehouse_session"]}
	ann.visit(func(w http.ResponseWriter, r *http.Request) { must(t, m.SignOut(w, r)) })
	for name, b := range map[string]browser{"this browser": ann, "a copy of its cookie": kept} {
		if _, err := b.who(m); !errors.Is(err, session.ErrNobody) {
			t.Errorf("%s after signing out: got %v, want ErrNobody", name, err)
		}
	}
}

// LG-18: a value of one kind is never taken for another.
func TestATransactionIsNoSession(t *testing.T) {
	m, ann := manager(), browser{}
	id := ann.begin(t, m)
	ann["__Host-gatehouse_session"] = id + id
	if _, err := ann.who(m); !errors.Is(err, session.ErrNobody) {
		t.Errorf("got %v, want ErrNobody", err)
	}
}

// A secret is collected once, by the session that it was left for, and nobody can read it where it
// waits.
func TestASecretIsCollectedOnce(t *testing.T) {
	m, ann, mallory := manager(), browser{}, browser{}
	memory := &peeked{Store: m.Sessions}
	m.Sessions = memory
	var name string
	signIn := func(b browser, user string) {
		b.visit(func(w http.ResponseWriter, r *http.Request) { must(t, m.SignIn(w, r, user, 0)) })
	}
	collect := func(b browser) (got string, err error) {
		b.visit(func(_ http.ResponseWriter, r *http.Request) {
			var secret []byte
			secret, err = m.Collect(r, name)
			got = string(secret)
		})
		return got, err
	}
	leave := func() {
		ann.visit(func(_ http.ResponseWriter, r *http.Request) {
			var err error
			name, err = m.Leave(r, []byte("ghs_secret"))
			must(t, err)
		})
	}
	ann.visit(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := m.Leave(r, []byte("x")); !errors.Is(err, session.ErrNobody) {
			t.Errorf("nobody signed in: got %v, want ErrNobody", err)
		}
	})
	signIn(ann, "usr_ann")
	signIn(mallory, "usr_mallory")
	leave()
	if strings.Contains(memory.seen.String(), "ghs_secret") {
		t.Error("short memory holds the secret in the clear")
	}
	if got, err := collect(mallory); !errors.Is(err, session.ErrNothingLeft) || got != "" {
		t.Errorf("another session: got %q %v, want nothing", got, err)
	}
	if got, err := collect(ann); err != nil || got != "ghs_secret" {
		t.Errorf("got %q %v, want the secret", got, err)
	}
	if got, err := collect(ann); !errors.Is(err, session.ErrNothingLeft) || got != "" {
		t.Errorf("a second time: got %q %v, want nothing", got, err)
	}
	leave()
	signIn(ann, "usr_ann") // the same person, another session
	if got, err := collect(ann); !errors.Is(err, session.ErrNothingLeft) {
		t.Errorf("after signing in anew: got %q %v, want nothing", got, err)
	}
	leave()
	var found atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			own := browser{}
			for k, v := range ann {
				own[k] = v
			}
			if _, err := collect(own); err == nil {
				found.Add(1)
			}
		})
	}
	wg.Wait()
	if found.Load() != 1 {
		t.Errorf("many at once: %d got it, want 1", found.Load())
	}
}

// peeked is short memory that notes what is written to it.
type peeked struct {
	ttl.Store
	seen strings.Builder
}

func (p *peeked) Put(ctx context.Context, owner, key string, value []byte, life time.Duration) error {
	p.seen.Write(value)
	return p.Store.Put(ctx, owner, key, value, life)
}
