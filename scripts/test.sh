#!/usr/bin/env bash
# Runs all tests of the workspace under the race detector. Shows one line a package, all of what a failing package said, and at the end what
# was skipped and why. Arguments go to go test (scripts/test.sh -run TestWalls).
set -euo pipefail
cd "$(dirname "$0")/.."

go test -race -v "$@" work 2>&1 | awk '
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
