package usage

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
)

// Refusal is the refusals of requests for the same reason, with the newest sentence about it.
type Refusal struct {
	ID       string
	Client   string // empty: unknown
	Tenant   string
	Agent    string // User-Agent of the program
	Resource string // of the server that refused
	Reason   string // one of guard.Deny…
	About    string
	Why      string // one sentence
	First    time.Time
	Last     time.Time
	Times    int64
	Overcome bool // the client had a later request allowed
}

// Limits of refusals. The oldest are deleted first. One tenant has at most a tenth of the rows and
// of the pending ones.
const (
	mostRefusals  = 5_000 // rows
	mostStrangers = 500   // without a client, which anyone can cause
	mostPending   = 1_000 // not written yet
	mostUnknown   = 100   // of them without a client
)

// refusals are the pending refusals.
type refusals struct {
	pending map[string]Refusal
	unknown int
	each    map[string]int // of those with a client, by tenant
	dropped int64
}

// add counts a refusal.
func (r *refusals) add(rec *guard.Record) {
	w := rec.Denial
	parts := []string{w.Client, w.Tenant, w.Resource, w.Reason, w.About}
	if w.Client == "" {
		parts = append(parts, rec.Agent)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	id, at := "ref_"+base64.RawURLEncoding.EncodeToString(sum[:12]), rec.At.UTC().Truncate(time.Second)
	f, there := r.pending[id]
	if !there {
		if len(r.pending) >= mostPending || w.Client == "" && r.unknown >= mostUnknown || w.Client != "" &&
			r.each[w.Tenant] >= mostPending/10 {
			r.dropped++
			return
		}
		if r.each == nil {
			r.each = map[string]int{}
		}
		if w.Client == "" {
			r.unknown++
		} else {
			r.each[w.Tenant]++
		}
		f = Refusal{ID: id, Client: w.Client, Tenant: w.Tenant, Agent: rec.Agent, Resource: w.Resource,
			Reason: w.Reason, About: w.About, First: at}
	}
	f.Why, f.Last = w.Sentence, at
	f.Times++
	if r.pending == nil {
		r.pending = map[string]Refusal{}
	}
	r.pending[id] = f
}

// take removes and returns the pending refusals.
func (r *refusals) take() map[string]Refusal {
	taken := r.pending
	r.pending, r.unknown, r.each = nil, 0, nil
	return taken
}

// writeRefusals adds refusals to the rows, in the same order at all replicas.
func writeRefusals(ctx context.Context, b *auditstore.DB, taken map[string]Refusal) error {
	for some := range slices.Chunk(slices.Sorted(maps.Keys(taken)), inOne) {
		err := b.Write(ctx, func(tx *sql.Tx) error {
			for _, id := range some {
				f := taken[id]
				_, err := tx.ExecContext(ctx, `INSERT INTO refusals (id, client_id, tenant_id, agent, resource, reason,
					about, why, first_at, last_at, times)
					VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO UPDATE
					SET times = refusals.times + excluded.times,
					why = CASE WHEN excluded.last_at >= refusals.last_at THEN excluded.why ELSE refusals.why END,
					agent = CASE WHEN excluded.last_at >= refusals.last_at THEN excluded.agent ELSE refusals.agent END,
					last_at = CASE WHEN excluded.last_at >= refusals.last_at THEN excluded.last_at
					ELSE refusals.last_at END`,
					f.ID, f.Client, f.Tenant, f.Agent, f.Resource, f.Reason, f.About, f.Why, f.First.Unix(),
					f.Last.Unix(), f.Times)
				if err != nil {
					return fmt.Errorf("keeping a refusal: %w", err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, id := range some {
			delete(taken, id)
		}
	}
	return nil
}

// forgetRefusals deletes refusals older than Kept, and the oldest beyond the limits.
func forgetRefusals(ctx context.Context, b *auditstore.DB, now time.Time) error {
	return b.Write(ctx, func(tx *sql.Tx) error {
		for _, forget := range []struct {
			query string
			bound int64
		}{
			{"DELETE FROM refusals WHERE last_at < $1", now.Add(-Kept).Unix()},
			{"DELETE FROM refusals WHERE id IN (SELECT id FROM (SELECT id FROM refusals WHERE client_id = '' ORDER " +
				"BY last_at DESC, id LIMIT 1000000 OFFSET $1) beyond)", mostStrangers},
			{"DELETE FROM refusals WHERE id IN (SELECT id FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY tenant_id " +
				"ORDER BY last_at DESC, id) AS place FROM refusals WHERE client_id <> '') ranked WHERE place > $1)",
				mostRefusals / 10},
			{"DELETE FROM refusals WHERE id IN (SELECT id FROM (SELECT id FROM refusals ORDER BY last_at DESC, id " +
				"LIMIT 1000000 OFFSET $1) beyond)", mostRefusals},
		} {
			if _, err := tx.ExecContext(ctx, forget.query, forget.bound); err != nil {
				return fmt.Errorf("forgetting refusals: %w", err)
			}
		}
		return nil
	})
}

// RefusalFilter selects refusals. Zero fields do not restrict.
type RefusalFilter struct {
	ID     string
	Client string
	Tenant string
	Since  time.Time
	Limit  int // required
}

// Refusals returns the newest refusals first. The refusal of an expired token is overcome once the
// client had a later request allowed: every client refreshes so.
func Refusals(ctx context.Context, b *auditstore.DB, f RefusalFilter) (found []Refusal, err error) {
	where, args := "last_at >= $1", []any{f.Since.Unix()}
	if f.Since.IsZero() {
		args[0] = 0
	}
	for _, is := range []struct{ column, value string }{{"id", f.ID}, {"client_id", f.Client},
		{"tenant_id", f.Tenant}} {
		if is.value != "" {
			args = append(args, is.value)
			where += fmt.Sprintf(" AND %s = $%d", is.column, len(args))
		}
	}
	args = append(args, guard.DenyExpired, guard.OutcomeRefused, f.Limit)
	n := len(args)
	err = b.Read(ctx, func(scan func(...any) error) error {
		var r Refusal
		var first, last int64
		err := scan(&r.ID, &r.Client, &r.Tenant, &r.Agent, &r.Resource, &r.Reason, &r.About, &r.Why, &first, &last,
			&r.Times, &r.Overcome)
		if r.Reason == "ended" { // as older versions stored it
			r.Reason = guard.DenyRevoked
		}
		r.First, r.Last = time.Unix(first, 0).UTC(), time.Unix(last, 0).UTC()
		found = append(found, r)
		return err
	}, fmt.Sprintf(`SELECT id, client_id, tenant_id, agent, resource, reason, about, why, first_at, last_at, times,
		reason = $%d AND client_id <> '' AND EXISTS (SELECT 1 FROM usage_hours u WHERE u.client_id = refusals.client_id
		AND u.tenant_id = refusals.tenant_id
			AND u.hour >= refusals.last_at - 3600 AND u.last_at > refusals.last_at AND u.outcome <> $%d)
		FROM refusals WHERE %s ORDER BY last_at DESC, id LIMIT $%d`, n-2, n-1, where, n), args...)
	if err != nil {
		return nil, fmt.Errorf("reading refusals: %w", err)
	}
	return found, nil
}

// LastCalls returns when each of some clients last had a request allowed, by tenant, as far back as
// usage is kept.
func LastCalls(ctx context.Context, b *auditstore.DB, clients []string) (map[Holder]time.Time, error) {
	calls := map[Holder]time.Time{}
	for some := range slices.Chunk(clients, 500) {
		args := []any{guard.OutcomeRefused}
		for _, id := range some {
			args = append(args, id)
		}
		places := make([]string, len(some))
		for i := range some {
			places[i] = fmt.Sprintf("$%d", i+2)
		}
		err := b.Read(ctx, func(scan func(...any) error) error {
			var h Holder
			var last int64
			err := scan(&h.Client, &h.Tenant, &last)
			calls[h] = time.Unix(last, 0).UTC()
			return err
		}, "SELECT client_id, tenant_id, MAX(last_at) FROM usage_hours WHERE outcome <> $1 AND client_id IN ("+
			strings.Join(places, ", ")+") GROUP BY client_id, tenant_id", args...)
		if err != nil {
			return nil, fmt.Errorf("reading usage: %w", err)
		}
	}
	return calls, nil
}

// Holder is a client and one of its tenants.
type Holder struct{ Client, Tenant string }
