// Package chain stores audit records as a chain of hashes, in SQLite and PostgreSQL.
//
// An event is written into a table of waiting events, in the transaction of what it is about,
// without waiting for others. A sealer takes committed events and gives each its number and its
// hash, which covers the previous hash, the number, and all that the event says. The last number
// and hash are the head: one row, whose lock lets one sealer work at a time. Sealed records never
// change; the oldest may be deleted, and then the head says where the chain begins.
package chain

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// Options configure a Chain.
type Options struct {
	Write, Read *sql.DB // may be the same
	// Name begins the names of the tables: NAME_events (waiting), NAME_records and NAME_head.
	Name string
	// Lock ends a SELECT that locks its rows: " FOR UPDATE", or empty where a writing transaction
	// is alone.
	Lock string
}

// Chain is one chain. It is safe for concurrent use, by many processes at once.
type Chain struct {
	Options
	insert string
	keys   [][]byte

	statements atomic.Pointer[map[string]*sql.Stmt] // prepared statements of SQLite by text; nil: not prepared yet

	mu   sync.Mutex
	last Point // the newest head that this process has seen
}

// New returns a chain on migrated tables.
func New(o Options) *Chain {
	return &Chain{
		Options: o,
		insert:  "INSERT INTO " + o.Name + "_events (" + columns + ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
	}
}

// Anchor sets the keys that authenticate the head: the first is used for writing, any for
// verifying. Without a key, anyone who can write the database can write a new chain. It must be
// called before the chain is used.
func (c *Chain) Anchor(keys ...[]byte) { c.keys = keys }

// Point is a place in the chain: a number and its hash. Number 0 is before the first record, and
// has no hash.
type Point struct {
	Seq  int64
	Hash [sha256.Size]byte
}

// String returns NUMBER:HASH.
func (p Point) String() string {
	return strconv.FormatInt(p.Seq, 10) + ":" + hex.EncodeToString(p.Hash[:])
}

// ParsePoint is the inverse of String.
func ParsePoint(s string) (p Point, err error) {
	number, sum, _ := strings.Cut(s, ":")
	p.Seq, err = strconv.ParseInt(number, 10, 64)
	raw, bad := hex.DecodeString(sum)
	if err != nil || bad != nil || p.Seq < 0 || len(raw) != len(p.Hash) {
		return Point{}, errors.New("a head is a number, a colon and 64 hexadecimal digits")
	}
	copy(p.Hash[:], raw)
	return p, nil
}

// MarshalText implements encoding.TextMarshaler.
func (p Point) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (p *Point) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePoint(string(text))
	return err
}

// columns are the columns of an event, in the order in which they are hashed.
const columns = "at, actor, action, target, tenant, client, grant_id, outcome, detail"

// Execer is a database or a transaction.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Insert writes an event, within the transaction of what it is about.
func (c *Chain) Insert(ctx context.Context, x Execer, e audit.Event) error {
	if _, err := x.ExecContext(ctx, c.insert, Row(e)...); err != nil {
		return fmt.Errorf("writing the audit line: %w", err)
	}
	return nil
}

// InsertWith executes an insert and writes the event about it, within the transaction of both.
// PostgreSQL does both in one round trip, during which locks are held.
func (c *Chain) InsertWith(ctx context.Context, x Execer, e audit.Event, insert string, args ...any) error {
	if c.Lock == "" { // SQLite has no statement that writes two tables, and no round trips
		if _, err := x.ExecContext(ctx, insert, args...); err != nil {
			return err
		}
		return c.Insert(ctx, x, e)
	}
	line := "WITH line AS (INSERT INTO " + c.Name + "_events (" + columns + ") VALUES " + c.Places(len(args)+1, 1,
		width) + ") "
	_, err := x.ExecContext(ctx, line+insert, slices.Concat(args, Row(e))...)
	return err
}

// InsertAll writes events in one transaction.
func (c *Chain) InsertAll(ctx context.Context, events []audit.Event) error {
	return c.tx(ctx, func(tx *sql.Tx) error { return c.InsertMany(ctx, tx, events) })
}

// InsertMany writes events, within the transaction of what they are about.
func (c *Chain) InsertMany(ctx context.Context, x Execer, events []audit.Event) error {
	for len(events) > 0 {
		n := min(len(events), rowsAtOnce)
		args := make([]any, 0, n*width)
		for _, e := range events[:n] {
			args = append(args, Row(e)...)
		}
		if _, err := x.ExecContext(ctx, "INSERT INTO "+c.Name+"_events ("+columns+") VALUES "+c.Places(1, n, width),
			args...); err != nil {
			return fmt.Errorf("writing audit lines: %w", err)
		}
		events = events[n:]
	}
	return nil
}

const (
	width      = 9   // columns of a line
	rowsAtOnce = 100 // rows of one statement
)

