package guard

// Mode is how strictly the rules count for a tenant and a tool. The zero value enforces: leniency
// must be said.
type Mode string

// The modes, from lenient to strict.
const (
	Observe       Mode = "observe"        // every request passes; what would have been decided is recorded
	EnforceWrites Mode = "enforce_writes" // what changes something is enforced, and what no rule speaks of
	Enforce       Mode = "enforce"
)

// Rollout says how strictly the rules count. Nil enforces.
type Rollout interface {
	// Mode is that of a thing (a tool's name, a resource's URI) for a tenant; an empty tenant is
	// nobody's: a request without a good token.
	Mode(tenantID, name string) Mode
}

// Enforces says whether decisions count, of what changes something or not.
func (m Mode) Enforces(write bool) bool {
	return m != Observe && (m != EnforceWrites || write)
}

// lenient says that a refusal does not count, for this tenant and thing.
func (p *Policy) lenient(tenantID, name string, write bool) bool {
	return p.Rollout != nil && !p.Rollout.Mode(tenantID, name).Enforces(write)
}
