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
	fresh    = 15 * time.Second // so long a voucher may lie ready: most of its life is still ahead of it
	mostEach = 8                // that lie ready for one grant
	mostAll  = 4096             // for all of them, at about a kilobyte
	mostDue  = 256              // that are to be signed
	rest     = time.Millisecond // until one is: by then its caller has the answer, and others were let by
)

// Ahead hands out the vouchers from one resource to one server. A signature takes as long as all
// else that a gateway does for a request; so a caller who was here a moment ago finds the next
// voucher signed, and nobody waits for it. Each is handed out once. It is safe for concurrent use.
type Ahead struct {
	Signer   *Signer
	From, To string
	Now      func() time.Time

	due atomic.Int32

	mu    sync.Mutex
	ready map[string][]prepared // by grant, oldest first
	count int
}

// prepared is a voucher that lies ready.
type prepared struct {
	caller  mcp.Caller
	made    time.Time
	raw, id string
}

// Take hands out a voucher for a caller, and the id that it has: one that lies ready, or one that
// is signed now.
func (a *Ahead) Take(c mcp.Caller) (raw, id string) {
	if p, ok := a.take(c); ok {
		return p.raw, p.id
	}
	p := a.sign(c)
	return p.raw, p.id
}

// take takes the newest voucher of a grant, if it says of the caller what a new one would: another
// token of the same grant may have other scopes.
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

// Prepare signs the next voucher for a caller who was just served, in a moment. As many lie ready
// for a grant as it had requests at once. When much is due already, the next is left to Take.
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

// put lays a voucher ready.
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
		a.drop(grant) // any: it is only signed again
	}
	if a.ready == nil {
		a.ready = map[string][]prepared{}
	}
	a.ready[c.GrantID] = append(a.ready[c.GrantID], p)
	a.count++
}

// drop forgets what lies ready for a grant. a.mu is held.
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
