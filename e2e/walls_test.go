// Package e2e_test tests the product as a whole, and the rules that its source follows.
package e2e_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// modulePath is the module prefix of everything that is ours.
const modulePath = "github.com/gatehouse-mcp/gatehouse"

// source is what the rules need to know of a Go file.
type source struct {
	pkg     string   // the name in its package clause
	comment bool     // the package clause has a comment
	imports []string // paths, as written
	decodes []string // JSON, by what

	anyFields []string // exported fields of exported types that have any in their type
}

// TestImportRules holds the laws of the product over the files as they are. It reads them itself:
// a test that asks the go command is cached, and stays green over a new violation.
func TestImportRules(t *testing.T) {
	files := read(t, os.DirFS(".."))
	if len(files) < 50 {
		t.Fatalf("read %d Go files: this cannot be the whole product", len(files))
	}
	for _, v := range violations(files) {
		t.Error(v)
	}
}

// TestImportRulesCatchViolations plants one violation after the other into the sources, and sees
// each found.
func TestImportRulesCatchViolations(t *testing.T) {
	real := read(t, os.DirFS(".."))
	before := violations(real)
	imports := func(pkg string, paths ...string) string {
		text := "// Package " + pkg + " owns a violation.\npackage " + pkg + "\n"
		for _, p := range paths {
			text += "import _ " + strconv.Quote(p) + "\n"
		}
		return text
	}
	decoding := func(from, by string, as ...string) string {
		return "// Package planted owns a violation.\npackage planted\n\nimport " + strings.Join(as, "") + " " +
			strconv.Quote(from) + "\n\nvar _ = " + by + "\n"
	}
	rows := []struct{ name, file, text, want string }{
		{"shared imports a server", "shared/audit/planted.go", imports("audit", modulePath+"/mcpserver/guard"),
			"shared imports nothing of ours but shared"},
		{"shared imports a server in a test", "shared/audit/planted_test.go",
			imports("audit_test", modulePath+"/authserver"),
			"shared imports nothing of ours but shared"},
		{"the MCP server imports the authorization server", "mcpserver/guard/planted.go",
			imports("guard", modulePath+"/authserver"), "neither server imports the other"},
		{"the authorization server imports the MCP server", "authserver/planted.go",
			imports("authserver", modulePath+"/mcpserver/mcp"), "neither server imports the other"},
		{"fosite in the store", "authserver/internal/sqlstore/planted.go", imports("sqlstore", "github.com/ory/fosite"),
			"only issuer/fositeadapter imports fosite"},
		{"fosite in the issuer", "authserver/internal/issuer/planted.go",
			imports("issuer", "github.com/ory/fosite"), "only issuer/fositeadapter imports fosite"},
		{"fosite in a test of e2e", "e2e/planted_test.go", imports("e2e_test", "github.com/ory/fosite"),
			"only issuer/fositeadapter imports fosite"},
		{"ory's toolbox in the MCP server", "mcpserver/guard/planted.go",
			imports("guard", "github.com/ory/x/errorsx"), "the MCP server stays light"},
		{"migrations in the MCP server", "mcpserver/planted.go",
			imports("mcpserver", "github.com/golang-migrate/migrate/v4"), "the MCP server stays light"},
		{"web imports ours", "web/planted.go", imports("web", modulePath+"/shared/oauth"),
			"web imports nothing of ours and only the standard library"},
		{"web imports a library", "web/planted.go", imports("web", "github.com/gorilla/mux"),
			"web imports nothing of ours and only the standard library"},
		{"migrations import a library", "migrations/planted.go", imports("migrations", "modernc.org/sqlite"),
			"migrations imports nothing of ours and only the standard library"},
		{"a domain type imports HTTP", "authserver/internal/grant/planted.go", imports("grant", "net/http"),
			"domain types import no HTTP, no SQL, no fosite"},
		{"a domain type imports SQL", "authserver/internal/user/planted.go", imports("user", "database/sql"),
			"domain types import no HTTP, no SQL, no fosite"},
		{"a domain type imports a higher package", "authserver/internal/tenant/planted.go",
			imports("tenant", modulePath+"/authserver/internal/issuer"), "imports go one way"},
		{"the issuer imports an HTTP package", "authserver/internal/issuer/planted.go",
			imports("issuer", modulePath+"/authserver/internal/pages"), "imports go one way"},
		{"an HTTP package imports another", "authserver/internal/admin/planted.go",
			imports("admin", modulePath+"/authserver/internal/pages"), "imports go one way"},
		{"the issuer imports the database", "authserver/internal/issuer/planted.go",
			imports("issuer", modulePath+"/authserver/internal/sqlstore"), "imports go one way"},
		{"a server imports the command", "mcpserver/planted.go", imports("mcpserver", modulePath+"/cli"),
			"imports go one way"},
		{"the dispatcher knows the guard", "mcpserver/mcp/planted.go", imports("mcp", modulePath+"/mcpserver/guard"),
			"imports go one way"},
		{"a package without a layer", "authserver/internal/attic/planted.go", imports("attic"), "has no layer"},
		{"a collective name", "shared/helpers/planted.go", imports("helpers"), "has a collective name"},
		{"a collective name in the package clause", "shared/ttl/planted.go", imports("util"), "has a collective name"},
		{"a package without a comment", "shared/agent/deep/planted.go", "package deep\n", "has no package comment"},
		{"JSON of others by encoding/json", "mcpserver/guard/planted.go", decoding("encoding/json", "json.Unmarshal"),
			"is read by shared/strictjson"},
		{"JSON of others by a decoder", "authserver/internal/client/planted.go",
			decoding("encoding/json", "json.NewDecoder"), "is read by shared/strictjson"},
		{"JSON of others by another name", "shared/token/planted.go", decoding("encoding/json", "std.Unmarshal", "std"),
			"is read by shared/strictjson"},
		{"JSON of others past its check", "authserver/internal/assertion/planted.go",
			decoding("github.com/go-json-experiment/json", "json.Unmarshal"), "is read by shared/strictjson"},
		{"JSON of others by a dot", "mcpserver/gateway/planted.go", decoding("encoding/json", "Unmarshal", "."),
			"is read by shared/strictjson"},
		{"JSON of others by another library", "mcpserver/gateway/planted.go",
			imports("gateway", "github.com/segmentio/encoding/json"), "is read by shared/strictjson"},
		{"Redis in the guard", "mcpserver/guard/planted.go", imports("guard", "github.com/redis/go-redis/v9"),
			"guard's import graph has no Redis, YAML or SQL"},
		{"YAML in what the guard imports", "shared/config/planted.go",
			imports("config", "github.com/goccy/go-yaml/parser"), "guard's import graph has no Redis, YAML or SQL"},
		{"any in a field of the guard", "mcpserver/guard/planted.go",
			imports("guard") + "type Planted struct{ With map[string]any }\n", "exported fields of guard are typed"},
		{"a module of ory's required", "mcpserver/go.mod",
			"module m\n\nrequire (\n\tgithub.com/ory/x v0.0.665 // indirect\n)\n", "the MCP server stays light"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			planted := maps.Clone(real)
			maps.Copy(planted, read(t, fstest.MapFS{row.file: {Data: []byte(row.text)}}))
			for _, v := range violations(planted) {
				if strings.HasPrefix(v, path.Dir(row.file)) && strings.Contains(v, row.want) &&
					!slices.Contains(before, v) {
					return
				}
			}
			t.Errorf("not caught: %s; wanted a violation that says %q", row.file, row.want)
		})
	}
}

