"""Shards are cut in two while reads and writes go on, and whoever leads finishes what another began."""

import contextlib
import subprocess
import threading
import time

import grpc
import numpy as np
import pytest
from harness import BINARIES, Cluster, wait_for
from needletail.v1 import cluster_pb2
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p
from test_moves import CALM, DIMENSIONS, PRIMARY, Several, create, events, nearest, operation, operations, rows, shards, write


def split(door, name, shard, **order):
    return door.cluster.Split(cluster_pb2.SplitRequest(collection=name, shard=shard, **order), timeout=10)


def await_step(door, id, step, seconds=60, describe=lambda: ""):
    wait_for(lambda: (lambda one: one is not None and one.step == step)(operation(door, id)), f"the split being {step}", seconds,
             lambda: f"{operations(door)} {describe()}")


def count(door, name, read=PRIMARY):
    return door.points.Count(p.CountRequest(collection=name, read=read), timeout=20).count


def scrolled(door, name, read=PRIMARY):
    ids = []
    for page in door.points.Scroll(p.ScrollRequest(collection=name, read=read), timeout=30):
        ids += [point.id.number for point in page.points]
    return ids


class Traffic:
    """Writers and readers without end. Each write is remembered as it was acknowledged; every answer has to be whole at every moment."""

    def __init__(self, doors, name, stable, writers=3):
        self.doors, self.name, self.stable, self.running = doors, name, stable, True
        self.errors, self.wrong, self.lock = [], [], threading.Lock()
        self.acknowledged, self.deleted, self.reads, self.slowest = {}, set(), 0, 0.0
        self.query = rows([77])[0]
        self.expected = None
        self.writers = writers

    def guarded(self, body):
        turn = 0
        while self.running:
            turn += 1
            try:
                body(self.doors[turn % len(self.doors)], turn)
            except grpc.RpcError as error:
                with self.lock:
                    self.errors.append((time.time(), body.__name__, error.code(), error.details()))

    def writer(self, number):
        base = 1_000_000 + number * 100_000

        def write_some(door, turn):
            ids = [base + (turn * 7 + i) % 3000 for i in range(1 + turn % 5)]
            began = time.monotonic()
            answer = door.points.Upsert(p.UpsertRequest(collection=self.name, packed=p.PackedPoints(ids=ids, vectors=rows(ids, turn).tobytes())), timeout=20)
            took = time.monotonic() - began
            with self.lock:
                self.slowest = max(self.slowest, took)
                self.acknowledged.update({i: turn for i in ids})
            # What a session has seen, it goes on to see, at whichever door.
            if turn % 4 == 0:
                read = p.ReadOptions(session=answer.session)
                request = p.GetPointsRequest(collection=self.name, ids=[common.PointId(number=i) for i in ids], parts=p.PointParts(vectors=True), read=read)
                found = self.doors[(turn // 4) % len(self.doors)].points.Get(request, timeout=20).points
                if len(found) != len(ids) or not all(np.array_equal(np.frombuffer(f.vectors["v"].data, "f4"), rows([f.id.number], turn)[0]) for f in found):
                    self.wrong.append(("session", ids, turn, len(found)))
        return write_some

    def search(self, door, turn):
        consistency = p.READ_CONSISTENCY_PRIMARY if turn % 2 else p.READ_CONSISTENCY_ANY_IN_SYNC
        request = p.SearchRequest(collection=self.name, query=p.Query(vector=common.Vector(data=self.query.tobytes()), limit=60, exact=True),
                                  read=p.ReadOptions(consistency=consistency))
        hits = [hit.id.number for hit in door.points.Search(request, timeout=20).points]
        self.reads += 1
        if len(hits) != len(set(hits)):
            self.wrong.append(("twice", hits))
        stable = [i for i in hits if i in self.stable]
        if stable != self.expected[:len(stable)] or hits[0] != self.expected[0]:
            self.wrong.append(("search", hits, self.expected))

    def scroll(self, door, turn):
        ids = scrolled(door, self.name)
        if len(ids) != len(set(ids)) or not self.stable <= set(ids):
            self.wrong.append(("scroll", len(ids), len(set(ids)), len(self.stable - set(ids))))
        total = count(door, self.name)
        if total < len(self.stable):
            self.wrong.append(("count", total))

    def __enter__(self):
        # Replicas that are in sync may have the last writes in their logs only.
        wait_for(lambda: all(sum(min(r.points for r in s.replicas) for s in shards(door, self.name)) >= len(self.stable) for door in self.doors), "every replica having all", 30)
        hits = nearest(self.doors[0], self.name, self.query)
        request = p.SearchRequest(collection=self.name, query=p.Query(vector=common.Vector(data=self.query.tobytes()), limit=60, exact=True), read=PRIMARY)
        self.expected = [hit.id.number for hit in self.doors[0].points.Search(request, timeout=20).points]
        assert self.expected[0] == hits[0][0]
        bodies = [self.search, self.scroll] + [self.writer(number) for number in range(self.writers)]
        self.threads = [threading.Thread(target=self.guarded, args=(body,)) for body in bodies]
        for thread in self.threads:
            thread.start()
        wait_for(lambda: len(self.acknowledged) > 50 and self.reads > 3, "traffic", 30, lambda: str(self.errors[:3]))
        return self

    def __exit__(self, *_):
        self.running = False
        for thread in self.threads:
            thread.join()

    def check(self, door):
        assert not self.errors, (len(self.errors), self.errors[:3])
        self.check_points(door, exactly=True)

    def check_points(self, door, exactly=False):
        """`exactly`: every write was answered, so what was acknowledged last is what there is."""
        assert not self.wrong, (len(self.wrong), self.wrong[:3])
        ids = sorted(self.acknowledged)
        for start in range(0, len(ids), 1000):
            some = ids[start:start + 1000]
            answer = door.points.Get(p.GetPointsRequest(collection=self.name, ids=[common.PointId(number=i) for i in some],
                                                        parts=p.PointParts(vectors=True), read=PRIMARY), timeout=30)
            found = {point.id.number: np.frombuffer(point.vectors["v"].data, "f4") for point in answer.points}
            for i in some:
                assert i in found, f"point {i} is lost"
                assert not exactly or np.array_equal(found[i], rows([i], self.acknowledged[i])[0]), f"point {i} is not version {self.acknowledged[i]}"
        every = scrolled(door, self.name)
        assert len(every) == len(set(every)) and set(every) >= self.stable | set(ids)
        assert count(door, self.name) == len(every)


def recall(door, name, queries):
    found = 0
    for query in queries:
        ann, truth = [
            [hit.id.number for hit in door.points.Search(
                p.SearchRequest(collection=name, query=p.Query(vector=common.Vector(data=query.tobytes()), limit=10, exact=exact), read=PRIMARY),
                timeout=20).points] for exact in [False, True]]
        found += len(set(ann) & set(truth))
    return found / (10 * len(queries))


def settled(cluster, folders):
    wait_for(lambda: len(list(cluster.folder.glob("shard-*/data/replicas/*"))) == folders, "old files being removed", 30,
             lambda: str(list(cluster.folder.glob("shard-*/data/replicas/*"))) + cluster.describe())
    assert not list(cluster.folder.glob("shard-*/data/orphaned/*"))


class Unharmed:
    """What searches find of a collection, to be found again after its shards were replaced, and after a restart of everything."""

    def __init__(self, cluster, name, stable):
        self.cluster, self.name, self.stable = cluster, name, stable
        self.queries = rows(range(50_000, 50_050))
        self.recall = recall(cluster, name, self.queries)
        self.exact = [nearest(cluster, name, query) for query in self.queries[:10]]

    def check(self, traffic, replicas, folders, loss):
        """`folders`: of replicas, in all; `loss`: of recall, at most."""
        cluster, name = self.cluster, self.name
        traffic.check(cluster)
        assert all(len(s.replicas) == replicas and all(r.in_sync for r in s.replicas) for s in shards(cluster, name))
        settled(cluster, folders)
        for query, hits in zip(self.queries, self.exact):
            found = [hit for hit in nearest(cluster, name, query) if hit[0] in self.stable]
            assert found == hits[:len(found)]
        assert recall(cluster, name, self.queries) >= self.recall - loss
        assert any("done" in message for message in events(cluster))
        total = count(cluster, name)
        for process in [*cluster.workers, cluster.coordinator]:
            process.stop()
        for process in [cluster.coordinator, *cluster.workers]:
            process.start()
        wait_for(lambda: cluster.status().nodes_alive == len(cluster.workers), "the workers", 30)
        cluster.wait_until_ready()
        assert count(cluster, name) == total
        traffic.check(cluster)
        write(cluster, name, range(7000, 7010))
        assert count(cluster, name) == total + 10


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_shard_is_split_under_reads_and_writes(replicas):
    with Cluster(workers=3, coordinator_arguments=CALM) as cluster:
        create(cluster, "split", replicas, 1)
        stable = set(range(6000))
        for start in range(0, 6000, 2000):
            write(cluster, "split", range(start, start + 2000))
        unharmed = Unharmed(cluster, "split", stable)
        with Traffic([cluster], "split", stable) as traffic:
            for number, children in [(0, {1, 2}), (1, {2, 3, 4})]:
                began = time.monotonic()
                begun = split(cluster, "split", number)
                assert begun.kind == "split"
                await_step(cluster, begun.id, "done", 60, cluster.describe)
                print(f"{replicas} replicas: shard {number} split in {time.monotonic() - began:.2f} s, slowest write {traffic.slowest * 1000:.0f} ms")
                assert {s.shard for s in shards(cluster, "split")} == children
            reads = traffic.reads
            wait_for(lambda: traffic.reads > reads + 5, "reads of the parts", 20)
        unharmed.check(traffic, replicas, 3 * replicas, loss=0.01)


def test_what_cannot_be_split_is_refused():
    with Cluster(workers=1, coordinator_arguments=CALM) as cluster:
        create(cluster, "refused", 1, 2)
        first = shards(cluster, "refused")[0]
        for order, code in [
            ({"shard": 7}, grpc.StatusCode.NOT_FOUND), ({"shard": 0, "at": f"{(1 << 64) - 1:016x}"}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"shard": 0, "at": "zz"}, grpc.StatusCode.INVALID_ARGUMENT),
        ]:
            with pytest.raises(grpc.RpcError) as error:
                split(cluster, "refused", **order)
            assert error.value.code() == code, error.value
        # An empty shard, by the command line, unevenly.
        command = [str(BINARIES / "needletail"), "cluster", "split", "refused", "0", "--at", f"{1000:016x}", "--endpoint", cluster.coordinator.address]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        await_step(cluster, shown.stdout.split()[1], "done", 30, cluster.describe)
        assert {s.shard for s in shards(cluster, "refused")} == {1, 2, 3}
        write(cluster, "refused", range(500))
        assert count(cluster, "refused") == 500 and len(scrolled(cluster, "refused")) == 500
        shown = subprocess.run([*command[:2], "operations", *command[-2:]], capture_output=True, text=True, timeout=30)
        assert "split" in shown.stdout and "done" in shown.stdout
        assert first.shard == 0


def test_shards_are_split_by_size_and_no_further():
    limit = 4 << 20
    with Cluster(workers=1, coordinator_arguments=[*CALM, "--split-above", str(limit)]) as cluster:
        create(cluster, "large", 1, 1)
        cluster.cluster.Pause(cluster_pb2.PauseRequest(), timeout=10)
        for start in range(0, 24_000, 4000):
            write(cluster, "large", range(start, start + 4000))

        def plan():
            return cluster.cluster.Plan(cluster_pb2.PlanRequest(), timeout=10)

        # What would be done is shown before it is.
        wait_for(lambda: [(one.kind, one.collection, one.shard) for one in plan().reshardings] == [("split", "large", 0)], "the plan to split", 30, cluster.describe)
        assert plan().held == "moves are paused" and not plan().moves and str(limit) in plan().reshardings[0].reason
        text = subprocess.run([BINARIES / "needletail", "cluster", "plan", "--endpoint", cluster.coordinator.address], capture_output=True, text=True, check=True).stdout
        assert "split shard 0 of large" in text and "not begun yet: moves are paused" in text, text
        cluster.cluster.Resume(cluster_pb2.ResumeRequest(), timeout=10)

        def held():
            return [replica.data_bytes for shard in shards(cluster, "large") for replica in shard.replicas]

        def is_done():
            return len(held()) >= 2 and max(held()) <= limit and all(one.step == "done" for one in operations(cluster))

        wait_for(is_done, "the splits", 120, lambda: f"{held()} {cluster.describe()}")
        # What is divided by two until it is small enough is at least half as large as that, but for how the points happen to lie.
        assert len(held()) <= 3 * sum(held()) / limit + 1, held()
        assert count(cluster, "large") == 24_000


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_cancelled_split_leaves_nothing(replicas):
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "cancelled", replicas, 1)
        for start in range(0, 20_000, 4000):
            write(cluster, "cancelled", range(start, start + 4000))
        begun = split(cluster, "cancelled", 0)
        try:
            cluster.cluster.Cancel(cluster_pb2.CancelRequest(id=begun.id), timeout=10)
            await_step(cluster, begun.id, "cancelled", 60, cluster.describe)
            assert [s.shard for s in shards(cluster, "cancelled")] == [0]
            settled(cluster, replicas)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
        write(cluster, "cancelled", range(20_000, 20_010))
        assert count(cluster, "cancelled") == 20_010
        # The next one has numbers of its own.
        begun = split(cluster, "cancelled", shards(cluster, "cancelled")[0].shard)
        await_step(cluster, begun.id, "done", 60, cluster.describe)
        assert min(s.shard for s in shards(cluster, "cancelled")) >= 3
        assert count(cluster, "cancelled") == 20_010


