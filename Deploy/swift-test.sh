#!/usr/bin/env bash
# `swift test` with a line per suite; when something fails, the end of the log, which has thousands of lines, and then what failed, with the seeds
# to repeat it: that comes last, since it is what is looked for.
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
swift test "$@" 2>&1 | tee "$log" | grep -aE --line-buffered '^. Suite .* (passed|failed) after|^. Test run with|^Build complete'
status=${PIPESTATUS[0]}
if [ "$status" -ne 0 ]; then
  echo "The end of the log:"
  tail -n 20 "$log"
  echo "What failed:"
  grep -aE -A4 '✘|error:|Fatal error' "$log" | grep -avE 'NEEDLETAIL_SEED|^. Test .* (started|passed)' | tail -n 60
  sed -nE 's/^✘ Test ([A-Za-z0-9]+).*/\1/p' "$log" | sort -u | while read -r test; do grep -a "^$test.*NEEDLETAIL_SEED" "$log"; done
fi
exit "$status"
