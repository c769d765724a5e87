"""Replicas move between nodes while reads and writes go on, by hand and by plan, and whoever leads finishes what another began."""

import contextlib
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

import grpc
import numpy as np
import pytest
from harness import BINARIES, Cluster, Etcd, Process, wait_for
from needletail.v1 import cluster_pb2
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p
from test_coordinators import Door

DIMENSIONS = 64
# Nothing moves for balance by itself.
CALM = ["--rebalance-after", "3600"]
# As soon as it may.
EAGER = ["--rebalance-after", "1", "--rest", "0"]
# Everything that was acknowledged; another replica may not have it in its index yet.
PRIMARY = p.ReadOptions(consistency=p.READ_CONSISTENCY_PRIMARY)


def create(door, name, replicas=1, shards=2):
    field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
    door.collections.Create(c.CreateCollectionRequest(name=name, fields=[field], shard_count=shards, replication_factor=replicas), timeout=30)


def rows(ids, version=0):
    return np.stack([np.random.default_rng([i, version]).standard_normal(DIMENSIONS) for i in ids]).astype("f4")


def write(door, name, ids, version=0, timeout=20):
    ids = list(ids)
    door.points.Upsert(p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=ids, vectors=rows(ids, version).tobytes())), timeout=timeout)


def nearest(door, name, query, read=PRIMARY):
    request = p.SearchRequest(collection=name, query=p.Query(vector=common.Vector(data=query.tobytes()), limit=10, exact=True), read=read)
    return [(hit.id.number, hit.score) for hit in door.points.Search(request, timeout=20).points]


def shards(door, name=""):
    return door.cluster.Shards(cluster_pb2.ListShardsRequest(collection=name), timeout=10).shards


def nodes(door):
    return door.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes


def operations(door):
    return door.cluster.Operations(cluster_pb2.ListOperationsRequest(), timeout=10).operations


def operation(door, id):
    return next((one for one in operations(door) if one.id == id), None)


def node_of(door, worker):
    return next(n.id for n in nodes(door) if n.address == worker.address)


def holders(shard):
    return {r.node for r in shard.replicas}


def move(door, name, shard, **order):
    return door.cluster.Move(cluster_pb2.MoveRequest(collection=name, shard=shard, **order), timeout=10)


def events(door):
    return [e.message for e in door.cluster.Events(cluster_pb2.ListEventsRequest(), timeout=10).events]


class Traffic:
    """Writes and reads without end; every write that is acknowledged is remembered."""

    def __init__(self, doors, name, ids=range(100_000, 100_400)):
        self.doors, self.name, self.ids = doors, name, ids
        self.acknowledged, self.errors, self.running = {}, [], True
        self.reads = 0

    def write(self):
        version = 0
        while self.running:
            version += 1
            start = version * 7 % (len(self.ids) - 5)
            some = self.ids[start:start + 5]
            try:
                write(self.doors[version % len(self.doors)], self.name, some, version)
                self.acknowledged.update({i: version for i in some})
            except grpc.RpcError as error:
                self.errors.append(("write", error.code(), error.details()))

    def read(self):
        query = rows([1])[0]
        while self.running:
            self.reads += 1
            consistency = p.READ_CONSISTENCY_PRIMARY if self.reads % 2 else p.READ_CONSISTENCY_ANY_IN_SYNC
            try:
                nearest(self.doors[self.reads % len(self.doors)], self.name, query, p.ReadOptions(consistency=consistency))
            except grpc.RpcError as error:
                self.errors.append(("read", error.code(), error.details()))

    def __enter__(self):
        self.threads = [threading.Thread(target=self.write), threading.Thread(target=self.read)]
        for thread in self.threads:
            thread.start()
        wait_for(lambda: len(self.acknowledged) > 20 and self.reads > 5, "traffic", 20)
        return self

    def __exit__(self, *_):
        self.running = False
        for thread in self.threads:
            thread.join()

    def check(self, door):
        assert not self.errors, self.errors[:3]
        ids = sorted(self.acknowledged)
        answer = door.points.Get(p.GetPointsRequest(collection=self.name, ids=[common.PointId(number=i) for i in ids],
                                                    parts=p.PointParts(vectors=True), read=PRIMARY), timeout=20)
        found = {point.id.number: np.frombuffer(point.vectors["v"].data, "f4") for point in answer.points}
        for i in ids:
            assert np.array_equal(found[i], rows([i], self.acknowledged[i])[0]), f"point {i} is not version {self.acknowledged[i]}"


