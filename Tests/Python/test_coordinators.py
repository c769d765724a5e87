"""Several coordinators on one etcd: any of them serves, one leads, and another leads when that one dies or falls silent."""

import base64
import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import grpc
import numpy as np
import pytest
from harness import BINARIES, UNLIMITED, Etcd, Process, wait_for
from needletail.v1 import cluster_pb2, cluster_pb2_grpc
from needletail.v1 import collections_pb2 as c
from needletail.v1 import collections_pb2_grpc
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p
from needletail.v1 import points_pb2_grpc

DIMENSIONS = 8


class Door:
    """A coordinator and the stubs of its services."""

    def __init__(self, folder, etcd, binaries=BINARIES):
        self.process = Process("needletail-coordinator", folder, ["--admin", "0", "--metadata", f"etcd://127.0.0.1:{etcd.port}/test"])
        self.process.binaries = binaries
        self.connect()

    def connect(self):
        self.process.start()
        self.channel = grpc.insecure_channel(self.process.address, options=UNLIMITED)
        self.collections = collections_pb2_grpc.CollectionsStub(self.channel)
        self.points = points_pb2_grpc.PointsStub(self.channel)
        self.cluster = cluster_pb2_grpc.ClusterStub(self.channel)

    @property
    def address(self):
        return self.process.address

    def status(self):
        return self.cluster.Status(cluster_pb2.ClusterStatusRequest(), timeout=10)

    def leader(self):
        """The address of whom this coordinator takes for the leader; None while there is none."""
        return next((one.address for one in self.status().coordinators if one.leader), None)

    def names(self):
        return {one.name for one in self.collections.List(c.ListCollectionsRequest(), timeout=10).collections}

    def create(self, name, replicas=1):
        self.collections.Create(c.CreateCollectionRequest(
            name=name, shard_count=2, replication_factor=replicas, fields=[c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)]), timeout=10)

    def write(self, name, ids):
        rows = np.asarray([vector(i) for i in ids], "f4")
        self.points.Upsert(p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=ids, vectors=rows.tobytes())), timeout=10)

    def nearest(self, name, i):
        query = p.Query(vector=common.Vector(data=vector(i).tobytes()), limit=1, exact=True)
        return self.points.Search(p.SearchRequest(collection=name, query=query), timeout=10).points[0].id.number

    def shards(self, name):
        return self.cluster.Shards(cluster_pb2.ListShardsRequest(collection=name), timeout=10).shards

    def count(self, name):
        return self.points.Count(p.CountRequest(collection=name), timeout=10).count


def vector(i):
    return np.random.default_rng(i).standard_normal(DIMENSIONS).astype("f4")


def succeeds(body):
    """Whether it succeeds; what passes by itself counts as not yet."""
    try:
        body()
        return True
    except grpc.RpcError as error:
        passing = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED, grpc.StatusCode.UNKNOWN,
                   grpc.StatusCode.CANCELLED, grpc.StatusCode.NOT_FOUND)
        assert error.code() in passing, error
        return False


class Cluster:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="needletail-test-"))
        self.etcd = Etcd(self.folder / "etcd").start()
        self.doors = [Door(self.folder / f"coordinator-{number}", self.etcd) for number in range(3)]
        # Each worker is told of two coordinators, and finds the third.
        self.workers = [
            Process("needletail-shard", self.folder / f"shard-{number}",
                    ["--coordinator", f"{self.doors[number].address},{self.doors[2].address}"]).start()
            for number in range(2)
        ]
        self.wait()

    def wait(self):
        """Until all coordinators agree on a leader and have heard of all workers."""
        for door in self.doors:
            wait_for(lambda: door.status().nodes_alive == 2 and len(door.status().coordinators) == 3, "everyone knowing everyone", 20, self.describe)
        wait_for(lambda: len({door.leader() for door in self.doors}) == 1 and self.doors[0].leader(), "a leader", 20, self.describe)

    def leader(self):
        address = self.doors[0].leader()
        return next(door for door in self.doors if door.address == address)

    def describe(self):
        return "\n".join(f"--- {one.executable} {one.address}\n{one.output(1500)}" for one in [*(door.process for door in self.doors), *self.workers])

    def close(self, is_clean):
        try:
            for process in [*self.workers, *(door.process for door in self.doors)]:
                process.stop()
        finally:
            for process in [*self.workers, *(door.process for door in self.doors)]:
                if process.process.poll() is None:
                    process.kill()
            self.etcd.kill()
            if is_clean:
                shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def cluster():
    running = Cluster()
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: running.close(True))
        yield running


