package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// simple returns the flags and the action of a command that runs one operation on its operand, and
// prints a sentence with it. name is the operand's name in JSON.
func simple(operation, name, sentence string) func(*pflag.FlagSet) action {
	return func(*pflag.FlagSet) action {
		return func(ctx context.Context, c *command) error {
			if err := c.act(ctx, operation, c.operand, nil); err != nil {
				return err
			}
			return c.done(fmt.Sprintf(sentence, c.operand), field{name, c.operand})
		}
	}
}

// listOf returns the action of a command that prints the results of one operation as a table. An
// argument may be a pointer to a flag's value.
func listOf[T any](operation string, argument any, heading string, row func(*names, T) []any) action {
	return func(ctx context.Context, c *command) error {
		var found []T
		if err := c.act(ctx, operation, argument, &found); err != nil {
			return err
		}
		return c.listNamed(ctx, heading, func(n *names) (rows [][]any) {
			for _, f := range found {
				rows = append(rows, row(n, f))
			}
			return rows
		})
	}
}

// limitFlag defines the flag of a list that is cut off.
func limitFlag(fs *pflag.FlagSet, limit *int) { fs.IntVar(limit, "limit", 100, "maximum number") }

// pageFlags defines the flags of a list that is read page by page.
func pageFlags(fs *pflag.FlagSet, limit *int, after *string, noun string) {
	limitFlag(fs, limit)
	fs.StringVar(after, "after", "", "id of the last "+noun+" of the page before")
}

// more tells that a list goes on.
func (c *command) more(last string) {
	c.program.message("note", fmt.Sprintf("there may be more: --after %s", last))
}

// doer runs operations: the running server, so that they have effect at once, or the stores when
// none runs.
type doer interface {
	// Act runs the operation of this name; see authserver.Operator.
	Act(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error)
}

// act runs one operation and decodes its result into answer, which may be nil.
func (c *command) act(ctx context.Context, name string, arguments, answer any) error {
	encoded, err := json.Marshal(arguments)
	if err != nil {
		return fmt.Errorf("encoding the arguments of %s: %w", name, err)
	}
	if err := c.validate(); err != nil {
		return err
	}
	raw, err := c.actSomewhere(ctx, name, encoded)
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", name, err)
	}
	return nil
}

// actSomewhere runs an operation at the gateway that is meant, inside the running server, or on the
// stores.
func (c *command) actSomewhere(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	if c.gateway != "" && isOfTools(name) {
		return c.actAtGateway(ctx, name, arguments)
	}
	for until := time.Now().Add(lockWait); ; {
		raw, err := c.actInServer(ctx, name, arguments)
		if !errors.Is(err, authserver.ErrNoServer) && !(errors.Is(err, authserver.ErrUnknownOperation) &&
			isOfTools(name)) {
			// an authserver alone has no operations of tools
			return raw, err
		}
		raw, err = c.actOnStores(ctx, name, arguments)
		if !errors.Is(err, errHeld) || time.Now().After(until) {
			return raw, err
		}
		select { // until another command ends, or a server answers
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// reads reports whether an operation changes nothing, so that it needs no lock on the data
// directory.
func reads(act string) bool {
	_, verb, _ := strings.Cut(act, ".")
	return slices.Contains([]string{"list", "show", "plan", "scopes", "verify", "report", "explain", "audit",
		"refusals"}, verb)
}

// actInServer runs an operation inside the running server, or returns authserver.ErrNoServer.
func (c *command) actInServer(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	remote, err := authserver.ReachOperator(ctx, c.dataDir)
	if err != nil {
		return nil, err
	}
	remote.As = c.as
	return remote.Act(ctx, name, arguments)
}

// actAtGateway runs an operation on the database of a gateway.
func (c *command) actAtGateway(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	store, shut, err := c.openGateway(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := store.Act(authserver.WithOperator(ctx, c.as), name, arguments)
	return answer, errors.Join(err, shut())
}

func (c *command) actOnStores(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	store, shut, err := c.openStores(ctx, isOfTools(name), reads(name))
	if err != nil {
		return nil, err
	}
	defer shut()
	return store.Act(authserver.WithOperator(ctx, c.as), name, arguments)
}

// errNoDatabase means that the issuer's database is not on this machine, as when a gateway runs by
// itself.
var errNoDatabase = errors.New("there is no database")

// openStores opens the stores for an operation. Unless it only reads, it locks the data directory
// meanwhile, so that no server runs beside it unaware of the change; errHeld while another process
// has the lock. tools selects the MCP server's store.
func (c *command) openStores(ctx context.Context, tools, reading bool) (doer, func(), error) {
	release := func() {}
	if err := c.haveSchema(); err != nil {
		return nil, nil, err
	}
	if c.embedded() && !reading {
		f, err := hold(c.dataDir, c.name)
		if errors.Is(err, errHeld) {
			return nil, nil, usageError("stop it, or restart it if it is a server that does not answer",
				fmt.Errorf("%s is in use: %w", c.dataDir, err))
		}
		if err != nil {
			return nil, nil, err
		}
		release = func() { _ = f.release() } // the process ends anyway
	}
	open := c.openIssuer
	if tools {
		open = c.openTools
	}
	store, shut, err := open(ctx)
	if err != nil {
		release()
		return nil, nil, err
	}
	return store, func() {
		if err := shut(); err != nil {
			c.program.message("warning", err.Error())
		}
		release()
	}, nil
}

func (c *command) openIssuer(ctx context.Context) (doer, func() error, error) {
	c.fillURLs()
	if err := c.createFiles(); err != nil {
		return nil, nil, err
	}
	log, err := c.program.log(c.logLevel)
	if err != nil {
		return nil, nil, err
	}
	d := authserver.Deps{Log: log, Now: c.program.Now}
	if c.keyKept {
		d.Rekey = c.rekey
	}
	store, shut, err := authserver.OpenOperator(ctx, c.authConfig(), d)
	if err != nil {
		return nil, nil, openError(err)
	}
	return store, shut, nil
}
