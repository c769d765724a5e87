"""A cluster under random faults: nothing acknowledged is lost, no read is stale, and in the end all replicas are the same.

NEEDLETAIL_CHAOS_SECONDS is how long the faults last, NEEDLETAIL_CHAOS_SEED replays the same faults and requests (not their
timing); NEEDLETAIL_CHAOS_FAULTS names those of `Nemesis` that there are to be, with commas between them; NEEDLETAIL_CHAOS_NETWORK=0 keeps to the loopback.
"""

import collections
import contextlib
import os
import threading
import time

import grpc
import numpy as np
import pytest
from faults import Nemesis, Stubs, World
from harness import wait_for
from history import History, Session, check
from needletail.internal.v1 import shard_pb2
from needletail.v1 import cluster_pb2
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

SECONDS = float(os.environ.get("NEEDLETAIL_CHAOS_SECONDS", "75"))
DIMENSIONS = 8
REPLICAS = {"two": 2, "three": 3}
CLIENTS = 6
PRIMARY = p.ReadOptions(consistency=p.READ_CONSISTENCY_PRIMARY)
# What a request may be refused with while there are faults; DATA_LOSS: the log of the only member that is in sync is broken.
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED,
           grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DATA_LOSS)


def vector(i, version):
    """Spread by a multiplicative hash: any two versions of any two points differ."""
    mixed = (np.arange(1, DIMENSIONS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(i * 1_000_003 + version * 0x5851F42D4C957F2D % 2**63)
    return ((mixed * np.uint64(0xD1342543DE82EF95) >> np.uint64(40)).astype("f4") / 2**24)


def named(i):
    return common.PointId(number=i)


def point(i, version):
    return p.Point(id=named(i), vectors={"v": common.Vector(data=vector(i, version).tobytes())}, payload={"version": common.Value(int_value=version)})


def state(stored):
    """What a read found: (version, tag). The vector, when it is there, must be of the same version."""
    version = stored.payload["version"].int_value
    if stored.vectors:
        given = stored.vectors["v"]
        found = np.frombuffer(given.data, "f4") if given.data else np.array(given.values, "f4")
        assert np.array_equal(found, vector(stored.id.number, version)), f"half of point {stored.id.number}, version {version}"
    return version, stored.payload["tag"].int_value if "tag" in stored.payload else 0


class Client(threading.Thread):
    """Asks one coordinator for this and that, and another one after an error; writes down what it was told."""

    def __init__(self, world, history, number, seed):
        super().__init__(name=f"client {number}")
        self.history, self.number = history, number
        self.random = np.random.default_rng([seed, number])
        self.doors = [Stubs(one.address) for one in world.coordinators]
        self.door, self.running, self.version = number % len(self.doors), True, 0
        self.sessions, self.problems, self.counts = {}, [], collections.Counter()
        self.kinds = [(self.upsert, 30), (self.read, 30), (self.read_own, 15), (self.follow_other, 10), (self.tag, 8), (self.delete, 7), (self.scan, 2),
                      (self.scroll, 1)]

    def run(self):
        weights = np.array([weight for _, weight in self.kinds], float)
        while self.running:
            kind = self.kinds[self.random.choice(len(weights), p=weights / weights.sum())][0]
            try:
                kind("two" if self.random.random() < 0.5 else "three")
                self.counts[kind.__name__] += 1
            except grpc.RpcError as error:
                self.counts[f"{kind.__name__} {error.code().name}"] += 1
                if error.code() not in PASSING:
                    self.problems.append(f"client {self.number}: {kind.__name__}: {error.code()} {error.details()}")
                self.turn()
                time.sleep(0.05 * self.random.random())
            except Exception as error:
                self.problems.append(f"client {self.number}: {kind.__name__}: {error!r}")
            time.sleep(0.01 * self.random.random())

    def turn(self):
        self.door = (self.door + 1) % len(self.doors)

    @property
    def points(self):
        return self.doors[self.door].points

    def own(self):
        return 1_000_000 + self.number * 8 + int(self.random.integers(8))

    def shared(self):
        """Some that all clients fight for; others as time goes by, so that no point's history becomes too long to check."""
        return int(self.history.now() // 60) * 32 + int(self.random.integers(32))

    def any(self):
        return self.own() if self.random.random() < 0.3 else self.shared()

    def new_version(self):
        self.version += 1
        return self.version * CLIENTS + self.number

    def session(self, name, i):
        return self.sessions.setdefault((name, i), Session(self.number))

    def write(self, kind, name, ids, argument, send):
        operations = [self.history.invoke(self.number, kind, (name, i), argument) for i in ids]
        try:
            answer = send()
        except grpc.RpcError as error:
            for operation in operations:
                operation.note = f"({error.code().name} at {self.history.now():.3f})"
            raise
        # Of several the answer does not tell which there were.
        found = True if not answer.not_found else False if not answer.applied else None
        for operation in operations:
            self.history.complete(operation, None if kind == "upsert" else found, f"seq {[(s.shard, s.sequence) for s in answer.shards]}")
        for i in ids:
            self.session(name, i).wrote([(s.shard, s.sequence) for s in answer.shards], answer.session)

    def several(self):
        return sorted({self.any() for _ in range(self.random.integers(2, 6))}) if self.random.random() < 0.3 else [self.any()]

    def upsert(self, name):
        ids, version = self.several(), self.new_version()
        request = p.UpsertRequest(collection=name, points=[point(i, version) for i in ids])
        self.write("upsert", name, ids, version, lambda: self.points.Upsert(request, timeout=4))

    def delete(self, name):
        ids = self.several()
        request = p.DeletePointsRequest(collection=name, ids=map(named, ids))
        self.write("delete", name, ids, None, lambda: self.points.Delete(request, timeout=4))

    def tag(self, name):
        ids, tag = self.several(), self.new_version()
        request = p.SetPayloadRequest(collection=name, ids=map(named, ids), payload={"tag": common.Value(int_value=tag)})
        self.write("tag", name, ids, tag, lambda: self.points.SetPayload(request, timeout=4))

    def reads(self, name, ids, ask):
        """`ask` returns the points that there are, by id."""
        operations = [self.history.invoke(self.number, "read", (name, i)) for i in ids]
        found = ask()
        for i, operation in zip(ids, operations):
            self.history.complete(operation, state(found[i]) if i in found else None, f"seq {found[i].sequence}" if i in found else "")

    def get(self, name, ids, read, timeout=2):
        request = p.GetPointsRequest(collection=name, ids=map(named, ids), parts=p.PointParts(payload=True, vectors=True), read=read)
        return self.points.Get(request, timeout=timeout)

    def read(self, name):
        ids = sorted({self.shared() for _ in range(self.random.integers(1, 4))})
        self.reads(name, ids, lambda: {one.id.number: one for one in self.get(name, ids, PRIMARY).points})

    def read_own(self, name):
        """A point that nobody else writes or reads, from any replica: with the session it is as if from the primary."""
        i = self.own()
        session = self.session(name, i)

        def ask():
            answer = self.get(name, [i], p.ReadOptions(session=session.token))
            session.read(self.covered(answer), [], answer.coverage.session)
            return {one.id.number: one for one in answer.points}

        self.reads(name, [i], ask)

    def follow_other(self, name):
        """A point that others write as well: what is read never goes back."""
        i = self.shared()
        session = self.session(name, i)
        answer = self.get(name, [i], p.ReadOptions(session=session.token))
        session.read(self.covered(answer), [(one.id.number, one.sequence) for one in answer.points], answer.coverage.session)
        for one in answer.points:
            state(one)

    @staticmethod
    def covered(answer):
        return [(one.shard, one.applied_sequence) for one in answer.coverage.shards if one.answered]

    def window(self):
        first = int(self.history.now() // 60) * 32
        return list(range(first, first + 32))

    def scan(self, name):
        query = p.Query(vector=common.Vector(data=vector(1, 1).tobytes()), limit=10_000, exact=True, parts=p.PointParts(payload=True))
        request = p.SearchRequest(collection=name, query=query, read=PRIMARY)
        self.reads(name, self.window(), lambda: {one.id.number: one for one in self.points.Search(request, timeout=2).points})

    def scroll(self, name):
        request = p.ScrollRequest(collection=name, parts=p.PointParts(payload=True, vectors=True), page=50, read=PRIMARY)
        self.reads(name, self.window(), lambda: {one.id.number: one for page in self.points.Scroll(request, timeout=3) for one in page.points})


class Watcher(Client):
    """Only reads from primaries, and stays with its coordinator: who is cut off together with an old primary would notice that it still answers."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.kinds = [(self.watch, 1)]

    def turn(self):
        pass

    def watch(self, name):
        i = self.shared()
        self.reads(name, [i], lambda: {one.id.number: one for one in self.get(name, [i], PRIMARY, timeout=0.5).points})


def create(world):
    field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
    for name, replicas in REPLICAS.items():
        world.doors[0].collections.Create(c.CreateCollectionRequest(
            name=name, fields=[field], shard_count=2, replication_factor=replicas, min_in_sync=replicas - 1), timeout=30)
    wait_until_in_sync(world)


def wait_until_in_sync(world):
    def is_in_sync():
        shards = world.shards()
        return len(shards) >= 2 * len(REPLICAS) and not world.open_splits() and all(
            len(s.replicas) == REPLICAS[s.collection] and all(r.in_sync and r.state == cluster_pb2.REPLICA_STATE_READY for r in s.replicas) for s in shards)

    wait_for(is_in_sync, "all replicas in sync", 90, world.describe)


def contents(worker, shard):
    """Every point of a shard as one worker has it, asked past the coordinators."""
    points, after = {}, None
    while True:
        page = worker.Scroll(shard_pb2.ScrollRequest(shard=shard, after=after, limit=1000, with_payload=True, with_vectors=True), timeout=10)
        for one in page.points:
            points[one.id.low] = (one.sequence, bytes(one.payload), tuple((v.field, v.element, bytes(v.data)) for v in one.vectors))
        if not page.has_more:
            return points
        after = page.points[-1].id


def differing_replicas(world):
    """What replicas of one shard do not agree on."""
    found = []
    for name in REPLICAS:
        incarnation = int(world.doors[0].collections.Get(c.GetCollectionRequest(name=name), timeout=10).incarnation, 16)
        for shard in (one for one in world.shards() if one.collection == name):
            which = shard_pb2.ShardId(incarnation=incarnation, number=shard.shard)
            copies = {}
            for replica in shard.replicas:
                host = world.node(replica.node)
                copies[str(host)] = contents(Stubs(host.address).worker, which)
            (first, expected), *others = copies.items()
            for other, points in others:
                for i in sorted(expected.keys() | points.keys()):
                    if expected.get(i) != points.get(i):
                        found.append(f"{name}/{shard.shard} point {i}: {expected.get(i)} on {first}, {points.get(i)} on {other}")
    return found


def check_searches(world, name, points):
    """Exact search finds what comparing with every point finds, at any coordinator, on whatever replica."""
    ids = np.array(sorted(points), np.uint64)
    rows = np.array([vector(i, points[i][0]) for i in sorted(points)], "f4").reshape(len(ids), DIMENSIONS)
    for number in range(12):
        query = np.random.default_rng(number).random(DIMENSIONS).astype("f4")
        distances = ((rows.astype("f8") - query) ** 2).sum(axis=1)
        expected = [int(ids[i]) for i in np.lexsort((ids, distances.astype("f4")))[:10]]
        request = p.SearchRequest(collection=name, query=p.Query(vector=common.Vector(data=query.tobytes()), limit=10, exact=True))
        answer = world.doors[number % len(world.doors)].points.Search(request, timeout=10)
        found = {one.id.number: one.distance for one in answer.points}
        near = dict(zip(map(int, ids), distances))
        assert len(found) == min(10, len(ids)) and set(found) <= set(near), f"{name}: {found} instead of {expected}"
        # Rounding may exchange neighbours that are equally far.
        assert all(abs(distance - near[i]) < 1e-4 for i, distance in found.items()), f"{name}: {found} instead of {expected}"
        assert max(near[i] for i in found) <= max(near[i] for i in expected) + 1e-4, f"{name}: {found} instead of {expected}"


def finish(world, clients, history):
    """After the faults: everything becomes well by itself, and what there is then explains all answers."""
    wait_until_in_sync(world)
    for client in clients:
        client.running = False
    for client in clients:
        client.join()
    violations = []
    # One more read of everything, at each coordinator: nothing that was acknowledged is missing from it.
    touched = {key for key in (one.key for one in history.operations)}
    states = {}
    for name in REPLICAS:
        ids = [i for other, i in touched if other == name]
        for number, door in enumerate(world.doors):
            def scroll():
                request = p.ScrollRequest(collection=name, parts=p.PointParts(payload=True, vectors=True), page=1000, read=PRIMARY)
                try:
                    return {one.id.number: one for page in door.points.Scroll(request, timeout=10) for one in page.points}
                except grpc.RpcError as error:
                    assert error.code() in PASSING, error

            operations = [history.invoke(f"at the end {number}", "read", (name, i)) for i in ids]
            found = wait_for(lambda: (lambda all: None if all is None else [all])(scroll()), f"coordinator {number} answering", 20, world.describe)[0]
            states[name] = {i: state(one) for i, one in found.items()}
            for operation in operations:
                history.complete(operation, states[name].get(operation.key[1]))
            violations += [f"{name}: nobody wrote point {i}" for i in found if i not in ids]
    violations += check(history)
    violations += [violation for client in clients for session in client.sessions.values() for violation in session.violations]
    violations += [problem for client in clients for problem in client.problems]
    wait_for(lambda: not differing_replicas(world) or None, "replicas agreeing", 15, lambda: "\n".join(differing_replicas(world)[:10]) + world.describe())
    for name, points in states.items():
        assert world.doors[0].points.Count(p.CountRequest(collection=name, read=PRIMARY), timeout=10).count == len(points)
        check_searches(world, name, points)
    return violations


def test_a_primary_whose_log_is_broken_gives_way():
    with contextlib.ExitStack() as stack:
        world = World(coordinators=1, workers=2, network=False)
        stack.callback(lambda: world.close(True))
        if not world.workers[0].shim:
            pytest.skip("no C compiler to make what lets syncs fail")
        field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
        request = c.CreateCollectionRequest(name="c", fields=[field], shard_count=1, replication_factor=2)
        world.doors[0].collections.Create(request, timeout=30)
        wait_for(lambda: all(r.in_sync for s in world.shards() for r in s.replicas), "both replicas in sync", 20, world.describe)

        def write(version):
            points = [point(i, version) for i in range(10)]
            return world.doors[0].points.Upsert(p.UpsertRequest(collection="c", points=points), timeout=10)

        assert write(1).applied == 10
        shard, = world.shards()
        primary = world.node(next(r.node for r in shard.replicas if r.primary))
        primary.fail_syncs()
        # No write fails: the other replica takes over, and this one is left out until its disk is well.
        for version in range(2, 6):
            assert write(version).applied == 10
        after, = world.shards()
        assert after.epoch > shard.epoch and world.node(next(r.node for r in after.replicas if r.primary)) is not primary, world.describe()
        primary.heal()
        wait_for(lambda: all(r.in_sync for s in world.shards() for r in s.replicas), "both replicas in sync again", 30, world.describe)
        found = world.doors[0].points.Get(p.GetPointsRequest(collection="c", ids=map(named, range(10)), parts=p.PointParts(payload=True, vectors=True),
                                                             read=PRIMARY), timeout=10).points
        assert [state(one) for one in found] == [(5, 0)] * 10


@pytest.mark.timeout(SECONDS + 600)
def test_nothing_is_lost_or_stale_under_faults():
    seed = int(os.environ.get("NEEDLETAIL_CHAOS_SEED", np.random.default_rng().integers(2**31)))
    print(f"NEEDLETAIL_CHAOS_SEED={seed}", flush=True)
    world = World(network=os.environ.get("NEEDLETAIL_CHAOS_NETWORK", "1") != "0")
    print("hosts are " + ("network namespaces" if world.network else "processes on the loopback: no partitions"))
    is_clean, events, clients = False, [], []
    history = History()

    def say(what):
        events.append(f"{history.now():.3f} {what}")

    try:
        create(world)
        clients = [Client(world, history, number, seed) for number in range(CLIENTS)]
        clients += [Watcher(world, history, CLIENTS + number, seed) for number in range(len(world.coordinators))]
        for client in clients:
            client.start()
        nemesis = Nemesis(world, np.random.default_rng(seed))
        nemesis.run(SECONDS, say, lambda: [host.is_well() for host in world.hosts])
        violations = finish(world, clients, history)
        counts = sum((client.counts for client in clients), collections.Counter())
        print(f"{len(history.operations)} operations; {dict(counts)}; faults {nemesis.done}")
        print(f"of the leader: {dict(world.finished())}")
        assert not violations, "\n".join([f"seed {seed}", *violations[:10], "faults:", *events, world.describe()])
        assert all(counts[kind.__name__] for kind, _ in clients[0].kinds), counts
        is_clean = True
    finally:
        for client in clients:
            client.running = False
        for client in clients:
            client.join()
        if not is_clean:
            print("\n".join(events))
            (world.folder / "history").write_text("\n".join(map(str, history.operations)))
        world.close(is_clean)
