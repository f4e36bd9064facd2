// Package demo stores the data of the demo tools: customers, tickets and articles, each of one
// tenant.
package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

// ErrNotFound says that the tenant has no such customer, whether or not another tenant has.
var ErrNotFound = errors.New("no such customer")

// DB is an open database. It gives access to one tenant's data at a time.
type DB struct {
	db     *database.DB
	search string
	query  func(words []string) string
	now    func() time.Time
}

// poolSize bounds the connections.
const poolSize = 8

// Open opens a migrated database: sqlite:PATH or postgres://….
func Open(ctx context.Context, name string, now func() time.Time) (*DB, error) {
	db, err := database.Open(name, database.Options{SQLite: poolSize, Postgres: poolSize, Wait: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	d := &DB{db: db, search: sqliteSearch, query: sqliteQuery, now: now}
	if db.Postgres {
		d.search, d.query = postgresSearch, postgresQuery
	}
	if err := d.Ping(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

// Ping checks that the database answers and has its schema.
func (d *DB) Ping(ctx context.Context) error {
	return d.db.CheckSchema(ctx, "schema_migrations_companion")
}

// Close closes the database.
func (d *DB) Close() error { return d.db.Close() }

// For returns a tenant's view. Its methods take no tenant, so that none can be confused.
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
	n, err := t.each(ctx, "SELECT name, email FROM customers WHERE tenant_id = $1 AND id = $2", []any{t.id, id},
		func(into scan) error { return into(&c.Name, &c.Email) })
	if err != nil {
		return Customer{}, fmt.Errorf("reading a customer: %w", err)
	}
	if n != 1 {
		return Customer{}, ErrNotFound
	}
	return c, nil
}

// Update changes the non-empty fields of a customer in one statement and returns the result, or
// ErrNotFound.
func (t Tenant) Update(ctx context.Context, c Customer) (Customer, error) {
	out := Customer{ID: c.ID}
	n, err := t.each(ctx, `UPDATE customers SET name = COALESCE(NULLIF($3, ''), name), email = COALESCE(NULLIF($4, ''),
		email), updated_at = $5
		WHERE tenant_id = $1 AND id = $2 RETURNING name,
		email`, []any{t.id, c.ID, c.Name, c.Email, t.d.now().Unix()},
		func(into scan) error { return into(&out.Name, &out.Email) })
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

// Open stores a new ticket about a customer of the tenant, or returns ErrNotFound when there is no
// such customer.
func (t Tenant) Open(ctx context.Context, k Ticket) error {
	n, err := t.each(ctx, `INSERT INTO tickets (tenant_id, id, customer_id, subject, body, opened_by, created_at)
		SELECT c.tenant_id, $3, c.id, $4, $5, $6, $7 FROM customers c WHERE c.tenant_id = $1 AND c.id = $2
		RETURNING id`,
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
