package stdio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// process is one running process.
type process struct {
	pool    *Pool
	tenant  string
	command *exec.Cmd
	began   time.Time
	lines   chan []byte   // to its standard input
	input   io.Closer     // closed to ask it to end
	opened  chan struct{} // closed when it can be asked
	ended   chan struct{} // closed when it has ended
	halt    func()        // asks it to end; at most once

	mu      sync.Mutex
	users   int // who have it in hand
	next    int64
	pending map[int64]*pending
	tokens  map[string]*pending // those that ask to be told of progress
	dropped map[string]bool     // kinds of lines that were reported
	words   []string            // what it said last, and was no message
	end     error
	hello   hello
}

// hello is what a process says of itself when it is opened.
type hello struct {
	Version      string                     `json:"protocolVersion"`
	Capabilities map[string]json.RawMessage `json:"capabilities"`
	Info         json.RawMessage            `json:"serverInfo"`
	Instructions json.RawMessage            `json:"instructions"`
}

// pending is a request that a process works on.
type pending struct {
	grant, id string // who asked, and under which id of theirs
	answer    chan reply
	token     string             // that the process tells of progress with; empty: it is not asked to
	told      func(about []byte) // is given what it tells: params without the token
	progress  chan []byte        // that was not given yet, the latest of it
}

// reply is a process's answer: one of the two, or why there is none.
type reply struct {
	result, fault json.RawMessage
	wrong         error
}

// mostLines is how many lines may wait to be read by the process.
const mostLines = 64

// lastWords is how long what a process wrote is still read after its end, when somebody whom it
// started keeps its pipes open.
const lastWords = 500 * time.Millisecond

// start starts a process, and opens it in the background.
func (p *Pool) start(tenant string) (*process, error) {
	command, err := p.command(tenant)
	if err != nil {
		return nil, err
	}
	x := &process{
		pool: p, tenant: tenant, command: command, began: time.Now(), lines: make(chan []byte, mostLines),
		pending: map[int64]*pending{}, tokens: map[string]*pending{}, dropped: map[string]bool{},
		opened: make(chan struct{}), ended: make(chan struct{}),
	}
	x.halt = sync.OnceFunc(func() { go x.conclude() })
	group(x.command)
	input, err := x.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	x.input = input
	// Pipes of our own: those of exec are closed only when everybody who inherited them is gone.
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, outR.Close(), outW.Close())
	}
	x.command.Stdout, x.command.Stderr = outW, errW
	err = x.command.Start()
	_, _ = outW.Close(), errW.Close() // the process has them
	if err != nil {
		_, _ = outR.Close(), errR.Close()
		return nil, err
	}
	var reading sync.WaitGroup
	reading.Go(func() { x.read(outR) })
	reading.Go(func() { x.relay(errR) })
	go x.write(input)
	go func() {
		err := x.command.Wait()
		kill(x.command) // what it started ends with it
		// Its last words are still in the pipes, which end when all who hold them are gone; who got
		// out of reach is not waited for long.
		last := time.Now().Add(lastWords)
		_, _ = outR.SetReadDeadline(last), errR.SetReadDeadline(last)
		reading.Wait()
		_, _ = outR.Close(), errR.Close()
		x.finish(err)
	}()
	go x.open()
	return x, nil
}

// open shakes hands (MCP 2025-11-25, lifecycle). The client of the process is the gateway, which
// offers it nothing.
func (x *process) open() {
	ctx, cancel := context.WithTimeout(context.Background(), x.pool.Limits.Start)
	defer cancel()
	const params = `{"protocolVersion":"` + message.NewestLegacy +
		`","capabilities":{},"clientInfo":{"name":"gatehouse-gateway","version":"0.1.0"}}`
	r, err := x.ask(ctx, "initialize", json.RawMessage(params), nil)
	if err == nil && r.fault != nil {
		err = fmt.Errorf("it refuses initialize: %.200s", r.fault)
	}
	if err == nil {
		if strictjson.Unmarshal(r.result, &x.hello) != nil || x.hello.Version == "" {
			err = errors.New("its answer to initialize is none")
		}
	}
	if err != nil {
		x.give(fmt.Errorf("opening it: %w", err))
		x.halt()
		return
	}
	x.tell([]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	close(x.opened)
}

// give notes why the process ends; the first reason counts.
func (x *process) give(why error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.end == nil {
		x.end = why
	}
}

func (x *process) why() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.end
}

// errWriting says that a program did not read what was written to it.
var errWriting = errors.New("writing to it")

// finish is called when it has ended: anyone who waits learns that it did.
func (x *process) finish(err error) {
	if err == nil {
		err = errors.New("it ended with exit code 0")
	}
	x.mu.Lock()
	if x.end == nil || errors.Is(x.end, errWriting) { // it reads no more because it ended: how is said by the system
		x.end = err
	}
	why := fmt.Errorf("the program ended: %w", x.end)
	if len(x.words) > 0 {
		why = fmt.Errorf("%w; it said last: %s", why, strings.Join(x.words, " / "))
	}
	x.mu.Unlock()
	x.pool.Trouble(why)
	close(x.ended)
}

func (x *process) lived() time.Duration { return time.Since(x.began) }

// idle says that nobody has it in hand.
func (x *process) idle() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.users == 0
}

func (x *process) hold() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.users++
}

func (x *process) release() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.users--
}

// stop asks the process to end, and sees to it.
func (x *process) stop() { x.halt() }

// grace is how long a process may take to end after its input, and again after it was asked by
// signal.
const grace = 2 * time.Second

