package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation/redislist"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/redisttl"
)

// mint is an issuer of some replicas behind one address, and a resource's guard that reads its keys
// there. Their clocks are the test's; what is told between processes takes its real time.
type mint struct {
	t        *testing.T
	config   authserver.Config
	replicas []*authserver.Server
	guard    http.Handler
	clock    atomic.Int64 // seconds ahead of the real one
	turn     atomic.Int64 // which replica answers next
	id, key  string       // the client's
}

func (m *mint) now() time.Time { return time.Now().Add(time.Duration(m.clock.Load()) * time.Second) }

func sealingKey() config.Secret {
	key := make([]byte, 32)
	rand.Read(key)
	return config.Secret(base64.StdEncoding.EncodeToString(key))
}

// openMint opens one replica on SQLite, or two on PostgreSQL and Redis. Everything lies under a
// key-encryption key of before, and the replicas know another one, too.
func openMint(t *testing.T, production bool) *mint {
	t.Helper()
	m := &mint{t: t}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.replicas[int(m.turn.Add(1))%len(m.replicas)].Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	m.config = authserver.Config{
		Issuer: front.URL, Database: "sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db"),
		KeyEncryptionKey: sealingKey(),
		Resources: []authserver.Resource{{URI: "https://mcp.example/mcp", Name: "MCP",
			Scopes: []authserver.Scope{{Name: "read", Baseline: true}}}},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	list := revocation.NewMemory(nil)
	deps, ended := authserver.Deps{Now: m.now, Revocations: list}, revocation.Reader(list)
	many := 1
	if production {
		many = 2
		redis, prefix := testenv.Redis(t)
		m.config.Database, m.config.Redis, m.config.RedisPrefix, deps.Revocations = testenv.Postgres(t),
			config.Secret(redis), prefix, nil
		client, err := redisttl.Open(ctx, redis)
		must(t, err)
		t.Cleanup(func() { client.Close() })
		follower := revocation.NewReplica(revocation.ReplicaOptions{Feed: redislist.New(client, prefix, nil)})
		running.Go(func() { follower.Run(ctx) })
		ended = follower
	}
	must(t, schema.Up(ctx, m.config.Database, migrations.Issuer, "schema_migrations_issuer"))
	first, err := authserver.New(ctx, m.config, deps)
	must(t, err)
	must(t, first.Close())
	m.config.KeyEncryptionKey, m.config.PreviousKeyEncryptionKey = sealingKey(), m.config.KeyEncryptionKey
	for range many {
		s, err := authserver.New(ctx, m.config, deps)
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		running.Go(func() { s.Run(ctx) })
		m.replicas = append(m.replicas, s)
	}
	t.Cleanup(func() { cancel(); running.Wait() }) // before the stores are closed
	g, err := guard.New(guard.Config{Issuer: front.URL, Resource: "https://mcp.example/mcp", Revoked: ended,
		Now: m.now})
	must(t, err)
	m.guard = g.Protect(func(w http.ResponseWriter, _ *http.Request,
		_ mcp.Caller) {
		w.WriteHeader(http.StatusNoContent)
	})
	_, err = m.operator().CreateTenant(ctx, authserver.TenantSpec{ID: "acme", Scopes: []string{"read"}})
	must(t, err)
	c, secret, err := m.operator().CreateClient(ctx, authserver.ClientSpec{Tenant: "acme", Scopes: []string{"read"}})
	must(t, err)
	m.id, m.key = c.ID, secret
	m.until("the list of ended grants is known", func() bool {
		_, err := ended.Ended(ctx, "nobody")
		return err == nil
	})
	return m
}

// operator is the operator API of a replica, another one each time.
func (m *mint) operator() *authserver.Operator {
	return m.replicas[int(m.turn.Add(1))%len(m.replicas)].Operator()
}

