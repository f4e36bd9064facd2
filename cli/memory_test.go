package cli

import (
	"testing"
	"testing/fstest"
)

// The gateway lets garbage lie until four times as much memory is in use as is needed: without a
// bound in bytes a busy one was killed by the machine.
func TestMemoryLimit(t *testing.T) {
	const meminfo = "MemTotal:        8000000 kB\nMemFree:         9999 kB\n"
	for name, row := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing is said": {nil, 1 << 30},
		"the machine":     {map[string]string{"proc/meminfo": meminfo}, 4_000_000 << 10},
		"a container": {map[string]string{"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "268435456\n",
			"proc/self/cgroup": "0::/\n"}, 128 << 20},
		"a container of old": {map[string]string{"proc/meminfo": meminfo,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n"}, 128 << 20},
		"no bound of old": {map[string]string{"proc/meminfo": meminfo,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 4_000_000 << 10},
		"a service": {map[string]string{"proc/meminfo": meminfo,
			"proc/self/cgroup": "0::/system.slice/gatehouse.service\n",
			"sys/fs/cgroup/system.slice/gatehouse.service/memory.max": "536870912\n"}, 256 << 20},
		"a service without one": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "max\n"}, 4_000_000 << 10},
		"a machine that is odd": {map[string]string{"proc/meminfo": "MemTotal: much\n"}, 1 << 30},
		"more than the machine?": {map[string]string{"proc/meminfo": meminfo,
			"sys/fs/cgroup/memory.max": "99999999999999\n"}, 4_000_000 << 10},
		"a path that is no path": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/../../x\n"},
			4_000_000 << 10},
	} {
		root := fstest.MapFS{}
		for path, text := range row.files {
			root[path] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := memoryLimit(root); got != row.want {
			t.Errorf("%s: got %d, want %d", name, got, row.want)
		}
	}
}