// read parses the package clauses and imports of all Go files, and the requirements of the resource
// server's go.mod, by path.
func read(t *testing.T, tree fs.FS) map[string]source {
	t.Helper()
	files := map[string]source{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" ||
				name == "data" || name == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		isGo, isMod := strings.HasSuffix(name, ".go"), name == "mcpserver/go.mod"
		if !isGo && !isMod {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		if isMod {
			files[name] = source{imports: required.FindAllString(string(text), -1)}
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		s := source{pkg: file.Name.Name, comment: file.Doc != nil, decodes: decodes(file), anyFields: anyFields(file)}
		for _, i := range file.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, p)
		}
		files[name] = s
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// decodes are the functions of encoding/json, and of the module that mirrors its second version, by
// which a file decodes.
func decodes(file *ast.File) (found []string) {
	names := map[string]string{}
	for _, i := range file.Imports {
		p, _ := strconv.Unquote(i.Path.Value) // the parser has read it
		if p != "encoding/json" && !within("encoding/json", p) && !within("github.com/go-json-experiment/json", p) {
			continue
		}
		name := path.Base(p)
		if name == "v2" || name == "v1" {
			name = "json"
		}
		if i.Name != nil {
			name = i.Name.Name
		}
		if names[name] = p; name == "." {
			found = append(found, p+" by a dot")
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			of, _ := s.X.(*ast.Ident)
			if of != nil && names[of.Name] != "" &&
				(strings.HasPrefix(s.Sel.Name, "Unmarshal") || strings.Contains(s.Sel.Name, "Decoder")) {
				found = append(found, names[of.Name]+"."+s.Sel.Name)
			}
		}
		return true
	})
	return found
}

// ownJSON are the files that decode JSON of our own: what the operator wrote or says on the socket,
// what our server answers to them, what our stores kept.
var ownJSON = []string{
	"authserver/resources.go", "authserver/internal/admin/operations.go", "authserver/internal/admin/remote.go",
	"mcpserver/operator/commands.go", "cli/operation.go", "cli/apply.go", "cli/running.go",
	"authserver/internal/sqlstore/sqlstore.go", "authserver/internal/sqlstore/resource.go",
	"authserver/internal/issuer/pushed.go", "authserver/internal/issuer/device.go",
	"authserver/internal/issuer/grant_device.go",
	"authserver/internal/pages/clients.go", "authserver/internal/session/session.go",
	"mcpserver/internal/toolcatalog/lock.go",
}

// required finds the module paths in a go.mod's requirements, which are followed by a version
// there.
var required = regexp.MustCompile(`[a-z0-9.-]+\.[a-z]+/\S+(?: v[0-9])`)

// violations says what breaks a law of the product, in the order of the files.
func violations(files map[string]source) []string {
	var found []string
	say := func(where, what string) { found = append(found, where+": "+what) }
	names := slices.Sorted(maps.Keys(files))
	sentence := map[string]bool{}
	for _, name := range names {
		s, dir := files[name], path.Dir(name)
		for _, p := range s.imports {
			for _, law := range laws {
				if law.broken(name, p) {
					say(name, "imports "+p+", but "+law.says)
				}
			}
		}
		if path.Ext(name) != ".go" {
			continue
		}
		if !isTest(name) && !within("shared/strictjson", name) && !slices.Contains(ownJSON, name) {
			for _, by := range s.decodes {
				say(name, "decodes by "+by+", but JSON that others wrote is read by shared/strictjson")
			}
		}
		if collective.MatchString(s.pkg) || collective.MatchString(path.Base(dir)) {
			say(name, "package "+s.pkg+" has a collective name")
		}
		if _, known := layerOf(importPath(dir)); !known {
			say(name, "package "+s.pkg+" has no layer: give it one in walls_test.go")
		}
		sentence[dir] = sentence[dir] || s.comment
	}
	guardLaws(files, say)
	for _, dir := range slices.Sorted(maps.Keys(sentence)) {
		if !sentence[dir] {
			say(dir, "has no package comment that says what it owns")
		}
	}
	return found
}

// collective matches names that say nothing of what a package does.
var collective = regexp.MustCompile(`^(utils?|common|helpers?|models?|types?|misc)(_test)?$`)

// law is one rule about who may import what.
type law struct {
	says   string
	broken func(file, imported string) bool
}

var laws = []law{
	{"shared imports nothing of ours but shared", func(file, p string) bool {
		return within("shared", file) && ours(p) && !within("shared", local(p))
	}},
	{"neither server imports the other", func(file, p string) bool {
		return within("authserver", file) && within("mcpserver", local(p)) || within("mcpserver", file) &&
			within("authserver", local(p))
	}},
	{"only issuer/fositeadapter imports fosite", func(file, p string) bool {
		return isOry(p) && !within("authserver/internal/issuer/fositeadapter", file) && path.Ext(file) == ".go"
	}},
	{"the MCP server stays light: nothing of ory's, no golang-migrate", func(file, p string) bool {
		return within("mcpserver", file) && (isOry(p) || strings.HasPrefix(p, "github.com/golang-migrate/"))
	}},
	{"JSON that others wrote is read by shared/strictjson", func(file, p string) bool {
		return path.Ext(file) == ".go" && !isTest(file) &&
			slices.ContainsFunc(otherJSON, func(library string) bool { return within(library, p) })
	}},
	{"web imports nothing of ours and only the standard library", func(file, p string) bool {
		return within("web", file) && !standard(p) && !within("web", local(p))
	}},
	{"migrations imports nothing of ours and only the standard library", func(file, p string) bool {
		return within("migrations", file) && !standard(p) && !within("migrations", local(p))
	}},
	{"domain types import no HTTP, no SQL, no fosite", func(file, p string) bool {
		return slices.ContainsFunc(domainTypes, func(n string) bool { return within(n, file) }) && !isTest(file) &&
			slices.ContainsFunc(machinery, func(m string) bool { return p == m || strings.HasPrefix(p, m+"/") })
	}},
	// Tests are exempt: the test of a lower package may use a real store, and the
	// compiler keeps circles out.
	{"imports go one way: command, servers, HTTP packages, issuer, domain types, shared", func(file, p string) bool {
		if !ours(p) || isTest(file) || path.Ext(file) != ".go" {
			return false
		}
		from, known := layerOf(importPath(path.Dir(file)))
		to, alsoKnown := layerOf(p)
		// packages of one layer; the compiler prevents cycles
		sideways := within("shared", file) || within("web", file)
		return known && alsoKnown && (to > from || to == from && !sideways)
	}},
}

// otherJSON are libraries that read JSON by rules of their own.
var otherJSON = []string{
	"github.com/segmentio/encoding", "github.com/goccy/go-json", "github.com/json-iterator/go",
	"github.com/bytedance/sonic", "github.com/valyala/fastjson", "github.com/tidwall/gjson",
	"github.com/mailru/easyjson", "github.com/buger/jsonparser",
}

var domainTypes = []string{
	"authserver/internal/tenant", "authserver/internal/user", "authserver/internal/client", "authserver/internal/grant",
	"authserver/internal/keyring",
	"authserver/internal/trustedissuer", "authserver/internal/attempt", "authserver/internal/job",
}

var machinery = []string{
	"net/http", "github.com/gorilla/mux", "database/sql", "github.com/jackc/pgx/v5", "modernc.org/sqlite",
	"github.com/redis/go-redis/v9", "github.com/ory",
}

// layers says how high each package is. An import goes down; packages of one layer do not import
// each other.
var layers = []struct {
	height   int
	packages []string
}{
	{10, []string{"e2e"}},
	{9, []string{""}}, // the gatehouse command
	{8, []string{"cli"}},
	{7, []string{"authserver/cmd/authserver", "mcpserver/cmd/mcpserver"}},
	{6, []string{"authserver", "mcpserver", "mcpserver/gateway"}},
	{5, []string{"mcpserver/operator"}},
	{4, []string{
		"authserver/internal/oauthapi", "authserver/internal/pages", "authserver/internal/admin", // HTTP
		// the adapters, and their examination: nobody below may know them
		"authserver/internal/sqlstore", "authserver/internal/cache", "authserver/internal/cimd",
		"authserver/internal/storetest",
		"mcpserver/internal/tools", "mcpserver/internal/demo/demotest",
		"mcpserver/internal/usage", "mcpserver/internal/calls", "mcpserver/internal/rollout",
		"mcpserver/internal/metrics",
	}},
	{3, []string{
		"authserver/internal/issuer", "authserver/internal/session", "authserver/internal/assertion",
		"authserver/internal/clientadmin", "authserver/internal/personal",
		"mcpserver/guard", "mcpserver/internal/demo", "mcpserver/internal/auditstore", "mcpserver/internal/card",
		// what a gateway is made of
		"mcpserver/internal/upstream", "mcpserver/internal/stdio", "mcpserver/internal/callerassertion",
		"mcpserver/internal/toolcatalog",
	}},
	{2, append([]string{"authserver/schema", "authserver/internal/issuer/fositeadapter",
		"authserver/internal/manifest", "authserver/internal/load",
		"mcpserver/mcp", "mcpserver/internal/singleflight", "mcpserver/internal/limit", "mcpserver/internal/refusal"},
		domainTypes...)},
	{1, []string{"mcpserver/message"}},
	{0, []string{"shared", "web"}},
	{-1, []string{"migrations"}},
}

// layerOf returns the layer of a package; shared and web are one layer each, whatever packages they
// have.
func layerOf(p string) (height int, known bool) {
	dir := local(p)
	for _, f := range layers {
		for _, pkg := range f.packages {
			if dir == pkg || (pkg == "shared" || pkg == "web" || pkg == "e2e") && within(pkg, dir) {
				return f.height, true
			}
		}
	}
	return 0, false
}

func importPath(dir string) string { return path.Join(modulePath, dir) }

func ours(p string) bool { return p == modulePath || strings.HasPrefix(p, modulePath+"/") }

// local is the folder of a package of ours, and "-" for anybody else's.
func local(p string) string {
	if !ours(p) {
		return "-"
	}
	return strings.TrimPrefix(strings.TrimPrefix(p, modulePath), "/")
}

func within(dir, name string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

func isOry(p string) bool { return strings.HasPrefix(p, "github.com/ory/") }

func isTest(file string) bool { return strings.HasSuffix(file, "_test.go") }

// standard says whether a path is the standard library's: no dot in its first element.
func standard(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".")
}
