"""What a split costs, and then the merge of its parts: how long it takes, how long writes take beside it, and recall before and after. Run it with `make bench-splits`."""

import pathlib
import sys
import threading
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Python")]

import conftest  # noqa: E402, F401  makes the stubs
from harness import Cluster, wait_for  # noqa: E402
from needletail.v1 import points_pb2 as p  # noqa: E402
from test_merges import merge  # noqa: E402
from test_moves import CALM, DIMENSIONS, create, events, operation, rows, shards  # noqa: E402
from test_splits import recall, split  # noqa: E402

WRITERS = 4


def upsert(cluster, ids, vectors):
    cluster.points.Upsert(p.UpsertRequest(collection="m", packed=p.PackedPoints(ids=ids, vectors=vectors.astype("f4").tobytes())), timeout=120)


def main(points, replicas):
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "m", replicas, 1)
        random = np.random.default_rng(1)
        for start in range(0, points, 5000):
            upsert(cluster, list(range(start, start + 5000)), random.standard_normal((5000, DIMENSIONS)))
        for what, begin in [("split", lambda: split(cluster, "m", 0)), ("merge", lambda: merge(cluster, "m", *(s.shard for s in shards(cluster, "m"))))]:
            measure(cluster, what, begin, points, replicas)


def measure(cluster, what, begin, points, replicas):
    queries = rows(range(9_000_000, 9_000_100))
    before, latencies, running = recall(cluster, "m", queries), [], True

    def writer(number):
        own, turn = np.random.default_rng(number), 0
        while running:
            turn += 1
            began = time.monotonic()
            upsert(cluster, [10_000_000 + number * 100_000 + turn % 5000], own.standard_normal((1, DIMENSIONS)))
            latencies.append((began, time.monotonic() - began))

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    began = time.monotonic()
    begun = begin()
    wait_for(lambda: operation(cluster, begun.id).step == "done", what, 600, cluster.describe)
    took, running = time.monotonic() - began, False
    for thread in threads:
        thread.join()
    print(f"{points} points, {replicas} replicas: {what} in {took:.1f} s; {[one for one in events(cluster) if 'waited' in one][-1]}")
    for name, some in [("before", [took for at, took in latencies if at < began]), ("during", [took for at, took in latencies if at >= began])]:
        print(f"writes {name}: {len(some)}, p99 {np.percentile(some, 99) * 1000:.0f} ms, slowest {max(some) * 1000:.0f} ms")
    print(f"recall@10 {before:.3f} before, {recall(cluster, 'm', queries):.3f} after")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
