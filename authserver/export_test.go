package authserver

import "context"

// RunJobs looks once which jobs are due, and does them.
func (s *Server) RunJobs(ctx context.Context) error {
	s.backends.jobs.Turn(ctx)
	return ctx.Err()
}

// Settle hears what is on the list of revoked grants, and completes interrupted revocations, as Run does.
func (s *Server) Settle(ctx context.Context) error {
	if err := s.backends.follower.CatchUp(ctx); err != nil {
		return err
	}
	return s.backends.settler.Settle(ctx)
}
