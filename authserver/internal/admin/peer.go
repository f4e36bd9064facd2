package admin

import (
	"context"
	"net"
	"net/http"
	"os/user"
	"strconv"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// asHeader carries the name that the operator stated.
const asHeader = "Gatehouse-Operator"

// peerPrefix begins the address of a connection to the socket; the name of the local user follows.
const peerPrefix = "user:"

// peer is a connection to the socket whose address names the user at the other end.
type peer struct {
	net.Conn
	name string
}

func (p peer) RemoteAddr() net.Addr { return peerAddr(p.name) }

type peerAddr string

func (peerAddr) Network() string  { return "unix" }
func (a peerAddr) String() string { return peerPrefix + string(a) }

// Accept waits for a connection, and asks the operating system whose it is.
func (s *socket) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	uid, ok := peerUser(c)
	if !ok {
		return peer{c, LocalUser()}, nil // only this user and root can open the socket
	}
	return peer{c, userName(uid)}, nil
}

// named returns a context in which the sender of a request acts.
func named(r *http.Request) context.Context {
	local, _ := strings.CutPrefix(r.RemoteAddr, peerPrefix)
	return audit.WithOperator(r.Context(), r.Header.Get(asHeader), local)
}

// LocalUser returns the name of this process's user, or "uid-NUMBER" when the system has none.
func LocalUser() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return plain(u.Username, u.Uid)
}

func userName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	u, err := user.LookupId(number)
	if err != nil {
		return "uid-" + number
	}
	return plain(u.Username, number)
}

// plain returns a user's name as the audit can store it.
func plain(name, uid string) string {
	if audit.ValidOperator(name) {
		return name
	}
	return "uid-" + uid
}