@pytest.fixture
def cluster():
    with Cluster(workers=3, coordinator_arguments=CALM) as cluster:
        yield cluster


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_replica_moves_under_reads_and_writes(cluster, replicas):
    create(cluster, "moving", replicas)
    write(cluster, "moving", range(4000))
    queries = rows(range(50_000, 50_020))
    before = [nearest(cluster, "moving", query) for query in queries]
    with Traffic([cluster], "moving") as traffic:
        for round in range(3):
            shard = shards(cluster, "moving")[0]
            # The primary's: the hardest.
            source = next(r.node for r in shard.replicas if r.primary)
            target = next(n.id for n in nodes(cluster) if n.id not in holders(shard))
            begun = move(cluster, "moving", 0, **{"from": source, "to": target})
            count = len(traffic.acknowledged), traffic.reads
            wait_for(lambda: operation(cluster, begun.id).step == "done", "the move", 60, lambda: f"{operations(cluster)} {cluster.describe()}")
            after = shards(cluster, "moving")[0]
            assert holders(after) == holders(shard) - {source} | {target} and all(r.in_sync for r in after.replicas)
            assert traffic.reads > count[1]
    traffic.check(cluster)
    kept = lambda hits: [hit for hit in hits if hit[0] < 4000]
    for query, hits in zip(queries, before):
        found = kept(nearest(cluster, "moving", query))
        assert found == hits[:len(found)]
    expected = 2 * replicas
    wait_for(lambda: len(list(cluster.folder.glob("shard-*/data/replicas/*"))) == expected, "old files being removed", 20, cluster.describe)
    assert not list(cluster.folder.glob("shard-*/data/orphaned/*"))
    assert any("done" in message for message in events(cluster))


def test_a_primary_moves_by_itself(cluster):
    create(cluster, "lead", 2, 1)
    write(cluster, "lead", range(1000))
    with Traffic([cluster], "lead") as traffic:
        for _ in range(5):
            shard = shards(cluster, "lead")[0]
            heir = next(r.node for r in shard.replicas if not r.primary)
            begun = move(cluster, "lead", 0, to=heir, lead_only=True)
            wait_for(lambda: operation(cluster, begun.id).step == "done", "the change of the primary", 30, lambda: f"{operations(cluster)} {cluster.describe()}")
            after = shards(cluster, "lead")[0]
            assert next(r.node for r in after.replicas if r.primary) == heir
            wait_for(lambda: all(r.in_sync for r in shards(cluster, "lead")[0].replicas), "both in sync", 30, cluster.describe)
    traffic.check(cluster)


