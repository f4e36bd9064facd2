package cimd_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cimd"
)

// C8: a document that cannot be fetched because of this machine was blamed on the application's
// makers.
func TestNoWayOutIsNotTheApplicationsFault(t *testing.T) {
	dial := func(err error) error {
		return fmt.Errorf("fetching a document: %w",
			&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)})
	}
	for what, row := range map[string]struct {
		err  error
		want bool
	}{
		"no route":   {dial(syscall.ENETUNREACH), true},
		"no network": {dial(syscall.ENETDOWN), true},
		"no name server answers": {fmt.Errorf("x: %w",
			&net.DNSError{Err: "server misbehaving", Name: "app.example", IsTemporary: true}), true},
		"the name server does not say": {&net.DNSError{Err: "i/o timeout", Name: "app.example", IsTimeout: true}, true},
		"a host that is not there": {&net.DNSError{Err: "no such host", Name: "app.example", IsNotFound: true},
			false},
		"a port that is closed": {dial(syscall.ECONNREFUSED), false},
		"another error":         {errors.New("404"), false},
	} {
		if got := cimd.NoRoute(row.err); got != row.want {
			t.Errorf("%s: got %v, want %v", what, got, row.want)
		}
	}
}
