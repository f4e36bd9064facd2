// Package migrations embeds the database schema: numbered SQL files for golang-migrate, one set per
// server and dialect.
//
// It imports the standard library only, so that both servers can use it.
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed sqlite postgres
var files embed.FS

// Issuer returns the schema of the authorization server: tenants, people, clients, grants, codes,
// refresh tokens, keys, audit. dialect is "sqlite" or "postgres".
func Issuer(dialect string) (fs.FS, error) { return fs.Sub(files, dialect+"/issuer") }

// Companion returns the schema of the MCP server: the demo tools' data (customers, tickets,
// articles), usage, the rollout's modes and audit records. dialect is "sqlite" or "postgres".
func Companion(dialect string) (fs.FS, error) { return fs.Sub(files, dialect+"/companion") }
