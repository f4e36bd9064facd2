package e2e_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestReference holds the parts of docs/reference that are generated from the code, between two
// marks, against the code: run it with -update after a change.
func TestReference(t *testing.T) {
	code := sources(t)
	for name, write := range map[string]func(*testing.T, map[string]*ast.File) string{
		"gateway-yaml.md": gatewayKeys, "errors.md": errorCodes, "endpoints.md": endpoints, "audit.md": auditActions,
		"metrics.md": metricNames,
	} {
		page := "../docs/reference/" + name
		raw, err := os.ReadFile(page)
		must(t, err)
		before, rest, _ := strings.Cut(string(raw), generatedFrom)
		_, after, ok := strings.Cut(rest, generatedTo)
		if !ok {
			t.Errorf("%s has no generated part", page)
			continue
		}
		want := before + generatedFrom + "\n\n" + write(t, code) + "\n" + generatedTo + after
		if want == string(raw) {
			continue
		}
		if *update {
			must(t, os.WriteFile(page, []byte(want), 0o644))
			continue
		}
		t.Errorf("%s is not as the code is: run go test ./e2e -run TestReference -update", page)
	}
}

// The marks around what is generated.
const (
	generatedFrom = "<!-- generated from the code -->"
	generatedTo   = "<!-- end of the generated part -->"
)

// sources parses the Go files of the product, by path.
func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	texts := repository(t, func(name string) bool {
		return path.Ext(name) == ".go" && !isTest(name) && !strings.HasPrefix(name, "e2e/")
	})
	for name, text := range texts {
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
		must(t, err)
		files[name] = file
	}
	return files
}

// gatewayKeys lists the keys of a gateway's file: each struct with yaml tags of package gateway or
// below, File first.
func gatewayKeys(t *testing.T, files map[string]*ast.File) string {
	sections := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !within("mcpserver/gateway", name) {
			continue
		}
		ast.Inspect(files[name], func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				if rows := yamlRows(s); rows != "" {
					sections[spec.Name.Name] = rows
				}
			}
			return true
		})
	}
	if sections["File"] == "" {
		t.Fatal("package gateway has no struct File with yaml tags")
	}
	text := ""
	for _, name := range append([]string{"File"}, slices.Sorted(maps.Keys(sections))...) {
		if rows := sections[name]; rows != "" {
			text += "## " + name + "\n\n| key | type | meaning |\n|---|---|---|\n" + rows + "\n"
			delete(sections, name)
		}
	}
	return text
}

// yamlRows returns a row for each field with a yaml tag.
func yamlRows(s *ast.StructType) (rows string) {
	comment := ""
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			continue
		}
		tag, _ := strconv.Unquote(f.Tag.Value)
		key, _, _ := strings.Cut(reflect.StructTag(tag).Get("yaml"), ",")
		if key == "" || key == "-" {
			continue
		}
		if own := sentence(f.Doc.Text() + " " + f.Comment.Text()); own != "" {
			comment = own
		}
		rows += fmt.Sprintf("| `%s` | %s | %s |\n", key, typeName(f.Type), comment)
	}
	return rows
}

// typeName writes a type as readers of YAML know it.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.ArrayType:
		return "list of " + typeName(e.Elt)
	case *ast.MapType:
		return "mapping to " + typeName(e.Value)
	case *ast.SelectorExpr:
		return strings.ToLower(e.Sel.Name)
	}
	return "value"
}

// sentence writes a comment as a cell of a table.
func sentence(comment string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(comment), " "), "|", `\|`)
}

// errorCodes lists the explanations of error codes that the authorization server has pages for.
func errorCodes(t *testing.T, files map[string]*ast.File) string {
	text := "| code | what it means for the person | for the developer |\n|---|---|---|\n"
	found := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		ast.Inspect(files[name], func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || spec.Names[0].Name != "explanations" || len(spec.Values) != 1 {
				return true
			}
			for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
				entry := e.(*ast.KeyValueExpr)
				of := map[string]string{}
				for _, f := range entry.Value.(*ast.CompositeLit).Elts {
					field := f.(*ast.KeyValueExpr)
					of[field.Key.(*ast.Ident).Name] = sentence(constant(t, field.Value))
				}
				found++
				text += fmt.Sprintf("| `%s` | %s | %s |\n", constant(t, entry.Key), of["Person"], of["Developer"])
			}
			return false
		})
	}
	if found < 10 {
		t.Fatalf("%d explanations of error codes were found, want 10 at least", found)
	}
	return text
}

// constant is the value of an expression of string literals.
func constant(t *testing.T, e ast.Expr) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		must(t, err)
		return s
	case *ast.BinaryExpr:
		return constant(t, e.X) + constant(t, e.Y)
	}
	t.Fatalf("%T is no string literal", e)
	return ""
}

// route is a registration of a handler with the path as it is written; method is one of its
// methods.
var (
	route  = regexp.MustCompile(`(?s)^Handle(?:Func)?\(\s*([^,]+?),`)
	method = regexp.MustCompile(`"((?:GET|POST|PUT|DELETE|HEAD)(?:, (?:GET|POST|PUT|DELETE|HEAD))*)"`)
	onto   = regexp.MustCompile(`\n\t+r\.`)
)

