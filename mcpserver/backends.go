package mcpserver

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/book"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/crm"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// backends is the switchboard: where ended grants are read, and used proofs remembered, is decided here and nowhere else.
type backends struct {
	crm     *crm.DB
	book    *book.DB
	redis   redis.UniversalClient // nil: none
	revoked revocation.Reader
	proofs  ttl.Store // DPoP proofs that were used; nil: the guard's own memory
}

func open(ctx context.Context, c Config, d Deps) (_ *backends, err error) {
	b := &backends{revoked: d.Revoked}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.crm, err = crm.Open(ctx, c.Database, d.Now); err != nil {
		return nil, err
	}
	if b.book, err = book.Open(ctx, c.Database); err != nil {
		return nil, err
	}
	if c.Redis != "" {
		if b.redis, err = ttl.OpenRedis(ctx, c.Redis.Reveal()); err != nil {
			return nil, err
		}
		// Under a prefix of their own, so that the wing's user of Redis can be kept from writing anything else.
		b.proofs = ttl.NewRedis(b.redis, c.RedisPrefix+"resource:")
	}
	switch {
	case b.revoked != nil:
	case b.redis != nil:
		b.revoked = revocation.NewRedis(b.redis, c.RedisPrefix, d.Now)
	case c.InsecureIgnoreRevocations:
		d.Log.Warn("ended grants are not looked up: their tokens act until they expire", "setting", "insecure-ignore-revocations")
		b.revoked = ignored{}
	default:
		return nil, errors.New("nobody tells which grants have ended; set redis as the issuer has it, or insecure-ignore-revocations")
	}
	return b, nil
}

func (b *backends) close() error {
	var errs []error
	if b.redis != nil {
		errs = append(errs, b.redis.Close())
	}
	if b.book != nil {
		errs = append(errs, b.book.Close())
	}
	if b.crm != nil {
		errs = append(errs, b.crm.Close())
	}
	return errors.Join(errs...)
}

// ignored is the reader that InsecureIgnoreRevocations asks for.
type ignored struct{}

func (ignored) Ended(context.Context, string) (bool, error) { return false, nil }
