package mcpserver

import "context"

// Tickets counts a tenant's tickets, for tests that must know what ran.
func (s *Server) Tickets(ctx context.Context, tenantID string) (int, error) {
	return s.backends.crm.For(tenantID).Tickets(ctx)
}
