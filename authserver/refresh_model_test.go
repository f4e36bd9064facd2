package authserver_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// chain is the model of one permission's refresh tokens: what the issuer must say of each, without
// knowing how it does it.
type chain struct {
	leaf    string    // the one that may be used
	parent  string    // its parent; empty at the beginning
	spentAt time.Time // when the parent was used
	older   []string  // all before the parent
	ended   bool
	acked   bool // its end was acknowledged to somebody
	endedAt time.Time
	idle    time.Time
	begun   time.Time
}

const (
	window = 30 * time.Second
	idle   = 14 * 24 * time.Hour
	life   = 90 * 24 * time.Hour
)

// forgiven says whether the parent brings the leaf once more.
func (c *chain) forgiven(now time.Time) bool {
	return !c.ended && c.parent != "" && now.Before(c.spentAt.Add(window)) && !c.over(now)
}

// over says whether the leaf has expired.
func (c *chain) over(now time.Time) bool {
	return !now.Before(c.idle) || !now.Before(c.begun.Add(life))
}

// walker acts on the issuer and the model alike.
type walker struct {
	t    *testing.T
	h    *testServer
	a    app
	p    *prover // the client with its key, when the chain is bound to one
	ann  *person
	rand *rand.Rand
	c    chain
	log  []string
}

func (w *walker) say(format string, a ...any) { w.log = append(w.log, fmt.Sprintf(format, a...)) }

func (w *walker) fail(format string, a ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nafter:\n  %s", fmt.Sprintf(format, a...), strings.Join(w.log, "\n  "))
}

// enter makes a client and a person anew.
func (w *walker) enter() {
	w.a, w.ann = w.h.register(map[string]any{}), w.h.person("ann@acme.example")
}

func (w *walker) begin(bound bool) {
	refresh := ""
	if w.p = nil; bound {
		w.p = w.a.prover()
		_, refresh = w.p.bound(w.ann)
	} else {
		_, refresh = w.a.tokens(w.ann, "customers:read")
	}
	now := w.h.Clock.Now()
	w.c = chain{leaf: refresh, idle: now.Add(idle), begun: now}
	w.say("begin, bound %v", bound)
}

// ask asks for tokens as the client does.
func (w *walker) ask(refresh string) (int, map[string]any) {
	if w.p == nil {
		return w.a.token(refreshment(refresh))
	}
	return w.p.token(refreshment(refresh))
}

// freshen gets a nonce that is good now.
func (w *walker) freshen() {
	if w.p != nil {
		w.p.freshen()
	}
}

// strange shows any token of the chain without its key: nothing comes of it, and nothing changes
// (DP-03).
func (w *walker) strange() {
	if w.p == nil {
		return
	}
	all := append([]string{w.c.leaf, w.c.parent}, w.c.older...)
	token := all[w.rand.IntN(len(all))]
	if token == "" {
		return
	}
	ask, other := w.a.token, w.rand.IntN(2) == 0
	if other {
		ask = w.p.other().token
	}
	status, answer := ask(refreshment(token))
	w.say("without the key, another one %v: %d", other, status)
	if status != 400 || answer["error"] != "invalid_grant" {
		w.fail("without the key: got %d %v, want invalid_grant", status, answer)
	}
}

// turn notes that the leaf was used and the result of it.
func (w *walker) turn(child string) {
	now := w.h.Clock.Now()
	if w.c.parent != "" {
		w.c.older = append(w.c.older, w.c.parent)
	}
	w.c.parent, w.c.leaf, w.c.spentAt, w.c.idle = w.c.leaf, child, now, now.Add(idle)
}

// refresh uses the leaf, once or many times at once.
func (w *walker) refresh(times int, lost bool) {
	now := w.h.Clock.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	children := map[string]int{}
	for range times {
		wg.Go(func() {
			status, answer := w.ask(w.c.leaf)
			child, _ := answer["refresh_token"].(string)
			mu.Lock()
			defer mu.Unlock()
			if status != 200 {
				child = fmt.Sprint("refused: ", answer["error"])
			}
			children[child]++
		})
	}
	wg.Wait()
	w.say("refresh ×%d at once, answer lost %v: %d different answers", times, lost, len(children))
	dead := w.c.ended || w.c.over(now)
	if len(children) != 1 || (children["refused: invalid_grant"] == times) != dead {
		w.fail("got %v, want one answer for all; dead is %v", children, dead)
	}
	if dead {
		return
	}
	for child := range children {
		if child == w.c.leaf || child == "" {
			w.fail("the token was not turned")
		}
		w.turn(child)
	}
	if lost { // the client did not hear it: it has only the parent, and asks again
		w.replayParent()
	}
}

