package admin

import (
	"net"
	"syscall"
)

// peerUser returns the user at the other end of a socket, as the kernel knows it.
func peerUser(c net.Conn) (uid uint32, ok bool) {
	u, isUnix := c.(*net.UnixConn)
	if !isUnix {
		return 0, false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		if credentials, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			uid, ok = credentials.Uid, true
		}
	})
	return uid, ok && err == nil
}