def test_cancelling_undoes(cluster):
    create(cluster, "cancelled", 1, 1)
    write(cluster, "cancelled", range(3000))
    shard = shards(cluster, "cancelled")[0]
    (source,) = holders(shard)
    target = next(n.id for n in nodes(cluster) if n.id != source)
    # Held before it begins.
    cluster.cluster.Pause(cluster_pb2.PauseRequest(), timeout=10)
    begun = move(cluster, "cancelled", 0, **{"from": source, "to": target})
    # The leader goes through its moves several times a heartbeat.
    for _ in range(2):
        since = time.monotonic()
        wait_for(lambda: all(n.heartbeat_age_milliseconds < (time.monotonic() - since) * 1000 for n in nodes(cluster)), "heartbeats", 10)
    assert operation(cluster, begun.id).step == "adding"
    with pytest.raises(grpc.RpcError) as error:
        move(cluster, "cancelled", 0, **{"from": source, "to": target})
    assert error.value.code() == grpc.StatusCode.ABORTED
    cluster.cluster.Cancel(cluster_pb2.CancelRequest(id=begun.id), timeout=10)
    wait_for(lambda: operation(cluster, begun.id).step == "cancelled", "the end of the move", 20, cluster.describe)
    cluster.cluster.Resume(cluster_pb2.ResumeRequest(), timeout=10)
    # Cancelled while the new replica cannot get there.
    worker = next(w for w in cluster.workers if w.address == next(n.address for n in nodes(cluster) if n.id == target))
    begun = move(cluster, "cancelled", 0, **{"from": source, "to": target})
    worker.kill()
    step = wait_for(lambda: (lambda s: s if s != "adding" else None)(operation(cluster, begun.id).step), "the move begun", 20)
    if step == "catching up":
        cluster.cluster.Cancel(cluster_pb2.CancelRequest(id=begun.id), timeout=10)
        wait_for(lambda: holders(shards(cluster, "cancelled")[0]) == {source}, "the new replica out of the shard", 20, cluster.describe)
        worker.start()
        wait_for(lambda: operation(cluster, begun.id).step == "cancelled", "the end of the move", 30, cluster.describe)
    else:
        worker.start()
    write(cluster, "cancelled", range(3000, 3010))
    assert cluster.points.Count(p.CountRequest(collection="cancelled", read=PRIMARY), timeout=20).count == 3010
    with pytest.raises(grpc.RpcError) as error:
        cluster.cluster.Cancel(cluster_pb2.CancelRequest(id=begun.id), timeout=10)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_a_drained_node_is_emptied(cluster):
    create(cluster, "one", 1, 4)
    create(cluster, "two", 2, 2)
    for name in ["one", "two"]:
        write(cluster, name, range(2000))
    drained = node_of(cluster, cluster.workers[1])
    binary = [str(BINARIES / "needletail"), "cluster"]
    endpoint = ["--endpoint", cluster.coordinator.address]
    with Traffic([cluster], "one") as traffic:
        subprocess.run([*binary, "drain", drained[-8:], "--wait", "90", *endpoint], check=True, capture_output=True, timeout=120)
    traffic.check(cluster)
    assert all(drained not in holders(shard) for shard in shards(cluster))
    assert next(n for n in nodes(cluster) if n.id == drained).drained
    create(cluster, "new", 2, 3)
    assert all(drained not in holders(shard) for shard in shards(cluster))
    assert cluster.points.Count(p.CountRequest(collection="two", read=PRIMARY), timeout=20).count == 2000
    for command in ["nodes", "shards", "plan", "operations", "events", "status"]:
        for form in [[], ["--json"]]:
            shown = subprocess.run([*binary, command, *form, *endpoint], capture_output=True, text=True, timeout=30)
            assert shown.returncode == 0 and shown.stdout, (command, shown)
    subprocess.run([*binary, "drain", drained, "--undo", *endpoint], check=True, timeout=30)
    assert not any(n.drained for n in nodes(cluster))


def test_the_last_node_is_not_drained():
    with Cluster(workers=2, coordinator_arguments=EAGER) as cluster:
        create(cluster, "here", 1, 2)
        first, last = (node_of(cluster, worker) for worker in cluster.workers)
        cluster.cluster.Drain(cluster_pb2.DrainRequest(node=first), timeout=10)
        with pytest.raises(grpc.RpcError, match="no other shard worker") as refused:
            cluster.cluster.Drain(cluster_pb2.DrainRequest(node=last), timeout=10)
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        cluster.cluster.Undrain(cluster_pb2.UndrainRequest(node=first), timeout=10)
        cluster.cluster.Drain(cluster_pb2.DrainRequest(node=last), timeout=10)


def test_a_node_that_joins_gets_its_share():
    with Cluster(workers=3, coordinator_arguments=EAGER) as cluster:
        # What grows shard by shard, and is written to checkpoints one by one, is uneven on the way.
        cluster.cluster.Pause(cluster_pb2.PauseRequest(), timeout=10)
        create(cluster, "grown", 1, 12)
        for start in range(0, 24_000, 4000):
            write(cluster, "grown", range(start, start + 4000))
        seen = []

        def rests():
            seen.append([r.data_bytes for s in shards(cluster, "grown") for r in s.replicas])
            return len(seen) > 40 and seen.count(seen[-1]) > 40

        wait_for(rests, "the sizes standing still", 60, cluster.describe)
        with Traffic([cluster], "grown") as traffic:
            joined = cluster.add_worker()
            cluster.cluster.Resume(cluster_pb2.ResumeRequest(), timeout=10)
            wait_for(lambda: cluster.status().nodes_alive == 4, "the fourth worker", 20)
            new = node_of(cluster, joined)

            def share():
                return sum(new in holders(shard) for shard in shards(cluster, "grown"))

            wait_for(lambda: share() >= 3 and all(one.step == "done" for one in operations(cluster)), "a share of the shards", 90,
                     lambda: f"{operations(cluster)} {cluster.describe()}")
            # It stays so, for as many requests again.
            count = traffic.reads
            wait_for(lambda: traffic.reads > 2 * count, "as many reads again", 90, cluster.describe)
        traffic.check(cluster)
        done = operations(cluster)
        assert {one.step for one in done} == {"done"} and {one.move.cause for one in done} == {"balance"} and {one.move.to for one in done} == {new}
        sizes = {s.shard: sum(r.data_bytes for r in s.replicas) for s in shards(cluster, "grown")}
        moved, total = sum(sizes[one.move.shard] for one in done), sum(sizes.values())
        assert share() == 3 and moved <= 1.1 * total / 4, (moved, total)
        assert cluster.points.Count(p.CountRequest(collection="grown", read=PRIMARY), timeout=20).count == 24_000 + len(traffic.acknowledged)
        assert not cluster.cluster.Plan(cluster_pb2.PlanRequest(), timeout=10).moves


