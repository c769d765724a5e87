"""Search latency with one replica slowed ten times, against the same cluster unharmed. One JSON object a line.

The worker is stopped and let go on again so that it runs a tenth of the time. Run it with `make bench-tail`.
"""

import json
import pathlib
import signal
import sys
import threading
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Python")]

import conftest  # noqa: E402, F401  makes the stubs
from harness import Cluster, wait_for  # noqa: E402
from needletail.v1 import cluster_pb2  # noqa: E402
from needletail.v1 import collections_pb2 as c  # noqa: E402
from needletail.v1 import common_pb2 as common  # noqa: E402
from needletail.v1 import points_pb2 as p  # noqa: E402

DIMENSIONS, POINTS, ROUNDS, SEARCHES = 128, 60_000, 3, 3000
PERIOD, SHARE = 0.020, 0.1


class Slowed:
    """Lets a process run `SHARE` of the time."""

    def __init__(self, process):
        self.process, self.running = process, True
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while self.running:
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(PERIOD * (1 - SHARE))
            self.process.send_signal(signal.SIGCONT)
            time.sleep(PERIOD * SHARE)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.running = False
        self.thread.join()
        self.process.send_signal(signal.SIGCONT)


def measure(cluster, random):
    times = []
    for _ in range(SEARCHES):
        query = p.Query(vector=common.Vector(data=random.standard_normal(DIMENSIONS).astype("f4").tobytes()), limit=10)
        begin = time.perf_counter()
        cluster.points.Search(p.SearchRequest(collection="tail", query=query), timeout=5)
        times.append((time.perf_counter() - begin) * 1000)
    return {f"p{q}_ms": round(float(np.percentile(times, q)), 3) for q in (50, 95, 99)}


def main():
    random = np.random.default_rng(1)
    with Cluster(workers=3) as cluster:
        field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
        cluster.collections.Create(
            c.CreateCollectionRequest(name="tail", fields=[field], shard_count=6, replication_factor=2), timeout=30)

        def requests():
            for start in range(0, POINTS, 1000):
                rows = random.standard_normal((1000, DIMENSIONS)).astype("f4")
                yield p.UpsertRequest(collection="tail", packed=p.PackedPoints(ids=range(start, start + 1000), vectors=rows.tobytes()))

        cluster.points.UpsertStream(requests(), timeout=300)

        def is_in_sync():
            shards = cluster.cluster.Shards(cluster_pb2.ListShardsRequest(collection="tail"), timeout=10).shards
            return all(sum(r.in_sync for r in s.replicas) == 2 and len({r.points for r in s.replicas}) == 1 for s in shards)

        wait_for(is_in_sync, "all replicas in sync", 60, cluster.describe)
        measure(cluster, random)
        for number in range(ROUNDS):
            normal = measure(cluster, random)
            with Slowed(cluster.workers[0].process):
                slowed = measure(cluster, random)
            ratio = round(slowed["p95_ms"] / normal["p95_ms"], 2)
            print(json.dumps({"phase": "one-replica-slowed-10x", "round": number, "normal": normal, "slowed": slowed, "p95_ratio": ratio}), flush=True)


main()
