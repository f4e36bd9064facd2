// Package config reads settings from flags, the environment and a file, under the same names.
package config

import (
	"flag"
	"log/slog"
)

// Secret is a setting that is never shown: it prints as "[secret]"; Reveal returns its value.
type Secret string

// Reveal returns the value. Call it only where the value is used.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the value from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// IsSecret says whether a flag holds a secret, which is never shown.
func IsSecret(f *flag.Flag) bool {
	_, secret := f.Value.(*secretValue)
	return secret
}

// SecretVar defines a flag for a secret. Set it by the environment or a file, because other users
// of the machine can read the command line.
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
