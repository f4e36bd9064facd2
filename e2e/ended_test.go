package e2e_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/redisttl"
)

// line is a network line that can be cut.
type line struct {
	net.Listener
	to   string
	mu   sync.Mutex
	cut  bool
	ends []net.Conn
}

func newLine(t testing.TB, to string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	n := &line{Listener: l, to: to}
	t.Cleanup(func() { l.Close(); n.set(true) })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go n.carry(near)
		}
	}()
	return n
}

func (n *line) carry(near net.Conn) {
	far, err := net.Dial("tcp", n.to)
	n.mu.Lock()
	if err != nil || n.cut {
		n.mu.Unlock()
		near.Close()
		return
	}
	n.ends = append(n.ends, near, far)
	n.mu.Unlock()
	go io.Copy(far, near)
	io.Copy(near, far)
	near.Close()
	far.Close()
}

func (n *line) set(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	for _, end := range n.ends {
		if cut {
			end.Close()
		}
	}
	n.ends = nil
}

// fleet is the product's issuer and two replicas of its MCP server, each on a line of its own.
// Their clocks are half a minute apart.
type fleet struct {
	*product
	t        *testing.T
	feed     string // "redis" or "http"
	redisURL string
	prefix   string
	server   *agent // the client that the replicas are
	replicas []*replica
}

type replica struct {
	url  string
	line *line
}

// openFleet boots it; change bends the replicas' settings.
func openFleet(t *testing.T, feed string, change func(*mcpserver.Config)) *fleet {
	t.Helper()
	f := &fleet{t: t, feed: feed}
	var flags []string
	if feed == "redis" {
		address, prefix := testenv.Redis(t)
		flags, f.redisURL, f.prefix = []string{"--redis", address, "--redis-prefix", prefix}, address, prefix
	}
	f.product = open(t, flags...)
	f.server = f.client("--server", f.Resource)
	for _, ahead := range []time.Duration{-15 * time.Second, 15 * time.Second} {
		f.replicas = append(f.replicas, f.replica(ahead, change))
	}
	return f
}

// client makes a client by the operator's command.
func (f *fleet) client(args ...string) *agent {
	f.t.Helper()
	code, out := f.operate(append([]string{"client", "create"}, args...)...)
	if code != 0 {
		f.t.Fatal(out)
	}
	return &agent{house: f.product, id: regexp.MustCompile(`cli_\S+`).FindString(out),
		secret: regexp.MustCompile(`ghs_\S+`).FindString(out)}
}

// replica starts another MCP server for the product's resource.
func (f *fleet) replica(ahead time.Duration, change func(*mcpserver.Config)) *replica {
	t := f.t
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := mcpserver.Config{
		Resource: f.Resource, Issuer: f.Issuer, Database: companionDatabase(t),
		AllowedHosts: []string{l.Addr().String()},
		ClientID:     f.server.id, ClientSecret: config.Secret(f.server.secret),
	}
	d := mcpserver.Deps{Now: func() time.Time { return time.Now().Add(ahead) }}
	r := &replica{url: "http://" + l.Addr().String() + "/mcp"}
	if f.feed == "redis" {
		u, err := url.Parse(f.redisURL)
		must(t, err)
		r.line = newLine(t, u.Host)
		u.Host = r.line.Addr().String()
		c.Redis, c.RedisPrefix = config.Secret(u.String()), f.prefix
	} else {
		r.line = newLine(t, listening(t, f.Issuer))
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, r.line.Addr().String())
		}
		d.HTTPClient = &http.Client{Timeout: time.Second, Transport: &http.Transport{DialContext: dial}}
	}
	if change != nil {
		change(&c)
	}
	s, err := mcpserver.New(context.Background(), c, d)
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var background sync.WaitGroup
	background.Go(func() { s.Run(ctx) })
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(l)
	t.Cleanup(func() {
		server.Close()
		stop()
		background.Wait()
		s.Close()
	})
	return r
}

// token gives a machine a token of a new grant.
func (f *fleet) token(a *agent) string {
	f.t.Helper()
	got, err := a.token(url.Values{"grant_type": {"client_credentials"}})
	if err != nil || !got.ok() {
		f.t.Fatal(got, err)
	}
	return a.access
}

// end ends a token's grant, and returns when that was acknowledged.
func (f *fleet) end(a *agent, token string) time.Time {
	f.t.Helper()
	if got, err := a.revoke(token); err != nil || got.status != 200 {
		f.t.Fatal(got, err)
	}
	return time.Now()
}

// status asks a replica with a token.
func (r *replica) status(t testing.TB, token string) int {
	t.Helper()
	got, err := ask(r.url, token, "tools/list", "")
	must(t, err)
	return got.status
}