@pytest.mark.parametrize("victim", ["primary", "backup"])
def test_a_worker_dies_during_a_split(victim):
    with Cluster(workers=3, coordinator_arguments=CALM) as cluster:
        create(cluster, "dying", 2, 1)
        stable = set(range(8000))
        for start in range(0, 8000, 2000):
            write(cluster, "dying", range(start, start + 2000))
        with Traffic([cluster], "dying", stable) as traffic:
            for round in range(3):
                parts = {s.shard: s for s in shards(cluster, "dying")}
                number = max(parts)
                node = next(r.node for r in parts[number].replicas if r.primary == (victim == "primary"))
                address = next(n.address for n in cluster.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes if n.id == node)
                worker = next(w for w in cluster.workers if w.address == address)
                begun = split(cluster, "dying", number)
                # At other moments each time.
                end = time.monotonic() + 0.15 * round
                wait_for(lambda: time.monotonic() > end, "the moment", 5)
                worker.kill()
                wait_for(lambda: operation(cluster, begun.id).step in ["done", "dropping", "preparing", "sealing"], "a step", 20)
                worker.start()
                await_step(cluster, begun.id, "done", 90, cluster.describe)
                wait_for(lambda: all(r.in_sync for s in shards(cluster, "dying") for r in s.replicas), "all in sync", 60, cluster.describe)
        traffic.check_points(cluster)
        assert not traffic.errors, (len(traffic.errors), traffic.errors[:3])
        settled(cluster, 8)


