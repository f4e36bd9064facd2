// Command packmodules writes the modules of this repository into a folder that is a Go module proxy
// (GOPROXY=file://FOLDER), as a release of them would be. scripts/pack-modules calls it.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

// prefix is the path of the root module.
const prefix = "github.com/gatehouse-mcp/gatehouse"

// own finds the version of each requirement of one of our modules.
var own = regexp.MustCompile(`(?m)^(\s*(?:require )?` + prefix + `\S*) v\S+`)

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: packmodules TREE PROXY VERSION MODULE...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "packmodules:", err)
		os.Exit(1)
	}
}

// run packs each module, a folder of tree, under version. The go.mod files in tree are changed to
// require that version of the others.
func run(tree, proxy, version string, modules []string) error {
	for _, m := range modules {
		file := filepath.Join(tree, m, "go.mod")
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text = own.ReplaceAll(text, []byte("${1} "+version))
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	for _, m := range modules {
		if err := pack(tree, proxy, version, m); err != nil {
			return fmt.Errorf("pack %s: %w", m, err)
		}
	}
	return nil
}

// pack writes what the GOPROXY protocol asks for of one version of one module.
func pack(tree, proxy, version, folder string) error {
	v := module.Version{Path: prefix, Version: version}
	if folder != "." {
		v.Path += "/" + folder
	}
	mod, err := os.ReadFile(filepath.Join(tree, folder, "go.mod"))
	if err != nil {
		return err
	}
	var zip bytes.Buffer
	if err := modzip.CreateFromDir(&zip, v, filepath.Join(tree, folder)); err != nil {
		return err
	}
	info := fmt.Sprintf(`{"Version":%q,"Time":%q}`, version, time.Now().UTC().Format(time.RFC3339))
	dir := filepath.Join(proxy, v.Path, "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	write := func(name string, text []byte) error { return os.WriteFile(filepath.Join(dir, name), text, 0o644) }
	return errors.Join(write("list", []byte(version+"\n")), write(version+".info", []byte(info)),
		write(version+".mod", mod), write(version+".zip", zip.Bytes()))
}