// conclude ends the process (MCP, "Shutdown" of stdio): its input ends, then it is asked, then it
// is made to, with all that it started.
func (x *process) conclude() {
	_ = x.input.Close() // it may have ended already
	for _, more := range []func(*exec.Cmd){terminate, kill} {
		select {
		case <-x.ended:
			return
		case <-time.After(grace):
			more(x.command)
		}
	}
}

// write writes lines to the process, one after the other.
func (x *process) write(to io.Writer) {
	for {
		select {
		case line := <-x.lines:
			if _, err := to.Write(append(line, '\n')); err != nil {
				x.give(fmt.Errorf("%w: %w", errWriting, err))
				x.halt()
				return
			}
		case <-x.ended:
			return
		}
	}
}

// mostKept is how large a line's memory may be and be kept for the next one, in bytes.
const mostKept = 64 << 10

// read reads the lines of the process. Of one that is longer than it may be only the id is kept: it
// fails the request that it answers, and no other.
func (x *process) read(from io.Reader) {
	lines := bufio.NewReaderSize(from, 16<<10)
	var line []byte
	var long *message.Glance // of a line that is too long
	for {
		piece, err := lines.ReadSlice('\n')
		switch {
		case long != nil:
			_, _ = long.Write(piece) // it never fails
		case len(line)+len(piece) > x.pool.Limits.Line+1: // and its end
			long = &message.Glance{}
			_, _ = long.Write(line)
			_, _ = long.Write(piece)
			line = nil
		default:
			line = append(line, piece...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if whole := bytes.TrimSpace(line); long != nil {
			x.drop("a line longer than limits.answer")
			x.fail(long.ID(), errLarge)
		} else if len(whole) > 0 {
			x.take(whole)
		}
		if line, long = line[:0], nil; cap(line) > mostKept {
			line = nil
		}
		if err != nil {
			return
		}
	}
}

// How much is kept of what a process said last, in lines and bytes of each.
const (
	mostWords = 5
	mostWord  = 200
)

// said keeps what a process said that is no message, for its operator.
func (x *process) said(line []byte) {
	words := text.Line(string(line[:min(len(line), mostWord)]), 0)
	if words == "" {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.words = append(x.words, words); len(x.words) > mostWords {
		x.words = x.words[1:]
	}
}

// drop says that something the process wrote goes to nobody: once for each kind of thing at WARN.
func (x *process) drop(what string) {
	x.mu.Lock()
	level := slog.LevelWarn
	if x.dropped[what] {
		level = slog.LevelDebug
	}
	x.dropped[what] = true
	x.mu.Unlock()
	x.pool.Log.Log(context.Background(), level,
		"a process wrote what goes to nobody; further such lines of it are not reported", "upstream", x.pool.Name,
		"tenant", x.tenant, "what", what)
}

// take takes one line of the process.
func (x *process) take(line []byte) {
	m, f := message.ParseServer(line)
	switch {
	case f != nil:
		if mended, left, ok := message.Mend(line); ok {
			for _, e := range left {
				x.pool.Log.Warn("an unreadable list entry of a process is left out", "upstream", x.pool.Name,
					"tenant", x.tenant, "name", message.NameOf(e))
			}
			x.take(mended)
			return
		}
		x.drop("a line that is no message")
		x.said(line)
		var g message.Glance
		_, _ = g.Write(line) // it never fails
		x.fail(g.ID(), errBroken)
	case m.Answer:
		x.deliver(m.ID, line)
	case m.ID != nil && m.Method == "ping":
		x.tell(append(append([]byte(`{"jsonrpc":"2.0","id":`), m.ID...), `,"result":{}}`...))
	case m.ID != nil:
		x.drop("a request of its own")
		// There is nobody to ask: the process is the whole tenant's, and no client of it is this
		// request's.
		x.tell(append(append([]byte(`{"jsonrpc":"2.0","id":`), m.ID...),
			`,"error":{"code":-32601,"message":"nobody behind this gateway answers to servers"}}`...))
	case m.Method == "notifications/progress":
		x.report(line)
	default:
		x.drop("a notification")
	}
}

// fail fails the request that an answer is to which cannot be passed on.
func (x *process) fail(id json.RawMessage, why error) {
	if id != nil {
		x.settle(id, reply{wrong: why})
	}
}

// deliver passes an answer to its request.
func (x *process) deliver(id json.RawMessage, line []byte) {
	members, err := message.Members(line)
	if err != nil {
		return
	}
	var r reply
	for _, m := range members {
		switch string(m.Name) {
		case "result":
			r.result = append(json.RawMessage(nil), m.Value...)
		case "error":
			if string(m.Value) != "null" { // as some write it beside every result
				r.fault = append(json.RawMessage(nil), m.Value...)
			}
		}
	}
	if r.result == nil && r.fault == nil {
		r.wrong = errBroken
	}
	x.settle(id, r)
}

// settle passes a reply to its request. One without a request is dropped, as is one that
// nobody waits for any more.
func (x *process) settle(id json.RawMessage, r reply) {
	text := string(id)
	if id[0] == '"' {
		text = message.Text(id) // a program may have made a string of the number
	}
	n, err := strconv.ParseInt(text, 10, 64)
	x.mu.Lock()
	w := x.pending[n]
	known := err == nil && n > 0 && n <= x.next
	if w != nil && err == nil {
		x.forget(n)
		w.answer <- r
	}
	x.mu.Unlock()
	if !known {
		x.drop("an answer that nobody asked for")
	}
}

// tell sends a line that nobody waits for, unless the process does not read.
func (x *process) tell(line []byte) {
	select {
	case x.lines <- line:
	default:
	}
}
