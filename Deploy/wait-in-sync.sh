#!/usr/bin/env bash
# Waits until every replica of every shard serves and is in sync: then one more process may be stopped without a shard missing it.
#
#     needletail-wait-in-sync SECONDS
#
# NEEDLETAIL_ENDPOINT names a coordinator. Ends with 0 when all is well, 1 when it is not in time, 2 when no coordinator has answered for half a
# minute, or in that time: as when the whole cluster is being removed.
set -euo pipefail

seconds=${1:?how many seconds to wait at most, as: needletail-wait-in-sync 300}
# What a worker that stopped a moment ago had said last still counts as its state until its lease, of 2 s, ends: so look more than once.
looks=4
patience=30
deadline=$((SECONDS + seconds))
answered=$SECONDS
well=0
while true; do
    if ! shards=$(needletail cluster shards --json --timeout 5 2>&1) || [[ $shards != "["* ]]; then
        result=2 well=0 what=$shards
        if ((SECONDS - answered >= patience)); then deadline=$SECONDS; fi
    else
        result=1 answered=$SECONDS
        if what=$(grep -oE '"in_sync":false|"state":"[^"]*"' <<<"$shards" | grep -v '"state":"ready"' | sort | uniq -c); then
            well=0
        else
            well=$((well + 1)) what="it has been well for less than $looks s"
        fi
    fi
    if ((well >= looks)); then exit 0; fi
    if ((SECONDS >= deadline)); then
        echo "not everything is in sync; see needletail status: $what" >&2
        exit "$result"
    fi
    sleep 1
done