// pathConstant is a constant that holds a path of the authorization server.
var pathConstant = regexp.MustCompile(`\b(\w*Path)\s*=\s*(?:"(/[^"]*)"|\w+\.(\w+))`)

// endpoints lists the routes of the authorization server, with the comment of each handler.
func endpoints(t *testing.T, files map[string]*ast.File) string {
	texts := repository(t, func(name string) bool {
		return path.Ext(name) == ".go" && !isTest(name) &&
			(within("authserver", name) || name == "shared/revocation/http.go")
	})
	paths := map[string]string{}
	for _, text := range texts {
		for _, m := range pathConstant.FindAllStringSubmatch(text, -1) {
			paths[m[1]] = m[2] + m[3]
		}
	}
	for name, at := range paths { // a constant that is another package's
		if !strings.HasPrefix(at, "/") {
			paths[name] = paths[at]
		}
	}
	rows := map[string]string{}
	for name, text := range texts {
		if !within("authserver", name) {
			continue
		}
		for _, line := range onto.Split(text, -1)[1:] {
			line, _, _ = strings.Cut(line, ")\n")
			m := route.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			at := ""
			for part := range strings.SplitSeq(m[1], "+") {
				part = strings.TrimSpace(part)
				part = part[strings.LastIndex(part, ".")+1:]
				if s, err := strconv.Unquote(part); err == nil {
					at += s
				} else {
					at += paths[part]
				}
			}
			var all []string
			for _, m := range method.FindAllStringSubmatch(line, -1) {
				all = append(all, m[1])
			}
			methods := strings.Join(all, ", ")
			handlers := regexp.MustCompile(`\b[ds]\.(\w+)\b`).FindAllStringSubmatch(line, -1)
			about := ""
			if len(handlers) > 0 && !strings.Contains(handlers[len(handlers)-1][0], "cors") {
				about = commentOf(files, path.Dir(name), handlers[len(handlers)-1][1])
			} else {
				about = "metadata"
			}
			rows[at+" "+methods] = fmt.Sprintf("| `%s` | %s | %s |\n", at, methods, about)
		}
	}
	if len(rows) < 25 {
		t.Fatalf("%d endpoints were found, want 25 at least: %v", len(rows), slices.Sorted(maps.Keys(rows)))
	}
	text := "| path | methods | what it does |\n|---|---|---|\n"
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		text += rows[key]
	}
	return text
}

// commentOf returns the first sentence of a function's comment, without its name.
func commentOf(files map[string]*ast.File, dir, function string) string {
	for name, file := range files {
		if path.Dir(name) != dir {
			continue
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == function {
				text, _, _ := strings.Cut(sentence(f.Doc.Text())+" ", ". ")
				return strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(text, function+" ")), ".")
			}
		}
	}
	return ""
}

// action finds the actions that the code writes into audit records.
var action = regexp.MustCompile(
	`(?:Action:\s*|[aA]ct(?:ion)?\w*\s*=\s*|ofClient\([^"]*|ofTenant\([^"]*|acting\()"([a-z_]+\.[a-z_]+)"`)

// auditActions lists all actions of audit records.
func auditActions(t *testing.T, _ map[string]*ast.File) string {
	found := map[string]bool{}
	for _, text := range repository(t, func(name string) bool {
		kit := strings.HasSuffix(path.Dir(name), "test")
		return path.Ext(name) == ".go" && !isTest(name) && !kit && !strings.HasPrefix(name, "e2e/")
	}) {
		for _, m := range action.FindAllStringSubmatch(text, -1) {
			found[m[1]] = true
		}
	}
	if len(found) < 35 {
		t.Fatalf("%d actions were found, want 35 at least", len(found))
	}
	return "`" + strings.Join(slices.Sorted(maps.Keys(found)), "`, `") + "`\n"
}

// metric finds the name of a metric and its help, which follows it.
var metric = regexp.MustCompile(`"(gatehouse_[a-z_]+)",\s*(?:Help:\s*)?((?:"[^"]*"\s*\+?\s*)+)`)

// metricNames lists the metrics of both servers.
func metricNames(t *testing.T, _ map[string]*ast.File) string {
	rows := map[string]string{}
	for name, text := range repository(t, func(name string) bool {
		return path.Ext(name) == ".go" && !isTest(name) && (within("authserver", name) || within("mcpserver", name))
	}) {
		server, _, _ := strings.Cut(name, "/")
		for _, m := range metric.FindAllStringSubmatch(text, -1) {
			help := ""
			for _, part := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
				help += part[1]
			}
			rows[m[1]] = fmt.Sprintf("| `%s` | %s | %s |\n", m[1], server, help)
		}
	}
	if len(rows) < 15 {
		t.Fatalf("%d metrics were found, want 15 at least", len(rows))
	}
	text := "| metric | server | meaning |\n|---|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		text += rows[name]
	}
	return text
}