def test_replicas_go_to_other_zones():
    with Cluster(workers=0, coordinator_arguments=EAGER) as cluster:
        for zone in ["a", "a", "b"]:
            cluster.add_worker("--zone", zone, "--weight", "2", "--memory-limit", "1GiB")
        wait_for(lambda: cluster.status().nodes_alive == 3, "the workers", 20)
        facts = nodes(cluster)
        assert sorted(n.zone for n in facts) == ["a", "a", "b"] and {n.weight for n in facts} == {2} and {n.memory_limit_bytes for n in facts} == {1 << 30}
        assert all(n.disk_limit_bytes >= n.disk_free_bytes > 0 for n in facts)
        create(cluster, "zoned", 2, 4)
        b = next(n.id for n in facts if n.zone == "b")
        assert all(b in holders(shard) for shard in shards(cluster, "zoned"))


def test_what_a_lost_node_held_is_made_elsewhere():
    with Cluster(workers=3, coordinator_arguments=[*CALM, "--lost-after", "5"]) as cluster:
        create(cluster, "lost", 2, 3)
        write(cluster, "lost", range(1000))
        gone = node_of(cluster, cluster.workers[0])
        cluster.workers[0].kill()
        wait_for(lambda: all(gone not in holders(s) and len(s.replicas) == 2 and all(r.in_sync for r in s.replicas) for s in shards(cluster, "lost")),
                 "replicas elsewhere", 60, lambda: f"{operations(cluster)} {cluster.describe()}")
        assert cluster.points.Count(p.CountRequest(collection="lost", read=PRIMARY), timeout=20).count == 1000
        assert {one.move.cause for one in operations(cluster)} <= {"lost", "leads"}
        cluster.workers[0].start()


class Several:
    """Two coordinators on one etcd, three workers."""

    def __init__(self, ways=lambda etcd: [etcd, etcd]):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="needletail-test-"))
        self.etcd = Etcd(self.folder / "etcd").start()
        self.doors = [Door(self.folder / f"coordinator-{number}", way) for number, way in enumerate(ways(self.etcd))]
        addresses = ",".join(door.address for door in self.doors)
        self.workers = [
            Process("needletail-shard", self.folder / f"shard-{number}", ["--coordinator", addresses]).start() for number in range(3)]
        for door in self.doors:
            wait_for(lambda: door.status().nodes_alive == 3 and len(door.status().coordinators) == 2 and door.leader(), "everyone knowing everyone", 20)

    def leader(self):
        address = wait_for(lambda: self.doors[0].leader(), "a leader", 20)
        return next(door for door in self.doors if door.address == address)

    def describe(self):
        return "\n".join(f"--- {one.executable} {one.address}\n{one.output(1500)}" for one in [*(door.process for door in self.doors), *self.workers])

    def close(self):
        processes = [*self.workers, *(door.process for door in self.doors)]
        try:
            for process in processes:
                process.stop()
        finally:
            for process in processes:
                if process.process.poll() is None:
                    process.kill()
            self.etcd.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def test_the_next_leader_finishes_a_move_from_any_step():
    cluster = Several()
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.close)
        create(cluster.doors[0], "moved", 1, 1)
        for door in cluster.doors:
            wait_for(lambda: shards(door, "moved"), "the collection everywhere", 10)
        write(cluster.doors[0], "moved", range(5000))
        killed_at = set()
        for round, step in enumerate(["adding", "catching up", "leading", "removing", "dropping", "done"] * 2):
            leader = cluster.leader()
            other = next(door for door in cluster.doors if door is not leader)
            (source,) = holders(shards(other, "moved")[0])
            target = [n.id for n in nodes(other) if n.id != source][round % 2]
            begun = move(leader, "moved", 0, **{"from": source, "to": target})
            seen = None
            order = ["adding", "catching up", "leading", "removing", "dropping", "done"]
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                now = operation(other, begun.id)
                if now and order.index(now.step) >= order.index(step):
                    seen = now.step
                    break
            leader.process.kill()
            killed_at.add(seen)
            wait_for(lambda: other.leader() == other.address, "another leader", 30, cluster.describe)
            wait_for(lambda: operation(other, begun.id).step == "done", f"the move that was {seen}", 60, lambda: f"{operations(other)} {cluster.describe()}")
            assert holders(shards(other, "moved")[0]) == {target}
            assert other.count("moved") == 5000 + round
            write(other, "moved", [10_000 + round])
            leader.connect()
            for door in cluster.doors:
                wait_for(lambda: door.status().nodes_alive == 3 and len(door.status().coordinators) == 2 and door.leader(), "everyone knowing everyone", 30,
                         cluster.describe)
        print("killed while the move was", killed_at)
        assert len(killed_at) >= 3
        done = operations(cluster.doors[0])
        assert len(done) == 12 and {one.step for one in done} == {"done"}
        wait_for(lambda: len(list(cluster.folder.glob("shard-*/data/replicas/*"))) == 1, "one replica's files", 20, cluster.describe)
        assert not list(cluster.folder.glob("shard-*/data/orphaned/*"))


