package authserver

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cache"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/outage"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation/redislist"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/redisttl"
)

// The bounds of short memory in the embedded form. Each kind has a memory of its own, so that
// filling the one that anyone can write to signs no one out. In Redis they apply to all replicas
// together.
const (
	mostSessions     = 100_000
	mostTransactions = 10_000 // 32 KiB each at most
	mostAhead        = 10_000 // 32 KiB each at most
	mostCounters     = 100_000
	mostAssertions   = 100_000
	mostProofs       = 500_000 // 300 bytes each
)

// backends are the stores. Whether they are embedded or of production is decided here alone.
type backends struct {
	sql *sqlstore.DB

	resources *issuer.Resources

	// Short memory: sessions, authorization requests under way, device and pushed requests,
	// counters of limits, used client assertions and used DPoP proofs.
	sessions, transactions, ahead, counters, assertions, proofs ttl.Store

	redis  redis.UniversalClient // nil in the embedded form
	list   revocation.List
	marked atomic.Pointer[time.Time] // when this process last wrote the whole list
	ring   *keyring.Ring
	ledger *grant.Ledger
	nonces []byte    // the key of DPoP nonces
	since  time.Time // when the memory of proofs began; zero: it outlives the process

	connections *attempt.Log
	jobs        *job.Runner

	// Caches of what the token endpoint reads repeatedly, valid for a second.
	clients *cache.Clients
	tenants *cache.Tenants
	grants  *cache.Grants

	follower *revocation.Replica // this process's copy of the list of revoked grants
	settler  *grant.Settler
}

// open opens the stores. On an error it closes those that it opened.
func open(ctx context.Context, r *resolved, d Deps) (_ *backends, err error) {
	b := &backends{list: d.Revocations}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.sql, err = sqlstore.Open(ctx, r.Database); err != nil {
		return nil, err
	}
	b.connections = attempt.NewLog(b.sql, d.Now, d.Log)
	b.jobs = &job.Runner{Store: b.sql, Jobs: b.sql.Jobs(r.keeping()), Replica: replica(), Now: d.Now, Log: d.Log,
		Failing: outage.New(d.Log)}
	if r.Redis != "" {
		if b.redis, err = redisttl.Open(ctx, r.Redis.Reveal()); err != nil {
			return nil, err
		}
		short := func(kind string, most int) ttl.Store { return redisttl.New(b.redis, r.RedisPrefix+kind+":", most) }
		b.sessions, b.transactions, b.ahead = short("sessions", mostSessions), short("transactions", mostTransactions),
			short("ahead", mostAhead)
		b.counters, b.assertions, b.proofs = short("counters", mostCounters), short("assertions", mostAssertions),
			short("proofs", mostProofs)
		if b.list == nil {
			b.list = redislist.New(b.redis, r.RedisPrefix, d.Now)
		}
	} else {
		b.sessions = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostSessions})
		b.transactions = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostTransactions})
		b.ahead = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostAhead})
		b.counters = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostCounters})
		b.assertions = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostAssertions})
		b.since = d.Now()
		b.proofs = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostProofs})
		if b.list == nil {
			b.list = revocation.NewMemory(d.Now)
		}
	}
	known, err := sealers(r, d)
	if err != nil {
		return nil, err
	}
	c := keyring.Config{Store: b.sql, Sealers: known, TokenLife: remembrance, Age: max(r.KeyRotationInterval, 0),
		Now: d.Now}
	if b.ring, err = keyring.Open(ctx, c); err != nil {
		return nil, err
	}
	b.resources = issuer.NewResources(r.Resources, b.sql, r.AccessTokenLifetime, r.InsecureHTTP)
	switch read, err := b.resources.Refresh(ctx); {
	case err != nil && !read:
		return nil, err
	case err != nil: // the operator can correct or remove them
		d.Log.Error("resources are left out", "error", err)
	}
	watch := &cache.Watch{Changes: b.sql.Changes}
	b.clients, b.tenants, b.grants = &cache.Clients{Store: b.sql, Watch: watch},
		&cache.Tenants{Store: b.sql, Watch: watch}, &cache.Grants{Store: b.sql, Watch: watch}
	b.follower = revocation.NewReplica(revocation.ReplicaOptions{Feed: b.list, Now: d.Now})
	b.ledger = &grant.Ledger{Store: b.grants, List: told{b.list, b.hear(d.Ended)}, TokenLifetime: remembrance,
		Now:    d.Now,
		Listed: b.follower.Knows, WithdrawnSince: b.ring.WithdrawnSince}
	b.settler = &grant.Settler{Ledger: b.ledger, List: b.follower, Now: d.Now}
	return b, nil
}

// replica returns a name of this process that is unique among those that share the stores.
func replica() string {
	host, err := os.Hostname()
	if err != nil {
		host = "replica"
	}
	return host + "/" + strings.ToLower(rand.Text()[:6])
}

// readResources reads the resources if they changed, and then the keys: there may be one of a new
// algorithm.
func (b *backends) readResources(ctx context.Context) error {
	changed, err := b.resources.Refresh(ctx)
	if changed {
		err = errors.Join(err, b.ring.Reload(ctx))
	}
	return err
}

// algorithms returns those in use: the one that every OpenID Connect client supports, and those of
// the resources.
func (b *backends) algorithms() []string {
	others := slices.DeleteFunc(b.resources.Algorithms(), func(a string) bool { return a == issuer.DefaultIDTokenAlg })
	return append([]string{issuer.DefaultIDTokenAlg}, others...)
}

