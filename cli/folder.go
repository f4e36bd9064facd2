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

// errHeld says that another process holds the data directory.
var errHeld = errors.New("another process holds the data directory")

// lockWait is how long a process waits for another to let go of the data directory: a command takes
// less, and so does a server that stops.
const lockWait = 10 * time.Second

// lockPoll is how often it looks meanwhile.
const lockPoll = 20 * time.Millisecond

// folder is a data directory that this process holds for itself.
type folder struct {
	path string
	lock *os.File
}

// hold makes the data directory if it is not there, and takes it for the command of that name.
// errHeld, with the name of who has it, when another process does.
func hold(path, command string) (*folder, error) {
	hint := "choose a folder that you can write to with --data-dir"
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, misused(hint, fmt.Errorf("making the data directory: %w", err))
	}
	if err := os.Chmod(path, 0o700); err != nil { // it may have been there, and open to others
		return nil, misused(hint, fmt.Errorf("closing the data directory to others: %w", err))
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, misused(hint, fmt.Errorf("writing to the data directory: %w", err))
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

// holdInTime is hold, and waits while a command or a server that stops has the directory, but not
// for a server that answers.
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

// sign writes into the lock who holds the directory.
func (f *folder) sign(command string) error {
	err := f.lock.Truncate(0)
	if err == nil {
		_, err = f.lock.WriteAt(fmt.Appendf(nil, "%s %s (process %d)\n", Name, command, os.Getpid()), 0)
	}
	if err != nil {
		return misused("is the disk full?", fmt.Errorf("writing to the data directory: %w", err))
	}
	return nil
}

// holder reads from a lock who holds it.
func holder(lock *os.File) string {
	text, err := io.ReadAll(io.NewSectionReader(lock, 0, 200))
	if who := strings.TrimSpace(string(text)); err == nil && who != "" {
		return who
	}
	return "a process that did not leave its name"
}

// release lets others have the directory. The file stays: removing it would let two processes hold
// two files of one name.
func (f *folder) release() error { return f.lock.Close() }

// prepare makes the files that must be there before the database is opened: the key that seals the
// signing keys, and the database itself, empty, so that nobody but the owner can ever read it.
func (s *settings) prepare() error {
	if !s.embedded() {
		if s.keyEncryptionKey == "" {
			return misused("make one with: head -c 32 /dev/urandom | base64; and give it as "+
				"GATEHOUSE_KEY_ENCRYPTION_KEY to every replica",
				errors.New("key-encryption-key is not set, which PostgreSQL needs"))
		}
		return nil
	}
	_, err := os.Stat(s.ledgerPath())
	fresh := errors.Is(err, fs.ErrNotExist)
	if s.keyEncryptionKey == "" {
		if err := s.sealingKey(fresh); err != nil {
			return err
		}
	}
	for _, path := range []string{s.ledgerPath(), filepath.Join(s.dataDir, "companion.db")} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return misused("choose a folder that you can write to with --data-dir",
				fmt.Errorf("opening the database: %w", err))
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("making the database: %w", err)
		}
	}
	return nil
}

// sealingKey reads the key-encryption key, or makes it when nothing can be sealed with an earlier
// one yet. Where a change of the key was cut short, both keys are there, and what is stored lies
// under either.
func (s *settings) sealingKey(fresh bool) error {
	path := s.keyPath()
	key, err := readKey(path)
	switch {
	case err == nil:
		s.keyEncryptionKey, s.keyKept = key, true
		next, err := readKey(path + nextKey)
		switch {
		case err == nil:
			s.keyTurning = true
			s.lives.PreviousKeyEncryptionKey = config.Secret(strings.Trim(s.lives.PreviousKeyEncryptionKey.Reveal()+","+
				next.Reveal(), ","))
		case !errors.Is(err, fs.ErrNotExist):
			return misused("its owner must be who runs the program",
				fmt.Errorf("reading the next key-encryption key: %w", err))
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return misused("its owner must be who runs the program", fmt.Errorf("reading the key-encryption key: %w", err))
	case !fresh:
		return misused("put it back from where you keep a copy: without it nothing can open the signing keys in the "+
			"database", fmt.Errorf("%s is missing", path))
	}
	s.keyEncryptionKey, s.keyKept = newKey(), true
	return keep(path, s.keyEncryptionKey.Reveal()+"\n")
}

// nextKey ends the name of the file in which the key lies that is to take the place of the one in
// use.
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

// rekey changes the key-encryption key in its file: the next one lies beside it, then everything is
// sealed under that, then it is the one. Wherever that is cut short, what is stored lies under a
// key that lies in a file; the next change, or the next start, goes on with the same key.
func (s *settings) rekey(next config.Secret, seal func(config.Secret) error) error {
	path := s.keyPath()
	pending, err := readKey(path + nextKey)
	switch {
	case err == nil && next != "" && next != pending:
		return &authserver.Refusal{Reason: "an earlier change of the key was cut short",
			Hint: Name + " key reseal without a file finishes that one"}
	case err == nil:
		next = pending
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("reading the next key-encryption key: %w", err)
	default:
		if next == "" {
			next = newKey()
		}
		if err := keep(path+nextKey, next.Reveal()+"\n"); err != nil {
			return err
		}
	}
	if err := seal(next); err != nil {
		return err // under which of the two everything lies may be unknown, so both stay
	}
	if err := os.Rename(path+nextKey, path); err != nil {
		return fmt.Errorf("putting the new key-encryption key in its place: %w", err)
	}
	return flush(s.dataDir)
}

// flush waits until the names in a folder are on the disk.
func flush(folder string) error {
	if runtime.GOOS == "windows" { // it opens no folders, and saves their names by itself
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

// keep writes a file that only its owner can read, whole or not at all.
func keep(path, text string) error {
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
