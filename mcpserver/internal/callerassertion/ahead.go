package callerassertion

import (
	"crypto/rand"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

const (
	fresh    = 15 * time.Second // how old a prepared assertion may be: most of its lifetime is left
	mostEach = 8                // prepared for one grant
	mostAll  = 4096             // prepared in all, about a kilobyte each
	mostDue  = 256              // waiting to be signed
	rest     = time.Millisecond // delay before signing, so that responses are sent first
)

// Ahead hands out assertions from one resource to one server. A signature takes as long as
// everything else that a gateway does for a request, so the next assertion of a recent caller is
// signed in advance. Each is handed out once. It is safe for concurrent use.
type Ahead struct {
	Signer   *Signer
	From, To string
	Now      func() time.Time

	due atomic.Int32

	mu    sync.Mutex
	ready map[string][]prepared // by grant, oldest first
	count int
}

// prepared is an assertion that was signed in advance.
type prepared struct {
	caller  mcp.Caller
	made    time.Time
	raw, id string
}

// Take returns an assertion for a caller and its id, prepared or signed now.
func (a *Ahead) Take(c mcp.Caller) (raw, id string) {
	if p, ok := a.take(c); ok {
		return p.raw, p.id
	}
	p := a.sign(c)
	return p.raw, p.id
}

// take returns the newest prepared assertion of a grant, if its claims are those of the caller:
// another token of the grant may have other scopes.
func (a *Ahead) take(c mcp.Caller) (p prepared, ok bool) {
	now := a.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.ready[c.GrantID]
	if len(of) == 0 {
		return p, false
	}
	p = of[len(of)-1]
	if age := now.Sub(p.made); age < 0 || age > fresh || !same(p.caller, c) {
		a.drop(c.GrantID)
		return p, false
	}
	a.count--
	if of = of[:len(of)-1]; len(of) == 0 {
		delete(a.ready, c.GrantID)
		return p, true
	}
	a.ready[c.GrantID] = of
	return p, true
}

// Prepare signs the next assertion for a caller that was just served. As many are prepared for a
// grant as it had concurrent requests. When many are waiting already, Take signs the next one.
func (a *Ahead) Prepare(c mcp.Caller) {
	if a.due.Add(1) > mostDue {
		a.due.Add(-1)
		return
	}
	time.AfterFunc(rest, func() {
		defer a.due.Add(-1)
		a.put(c, a.sign(c))
	})
}

// put stores a prepared assertion.
func (a *Ahead) put(c mcp.Caller, p prepared) {
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.ready[c.GrantID]
	if len(of) >= mostEach {
		return
	}
	for grant := range a.ready {
		if a.count < mostAll {
			break
		}
		a.drop(grant) // any one: it only has to be signed again
	}
	if a.ready == nil {
		a.ready = map[string][]prepared{}
	}
	a.ready[c.GrantID] = append(a.ready[c.GrantID], p)
	a.count++
}

// drop removes the prepared assertions of a grant. a.mu is held.
func (a *Ahead) drop(grant string) {
	a.count -= len(a.ready[grant])
	delete(a.ready, grant)
}

func (a *Ahead) sign(c mcp.Caller) prepared {
	p := prepared{caller: c, made: a.Now(), id: rand.Text()}
	p.raw = a.Signer.Sign(c, a.From, a.To, p.id, p.made)
	return p
}

func same(a, b mcp.Caller) bool {
	return a.Subject == b.Subject && a.TenantID == b.TenantID && a.ClientID == b.ClientID && a.GrantID == b.GrantID &&
		slices.Equal(a.Scopes, b.Scopes)
}
