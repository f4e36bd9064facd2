package cli_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// An operator sees what is under way and what failed, and is refused what another replica does
// just now.
func TestJobsAtTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, "--demo=false").stop() // who serves makes the keys
	raw, err := sql.Open("sqlite", filepath.Join(dir, "gatehouse.db"))
	must(t, err)
	defer raw.Close()
	now := time.Now().Unix()
	for name, row := range map[string]string{
		"codes": fmt.Sprintf("2, 'elsewhere/ab12cd', %d, 0, %d, 40, 1500, 'running', ''", now+50, now-630),
		"keys": fmt.Sprintf("1, 'elsewhere/ab12cd', 0, %d, %d, 10000, 0, 'failed', 'taking away what is over: the "+
			"disk is full'", now+3030, now-630),
		"grants": fmt.Sprintf("1, 'elsewhere/ab12cd', %d, 0, %d, 10, 500, 'running', ''", now-1, now-630),
	} {
		_, err := raw.Exec("INSERT INTO jobs (name, run, holder, until, next_at, began_at, took_ms, removed, " +
			"outcome, error, after) VALUES ('" + name + "', " + row + ", '')")
		must(t, err)
	}
	code, out, stderr := run(t, "job", "list", "--data-dir", dir)
	if code != 0 {
		t.Fatal(code, stderr)
	}
	lines := map[string]string{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) > 0 && lines[fields[0]] == "" {
			lines[fields[0]] = strings.Join(fields, " ")
		}
	}
	for name, says := range map[string]string{
		"codes": "codes 10m 10m ago 40ms 1500 running - codes,", "keys": "keys 60m 10m ago 10s 0 failed in 50m keys,",
		"grants": "grants 10m 10m ago 10ms 500 broken off due grants", "audit": "audit 10m - - - - due records",
	} {
		if got := lines[name]; !strings.HasPrefix(got, says) {
			t.Errorf("%s: got %q, want it to begin %q", name, got, says)
		}
	}
	if _, wrong, _ := strings.Cut(out, "failed:"); !strings.Contains(wrong, "elsewhere/ab12cd") ||
		!strings.Contains(wrong, "the disk is full") {
		t.Errorf("it does not tell what failed:\n%s", out)
	}
	code, _, stderr = run(t, "job", "run", "codes", "--data-dir", dir)
	complaint(t, code, stderr, 1, "elsewhere/ab12cd runs the job codes since ")
	for _, name := range []string{"grants", "keys"} { // whose holder died; which failed
		if code, out, stderr := run(t, "job", "run", name, "--data-dir", dir); code != 0 ||
			!strings.HasPrefix(out, "job "+name+": 0 removed in ") {
			t.Errorf("%s: got %d %s%s", name, code, out, stderr)
		}
	}
	code, out, _ = run(t, "audit", "list", "--action", "job.run", "--data-dir", dir)
	if code != 0 || strings.Count(out, "job.run") != 4 || strings.Count(out, "refused") != 1 {
		t.Errorf("the records: got\n%s\nwant three acts, of which one was refused", out)
	}
	code, _, stderr = run(t, "job", "run", "--data-dir", dir)
	complaint(t, code, stderr, 2, "NAME is missing")
}
