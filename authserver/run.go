package authserver

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cimd"
	"github.com/gatehouse-mcp/gatehouse/shared/outage"
)

// Intervals of the background work that each replica does for itself.
const (
	reloadKeysEvery = time.Second
	readResources   = 500 * time.Millisecond // so that a change counts within a second
	countEvery      = 10 * time.Second
	// an interrupted revocation is completed within two of these and grant's ten seconds
	settleEvery = 15 * time.Second
)

// Run does the background work until ctx ends.
//
// Each replica does for itself what is about its own memory, or must not wait for another's turn:
// the list of ended grants is restored from the ledger, revocations that were interrupted are
// completed, keys made or withdrawn elsewhere are read, and the next made when their time comes (of
// several that make it, one is kept), resources are read anew, its own refusals beyond their bound
// are counted, its own connections are written, and audit lines get their place in the chain (whose
// head lets one replica at a time do that).
//
// One replica does for all what takes away: see package job, and sqlstore's table of them. Each job
// is done by whoever finds first that its time has come.
//
// A step that does not succeed is tried again at its next turn; there is one log line for all its
// failures (package outage).
func (s *Server) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	if err := cimd.CheckRoute(); err != nil && !s.config.RefuseClientMetadataDocuments {
		s.deps.Log.Warn("there is no way out to the internet: clients that are known by a document there cannot be "+
			"read; refuse them with --client-metadata-documents=false, or give this server a route", "error", err)
	}
	work.Go(func() { s.backends.connections.Run(ctx) })
	work.Go(func() { s.backends.sql.Audit().Run(ctx, s.deps.Log) })
	work.Go(func() { s.backends.jobs.Run(ctx) })
	work.Go(func() { s.backends.follower.Run(ctx) })
	restore, reload, resources, count := time.NewTicker(restoreEvery), time.NewTicker(reloadKeysEvery),
		time.NewTicker(readResources), time.NewTicker(countEvery)
	settle := time.NewTicker(settleEvery)
	for _, t := range []*time.Ticker{restore, reload, resources, count, settle} {
		defer t.Stop()
	}
	failing := outage.New(s.deps.Log)
	for {
		var err error
		var step string
		select {
		case <-ctx.Done():
			return
		case <-restore.C:
			step, err = "restore the list of ended grants",
				s.step(ctx, func(ctx context.Context) error { return s.backends.restore(ctx, s.deps.Now) })
		case <-reload.C:
			step, err = "reload signing keys", s.step(ctx, s.turnKeys)
		case <-resources.C:
			step, err = "read the resources", s.step(ctx, s.backends.readResources)
		case <-settle.C:
			step, err = "complete interrupted revocations", s.step(ctx, s.backends.settler.Settle)
		case <-count.C:
			step, err = "count refusals", s.step(ctx, s.refusals.Flush)
		}
		if ctx.Err() == nil {
			failing.Report(step, err)
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

// step bounds one step in time, so that a store that hangs does not stop the others.
func (s *Server) step(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return do(ctx)
}