// sealers returns the sealing keys: those of Deps, or else those of the settings.
func sealers(r *resolved, d Deps) ([]keyring.Sealer, error) {
	if len(d.Sealers) > 0 {
		return d.Sealers, nil
	}
	var all []keyring.Sealer
	for _, kek := range r.keks {
		s, err := keyring.NewAES(kek)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// inherited returns the secret that older versions derived refresh tokens' successors from, which
// came of the key-encryption key. An installation that has it keeps it, so that a response lost
// before the upgrade is found after it.
func inherited(r *resolved) func(under string) []byte {
	return func(under string) []byte {
		for _, kek := range r.keks {
			if s, err := keyring.NewAES(kek); err == nil && s.ID() == under {
				secret, err := hkdf.Key(sha256.New, kek, nil, "gatehouse refresh token successors", 32)
				if err == nil {
					return secret
				}
			}
		}
		return nil
	}
}

// nonceKey returns a key of DPoP nonces. Replicas that share the memory of proofs accept each
// other's nonces. With a memory that ends with the process, nonces do too: a proof that was
// forgotten then has no valid nonce.
func (b *backends) nonceKey(of string) []byte {
	var salt string
	if b.redis == nil {
		salt = rand.Text()
	}
	return b.ring.Derive(of, salt)
}

// atomically runs do with stores of one transaction, and then clears the caches.
func (b *backends) atomically(ctx context.Context, do func(admin.Stores) error) error {
	defer b.tenants.Forget()
	defer b.clients.Forget()
	defer b.grants.Forget()
	return b.sql.Atomically(ctx, func(tx *sqlstore.DB) error { return do(tx) })
}

// anchor authenticates the head of the audit chain with a key that someone who can only write the
// database does not have.
func (b *backends) anchor() { b.sql.Audit().Anchor(b.ring.Derive("audit head", "")) }

// begin does what only a server may do: a command must neither create keys nor mark the list of
// revoked grants complete.
func (b *backends) begin(ctx context.Context, r *resolved, now func() time.Time) error {
	if err := b.ring.EnsureSecret(ctx, inherited(r)); err != nil {
		return err
	}
	b.anchor()
	if b.ring.Born() {
		if err := b.beginAudit(ctx, now); err != nil {
			return err
		}
	}
	b.nonces = b.nonceKey("dpop nonces")
	for _, algorithm := range b.algorithms() {
		if err := b.ring.Ensure(ctx, algorithm); err != nil {
			return err
		}
	}
	if err := b.restore(ctx, now); err != nil {
		return err
	}
	if err := b.follower.CatchUp(ctx); err != nil {
		return fmt.Errorf("reading the list of revoked grants: %w", err)
	}
	return nil
}

// beginAudit begins the audit chain with a record that says so: a second such record shows that
// everything before it was removed.
func (b *backends) beginAudit(ctx context.Context, now func() time.Time) error {
	began, err := b.sql.Audit().Begin(ctx)
	if err != nil || !began {
		return err
	}
	return b.sql.Record(ctx, audit.Event{Time: now().UTC().Truncate(time.Second), Actor: keyring.System,
		Action: "audit.begin"})
}

// restore writes the list of revoked grants anew.
func (b *backends) restore(ctx context.Context, now func() time.Time) error {
	at := now()
	if err := b.ledger.Restore(ctx, listLife); err != nil {
		return err
	}
	b.marked.Store(&at)
	return nil
}

// listed reports whether the list of revoked grants agrees with the database.
func (b *backends) listed(now time.Time) error {
	if at := b.marked.Load(); at == nil || now.Sub(*at) >= listLife {
		return revocation.ErrUnknown
	}
	return nil
}

// hear tells this process's copy of the list what is put on it before the feed does, and then the
// other listener.
func (b *backends) hear(tell func(grantID string, until time.Time)) func(grantID string, until time.Time) {
	return func(grantID string, until time.Time) {
		b.follower.Hear(grantID, until)
		if tell != nil {
			tell(grantID, until)
		}
	}
}

// suspended reports whether the list rejects a token because it was issued before its client was
// disabled or its tenant suspended.
func (b *backends) suspended(c token.Claims) bool {
	return b.follower.Suspended(revocation.Tenant(c.TenantID), c.IssuedAt) ||
		slices.ContainsFunc(c.Clients(), func(id string) bool {
			return b.follower.Suspended(revocation.Client(id), c.IssuedAt)
		})
}

// told is a list with a listener in this process.
type told struct {
	revocation.List
	tell func(grantID string, until time.Time) // may be nil
}

// Add implements revocation.List.
func (t told) Add(ctx context.Context, grantID string, until time.Time) error {
	err := t.List.Add(ctx, grantID, until)
	if err == nil && t.tell != nil {
		t.tell(grantID, until)
	}
	return err
}

func (b *backends) close() error {
	var errs []error
	if b.connections != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastWrite)
		defer cancel()
		errs = append(errs, b.connections.Flush(ctx))
	}
	if b.redis != nil {
		errs = append(errs, b.redis.Close())
	}
	if b.sql != nil {
		errs = append(errs, b.sql.Close())
	}
	return errors.Join(errs...)
}

// lastWrite bounds the last write of counters when a server is closed.
const lastWrite = 5 * time.Second

// The list of revoked grants is restored from the database every restoreEvery, and counts as
// complete for listLife after that.
const (
	restoreEvery = 5 * time.Second
	listLife     = 30 * time.Second
)
