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

// What short memory holds at most in the embedded form. Each kind has a memory of its own: a
// stranger who fills the one that strangers write to signs nobody out. In Redis as many are held,
// for all replicas together.
const (
	mostSessions     = 100_000
	mostTransactions = 10_000 // 32 KiB each at most
	mostAhead        = 10_000 // 32 KiB each at most
	mostCounters     = 100_000
	mostAssertions   = 100_000
	mostProofs       = 500_000 // 300 bytes each
)

// backends is the switchboard: embedded or production is decided here and nowhere else.
type backends struct {
	sql *sqlstore.DB

	resources *issuer.Resources

	// Short memory: who is signed in, whose authorization requests are under way, what clients
	// asked for ahead of a browser (devices, pushed requests), how often something was tried, which
	// client assertions and which DPoP proofs were used.
	sessions, transactions, ahead, counters, assertions, proofs ttl.Store

	redis  redis.UniversalClient // nil in the embedded form
	list   revocation.List
	marked atomic.Pointer[time.Time] // when this process last wrote the list anew
	ring   *keyring.Ring
	ledger *grant.Ledger
	nonces []byte    // the key of DPoP nonces
	since  time.Time // when the memory of proofs began; zero: it outlives the process

	connections *attempt.Log
	jobs        *job.Runner

	// What the token endpoint reads again and again, remembered for a second.
	clients *cache.Clients
	tenants *cache.Tenants
	grants  *cache.Grants

	follower *revocation.Replica // the list of revoked grants as this process has heard it
	settler  *grant.Settler
}

// open opens the stores. What it opened before an error is closed again.
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
	case err != nil: // they can be put right, or removed, by who runs with the rest
		d.Log.Error("resources are left out", "error", err)
	}
	watch := &cache.Watch{Changes: b.sql.Changes}
	b.clients, b.tenants, b.grants = &cache.Clients{Store: b.sql, Watch: watch},
		&cache.Tenants{Store: b.sql, Watch: watch}, &cache.Grants{Store: b.sql, Watch: watch}
	b.follower = revocation.NewReplica(revocation.ReplicaOptions{Feed: b.list, Now: d.Now})
	b.ledger = &grant.Ledger{Store: b.grants, List: told{b.list, b.hear(d.Ended)}, TokenLife: remembrance, Now: d.Now,
		Listed: b.follower.Knows, WithdrawnSince: b.ring.WithdrawnSince}
	b.settler = &grant.Settler{Ledger: b.ledger, List: b.follower, Now: d.Now}
	return b, nil
}

// replica names this process among all that share the stores.
func replica() string {
	host, err := os.Hostname()
	if err != nil {
		host = "replica"
	}
	return host + "/" + strings.ToLower(rand.Text()[:6])
}

// readResources reads the resources, if they have changed, and then the keys: there may be one of
// an algorithm that was not in use.
func (b *backends) readResources(ctx context.Context) error {
	changed, err := b.resources.Refresh(ctx)
	if changed {
		err = errors.Join(err, b.ring.Reload(ctx))
	}
	return err
}

// algorithms are those in use, each once: the one that every OpenID client understands, and the
// resources'.
func (b *backends) algorithms() []string {
	others := slices.DeleteFunc(b.resources.Algorithms(), func(a string) bool { return a == issuer.DefaultIDTokenAlg })
	return append([]string{issuer.DefaultIDTokenAlg}, others...)
}

// sealers are the sealing keys: those that the operator's program brings, or else those of the
// settings.
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

// inherited is what derived refresh tokens' successors before the issuer had a secret of its own:
// it came of the key-encryption key. It stays the secret of an installation that has it, so that an
// answer which was lost before the change is found after it.
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

// nonceKey makes a key of DPoP nonces. Replicas that share the memory of proofs know each other's
// nonces. A memory that ends with the process has nonces that do: a proof that it has forgotten is
// worth nothing any more.
func (b *backends) nonceKey(of string) []byte {
	var salt string
	if b.redis == nil {
		salt = rand.Text()
	}
	return b.ring.Derive(of, salt)
}

// atomically runs do with the ledger as one transaction sees it. What was remembered of it is
// forgotten then.
func (b *backends) atomically(ctx context.Context, do func(admin.Stores) error) error {
	defer b.tenants.Forget()
	defer b.clients.Forget()
	defer b.grants.Forget()
	return b.sql.Atomically(ctx, func(tx *sqlstore.DB) error { return do(tx) })
}

// anchor lets the audit chain's head be authenticated, under a key that whoever can only write the
// database does not have.
func (b *backends) anchor() { b.sql.Audit().Anchor(b.ring.Derive("audit head", "")) }

// begin does what only who serves may do: a command must neither make keys nor call the list of
// ended grants complete.
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

// beginAudit begins the chain of audit lines, with a line that says so: a second one would show
// that everything before it was taken away.
func (b *backends) beginAudit(ctx context.Context, now func() time.Time) error {
	began, err := b.sql.Audit().Begin(ctx)
	if err != nil || !began {
		return err
	}
	return b.sql.Record(ctx, audit.Event{Time: now().UTC().Truncate(time.Second), Actor: keyring.System,
		Action: "audit.begin"})
}

// restore writes the list of ended grants anew.
func (b *backends) restore(ctx context.Context, now func() time.Time) error {
	at := now()
	if err := b.ledger.Restore(ctx, listLife); err != nil {
		return err
	}
	b.marked.Store(&at)
	return nil
}

// listed says whether the list of ended grants is as the ledger has it.
func (b *backends) listed(now time.Time) error {
	if at := b.marked.Load(); at == nil || now.Sub(*at) >= listLife {
		return revocation.ErrUnknown
	}
	return nil
}

// hear tells this process's own follower of the list what is put on it, before the feed does, and
// then whoever else is to be told.
func (b *backends) hear(tell func(grantID string, until time.Time)) func(grantID string, until time.Time) {
	return func(grantID string, until time.Time) {
		b.follower.Hear(grantID, until)
		if tell != nil {
			tell(grantID, until)
		}
	}
}

// suspended says whether the list refuses a token because it was issued before one of its clients
// was disabled, or its tenant suspended.
func (b *backends) suspended(c token.Claims) bool {
	return b.follower.Suspended(revocation.Tenant(c.TenantID), c.IssuedAt) ||
		slices.ContainsFunc(c.Clients(), func(id string) bool {
			return b.follower.Suspended(revocation.Client(id), c.IssuedAt)
		})
}

// told is a list, and somebody in this process who is told what is put on it.
type told struct {
	revocation.List
	tell func(grantID string, until time.Time) // nil: nobody
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

// lastWrite bounds the writing of what was counted last, when a server is closed.
const lastWrite = 5 * time.Second

// The list of ended grants is restored from the ledger every restoreEvery, and is taken for
// complete for listLife after that.
const (
	restoreEvery = 5 * time.Second
	listLife     = 30 * time.Second
)
