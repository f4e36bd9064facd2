#!/usr/bin/env bash
# Builds and vets each module by itself, without the workspace, against releases of the others. With
# --tidy it tidies go.mod and go.sum of each instead.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/modules.sh
if [ -z "${TREE:-}" ]; then exec scripts/with-modules scripts/alone.sh "$@"; fi

for module in "${MODULES[@]}"; do
  echo "$module"
  (
    cd "$TREE/$module"
    if [ "${1:-}" != --tidy ]; then
      go build ./...
      go vet ./...
      exit
    fi
    go mod tidy
  )
  if [ "${1:-}" = --tidy ]; then
    sed "s| $VERSION\b| v0.1.0|" "$TREE/$module/go.mod" >"$module/go.mod"
    if [ -e "$TREE/$module/go.sum" ]; then grep -v "^$OURS[ /]" "$TREE/$module/go.sum" >"$module/go.sum" || true; fi
  fi
done
