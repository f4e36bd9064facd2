package e2e_test

import (
	"go/ast"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// guardDir is the package that other people's servers import.
const guardDir = "mcpserver/guard"

// heavy are libraries that the guard must not bring along, not even through packages of ours.
var heavy = []string{
	"database/sql", "github.com/redis/go-redis", "github.com/goccy/go-yaml", "github.com/jackc/pgx",
	"modernc.org/sqlite", "github.com/prometheus/client_golang", "github.com/gorilla/mux", "github.com/spf13/pflag",
}

// guardImports returns, by file, what guard's import graph has from heavy.
func guardImports(files map[string]source) map[string][]string {
	byDir := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if filepath.Ext(name) == ".go" && !isTest(name) {
			byDir[path.Dir(name)] = append(byDir[path.Dir(name)], name)
		}
	}
	found, seen, next := map[string][]string{}, map[string]bool{guardDir: true}, []string{guardDir}
	for len(next) > 0 {
		dir := next[0]
		next = next[1:]
		for _, name := range byDir[dir] {
			for _, p := range files[name].imports {
				if slices.ContainsFunc(heavy, func(h string) bool { return within(h, p) }) {
					found[name] = append(found[name], p)
				}
				if ours(p) && !seen[local(p)] {
					seen[local(p)] = true
					next = append(next, local(p))
				}
			}
		}
	}
	return found
}

// anyFields returns the exported fields of exported types whose type has any in it.
func anyFields(file *ast.File) (found []string) {
	for _, d := range file.Decls {
		types, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range types.Specs {
			t, ok := s.(*ast.TypeSpec)
			if !ok || !t.Name.IsExported() {
				continue
			}
			of, ok := t.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range of.Fields.List {
				for _, name := range f.Names {
					if name.IsExported() && hasAny(f.Type) {
						found = append(found, t.Name.Name+"."+name.Name)
					}
				}
			}
		}
	}
	return found
}

// hasAny reports whether a type is any, or is made of it.
func hasAny(of ast.Expr) (has bool) {
	ast.Inspect(of, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			has = has || n.Name == "any"
		case *ast.InterfaceType:
			has = has || len(n.Methods.List) == 0
		}
		return true
	})
	return has
}

// guardLaws says what breaks the laws of guard, for violations.
func guardLaws(files map[string]source, say func(where, what string)) {
	imported := guardImports(files)
	for _, name := range slices.Sorted(maps.Keys(imported)) {
		say(name, "imports "+strings.Join(imported[name], ", ")+", but guard's import graph has no Redis, YAML or SQL")
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Dir(name) != guardDir || isTest(name) {
			continue
		}
		for _, field := range files[name].anyFields {
			say(name, "field "+field+" has any in its type, but exported fields of guard are typed")
		}
	}
}
