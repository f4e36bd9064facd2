package audit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// memory is a log that can be down.
type memory struct {
	mu    sync.Mutex
	lines []audit.Event
	calls int
	down  bool
}

var errDown = errors.New("the ledger does not answer")

func (m *memory) keep(_ context.Context, events []audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.down {
		return errDown
	}
	m.lines = append(m.lines, events...)
	return nil
}

func (m *memory) Record(ctx context.Context, e audit.Event) error {
	return m.keep(ctx, []audit.Event{e})
}

func (m *memory) set(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

func (m *memory) kept() []audit.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lines)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Nobody fills the ledger by being refused: what is beyond the bounds is counted, by source as far
// as there is room.
func TestRefusalsAreBounded(t *testing.T) {
	ctx, m := context.Background(), &memory{}
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	r := &audit.Refusals{Log: m, Now: func() time.Time { return now }, Each: 3, All: 10}
	refuse := func(source string, times int) {
		for range times {
			must(t, r.Record(ctx, source, audit.Event{Time: now, Actor: source, Action: "token.issue",
				Outcome: audit.Refused, Detail: "why"}))
		}
	}
	refuse("ann", 2)
	refuse("mallory", 1000)
	must(t, r.Flush(ctx))
	if n := len(m.kept()); n != 5 {
		t.Fatalf("got %d lines, want 2 of ann's and 3 of mallory's", n)
	}
	for i := range 10_000 {
		refuse(fmt.Sprint("stranger", i), 1)
	}
	if n := len(m.kept()); n != 10 {
		t.Fatalf("got %d lines, want ten", n)
	}
	now = now.Add(time.Minute)
	refuse("ann", 1)
	must(t, r.Flush(ctx))
	lines := m.kept()[10:]
	var all []string
	for _, l := range lines {
		all = append(all, l.Actor+": "+l.Detail)
	}
	got := strings.Join(all, "\n")
	for _, want := range []string{"mallory: 997 more in the minute from 12:00:00, the last: why",
		"system: 9995 more from others in the minute from 12:00:00", "ann: why"} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in:\n%s", want, got)
		}
	}
	if len(lines) != 3 {
		t.Errorf("got %d lines, want three:\n%s", len(lines), got)
	}
	refuse("bob", 5)
	now = now.Add(time.Minute)
	must(t, r.Flush(ctx))
	must(t, r.Flush(ctx))
	if last := m.kept(); last[len(last)-1].Detail != "2 more in the minute from 12:01:00, the last: why" ||
		len(last) != 17 {
		t.Errorf("a minute that is over is counted once: got %+v", last[len(last)-1])
	}
	refuse("bob", 4)
	must(t, r.Close(ctx))
	if last := m.kept(); last[len(last)-1].Detail != "1 more in the minute from 12:02:00, the last: why" {
		t.Errorf("at the end the minute under way is counted, too: got %+v", last[len(last)-1])
	}
	m.set(true)
	if err := r.Record(ctx, "bob", audit.Event{}); !errors.Is(err, errDown) {
		t.Errorf("a ledger that does not answer: got %v", err)
	}
}

// What a buffer took is kept: in few writes, when the ledger comes back, and when it is closed.
func TestTheBufferKeepsWhatItTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, m := context.Background(), &memory{}
		b := audit.NewBuffer(m.keep, slog.New(slog.DiscardHandler))
		for i := range 400 {
			must(t, b.Record(ctx, audit.Event{Action: fmt.Sprint(i)}))
		}
		time.Sleep(time.Second) // of the bubble's clock
		synctest.Wait()
		if m.calls > 2 || len(m.kept()) != 400 {
			t.Errorf("got %d lines by %d writes, want 400 by one or two", len(m.kept()), m.calls)
		}
		m.set(true)
		var refused error
		taken := 400
		for refused == nil {
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			if refused = b.Record(short, audit.Event{Action: fmt.Sprint(taken)}); refused == nil {
				taken++
			}
			cancel()
		}
		if !errors.Is(refused, context.DeadlineExceeded) || taken > 6000 {
			t.Errorf("got %v after %d lines, want it full", refused, taken)
		}
		m.set(false)
		b.Close()
		b.Close()
		if n := len(m.kept()); n != taken {
			t.Errorf("got %d lines, want %d", n, taken)
		}
		for i, l := range m.kept() {
			if l.Action != fmt.Sprint(i) {
				t.Fatalf("line %d is %s", i, l.Action)
			}
		}
		if b.Record(ctx, audit.Event{}) == nil {
			t.Error("a closed buffer took a line")
		}
		// A ledger that never comes back does not keep anybody from ending.
		gone := &memory{down: true}
		b = audit.NewBuffer(gone.keep, slog.New(slog.DiscardHandler))
		must(t, b.Record(ctx, audit.Event{}))
		b.Close()
	})
}
