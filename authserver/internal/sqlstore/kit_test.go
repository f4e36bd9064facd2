package sqlstore_test

import (
	"io/fs"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/migrations"
)

func clientOf(id string) client.Client { return client.Client{ID: id, CreatedAt: time.Now()} }

// step is the text of one of the schema's steps.
func step(t testing.TB, dialect, name string) string {
	t.Helper()
	files, err := migrations.Issuer(dialect)
	must(t, err)
	text, err := fs.ReadFile(files, name)
	must(t, err)
	return string(text)
}
