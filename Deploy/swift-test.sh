#!/usr/bin/env bash
# `swift test` with a line per suite; when something fails, what failed, and at its end: the whole log has thousands of lines.
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
swift test "$@" 2>&1 | tee "$log" | grep -aE --line-buffered '^. Suite .* (passed|failed) after|^. Test run with|^Build complete'
status=${PIPESTATUS[0]}
if [ "$status" -ne 0 ]; then
  echo "What failed:"
  grep -aE -A8 '✘|error:|Fatal error|seed' "$log" | tail -n 200
  echo "The end of the log:"
  tail -n 40 "$log"
fi
exit "$status"
