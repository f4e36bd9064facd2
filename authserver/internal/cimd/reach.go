package cimd

import (
	"errors"
	"net"
	"syscall"
)

// NoRoute reports whether a document could not be fetched because of this machine and not because
// of its host: there is no route to the internet, or no name server answers.
func NoRoute(err error) bool {
	if errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ENETDOWN) {
		return true
	}
	var lookup *net.DNSError
	return errors.As(err, &lookup) && !lookup.IsNotFound
}

// CheckRoute reports whether this machine has a route to the internet. It sends nothing: it
// connects a UDP socket to an address that is reserved for documentation (RFC 5737).
func CheckRoute() error {
	conn, err := net.Dial("udp", "192.0.2.1:443")
	if err != nil {
		return err
	}
	return conn.Close()
}