func (w *walker) replayParent() {
	if w.c.parent == "" {
		return
	}
	now := w.h.Clock.Now()
	status, answer := w.ask(w.c.parent)
	w.say("replay the parent %s after its use: %d", now.Sub(w.c.spentAt), status)
	switch {
	case w.c.forgiven(now):
		if status != 200 || answer["refresh_token"] != w.c.leaf {
			w.fail("the parent within the window: got %d %v, want the same child", status, answer)
		}
	case status != 400 || answer["error"] != "invalid_grant":
		w.fail("the parent beyond the window: got %d %v, want invalid_grant", status, answer)
	default:
		w.c.ended = true
	}
}

func (w *walker) replayOlder() {
	if len(w.c.older) == 0 {
		return
	}
	old := w.c.older[w.rand.IntN(len(w.c.older))]
	status, answer := w.ask(old)
	w.say("replay one of %d older: %d", len(w.c.older), status)
	if status != 400 || answer["error"] != "invalid_grant" {
		w.fail("an older one: got %d %v, want invalid_grant", status, answer)
	}
	w.c.ended = true
}

func (w *walker) revoke() {
	all := append([]string{w.c.leaf}, w.c.older...)
	form := url.Values{"client_id": {w.a.ID}, "token": {all[w.rand.IntN(len(all))]}}
	status, answer := w.h.post("/oauth2/revoke", "application/x-www-form-urlencoded", form.Encode(), nil)
	w.say("revoke: %d", status)
	if status != 200 {
		w.fail("revoking: got %d %v", status, answer)
	}
	w.c.ended, w.c.acked, w.c.endedAt = true, true, w.h.Clock.Now()
}

func (w *walker) step() {
	steps := []time.Duration{time.Second, 7 * time.Second, 29 * time.Second, 30 * time.Second, time.Hour,
		5 * 24 * time.Hour, 15 * 24 * time.Hour}
	d := steps[w.rand.IntN(len(steps))]
	w.h.Clock.step(d)
	w.freshen()
	w.say("%s pass", d)
}

// leaves counts the refresh tokens in the ledger that could still be used.
func (w *walker) leaves(db *sql.DB) int {
	n := 0
	err := db.QueryRow(`SELECT COUNT(*) FROM refresh_tokens r JOIN grants g ON g.id = r.grant_id
		WHERE g.client_id = $1 AND g.ended_at IS NULL AND r.used_at IS NULL AND r.expires_at > $2`, w.a.ID,
		w.h.Clock.Now().Unix()).Scan(&n)
	if err != nil {
		w.fail("%v", err)
	}
	return n
}

// TestRefreshTokensAgainstTheModel walks at random: refreshing once and many times at once, with
// answers lost, replaying, revoking, restarting, coming without the key of a chain that is bound to
// one, while time passes. There are never two live leaves, and nothing is alive after an end that
// was acknowledged (RT-03, RT-14, RT-16, DP-03).
func TestRefreshTokensAgainstTheModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			h := startServer(t)
			path := strings.TrimPrefix(h.config.Database, "sqlite:")
			db, err := sql.Open("sqlite", "file:"+path+"?_pragma=query_only(1)")
			must(t, err)
			defer db.Close()
			w := &walker{t: t, h: h, rand: rand.New(rand.NewPCG(seed, 7))}
			w.enter()
			w.begin(seed%2 == 1)
			for range 60 {
				w.act()
				live := w.leaves(db)
				if live > 1 || w.c.ended && live != 0 {
					w.fail("%d live leaves, ended %v", live, w.c.ended)
				}
				if w.c.acked {
					// Beyond a token's lifetime it need not be there any more; and an error is a
					// refusal.
					ended, err := h.List.Ended(context.Background(), w.grant(db))
					if !ended && err == nil && h.Clock.Now().Before(w.c.endedAt.Add(11*time.Minute)) {
						w.fail("an acknowledged end is not on the list")
					}
				}
				if w.c.ended && w.rand.IntN(3) == 0 || w.c.over(h.Clock.Now()) {
					w.enter()
					h.Clock.step(10 * time.Minute) // the sign-in limit is not what this is about
					w.begin(seed%2 == 1)
				}
			}
		})
	}
}

func (w *walker) act() {
	switch n := w.rand.IntN(100); {
	case n < 30:
		w.refresh(1, false)
	case n < 40:
		w.refresh(1, true)
	case n < 52:
		w.refresh(6, false)
	case n < 66:
		w.replayParent()
	case n < 70:
		w.replayOlder()
	case n < 74:
		w.revoke()
	case n < 82:
		w.say("restart")
		w.h.start()
		w.freshen()
	case n < 88:
		w.strange()
	default:
		w.step()
	}
}

// grant is the model's grant in the ledger.
func (w *walker) grant(db *sql.DB) string {
	id := ""
	if err := db.QueryRow("SELECT id FROM grants WHERE client_id = $1", w.a.ID).Scan(&id); err != nil {
		w.fail("%v", err)
	}
	return id
}
