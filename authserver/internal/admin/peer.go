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

// asHeader is the name that the operator stated, on its way through the socket.
const asHeader = "Gatehouse-Operator"

// peerPrefix begins the address of a connection to the socket; the name of the local user who made
// it follows.
const peerPrefix = "user:"

// peer is a connection to the socket. Its address names who is at the other end.
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
		return peer{c, LocalUser()}, nil // nobody else but root can open the socket
	}
	return peer{c, userName(uid)}, nil
}

// named is a context in which whoever sent a request acts.
func named(r *http.Request) context.Context {
	local, _ := strings.CutPrefix(r.RemoteAddr, peerPrefix)
	return audit.WithOperator(r.Context(), r.Header.Get(asHeader), local)
}

// LocalUser is the name of the user as whom this process runs; "uid-NUMBER" when the system has no
// name for them.
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

// plain is a user's name as the audit can hold it.
func plain(name, uid string) string {
	if audit.ValidOperator(name) {
		return name
	}
	return "uid-" + uid
}