def test_a_replica_that_was_away_joins_the_parts_under_writes():
    """It begins with a checkpoint of a part, which is the one that the part itself began with: the log goes on right after it."""
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "away", 2, 1)
        for start in range(0, 4000, 2000):
            write(cluster, "away", range(start, start + 2000))
        with Traffic([cluster], "away", set(range(4000))) as traffic:
            node = next(r.node for r in shards(cluster, "away")[0].replicas if not r.primary)
            address = next(n.address for n in cluster.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes if n.id == node)
            worker = next(w for w in cluster.workers if w.address == address)
            worker.kill()
            wait_for(lambda: not any(r.in_sync and r.node == node for s in shards(cluster, "away") for r in s.replicas), "its leaving", 30)
            begun = split(cluster, "away", 0)
            wait_for(lambda: len(shards(cluster, "away")) == 2, "the parts", 60, cluster.describe)
            worker.start()
            wait_for(lambda: all(r.in_sync for s in shards(cluster, "away") for r in s.replicas), "all in sync", 15, cluster.describe)
            await_step(cluster, begun.id, "done", 30, cluster.describe)
        traffic.check(cluster)


def test_the_next_leader_finishes_a_split_from_any_step():
    cluster = Several()
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.close)
        create(cluster.doors[0], "led", 2, 1)
        for door in cluster.doors:
            wait_for(lambda: "led" in door.names(), "the collection everywhere", 10)
        for start in range(0, 6000, 2000):
            write(cluster.doors[0], "led", range(start, start + 2000))
        order = ["preparing", "sealing", "dropping", "done"]
        killed_at = []
        for round in range(8):
            leader = cluster.leader()
            other = next(door for door in cluster.doors if door is not leader)
            parts = shards(other, "led")
            number = min(s.shard for s in parts)
            begun = split(leader, "led", number)
            seen, deadline = None, time.monotonic() + 30
            while time.monotonic() < deadline:
                now = operation(other, begun.id)
                if now and order.index(now.step) >= round % 4:
                    seen = now.step
                    break
            leader.process.kill()
            killed_at.append(seen)
            wait_for(lambda: other.leader() == other.address, "another leader", 30, cluster.describe)
            await_step(other, begun.id, "done", 60, cluster.describe)
            after = shards(other, "led")
            assert len(after) == len(parts) + 1 and number not in {s.shard for s in after}
            assert count(other, "led") == 6000 + round
            write(other, "led", [10_000 + round])
            leader.connect()
            for door in cluster.doors:
                wait_for(lambda: door.status().nodes_alive == 3 and len(door.status().coordinators) == 2 and door.leader(), "everyone knowing everyone", 30,
                         cluster.describe)
        print("killed while the split was", killed_at)
        assert len(set(killed_at)) >= 2
        assert {one.step for one in operations(cluster.doors[0])} == {"done"} and len(operations(cluster.doors[0])) == 8
        ids = scrolled(cluster.doors[1], "led")
        assert len(ids) == len(set(ids)) == 6008
        settled(cluster, 18)


