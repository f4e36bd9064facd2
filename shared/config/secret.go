// Package config owns how an operator's words reach the program: flags, environment and file under
// the same names.
package config

import "log/slog"

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
