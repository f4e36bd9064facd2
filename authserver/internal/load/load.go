// Package load bounds the requests served at once, and serves urgent ones first.
package load

import (
	"context"
	"time"
)

// Limiter bounds requests in flight. Requests that are not urgent may take at most a quarter of the
// places, so that urgent ones find one under load. It is safe for concurrent use.
type Limiter struct {
	all      chan struct{} // places of all requests
	ordinary chan struct{} // places of requests that are not urgent
	waiting  chan struct{} // bounds how many of those wait
	urgently chan struct{} // bounds how many urgent requests wait
	wait     time.Duration
}

// waitersPerPlace bounds the queue, and with it the request bodies held in memory. A burst of short
// requests passes in time behind that many; requests that wait too long are rejected.
const waitersPerPlace = 32

// New returns a limiter with places, at least 4; a request waits at most wait for its place.
func New(places int, wait time.Duration) *Limiter {
	places = max(places, 4)
	return &Limiter{
		all: make(chan struct{}, places), ordinary: make(chan struct{}, places/4), wait: wait,
		waiting: make(chan struct{}, waitersPerPlace*places/4), urgently: make(chan struct{}, waitersPerPlace*places),
	}
}

// Enter takes a place and returns the function that frees it. ok is false when none became free in
// time, the queue is full, or ctx ended.
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
