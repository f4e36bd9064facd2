package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/migrations"
)

// schemaOf is one of the two schemas: which database it is in, and which migrations make it.
type schemaOf struct {
	name     string
	database string
	files    func(dialect string) (fs.FS, error)
	table    string // keeps its version
}

// schemas are the authorization server's and the MCP server's. In PostgreSQL they live in one
// database, each with its own version table.
func (s *settings) schemas() []schemaOf {
	return []schemaOf{
		{"issuer", s.ledger(), migrations.Issuer, "schema_migrations_issuer"},
		{"companion", s.companion(), migrations.Companion, "schema_migrations_companion"},
	}
}

// migrate brings both schemas up to date.
func (s *settings) migrate(ctx context.Context) error {
	for _, of := range s.schemas() {
		if err := schema.Up(ctx, of.database, of.files, of.table); err != nil {
			return misused(migrationHint(err), fmt.Errorf("migrating the %s's database: %w", of.name, err))
		}
	}
	return nil
}

// migrationHint says what to do about an error of the schema package.
func migrationHint(err error) string {
	switch {
	case errors.Is(err, schema.ErrDirty):
		return Name + " migrate repair, and start again"
	case errors.Is(err, schema.ErrNewer):
		return "install the newer program, or restore a backup from before the upgrade"
	case errors.Is(err, schema.ErrChanged):
		return Name + " migrate status lists what is applied"
	}
	return "is it the right database, and did nothing damage it? A copy from your backup is the way back"
}

func migrateFlags(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		f, err := c.enter(ctx)
		if err != nil {
			return err
		}
		defer f.release()
		if err := c.prepare(); err != nil {
			return err
		}
		if err := c.migrate(ctx); err != nil {
			return err
		}
		where, _, _ := strings.Cut(c.ledger(), ":")
		return c.done(fmt.Sprintf("the schema is up to date (%s)", where), fact{"database", where})
	}
}

// migrateStatus lists how far both schemas are. It reads beside a running server.
func migrateStatus(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.haveSchema(); err != nil {
			return err
		}
		var rows [][]any
		var wrong []error
		for _, of := range c.schemas() {
			st, err := schema.ReadStatus(ctx, of.database, of.files, of.table)
			if err != nil && st.Latest == 0 {
				return misused(migrationHint(err), fmt.Errorf("reading the schema of the %s's database: %w",
					of.name, err))
			}
			state := "up to date"
			switch {
			case errors.Is(err, schema.ErrNewer):
				state = "newer than this program"
			case errors.Is(err, schema.ErrChanged):
				state = "changed"
			case st.Dirty:
				state, err = "needs repair", fmt.Errorf("version %d: %w", st.Version, schema.ErrDirty)
			case len(st.Pending) > 0:
				state = "behind"
			}
			if err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %w", of.name, err))
			}
			rows = append(rows, []any{of.name, st.Version, st.Latest, state, strings.Join(st.Pending, ", ")})
		}
		if err := c.list("SCHEMA\tVERSION\tLATEST\tSTATE\tPENDING", rows); err != nil {
			return err
		}
		if err := errors.Join(wrong...); err != nil {
			return &trouble{err, migrationHint(err), exitFailed}
		}
		return nil
	}
}

// migrateRepair finishes a migration that an earlier program was killed in.
func migrateRepair(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.haveSchema(); err != nil {
			return err
		}
		f, err := c.enter(ctx)
		if err != nil {
			return err
		}
		defer f.release()
		var said []string
		var facts []fact
		for _, of := range c.schemas() {
			version, applied, err := schema.Repair(ctx, of.database, of.files, of.table)
			if err != nil {
				return misused("restore a backup from before that migration",
					fmt.Errorf("repairing the %s's schema at version %d: %w", of.name, version, err))
			}
			what := "needed no repair"
			switch {
			case applied:
				what = fmt.Sprintf("migration %d was missing, and is applied now", version)
			case version > 0:
				what = fmt.Sprintf("migration %d was applied already, and is marked so now", version)
			}
			said = append(said, of.name+": "+what)
			facts = append(facts, fact{of.name, what})
		}
		return c.done(strings.Join(said, "\n"), facts...)
	}
}

// haveSchema refuses where there is no database yet.
func (c *call) haveSchema() error {
	if err := c.check(); err != nil {
		return err
	}
	if !c.embedded() {
		return nil
	}
	if _, err := os.Stat(c.ledgerPath()); errors.Is(err, fs.ErrNotExist) {
		return misused(Name+" serve makes it; another folder is named with --data-dir",
			fmt.Errorf("%w at %s", errNoLedger, c.ledgerPath()))
	}
	return nil
}
