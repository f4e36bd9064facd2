package cli

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// named is an id with its name: a table shows both, and JSON has the name as a further field.
type named struct{ id, name string }

// nameWidth is the width to which a name in a table is cut, in characters.
const nameWidth = 24

func (n named) String() string {
	if n.id == "" || n.name == "" || n.id == n.name {
		return n.id
	}
	return n.id + " (" + short(text.Line(n.name, 0), nameWidth) + ")"
}

// names are the names of ids. Its methods record the ids that they are asked for, so that rows are
// made twice: first to collect the ids, then with their names.
type names struct{ users, clients, tenants map[string]string }

func (n *names) user(id string) named   { return of(n.users, id) }
func (n *names) client(id string) named { return of(n.clients, id) }
func (n *names) tenant(id string) named { return of(n.tenants, id) }

func of(names map[string]string, id string) named {
	name := names[id]
	if id != "" {
		names[id] = name
	}
	return named{id, name}
}

// actor returns the actor of an audit record.
func (n *names) actor(actor string) named {
	kind, id, _ := strings.Cut(actor, ":")
	switch kind {
	case "user":
		return named{actor, n.user(id).name}
	case "client":
		return named{actor, n.client(id).name}
	}
	return named{actor, ""}
}

// target returns the target of an audit record.
func (n *names) target(target, tenant string) named {
	switch {
	case strings.HasPrefix(target, "usr_"):
		return n.user(target)
	case strings.HasPrefix(target, "cli_"):
		return n.client(target)
	case target == tenant:
		return n.tenant(target)
	}
	return named{target, ""}
}

// rows makes the rows of a table, with the names of the ids in them. When the issuer runs
// elsewhere, or is of an older version, there are no names.
func (c *command) rows(ctx context.Context, make func(*names) [][]any) ([][]any, error) {
	n := &names{map[string]string{}, map[string]string{}, map[string]string{}}
	rows := make(n)
	for _, kind := range []struct {
		names map[string]string
		ids   func([]string) authserver.IDs
		of    func(authserver.Names) map[string]string
	}{
		{n.users, func(ids []string) authserver.IDs { return authserver.IDs{Users: ids} },
			func(f authserver.Names) map[string]string { return f.Users }},
		{n.clients, func(ids []string) authserver.IDs { return authserver.IDs{Clients: ids} },
			func(f authserver.Names) map[string]string { return f.Clients }},
		{n.tenants, func(ids []string) authserver.IDs { return authserver.IDs{Tenants: ids} },
			func(f authserver.Names) map[string]string { return f.Tenants }},
	} {
		for ids := range slices.Chunk(slices.Sorted(maps.Keys(kind.names)), authserver.MaxNames) {
			var found authserver.Names
			err := c.act(ctx, "name.list", kind.ids(ids), &found)
			if c.gateway != "" && errors.Is(err, errNoDatabase) || errors.Is(err, authserver.ErrUnknownOperation) {
				return rows, nil
			}
			if err != nil {
				return nil, err
			}
			maps.Copy(kind.names, kind.of(found))
		}
	}
	return make(n), nil
}

// listNamed prints one table whose ids have names.
func (c *command) listNamed(ctx context.Context, heading string, make func(*names) [][]any) error {
	rows, err := c.rows(ctx, make)
	if err != nil {
		return err
	}
	return c.list(heading, rows)
}
