package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

var _ client.Store = (*DB)(nil)

const clientColumns = `id, name, tenant_id, redirect_uris, grant_types, auth_method, secret_hash, scopes,
	application_type,
	client_uri, software_id, software_version, origin, manage_hash, jwks, jwks_uri, created_at, old_secret_hash,
	old_secret_ends,
	fingerprint, resource, id_token_alg, post_logout_redirect_uris, dpop_bound, push_required`

// clientRead are the columns of a client that are read.
const clientRead = clientColumns + ", disabled_at"

const clientValues = "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, " +
	"$21, $22, $23, $24, $25"

// clientRow returns a client's columns in their order.
func clientRow(c client.Client) []any {
	return []any{
		c.ID, c.Name, optional(c.TenantID), stringList(c.RedirectURIs), stringList(c.GrantTypes), c.AuthMethod,
		c.SecretHash,
		stringList(c.Scopes), c.ApplicationType,
		c.ClientURI, c.SoftwareID, c.SoftwareVersion, c.Origin, c.ManageHash, c.JWKS, c.JWKSURI, unixTime(c.CreatedAt),
		c.OldSecretHash, unixTime(c.OldSecretEnds), c.Fingerprint, c.Resource, c.IDTokenAlg,
		stringList(c.PostLogoutRedirectURIs), c.DPoPBound, c.PushRequired,
	}
}

// execer is a database or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func insertClient(ctx context.Context, e execer, c client.Client) error {
	_, err := e.ExecContext(ctx, "INSERT INTO clients ("+clientColumns+") VALUES ("+clientValues+")",
		clientRow(c)...)
	if err != nil {
		return fmt.Errorf("keeping client %s: %w", c.ID, err)
	}
	return nil
}

// CreateClient implements client.Store.
func (d *DB) CreateClient(ctx context.Context, c client.Client) error {
	return insertClient(ctx, d.write, c)
}

// clientsAtOnce is how many clients one statement inserts.
const clientsAtOnce = 40

// CreateClients implements client.Store.
func (d *DB) CreateClients(ctx context.Context, clients []client.Client) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		for some := range slices.Chunk(clients, clientsAtOnce) {
			var rows []any
			for _, c := range some {
				rows = append(rows, clientRow(c)...)
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO clients ("+clientColumns+") VALUES "+d.audit.Places(1, len(some),
				len(rows)/len(some)), rows...)
			if err != nil {
				return fmt.Errorf("keeping %d clients: %w", len(some), err)
			}
		}
		return nil
	})
}

// Client implements client.Store.
func (d *DB) Client(ctx context.Context, id string) (client.Client, error) {
	c, err := scanClient(d.row(ctx,
		"SELECT "+clientRead+" FROM clients WHERE id = $1 AND deleted_at IS NULL AND disabled_at IS NULL", id))
	return c, database.NotFound(err, client.ErrNotFound)
}

// RegisteredClient implements client.Store.
func (d *DB) RegisteredClient(ctx context.Context, id string) (client.Client, error) {
	c, err := scanClient(d.row(ctx, "SELECT "+clientRead+" FROM clients WHERE id = $1 AND deleted_at IS NULL", id))
	return c, database.NotFound(err, client.ErrNotFound)
}

// DisableClient implements client.Store.
func (d *DB) DisableClient(ctx context.Context, id string, at time.Time) (since time.Time, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.stopIssuing(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx,
			"UPDATE clients SET disabled_at = COALESCE(disabled_at, $2) WHERE id = $1 AND deleted_at IS NULL "+
				"RETURNING disabled_at",
			id, unixTime(at)).Scan((*unixTime)(&since))
	})
	return since, database.NotFound(err, client.ErrNotFound)
}

// EnableClient implements client.Store.
func (d *DB) EnableClient(ctx context.Context, id string) error {
	there, err := database.Changed(d.write.ExecContext(ctx,
		"UPDATE clients SET disabled_at = NULL WHERE id = $1 AND deleted_at IS NULL", id))
	return found(there, err, client.ErrNotFound, "enabling client "+id)
}

// Clients implements client.Store.
func (d *DB) Clients(ctx context.Context, f client.Filter) ([]client.Client, error) {
	w := &where{}
	w.is("deleted_at IS NULL")
	if f.TenantID != "" {
		w.is("tenant_id = ?", f.TenantID)
	}
	w.after("clients", "", f.After)
	query, args := w.newest("SELECT "+clientRead+" FROM clients", "", f.Limit)
	return collect(ctx, d, scanClient, query, args...)
}