def test_two_doors_stay_right_while_shards_are_split():
    cluster = Several()
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.close)
        create(cluster.doors[0], "doors", 2, 1)
        for door in cluster.doors:
            wait_for(lambda: "doors" in door.names(), "the collection everywhere", 10)
        write(cluster.doors[0], "doors", range(4000))
        with Traffic(cluster.doors, "doors", set(range(4000))) as traffic:
            for round in range(3):
                begun = split(cluster.doors[round % 2], "doors", max(s.shard for s in shards(cluster.doors[0], "doors")))
                await_step(cluster.doors[0], begun.id, "done", 60, cluster.describe)
                wait_for(lambda: len(shards(cluster.doors[0], "doors")) == round + 2, "the parts", 10)
        print(f"slowest write {traffic.slowest * 1000:.0f} ms")
        for door in cluster.doors:
            traffic.check(door)


def test_a_collection_is_deleted_while_a_shard_is_split():
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "gone", 2, 1)
        for start in range(0, 12_000, 4000):
            write(cluster, "gone", range(start, start + 4000))
        begun = split(cluster, "gone", 0)
        wait_for(lambda: len(list(cluster.folder.glob("shard-*/data/replicas/*"))) > 2, "the parts", 30, cluster.describe)
        cluster.collections.Delete(c.DeleteCollectionRequest(name="gone"), timeout=30)
        wait_for(lambda: operation(cluster, begun.id).step in ["failed", "done"], "the end of the split", 30, lambda: f"{operations(cluster)}")
        wait_for(lambda: not list(cluster.folder.glob("shard-*/data/replicas/*")), "no files", 20,
                 lambda: str(list(cluster.folder.glob("shard-*/data/replicas/*"))) + cluster.describe())


