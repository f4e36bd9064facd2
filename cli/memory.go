package cli

import (
	"bufio"
	"bytes"
	iofs "io/fs"
	"math"
	"strconv"
	"strings"
)

// usualMemory is the limit when the size of the memory is not known, in bytes.
const usualMemory = 1 << 30

// memoryLimit returns the soft memory limit of a program that collects garbage rarely: half of the
// machine's memory, or of what this process may have. root is the root of the file system.
func memoryLimit(root iofs.FS) int64 {
	there := int64(math.MaxInt64)
	less := func(text string, unit int64) {
		if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil && n > 0 && n < math.MaxInt64/unit {
			// "max" is no number
			there = min(there, n*unit)
		}
	}
	groups := []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"}
	own, _ := iofs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(own)) {
		if group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok && group != "" {
			groups = append(groups, "sys/fs/cgroup/"+group+"/memory.max")
		}
	}
	for _, group := range groups {
		if text, err := iofs.ReadFile(root, group); err == nil {
			less(string(text), 1)
		}
	}
	machine, _ := iofs.ReadFile(root, "proc/meminfo")
	for lines := bufio.NewScanner(bytes.NewReader(machine)); lines.Scan(); {
		if total, ok := strings.CutPrefix(lines.Text(), "MemTotal:"); ok {
			less(strings.TrimSuffix(total, "kB"), 1<<10)
		}
	}
	if there == math.MaxInt64 {
		return usualMemory
	}
	return there / 2
}