// OperatorClients implements client.Store. COALESCE makes the database use the tenant's index
// instead of the one of the origin.
func (d *DB) OperatorClients(ctx context.Context, tenantID string) ([]client.Client, error) {
	whose, args := "tenant_id = $1 AND COALESCE(origin, '')", []any{tenantID}
	if tenantID == "" {
		whose, args = "tenant_id IS NULL AND origin", nil
	}
	return collect(ctx, d, scanClient, "SELECT "+clientRead+" FROM clients WHERE "+whose+" = '"+client.OriginOperator+
		"' AND deleted_at IS NULL ORDER BY created_at, id", args...)
}

func scanClient(r interface{ Scan(...any) error }) (client.Client, error) {
	var c client.Client
	var tenantID sql.NullString
	err := r.Scan(&c.ID, &c.Name, &tenantID, (*stringList)(&c.RedirectURIs), (*stringList)(&c.GrantTypes),
		&c.AuthMethod,
		&c.SecretHash, (*stringList)(&c.Scopes),
		&c.ApplicationType, &c.ClientURI, &c.SoftwareID, &c.SoftwareVersion, &c.Origin, &c.ManageHash, &c.JWKS,
		&c.JWKSURI, (*unixTime)(&c.CreatedAt),
		&c.OldSecretHash, (*unixTime)(&c.OldSecretEnds), &c.Fingerprint, &c.Resource, &c.IDTokenAlg,
		(*stringList)(&c.PostLogoutRedirectURIs), &c.DPoPBound, &c.PushRequired,
		(*unixTime)(&c.DisabledAt))
	c.TenantID = tenantID.String
	return c, err
}

// neverLetIn selects clients that registered dynamically and were never authorized. Deletion also
// compares created_at, which changes when a shared client registers again: after waiting for
// another transaction PostgreSQL checks a row again, but not a sub-select.
const neverLetIn = `SELECT c.id, c.created_at FROM clients c WHERE c.origin IN ('` + client.OriginRegistration + `',
	'` + client.OriginDocument + `')
	AND c.disabled_at IS NULL AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = c.id)`

// Register implements client.Store.
func (d *DB) Register(ctx context.Context, c client.Client, ceiling int64, e audit.Event) (kept client.Client,
	err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		kept, err = scanClient(tx.QueryRowContext(ctx,
			"INSERT INTO clients ("+clientColumns+") VALUES ("+clientValues+`)
			ON CONFLICT (fingerprint) WHERE fingerprint <> '' AND deleted_at IS NULL DO UPDATE
			SET created_at = excluded.created_at
			RETURNING `+clientRead, clientRow(c)...))
		if err != nil {
			return fmt.Errorf("keeping client %s: %w", c.ID, err)
		}
		if kept.ID != c.ID {
			return nil // it exists already
		}
		if err := makeRoom(ctx, tx, c.ID, ceiling); err != nil {
			return err
		}
		return d.audit.Insert(ctx, tx, e)
	})
	return kept, err
}

// makeRoom deletes clients that registered dynamically beyond the ceiling, but not the newest.
func makeRoom(ctx context.Context, tx *sql.Tx, newest string, ceiling int64) error {
	var n int64
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM clients WHERE origin = $1 AND deleted_at IS NULL",
		client.OriginRegistration).Scan(&n)
	if err != nil {
		return fmt.Errorf("counting clients: %w", err)
	}
	if n <= ceiling {
		return nil
	}
	gone, err := database.Changed(tx.ExecContext(ctx, "DELETE FROM clients WHERE (id, created_at) IN ("+neverLetIn+
		" AND c.id <> $1 ORDER BY c.created_at, c.id LIMIT 1)", newest))
	if err != nil {
		return fmt.Errorf("making room for a client: %w", err)
	}
	if !gone {
		return client.ErrFull
	}
	return nil
}

// UpdateClient implements client.Store.
func (d *DB) UpdateClient(ctx context.Context, c client.Client) error {
	done, err := database.Changed(d.write.ExecContext(ctx, `UPDATE clients SET name = $2, redirect_uris = $3,
		grant_types = $4,
		scopes = $5, application_type = $6,
		client_uri = $7, software_id = $8, software_version = $9, jwks = $10, jwks_uri = $11, id_token_alg = $12,
		post_logout_redirect_uris = $13,
		dpop_bound = $14, push_required = $15 WHERE id = $1 AND deleted_at IS NULL`,
		c.ID, c.Name, stringList(c.RedirectURIs), stringList(c.GrantTypes), stringList(c.Scopes), c.ApplicationType,
		c.ClientURI,
		c.SoftwareID, c.SoftwareVersion,
		c.JWKS, c.JWKSURI, c.IDTokenAlg, stringList(c.PostLogoutRedirectURIs), c.DPoPBound, c.PushRequired))
	if err != nil {
		return fmt.Errorf("changing client %s: %w", c.ID, err)
	}
	if !done {
		return client.ErrNotFound
	}
	return nil
}

