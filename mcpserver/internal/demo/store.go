// Package demo owns the data that the companion tools work on: customers, tickets and articles,
// each of one tenant.
package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	_ "modernc.org/sqlite"             // registers "sqlite"
)

// ErrNotFound says that the tenant has no such customer. Whether another tenant has one is not
// said.
var ErrNotFound = errors.New("no such customer")

// DB is an open database. All that it gives away is a tenant's own view.
type DB struct {
	db       *sql.DB
	postgres bool
	search   string
	query    func(words []string) string
	now      func() time.Time
	turns    chan struct{} // of statements under way in SQLite: one a connection
	prepared sync.Map      // of *sql.Stmt, by its text, in SQLite
}

// poolSize bounds the connections.
const poolSize = 8

// Open opens a migrated database: sqlite:PATH or postgres://….
func Open(ctx context.Context, database string, now func() time.Time) (*DB, error) {
	d := &DB{now: now, turns: make(chan struct{}, poolSize)}
	var err error
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return nil, fmt.Errorf("the companion's database %s is not there; run `gatehouse migrate` first", path)
		}
		d.search, d.query = sqliteSearch, sqliteQuery
		d.db, err = sql.Open("sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)+
			"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&"+
			"_pragma=secure_delete(1)&_pragma=foreign_keys(1)")
	} else {
		d.postgres, d.search, d.query = true, postgresSearch, postgresQuery
		d.db, err = sql.Open("pgx", database)
	}
	if err != nil {
		return nil, errors.New("the companion's database is malformed; give sqlite:PATH or postgres://…")
	}
	d.db.SetMaxOpenConns(poolSize)
	d.db.SetMaxIdleConns(poolSize)
	if err := d.Ping(ctx); err != nil {
		return nil, errors.Join(err, d.db.Close())
	}
	return d, nil
}

// Ping asks whether the database answers and has its schema.
func (d *DB) Ping(ctx context.Context) error {
	var n int
	if err := d.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM schema_migrations_companion WHERE NOT dirty").Scan(
		&n); err != nil {
		return fmt.Errorf("asking the companion's database for its schema (run `gatehouse migrate` if there is "+
			"none): %w", err)
	}
	if n != 1 {
		return errors.New("the companion's database was left half-migrated; run `gatehouse migrate`")
	}
	return nil
}

// Close closes the database.
func (d *DB) Close() error { return d.db.Close() }

// For is a tenant's view. Its methods take no tenant, so that none can be named wrongly.
func (d *DB) For(tenantID string) Tenant { return Tenant{d, tenantID} }

// Tenant is the data of one tenant.
type Tenant struct {
	d  *DB
	id string
}

// Customer is a customer of the tenant.
type Customer struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Customer returns a customer, or ErrNotFound.
func (t Tenant) Customer(ctx context.Context, id string) (Customer, error) {
	c := Customer{ID: id}
	n, err := t.byKey(ctx, "SELECT name, email FROM customers WHERE tenant_id = $1 AND id = $2", []any{t.id, id},
		func(into scan) error { return into(&c.Name, &c.Email) })
	if err != nil {
		return Customer{}, fmt.Errorf("reading a customer: %w", err)
	}
	if n != 1 {
		return Customer{}, ErrNotFound
	}
	return c, nil
}

// Update changes what is not empty of a customer's name and e-mail address, in one statement, and
// returns the customer as it then is; or ErrNotFound.
func (t Tenant) Update(ctx context.Context, c Customer) (Customer, error) {
	out := Customer{ID: c.ID}
	n, err := t.each(ctx, `UPDATE customers SET name = COALESCE(NULLIF($3, ''), name), email = COALESCE(NULLIF($4, ''), email), updated_at = $5
		WHERE tenant_id = $1 AND id = $2 RETURNING name, email`, []any{t.id, c.ID, c.Name, c.Email, t.d.now().Unix()}, func(into scan) error { return into(&out.Name, &out.Email) })
	if err != nil {
		return Customer{}, fmt.Errorf("changing a customer: %w", err)
	}
	if n != 1 {
		return Customer{}, ErrNotFound
	}
	return out, nil
}

// Ticket is a support ticket about a customer.
type Ticket struct {
	ID         string `json:"id"`
	CustomerID string `json:"customer_id"`
	Subject    string `json:"subject"`
	Body       string `json:"body"`
	OpenedBy   string `json:"-"` // the subject of the caller's token
}

// Open keeps a new ticket about a customer of the tenant, or answers ErrNotFound when there is no
// such customer.
func (t Tenant) Open(ctx context.Context, k Ticket) error {
	n, err := t.each(ctx, `INSERT INTO tickets (tenant_id, id, customer_id, subject, body, opened_by, created_at)
		SELECT c.tenant_id, $3, c.id, $4, $5, $6, $7 FROM customers c WHERE c.tenant_id = $1 AND c.id = $2 RETURNING id`,
		[]any{t.id, k.CustomerID, k.ID, k.Subject, k.Body, k.OpenedBy, t.d.now().Unix()},
		func(into scan) error { return into(&k.ID) })
	if err != nil {
		return fmt.Errorf("opening a ticket: %w", err)
	}
	if n != 1 {
		return ErrNotFound
	}
	return nil
}

// Tickets counts the tenant's tickets.
func (t Tenant) Tickets(ctx context.Context) (n int, err error) {
	_, err = t.each(ctx, "SELECT COUNT(*) FROM tickets WHERE tenant_id = $1", []any{t.id},
		func(into scan) error { return into(&n) })
	return n, err
}
