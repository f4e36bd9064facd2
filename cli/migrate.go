package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/migrations"
)

// schemaOf is one of the two schemas, with its database and its migrations.
type schemaOf struct {
	name     string
	database string
	files    func(dialect string) (fs.FS, error)
	table    string // keeps its version
}

// schemas returns the schemas of both servers. In PostgreSQL they are in one database, each with
// its own version table.
func (s *settings) schemas() []schemaOf {
	return []schemaOf{
		{"issuer", s.issuerDatabase(), migrations.Issuer, "schema_migrations_issuer"},
		{"companion", s.toolsDatabase(), migrations.Companion, "schema_migrations_companion"},
	}
}

// migrate applies the missing migrations of both schemas.
func (s *settings) migrate(ctx context.Context) error {
	for _, of := range s.schemas() {
		if err := schema.Up(ctx, of.database, of.files, of.table); err != nil {
			return usageError(migrationHint(err), fmt.Errorf("migrating the %s's database: %w", of.name, err))
		}
	}
	return nil
}

// migrationHint returns the hint for an error of the schema package.
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

func (c *command) migrateCommands() *cobra.Command {
	cmd := c.verb("migrate", "Apply the missing migrations of the database schema", "--data-dir /srv/gatehouse",
		migrateUp)
	cmd.GroupID = groupRun
	cmd.AddCommand(
		c.verb("status", "Show the version of the database schema, and the missing migrations",
			"--data-dir /srv/gatehouse", migrateStatus),
		c.verb("repair", "Finish a migration that was interrupted", "--data-dir /srv/gatehouse", migrateRepair),
	)
	return cmd
}

func migrateUp(*pflag.FlagSet) action {
	return func(ctx context.Context, c *command) error {
		f, err := c.lockDataDir(ctx)
		if err != nil {
			return err
		}
		defer f.release()
		if err := c.createFiles(); err != nil {
			return err
		}
		if err := c.migrate(ctx); err != nil {
			return err
		}
		where, _, _ := strings.Cut(c.issuerDatabase(), ":")
		return c.done(fmt.Sprintf("the schema is up to date (%s)", where), field{"database", where})
	}
}

// migrateStatus lists the versions of both schemas. It works beside a running server.
func migrateStatus(*pflag.FlagSet) action {
	return func(ctx context.Context, c *command) error {
		if err := c.haveSchema(); err != nil {
			return err
		}
		var rows [][]any
		var wrong []error
		for _, of := range c.schemas() {
			st, err := schema.ReadStatus(ctx, of.database, of.files, of.table)
			if err != nil && st.Latest == 0 {
				return usageError(migrationHint(err), fmt.Errorf("reading the schema of the %s's database: %w",
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
			return &exitError{err, migrationHint(err), exitFailed}
		}
		return nil
	}
}

// migrateRepair finishes a migration during which a program was killed.
func migrateRepair(*pflag.FlagSet) action {
	return func(ctx context.Context, c *command) error {
		if err := c.haveSchema(); err != nil {
			return err
		}
		f, err := c.lockDataDir(ctx)
		if err != nil {
			return err
		}
		defer f.release()
		var text []string
		var facts []field
		for _, of := range c.schemas() {
			version, applied, err := schema.Repair(ctx, of.database, of.files, of.table)
			if err != nil {
				return usageError("restore a backup from before that migration",
					fmt.Errorf("repairing the %s's schema at version %d: %w", of.name, version, err))
			}
			what := "needed no repair"
			switch {
			case applied:
				what = fmt.Sprintf("migration %d was missing, and is applied now", version)
			case version > 0:
				what = fmt.Sprintf("migration %d was applied already, and is marked so now", version)
			}
			text = append(text, of.name+": "+what)
			facts = append(facts, field{of.name, what})
		}
		return c.done(strings.Join(text, "\n"), facts...)
	}
}

// haveSchema returns an error when there is no database yet.
func (c *command) haveSchema() error {
	if err := c.validate(); err != nil {
		return err
	}
	if !c.embedded() {
		return nil
	}
	if _, err := os.Stat(c.issuerPath()); errors.Is(err, fs.ErrNotExist) {
		return usageError(Name+" serve makes it; --data-dir names another folder",
			fmt.Errorf("%w at %s", errNoDatabase, c.issuerPath()))
	}
	return nil
}