// ReplaceSecret implements client.Store.
func (d *DB) ReplaceSecret(ctx context.Context, id, secretHash string, ends time.Time) error {
	done, err := database.Changed(d.write.ExecContext(ctx, `UPDATE clients SET old_secret_hash = secret_hash,
		old_secret_ends = $3, secret_hash = $2
		WHERE id = $1 AND secret_hash <> '' AND deleted_at IS NULL`, id, secretHash, unixTime(ends)))
	if err != nil {
		return fmt.Errorf("replacing the secret of client %s: %w", id, err)
	}
	if !done {
		return client.ErrNotFound
	}
	return nil
}

// DeleteClient implements client.Store.
func (d *DB) DeleteClient(ctx context.Context, id string, at time.Time) error {
	done, err := database.Changed(d.write.ExecContext(ctx,
		"UPDATE clients SET deleted_at = $2, disabled_at = NULL, secret_hash = '', old_secret_hash = '', manage_hash "+
			"= '' WHERE id = $1 AND deleted_at IS NULL", id, unixTime(at)))
	if err != nil {
		return fmt.Errorf("deleting client %s: %w", id, err)
	}
	if !done {
		return client.ErrNotFound
	}
	return nil
}

// PutDocument implements client.Store.
func (d *DB) PutDocument(ctx context.Context, c client.Client) error {
	kept, err := database.Changed(d.write.ExecContext(ctx, "INSERT INTO clients ("+clientColumns+`)
		VALUES (`+clientValues+`)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, redirect_uris = excluded.redirect_uris,
		application_type = excluded.application_type,
		client_uri = excluded.client_uri, software_id = excluded.software_id,
		software_version = excluded.software_version, auth_method = excluded.auth_method,
		jwks = excluded.jwks, jwks_uri = excluded.jwks_uri, grant_types = excluded.grant_types,
		id_token_alg = excluded.id_token_alg,
		post_logout_redirect_uris = excluded.post_logout_redirect_uris, dpop_bound = excluded.dpop_bound,
		push_required = excluded.push_required, deleted_at = NULL
		WHERE clients.origin = excluded.origin AND clients.disabled_at IS NULL`,
		clientRow(c)...))
	if err != nil {
		return fmt.Errorf("keeping client %s: %w", c.ID, err)
	}
	if kept {
		return nil
	}
	if there, err := d.RegisteredClient(ctx, c.ID); err == nil && !there.DisabledAt.IsZero() {
		return client.ErrDisabled
	}
	return nil
}

// CreateInitialToken implements client.Store.
func (d *DB) CreateInitialToken(ctx context.Context, t client.InitialToken) error {
	_, err := d.write.ExecContext(ctx,
		"INSERT INTO initial_tokens (hash, tenant_id, scopes, expires_at, uses, created_at) VALUES ($1, $2, $3, $4, "+
			"$5, $6)",
		t.Hash, t.TenantID, stringList(t.Scopes), unixTime(t.ExpiresAt), t.Uses, unixTime(t.CreatedAt))
	if err != nil {
		return fmt.Errorf("keeping an initial access token: %w", err)
	}
	return nil
}

// UseInitialToken implements client.Store. The row count of one guarded statement decides.
func (d *DB) UseInitialToken(ctx context.Context, hash string, now time.Time,
	prepare func(client.InitialToken) (client.Client, audit.Event, error)) (made client.Client, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		used, err := database.Changed(tx.ExecContext(ctx, `UPDATE initial_tokens SET uses = uses - 1 WHERE hash = $1
			AND uses > 0 AND expires_at > $2
			AND EXISTS (SELECT 1 FROM tenants t WHERE t.id = initial_tokens.tenant_id
			AND t.suspended_at IS NULL)`, hash, unixTime(now)))
		if err != nil {
			return fmt.Errorf("using an initial access token: %w", err)
		}
		if !used {
			return client.ErrNoInitialToken
		}
		t := client.InitialToken{Hash: hash}
		err = tx.QueryRowContext(ctx,
			"SELECT tenant_id, scopes, expires_at, uses, created_at FROM initial_tokens WHERE hash = $1", hash).
			Scan(&t.TenantID, (*stringList)(&t.Scopes), (*unixTime)(&t.ExpiresAt), &t.Uses, (*unixTime)(&t.CreatedAt))
		if err != nil {
			return fmt.Errorf("reading an initial access token: %w", err)
		}
		var e audit.Event
		if made, e, err = prepare(t); err != nil {
			return err
		}
		if err := insertClient(ctx, tx, made); err != nil {
			return err
		}
		return d.audit.Insert(ctx, tx, e)
	})
	return made, err
}