def test_codes_and_payloads_are_split_as_well():
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2, index=c.IndexSpec(spec="lvq8"))
        cluster.collections.Create(c.CreateCollectionRequest(name="coded", fields=[field], shard_count=1, replication_factor=2), timeout=30)
        for start in range(0, 6000, 2000):
            points = [p.Point(id=common.PointId(number=i), vectors={"v": common.Vector(data=row.tobytes())}, payload={"n": common.Value(int_value=i)})
                      for i, row in zip(range(start, start + 2000), rows(range(start, start + 2000)))]
            cluster.points.Upsert(p.UpsertRequest(collection="coded", points=points), timeout=30)

        def is_coded():
            codec = cluster.collections.Get(c.GetCollectionRequest(name="coded"), timeout=10).codecs[0]
            return codec.version > 0 and codec.encoded == codec.total > 0

        wait_for(is_coded, "codes", 60, lambda: str(cluster.collections.Get(c.GetCollectionRequest(name="coded"), timeout=10)) + cluster.describe())
        queries = rows(range(50_000, 50_040))
        before = recall(cluster, "coded", queries)
        await_step(cluster, split(cluster, "coded", 0).id, "done", 60, cluster.describe)
        wait_for(is_coded, "codes of the parts", 60, cluster.describe)
        assert recall(cluster, "coded", queries) >= before - 0.01
        ids = [common.PointId(number=i) for i in range(6000)]
        answer = cluster.points.Get(p.GetPointsRequest(collection="coded", ids=ids, parts=p.PointParts(payload=True), read=PRIMARY), timeout=30)
        assert {one.id.number: one.payload["n"].int_value for one in answer.points} == {i: i for i in range(6000)}
