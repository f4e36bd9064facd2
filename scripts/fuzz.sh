#!/usr/bin/env bash
# Runs the fuzz targets of the workspace one after another, each for a time: scripts/fuzz.sh [TIME
# [TARGET…]]. The default is 30s, and every target that there is. What it finds, go test writes into
# the package's testdata/fuzz: commit it with the cure, and it is a test from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-30s}
shift || true
targets=$(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's|/[^/]*:func | |' | sort -u)
for wanted in "$@"; do
  grep -q " $wanted\$" <<<"$targets" || { echo "there is no target $wanted" >&2; exit 2; }
done

while read -r package target; do
  if [ $# -gt 0 ] && [[ " $* " != *" $target "* ]]; then continue; fi
  echo "== $target in $package, for $time"
  if ! said=$(go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$time" 2>&1 </dev/null); then
    echo "$said"
    exit 1
  fi
  tail -n 1 <<<"$said"
done <<<"$targets"
