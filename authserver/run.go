package authserver

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cimd"
	"github.com/gatehouse-mcp/gatehouse/shared/outage"
)

// Intervals of the background work of each replica.
const (
	reloadKeysEvery = time.Second
	readResources   = 500 * time.Millisecond // so that a change applies within a second
	countEvery      = 10 * time.Second
	// an interrupted revocation is completed within two of these and grant's ten seconds
	settleEvery = 15 * time.Second
)

// Run does the background work until ctx ends.
//
// Each replica does for itself what concerns its own memory or must not wait: restoring the list of
// revoked grants, completing interrupted revocations, rereading keys and resources, creating the
// next key when it is due (of concurrent replicas one succeeds), counting its own rejections beyond
// their bound, writing its own attempts, and sealing audit records into the chain (one replica at a
// time, by the chain's head).
//
// One replica does for all what deletes expired data: see package job, and the table of jobs in
// sqlstore.
//
// A step that fails is retried at its next turn; all its failures have one log line (package
// outage).
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

// turnKeys rereads the signing keys, and creates the next ones when due.
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
