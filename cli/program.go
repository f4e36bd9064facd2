// Package cli owns the gatehouse command: both wings in one process, and the operator's commands.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// Name is what the program calls itself.
const Name = "gatehouse"

// Version is the version of the program; it is what the resource wing tells its clients.
const Version = "0.1.0"

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // it was asked for rightly, and did not work
	exitMisused = 2 // the words, the settings or the surroundings must be changed first
)

// Program is one run of the gatehouse command. It is a value, so that a test boots the very
// program.
type Program struct {
	Args   []string                 // without the program's name
	Getenv func(name string) string // nil: there is no environment
	Stdin  io.Reader                // nil: empty
	Stdout io.Writer                // what was asked for
	Stderr io.Writer                // errors, hints and the log
	Now    func() time.Time         // nil: time.Now
	Ready  func(Addresses)          // called by serve once, when both doors are open; may be nil
	// of a line of Stdout, in characters; 0: as wide as the terminal that it is, if it is one
	Width int
}

// Addresses says where a running program is.
type Addresses struct {
	Issuer   string // the issuer identifier
	Resource string // the MCP server's URL, which is the resource identifier
	DataDir  string // absolute
	Metrics  string // the numbers' URL; empty: nowhere
	Gateway  string // the address on which a gateway listens
}

// trouble is an error with what to do about it.
type trouble struct {
	err  error
	hint string // may be empty
	code int
}

func (t *trouble) Error() string { return t.err.Error() }

func (t *trouble) Unwrap() error { return t.err }

// misused is trouble that the operator must mend before trying again.
func misused(hint string, err error) error { return &trouble{err, hint, exitMisused} }

// Run does what Args say and returns the exit code. When ctx ends, serving stops in good order.
func (p *Program) Run(ctx context.Context) int {
	p.fill()
	err := p.run(ctx)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	code, hint := exitFailed, ""
	var t *trouble
	var refusal *authserver.Refusal
	switch {
	case errors.As(err, &t):
		code, hint = t.code, t.hint
	case errors.As(err, &refusal):
		hint = refusal.Hint
	}
	p.complain("error", err.Error())
	if hint != "" {
		p.complain("hint", hint)
	}
	return code
}

func (p *Program) fill() {
	if p.Getenv == nil {
		p.Getenv = func(string) string { return "" }
	}
	if p.Stdin == nil {
		p.Stdin = strings.NewReader("")
	}
	if p.Now == nil {
		p.Now = time.Now
	}
}

// complain writes one line, whatever the text holds.
func (p *Program) complain(kind, text string) {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), "; ")
	fmt.Fprintf(p.Stderr, "%s: %s: %s\n", Name, kind, text)
}

// run finds the command and lets it act.
func (p *Program) run(ctx context.Context) error {
	if len(p.Args) == 0 {
		p.usage(p.Stderr)
		return misused("gatehouse serve runs it", errors.New("no command is named"))
	}
	switch p.Args[0] {
	case "help", "-h", "-help", "--help":
		return p.help(p.Args[1:])
	case completionWords:
		return p.complete(p.Args[1:])
	case "version", "-version", "--version":
		fmt.Fprintln(p.Stdout, Name, Version)
		return nil
	}
	c, rest, err := find(p.Args)
	if err != nil {
		return err
	}
	r := &call{program: p, command: c}
	act, err := r.parse(rest)
	if err != nil {
		return err
	}
	return act(ctx, r)
}

// log is the program's log: one line an event, to Stderr.
func (p *Program) log(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, misused("use debug, info, warn or error", fmt.Errorf("log-level %q is not a level", level))
	}
	return slog.New(slog.NewTextHandler(p.Stderr, &slog.HandlerOptions{Level: l})), nil
}
