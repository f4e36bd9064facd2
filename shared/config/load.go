package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// LoadOptions say where settings come from.
type LoadOptions struct {
	Args     []string            // the command line, without the program and command names
	Getenv   func(string) string // nil: os.Getenv
	Prefix   string              // of environment variables, e.g. "GATEHOUSE_"
	FileFlag string              // the flag that names a JSON file; empty: there is none
}

// Load sets fs's flags: the command line wins over the environment, the environment over the file, the file over the default. A flag "data-dir" is
// GATEHOUSE_DATA_DIR in the environment and "data-dir" in the file; a secret may be in a file that GATEHOUSE_NAME_FILE names. Errors say which
// setting, from where, and what is accepted. flag.ErrHelp is passed on.
func Load(fs *flag.FlagSet, o LoadOptions) error {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if err := fs.Parse(o.Args); err != nil {
		return err
	}
	if fs.NArg() > 0 && fs.Usage == nil {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if err := fromEnvironment(fs, o, given); err != nil {
		return err
	}
	if o.FileFlag == "" {
		return nil
	}
	path := fs.Lookup(o.FileFlag).Value.String()
	if path == "" {
		return nil
	}
	return fromFile(fs, path, given)
}

func fromEnvironment(fs *flag.FlagSet, o LoadOptions, given map[string]bool) error {
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		if given[f.Name] {
			return
		}
		name := o.Prefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, source := o.Getenv(name), name
		if _, secret := f.Value.(*secretValue); secret && value == "" {
			if path := o.Getenv(name + "_FILE"); path != "" {
				content, err := os.ReadFile(path)
				if err != nil {
					errs = append(errs, fmt.Errorf("%s_FILE: %w", name, err))
					return
				}
				value, source = strings.TrimSpace(string(content)), name+"_FILE"
			}
		}
		if value == "" {
			return
		}
		given[f.Name] = true
		if err := fs.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", source, refused(f, err)))
		}
	})
	return errors.Join(errs...)
}

// maxFile bounds a configuration file.
const maxFile = 1 << 20

func fromFile(fs *flag.FlagSet, path string, given map[string]bool) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil || len(content) > maxFile {
		return fmt.Errorf("configuration file %s cannot be read, or is over 1 MiB", path)
	}
	var settings map[string]json.RawMessage
	d := json.NewDecoder(bytes.NewReader(content))
	if err := d.Decode(&settings); err != nil {
		return fmt.Errorf("configuration file %s is not one JSON object (at byte %d): %w", path, d.InputOffset(), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("configuration file %s: something follows the JSON object", path)
	}
	for name, raw := range settings {
		setting := fs.Lookup(name)
		if setting == nil {
			return fmt.Errorf("configuration file %s: there is no setting %q; there are: %s", path, name, strings.Join(names(fs), ", "))
		}
		value, err := scalar(raw)
		if err != nil {
			return fmt.Errorf("configuration file %s: %s: %w", path, name, err)
		}
		if given[name] {
			continue
		}
		if err := fs.Set(name, value); err != nil {
			return fmt.Errorf("configuration file %s: %s: %w", path, name, refused(setting, err))
		}
	}
	return nil
}

// scalar writes a JSON string, number or boolean as a flag would be written.
func scalar(raw json.RawMessage) (string, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case json.Number:
		return v.String(), nil
	}
	return "", errors.New("want a string, a number, true or false")
}

// refused keeps a secret out of the error that refuses it.
func refused(f *flag.Flag, err error) error {
	if _, secret := f.Value.(*secretValue); secret {
		return errors.New("this value is not accepted")
	}
	return err
}

func names(fs *flag.FlagSet) []string {
	var all []string
	fs.VisitAll(func(f *flag.Flag) { all = append(all, f.Name) })
	slices.Sort(all)
	return all
}

// SecretVar defines a flag whose value never shows. Give it in the environment or in a file rather than on the command line, which other people of
// the machine can read.
func SecretVar(fs *flag.FlagSet, p *Secret, name, usage string) {
	fs.Var((*secretValue)(p), name, usage)
}

type secretValue Secret

func (s *secretValue) Set(v string) error { *s = secretValue(v); return nil }

func (s *secretValue) String() string {
	if s == nil {
		return ""
	}
	return Secret(*s).String()
}
