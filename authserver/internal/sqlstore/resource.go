package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

var _ issuer.ResourceStore = (*DB)(nil)

// scopeColumn is a scope in the column of a resource's scopes.
type scopeColumn struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Baseline    bool   `json:"baseline"`
	Access      string `json:"access,omitempty"`
}

// ResourcesRevision implements issuer.ResourceStore.
func (d *DB) ResourcesRevision(ctx context.Context) (revision int64, err error) {
	err = d.row(ctx, "SELECT revision FROM resources_revision WHERE id = 1").Scan(&revision)
	return revision, err
}

// Resources implements issuer.ResourceStore.
func (d *DB) Resources(ctx context.Context) ([]issuer.Resource, error) {
	return collect(ctx, d, func(row interface{ Scan(...any) error }) (issuer.Resource, error) {
		var r issuer.Resource
		var life int64
		var text string
		if err := row.Scan(&r.URI, &r.Name, &r.Algorithm, &life, &text, (*stringList)(&r.Aliases)); err != nil {
			return r, err
		}
		r.AccessTokenLifetime = time.Duration(life) * time.Second
		var scopes []scopeColumn
		if err := json.Unmarshal([]byte(text), &scopes); err != nil {
			return r, fmt.Errorf("reading the scopes of %s: %w", r.URI, err)
		}
		for _, s := range scopes {
			r.Scopes = append(r.Scopes, issuer.Scope(s))
		}
		return r, nil
	}, "SELECT uri, name, algorithm, token_life, scopes, aliases FROM resources ORDER BY created_at, uri")
}

// PutResource implements issuer.ResourceStore.
func (d *DB) PutResource(ctx context.Context, r issuer.Resource, e audit.Event) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.audit.Insert(ctx, tx, e); err != nil {
			return err
		}
		return putResource(ctx, tx, r, e.Time)
	})
}

// putResource stores a resource. The counter of changes is updated first, so that concurrent
// changes wait for each other there only.
func putResource(ctx context.Context, tx *sql.Tx, r issuer.Resource, now time.Time) error {
	if err := countResources(ctx, tx); err != nil {
		return err
	}
	scopes := []scopeColumn{}
	for _, s := range r.Scopes {
		scopes = append(scopes, scopeColumn(s))
	}
	text, err := json.Marshal(scopes)
	if err != nil {
		return fmt.Errorf("encoding the scopes of %s: %w", r.URI, err)
	}
	if _, err = tx.ExecContext(ctx, `INSERT INTO resources (uri, name, algorithm, token_life, scopes, aliases,
		created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (uri) DO UPDATE SET name = excluded.name, algorithm = excluded.algorithm,
		token_life = excluded.token_life, scopes = excluded.scopes, aliases = excluded.aliases`,
		r.URI, r.Name, r.Algorithm, int64(r.AccessTokenLifetime/time.Second), string(text), stringList(r.Aliases),
		unixTime(now)); err != nil {
		return fmt.Errorf("keeping resource %s: %w", r.URI, err)
	}
	return nil
}

// DeleteResource implements issuer.ResourceStore.
func (d *DB) DeleteResource(ctx context.Context, uri string, e audit.Event) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := countResources(ctx, tx); err != nil {
			return err
		}
		gone, err := database.Changed(tx.ExecContext(ctx, "DELETE FROM resources WHERE uri = $1", uri))
		if err != nil {
			return fmt.Errorf("removing resource %s: %w", uri, err)
		}
		if !gone {
			return issuer.ErrNoResource
		}
		return d.audit.Insert(ctx, tx, e)
	})
}

// countResources counts a change, so that every process reads the resources again.
func countResources(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, "UPDATE resources_revision SET revision = revision + 1 WHERE id = 1"); err != nil {
		return fmt.Errorf("counting the change of resources: %w", err)
	}
	return nil
}
