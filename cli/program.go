// Package cli implements the gatehouse command: it runs both servers in one process, and has the
// commands of an operator.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// Name is the name of the program.
const Name = "gatehouse"

// Version is the version of the program. The MCP server tells it to its clients.
const Version = "0.1.0"

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the command was right, and failed or was refused
	exitUsage  = 2 // the command line, a setting or the environment must be changed first
)

// Program is one run of the gatehouse command. It is a value, so that a test runs the very program.
type Program struct {
	Args   []string                 // without the program's name
	Getenv func(name string) string // nil: the environment is empty
	Stdin  io.Reader                // nil: empty
	Stdout io.Writer                // results
	Stderr io.Writer                // errors, hints and the log
	Now    func() time.Time         // nil: time.Now
	Ready  func(Addresses)          // called once by serve when it accepts connections; may be nil
	Width  int                      // of a line of Stdout, in characters; 0: the terminal's, if it is one
}

// Addresses says where a running program is reached.
type Addresses struct {
	Issuer   string // the issuer identifier
	Resource string // the MCP server's URL, which is the resource identifier
	DataDir  string // absolute
	Metrics  string // the URL of the MCP server's metrics; empty: none
	// IssuerMetrics is the URL of the authorization server's metrics; empty: none.
	IssuerMetrics string
	Gateway       string // the address on which a gateway listens
}

// exitError is an error with a hint and an exit code.
type exitError struct {
	err  error
	hint string // what to do about it; may be empty
	code int
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

// usageError returns an error that the operator must correct before trying again.
func usageError(hint string, err error) error { return &exitError{err, hint, exitUsage} }

// Run runs the command that Args name and returns the exit code. When ctx ends, a server shuts down
// in good order.
func (p *Program) Run(ctx context.Context) int {
	if p.Getenv == nil {
		p.Getenv = func(string) string { return "" }
	}
	if p.Stdin == nil {
		p.Stdin = strings.NewReader("")
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	root := (&command{program: p}).root()
	root.SetArgs(keyIDLast(p.Args))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code, hint := exitFailed, ""
	var exit *exitError
	var refusal *authserver.Refusal
	switch {
	case errors.As(err, &exit):
		code, hint = exit.code, exit.hint
	case errors.As(err, &refusal):
		hint = refusal.Hint
	}
	p.message("error", err.Error())
	if hint != "" {
		p.message("hint", hint)
	}
	return code
}

// keyIDLast moves a key id behind "--", because one in 64 begins with a hyphen and would be read as
// flags.
func keyIDLast(args []string) []string {
	isKeyID := func(word string) bool { return len(word) == 43 && word[0] == '-' && !strings.Contains(word, "=") }
	if i := slices.IndexFunc(args, isKeyID); i > 0 && args[0] == "key" && !slices.Contains(args, "--") {
		return append(slices.Delete(slices.Clone(args), i, i+1), "--", args[i])
	}
	return append([]string{}, args...) // cobra takes nil for os.Args
}

// message writes one line to Stderr, whatever characters the text has.
func (p *Program) message(kind, text string) {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), "; ")
	fmt.Fprintf(p.Stderr, "%s: %s: %s\n", Name, kind, text)
}

// log returns the program's log, which has one line for each event, on Stderr.
func (p *Program) log(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usageError("use debug, info, warn or error", fmt.Errorf("log-level %q is not a level", level))
	}
	return slog.New(slog.NewTextHandler(p.Stderr, &slog.HandlerOptions{Level: l})), nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), Name, Version)
			return err
		}}
}
