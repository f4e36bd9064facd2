package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// doer does acts: the running server, so that they count at once, or the stores themselves when
// none runs.
type doer interface {
	// Act does the act of this name; see authserver.Operator.
	Act(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error)
}

// act does one act and reads its answer into answer, which may be nil.
func (c *call) act(ctx context.Context, name string, arguments, answer any) error {
	encoded, err := json.Marshal(arguments)
	if err != nil {
		return fmt.Errorf("encoding the arguments of %s: %w", name, err)
	}
	if err := c.check(); err != nil {
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

// actSomewhere does the act at the gateway that is meant, inside the server that runs, or on the
// stores.
func (c *call) actSomewhere(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	if c.gateway != "" && isOfTools(name) {
		return c.actAtGateway(ctx, name, arguments)
	}
	for until := time.Now().Add(lockWait); ; {
		raw, err := c.actInServer(ctx, name, arguments)
		if !errors.Is(err, authserver.ErrNoServer) && !(errors.Is(err, authserver.ErrUnknownOperation) &&
			isOfTools(name)) {
			// an authserver alone knows none of the tools
			return raw, err
		}
		raw, err = c.actOnStores(ctx, name, arguments)
		if !errors.Is(err, errHeld) || time.Now().After(until) {
			return raw, err
		}
		select { // for another command to end, or for a server to begin to answer
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// reads says whether an act changes nothing, so that it may be done beside whatever holds the data
// directory.
func reads(act string) bool {
	_, verb, _ := strings.Cut(act, ".")
	return slices.Contains([]string{"list", "show", "plan", "scopes", "verify", "report", "explain", "audit",
		"refusals"}, verb)
}

// actInServer does the act inside the server that runs, or answers authserver.ErrNoServer.
func (c *call) actInServer(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	remote, err := authserver.ReachOperator(ctx, c.dataDir)
	if err != nil {
		return nil, err
	}
	remote.As = c.as
	return remote.Act(ctx, name, arguments)
}

// actAtGateway does the act on the database of a gateway.
func (c *call) actAtGateway(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	door, shut, err := c.openGatewayDesk(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := door.Act(authserver.WithOperator(ctx, c.as), name, arguments)
	return answer, errors.Join(err, shut())
}

func (c *call) actOnStores(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	door, shut, err := c.openStores(ctx, isOfTools(name), reads(name))
	if err != nil {
		return nil, err
	}
	defer shut()
	return door.Act(authserver.WithOperator(ctx, c.as), name, arguments)
}

// errNoLedger says that the issuer's database is not on this machine, as where a gateway runs by
// itself.
var errNoLedger = errors.New("there is no database")

// openStores opens the operator's door on the stores. Unless it only reads, it holds the data
// directory meanwhile, so that no server begins to serve beside it, and none that serves but does
// not answer goes on unaware of what is done; errHeld while another has it. tools says which wing's
// door it is.
func (c *call) openStores(ctx context.Context, tools, reading bool) (doer, func(), error) {
	release := func() {}
	if err := c.haveSchema(); err != nil {
		return nil, nil, err
	}
	if c.embedded() && !reading {
		f, err := hold(c.dataDir, c.command.name)
		if errors.Is(err, errHeld) {
			return nil, nil, misused("stop it, or restart it when it is a server that does not answer",
				fmt.Errorf("%s is in use: %w", c.dataDir, err))
		}
		if err != nil {
			return nil, nil, err
		}
		release = func() { _ = f.release() } // the process ends and lets go anyway
	}
	open := c.openDoor
	if tools {
		open = c.openTools
	}
	door, shut, err := open(ctx)
	if err != nil {
		release()
		return nil, nil, err
	}
	return door, func() {
		if err := shut(); err != nil {
			c.program.complain("warning", err.Error())
		}
		release()
	}, nil
}

func (c *call) openDoor(ctx context.Context) (doer, func() error, error) {
	c.locate()
	if err := c.prepare(); err != nil {
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
	door, shut, err := authserver.OpenOperator(ctx, c.issuing(), d)
	if err != nil {
		return nil, nil, opening(err)
	}
	return door, shut, nil
}
