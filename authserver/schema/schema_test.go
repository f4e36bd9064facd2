package schema_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

const table = "schema_migrations_issuer"

// set gives the migrations of a dialect.
type set = func(dialect string) (fs.FS, error)

// TestMain is also the process that the tests kill: it migrates the database named in its
// environment.
func TestMain(m *testing.M) {
	database := os.Getenv("SCHEMA_TEST_DATABASE")
	if database == "" {
		os.Exit(m.Run())
	}
	left, err := strconv.Atoi(os.Getenv("SCHEMA_TEST_POINT"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	points := 0
	err = schema.UpCalling(database, migrations.Issuer, table, func() {
		if points++; points == left {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal is delivered
		}
	})
	fmt.Print(points)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// migrating is a process of its own that migrates; it kills itself at the point of that number.
func migrating(t *testing.T, database string, point int) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	c := exec.Command(self)
	c.Env = append(os.Environ(), "SCHEMA_TEST_DATABASE="+database, "SCHEMA_TEST_POINT="+strconv.Itoa(point))
	return c
}

// databases runs a test on SQLite and on PostgreSQL; another empty database is made with each call.
func databases(t *testing.T, do func(t *testing.T, another func(t *testing.T) string)) {
	t.Run("sqlite", func(t *testing.T) {
		do(t, func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "test.db") })
	})
	t.Run("postgres", func(t *testing.T) {
		server := testenv.Postgres(t)
		db, err := sql.Open("pgx", server)
		must(t, err)
		t.Cleanup(func() { db.Close() })
		var n atomic.Int64
		do(t, func(t *testing.T) string {
			name := fmt.Sprintf("empty_%d", n.Add(1))
			_, err := db.Exec("CREATE SCHEMA " + name)
			must(t, err)
			return server + "&search_path=" + name
		})
	})
}

// parallel does n things, eight at a time: most of their time they wait for a disk.
func parallel(n int, do func(i int)) {
	var all sync.WaitGroup
	places := make(chan struct{}, 8)
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			do(i)
		})
	}
	all.Wait()
}

func TestMigrationKilledAtEachPointGoesOn(t *testing.T) {
	databases(t, func(t *testing.T, another func(*testing.T) string) {
		var said bytes.Buffer
		whole := migrating(t, another(t), 0)
		whole.Stdout = &said
		must(t, whole.Run())
		points, err := strconv.Atoi(said.String())
		must(t, err)
		if points < 40 {
			t.Fatalf("%d points, want 40 and more", points)
		}
		parallel(points, func(i int) {
			database := another(t)
			if err := migrating(t, database, i+1).Run(); err == nil {
				t.Errorf("point %d: the process was not killed", i+1)
			}
			upToDate(t, database, fmt.Sprintf("killed at point %d", i+1))
		})
	})
}

func TestMigrationKilledAtAnyMomentGoesOn(t *testing.T) {
	databases(t, func(t *testing.T, another func(*testing.T) string) {
		began := time.Now()
		must(t, migrating(t, another(t), 0).Run())
		takes := time.Since(began)
		parallel(40, func(n int) {
			database := another(t)
			c := migrating(t, database, 0)
			if err := c.Start(); err != nil {
				t.Error(err)
				return
			}
			moment := time.Duration(rand.Int64N(2 * int64(takes)))
			timer := time.AfterFunc(moment, func() { c.Process.Kill() })
			_ = c.Wait() // killed, or through before that
			timer.Stop()
			upToDate(t, database, fmt.Sprintf("%d: killed after %v", n, moment))
		})
	})
}

func TestMigrationThatFailsAtItsLastStatementLeavesNothing(t *testing.T) {
	const text = "CREATE TABLE things (n BIGINT);\nINSERT INTO things VALUES (1);\n"
	databases(t, func(t *testing.T, another func(*testing.T) string) {
		database := another(t)
		broken := func(string) (fs.FS, error) {
			return fstest.MapFS{"000001_things.up.sql": {Data: []byte(text + "SELECT no_such_function();")}}, nil
		}
		if err := schema.Up(t.Context(), database, broken, table); err == nil ||
			!strings.Contains(err.Error(), "000001_things.up.sql") {
			t.Fatalf("got %v, want an error that names the file", err)
		}
		fixed := func(string) (fs.FS, error) {
			return fstest.MapFS{"000001_things.up.sql": {Data: []byte(text)}}, nil
		}
		must(t, schema.Up(t.Context(), database, fixed, table))
	})
}

