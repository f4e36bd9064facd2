// Package singleflight owns asking once for all who wait for the same answer.
package singleflight

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrFull says that as many questions are under way as may be.
var ErrFull = errors.New("too many questions are under way")

// Group asks each question once at a time, however many ask it. It is safe for concurrent use.
type Group[K comparable, V any] struct {
	Most   int           // different questions at once
	Within time.Duration // so long may one take

	mu    sync.Mutex
	asked map[K]*question[V]
}

// question is one under way.
type question[V any] struct {
	done     chan struct{}
	answer   V
	err      error
	panicked any
}

// Do is the answer to the question that is under way for key, or of ask. The question has its own
// time and goes on when whoever asked it first gives up; each waits as long as its own ctx.
func (g *Group[K, V]) Do(ctx context.Context, key K, ask func(context.Context) (V, error)) (V, error) {
	var none V
	q := g.join(ctx, key, ask)
	if q == nil {
		return none, ErrFull
	}
	select {
	case <-q.done:
		if q.panicked != nil {
			panic(q.panicked) // where somebody catches it
		}
		return q.answer, q.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// join finds the question under way, or begins it; nil: there are too many.
func (g *Group[K, V]) join(ctx context.Context, key K, ask func(context.Context) (V, error)) *question[V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if q := g.asked[key]; q != nil {
		return q
	}
	if len(g.asked) >= g.Most {
		return nil
	}
	if g.asked == nil {
		g.asked = map[K]*question[V]{}
	}
	q := &question[V]{done: make(chan struct{})}
	g.asked[key] = q
	go g.fly(context.WithoutCancel(ctx), key, q, ask)
	return q
}

func (g *Group[K, V]) fly(ctx context.Context, key K, q *question[V], ask func(context.Context) (V, error)) {
	ctx, cancel := context.WithTimeout(ctx, g.Within)
	defer cancel()
	defer func() {
		q.panicked = recover()
		g.mu.Lock()
		delete(g.asked, key)
		g.mu.Unlock()
		close(q.done)
	}()
	q.answer, q.err = ask(ctx)
}
