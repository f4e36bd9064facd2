// Package load bounds the requests that are worked on at once, and lets urgent ones in before
// others.
package load

import (
	"context"
	"time"
)

// Limiter bounds requests in flight. Requests that are not urgent may take a quarter of the places
// at most, so that urgent ones find one while the others are too many. It is safe for concurrent
// use.
type Limiter struct {
	all      chan struct{} // places of all requests
	ordinary chan struct{} // places of those that are not urgent
	waiting  chan struct{} // how many of those may wait
	urgently chan struct{} // how many urgent ones may wait
	wait     time.Duration
}

// waitersPerPlace bounds the queue, and with it the bodies that are kept for those who wait. A
// burst of short requests has its turn in time behind so many; what takes longer is refused when
// its time is over.
const waitersPerPlace = 32

// New makes a limiter of so many places, at least 4. A request waits for its place for wait at
// most.
func New(places int, wait time.Duration) *Limiter {
	places = max(places, 4)
	return &Limiter{
		all: make(chan struct{}, places), ordinary: make(chan struct{}, places/4), wait: wait,
		waiting: make(chan struct{}, waitersPerPlace*places/4), urgently: make(chan struct{}, waitersPerPlace*places),
	}
}

// Enter takes a place for a request, and returns what gives it back. ok is false when none became
// free in time, the queue is full, or ctx ended.
func (l *Limiter) Enter(ctx context.Context, urgent bool) (leave func(), ok bool) {
	queue := l.waiting
	if urgent {
		queue = l.urgently
	}
	select {
	case queue <- struct{}{}:
	default:
		return nil, false
	}
	defer func() { <-queue }()
	late := time.NewTimer(l.wait)
	defer late.Stop()
	if !urgent && !take(ctx, l.ordinary, late.C) {
		return nil, false
	}
	if !take(ctx, l.all, late.C) {
		if !urgent {
			<-l.ordinary
		}
		return nil, false
	}
	return func() {
		<-l.all
		if !urgent {
			<-l.ordinary
		}
	}, true
}

// take takes a place, at once when one is free.
func take(ctx context.Context, places chan struct{}, late <-chan time.Time) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	select {
	case places <- struct{}{}:
		return true
	case <-late:
	case <-ctx.Done():
	}
	return false
}