def test_every_coordinator_serves(cluster):
    for number, door in enumerate(cluster.doors):
        door.create(f"c{number}")
        # Where it was made it is there and ready at once, elsewhere as soon as the news has come.
        status = door.status()
        assert status.shards_ready == status.shards_total, cluster.describe()
        assert {one.state for shard in door.shards(f"c{number}") for one in shard.replicas} == {cluster_pb2.REPLICA_STATE_READY}
        door.write(f"c{number}", range(100))
        for other in cluster.doors:
            wait_for(lambda: succeeds(lambda: other.write(f"c{number}", range(100, 200))), f"c{number} at {other.address}", 5, cluster.describe)
            assert other.count(f"c{number}") == 200
            assert other.nearest(f"c{number}", 150) == 150
    assert all(door.names() == {"c0", "c1", "c2"} for door in cluster.doors)
    with pytest.raises(grpc.RpcError) as refusal:
        cluster.doors[2].create("c0")
    assert refusal.value.code() == grpc.StatusCode.ALREADY_EXISTS
    for door in cluster.doors:
        door.collections.Delete(c.DeleteCollectionRequest(name=f"c{cluster.doors.index(door)}"), timeout=10)
        assert f"c{cluster.doors.index(door)}" not in door.names()
    wait_for(lambda: not any(door.names() for door in cluster.doors), "the deletions everywhere", 5, cluster.describe)
    shown = subprocess.run([str(BINARIES / "needletail"), "status", "--endpoint", cluster.doors[1].address], capture_output=True, text=True, timeout=30)
    assert shown.returncode == 0 and shown.stdout.count("leader") == 1 and all(door.address in shown.stdout for door in cluster.doors), shown
    told = subprocess.run(
        [str(BINARIES / "needletail"), "status", "--json", "--endpoint", cluster.doors[1].address], capture_output=True, text=True, timeout=30)
    assert [one["leader"] for one in json.loads(told.stdout)["coordinators"]].count(True) == 1


def test_another_leads_when_the_leader_is_killed(cluster):
    cluster.doors[0].create("kept")
    old = cluster.leader()
    rest = [door for door in cluster.doors if door is not old]
    for door in rest:
        wait_for(lambda: succeeds(lambda: door.count("kept")), "the collection everywhere", 5, cluster.describe)
    acknowledged, stop = [], threading.Event()

    def writer():
        number = 0
        while not stop.is_set():
            door = rest[number % 2]
            if succeeds(lambda: door.write("kept", range(number * 10, number * 10 + 10))):
                acknowledged.append(number)
            number += 1

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        wait_for(lambda: len(acknowledged) > 5, "writes", 10, cluster.describe)
        old.process.kill()
        wait_for(lambda: all(door.leader() not in (None, old.address) for door in rest), "another leader", 15, cluster.describe)
        assert rest[0].leader() == rest[1].leader()
        for door in rest:
            name = f"after-{door.process.port}"
            wait_for(lambda: succeeds(lambda: door.create(name)) or name in door.names(), "a new collection", 10, cluster.describe)
            wait_for(lambda: succeeds(lambda: door.write(name, range(10))), "a write to it", 10, cluster.describe)
    finally:
        stop.set()
        thread.join()
    for door in rest:
        assert door.count("kept") >= 10 * len(acknowledged)
        assert door.nearest("kept", acknowledged[-1] * 10) == acknowledged[-1] * 10
    # Back, it follows.
    old.connect()
    wait_for(lambda: old.leader() == rest[0].leader() and old.names() == rest[0].names(), "the old leader following", 15, cluster.describe)
    wait_for(lambda: old.status().nodes_alive == 2, "workers finding it again", 15, cluster.describe)