// Places returns the parameters of n rows of width columns, numbered from first. SQLite treats
// numbered parameters as names, and searches all of them for each.
func (c *Chain) Places(first, n, width int) string {
	var b strings.Builder
	for i := range n * width {
		switch {
		case i == 0:
			b.WriteByte('(')
		case i%width == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		if c.Lock == "" {
			b.WriteByte('?')
			continue
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(first + i))
	}
	b.WriteByte(')')
	return b.String()
}

// The bounds of an event's columns, in bytes.
const (
	maxName   = 512
	maxDetail = 1024
)

// Row returns an event's columns in order: text that every database can store, within bounds.
func Row(e audit.Event) []any {
	outcome := e.Outcome
	if outcome == "" {
		outcome = audit.OK
	}
	return []any{
		e.Time.Unix(), clean(e.Actor, maxName), clean(e.Action, maxName), clean(e.Target, maxName),
		clean(e.Tenant, maxName), clean(e.Client, maxName),
		clean(e.Grant, maxName), clean(outcome, maxName), clean(e.Detail, maxDetail),
	}
}

// clean replaces what a terminal or a table would interpret.
func clean(s string, most int) string { return text.Marked(s, most, "") }

// content is the SQL of an event as it is hashed: its time in seconds and its columns in order,
// separated by line feeds. Sealed columns contain none (see package text), and their number is
// fixed, so that the form is unambiguous. The database builds it, which is much faster than reading
// column by column.
const content = "concat_ws('\n', " + columns + ")"

// write returns an event's columns as content does.
func write(row []any) []byte {
	b := strconv.AppendInt(nil, row[0].(int64), 10)
	for _, column := range row[1:] {
		b = append(append(b, '\n'), column.(string)...)
	}
	return b
}

// read is the inverse of write: the time of an event, and its other columns.
func read(content []byte) (at time.Time, columns []string) {
	columns = strings.Split(string(content), "\n")
	seconds, _ := strconv.ParseInt(columns[0], 10, 64) // a changed value is detected by its hash
	return time.Unix(seconds, 0).UTC(), columns[1:]
}

// line is a record as it is hashed.
type line struct {
	seq     int64
	hash    []byte
	content []byte
}

// version begins what is hashed, so that another encoding can be added.
const version = 1

// follow returns the hash of a record with this number after prev. scratch is reused.
func follow(scratch []byte, prev *[sha256.Size]byte, seq int64, content []byte) (sum [sha256.Size]byte, _ []byte) {
	b := append(scratch[:0], version)
	b = append(b, prev[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(seq))
	b = append(b, content...)
	return sha256.Sum256(b), b
}

// head is the chain's head row: where it begins and ends, and the authentication code of both.
type head struct {
	base, end Point
	mac       []byte
}

// word authenticates a head with a key.
func (c *Chain) word(key []byte, h head) []byte {
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "gatehouse audit head %d\x00%s\x00%s\x00%s", version, c.Name, h.base, h.end)
	return m.Sum(nil)
}

// believed reports whether one of the keys authenticated the head, or there are no keys.
func (c *Chain) believed(h head) bool {
	if len(c.keys) == 0 {
		return true
	}
	for _, key := range c.keys {
		if hmac.Equal(c.word(key, h), h.mac) {
			return true
		}
	}
	return false
}

// errNoHead says that the head row is missing.
var errNoHead = errors.New("the head of the chain is gone")

// queryer is a database or a transaction.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// head reads the head; lock may lock it.
func (c *Chain) head(ctx context.Context, q queryer, lock string) (h head, err error) {
	var base, end []byte
	err = q.QueryRowContext(ctx, c.heading()+lock).Scan(&h.base.Seq, &base, &h.end.Seq, &end, &h.mac)
	if errors.Is(err, sql.ErrNoRows) {
		return h, errNoHead
	}
	if err != nil {
		return h, fmt.Errorf("reading the head of the audit chain: %w", err)
	}
	copy(h.base.Hash[:], base)
	copy(h.end.Hash[:], end)
	return h, nil
}

// newest returns the last stored record.
func (c *Chain) newest(ctx context.Context, q queryer) (p Point, err error) {
	return c.point(ctx, q, last)
}

// point returns a record's number and hash; the zero Point when there is none.
func (c *Chain) point(ctx context.Context, q queryer, which string, args ...any) (p Point, err error) {
	var sum []byte
	err = q.QueryRowContext(ctx, c.pointing(which), args...).Scan(&p.Seq, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return Point{}, nil
	}
	if err != nil {
		return Point{}, fmt.Errorf("reading the audit chain: %w", err)
	}
	copy(p.Hash[:], sum)
	return p, nil
}

func (c *Chain) tx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := c.Write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// snapshot reads several things as of one moment.
func (c *Chain) snapshot(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := c.Read.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("beginning to read: %w", err)
	}
	defer tx.Rollback()
	return do(tx)
}