func TestMigrationWithoutATransactionIsAppliedAgainAfterAKill(t *testing.T) {
	databases(t, func(t *testing.T, another func(*testing.T) string) {
		database := another(t)
		content := fstest.MapFS{
			"000001_table.up.sql": {Data: []byte("CREATE TABLE things (n BIGINT);")},
			"000002_index.no_transaction.up.sql": {
				Data: []byte("CREATE INDEX IF NOT EXISTS things_by_n ON things (n);")},
		}
		if strings.HasPrefix(database, "postgres") {
			content["000002_index.no_transaction.up.sql"] = &fstest.MapFile{
				// refused in a transaction
				Data: []byte("CREATE INDEX CONCURRENTLY IF NOT EXISTS things_by_n ON things (n);"),
			}
		}
		things := func(string) (fs.FS, error) { return content, nil }
		must(t, schema.Up(t.Context(), database, things, table))
		must(t, schema.MarkDirty(database, things, table, 2)) // killed after the index, before its mark
		must(t, schema.Up(t.Context(), database, things, table))
		st, err := schema.ReadStatus(t.Context(), database, things, table)
		if err != nil || st.Version != 2 || st.Dirty || len(st.Pending) != 0 {
			t.Errorf("got %+v, %v; want version 2, clean, nothing pending", st, err)
		}
	})
}

func TestChangedMigrationIsNoticed(t *testing.T) {
	databases(t, func(t *testing.T, another func(*testing.T) string) {
		database := another(t)
		with := func(text string) set {
			return func(string) (fs.FS, error) { return fstest.MapFS{"000001_a.up.sql": {Data: []byte(text)}}, nil }
		}
		must(t, schema.Up(t.Context(), database, with("CREATE TABLE a (n BIGINT);"), table))
		changed := with("CREATE TABLE a (n BIGINT, m BIGINT);")
		if err := schema.Up(t.Context(), database, changed, table); !errors.Is(err, schema.ErrChanged) ||
			!strings.Contains(err.Error(), "000001_a.up.sql") {
			t.Errorf("got %v, want ErrChanged that names the file", err)
		}
		if _, err := schema.ReadStatus(t.Context(), database, changed, table); !errors.Is(err, schema.ErrChanged) {
			t.Errorf("status: got %v, want ErrChanged", err)
		}
	})
}

func TestNewerSchemaIsSaid(t *testing.T) {
	databases(t, func(t *testing.T, another func(*testing.T) string) {
		database := another(t)
		must(t, schema.Up(t.Context(), database, migrations.Issuer, table))
		older := func(string) (fs.FS, error) {
			return fstest.MapFS{"000001_a.up.sql": {Data: []byte("CREATE TABLE a (n BIGINT);")}}, nil
		}
		if _, err := schema.ReadStatus(t.Context(), database, older, table); !errors.Is(err, schema.ErrNewer) {
			t.Errorf("status: got %v, want ErrNewer", err)
		}
		if err := schema.Up(t.Context(), database, older, table); err == nil {
			t.Error("an older program migrated a newer database")
		}
	})
}

