package stdio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strconv"
	"time"
)

// ask sends the process one request under an id of the gateway's own, and waits for the answer. who
// may be nil.
func (x *process) ask(ctx context.Context, method string, params json.RawMessage, who *pending) (reply, error) {
	if who == nil {
		who = &pending{}
	}
	who.answer, who.progress = make(chan reply, 1), make(chan []byte, mostProgress)
	id, ok := x.enter(who)
	if !ok {
		return reply{}, errBusy
	}
	defer x.leave(id)
	line := append(strconv.AppendInt([]byte(`{"jsonrpc":"2.0","id":`), id, 10), `,"method":`...)
	line = append(line, mustJSON(method)...)
	if len(params) > 0 {
		line = append(append(line, `,"params":`...), oneLine(params)...)
	}
	select {
	case x.lines <- append(line, '}'):
	case <-x.ended:
		return reply{}, errEnded
	case <-ctx.Done():
		return reply{}, context.Cause(ctx)
	}
	answered := func(r reply) (reply, error) {
		for len(who.progress) > 0 { // progress from before
			who.told(<-who.progress)
		}
		return r, r.wrong
	}
	for {
		select {
		case p := <-who.progress:
			who.told(p)
		case r := <-who.answer:
			return answered(r)
		case <-x.ended:
			select {
			case r := <-who.answer: // its last answers
				return answered(r)
			default:
				return reply{}, errEnded
			}
		case <-ctx.Done():
			x.cancel(id, "the caller no longer waits")
			return reply{}, context.Cause(ctx)
		}
	}
}

// enter counts a request in, unless the process has as many as it may.
func (x *process) enter(who *pending) (int64, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.pending) >= x.pool.Limits.Pending {
		return 0, false
	}
	x.next++
	x.pending[x.next] = who
	if who.token != "" {
		x.tokens[who.token] = who
	}
	return x.next, true
}

func (x *process) leave(id int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forget(id)
}

// forget removes a request. x.mu is held.
func (x *process) forget(id int64) {
	if w := x.pending[id]; w != nil {
		delete(x.tokens, w.token)
	}
	delete(x.pending, id)
}

// cancel tells the process that a request is cancelled.
func (x *process) cancel(id int64, why string) {
	x.tell(mustJSON(map[string]any{
		"jsonrpc": "2.0", "method": "notifications/cancelled", "params": map[string]any{"requestId": id, "reason": why},
	}))
}

// withdraw cancels a client's request. Only its own grant can, and only when the id is unambiguous.
func (x *process) withdraw(grant, id string) {
	x.mu.Lock()
	var meant []int64
	for n, w := range x.pending {
		if w.grant == grant && w.id == id && w.grant != "" {
			meant = append(meant, n)
		}
	}
	if len(meant) != 1 {
		x.mu.Unlock()
		return
	}
	w := x.pending[meant[0]]
	x.forget(meant[0])
	x.mu.Unlock()
	x.cancel(meant[0], "the client says so")
	w.answer <- reply{fault: json.RawMessage(`{"code":-32603,"message":"cancelled"}`)}
}

// oneLine removes line breaks from JSON: outside of strings they have no meaning, and inside there
// are none.
func oneLine(raw json.RawMessage) []byte {
	if bytes.IndexByte(raw, '\n') < 0 && bytes.IndexByte(raw, '\r') < 0 {
		return raw
	}
	return bytes.Map(func(c rune) rune {
		if c == '\n' || c == '\r' {
			return ' '
		}
		return c
	}, raw)
}

// The bounds of standard error in the log: bytes a line, lines a minute.
const (
	mostNote  = 1 << 10
	mostNotes = 60
)

// relay logs what the process writes to its standard error, bounded.
func (x *process) relay(from io.Reader) {
	lines := bufio.NewReaderSize(from, mostNote)
	minute, notes, skipping := time.Time{}, 0, false
	for {
		line, err := lines.ReadSlice('\n')
		begins := !skipping
		skipping = err == bufio.ErrBufferFull // the rest of a long line
		if len(line) > 0 && begins {
			x.said(line)
			if now := time.Now(); now.Sub(minute) > time.Minute {
				minute, notes = now, 0
			}
			if notes++; notes <= mostNotes {
				x.pool.Log.Info("a process says", "upstream", x.pool.Name, "tenant", x.tenant, "text",
					string(bytes.ToValidUTF8(bytes.TrimSpace(line), []byte("?"))))
			}
		}
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("child: a value that is no JSON: " + err.Error()) // a programming error
	}
	return b
}
