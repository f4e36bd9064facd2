package guard

// Mode says whether denials are enforced. The zero value enforces.
type Mode string

// The modes, from the most lenient to the strictest.
const (
	Observe       Mode = "observe"        // every request is allowed, and the decision is recorded
	EnforceWrites Mode = "enforce_writes" // denials of writes are enforced, and of what no rule names
	Enforce       Mode = "enforce"
)

// Rollout returns the mode of enforcement.
type Rollout interface {
	// Mode returns the mode for a tenant and a tool, prompt or resource URI. The tenant of
	// anonymous requests is empty.
	Mode(tenantID, name string) Mode
}

// Enforces reports whether a denial is enforced, of a write or not.
func (m Mode) Enforces(write bool) bool {
	return m != Observe && (m != EnforceWrites || write)
}

// lenient reports whether a denial is not enforced.
func (p *Policy) lenient(tenantID, name string, write bool) bool {
	return p.Rollout != nil && !p.Rollout.Mode(tenantID, name).Enforces(write)
}
