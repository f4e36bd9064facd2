// Package configfile reads settings from the command line, the environment and YAML files.
package configfile

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// Options say where settings come from.
type Options struct {
	Args     []string            // the command line, without the program and command names
	Getenv   func(string) string // nil: os.Getenv
	Prefix   string              // of environment variables, e.g. "GATEHOUSE_"
	FileFlag string              // the flag that names a YAML file; empty: there is none
	// reports whether a flag is a setting, which the environment and the file may hold; nil: every
	// flag is
	Setting func(name string) bool
}

// Origin says where a setting's value comes from: "command line", "environment GATEHOUSE_ISSUER",
// "gatehouse.yaml line 3". A missing one has its default.
type Origin map[string]string

// Load sets fs's flags: the command line takes precedence over the environment, the environment
// over the file, the file over the default. A flag "data-dir" is GATEHOUSE_DATA_DIR in the
// environment and data-dir in the file, where a list may be used for comma-separated values; a
// secret may be in a file named by GATEHOUSE_NAME_FILE or name-file. Errors name the setting, its
// origin and what is accepted. flag.ErrHelp is returned unchanged.
func Load(fs *flag.FlagSet, o Options) (Origin, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Setting == nil {
		o.Setting = func(string) bool { return true }
	}
	if err := fs.Parse(o.Args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 && fs.Usage == nil {
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	from := Origin{}
	fs.Visit(func(f *flag.Flag) { from[f.Name] = "command line" })
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

func fromEnvironment(fs *flag.FlagSet, o Options, from Origin) error {
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		if from[f.Name] != "" || !o.Setting(f.Name) {
			return
		}
		name := o.Prefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, source := o.Getenv(name), name
		if path := o.Getenv(name + "_FILE"); config.IsSecret(f) && value == "" && path != "" {
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

// refused keeps a secret out of an error.
func refused(f *flag.Flag, err error) error {
	if config.IsSecret(f) {
		return errors.New("this value is not accepted")
	}
	return err
}
