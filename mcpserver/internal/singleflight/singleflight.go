// Package singleflight shares the result of one call between all who wait for it, like
// golang.org/x/sync/singleflight, on which it is built.
//
// It adds three things: the call continues when the caller that started it is canceled, the number
// of calls in flight is limited, and a panic in the call is raised in the callers.
package singleflight

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// ErrFull says that too many calls are in flight.
var ErrFull = errors.New("too many calls are in flight")

// Group runs one call at a time for each key. It is safe for concurrent use.
type Group[V any] struct {
	Max     int64         // different calls in flight
	Timeout time.Duration // of one call

	calls    singleflight.Group
	inFlight atomic.Int64
}

// Do returns the result of the call in flight for key, or of f. A call has its own timeout; each
// caller waits until its own ctx is done.
func (g *Group[V]) Do(ctx context.Context, key string, f func(context.Context) (V, error)) (V, error) {
	var zero V
	done := g.calls.DoChan(key, func() (any, error) {
		defer g.inFlight.Add(-1)
		if g.inFlight.Add(1) > g.Max {
			return zero, ErrFull
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.Timeout)
		defer cancel()
		return call(ctx, f)
	})
	select {
	case r := <-done:
		var p *panicked
		if errors.As(r.Err, &p) {
			panic(p.value)
		}
		return r.Val.(V), r.Err
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

// call calls f, and returns a panic as an error: it would end the process otherwise, because the
// call has its own goroutine.
func call[V any](ctx context.Context, f func(context.Context) (V, error)) (v V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{p}
		}
	}()
	return f(ctx)
}

type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprint("panic: ", p.value) }
