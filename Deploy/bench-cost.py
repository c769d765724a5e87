"""Searches a second of a coordinator and two workers, and what one costs each process, from one client, eight and 64: make bench-cost.

With NEEDLETAIL_BEFORE_BIN, a folder of older binaries, both take turns on clusters of their own. One JSON object a line.
"""

import contextlib
import json
import os
import pathlib
import sys
import tempfile

from loaded_cluster import ask, load, read
import harness

BASE, QUERY = sys.argv[1], sys.argv[2]
ROUNDS, SECONDS = int(os.environ.get("ROUNDS", 3)), int(os.environ.get("SECONDS_EACH", 8))
POINTS, EF = int(os.environ.get("POINTS", 300_000)), 24


def processor(process):
    """Microseconds that a process has run."""
    fields = pathlib.Path(f"/proc/{process.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") * 1e6


def main():
    rows = read(BASE)[:POINTS]
    arms = {"now": harness.BINARIES}
    if before := os.environ.get("NEEDLETAIL_BEFORE_BIN"):
        arms["before"] = pathlib.Path(before)
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory(prefix="needletail-bench-") as name:
        clusters = {}
        for arm, binaries in arms.items():
            harness.BINARIES = binaries
            clusters[arm] = stack.enter_context(harness.Cluster(2))
            load(clusters[arm], rows, 2, 1)
        for clients in (1, 8, 64):
            for turn in range(ROUNDS):
                for arm, cluster in clusters.items():
                    parts = {"coordinator": [cluster.coordinator], "workers": cluster.workers}
                    spent = {part: sum(map(processor, processes)) for part, processes in parts.items()}
                    count, p50, p99, _ = ask(cluster, pathlib.Path(name), BASE, QUERY, EF, SECONDS, workers=clients)
                    cost = {f"{part}_us": round((sum(map(processor, processes)) - spent[part]) / count, 1) for part, processes in parts.items()}
                    print(json.dumps({"arm": arm, "clients": clients, "turn": turn, "per_second": round(count / SECONDS), "p50_ms": p50, "p99_ms": p99,
                                      **cost}), flush=True)


main()
