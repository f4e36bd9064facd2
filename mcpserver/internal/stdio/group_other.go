//go:build !unix

package stdio

import "os/exec"

// Where there are no process groups, the process is ended alone.

func group(*exec.Cmd) {}

func terminate(c *exec.Cmd) { _ = c.Process.Kill() }

func kill(c *exec.Cmd) { _ = c.Process.Kill() }