def test_nodes_are_named_by_enough_digits():
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        node = cluster.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes[0].id

        def drain(text, *more):
            command = [str(BINARIES / "needletail"), "cluster", "drain", text, *more, "--endpoint", cluster.coordinator.address]
            return subprocess.run(command, capture_output=True, text=True, timeout=30)

        for text in [node[-1], node[:3], node[-3:], "", "zzzz", "0" * 17]:
            refused = drain(text)
            assert refused.returncode != 0 and "cluster nodes" in refused.stderr, refused
        assert not any(n.drained for n in cluster.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes)
        for text in [node[:4], node[-4:], node]:
            for more in [[], ["--undo"]]:
                assert drain(text, *more).returncode == 0
                assert [n.drained for n in cluster.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes if n.id == node] == [not more]


def test_a_dead_node_is_drained_and_forgotten():
    """By every coordinator; and one that comes back all the same is a new node, whose old files are kept and not served."""
    with contextlib.closing(Several()) as cluster:
        door = cluster.doors[0]

        def command(verb, node, *more):
            words = [str(BINARIES / "needletail"), "cluster", verb, node, *more, "--endpoint", cluster.doors[1].address]
            return subprocess.run(words, capture_output=True, text=True, timeout=90)

        create(door, "kept", 2, 3)
        write(door, "kept", range(300))
        gone = cluster.workers[0]
        node = node_of(door, gone)
        assert any(node in holders(shard) for shard in shards(door))
        refused = command("forget", node)
        assert refused.returncode != 0 and "is alive" in refused.stderr, refused
        gone.kill()
        wait_for(lambda: not next(n for n in nodes(door) if n.id == node).alive, "the node being dead", 20)
        refused = command("forget", node)
        assert refused.returncode != 0 and "has a part in shard" in refused.stderr and f"needletail cluster drain {node}" in refused.stderr, refused
        # Another one in its place, with its address.
        (gone.folder / "data").rename(gone.folder / "former")
        gone.start()
        wait_for(lambda: all(door.status().nodes_alive == 3 for door in cluster.doors), "the node in its place", 20)
        assert len([n for n in nodes(door) if n.address == gone.address]) == 2
        drained = command("drain", node, "--wait", "60")
        assert drained.returncode == 0 and "0 replicas are left" in drained.stdout, drained
        wait_for(lambda: all(node not in holders(shard) and sum(r.in_sync for r in shard.replicas) == 2 for shard in shards(door)), "replicas elsewhere", 60)
        # The address is the living one's for those who drain, and the dead one's for those who forget.
        assert command("drain", gone.address).returncode == 0 and command("drain", gone.address, "--undo").returncode == 0
        forgotten = command("forget", gone.address)
        assert forgotten.returncode == 0 and node in forgotten.stdout, forgotten
        for each in cluster.doors:
            wait_for(lambda: node not in {n.id for n in nodes(each)} and each.status().nodes_total == 3, "the node being off the list", 20)
        again = command("forget", node)
        assert again.returncode != 0 and "cluster nodes" in again.stderr, again
        former = Process("needletail-shard", gone.folder.with_name("former"), gone.arguments)
        (gone.folder / "former").rename(former.folder / "data")
        cluster.workers.append(former.start())
        wait_for(lambda: any(n.id == node and n.alive and not n.drained for n in nodes(door)), "the node coming back", 20)
        wait_for(lambda: not list((former.folder / "data" / "replicas").iterdir()), "what it had being set aside", 20)
        assert door.points.Count(p.CountRequest(collection="kept", read=PRIMARY), timeout=20).count == 300


