"""A collection of a file's vectors on a cluster of this machine, and the load tester asking it: what several benchmarks begin with."""

import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Python")]

import conftest  # noqa: E402, F401  makes the stubs
from harness import BINARIES  # noqa: E402
from needletail.v1 import collections_pb2 as c  # noqa: E402
from needletail.v1 import points_pb2 as p  # noqa: E402


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


def ask(cluster, folder, base, query, ef, seconds, rate=None, workers=32, phases=1):
    """Searches answered, their p50 and p99 in ms, and the load tester's processor time in s. Of several phases the median, and the time of all."""
    arrivals = f"rate: {rate}" if rate else f"arrivals: closed\n    workers: {workers}"
    phase = f"""
    search: {{ef: {ef}}}
    {arrivals}
    seconds: {seconds}
"""
    scenario = folder / "scenario.yaml"
    scenario.write_text(f"""name: check
target: {{endpoints: ["{cluster.coordinator.address}"]}}
client: {{connections: 2}}
data: {{base: {os.path.abspath(base)}, query: {os.path.abspath(query)}, queries: 1000}}
collection: {{name: b, create: false, load: false}}
phases:
""" + "".join(f"  - name: check {number}{phase}" for number in range(phases)))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(BINARIES / "needletail-load"), "run", str(scenario), "--out", str(folder / "result")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.findall(r"([\d,]+) searches.*none failed; p50 ([\d.]+) (µs|ms|s), p99 ([\d.]+) (µs|ms|s)", shown)
    assert len(found) == phases, shown
    unit = {"µs": 0.001, "ms": 1, "s": 1000}
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answered = statistics.median(int(line[0].replace(",", "")) for line in found)
    p50, p99 = (statistics.median(float(line[at]) * unit[line[at + 1]] for line in found) for at in (1, 3))
    return answered, p50, p99, processor
