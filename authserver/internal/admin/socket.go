package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// The names of the socket, and of the file in the data directory that says where it is.
const (
	socketName  = "admin.sock"
	addressName = "admin.addr"
	ownPrefix   = "gatehouse-admin-" // begins the directories for sockets whose path would be too long
)

// maxPath bounds a socket's path in bytes: the least that known systems allow is 104 with the
// terminating zero.
const maxPath = 100

// Listen opens the operator socket of a data directory, for this process's user only, and writes
// its path into the directory. The caller holds the directory: what an earlier server left is
// removed. Closing the listener removes both files.
func Listen(dir string) (net.Listener, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the data directory: %w", err)
	}
	sweep(dir)
	home := dir
	if len(filepath.Join(dir, socketName)) > maxPath {
		if home, err = os.MkdirTemp("", ownPrefix); err != nil { // mode 0700
			return nil, fmt.Errorf("making a directory for the operator's socket: %w", err)
		}
	}
	path := filepath.Join(home, socketName)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the operator's socket: %w", err)
	}
	s := &socket{Listener: l, dir: dir}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("closing the operator's socket to others: %w", err), s.Close())
	}
	if err := os.WriteFile(filepath.Join(dir, addressName), []byte(path+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("leaving word of the operator's socket: %w", err), s.Close())
	}
	return s, nil
}

// socket is a listener that removes its files.
type socket struct {
	net.Listener
	dir string
}

func (s *socket) Close() error {
	err := s.Listener.Close()
	sweep(s.dir)
	return err
}

// sweep removes the socket of a data directory. What cannot be removed is reported by Listen.
func sweep(dir string) {
	path, err := address(dir)
	if err == nil && strings.HasPrefix(filepath.Base(filepath.Dir(path)), ownPrefix) &&
		filepath.Base(path) == socketName {
		_ = os.Remove(path)
		_ = os.Remove(filepath.Dir(path))
	}
	_ = os.Remove(filepath.Join(dir, socketName))
	_ = os.Remove(filepath.Join(dir, addressName))
}

// address reads the path of a data directory's socket, or returns ErrNoServer.
func address(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, addressName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoServer
	}
	if err != nil {
		return "", fmt.Errorf("reading where the operator's socket is: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
