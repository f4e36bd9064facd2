package authserver

import (
	"context"
	"sync"
	"time"
)

// Intervals of the background work.
const (
	reloadKeysEvery = 5 * time.Second
	cleanEvery      = 10 * time.Minute
)

// Run does the background work until ctx ends: the list of ended grants is restored from the ledger, keys made or withdrawn by another replica are
// read, what has long expired is deleted, connections are written. A step that does not succeed is logged and tried again at its next turn.
func (s *Server) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { s.backends.connections.Run(ctx) })
	restore, reload, clean := time.NewTicker(restoreEvery), time.NewTicker(reloadKeysEvery), time.NewTicker(cleanEvery)
	defer restore.Stop()
	defer reload.Stop()
	defer clean.Stop()
	for {
		var err error
		var step string
		select {
		case <-ctx.Done():
			return
		case <-restore.C:
			step, err = "restore the list of ended grants", s.step(ctx, func(ctx context.Context) error { return s.backends.restore(ctx, s.deps.Now) })
		case <-reload.C:
			step, err = "reload signing keys", s.step(ctx, s.backends.ring.Reload)
		case <-clean.C:
			step, err = "delete what has expired", s.step(ctx, func(ctx context.Context) error {
				_, err := s.backends.sql.DeleteExpired(ctx, s.deps.Now(), s.config.ClientIdle)
				return err
			})
		}
		if err != nil && ctx.Err() == nil {
			s.deps.Log.Error("background step did not succeed", "step", step, "error", err)
		}
	}
}

// step bounds one step in time, so that a store that hangs does not stop the others.
func (s *Server) step(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return do(ctx)
}
