"""How a replica moves beside reads, against a plain copy of its files, and how much moves when a node joins. One JSON object a line. Run it with
`make bench-moves`."""

import json
import os
import pathlib
import shutil
import sys
import threading
import time

import grpc
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Python")]

import conftest  # noqa: E402, F401  makes the stubs
from harness import Cluster, Process, wait_for  # noqa: E402
from needletail.v1 import cluster_pb2  # noqa: E402
from needletail.v1 import collections_pb2 as c  # noqa: E402
from needletail.v1 import common_pb2 as common  # noqa: E402
from needletail.v1 import points_pb2 as p  # noqa: E402

DIMENSIONS, POINTS = 128, int(os.environ.get("POINTS", 300_000))
ROUNDS = int(os.environ.get("ROUNDS", 3))


def say(**values):
    print(json.dumps(values), flush=True)


def clustered(random, count):
    """Neighbourhoods of a dimensionality like that of real embeddings."""
    basis = np.random.default_rng(7).standard_normal((24, DIMENSIONS))
    return (random.standard_normal((count, 24)) @ basis + 0.3 * random.standard_normal((count, DIMENSIONS))).astype("f4")


def load(cluster, name, shards, points):
    random = np.random.default_rng(1)
    field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
    cluster.collections.Create(c.CreateCollectionRequest(name=name, fields=[field], shard_count=shards), timeout=30)

    def requests():
        for start in range(0, points, 1000):
            yield p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=range(start, start + 1000), vectors=clustered(random, 1000).tobytes()))

    cluster.points.UpsertStream(requests(), timeout=3600)


def search(cluster, name, query, exact=False):
    request = p.SearchRequest(collection=name, query=p.Query(vector=common.Vector(data=query.tobytes()), limit=10, exact=exact))
    return [(hit.id.number, hit.score) for hit in cluster.points.Search(request, timeout=30).points]


class Reader(threading.Thread):
    """Searches one after the other and remembers how long each took, and when it began."""

    def __init__(self, cluster, name, queries):
        super().__init__()
        self.cluster, self.name, self.queries = cluster, name, queries
        self.times, self.failed, self.running = [], 0, True

    def run(self):
        number = 0
        while self.running:
            number += 1
            begin = time.monotonic()
            try:
                search(self.cluster, self.name, self.queries[number % len(self.queries)])
            except grpc.RpcError:
                self.failed += 1
            self.times.append((begin, time.monotonic() - begin))
            # A rate that leaves the processors room: the move is to be seen, not the load.
            time.sleep(max(0.0, 0.005 - (time.monotonic() - begin)))

    def p99(self, since, until):
        some = [took for begin, took in self.times if since <= begin < until]
        return float(np.percentile(some, 99)) * 1000 if len(some) > 50 else float("nan")


def shards(cluster, name):
    return cluster.cluster.Shards(cluster_pb2.ListShardsRequest(collection=name), timeout=10).shards


def nodes(cluster):
    return cluster.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes


def operations(cluster):
    return cluster.cluster.Operations(cluster_pb2.ListOperationsRequest(), timeout=10).operations


def replica_folder(cluster):
    """Of the only replica there is."""
    return max(cluster.folder.glob("shard-*/data/replicas/*"), key=lambda path: sum(f.stat().st_size for f in path.rglob("*") if f.is_file()))


def plain_copy(folder, target):
    shutil.rmtree(target, ignore_errors=True)
    begin = time.monotonic()
    shutil.copytree(folder, target)
    for file in target.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
    took = time.monotonic() - begin
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    shutil.rmtree(target)
    return took, size


def one_move():
    with Cluster(workers=2, coordinator_arguments=["--rebalance-after", "3600"]) as cluster:
        load(cluster, "one", 1, POINTS)
        queries = clustered(np.random.default_rng(2), 200)
        wait_until_settled(cluster)
        before = [(search(cluster, "one", q), search(cluster, "one", q, exact=True)) for q in queries]
        recall = np.mean([len({i for i, _ in a} & {i for i, _ in e}) / 10 for a, e in before])
        for number in range(ROUNDS):
            copied, size = plain_copy(replica_folder(cluster), cluster.folder / "copy")
            reader = Reader(cluster, "one", queries)
            reader.start()
            quiet = time.monotonic()
            time.sleep(3)
            shard = shards(cluster, "one")[0]
            source = shard.replicas[0].node
            target = next(n.id for n in nodes(cluster) if n.id != source)
            begin = time.monotonic()
            move = cluster.cluster.Move(cluster_pb2.MoveRequest(collection="one", shard=0, **{"from": source, "to": target}), timeout=10)
            step = lambda: next(one.step for one in operations(cluster) if one.id == move.id)
            wait_for(lambda: step() != "adding" and step() != "catching up", "the replica in sync", 300, cluster.describe)
            in_sync = time.monotonic() - begin
            wait_for(lambda: step() == "done", "the move", 60, cluster.describe)
            done = time.monotonic()
            reader.running = False
            reader.join()
            after = [(search(cluster, "one", q), search(cluster, "one", q, exact=True)) for q in queries]
            say(phase="move", round=number, points=POINTS, bytes=size, copy_seconds=round(copied, 2), in_sync_seconds=round(in_sync, 2),
                done_seconds=round(done - begin, 2), speed_of_copy=round(copied / in_sync, 2), p99_quiet_ms=round(reader.p99(quiet, begin), 2),
                p99_during_ms=round(reader.p99(begin, done), 2), failed=reader.failed, recall=round(float(recall), 4), answers_identical=after == before)


def wait_until_settled(cluster):
    """Until the last checkpoints are written and told of: nothing about the nodes' bytes changes for five seconds."""
    seen = []

    def rests():
        now = time.monotonic()
        seen.append((now, tuple((n.memory_bytes, n.disk_bytes, n.points) for n in nodes(cluster))))
        return now - seen[0][0] > 5 and len({held for at, held in seen if at > now - 5}) == 1

    wait_for(rests, "the last checkpoints", 300, cluster.describe)


def a_node_joins():
    with Cluster(workers=3, coordinator_arguments=["--rebalance-after", "2", "--rest", "0"]) as cluster:
        load(cluster, "many", 24, POINTS)
        held = lambda: {n.address: n.disk_bytes + n.memory_bytes for n in nodes(cluster)}
        wait_until_settled(cluster)
        total = sum(held().values())
        new = Process("needletail-shard", cluster.folder / "shard-3", ["--coordinator", cluster.coordinator.address]).start()
        cluster.workers.append(new)
        begin = time.monotonic()

        def balanced():
            plan = cluster.cluster.Plan(cluster_pb2.PlanRequest(), timeout=10)
            return not plan.moves and operations(cluster) and all(one.step in ("done", "cancelled", "failed") for one in operations(cluster)) \
                and len(nodes(cluster)) == 4

        wait_for(balanced, "balance", 600, cluster.describe)
        moved = sum(one.move.bytes for one in operations(cluster) if one.step == "done" and not one.move.lead_only)
        after = held()
        mean = sum(after.values()) / len(after)
        say(phase="a node joins", points=POINTS, moves=len([1 for one in operations(cluster) if not one.move.lead_only]), seconds=round(time.monotonic() - begin, 1),
            moved_bytes=moved, minimum_bytes=int(total / 4), of_minimum=round(moved / (total / 4), 3),
            fullest_of_mean=round(max(after.values()) / mean, 3), emptiest_of_mean=round(min(after.values()) / mean, 3))


if __name__ == "__main__":
    one_move()
    a_node_joins()
