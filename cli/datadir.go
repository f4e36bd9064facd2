package cli

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// errHeld means that another process has locked the data directory.
var errHeld = errors.New("another process holds the data directory")

// lockWait is how long a process waits for the lock on the data directory: a command takes less,
// and so does a server that shuts down.
const lockWait = 10 * time.Second

// lockPoll is how often it tries meanwhile.
const lockPoll = 20 * time.Millisecond

// folder is a data directory that this process has locked.
type folder struct {
	path string
	lock *os.File
}

// hold creates the data directory if it does not exist, and locks it for the command of that name.
// It returns errHeld, with the name of the process that has the lock, when another one does.
func hold(path, command string) (*folder, error) {
	hint := "choose a folder that you can write to with --data-dir"
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, usageError(hint, fmt.Errorf("making the data directory: %w", err))
	}
	if err := os.Chmod(path, 0o700); err != nil { // it may exist, readable by others
		return nil, usageError(hint, fmt.Errorf("closing the data directory to others: %w", err))
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, usageError(hint, fmt.Errorf("writing to the data directory: %w", err))
	}
	if err := take(lock); err != nil {
		if errors.Is(err, errHeld) {
			err = fmt.Errorf("%w: %s", err, holder(lock))
		}
		return nil, errors.Join(err, lock.Close())
	}
	f := &folder{path, lock}
	if err := f.sign(command); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return f, nil
}

// holdInTime is hold that waits for a command or a server that shuts down, but not for a running
// server.
func holdInTime(ctx context.Context, path, command string) (*folder, error) {
	for until := time.Now().Add(lockWait); ; {
		f, err := hold(path, command)
		if !errors.Is(err, errHeld) || time.Now().After(until) {
			return f, err
		}
		if _, reached := authserver.ReachOperator(ctx, path); reached == nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// sign writes into the lock which process has it.
func (f *folder) sign(command string) error {
	err := f.lock.Truncate(0)
	if err == nil {
		_, err = f.lock.WriteAt(fmt.Appendf(nil, "%s %s (process %d)\n", Name, command, os.Getpid()), 0)
	}
	if err != nil {
		return usageError("is the disk full?", fmt.Errorf("writing to the data directory: %w", err))
	}
	return nil
}

// holder reads from a lock which process has it.
func holder(lock *os.File) string {
	text, err := io.ReadAll(io.NewSectionReader(lock, 0, 200))
	if who := strings.TrimSpace(string(text)); err == nil && who != "" {
		return who
	}
	return "an unknown process"
}

// release unlocks the directory. The file stays: if it were removed, two processes could lock two
// files of one name.
func (f *folder) release() error { return f.lock.Close() }

// createFiles creates the files that must exist before the database is opened: the key-encryption
// key, and the database itself, empty, so that only its owner can ever read it.
func (s *settings) createFiles() error {
	if !s.embedded() {
		if s.keyEncryptionKey == "" {
			return usageError("make one with: head -c 32 /dev/urandom | base64; and give it as "+
				"GATEHOUSE_KEY_ENCRYPTION_KEY to every replica",
				errors.New("key-encryption-key is not set, which PostgreSQL needs"))
		}
		return nil
	}
	_, err := os.Stat(s.issuerPath())
	fresh := errors.Is(err, fs.ErrNotExist)
	if s.keyEncryptionKey == "" {
		if err := s.keyFromFile(fresh); err != nil {
			return err
		}
	}
	for _, path := range []string{s.issuerPath(), s.toolsPath()} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return usageError("choose a folder that you can write to with --data-dir",
				fmt.Errorf("opening the database: %w", err))
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("making the database: %w", err)
		}
	}
	return nil
}

// keyFromFile reads the key-encryption key, or creates it when nothing is encrypted yet. After an
// interrupted change of the key there are two, and the stored data may be encrypted with either.
func (s *settings) keyFromFile(fresh bool) error {
	path := s.keyPath()
	key, err := readKey(path)
	switch {
	case err == nil:
		s.keyEncryptionKey, s.keyKept = key, true
		next, err := readKey(path + nextKey)
		switch {
		case err == nil:
			s.keyTurning = true
			s.auth.PreviousKeyEncryptionKey = config.Secret(strings.Trim(s.auth.PreviousKeyEncryptionKey.Reveal()+","+
				next.Reveal(), ","))
		case !errors.Is(err, fs.ErrNotExist):
			return usageError("it must be owned by the user that runs the program",
				fmt.Errorf("reading the next key-encryption key: %w", err))
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return usageError("it must be owned by the user that runs the program",
			fmt.Errorf("reading the key-encryption key: %w", err))
	case !fresh:
		return usageError("restore it from a backup: without it the signing keys in the database cannot be "+
			"decrypted", fmt.Errorf("%s is missing", path))
	}
	s.keyEncryptionKey, s.keyKept = newKey(), true
	return writePrivate(path, s.keyEncryptionKey.Reveal()+"\n")
}

// nextKey is the suffix of the file with the next key, while the key is being changed.
const nextKey = ".next"

func (s *settings) keyPath() string { return filepath.Join(s.dataDir, "key-encryption-key") }

func newKey() config.Secret {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return config.Secret(base64.StdEncoding.EncodeToString(key))
}

func readKey(path string) (config.Secret, error) {
	text, err := os.ReadFile(path)
	return config.Secret(strings.TrimSpace(string(text))), err
}

// rekey changes the key-encryption key in its file: it writes the next key beside it, encrypts
// everything with that, and then renames it. When it is interrupted, the stored data are encrypted
// with a key that is in a file; the next change, or the next start, continues with the same key.
func (s *settings) rekey(next config.Secret, seal func(config.Secret) error) error {
	path := s.keyPath()
	pending, err := readKey(path + nextKey)
	switch {
	case err == nil && next != "" && next != pending:
		return &authserver.Refusal{Reason: "an earlier change of the key was interrupted",
			Hint: Name + " key reseal without a file finishes that one"}
	case err == nil:
		next = pending
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("reading the next key-encryption key: %w", err)
	default:
		if next == "" {
			next = newKey()
		}
		if err := writePrivate(path+nextKey, next.Reveal()+"\n"); err != nil {
			return err
		}
	}
	if err := seal(next); err != nil {
		return err // either key may be in use, so both stay
	}
	if err := os.Rename(path+nextKey, path); err != nil {
		return fmt.Errorf("replace the key-encryption key: %w", err)
	}
	return flush(s.dataDir)
}

// flush syncs the names in a folder to the disk.
func flush(folder string) error {
	if runtime.GOOS == "windows" { // it cannot sync folders
		return nil
	}
	d, err := os.Open(folder)
	if err != nil {
		return fmt.Errorf("opening the data directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("saving the data directory: %w", err)
	}
	return nil
}

// writePrivate writes a file that only its owner can read, whole or not at all.
func writePrivate(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(f.Name()))
	}
	return flush(filepath.Dir(path))
}
