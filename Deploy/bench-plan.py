"""What the model of scale says of three small clusters, beside what the load tester measures of them: make bench-plan.

Calibrates first. Cluster and load tester share the machine, in the model as well. What the load tester itself costs is measured, from two
runs of different length. Each is asked in phases of some seconds, of which the median counts, since the machine has bad seconds. One JSON object a line;
the ratios are predicted to measured. `slowness` is what a fixed piece of work took beside the scenario, to what it took beside the calibration, or at the
beginning when a profile is given: where it is not near one, the machine that was measured was another one than the one that was calibrated.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from loaded_cluster import ask, load, read
from harness import BINARIES, Cluster
from needletail.v1 import cluster_pb2

BASE, QUERY = sys.argv[1], sys.argv[2]
PROFILE = sys.argv[3] if len(sys.argv) > 3 else None
SECONDS, PHASES = 2, 7
SCENARIOS = [("one shard", 1, 1, 1), ("two shards on two workers", 2, 2, 1), ("four shards twice on two workers", 2, 4, 2)]


def piece_of_work():
    """Milliseconds of processor time, the median of some tries."""
    times = []
    for _ in range(50):
        begin = time.process_time()
        sum(number * number for number in range(100_000))
        times.append((time.process_time() - begin) * 1000)
    return statistics.median(times)


def main():
    rows = read(BASE)
    with tempfile.TemporaryDirectory(prefix="needletail-bench-") as name:
        folder = pathlib.Path(name)
        profile = PROFILE or str(folder / "profile.json")
        works = [piece_of_work()]
        if not PROFILE:
            subprocess.run([str(BINARIES / "needletail-bench"), "calibrate", "--base", BASE, "--query", QUERY, "--points", str(len(rows)),
                            "--out", profile], check=True)
            works.append(piece_of_work())
        ef = json.loads(pathlib.Path(profile).read_text())["ef"]
        for title, workers, shards, replicas in SCENARIOS:
            with Cluster(workers) as cluster:
                load(cluster, rows, shards, replicas)
                ask(cluster, folder, BASE, QUERY, ef, 2)
                beside = [piece_of_work()]
                short, long = (ask(cluster, folder, BASE, QUERY, ef, SECONDS, phases=phases) for phases in (1, PHASES))
                client = (long[3] - short[3]) / (PHASES * long[0] - short[0]) * 1e6
                highest = long[0] / SECONDS
                rate = int(highest / 2)
                beside.append(piece_of_work())
                _, p50, p99, _ = ask(cluster, folder, BASE, QUERY, ef, SECONDS, rate, phases=PHASES)
                beside.append(piece_of_work())
                replicas_of = [r for s in cluster.cluster.Shards(cluster_pb2.ListShardsRequest(), timeout=10).shards for r in s.replicas]
                memory, disk = (sum(getattr(r, part) for r in replicas_of) for part in ("memory_bytes", "disk_bytes"))
            command = [str(BINARIES / "needletail-bench"), "simulate", "--profile", profile, "--workers", str(workers), "--shards", str(shards),
                       "--replicas", str(replicas), "--vectors", str(len(rows)), "--rate", str(rate), "--client", str(client)]
            predicted = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            measured = {"highest_rate": highest, "p50_ms": p50, "p99_ms": p99, "memory_bytes": memory, "disk_bytes": disk}
            slowness = statistics.mean(beside) / statistics.mean(works)
            print(json.dumps({"scenario": title, "client_us": round(client, 1), "rate": rate, "slowness": round(slowness, 3),
                              "measured": {k: round(v, 3) for k, v in measured.items()}, "predicted": {k: predicted[k] for k in measured},
                              "ratio": {k: round(predicted[k] / v, 3) for k, v in measured.items()}}), flush=True)


main()