def test_a_leader_that_was_stopped_for_a_while_leads_no_longer(cluster):
    cluster.doors[0].create("before")
    old = cluster.leader()
    rest = [door for door in cluster.doors if door is not old]
    old.process.process.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: all(door.leader() not in (None, old.address) for door in rest), "another leader", 15, cluster.describe)
        wait_for(lambda: succeeds(lambda: rest[0].create("during")) or "during" in rest[0].names(), "a new collection", 10, cluster.describe)
        # Asked before it wakes up: it must not act on what it believed when it was stopped.
        late = old.collections.Create.future(c.CreateCollectionRequest(
            name="late", shard_count=2, fields=[c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)]), timeout=20)
        deletion = old.collections.Delete.future(c.DeleteCollectionRequest(name="before"), timeout=20)
    finally:
        old.process.process.send_signal(signal.SIGCONT)
    # What it answers is either passed on to the new leader, or refused; never decided alone.
    for answer in (late, deletion):
        error = answer.exception()
        assert error is None or error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED), error
    wait_for(lambda: old.leader() == rest[0].leader() != old.address, "the old leader following", 15, cluster.describe)
    wait_for(lambda: len({frozenset(door.names()) for door in cluster.doors}) == 1, "one map", 10, cluster.describe)
    assert "during" in old.names()
    assert ("late" in old.names()) == (late.exception() is None)
    # The replicas of what was made meanwhile were not set aside by anybody's old orders.
    for door in cluster.doors:
        wait_for(lambda: succeeds(lambda: door.write("during", range(50))), "writes", 10, cluster.describe)
        assert door.count("during") == 50
    # On a busy machine it may have been chosen again since.
    said = old.process.output(100_000)
    assert said.index("leads from now on") < said.index("leads no longer")


def test_the_next_leader_promotes_what_the_last_one_could_not(cluster):
    """The leader and a worker that holds primaries die at the same moment: who leads next finds and replaces those primaries."""
    cluster.doors[0].create("twice", replicas=2)
    old = cluster.leader()
    rest = [door for door in cluster.doors if door is not old]
    wait_for(lambda: all(sum(one.in_sync for one in shard.replicas) == 2 for shard in old.shards("twice")), "replicas in sync", 20, cluster.describe)
    rest[0].write("twice", range(100))
    addresses = {node.id: node.address for node in old.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes}
    primary = next(one.node for one in old.shards("twice")[0].replicas if one.primary)
    victim = next(worker for worker in cluster.workers if worker.address == addresses[primary])
    old.process.kill()
    victim.kill()
    for door in rest:
        wait_for(lambda: succeeds(lambda: door.write("twice", range(100, 200))), "writes to the new primaries", 30, cluster.describe)
    for door in rest:
        assert door.count("twice") == 200
        assert all(one.node != primary for shard in door.shards("twice") for one in shard.replicas if one.primary)
    victim.start()
    wait_for(lambda: all(sum(one.in_sync for one in shard.replicas) == 2 for shard in rest[0].shards("twice")), "the worker catching up", 30,
             cluster.describe)
    old.connect()
    cluster.wait()
    assert old.count("twice") == 200


def test_reads_and_writes_go_on_without_etcd(cluster):
    cluster.doors[0].create("c")
    for door in cluster.doors:
        wait_for(lambda: succeeds(lambda: door.write("c", range(10))), "the collection everywhere", 5, cluster.describe)
    cluster.etcd.kill()
    wait_for(lambda: not succeeds(lambda: cluster.doors[1].create("no")), "creations being refused", 20, cluster.describe)

    def reason():
        try:
            cluster.doors[1].create("no")
        except grpc.RpcError as error:
            return error.details()

    # It says what is missing.
    wait_for(lambda: "etcd does not answer" in (reason() or ""), "a refusal that names etcd", 20, reason)
    for door in cluster.doors:
        door.write("c", range(20))
        assert door.count("c") == 20
    cluster.etcd.start()
    wait_for(lambda: succeeds(lambda: cluster.doors[1].create("yes")) or "yes" in cluster.doors[1].names(), "a creation", 20, cluster.describe)
    cluster.wait()


def test_a_coordinator_whose_entry_was_lost_still_hears_of_workers(cluster):
    cluster.doors[0].create("c")
    leader = cluster.leader()
    other = next(door for door in cluster.doors[:2] if door is not leader)
    everything = {"key": base64.b64encode(b"\0").decode(), "range_end": base64.b64encode(b"\0").decode()}
    entries = cluster.etcd.ask("kv/range", everything)["kvs"]
    lost = [one["key"] for one in entries if other.address.encode() in base64.b64decode(one["value"])]
    assert len(lost) == 1 and b"coordinators/" in base64.b64decode(lost[0])
    cluster.etcd.ask("kv/deleterange", {"key": lost[0]})
    wait_for(lambda: len(leader.status().coordinators) == 2, "the entry's end", 20, cluster.describe)

    def beats(door, since):
        ages = [node.heartbeat_age_milliseconds for node in door.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes]
        return len(ages) == 2 and max(ages) < (time.monotonic() - since) * 1000

    # The workers have the new list, more than once; and both go on telling the other of themselves.
    for door in [leader, leader, other]:
        since = time.monotonic()
        wait_for(lambda: beats(door, since), "heartbeats", 20, cluster.describe)
    other.write("c", range(20))
    assert other.count("c") == 20
