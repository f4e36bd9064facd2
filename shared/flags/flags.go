// Package flags defines the types of flags that the programs share: lists, URLs, secrets and
// durations.
package flags

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// value is a flag's value. Its kind is the type that the help shows.
type value struct {
	kind string
	set  func(string) error
	text func() string
}

func (v *value) Set(s string) error { return v.set(s) }

func (v *value) String() string {
	if v.text == nil { // pflag asks the zero value
		return ""
	}
	return v.text()
}

func (v *value) Type() string { return v.kind }

// Var defines a flag whose type is shown as kind. set reads a value, text writes the present one.
func Var(fs *pflag.FlagSet, kind, name, usage string, set func(string) error, text func() string) {
	fs.Var(&value{kind, set, text}, name, usage)
}

// ListVar defines a flag of values that are separated by commas. A repeated flag adds to the list.
func ListVar(fs *pflag.FlagSet, p *[]string, name, usage string) {
	given := false
	Var(fs, "list", name, usage, func(s string) error {
		if !given {
			*p, given = nil, true
		}
		*p = append(*p, config.List(s)...)
		return nil
	}, func() string { return strings.Join(*p, ",") })
}

// StringsVar defines a flag that may be repeated, with one value each time.
func StringsVar(fs *pflag.FlagSet, p *[]string, name, usage string) {
	Var(fs, "string", name, usage, func(s string) error {
		*p = append(*p, s)
		return nil
	}, func() string { return strings.Join(*p, ",") })
}

// URLVar defines a flag that holds a URL. What is a valid one its user checks.
func URLVar(fs *pflag.FlagSet, p *string, name, usage string) {
	Var(fs, "url", name, usage, func(s string) error { *p = s; return nil }, func() string { return *p })
}

// OptionalDurationVar defines a duration of which 0 means none or forever. It is stored as a
// negative duration, because 0 in a configuration means the default.
func OptionalDurationVar(fs *pflag.FlagSet, p *time.Duration, name, usage string) {
	Var(fs, "duration", name, usage, func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is not a duration such as 30s", s)
		}
		if *p = d; d == 0 {
			*p = -1
		}
		return nil
	}, func() string { return max(*p, 0).String() })
}

// ShutdownDelayVar defines the flag shutdown-delay. The delay is negative when it is not given; see
// httpd.NewStop.
func ShutdownDelayVar(fs *pflag.FlagSet, delay *time.Duration) {
	*delay = -1
	usage := "time for which connections are accepted after /readyz has begun to answer 503 (default 2s with trusted " +
		"proxies, PostgreSQL or Redis, otherwise 0s)"
	Var(fs, "duration", "shutdown-delay", usage, func(s string) (err error) {
		if *delay, err = time.ParseDuration(s); err == nil && *delay < 0 {
			err = errors.New("a duration of 0s or more is expected")
		}
		return err
	}, func() string {
		if *delay < 0 {
			return ""
		}
		return delay.String()
	})
}

// SecretVar defines a flag whose value never shows. Give it in the environment or in a file rather
// than on the command line, which other users of the machine can read.
func SecretVar(fs *pflag.FlagSet, p *config.Secret, name, usage string) {
	fs.Var((*secret)(p), name, usage)
}

// IsSecret reports whether a flag was defined by SecretVar.
func IsSecret(f *pflag.Flag) bool {
	_, is := f.Value.(*secret)
	return is
}

type secret config.Secret

func (s *secret) Set(v string) error { *s = secret(v); return nil }

func (s *secret) String() string { return config.Secret(*s).String() }

func (s *secret) Type() string { return "string" }
