package mcpserver

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation/redislist"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/redisttl"
)

// backends are the stores of the server. Where revocations are read and used proofs are remembered
// is decided here.
type backends struct {
	crm      *demo.DB
	registry *operator.Registry
	redis    redis.UniversalClient // nil: none
	revoked  revocation.Reader
	replica  *revocation.Replica // revoked, if it follows a feed; otherwise nil
	proofs   ttl.Store           // used DPoP proofs; nil: in the guard's memory
}

func open(ctx context.Context, c Config, d Deps) (_ *backends, err error) {
	b := &backends{revoked: d.Revoked}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.crm, err = demo.Open(ctx, c.Database, d.Now); err != nil {
		return nil, err
	}
	if strings.HasPrefix(c.Database, "postgres") {
		walled, err := b.crm.Walled(ctx)
		if err != nil {
			return nil, err
		}
		if !walled {
			d.Log.Warn("the role of the database bypasses row-level security: only the statements separate tenants",
				"hint", "give the MCP server a role of its own, as deploy/roles.sql makes it")
		}
	}
	if b.registry, err = operator.Open(ctx, c.Database, operator.Options{AuditRetention: c.AuditRetention,
		CallRetention: c.CallRetention, Serves: !d.reads, Anonymous: c.InsecureAllowAnonymous,
		InsecureSettings: len(c.InsecureSettings()), Now: d.Now, Log: d.Log}); err != nil {
		return nil, err
	}
	if c.Redis != "" {
		if b.redis, err = redisttl.Open(ctx, c.Redis.Reveal()); err != nil {
			return nil, err
		}
		// With a prefix of its own, so that this server's Redis user can be kept from writing
		// anything else.
		b.proofs = redisttl.New(b.redis, c.RedisPrefix+"resource:", mostProofs)
	}
	switch {
	case b.revoked != nil:
	case b.redis != nil:
		b.follow(ctx, c, d, revocation.ReplicaOptions{Feed: redislist.New(b.redis, c.RedisPrefix, d.Now)})
	case c.ClientID != "":
		b.follow(ctx, c, d, revocation.ReplicaOptions{Every: c.RevocationPollInterval, Feed: &revocation.HTTP{
			URL: c.Issuer + revocation.Path, ClientID: c.ClientID, ClientSecret: c.ClientSecret, Client: d.HTTPClient,
		}})
	case c.InsecureIgnoreRevocations:
		b.revoked = revocation.Ignored{}
	default:
		return nil, errors.New("revocations cannot be read; set redis as the issuer has it, client-id and " +
			"client-secret (gatehouse client create --server), or insecure-ignore-revocations")
	}
	return b, nil
}

// follow keeps the list of revocations in memory.
func (b *backends) follow(ctx context.Context, c Config, d Deps, o revocation.ReplicaOptions) {
	o.StaleAfter, o.Now, o.Log = c.RevocationStaleAfter, d.Now, d.Log
	b.replica = revocation.Follow(ctx, o)
	b.revoked = b.replica
}

// run follows the feed until ctx is done.
func (b *backends) run(ctx context.Context) {
	if b.replica != nil {
		b.replica.Run(ctx)
	}
}

func (b *backends) close() error {
	var errs []error
	if b.redis != nil {
		errs = append(errs, b.redis.Close())
	}
	if b.registry != nil {
		errs = append(errs, b.registry.Close())
	}
	if b.crm != nil {
		errs = append(errs, b.crm.Close())
	}
	return errors.Join(errs...)
}