// until waits for what becomes true in its own time.
func (m *mint) until(what string, is func() bool) time.Duration {
	m.t.Helper()
	begun := time.Now()
	for !is() {
		if time.Since(begun) > 20*time.Second {
			m.t.Fatalf("not within 20 seconds: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
	return time.Since(begun)
}

// coin is a token as its holder knows it.
type coin struct {
	raw, kid string
	expires  time.Time
}

func (m *mint) issue() (coin, bool) {
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token",
		strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
	r.Host = strings.TrimPrefix(m.config.Issuer, "http://")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(m.id, m.key)
	w := httptest.NewRecorder()
	asked := m.now()
	m.replicas[mathrand.IntN(len(m.replicas))].Handler().ServeHTTP(w, r)
	var answer struct {
		AccessToken string `json:"access_token"`
		Life        int    `json:"expires_in"`
	}
	if w.Code != 200 || json.Unmarshal(w.Body.Bytes(), &answer) != nil {
		m.t.Errorf("no token: %d %s", w.Code, w.Body)
		return coin{}, false
	}
	return coin{answer.AccessToken, kidOf(m.t, answer.AccessToken),
		asked.Add(time.Duration(answer.Life) * time.Second)}, true
}

func kidOf(t *testing.T, raw string) string {
	head, _, _ := strings.Cut(raw, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	var header struct{ Kid string }
	if err != nil || json.Unmarshal(text, &header) != nil {
		t.Errorf("no header in %.40s", raw)
	}
	return header.Kid
}

// believed says how the resource answers a token.
func (m *mint) believed(c coin) int {
	r := httptest.NewRequest(http.MethodPost, "https://mcp.example/mcp", nil)
	r.Header.Set("Authorization", "Bearer "+c.raw)
	w := httptest.NewRecorder()
	m.guard.ServeHTTP(w, r)
	return w.Code
}

// published says whether every replica has a key in its set.
func (m *mint) published(kid string) bool {
	for _, s := range m.replicas {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth2/jwks", nil))
		if !strings.Contains(w.Body.String(), `"`+kid+`"`) {
			return false
		}
	}
	return true
}

// traffic issues tokens at all replicas, and shows new and old ones to the resource, until it is
// told to stop.
type traffic struct {
	*mint
	stop            chan struct{}
	workers         sync.WaitGroup
	issued, checked atomic.Int64
	withdrawn       sync.Map // kids whose tokens need not be believed
	unsettled       atomic.Bool
	kids            sync.Map // seen
}

func (m *mint) traffic() *traffic {
	l := &traffic{mint: m, stop: make(chan struct{})}
	for range 3 {
		l.workers.Go(l.work)
	}
	return l
}

func (l *traffic) work() {
	var purse []coin
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		default:
		}
		if c, ok := l.issue(); ok {
			l.issued.Add(1)
			l.kids.Store(c.kid, true)
			purse = append(purse, c)
		}
		if len(purse) > 500 {
			purse = purse[100:]
		}
		for _, i := range []int{len(purse) - 1, mathrand.IntN(len(purse))} { // the newest, and any
			c := purse[i]
			if _, gone := l.withdrawn.Load(c.kid); gone || l.now().Add(90*time.Second).After(c.expires) {
				continue
			}
			if code := l.believed(c); code != http.StatusNoContent {
				over := !l.now().Before(c.expires) // by now: the clock has gone on while this waited for its turn
				if _, gone := l.withdrawn.Load(c.kid); !gone && !over && !l.unsettled.Load() {
					l.t.Errorf("a token with %s to go, of key %s, is refused: %d",
						c.expires.Sub(l.now()).Round(time.Second), c.kid, code)
				}
			}
			l.checked.Add(1)
		}
	}
}

// some lets the traffic go on for a while.
func (l *traffic) some() {
	l.t.Helper()
	issued, checked := l.issued.Load(), l.checked.Load()
	l.until("traffic goes on", func() bool { return l.issued.Load() >= issued+15 && l.checked.Load() >= checked+15 })
}

// KY-01, KY-02, KY-03, JK-06: ten rotations while tokens are issued and verified, the
// key-encryption key changed in the middle, and an emergency at the end.
func TestTenRotationsUnderLoad(t *testing.T) {
	for name, production := range map[string]bool{"embedded": false, "postgres+redis, two replicas": true} {
		t.Run(name, func(t *testing.T) {
			m := openMint(t, production)
			l := m.traffic()
			stop := sync.OnceFunc(func() { close(l.stop); l.workers.Wait() })
			defer stop()
			l.some()
			for n := range 10 {
				kid, err := m.operator().RotateKey(t.Context(), authserver.KeyTurn{})
				must(t, err)
				if _, early := l.kids.Load(kid); early {
					t.Error("a key signs that not every replica publishes")
				}
				m.until("every replica publishes the next key", func() bool { return m.published(kid) })
				if n == 5 {
					done, err := m.operator().Reseal(t.Context(), authserver.Resealing{})
					must(t, err)
					if done.Rows < 8 {
						t.Errorf("%d rows were sealed anew, want all keys and the secret", done.Rows)
					}
				}
				for range 11 { // it signs after ten minutes
					m.clock.Add(60)
					l.some()
				}
				if _, signs := l.kids.Load(kid); !signs {
					t.Errorf("rotation %d: the next key signs nothing after eleven minutes", n)
				}
			}
			kids := 0
			l.kids.Range(func(any, any) bool { kids++; return true })
			t.Logf("%d tokens issued by %d keys, %d verified", l.issued.Load(), kids, l.checked.Load())
			l.emergency()
			stop()
		})
	}
}

// emergency withdraws the key that signs: its tokens are refused within two seconds, and traffic
// goes on with another one. A resource that asks a replica for that one which does not know it yet
// asks again after half a minute.
func (l *traffic) emergency() {
	l.t.Helper()
	var stolen coin
	stolen, _ = l.issue()
	if code := l.believed(stolen); code != http.StatusNoContent {
		l.t.Errorf("before: got %d", code)
	}
	l.withdrawn.Store(stolen.kid, true)
	l.unsettled.Store(len(l.replicas) > 1)
	_, err := l.operator().WithdrawKey(context.Background(), authserver.KeyEnd{KID: stolen.kid, Emergency: true})
	must(l.t, err)
	took := l.until("the token is refused", func() bool { return l.believed(stolen) == http.StatusUnauthorized })
	if took > 2*time.Second {
		l.t.Errorf("a withdrawn key's token is refused after %s, want at most 2s", took)
	}
	l.t.Logf("a withdrawn key's token is refused after %s", took.Round(time.Millisecond))
	l.until("another key signs at every replica", func() bool {
		for range 10 {
			if c, ok := l.issue(); !ok || c.kid == stolen.kid {
				return false
			}
		}
		return true
	})
	l.clock.Add(31)
	l.some()
	l.unsettled.Store(false)
	l.some()
	if code := l.believed(stolen); code != http.StatusUnauthorized {
		l.t.Errorf("afterwards: got %d, want 401", code)
	}
}
