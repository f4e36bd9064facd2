#!/usr/bin/env bash
# Runs all tests of the workspace under the race detector. Shows one line a package, all of what a
# failing package said, and at the end what was skipped and why. Arguments go to go test
# (scripts/test.sh -run TestWalls).
set -euo pipefail
cd "$(dirname "$0")/.."

# At the end of each program the race detector sleeps for a second, in which nothing of ours goes on
# any more.
export GORACE="atexit_sleep_ms=0 ${GORACE:-}"

# e2e takes the longest, so that it begins first. SQLite, which is C turned into Go, keeps its data
# outside of Go's memory, where the race detector sees nothing: it is compiled without it, and takes
# a sixth of the time. What calls it (modernc.org/sqlite itself, and all of ours) is watched.
go test -race -timeout 45m -gcflags=modernc.org/sqlite/lib=-race=false \
  -gcflags=modernc.org/libc=-race=false -v "$@" ./e2e work 2>&1 | awk '
  { held = held $0 "\n" }
  /^ *--- PASS/ { passed++ }
  /^ *--- FAIL/ { failed++ }
  /^ *--- SKIP/ { skipped++; sub(/^ *--- SKIP: /, ""); sub(/ \(.*/, ""); skips = skips "  " $0 ": " why "\n" }
  /^ +[^ ]+_test\.go:[0-9]+: / { why = $0; sub(/^ +[^ ]+: /, "", why) }
  /^FAIL\t/ { printf "%s", held; held = ""; broken++; next }
  /^(ok  |\?   )\t/ { if (!/no test files/ && !/no tests to run/) print; held = ""; next }
  END {
    printf "%s", held
    if (skips != "") printf "\nskipped:\n%s", skips
    printf "\n%d passed, %d failed, %d skipped\n", passed, failed, skipped
    if (broken) printf "packages that failed: %d\n", broken
  }'
