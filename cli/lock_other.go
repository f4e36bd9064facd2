//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package cli

import "os"

// take does nothing where there is no flock: on such a system two servers on one data directory are
// kept apart by their ports only.
func take(*os.File) error { return nil }
