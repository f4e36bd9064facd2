// Package stdio runs servers behind the gateway that are programs speaking MCP on standard input
// and output: one process for each tenant, and the bridge between its lines and Streamable HTTP.
//
// A process serves all clients of its tenant and of no other. The gateway is its client: it
// initializes each process once, uses request ids of its own, and passes each answer to its
// request.
package stdio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Limits bound the processes. Zero fields get the default that their comment names.
type Limits struct {
	Processes int           // concurrent processes of all tenants; default 16
	Pending   int           // concurrent requests of one process; default 32
	Line      int           // bytes of a line, which is one message; default 8 MiB
	Start     time.Duration // until a process is initialized; default 30 seconds
	Answer    time.Duration // until an answer, since the request or the last progress; default 60 seconds
	Idle      time.Duration // after which an unused process is stopped; default 10 minutes
}

func (l Limits) filled() Limits {
	for _, n := range []struct {
		value     *int
		otherwise int
	}{{&l.Processes, 16}, {&l.Pending, 32}, {&l.Line, 8 << 20}} {
		if *n.value <= 0 {
			*n.value = n.otherwise
		}
	}
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{{&l.Start, 30 * time.Second}, {&l.Answer, time.Minute}, {&l.Idle, 10 * time.Minute}} {
		if *d.value <= 0 {
			*d.value = d.otherwise
		}
	}
	return l
}

// Config configures the processes of a server.
type Config struct {
	Name string // for the log
	// Command is the program and its arguments. There is no shell. {tenant} in an argument is the
	// tenant's id, and {state} the tenant's folder below StateFolder.
	Command []string
	// Directory is the working directory, with the same placeholders. Default: the tenant's folder
	// below StateFolder, or the gateway's directory.
	Directory string
	// StateFolder contains a folder for each tenant, readable by its owner only, created when a
	// process starts. It is the process's HOME, and TMPDIR is in it, unless Environment has them.
	// Empty: there is none, and {state} is empty.
	StateFolder string
	// Environment is the whole environment, as NAME=value, with the same placeholders in values;
	// TenantVariable is added.
	Environment    []string
	TenantVariable string // empty: none
	Limits         Limits
	// Trouble is called with why a process does not start or has ended, for the operator. May be
	// nil.
	Trouble func(error)
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: nothing is logged
}

// Pool is the processes of one server, by tenant. It is safe for concurrent use.
type Pool struct {
	Config
	mu     sync.Mutex
	slots  map[string]*slot
	closed bool
	works  sync.WaitGroup // running processes
}

// slot is a tenant's process and its state.
type slot struct {
	process *process // nil: not running
	used    time.Time
	crashes int       // consecutive
	until   time.Time // not started before
}

// The errors when a tenant's process is not available.
var (
	errTenant = errors.New("this organisation's name is not one that a process can be given")
	errFull   = errors.New("too many processes of the server behind this gateway run; try again")
	errDown   = errors.New("the server behind this gateway does not start; try again later")
	errEnded  = errors.New("the server behind this gateway ended while it worked on this; what it did is not known")
	errSlow   = errors.New("the server behind this gateway took too long")
	errLarge  = errors.New("the server behind this gateway answers with more than is passed on; ask for less")
	errBroken = errors.New("the server behind this gateway answers with what is no message")
	errBusy   = errors.New("the server behind this gateway has all that it can do; try again")
)

// New returns a pool without starting anything.
func New(c Config) *Pool {
	c.Limits = c.Limits.filled()
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Trouble == nil {
		c.Trouble = func(error) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Pool{Config: c, slots: map[string]*slot{}}
}

// IsTenant reports whether a tenant's id is safe in arguments, environment and paths: a-z, 0-9 and
// hyphens, and not like an option.
func IsTenant(id string) bool {
	return id != "" && len(id) <= 64 && id[0] != '-' && !strings.ContainsFunc(id, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	})
}

// find returns the tenant's process, starting it if necessary; release it after use. wait says when
// to retry after an error.
func (p *Pool) find(ctx context.Context, tenant string) (_ *process, wait time.Duration, err error) {
	if !IsTenant(tenant) {
		return nil, 0, errTenant
	}
	x, wait, err := p.take(tenant)
	if err != nil {
		return nil, wait, err
	}
	select {
	case <-x.opened:
	case <-x.ended:
	case <-ctx.Done():
		x.release()
		return nil, 0, ctx.Err()
	}
	select {
	case <-x.ended:
		x.release()
		return nil, firstBackoff, errDown
	default:
		return x, 0, nil
	}
}

