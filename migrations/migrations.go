// Package migrations owns the database schema: numbered SQL files in the form golang-migrate reads,
// one set per wing and dialect.
//
// It imports nothing, so that both wings can carry it.
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed sqlite postgres
var files embed.FS

// Issuer is the schema of the issuing wing: tenants, people, clients, grants, codes, refresh
// tokens, keys, audit. dialect is "sqlite" or "postgres".
func Issuer(dialect string) (fs.FS, error) { return fs.Sub(files, dialect+"/issuer") }

// Companion is the schema of the resource wing: the companion tools' data (customers, tickets,
// articles), and what the wing keeps of its own doing (usage, the rollout's modes, audit lines).
// dialect is "sqlite" or "postgres".
func Companion(dialect string) (fs.FS, error) { return fs.Sub(files, dialect+"/companion") }