def test_copies_keep_to_their_rate():
    """A replica of some megabytes is copied no faster than is allowed, and is whole; what is written meanwhile does not wait for it."""
    rate = 2 << 20
    with Cluster(workers=2, worker_arguments=["--copy-rate", "2MiB"], coordinator_arguments=CALM) as cluster:
        create(cluster, "slow", 1, 1)
        for start in range(0, 24_000, 4000):
            write(cluster, "slow", range(start, start + 4000))
        held = shards(cluster, "slow")[0].replicas[0]
        assert held.data_bytes > 2 * rate

        def saved():
            return sum(file.stat().st_size for file in cluster.folder.glob("shard-*/data/replicas/*/checkpoint/slabs-*"))

        # What the checkpoint lacks comes along the log, which is not limited.
        wait_for(lambda: saved() > held.data_bytes / 2, "a checkpoint", 60, cluster.describe)
        target = next(n.id for n in cluster.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes if n.id != held.node)
        began = time.monotonic()
        begun = move(cluster, "slow", 0, **{"from": held.node, "to": target})
        written = 0
        while operation(cluster, begun.id).step in ("adding", "catching up"):
            write(cluster, "slow", [100_000 + written])
            written += 1
        took = time.monotonic() - began
        wait_for(lambda: operation(cluster, begun.id).step == "done", "the move", 60, cluster.describe)
        # The newest checkpoint, when the copy begins, may have half of it.
        assert took >= held.data_bytes / 4 / rate, (took, held.data_bytes)
        assert written > 5
        answer = cluster.points.Count(p.CountRequest(collection="slow", read=PRIMARY), timeout=20)
        assert answer.count == 24_000 + written


def test_busy_shards_spread():
    """Four shards of equal size on two nodes; the two that are searched are on one of them."""
    with Cluster(workers=2, coordinator_arguments=EAGER) as own:
        names = [f"c{number}" for number in range(4)]
        for name in names:
            create(own, name, shards=1)
            for first in range(0, 10_000, 2_000):
                write(own, name, range(first, first + 2_000))
        place = {name: shards(own, name)[0].replicas[0].node for name in names}
        assert sorted(list(place.values()).count(node) for node in set(place.values())) == [2, 2], place
        busy = [name for name in names if place[name] == place[names[0]]]
        # Several queries a request: it is the workers that are to be busy, and not the test.
        queries = [p.Query(vector=common.Vector(data=row.tobytes()), limit=10, exact=True) for row in rows(range(32))]
        over, failures = threading.Event(), []

        def search():
            turn = 0
            while not over.is_set():
                try:
                    own.points.SearchBatch(p.SearchBatchRequest(collection=busy[turn % 2], queries=queries), timeout=20)
                except grpc.RpcError as error:
                    failures.append(error)
                turn += 1

        def spread():
            return len({shards(own, name)[0].replicas[0].node for name in busy}) == 2 and not [one for one in operations(own) if one.step != "done"]

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            wait_for(spread, "the two busy shards being on two nodes", 90, lambda: f"{operations(own)} {own.describe()}")
        finally:
            over.set()
            for thread in threads:
                thread.join()
        reasons = [one.move.reason for one in operations(own) if one.move.cause == "balance"]
        assert any("share of the work" in reason for reason in reasons), reasons
        held = [node for name in names for node in holders(shards(own, name)[0])]
        assert sorted(held.count(node) for node in set(held)) == [2, 2] and not failures, (held, failures[:3], own.describe())
        assert sum(one.work for one in nodes(own)) > 0.2 and sum(one.work for one in shards(own)) > 0.2
