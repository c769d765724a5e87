"""What else is done to collections goes on with the parts of their shards: backups, moves, drains, other numbers of replicas, doors with old maps."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import grpc
import pytest
from harness import BINARIES, Cluster, wait_for
from needletail.v1 import cluster_pb2
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p
import test_backups as b
from test_moves import CALM, PRIMARY, Several, create, holders, move, node_of, operation, operations, rows, shards, write
from test_splits import Traffic, await_step, count, scrolled, settled, split

ANY = p.ReadOptions(consistency=p.READ_CONSISTENCY_ANY_IN_SYNC)


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="needletail-backups-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def numbers(door, name):
    return [s.shard for s in shards(door, name)]


def split_and_wait(door, name, number, **order):
    await_step(door, split(door, name, number, **order).id, "done", 90)


def all_in_sync(door, name, replicas):
    return all(len(s.replicas) == replicas and all(r.in_sync for r in s.replicas) for s in shards(door, name))


def rested(door):
    return {one.step for one in operations(door)} == {"done"}


def plan(door):
    return door.cluster.Plan(cluster_pb2.PlanRequest(), timeout=10)


@pytest.mark.parametrize("replicas", [1, 2])
def test_backups_before_and_after_splits(folder, replicas):
    target = f"file://{folder}"
    with Cluster(workers=3, coordinator_arguments=CALM) as cluster:
        b.create(cluster, "cut", shards=2, replicas=replicas)
        for first in range(0, 8000, 2000):
            b.write(cluster, "cut", first, 2000)
        b.back_up(cluster, "cut", target, "whole")
        whole = b.contents(cluster, "cut")
        split_and_wait(cluster, "cut", 0)
        b.write(cluster, "cut", 20_000, 500)
        split_and_wait(cluster, "cut", 2, at=f"{(1 << 60):016x}")
        assert sorted(numbers(cluster, "cut")) == [1, 3, 4, 5]
        # A checkpoint of each part and what follows it; from then on a backup sends only what is new.
        wait_for(lambda: b.back_up(cluster, "cut", target, f"parts-{time.monotonic_ns()}").new_bytes < 50_000, "a backup with little new", 90, cluster.describe)
        b.write(cluster, "cut", 20_000, 1, seed=5)
        small = b.back_up(cluster, "cut", target, "parts")
        assert small.new_bytes < small.bytes / 20, (small.new_bytes, small.bytes)
        assert b.verify(cluster, target, "parts").problems == []
        truth, found = b.contents(cluster, "cut"), b.nearest(cluster, "cut")
        assert len(truth) == 8500
        for name, count in [("same", 0), ("fewer", 1), ("more", 6)]:
            b.restore(cluster, target, "parts", name, shard_count=count)
            assert b.contents(cluster, name) == truth and b.nearest(cluster, name) == found
            assert len(numbers(cluster, name)) == (count or 4)
            b.write(cluster, name, 30_000, 100)
            # Its parts have numbers that none of its shards has.
            before = numbers(cluster, name)
            split_and_wait(cluster, name, before[0])
            assert len(set(numbers(cluster, name))) == len(before) + 1
            assert len(b.contents(cluster, name)) == 8600
        b.restore(cluster, target, "whole", "former")
        assert b.contents(cluster, "former") == whole and numbers(cluster, "former") == [0, 1]


def test_a_backup_while_shards_are_split_is_of_one_moment(folder):
    """One writer, one point after the other: a backup that has a point has all before it."""
    target, stop, acknowledged = f"file://{folder}", threading.Event(), [0]
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        b.create(cluster, "busy", shards=1, replicas=2)
        b.write(cluster, "busy", 1_000_000, 4000)

        def run():
            vectors = b.vectors(1, 100_000)
            while not stop.is_set():
                point = p.Point(id=common.PointId(number=acknowledged[0]), vectors={"v": common.Vector(data=vectors[acknowledged[0]].tobytes())})
                cluster.points.Upsert(p.UpsertRequest(collection="busy", points=[point]), timeout=30)
                acknowledged[0] += 1

        writer = threading.Thread(target=run)
        writer.start()
        made = []
        try:
            for _ in range(3):
                begun = split(cluster, "busy", max(numbers(cluster, "busy")))
                while operation(cluster, begun.id).step != "done" or not made or made[-1][0] != begun.id:
                    before = acknowledged[0]
                    name = f"b{len(made)}"
                    b.back_up(cluster, "busy", target, name)
                    made.append((begun.id, name, before, acknowledged[0]))
        finally:
            stop.set()
            writer.join()
        print(f"{len(made)} backups during three splits")
        for _, name, before, after in made[::max(1, len(made) // 6)]:
            b.restore(cluster, target, name, "then")
            mine = sorted(i for i in b.contents(cluster, "then") if i < 1_000_000)
            assert mine == list(range(len(mine))) and before <= len(mine) <= after + 1
            assert count(cluster, "then") == 4000 + len(mine)
            b.drop(cluster, "then")


def test_parts_move_and_get_and_lose_replicas_and_leave_a_drained_node():
    with Cluster(workers=3, coordinator_arguments=CALM) as cluster:
        create(cluster, "led", 1, 1)
        for start in range(0, 6000, 2000):
            write(cluster, "led", range(start, start + 2000))
        with Traffic([cluster], "led", set(range(6000))) as traffic:
            split_and_wait(cluster, "led", 0)
            cluster.collections.Update(c.UpdateCollectionRequest(name="led", replication_factor=2), timeout=30)
            wait_for(lambda: all_in_sync(cluster, "led", 2) and rested(cluster), "two replicas of each part", 90, cluster.describe)
            split_and_wait(cluster, "led", 2)
            part = next(s for s in shards(cluster, "led") if s.shard == 3)
            source = next(r.node for r in part.replicas if r.primary)
            target = next(node_of(cluster, w) for w in cluster.workers if node_of(cluster, w) not in holders(part))
            begun = move(cluster, "led", 3, **{"from": source, "to": target})
            # A split begins while its shard is moved, or a move while it is split: each is refused.
            with pytest.raises(grpc.RpcError) as error:
                split(cluster, "led", 3)
            assert error.value.code() == grpc.StatusCode.ABORTED
            await_step(cluster, begun.id, "done", 90, cluster.describe)
            assert holders(next(s for s in shards(cluster, "led") if s.shard == 3)) == holders(part) - {source} | {target}
            drained = node_of(cluster, cluster.workers[0])
            subprocess.run([str(BINARIES / "needletail"), "cluster", "drain", drained, "--wait", "120", "--endpoint", cluster.coordinator.address],
                           check=True, capture_output=True, timeout=150)
            assert all(drained not in holders(s) for s in shards(cluster))
            wait_for(lambda: all_in_sync(cluster, "led", 2) and rested(cluster), "two replicas of each part", 90, cluster.describe)
            split_and_wait(cluster, "led", 3)
            cluster.collections.Update(c.UpdateCollectionRequest(name="led", replication_factor=1), timeout=30)
            wait_for(lambda: all_in_sync(cluster, "led", 1), "one replica of each part", 90,
                     lambda: f"{operations(cluster)} {plan(cluster)} {cluster.describe()}")
        traffic.check(cluster)
        wait_for(lambda: rested(cluster), "the end of all operations", 60, lambda: str(operations(cluster)))
        settled(cluster, 4)
        total = count(cluster, "led")
        for process in [cluster.coordinator, *cluster.workers]:
            process.kill()
        for process in [cluster.coordinator, *cluster.workers]:
            process.start()
        wait_for(lambda: cluster.status().nodes_alive == 3, "the workers", 30)
        cluster.wait_until_ready()
        assert count(cluster, "led") == total
        traffic.check(cluster)


class Valve:
    """A TCP proxy that can stand still."""

    def __init__(self, target):
        self.target, self.is_open = target, threading.Event()
        self.is_open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                for pair in [(client, server), (server, client)]:
                    threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self.is_open.wait()
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.is_open.set()
        self.listener.close()


READS = {
    "get": lambda door, ids, read: {one.id.number for one in door.points.Get(
        p.GetPointsRequest(collection="old", ids=[common.PointId(number=i) for i in ids], read=read), timeout=3).points},
    "search": lambda door, ids, read: {hit for i in ids for hit, _ in door_nearest(door, i, read)} & set(ids),
    "scroll": lambda door, ids, read: {one.id.number for page in door.points.Scroll(p.ScrollRequest(collection="old", read=read), timeout=3)
                                       for one in page.points} & set(ids),
    "count": lambda door, ids, read: set(ids) if door.points.Count(p.CountRequest(collection="old", read=read), timeout=3).count >= 2999 + len(ids) else set(),
}


def door_nearest(door, i, read):
    request = p.SearchRequest(collection="old", query=p.Query(vector=common.Vector(data=rows([i])[0].tobytes()), limit=1, exact=True), read=read)
    return [(hit.id.number, hit.score) for hit in door.points.Search(request, timeout=3).points]


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_door_with_an_old_map_never_answers_for_the_whole(replicas):
    valves = []

    def way(etcd):
        valves.append(Valve(etcd.port))
        return valves[-1]

    cluster = Several(lambda etcd: [way(etcd), way(etcd)])
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.close)
        for valve in valves:
            stack.callback(valve.close)
        create(cluster.doors[0], "old", replicas, 1)
        for door in cluster.doors:
            wait_for(lambda: "old" in door.names(), "the collection everywhere", 10)
        write(cluster.doors[0], "old", range(3000))
        leader = cluster.leader()
        old = next(door for door in cluster.doors if door is not leader)
        wait_for(lambda: all(r.points == 3000 for s in shards(old, "old") for r in s.replicas), "everything everywhere", 30)
        answered, refused, wrong, new = [], [], [], []
        running = threading.Event()
        running.set()

        def reader(name, read):
            while running.is_set():
                expected, is_deaf = [0, *new], not valve.is_open.is_set()
                try:
                    found = READS[name](old, expected, read)
                    if found == set(expected):
                        answered.append((name, len(expected)))
                    # What a part's other replica has on its disk may be in its index a moment later, as of any shard.
                    elif is_deaf or read is PRIMARY or replicas == 1:
                        wrong.append((name, read.consistency, sorted(set(expected) - found)))
                except grpc.RpcError as error:
                    refused.append((name, len(expected), error.code()))

        # From now on it hears nothing of maps, only of workers.
        valve = valves[cluster.doors.index(old)]
        valve.is_open.clear()
        begun = split(leader, "old", 0)
        threads = [threading.Thread(target=reader, args=(name, read)) for name in READS for read in [ANY, PRIMARY]]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(shards(leader, "old")) == 2, "the parts", 60, cluster.describe)
        # The parts write; whoever asks after that must find it or be refused.
        for i in range(10_000, 10_030):
            request = p.UpsertRequest(collection="old", packed=p.PackedPoints(ids=[i], vectors=rows([i]).tobytes()))
            session = leader.points.Upsert(request, timeout=20).session
            new.append(i)
            if i % 10 == 0:
                with contextlib.suppress(grpc.RpcError):
                    assert READS["get"](old, [i], p.ReadOptions(session=session)) == {i}, f"a session does not see point {i}"
        await_step(leader, begun.id, "done", 60, cluster.describe)
        wait_for(lambda: {name for name, known, _ in refused if known > 1} == set(READS), "reads being refused", 60)
        valve.is_open.set()
        before = len(answered)
        wait_for(lambda: {name for name, known in answered[before:] if known == 31} == set(READS), "reads of the parts", 60,
                 lambda: f"{answered[-3:]} {refused[-3:]}")
        running.clear()
        for thread in threads:
            thread.join()
        print(f"{len(answered)} reads answered, {len(refused)} refused: {sorted({str(code) for _, _, code in refused})}")
        assert not wrong, wrong[:3]
        request = p.UpsertRequest(collection="old", packed=p.PackedPoints(ids=[20_000], vectors=rows([20_000]).tobytes()))
        session = leader.points.Upsert(request, timeout=20).session
        read = p.ReadOptions(session=session)
        assert len(old.points.Get(p.GetPointsRequest(collection="old", ids=[common.PointId(number=20_000)], read=read), timeout=20).points) == 1
        assert len(scrolled(old, "old")) == count(old, "old") == 3031
