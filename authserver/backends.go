package authserver

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/connection"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/recent"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// What short memory holds at most in the embedded form. Each kind has a memory of its own: a stranger who fills the one that strangers write to
// signs nobody out.
const (
	mostSessions     = 100_000
	mostTransactions = 20_000 // 16 KiB each at most
	mostAhead        = 20_000 // 16 KiB each at most
	mostCounters     = 100_000
	mostAssertions   = 100_000
	mostProofs       = 200_000
)

// backends is the switchboard: embedded or production is decided here and nowhere else.
type backends struct {
	sql *sqlstore.DB

	// Short memory: who is signed in, whose authorization requests are under way, what clients asked for ahead of a browser (devices, pushed
	// requests), how often something was tried, which client assertions and which DPoP proofs were used.
	sessions, transactions, ahead, counters, assertions, proofs ttl.Store

	redis  redis.UniversalClient // nil in the embedded form
	list   revocation.List
	marked atomic.Pointer[time.Time] // when this process last wrote the list anew
	ring   *keyring.Ring
	ledger *grant.Ledger
	secret []byte
	nonces []byte // the key of DPoP nonces

	connections *connection.Log

	// What the token endpoint reads again and again, remembered for a second.
	clients *recent.Clients
	tenants *recent.Tenants
	grants  *recent.Grants
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
	b.connections = connection.NewLog(b.sql, d.Now, d.Log)
	if r.Redis != "" {
		if b.redis, err = ttl.OpenRedis(ctx, r.Redis.Reveal()); err != nil {
			return nil, err
		}
		short := ttl.NewRedis(b.redis, r.RedisPrefix)
		b.sessions, b.transactions, b.ahead, b.counters, b.assertions, b.proofs = short, short, short, short, short, short
		if b.list == nil {
			b.list = revocation.NewRedis(b.redis, r.RedisPrefix, d.Now)
		}
	} else {
		b.sessions = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostSessions})
		b.transactions = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostTransactions})
		b.ahead = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostAhead})
		b.counters = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostCounters})
		b.assertions = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostAssertions})
		b.proofs = ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostProofs})
		if b.list == nil {
			b.list = revocation.NewMemory(d.Now)
		}
	}
	if b.ring, err = keyring.Open(ctx, keyring.Config{Store: b.sql, KEK: r.kek, TokenLife: remembrance, Now: d.Now}); err != nil {
		return nil, err
	}
	if b.secret, err = hkdf.Key(sha256.New, r.kek, nil, "gatehouse refresh token successors", 32); err != nil {
		return nil, fmt.Errorf("deriving the successor key: %w", err)
	}
	// Replicas that share the memory of proofs know each other's nonces. A memory that ends with the process has nonces that do: a proof that it has forgotten
	// is worth nothing any more.
	var salt []byte
	if b.redis == nil {
		salt = []byte(rand.Text())
	}
	if b.nonces, err = hkdf.Key(sha256.New, r.kek, salt, "gatehouse dpop nonces", 32); err != nil {
		return nil, fmt.Errorf("deriving the nonce key: %w", err)
	}
	b.clients, b.tenants, b.grants = &recent.Clients{Store: b.sql}, &recent.Tenants{Store: b.sql}, &recent.Grants{Store: b.sql}
	b.ledger = &grant.Ledger{Store: b.grants, List: told{b.list, d.Ended}, TokenLife: remembrance, Now: d.Now}
	return b, nil
}

// begin does what only who serves may do: a command must neither make keys nor call the list of ended grants complete.
func (b *backends) begin(ctx context.Context, r *resolved, now func() time.Time) error {
	for _, algorithm := range r.algorithms() {
		if err := b.ring.Ensure(ctx, algorithm); err != nil {
			return err
		}
	}
	return b.restore(ctx, now)
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

// lastWrite bounds the writing of the last connections.
const lastWrite = 5 * time.Second

// The list of ended grants is restored from the ledger every restoreEvery, and is taken for complete for listLife after that.
const (
	restoreEvery = 5 * time.Second
	listLife     = 30 * time.Second
)
