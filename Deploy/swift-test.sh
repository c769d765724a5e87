#!/usr/bin/env bash
# `swift test`, which says once more at its end what failed: the hundreds of lines of what passed may stand between.
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
swift test "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
if [ "$status" -ne 0 ]; then
  echo "What failed:"
  grep -aE '✘|error:|Fatal error|seed' "$log"
fi
exit "$status"
