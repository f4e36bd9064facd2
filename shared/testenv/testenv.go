// Package testenv is a test kit: a fresh database for each test, and other things that tests of
// several packages share.
package testenv

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	postgresVariable = "GATEHOUSE_TEST_POSTGRES"
	postgresDefault  = "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable"
	redisVariable    = "GATEHOUSE_TEST_REDIS"
	redisDefault     = "redis://127.0.0.1:6379/0"
)

// Postgres creates an empty database and returns its URL; it is dropped when the test ends. The
// test must import a driver that registers itself as "pgx". Without a server the test is skipped,
// or fails when CI=true.
func Postgres(t testing.TB) string {
	t.Helper()
	if !slices.Contains(sql.Drivers(), "pgx") {
		t.Fatal(`testenv.Postgres needs the driver: import _ "github.com/jackc/pgx/v5/stdlib"`)
	}
	base := setting(postgresVariable, postgresDefault)
	u, err := url.Parse(base)
	if err != nil {
		t.Fatalf("%s is not a URL", postgresVariable)
	}
	admin, err := sql.Open("pgx", base)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := admin.PingContext(ctx); err != nil {
		admin.Close()
		unavailable(t, "PostgreSQL", postgresVariable, postgresDefault)
	}
	name := "gatehouse_test_" + strings.ToLower(rand.Text()[:16])
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer admin.Close()
		if _, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("dropping %s: %v", name, err)
		}
	})
	u.Path = "/" + name
	return u.String()
}

// Redis returns a server's URL and a key prefix for this test; the keys are deleted when the test
// ends. Without a server the test is skipped, or fails when CI=true.
func Redis(t testing.TB) (url, prefix string) {
	t.Helper()
	base := setting(redisVariable, redisDefault)
	o, err := redis.ParseURL(base)
	if err != nil {
		t.Fatalf("%s is not a Redis URL", redisVariable)
	}
	client := redis.NewClient(o)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		client.Close()
		unavailable(t, "Redis", redisVariable, redisDefault)
	}
	prefix = "gatehouse-test-" + strings.ToLower(rand.Text()[:16]) + ":"
	t.Cleanup(func() {
		defer client.Close()
		ctx := context.Background()
		keys := client.Scan(ctx, 0, prefix+"*", 1000).Iterator()
		for keys.Next(ctx) {
			client.Del(ctx, keys.Val())
		}
		if err := keys.Err(); err != nil {
			t.Errorf("deleting the test's keys: %v", err)
		}
	})
	return base, prefix
}

func setting(variable, fallback string) string {
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return fallback
}

func unavailable(t testing.TB, what, variable, fallback string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("no %s at %s (default %s), and CI must not skip this test", what, variable, fallback)
	}
	t.Skipf("no %s: set %s (default %s)", what, variable, fallback)
}
