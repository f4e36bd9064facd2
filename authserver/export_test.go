package authserver

import "context"

// RunJobs looks once which jobs are due, and does them.
func (s *Server) RunJobs(ctx context.Context) error {
	s.backends.jobs.Turn(ctx)
	return ctx.Err()
}
