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
	lines   chan []byte   // for its standard input
	input   io.Closer     // closed to make it end
	opened  chan struct{} // closed when it accepts requests
	ended   chan struct{} // closed when it has ended
	halt    func()        // makes it end; at most once

	mu      sync.Mutex
	users   int // requests that hold it
	next    int64
	pending map[int64]*pending
	tokens  map[string]*pending // requests with a progress token
	dropped map[string]bool     // kinds of dropped lines that were reported
	words   []string            // its last lines that were no messages
	end     error
	hello   hello
}

// hello is a process's answer to initialize.
type hello struct {
	Version      string                     `json:"protocolVersion"`
	Capabilities map[string]json.RawMessage `json:"capabilities"`
	Info         json.RawMessage            `json:"serverInfo"`
	Instructions json.RawMessage            `json:"instructions"`
}

// pending is a request that a process works on.
type pending struct {
	grant, id string // the requesting grant, and its id of the request
	answer    chan reply
	token     string             // the gateway's progress token; empty: none
	told      func(about []byte) // receives progress: params without the token
	progress  chan []byte        // progress not delivered yet, the latest
}

// reply is a result, an error, or why there is no answer.
type reply struct {
	result, fault json.RawMessage
	wrong         error
}

// mostLines bounds the lines waiting for the process to read them.
const mostLines = 64

// lastWords is how long output is still read after a process ended, when a child of it keeps its
// pipes open.
const lastWords = 500 * time.Millisecond

// start starts a process, and initializes it in the background.
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
	// exec's own pipes are closed only when every process that inherited them has ended.
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
		kill(x.command) // its children end with it
		// Its last output is in the pipes, which end when all holders have ended; a child that left
		// the process group is not waited for long.
		last := time.Now().Add(lastWords)
		_, _ = outR.SetReadDeadline(last), errR.SetReadDeadline(last)
		reading.Wait()
		_, _ = outR.Close(), errR.Close()
		x.finish(err)
	}()
	go x.open()
	return x, nil
}

// open initializes the process (MCP 2025-11-25, lifecycle). The gateway is its client and declares
// no capabilities.
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

// give records why the process ends; the first reason counts.
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

// errWriting says that a program did not read its input.
var errWriting = errors.New("writing to it")

// finish is called when the process has ended, and wakes those that wait for it.
func (x *process) finish(err error) {
	if err == nil {
		err = errors.New("it ended with exit code 0")
	}
	x.mu.Lock()
	if x.end == nil || errors.Is(x.end, errWriting) { // it does not read because it ended: the exit status says how
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

// idle reports whether no request holds it.
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

// stop makes the process end, and waits for that.
func (x *process) stop() { x.halt() }

// grace is how long a process may take to end after its input was closed, and again after SIGTERM.
const grace = 2 * time.Second

// conclude ends the process (MCP, "Shutdown" of stdio): close its input, then SIGTERM, then SIGKILL
// to its group.
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

// write writes lines to the process.
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

// mostKept bounds the line buffer that is reused, in bytes.
const mostKept = 64 << 10

// read reads the process's lines. Of a line that is too long only the id is kept: it fails the
// request that it answers, and no other.
func (x *process) read(from io.Reader) {
	lines := bufio.NewReaderSize(from, 16<<10)
	var line []byte
	var long *message.Glance // parses a line that is too long
	for {
		piece, err := lines.ReadSlice('\n')
		switch {
		case long != nil:
			_, _ = long.Write(piece) // it never fails
		case len(line)+len(piece) > x.pool.Limits.Line+1: // and its line feed
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

// The bounds of the last lines that are kept.
const (
	mostWords = 5
	mostWord  = 200
)

// said keeps a line that is no message, for the operator.
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

// drop logs that a line was dropped: once at WARN for each kind.
func (x *process) drop(what string) {
	x.mu.Lock()
	level := slog.LevelWarn
	if x.dropped[what] {
		level = slog.LevelDebug
	}
	x.dropped[what] = true
	x.mu.Unlock()
	x.pool.Log.Log(context.Background(), level,
		"a process wrote a line that was dropped; further ones of this kind are not logged", "upstream", x.pool.Name,
		"tenant", x.tenant, "what", what)
}

// take handles one line of the process.
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
		// There is no client to ask: the process is the whole tenant's.
		x.tell(append(append([]byte(`{"jsonrpc":"2.0","id":`), m.ID...),
			`,"error":{"code":-32601,"message":"this gateway passes no requests of servers on to clients"}}`...))
	case m.Method == "notifications/progress":
		x.report(line)
	default:
		x.drop("a notification")
	}
}

// fail fails the request whose answer cannot be passed on.
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
			if string(m.Value) != "null" { // some programs write null beside every result
				r.fault = append(json.RawMessage(nil), m.Value...)
			}
		}
	}
	if r.result == nil && r.fault == nil {
		r.wrong = errBroken
	}
	x.settle(id, r)
}

// settle passes a reply to its request, or drops it when there is none or no one waits any more.
func (x *process) settle(id json.RawMessage, r reply) {
	text := string(id)
	if id[0] == '"' {
		text = message.Text(id) // a program may have turned the number into a string
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
		x.drop("an answer without a request")
	}
}

// tell sends a line without an answer, unless the process does not read.
func (x *process) tell(line []byte) {
	select {
	case x.lines <- line:
	default:
	}
}
