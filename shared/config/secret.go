// Package config owns how an operator's words reach the program: flags, environment and file under
// the same names.
package config

import (
	"flag"
	"log/slog"
)

// Secret is a setting that must not be shown. It prints as "[secret]" everywhere; Reveal is the one
// way to its value.
type Secret string

// Reveal returns the value. Call it only where the value is used.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// GoString keeps %#v quiet.
func (s Secret) GoString() string { return s.String() }

// LogValue keeps slog quiet.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps encoders quiet.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// IsSecret says whether a flag holds a secret, which is never shown.
func IsSecret(f *flag.Flag) bool {
	_, secret := f.Value.(*secretValue)
	return secret
}

// SecretVar defines a flag whose value never shows. Give it in the environment or in a file rather
// than on the command line, which other people of the machine can read.
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
