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

// The names of the socket, and of the file in the data directory that says where the socket is.
const (
	socketName  = "admin.sock"
	addressName = "admin.addr"
	ownPrefix   = "gatehouse-admin-" // of directories made for a socket whose path would be too long
)

// maxPath is how long a socket's path may be, in bytes: the least that the systems we know take is
// 104 with its end.
const maxPath = 100

// Listen opens the operator's socket of a data directory, for the owner of this process only, and
// leaves word in the directory where it is. The caller holds the directory for itself: what an
// earlier server left there is removed. Closing the listener removes both.
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

// socket is a listener that takes its traces with it.
type socket struct {
	net.Listener
	dir string
}

func (s *socket) Close() error {
	err := s.Listener.Close()
	sweep(s.dir)
	return err
}

// sweep removes the socket of a data directory. What is not there or not ours to remove stays, and
// Listen says so.
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

// address reads where the socket of a data directory is. ErrNoServer when no word was left.
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
