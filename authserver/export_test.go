package authserver

import "context"

// RunJobs looks once which jobs are due, and does them.
func (s *Server) RunJobs(ctx context.Context) error {
	s.backends.jobs.Turn(ctx)
	return ctx.Err()
}

// Settle hears what is on the list of revoked grants, and completes interrupted revocations, as Run
// does.
func (s *Server) Settle(ctx context.Context) error {
	if err := s.backends.follower.CatchUp(ctx); err != nil {
		return err
	}
	return s.backends.settler.Settle(ctx)
}

// Flush writes the connections that this process has gathered.
func (s *Server) Flush(ctx context.Context) error { return s.backends.connections.Flush(ctx) }

// Revoked says whether a grant is on the list of revoked grants, as far as this process has heard.
func (s *Server) Revoked(grantID string) bool { return s.backends.settler.Listed(grantID) }

// Seal gives a place in the chain to the audit lines that wait for one.
func (s *Server) Seal(ctx context.Context) (int, error) { return s.backends.sql.Audit().Seal(ctx) }
