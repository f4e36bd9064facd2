// Package configfile reads settings from the command line, the environment and YAML files.
package configfile

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

// Options say where settings come from.
type Options struct {
	Getenv   func(string) string // nil: os.Getenv
	Prefix   string              // of environment variables, e.g. "GATEHOUSE_"
	FileFlag string              // the flag that names a YAML file; empty: there is none
	// reports whether a flag is a setting, which the environment and the file may hold; nil: every
	// flag is
	Setting func(name string) bool
}

// Origin has the source of each setting, for people: "command line", "environment
// GATEHOUSE_ISSUER", "gatehouse.yaml line 3". A setting that is not in it has its default.
type Origin map[string]string

// Load sets the flags of fs that were not given on the command line, which has been parsed: the
// environment wins over the file, the file over the default. A flag "data-dir" is
// GATEHOUSE_DATA_DIR in the environment and data-dir in the file, where a list may be a YAML list.
// A secret may be in a file that GATEHOUSE_NAME_FILE, or name-file, names. Errors name the setting,
// its source, and what is accepted.
func Load(fs *pflag.FlagSet, o Options) (Origin, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Setting == nil {
		o.Setting = func(string) bool { return true }
	}
	from := Origin{}
	fs.Visit(func(f *pflag.Flag) { from[f.Name] = "command line" })
	if err := fromEnvironment(fs, o, from); err != nil {
		return nil, err
	}
	if o.FileFlag == "" {
		return from, nil
	}
	path := fs.Lookup(o.FileFlag).Value.String()
	if path == "" {
		return from, nil
	}
	return from, fromFile(fs, path, o, from)
}

func fromEnvironment(fs *pflag.FlagSet, o Options, from Origin) error {
	var errs []error
	fs.VisitAll(func(f *pflag.Flag) {
		if from[f.Name] != "" || !o.Setting(f.Name) {
			return
		}
		name := o.Prefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, source := o.Getenv(name), name
		if path := o.Getenv(name + "_FILE"); flags.IsSecret(f) && value == "" && path != "" {
			source = name + "_FILE"
			var err error
			if value, err = readSecret(path); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", source, err))
				return
			}
		}
		if value == "" {
			return
		}
		from[f.Name] = "environment " + source
		if err := fs.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", source, refused(f, err)))
		}
	})
	return errors.Join(errs...)
}

func readSecret(path string) (string, error) {
	content, err := os.ReadFile(path)
	return strings.TrimSpace(string(content)), err
}

// refused keeps a secret out of the error about its value.
func refused(f *pflag.Flag, err error) error {
	if flags.IsSecret(f) {
		return errors.New("this value is not accepted")
	}
	return err
}