// TestRepairFinishesEachMigration leaves each migration in both states in which golang-migrate's
// own driver left it: marked dirty before it was applied, and after.
func TestRepairFinishesEachMigration(t *testing.T) {
	databases(t, func(t *testing.T, another func(*testing.T) string) {
		dialect := "sqlite"
		if strings.HasPrefix(another(t), "postgres") {
			dialect = "postgres"
		}
		content, err := migrations.Issuer(dialect)
		must(t, err)
		names, err := fs.Glob(content, "*.up.sql")
		must(t, err)
		parallel(2*len(names), func(n int) {
			version, wasApplied := n/2+1, n%2 == 1
			name, database := names[version-1], another(t)
			upTo(t, database, content, names[:version-1])
			if wasApplied {
				upTo(t, database, content, names[:version])
			}
			if err := schema.MarkDirty(database, migrations.Issuer, table, version); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := schema.Up(t.Context(), database, migrations.Issuer, table); !errors.Is(err, schema.ErrDirty) {
				t.Errorf("%s: got %v, want ErrDirty", name, err)
			}
			repaired, applied, err := schema.Repair(t.Context(), database, migrations.Issuer, table)
			if err != nil || repaired != version || !applied && !wasApplied {
				t.Errorf("%s (was applied: %v): repaired %d, applied %v, %v; want %d", name, wasApplied, repaired,
					applied, err, version)
				return
			}
			upToDate(t, database, fmt.Sprintf("%s (was applied: %v)", name, wasApplied))
		})
		clean := another(t)
		must(t, schema.Up(t.Context(), clean, migrations.Issuer, table))
		if repaired, applied, err := schema.Repair(t.Context(), clean, migrations.Issuer, table); repaired != 0 ||
			applied || err != nil {
			t.Errorf("a clean database: got %d, %v, %v; want nothing done", repaired, applied, err)
		}
	})
}

// TestDatabaseFromBetweenIsBroughtAlong makes the database of a program that had the first text of
// migrations 6, 9 and 10: they were changed after some installations had applied them.
func TestDatabaseFromBetweenIsBroughtAlong(t *testing.T) {
	databases(t, func(t *testing.T, another func(*testing.T) string) {
		database := another(t)
		dialect, driver, name := "sqlite", "sqlite", strings.TrimPrefix(database, "sqlite:")
		if strings.HasPrefix(database, "postgres") {
			dialect, driver, name = "postgres", "pgx", database
		}
		content, err := migrations.Issuer(dialect)
		must(t, err)
		names, err := fs.Glob(content, "*.up.sql")
		must(t, err)
		db, err := sql.Open(driver, name)
		must(t, err)
		defer db.Close()
		for _, file := range names[:10] {
			text, err := fs.ReadFile(content, file)
			must(t, err)
			first := strings.Replace(string(text), "error    TEXT NOT NULL,\n    after    TEXT NOT NULL",
				"error    TEXT NOT NULL\n", 1)
			first = strings.Replace(first,
				"current_setting('gatehouse.counted', true) IS DISTINCT FROM txid_current()::text", "TRUE", 1)
			_, err = db.Exec(first)
			must(t, err)
		}
		versions := []string{"CREATE TABLE " + table + " (version BIGINT, dirty BOOLEAN)",
			"INSERT INTO " + table + " VALUES (10, FALSE)",
			"INSERT INTO jobs VALUES ('grants', 3, 'a', 0, 5, 1, 2, 7, 'ok', '')"}
		for _, statement := range versions {
			_, err := db.Exec(statement)
			must(t, err)
		}
		must(t, schema.Up(t.Context(), database, migrations.Issuer, table))
		var run int
		var after string
		must(t, db.QueryRow("SELECT run, after FROM jobs WHERE name = 'grants'").Scan(&run, &after))
		if run != 3 || after != "" {
			t.Errorf("got run %d, after %q; want run 3, after empty", run, after)
		}
		upToDate(t, database, "from between")
	})
}

// upTo applies the named files alone, as an older program did.
func upTo(t *testing.T, database string, content fs.FS, names []string) {
	t.Helper()
	if len(names) == 0 {
		return
	}
	some := fstest.MapFS{}
	for _, name := range names {
		text, err := fs.ReadFile(content, name)
		must(t, err)
		some[name] = &fstest.MapFile{Data: text}
	}
	if err := schema.Up(context.Background(), database, func(string) (fs.FS, error) { return some, nil },
		table); err != nil {
		t.Errorf("up to %s: %v", names[len(names)-1], err)
	}
}

// upToDate brings a database up to date with a call of its own and looks at it.
func upToDate(t *testing.T, database, what string) {
	t.Helper()
	if err := schema.Up(t.Context(), database, migrations.Issuer, table); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	st, err := schema.ReadStatus(t.Context(), database, migrations.Issuer, table)
	if err != nil || st.Dirty || len(st.Pending) > 0 || st.Version != st.Latest {
		t.Errorf("%s: got %+v, %v; want the latest version, clean", what, st, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
