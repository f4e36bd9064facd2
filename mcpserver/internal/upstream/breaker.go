package upstream

import (
	"sync"
	"time"
)

// breaker is a circuit breaker. After a number of consecutive failures no request is sent for a
// while; then one is, and its outcome decides.
type breaker struct {
	most     int
	cooldown time.Duration
	now      func() time.Time

	mu      sync.Mutex
	failed  int
	until   time.Time
	probing bool
}

// The outcomes of a request.
const (
	stateOK      = "ok"
	stateFailing = "failing"
	stateProbing = "probing"
	stateSome    = "failing for some"
)

// outcome is how a request found the server.
type outcome int

const (
	unknown outcome = iota // the client did not wait, or the request itself was the cause
	good
	bad  // it failed with this request
	down // it cannot be reached
)

// enter reports whether a request may be sent, and otherwise how long to wait. report takes the
// outcome, and returns the new state when it changed.
func (b *breaker) enter() (report func(outcome) (changed string), wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed < b.most {
		return b.report, 0, true
	}
	if left := b.until.Sub(b.now()); left > 0 {
		return nil, left, false
	}
	if b.probing {
		return nil, b.cooldown, false
	}
	b.probing = true
	return b.probed, 0, true
}

func (b *breaker) report(o outcome) (changed string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	open := b.failed < b.most
	switch {
	case o == bad:
		b.failed++
		b.until = b.now().Add(b.cooldown)
	case o == good && open:
		b.failed = 0 // a late success of an older request does not close the breaker
	}
	if open && b.failed >= b.most {
		return stateFailing
	}
	return ""
}

// probed is report for the probing request.
func (b *breaker) probed(o outcome) (changed string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	switch o {
	case good:
		b.failed = 0
		return stateOK
	case bad:
		b.until = b.now().Add(b.cooldown)
	}
	return ""
}

func (b *breaker) state() string {
	switch {
	case b.failed < b.most:
		return stateOK
	case b.probing:
		return stateProbing
	}
	return stateFailing
}

func (b *breaker) clean() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed == 0 && !b.probing
}

func (b *breaker) describe() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state()
}
