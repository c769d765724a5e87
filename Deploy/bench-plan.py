"""What the model of scale says of three small clusters, beside what the load tester measures of them: make bench-plan.

Calibrates first. Cluster and load tester share the machine, in the model as well. What the load tester itself costs is measured, from two
runs of different length. One JSON object a line; the ratios are predicted to measured.
"""

import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Python")]

import conftest  # noqa: E402, F401  makes the stubs
from harness import BINARIES, Cluster  # noqa: E402
from needletail.v1 import cluster_pb2  # noqa: E402
from needletail.v1 import collections_pb2 as c  # noqa: E402
from needletail.v1 import points_pb2 as p  # noqa: E402

BASE, QUERY = sys.argv[1], sys.argv[2]
PROFILE = sys.argv[3] if len(sys.argv) > 3 else None
SCENARIOS = [("one shard", 1, 1, 1), ("two shards on two workers", 2, 2, 1), ("four shards twice on two workers", 2, 4, 2)]


def read(path):
    kind = {".fbin": "f4", ".f16bin": "f2", ".u8bin": "u1", ".i8bin": "i1"}[pathlib.Path(path).suffix]
    count, dimensions = np.fromfile(path, "u4", 2)
    return np.fromfile(path, kind, offset=8).reshape(count, dimensions).astype("f4")


def load(cluster, rows, shards, replicas):
    field = c.VectorField(name="v", dimensions=rows.shape[1], metric=c.METRIC_L2, index=c.IndexSpec(spec="lvq8"))
    cluster.collections.Create(c.CreateCollectionRequest(name="b", fields=[field], shard_count=shards, replication_factor=replicas), timeout=60)

    def requests():
        for start in range(0, len(rows), 5000):
            block = rows[start : start + 5000]
            yield p.UpsertRequest(collection="b", packed=p.PackedPoints(ids=range(start, start + len(block)), vectors=block.tobytes()))

    cluster.points.UpsertStream(requests(), timeout=3600)
    cluster.collections.Train(c.TrainCollectionRequest(name="b"), timeout=600)
    while True:
        state = cluster.collections.Get(c.GetCollectionRequest(name="b"), timeout=60).codecs[0]
        if state.version > 0 and state.encoded == state.total > 0:
            break
        time.sleep(0.05)
    # Checkpoints of what has come to rest are over a little later.
    time.sleep(10)


def ask(cluster, folder, ef, seconds, rate=None):
    """Searches answered, their p50 and p99 in ms, and the load tester's processor time in s."""
    arrivals = f"rate: {rate}" if rate else "arrivals: closed\n    workers: 32"
    scenario = folder / "scenario.yaml"
    scenario.write_text(f"""name: check
target: {{endpoints: ["{cluster.coordinator.address}"]}}
client: {{connections: 2}}
data: {{base: {os.path.abspath(BASE)}, query: {os.path.abspath(QUERY)}, queries: 1000}}
collection: {{name: b, create: false, load: false}}
phases:
  - name: check
    search: {{ef: {ef}}}
    {arrivals}
    seconds: {seconds}
""")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(BINARIES / "needletail-load"), "run", str(scenario), "--out", str(folder / "result")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"([\d,]+) searches.*none failed; p50 ([\d.]+) (µs|ms|s), p99 ([\d.]+) (µs|ms|s)", shown)
    assert found, shown
    unit = {"µs": 0.001, "ms": 1, "s": 1000}
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return int(found[1].replace(",", "")), float(found[2]) * unit[found[3]], float(found[4]) * unit[found[5]], processor


def main():
    rows = read(BASE)
    with tempfile.TemporaryDirectory(prefix="needletail-bench-") as name:
        folder = pathlib.Path(name)
        profile = PROFILE or str(folder / "profile.json")
        if not PROFILE:
            subprocess.run([str(BINARIES / "needletail-bench"), "calibrate", "--base", BASE, "--query", QUERY, "--points", str(len(rows)),
                            "--out", profile], check=True)
        ef = json.loads(pathlib.Path(profile).read_text())["ef"]
        client = None
        for title, workers, shards, replicas in SCENARIOS:
            with Cluster(workers) as cluster:
                load(cluster, rows, shards, replicas)
                ask(cluster, folder, ef, 2)
                short, long = ask(cluster, folder, ef, 3), ask(cluster, folder, ef, 12)
                client = client or (long[3] - short[3]) / (long[0] - short[0]) * 1e6
                highest = long[0] / 12
                rate = int(highest / 2)
                _, p50, p99, _ = ask(cluster, folder, ef, 12, rate)
                replicas_of = [r for s in cluster.cluster.Shards(cluster_pb2.ListShardsRequest(), timeout=10).shards for r in s.replicas]
                memory, disk = (sum(getattr(r, part) for r in replicas_of) for part in ("memory_bytes", "disk_bytes"))
            command = [str(BINARIES / "needletail-bench"), "simulate", "--profile", profile, "--workers", str(workers), "--shards", str(shards),
                       "--replicas", str(replicas), "--vectors", str(len(rows)), "--rate", str(rate), "--client", str(client)]
            predicted = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            measured = {"highest_rate": highest, "p50_ms": p50, "p99_ms": p99, "memory_bytes": memory, "disk_bytes": disk}
            print(json.dumps({"scenario": title, "client_us": round(client, 1), "rate": rate,
                              "measured": {k: round(v, 3) for k, v in measured.items()}, "predicted": {k: predicted[k] for k in measured},
                              "ratio": {k: round(predicted[k] / v, 3) for k, v in measured.items()}}), flush=True)


main()
