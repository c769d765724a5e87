"""kill -9 of a shard worker at random moments under concurrent writes: what was acknowledged is there, the rest wholly or not at all."""

import os
import threading
import time

import grpc
import numpy as np
from harness import Cluster
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

DIMENSIONS = 16
CYCLES = int(os.environ.get("NEEDLETAIL_CRASH_CYCLES", "50"))


class Writer(threading.Thread):
    """Owns the ids that are `index` modulo the number of writers; remembers for each the states it may be in."""

    def __init__(self, cluster, index, writers, seed):
        super().__init__()
        self.cluster, self.index, self.writers = cluster, index, writers
        self.random = np.random.default_rng([seed, index])
        self.possible = {}  # id → set of versions (0: deleted) that a reader may find
        self.running, self.version, self.acknowledged, self.failed = True, 0, 0, 0

    def run(self):
        while self.running:
            ids = [int(i) * self.writers + self.index for i in self.random.choice(200, self.random.integers(1, 20), replace=False)]
            self.version += 1
            kind = self.random.integers(0, 4)
            version = 0 if kind == 3 else self.version
            try:
                if kind == 3:
                    self.cluster.points.Delete(p.DeletePointsRequest(collection="crash", ids=[common.PointId(number=i) for i in ids]), timeout=20)
                else:
                    self.cluster.points.Upsert(p.UpsertRequest(collection="crash", points=[point(i, version) for i in ids]), timeout=20)
                self.acknowledged += len(ids)
                for i in ids:
                    self.possible[i] = {version}
            except grpc.RpcError as error:
                assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED), error
                self.failed += 1
                for i in ids:
                    self.possible.setdefault(i, {0}).add(version)
                time.sleep(0.02)


def vector(i, version):
    return np.random.default_rng([i, version]).standard_normal(DIMENSIONS).astype("f4")


def point(i, version):
    """Vector and payload both tell the version, so that half of a point would be noticed."""
    return p.Point(id=common.PointId(number=i), vectors={"v": common.Vector(data=vector(i, version).tobytes())},
                   payload={"version": common.Value(int_value=version)})


def check(cluster, writers, seed):
    possible = {i: versions for writer in writers for i, versions in writer.possible.items()}
    request = p.ScrollRequest(collection="crash", parts=p.PointParts(payload=True, vectors=True), page=1000)
    found = {}
    for page in cluster.points.Scroll(request, timeout=60):
        for stored in page.points:
            version = stored.payload["version"].int_value
            assert stored.vectors["v"].data == vector(stored.id.number, version).tobytes() or \
                np.array_equal(np.array(stored.vectors["v"].values, "f4"), vector(stored.id.number, version)), "half of a point"
            found[stored.id.number] = version
    for i, versions in possible.items():
        assert found.get(i, 0) in versions, f"point {i} is at version {found.get(i, 0)}, acknowledged: {versions} (seed {seed})"
    assert set(found) <= set(possible), "a point that nobody wrote"
    assert cluster.points.Count(p.CountRequest(collection="crash"), timeout=20).count == len(found)
    # The graph agrees with the table: exact search finds the points, and nothing else.
    query = common.Vector(data=np.zeros(DIMENSIONS, "f4").tobytes())
    answer = cluster.points.Search(p.SearchRequest(collection="crash", query=p.Query(vector=query, limit=10_000, exact=True)), timeout=60)
    assert sorted(hit.id.number for hit in answer.points) == sorted(found)
    # What was found is what the next cycle starts from.
    for writer in writers:
        writer.possible = {i: {found.get(i, 0)} for i in writer.possible}


def test_no_acknowledged_write_is_lost(seed):
    random = np.random.default_rng(seed)
    with Cluster(workers=2) as cluster:
        cluster.collections.Create(c.CreateCollectionRequest(
            name="crash", shard_count=4, fields=[c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)]))
        writers = [Writer(cluster, index, 3, seed) for index in range(3)]
        acknowledged = 0
        for cycle in range(CYCLES):
            for writer in writers:
                writer.start()
            time.sleep(random.uniform(0.02, 0.4))
            victim = cluster.workers[random.integers(0, len(cluster.workers))]
            victim.kill()
            for writer in writers:
                writer.running = False
            for writer in writers:
                writer.join()
            victim.start()
            cluster.wait_until_ready()
            check(cluster, writers, seed)
            acknowledged += sum(writer.acknowledged for writer in writers)
            state = [(writer.possible, writer.version, writer.random) for writer in writers]
            writers = [Writer(cluster, index, 3, seed) for index in range(3)]
            for writer, (possible, version, generator) in zip(writers, state):
                writer.possible, writer.version, writer.random = possible, version, generator
        print(f"{CYCLES} cycles, {acknowledged} acknowledged operations, none lost")
