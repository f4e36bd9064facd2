//go:build !unix

package stdio

import "os/exec"

// Without process groups, only the process itself is ended.

func group(*exec.Cmd) {}

func terminate(c *exec.Cmd) { _ = c.Process.Kill() }

func kill(c *exec.Cmd) { _ = c.Process.Kill() }
