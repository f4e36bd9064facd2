// Package stdio owns servers behind the gateway that are programs and speak MCP on standard input
// and output: one process for each tenant, its beginning and its end, and the bridge between its
// lines and Streamable HTTP.
//
// A process serves all clients of its tenant and no other tenant's. What clients say of themselves
// ends here: the gateway opens each process once, asks under request ids of its own, and gives each
// answer to anyone who asked.
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

// Limits bound the processes. Fields that are zero get the value that their comment names.
type Limits struct {
	Processes int           // at once, of all tenants; default 16
	Pending   int           // requests that one process works on at once; default 32
	Line      int           // bytes of a line, which is one message; default 8 MiB
	Start     time.Duration // until a process is opened; default 30 seconds
	Answer    time.Duration // until an answer, from the question or the last progress on; default 60 seconds
	Idle      time.Duration // after which a process is stopped that nobody needs; default 10 minutes
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

// Config says how to start a process.
type Config struct {
	Name string // for the log
	// Command is the program and its arguments. There is no shell. {tenant} in an argument is the
	// tenant's id, and {state} the tenant's folder below StateFolder.
	Command []string
	// Directory is where it works, with the same words. Default: the tenant's folder below
	// StateFolder, or where the gateway works.
	Directory string
	// StateFolder is a folder in which each tenant has a folder of its own, for its owner alone,
	// made when a process starts. It is the process's HOME, and TMPDIR is in it, unless Environment
	// has them. Empty: there is none, and {state} is empty.
	StateFolder string
	// Environment is all that it gets of the environment, as NAME=value, with the same words in the
	// values; TenantVariable is set beside it.
	Environment    []string
	TenantVariable string // empty: none
	Limits         Limits
	// Trouble is told why a process does not start or has ended, in words for the operator. Nil:
	// nobody is.
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
	works  sync.WaitGroup // processes, until they have ended
}

// slot is a tenant's place.
type slot struct {
	process *process // nil: none runs
	used    time.Time
	crashes int       // in a row
	until   time.Time // before then none is started
}

// Errors of a tenant's process that is not to be had.
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

// New makes a pool. Nothing is started yet.
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

// IsTenant says whether a tenant's id can be given to a process: as a word of its arguments, its
// environment and its paths, it must be nothing else: a-z, 0-9 and hyphens, and no option of
// anything.
func IsTenant(id string) bool {
	return id != "" && len(id) <= 64 && id[0] != '-' && !strings.ContainsFunc(id, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	})
}

// find is the tenant's process, started if there is none; release it after use, so that nobody
// stops it before. wait says when to try again.
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

// take is the tenant's process, which may not be open yet, held.
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

// running is the tenant's process, or nil when none runs.
func (p *Pool) running(tenant string) *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.slots[tenant]; s != nil {
		return s.process
	}
	return nil
}

// How long is waited before a process that ended by itself is started again: twice as long each
// time.
const (
	firstBackoff = time.Second
	mostBackoff  = time.Minute
	steady       = time.Minute // one that ran so long is a good one again
)

func (s *slot) fail(now time.Time) time.Duration {
	wait := min(firstBackoff<<min(s.crashes, 10), mostBackoff)
	s.crashes++
	s.until = now.Add(wait)
	return wait
}

// makeRoom stops the process that was idle longest when there are as many as may be, and says
// whether there is room.
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
	oldest.process = nil // its place is free; tend waits for its end
	return true
}

// tend waits for the end of a process, and stops it when nobody has needed it for long.
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
				return // it was told to end
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

// State says how the processes fare: "ok", or that some do not start.
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

// command is what is run for a tenant. Its folder is there afterwards.
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
	c.Env = []string{} // nil would be the gateway's own, secrets and all
	if state != "" {
		c.Env = append(c.Env, "HOME="+state, "TMPDIR="+filepath.Join(state, "tmp")) // of a name twice, the last counts
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
