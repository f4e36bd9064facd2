package configfile

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// fromFile sets what the command line and the environment leave open. A file with one wrong line
// sets nothing that counts: the error says which.
func fromFile(fs *pflag.FlagSet, path string, o Options, from Origin) error {
	content, err := readBounded(path)
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	lines, err := mapping(content)
	if err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	known := map[string]*pflag.Flag{}
	fs.VisitAll(func(f *pflag.Flag) {
		if o.Setting(f.Name) && f.Name != o.FileFlag {
			known[f.Name] = f
			if flags.IsSecret(f) {
				known[f.Name+fileSuffix] = f
			}
		}
	})
	seen := map[string]int{}
	for _, l := range lines {
		wrong := func(err error) error {
			return fmt.Errorf("configuration file %s, line %d: %s: %w", path, l.at, l.name, err)
		}
		f := known[l.name]
		if f == nil {
			return wrong(fmt.Errorf("there is no such setting; is it %s?",
				config.Nearest(l.name, slices.Collect(maps.Keys(known)))))
		}
		if before := seen[f.Name]; before > 0 {
			return wrong(fmt.Errorf("it is set in line %d already", before))
		}
		seen[f.Name] = l.at
		value, err := scalar(l.value)
		if err != nil {
			return wrong(err)
		}
		if l.name != f.Name { // name-file
			if !filepath.IsAbs(value) {
				value = filepath.Join(filepath.Dir(path), value)
			}
			if value, err = readSecret(value); err != nil {
				return wrong(err)
			}
		}
		if from[f.Name] != "" {
			continue
		}
		if err := fs.Set(f.Name, value); err != nil {
			return wrong(refused(f, err))
		}
		from[f.Name] = fmt.Sprintf("%s line %d", path, l.at)
	}
	return nil
}

// fileSuffix ends the name of the setting that names the file of a secret.
const fileSuffix = "-file"

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s is over %d bytes", path, maxFile)
	}
	return content, err
}

// line is a key and a value of a file.
type line struct {
	name  string
	value ast.Node
	at    int // counted from 1
}

// mapping parses a YAML document that is one mapping, or empty.
func mapping(content []byte) ([]line, error) {
	body, err := parse(content)
	if err != nil || body == nil {
		return nil, err
	}
	values, ok := mapped(body)
	if !ok {
		return nil, errors.New("it is not a list of names with values")
	}
	var lines []line
	for _, v := range values {
		t := v.Key.GetToken()
		lines = append(lines, line{t.Value, v.Value, t.Position.Line})
	}
	return lines, nil
}

// scalar returns a value as a flag would be written; a list is comma-separated.
func scalar(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	case *ast.SequenceNode:
		var all []string
		for _, v := range n.Values {
			if _, nested := v.(*ast.SequenceNode); nested {
				return "", errors.New("a list in a list is nothing that is wanted here")
			}
			s, err := scalar(v)
			if err != nil {
				return "", err
			}
			if strings.Contains(s, ",") {
				return "", errors.New("a member of the list has a comma in it")
			}
			all = append(all, s)
		}
		return strings.Join(all, ","), nil
	}
	return "", errors.New("want a string, a number, true, false, or a list of them")
}
