"""How long a cluster takes to serve all its data again after kill -9 of everything. One JSON object a line. Run it with `make bench-restart`."""

import json
import os
import pathlib
import sys
import time

import grpc
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Python")]

import conftest  # noqa: E402, F401  makes the stubs
from harness import Cluster, wait_for  # noqa: E402
from needletail.v1 import collections_pb2 as c  # noqa: E402
from needletail.v1 import common_pb2 as common  # noqa: E402
from needletail.v1 import points_pb2 as p  # noqa: E402

DIMENSIONS, POINTS = 128, int(os.environ.get("POINTS", 1_000_000))
REPLICAS = int(os.environ.get("REPLICAS", 2))


def main():
    random = np.random.default_rng(1)
    with Cluster(workers=3) as cluster:
        field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
        cluster.collections.Create(
            c.CreateCollectionRequest(name="all", fields=[field], shard_count=6, replication_factor=REPLICAS), timeout=30)

        def requests():
            for start in range(0, POINTS, 1000):
                rows = random.standard_normal((1000, DIMENSIONS)).astype("f4")
                yield p.UpsertRequest(collection="all", packed=p.PackedPoints(ids=range(start, start + 1000), vectors=rows.tobytes()))

        begin = time.monotonic()
        cluster.points.UpsertStream(requests(), timeout=3600)
        print(json.dumps({"phase": "load", "points": POINTS, "replicas": REPLICAS, "seconds": round(time.monotonic() - begin, 1)}), flush=True)
        processes = [cluster.coordinator, *cluster.workers]
        for process in processes:
            process.kill()
        begin = time.monotonic()
        for process in processes:
            process.start()
        read = p.ReadOptions(consistency=p.READ_CONSISTENCY_PRIMARY)
        query = p.Query(vector=common.Vector(data=random.standard_normal(DIMENSIONS).astype("f4").tobytes()), limit=10)

        def serves_all():
            try:
                count = cluster.points.Count(p.CountRequest(collection="all", read=read), timeout=1).count
                found = cluster.points.Search(p.SearchRequest(collection="all", query=query, read=read), timeout=1)
            except grpc.RpcError:
                return False
            assert count == POINTS, count
            return len(found.points) == 10

        wait_for(serves_all, "serving everything", 120, cluster.describe)
        print(json.dumps({"phase": "restart-of-everything", "points": POINTS, "replicas": REPLICAS, "seconds": round(time.monotonic() - begin, 2)}), flush=True)


main()