// take returns the tenant's process, held, which may not be initialized yet.
func (p *Pool) take(tenant string) (*process, time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, 0, errDown
	}
	s := p.slots[tenant]
	if s == nil {
		s = &slot{}
		p.slots[tenant] = s
	}
	now := p.Now()
	s.used = now
	if s.process != nil {
		s.process.hold()
		return s.process, 0, nil
	}
	if left := s.until.Sub(now); left > 0 {
		return nil, left, errDown
	}
	if !p.makeRoom() {
		return nil, 0, errFull
	}
	x, err := p.start(tenant)
	if err != nil {
		p.Trouble(fmt.Errorf("the program does not start: %w", err))
		p.Log.Error("a process does not start", "upstream", p.Name, "tenant", tenant, "error", err)
		return nil, s.fail(now), errDown
	}
	x.hold()
	s.process = x
	p.works.Go(func() { p.tend(s, x) })
	return x, 0, nil
}

// running returns the tenant's process, or nil.
func (p *Pool) running(tenant string) *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.slots[tenant]; s != nil {
		return s.process
	}
	return nil
}

// How long to wait before a process that ended by itself is started again, doubling each time.
const (
	firstBackoff = time.Second
	mostBackoff  = time.Minute
	steady       = time.Minute // after running this long the delay begins again
)

func (s *slot) fail(now time.Time) time.Duration {
	wait := min(firstBackoff<<min(s.crashes, 10), mostBackoff)
	s.crashes++
	s.until = now.Add(wait)
	return wait
}

// makeRoom stops the longest idle process when the bound is reached, and reports whether there is
// room.
func (p *Pool) makeRoom() bool {
	running := 0
	var oldest *slot
	for _, s := range p.slots {
		if s.process == nil {
			continue
		}
		running++
		if s.process.idle() && (oldest == nil || s.used.Before(oldest.used)) {
			oldest = s
		}
	}
	if running < p.Limits.Processes {
		return true
	}
	if oldest == nil {
		return false
	}
	oldest.process.stop()
	oldest.process = nil // its slot is free; tend waits for its end
	return true
}

// tend waits for the end of a process, and stops it when idle.
func (p *Pool) tend(s *slot, x *process) {
	tick := time.NewTicker(min(p.Limits.Idle/4+time.Millisecond, time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.mu.Lock()
			if x.idle() && p.Now().Sub(s.used) >= p.Limits.Idle && s.process == x {
				s.process = nil
				x.stop()
			}
			p.mu.Unlock()
		case <-x.ended:
			p.mu.Lock()
			defer p.mu.Unlock()
			if s.process != x {
				return // it was stopped
			}
			s.process = nil
			if x.lived() >= steady {
				s.crashes = 0
			}
			wait := s.fail(p.Now())
			p.Log.Error("a process ended by itself", "upstream", p.Name, "tenant", x.tenant, "error", x.why(),
				"again_after", wait)
			return
		}
	}
}

// State returns "ok", or that some processes do not start.
func (p *Pool) State() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Now()
	for _, s := range p.slots {
		if s.process == nil && s.until.After(now) {
			return "failing"
		}
	}
	return "ok"
}

// Close stops all processes, and waits for their end.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, s := range p.slots {
		if s.process != nil {
			s.process.stop()
			s.process = nil
		}
	}
	p.mu.Unlock()
	p.works.Wait()
	return nil
}

// command returns the command for a tenant, after creating its folder.
func (p *Pool) command(tenant string) (*exec.Cmd, error) {
	var state string
	if p.StateFolder != "" {
		state = filepath.Join(p.StateFolder, tenant)
		if err := os.MkdirAll(filepath.Join(state, "tmp"), 0o700); err != nil {
			return nil, fmt.Errorf("making the tenant's folder: %w", err)
		}
	}
	fill := strings.NewReplacer("{tenant}", tenant, "{state}", state).Replace
	words := make([]string, len(p.Command))
	for i, w := range p.Command {
		words[i] = fill(w)
	}
	c := exec.Command(words[0], words[1:]...)
	c.Dir = cmp.Or(fill(p.Directory), state)
	c.Env = []string{} // nil would be the gateway's own environment with its secrets
	if state != "" {
		c.Env = append(c.Env, "HOME="+state,
			"TMPDIR="+filepath.Join(state, "tmp")) // the last of a repeated name counts
	}
	for _, v := range p.Environment {
		name, value, _ := strings.Cut(v, "=")
		c.Env = append(c.Env, name+"="+fill(value))
	}
	if p.TenantVariable != "" {
		c.Env = append(c.Env, p.TenantVariable+"="+tenant)
	}
	return c, nil
}
