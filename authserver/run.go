package authserver

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Intervals of the background work.
const (
	reloadKeysEvery = time.Second
	readResources   = 500 * time.Millisecond // so that a change counts within a second
	countEvery      = 10 * time.Second
	cleanEvery      = 10 * time.Minute
)

// Run does the background work until ctx ends: the list of ended grants is restored from the ledger, keys made or withdrawn by another replica are
// read, and the next made when their time comes, resources are read anew, what has long expired is deleted, refusals beyond their bound are counted, connections are written, and
// audit lines get their place in the chain. A step that does not succeed is logged and tried again at its next turn.
func (s *Server) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { s.backends.connections.Run(ctx) })
	work.Go(func() { s.backends.sql.Audit().Run(ctx, s.deps.Log) })
	restore, reload, resources := time.NewTicker(restoreEvery), time.NewTicker(reloadKeysEvery), time.NewTicker(readResources)
	count, clean := time.NewTicker(countEvery), time.NewTicker(cleanEvery)
	for _, t := range []*time.Ticker{restore, reload, resources, count, clean} {
		defer t.Stop()
	}
	for {
		var err error
		var step string
		select {
		case <-ctx.Done():
			return
		case <-restore.C:
			step, err = "restore the list of ended grants", s.step(ctx, func(ctx context.Context) error { return s.backends.restore(ctx, s.deps.Now) })
		case <-reload.C:
			step, err = "reload signing keys", s.step(ctx, s.turnKeys)
		case <-resources.C:
			step, err = "read the resources", s.step(ctx, s.backends.readResources)
		case <-count.C:
			step, err = "count refusals", s.step(ctx, s.refusals.Flush)
		case <-clean.C:
			step, err = "delete what has expired", s.step(ctx, func(ctx context.Context) error {
				_, err := s.backends.sql.DeleteExpired(ctx, s.deps.Now(), s.config.ClientIdle)
				return err
			})
			err = errors.Join(err, s.step(ctx, s.prune))
		}
		if err != nil && ctx.Err() == nil {
			s.deps.Log.Error("background step did not succeed", "step", step, "error", err)
		}
	}
}

// turnKeys reads the signing keys anew, and makes the next ones when their time has come.
func (s *Server) turnKeys(ctx context.Context) error {
	if err := s.backends.ring.Reload(ctx); err != nil {
		return err
	}
	return s.backends.ring.RotateByAge(ctx, s.backends.algorithms())
}

// prune deletes the audit lines that are kept no longer.
func (s *Server) prune(ctx context.Context) error {
	if s.config.AuditRetention < 0 {
		return nil
	}
	_, err := s.backends.sql.Audit().Prune(ctx, s.deps.Now().Add(-s.config.AuditRetention))
	return err
}

// step bounds one step in time, so that a store that hangs does not stop the others.
func (s *Server) step(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return do(ctx)
}