// until asks until the status is this one, and returns when it was; another one than those that may
// come before is an error.
func (r *replica) until(t testing.TB, token string, want int, before ...int) time.Time {
	t.Helper()
	// a grant may ask 600 times a minute
	deadline, turn := time.Now().Add(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer turn.Stop()
	for ; ; <-turn.C {
		got := r.status(t, token)
		if got == want {
			return time.Now()
		}
		allowed := false
		for _, b := range before {
			allowed = allowed || got == b
		}
		if !allowed || time.Now().After(deadline) {
			t.Fatalf("%s: got %d, want %d", r.url, got, want)
		}
	}
}

// all asks every replica.
func (f *fleet) all(token string, want int, before ...int) {
	f.t.Helper()
	for _, r := range f.replicas {
		r.until(f.t, token, want, before...)
	}
}

// bounds are what the README promises of an end that was acknowledged; over HTTP the question and
// its answer take their time, too.
var bounds = map[string]time.Duration{"redis": time.Second, "http": 2*time.Second + time.Second}

// RV-06: an end that was acknowledged reaches every replica within the bound, whichever way they
// follow the list.
func TestAnEndReachesEveryReplica(t *testing.T) {
	for feed, bound := range bounds {
		t.Run(feed, func(t *testing.T) {
			t.Parallel()
			f := openFleet(t, feed, nil)
			m := f.client("--tenant", "acme", "--scopes", "customers:read")
			var worst time.Duration
			for range 6 {
				token := f.token(m)
				f.all(token, 200)
				at := f.end(m, token)
				for _, r := range f.replicas {
					worst = max(worst, r.until(t, token, 401, 200).Sub(at))
				}
			}
			t.Logf("the slowest of twelve took %s", worst.Round(time.Millisecond))
			if worst > bound {
				t.Errorf("an end took %s, want at most %s", worst, bound)
			}
		})
	}
}

// FT-14, FT-18, N6, N7: a replica whose line is cut goes on until its list is stale, then answers
// 503, and catches up by itself with what it missed.
func TestAReplicaWithoutItsFeed(t *testing.T) {
	for feed := range bounds {
		t.Run(feed, func(t *testing.T) {
			t.Parallel()
			f := openFleet(t, feed, func(c *mcpserver.Config) {
				c.RevocationStaleAfter, c.RevocationPollInterval = 2*time.Second,
					200*time.Millisecond
			})
			ended, living := f.client("--tenant", "acme", "--scopes", "customers:read"),
				f.client("--tenant", "acme", "--scopes", "customers:read")
			token, other := f.token(ended), f.token(living)
			f.all(token, 200)
			f.all(other, 200)
			f.replicas[0].line.set(true)
			at := f.end(ended, token)
			f.replicas[1].until(t, token, 401, 200)
			if stale := f.replicas[0].until(t, token, 503, 200).Sub(at); stale > 2500*time.Millisecond {
				t.Errorf("a stale list counted for %s, want at most 2s", stale)
			}
			got, err := ask(f.replicas[0].url, other, "tools/list", "")
			if err != nil || got.status != 503 || strings.Contains(got.body, "127.0.0.1") {
				t.Errorf("a living grant: got %v %v, want 503", got, err)
			}
			if r, err := http.Get(strings.TrimSuffix(f.replicas[0].url, "/mcp") + "/readyz"); err != nil ||
				r.StatusCode != 503 {
				t.Errorf("readyz: got %v %v, want 503", r, err)
			}
			f.replicas[1].until(t, other, 200)
			f.replicas[0].line.set(false)
			f.replicas[0].until(t, other, 200, 503)
			f.replicas[0].until(t, token, 401)
		})
	}
}

// N3: what ended stays ended when the issuer is started again, and what ends after that is heard
// of.
func TestTheIssuerIsStartedAgain(t *testing.T) {
	for feed, bound := range bounds {
		t.Run(feed, func(t *testing.T) {
			t.Parallel()
			f := openFleet(t, feed, nil)
			first, second := f.client("--tenant", "acme", "--scopes", "customers:read"),
				f.client("--tenant", "acme", "--scopes", "customers:read")
			token, other := f.token(first), f.token(second)
			f.all(other, 200)
			f.end(first, token)
			f.later(0)
			f.all(token, 401, 200)
			f.all(other, 200)
			late := f.replica(0, nil)
			late.until(t, token, 401, 503)
			f.replicas = append(f.replicas, late)
			at := f.end(second, other)
			for _, r := range f.replicas {
				if took := r.until(t, other, 401, 200).Sub(at); took > bound+500*time.Millisecond {
					// one question may have gone to the issuer that was
					t.Errorf("after the restart an end took %s", took)
				}
			}
		})
	}
}

// FT-15: a Redis that is emptied loses no end, and stops nobody who knows the list; who does not
// know it waits until the issuer has written it anew.
func TestRedisIsEmptiedUnderTheFleet(t *testing.T) {
	f := openFleet(t, "redis", nil)
	client, err := redisttl.Open(t.Context(), f.redisURL)
	must(t, err)
	defer client.Close()
	first, second := f.client("--tenant", "acme", "--scopes", "customers:read"),
		f.client("--tenant", "acme", "--scopes", "customers:read")
	token, other := f.token(first), f.token(second)
	f.end(first, token)
	f.all(token, 401, 200)
	f.all(other, 200)
	third := f.client("--tenant", "acme", "--scopes", "customers:read")
	lost := f.token(third)
	f.all(lost, 200)
	f.end(third, lost)
	for _, key := range client.Keys(t.Context(), f.prefix+"*").Val() { // as FLUSHALL, but of the test's own
		must(t, client.Del(t.Context(), key).Err())
	}
	late := f.replica(0, nil)
	f.replicas = append(f.replicas, late)
	late.until(t, token, 401, 503)
	late.until(t, lost, 401)
	f.all(lost, 401, 200)
	for range 50 {
		f.all(token, 401)
		f.all(other, 200)
	}
	at := f.end(second, other)
	for _, r := range f.replicas {
		if took := r.until(t, other, 401, 200).Sub(at); took > bounds["redis"] {
			t.Errorf("after the flush an end took %s", took)
		}
	}
}

// With revocation-when-stale introspect the tools go on while the list is stale, and each token is
// asked about.
func TestTheIssuerIsAskedWhileTheListIsStale(t *testing.T) {
	f := openFleet(t, "redis", func(c *mcpserver.Config) {
		c.RevocationStaleAfter, c.RevocationWhenStale = time.Second, mcpserver.WhenStaleIntrospect
	})
	ended, living := f.client("--tenant", "acme", "--scopes", "customers:read"),
		f.client("--tenant", "acme", "--scopes", "customers:read")
	token, other := f.token(ended), f.token(living)
	f.all(token, 200)
	f.all(other, 200)
	f.replicas[0].line.set(true)
	f.end(ended, token)
	f.replicas[0].until(t, token, 401, 200)
	for range 3 {
		f.replicas[0].until(t, other, 200)
		f.replicas[0].until(t, token, 401)
	}
}

// The user of Redis that docker-compose.yml makes for the MCP server follows the list, and
// cannot write it.
func TestTheResourcesUserOfRedis(t *testing.T) {
	address, prefix := testenv.Redis(t)
	admin, err := redisttl.Open(t.Context(), address)
	must(t, err)
	defer admin.Close()
	compose, err := os.ReadFile("../docker-compose.yml")
	must(t, err)
	rules := regexp.MustCompile(`--user companion (.*)`).FindSubmatch(compose)
	if rules == nil {
		t.Fatal("docker-compose.yml makes no user companion")
	}
	name := "test-" + strings.TrimSuffix(strings.TrimPrefix(prefix, "gatehouse-test-"), ":")
	args := []any{"ACL", "SETUSER", name, "reset"}
	for _, rule := range strings.Fields(strings.ReplaceAll(string(rules[1]), "~gatehouse:", "~"+prefix)) {
		args = append(args, rule)
	}
	if err := admin.Do(t.Context(), args...).Err(); err != nil {
		t.Skipf("the Redis of the tests makes no users (%v): give one whose user may ACL SETUSER", err)
	}
	t.Cleanup(func() {
		if client, err := redisttl.Open(context.Background(), address); err == nil {
			client.Do(context.Background(), "ACL", "DELUSER", name)
			client.Close()
		}
	})
	u, err := url.Parse(address)
	must(t, err)
	u.User = url.UserPassword(name, "companion")

	f := &fleet{t: t, feed: "redis", redisURL: address, prefix: prefix}
	f.product = open(t, "--redis", address, "--redis-prefix", prefix)
	f.server = f.client("--server", f.Resource)
	f.replicas = []*replica{f.replica(0, func(c *mcpserver.Config) { c.Redis = config.Secret(u.String()) })}
	m := f.client("--tenant", "acme", "--scopes", "customers:read")
	token := f.token(m)
	f.all(token, 200)
	f.end(m, token)
	f.all(token, 401, 200)

	own, err := redisttl.Open(t.Context(), u.String())
	must(t, err)
	defer own.Close()
	for _, command := range [][]any{
		{"XADD", prefix + "ended", "*", "complete", "1000000", "word", "x"}, {"XTRIM", prefix + "ended", "MAXLEN", "0"},
		{"DEL", prefix + "ended"},
		{"SET", prefix + "ended", "x"}, {"GET", prefix + "resource:x"}, {"SET", prefix + "x", "x"}, {"KEYS", "*"},
		{"FLUSHALL"},
	} {
		if err := own.Do(t.Context(), command...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%v: got %v, want NOPERM", command, err)
		}
	}
}
