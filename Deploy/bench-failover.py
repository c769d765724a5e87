"""What clients notice when a shard worker is killed: `make bench-failover`. One JSON object a line.

Three workers, three coordinators, replication 2, on one machine. First: searches with a deadline of one second while a worker is killed, how
many fail, and when their p99 is as before. Then: how long a shard takes no writes when its primary is killed, with leases of two seconds.
"""

import argparse
import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Tests" / "Python"))
import conftest  # noqa: F401  (generates the stubs)
import grpc
import numpy as np
from faults import Stubs, World
from harness import wait_for
from needletail.v1 import cluster_pb2
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

DIMENSIONS, SHARDS = 32, 3


def load(world, count):
    field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
    world.doors[0].collections.Create(c.CreateCollectionRequest(name="b", fields=[field], shard_count=SHARDS, replication_factor=2), timeout=30)
    random = np.random.default_rng(1)
    for first in range(0, count, 1000):
        rows = random.standard_normal((1000, DIMENSIONS)).astype("f4")
        world.doors[0].points.Upsert(p.UpsertRequest(collection="b", packed=p.PackedPoints(ids=range(first, first + 1000), vectors=rows.tobytes())), timeout=60)
    wait_until_in_sync(world)


def wait_until_in_sync(world):
    def is_in_sync():
        shards = world.shards()
        return len(shards) == SHARDS and all(len(s.replicas) == 2 and all(r.in_sync and r.state == cluster_pb2.REPLICA_STATE_READY for r in s.replicas)
                                             for s in shards)

    wait_for(is_in_sync, "all replicas in sync", 60, world.describe)


def primary(world, number=0):
    shard = next(one for one in world.shards() if one.shard == number)
    return world.node(next(one.node for one in shard.replicas if one.primary))


class Load:
    """Calls `body(stubs, number)` from several threads; remembers when each call began, how long it took, and whether it failed."""

    def __init__(self, world, threads, body):
        self.calls, self.running, self.errors = [], True, []
        self.threads = [threading.Thread(target=self.loop, args=(Stubs(world.coordinators[n % len(world.coordinators)].address), n, body)) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def loop(self, stubs, number, body):
        while self.running:
            began, failed = time.monotonic(), False
            try:
                body(stubs, number)
            except grpc.RpcError as error:
                failed = True
                self.errors.append(f"{error.code().name}: {error.details()}")
            self.calls.append((began, time.monotonic() - began, failed))

    def stop(self):
        self.running = False
        for thread in self.threads:
            thread.join()

    def p99(self, begin, end):
        """In milliseconds, of calls that began between the two."""
        taken = [took for began, took, _ in self.calls if begin <= began < end]
        return float(np.percentile(taken, 99)) * 1000 if taken else float("nan")


def searches(world, least, rounds):
    random = np.random.default_rng(2)
    queries = [common.Vector(data=random.standard_normal(DIMENSIONS).astype("f4").tobytes()) for _ in range(100)]

    def search(stubs, number):
        query = p.Query(vector=queries[int(time.monotonic() * 1000) % 100], limit=10)
        stubs.points.Search(p.SearchRequest(collection="b", query=query), timeout=1)

    for number in range(rounds):
        victim = primary(world, number % SHARDS)
        running = Load(world, 4, search)
        time.sleep(5)
        killed = time.monotonic()
        usual = running.p99(killed - 4, killed)
        victim.kill()
        while len(running.calls) < least or time.monotonic() < killed + 12:
            time.sleep(0.2)
        running.stop()
        by_second = [round(running.p99(killed + second, killed + second + 1), 2) for second in range(12)]
        slow = [second for second, value in enumerate(by_second) if not value <= max(1.5 * usual, usual + 5)]
        print(json.dumps({
            "bench": "failover-search", "round": number, "searches": len(running.calls), "failed": sum(failed for _, _, failed in running.calls),
            "errors": sorted(set(running.errors))[:3], "p99_before_ms": round(usual, 2), "p99_after_ms_by_second": by_second,
            "p99_normal_after_s": max(slow) + 1 if slow else 0}), flush=True)
        victim.heal()
        wait_until_in_sync(world)


def writes(world, rounds):
    """Writes of single points to one shard, so that every one of them needs the same primary."""
    ids = [one for one in range(1000, 2000)]

    def shard_of(i):
        answer = world.doors[0].points.Get(p.GetPointsRequest(collection="b", ids=[common.PointId(number=i)]), timeout=5)
        return next(one.shard for one in answer.coverage.shards if one.answered)

    ids = [i for i in ids[:60] if shard_of(i) == 0]

    def write(stubs, number):
        i = ids[number % len(ids)]
        point = p.Point(id=common.PointId(number=i), vectors={"v": common.Vector(values=[float(number)] * DIMENSIONS)})
        stubs.points.Upsert(p.UpsertRequest(collection="b", points=[point]), timeout=10)

    for number in range(rounds):
        victim = primary(world)
        running = Load(world, 4, write)
        time.sleep(2)
        killed = time.monotonic()
        victim.kill()
        # Of a write under way the answer may have been on its way already: what began after the kill counts.
        wait_for(lambda: any(began > killed and not failed for began, _, failed in running.calls), "a write", 30, world.describe)
        resumed = min(began + took for began, took, failed in running.calls if began > killed and not failed)
        time.sleep(1)
        running.stop()
        print(json.dumps({"bench": "failover-write", "round": number, "unavailable_s": round(resumed - killed, 3),
                          "failed": sum(failed for _, _, failed in running.calls), "errors": sorted(set(running.errors))[:3]}), flush=True)
        victim.heal()
        wait_until_in_sync(world)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--points", type=int, default=20_000)
    arguments.add_argument("--searches", type=int, default=10_000)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    world = World(coordinators=3, workers=3, network=False, faults=False)
    is_clean = False
    try:
        load(world, options.points)
        searches(world, options.searches, options.rounds)
        writes(world, options.rounds)
        is_clean = True
    finally:
        world.close(is_clean)


main()
