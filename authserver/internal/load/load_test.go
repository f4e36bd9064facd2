package load_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/load"
)

// fill takes places until none is left, and returns what gives them back.
func fill(t *testing.T, l *load.Limiter, urgent bool, want int) []func() {
	t.Helper()
	var all []func()
	for {
		leave, ok := l.Enter(t.Context(), urgent)
		if !ok {
			break
		}
		all = append(all, leave)
	}
	if len(all) != want {
		t.Errorf("urgent %v: got %d places, want %d", urgent, len(all), want)
	}
	return all
}

func TestUrgentRequestsFindAPlaceWhileOthersAreTooMany(t *testing.T) {
	l := load.New(8, time.Millisecond)
	others := fill(t, l, false, 2)
	urgent := fill(t, l, true, 6)
	for _, leave := range append(others, urgent...) {
		leave()
	}
	for _, leave := range fill(t, l, true, 8) { // urgent ones may take all
		leave()
	}
	for _, leave := range fill(t, l, false, 2) {
		leave()
	}
}

func TestWaitingRequestGetsThePlaceThatBecomesFree(t *testing.T) {
	l := load.New(4, time.Hour)
	leave, ok := l.Enter(t.Context(), false)
	if !ok {
		t.Fatal("no place in an empty limiter")
	}
	entered := make(chan bool)
	go func() {
		_, ok := l.Enter(context.Background(), false)
		entered <- ok
	}()
	leave()
	if !<-entered {
		t.Error("the place that became free was not given")
	}
}

func TestQueueIsBoundedAndEndsWithTheRequest(t *testing.T) {
	l := load.New(4, time.Hour)
	if _, ok := l.Enter(t.Context(), false); !ok {
		t.Fatal("no place in an empty limiter")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	refused := make(chan struct{}, 100)
	for range 100 { // 32 may wait for the one place; the others are refused at once
		waiting.Go(func() {
			if _, ok := l.Enter(ctx, false); ok {
				t.Error("a place that nobody gave back was given again")
			}
			refused <- struct{}{}
		})
	}
	for range 68 {
		<-refused
	}
	cancel()
	waiting.Wait()
}
