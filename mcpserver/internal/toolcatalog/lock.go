package toolcatalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Lock is what was approved: fingerprints of tools, by server and name.
type Lock struct {
	Version   int                          `json:"version"`
	Upstreams map[string]map[string]string `json:"upstreams"`
}

// lockVersion is the version of lock files. Those of version 1 have fingerprints of a part of the
// tool: they approve nothing.
const lockVersion = 2

// NewLock returns a lock that approves nothing.
func NewLock() Lock { return Lock{Version: lockVersion, Upstreams: map[string]map[string]string{}} }

// ReadLock reads a lock file. A missing one approves nothing.
func ReadLock(path string) (Lock, error) {
	l := NewLock()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err == nil && l.Version == 1 {
		return NewLock(), nil
	}
	if err == nil && l.Version != lockVersion {
		err = fmt.Errorf("it has version %d, and %d is known", l.Version, lockVersion)
	}
	if err != nil {
		return Lock{}, fmt.Errorf("reading the lock file %s: %w", path, err)
	}
	if l.Upstreams == nil {
		l.Upstreams = map[string]map[string]string{}
	}
	return l, nil
}

// Approve replaces the approved tools of a server.
func (l Lock) Approve(upstream string, tools []Tool) {
	approved := map[string]string{}
	for _, t := range tools {
		approved[t.Name] = t.Fingerprint()
	}
	l.Upstreams[upstream] = approved
}

// Write writes the lock file, whole or not at all.
func (l Lock) Write(path string) error {
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the lock file: %w", err)
	}
	return replace(path, append(text, '\n'))
}

func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}
