#!/usr/bin/env bash
# Waits until every replica of every shard serves and is in sync: then one more process may be stopped without a shard missing it.
#
#     needletail-wait-in-sync SECONDS
#
# NEEDLETAIL_ENDPOINT names a coordinator. Ends with 0 when all is well, 1 when it is not in time, 2 when no coordinator answers in time.
set -euo pipefail

seconds=${1:?how many seconds to wait at most, as: needletail-wait-in-sync 300}
# What a worker that stopped a moment ago had said last still counts as its state until its lease, of 2 s, ends: so look more than once.
looks=4
deadline=$((SECONDS + seconds))
well=0
while true; do
    if ! status=$(needletail status --json --timeout 5 2>&1); then
        result=2 well=0 what=$status
    elif what=$(grep -oE '"in_sync":false|"state":"[^"]*"' <<<"$status" | grep -v '"state":"ready"' | sort | uniq -c); then
        result=1 well=0
    else
        well=$((well + 1))
    fi
    if ((well >= looks)); then exit 0; fi
    if ((SECONDS >= deadline)); then
        echo "not everything is in sync after $seconds s; see needletail status: ${what:-it has been so for less than $looks s}" >&2
        exit "${result:-1}"
    fi
    sleep 1
done
