"""Callers that are kept to their own points by a filter, all on one collection and over the same ids, at once: each finds exactly its own points,
whatever the others do, and changes no others. NEEDLETAIL_FILTER_REQUESTS says how many requests are made; 100,000 take some minutes."""

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from harness import UNLIMITED, Cluster, wait_for, with_key
from needletail.v1 import access_pb2 as a
from needletail.v1 import access_pb2_grpc, cluster_pb2
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p
from needletail.v1 import points_pb2_grpc

REQUESTS = int(os.environ.get("NEEDLETAIL_FILTER_REQUESTS", 8_000))
ADMIN = "the administrator's key of the tests".replace(" ", "-")
DIMENSIONS, IDS, TENANTS = 8, 400, 4
PRIMARY = p.ReadOptions(consistency=p.READ_CONSISTENCY_PRIMARY)
EVERYTHING = p.PointParts(payload=True, vectors=True)


def text(value):
    return common.Value(string_value=value)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    key = tmp_path_factory.mktemp("keys") / "admin"
    key.write_text(ADMIN)
    with Cluster(workers=2, coordinator_arguments=["--admin-key-file", str(key)], key=ADMIN) as running:
        field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
        running.collections.Create(c.CreateCollectionRequest(name="shared", fields=[field], shard_count=3, replication_factor=2), timeout=30)
        running.wait_until_ready()
        yield running


def make_key(cluster, name, tenants, role=a.ROLE_WRITE, collection="shared", **more):
    stub = access_pb2_grpc.AccessStub(cluster.channel)
    grant = a.Grant(role=role, collection=collection)
    condition = a.FilterCondition(key="tenant", values=[text(tenant) for tenant in tenants])
    return stub.CreateKey(a.CreateKeyRequest(name=name, grants=[grant], filter=[condition], **more), timeout=10).key


class Tenant:
    """One caller, one thread, and what its points are by what it was told: nobody else can change them."""

    def __init__(self, cluster, name, seed):
        self.name, self.random, self.numbers = name, random.Random(seed), np.random.default_rng(seed)
        self.plain = grpc.insecure_channel(cluster.coordinator.address, options=UNLIMITED)
        self.points = points_pb2_grpc.PointsStub(with_key(self.plain, make_key(cluster, name, [name])))
        self.own = {}
        self.refused = 0

    def ids(self, most=6):
        return self.random.sample(range(IDS), self.random.randint(1, most))

    def vector(self):
        return self.numbers.standard_normal(DIMENSIONS).astype("f4")

    def some_payload(self):
        return {"tenant": text(self.name), "n": common.Value(int_value=self.random.randrange(100))}

    def other(self):
        return self.random.choice([f"t{n}" for n in range(TENANTS) if f"t{n}" != self.name] + ["", "t"])

    @staticmethod
    def point(number, vector, payload):
        return p.Point(id=common.PointId(number=number), vectors={"v": common.Vector(data=vector.tobytes())}, payload=payload)

    def denied(self, call):
        """Whether the cluster refused, for which there must be this reason and no other."""
        try:
            call()
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.PERMISSION_DENIED, error
            self.refused += 1
            return True
        return False

    def check(self, stored):
        """Points as they were read: own ones, as this thread knows them."""
        for point in stored:
            vector, payload = self.own[point.id.number]
            assert dict(point.payload) == payload, (self.name, point, payload)
            assert point.vectors["v"].data == vector.tobytes()

    # What a request may be

    def get(self):
        ids = self.ids(40)
        parts = self.random.choice([EVERYTHING, p.PointParts()])
        found = self.points.Get(p.GetPointsRequest(
            collection="shared", ids=[common.PointId(number=i) for i in ids], parts=parts, read=PRIMARY), timeout=30).points
        assert [point.id.number for point in found] == [i for i in ids if i in self.own]
        if parts.payload:
            self.check(found)
        else:
            assert not any(point.payload or point.vectors for point in found)

    def scroll(self):
        page = self.random.choice([0, 1, 7, 300])
        pages = list(self.points.Scroll(p.ScrollRequest(collection="shared", parts=EVERYTHING, page=page, read=PRIMARY), timeout=60))
        found = [point for some in pages for point in some.points]
        assert [point.id.number for point in found] == sorted(self.own)
        self.check(found)

    def count(self):
        assert self.points.Count(p.CountRequest(collection="shared", read=PRIMARY), timeout=30).count == len(self.own)

    def query(self, exact):
        parts = self.random.choice([p.PointParts(payload=True), p.PointParts()])
        return p.Query(vector=common.Vector(data=self.vector().tobytes()), limit=self.random.choice([1, 10, 500]), exact=exact, parts=parts)

    def judge(self, query, points):
        wanted = np.frombuffer(query.vector.data, "f4")
        found = [point.id.number for point in points]
        assert len(set(found)) == len(found) and set(found) <= set(self.own), (self.name, set(found) - set(self.own))
        for point in points:
            vector, payload = self.own[point.id.number]
            assert dict(point.payload) == (payload if query.parts.payload else {})
            assert point.distance == pytest.approx(float(((vector - wanted) ** 2).sum()), rel=1e-4, abs=1e-4)
        if query.exact or query.limit >= len(self.own):
            best = sorted(self.own, key=lambda i: float(((self.own[i][0].astype("f8") - wanted) ** 2).sum()))[:query.limit]
            assert len(found) == len(best)
            if query.exact:
                assert set(found) == set(best)

    def search(self):
        query = self.query(exact=self.random.random() < 0.5)
        answer = self.points.Search(p.SearchRequest(collection="shared", query=query, read=PRIMARY), timeout=30)
        assert answer.work.distances == 0 and answer.work.hops == 0
        self.judge(query, answer.points)

    def search_batch(self):
        queries = [self.query(exact=self.random.random() < 0.5) for _ in range(3)]
        results = self.points.SearchBatch(p.SearchBatchRequest(collection="shared", queries=queries, read=PRIMARY), timeout=30).results
        for query, result in zip(queries, results, strict=True):
            self.judge(query, result.points)

    def learn(self, tried):
        """After a write that was refused in part: what of it was done. Those whose ids others have are not there for this caller."""
        ids = [common.PointId(number=i) for i in tried]
        found = {point.id.number for point in self.points.Get(p.GetPointsRequest(collection="shared", ids=ids, read=PRIMARY), timeout=30).points}
        assert found >= set(tried) & set(self.own)
        self.own.update({i: tried[i] for i in found})
        assert len(found) < len(tried)

    def upsert(self):
        tried = {i: (self.vector(), self.some_payload()) for i in self.ids()}
        points = [self.point(i, *content) for i, content in tried.items()]
        acknowledge = self.random.choice([p.ACKNOWLEDGE_APPLIED, p.ACKNOWLEDGE_DURABLE])
        if self.denied(lambda: self.points.Upsert(p.UpsertRequest(collection="shared", points=points, acknowledge=acknowledge), timeout=60)):
            return self.learn(tried)
        self.own.update(tried)

    def upsert_stream(self):
        """Several messages under way at once. Ids that nobody else has: after a failure nobody could tell what of the rest was done."""
        first = IDS + 100 * int(self.name[1:])
        ids = [first + i for i in self.random.sample(range(100), self.random.randint(1, 8))]
        ids += self.random.sample([i for i in self.own if i not in ids], min(3, len([i for i in self.own if i not in ids])))
        tried = {i: (self.vector(), self.some_payload()) for i in ids}
        requests = [p.UpsertRequest(collection="shared" if n == 0 else "", points=[self.point(i, *content)]) for n, (i, content) in enumerate(tried.items())]
        assert self.points.UpsertStream(iter(requests), timeout=60).applied == len(tried)
        self.own.update(tried)
        outside = p.UpsertRequest(collection="shared", points=[self.point(ids[0], self.vector(), {"tenant": text(self.other())})])
        assert self.denied(lambda: self.points.UpsertStream(iter([outside]), timeout=60))

    def upsert_outside(self):
        payload = self.random.choice([{}, {"tenant": text(self.other())}, {"tenant": common.Value(list_value=common.ListValue(values=[
            text(self.name), text(self.other())]))}, {"n": common.Value(int_value=1)}, {"Tenant": text(self.name)}])
        points = [self.point(i, self.vector(), payload) for i in self.ids()]
        # One that is all right beside those that are not.
        points.append(self.point(self.random.randrange(IDS), self.vector(), self.some_payload()))
        self.random.shuffle(points)
        assert self.denied(lambda: self.points.Upsert(p.UpsertRequest(collection="shared", points=points), timeout=60))

    def upsert_packed(self):
        """These have no payload, so they are nobody's."""
        ids = self.ids()
        packed = p.PackedPoints(ids=ids, vectors=np.stack([self.vector() for _ in ids]).tobytes())
        assert self.denied(lambda: self.points.Upsert(p.UpsertRequest(collection="shared", packed=packed), timeout=60))

    def delete(self):
        ids = self.ids(3)
        answer = self.points.Delete(p.DeletePointsRequest(collection="shared", ids=[common.PointId(number=i) for i in ids]), timeout=60)
        here = [i for i in ids if i in self.own]
        assert (answer.applied, answer.not_found) == (len(here), len(ids) - len(here))
        for i in here:
            del self.own[i]

    def change(self, method, request, effect):
        """A change of payloads: those of other callers count as absent, and one that would move a point out is refused for that point."""
        ids = self.ids(4)
        request.collection = "shared"
        request.ids.extend([common.PointId(number=i) for i in ids])
        here = [i for i in ids if i in self.own]
        after = {i: effect(self.own[i][1]) for i in here}
        stays = all(payload.get("tenant") == text(self.name) for payload in after.values())
        answer = None

        def call():
            nonlocal answer
            answer = method(request, timeout=60)

        if self.denied(call):
            # Overwriting with a payload that is outside is refused whatever is there.
            assert not stays or effect({}).get("tenant", text(self.name)) != text(self.name) or method is self.points.OverwritePayload
            return
        assert stays, (self.name, request)
        assert (answer.applied, answer.not_found) == (len(here), len(ids) - len(here))
        for i in here:
            self.own[i] = (self.own[i][0], after[i])

    def set_payload(self):
        change = self.random.choice([{"n": common.Value(int_value=self.random.randrange(100))}, {"m": text("x"), "tenant": text(self.name)},
                                     {"tenant": text(self.other())}, {"tenant": common.Value(null_value=0)}])
        self.change(self.points.SetPayload, p.SetPayloadRequest(payload=change), lambda payload: {**payload, **change})

    def overwrite_payload(self):
        change = self.random.choice([self.some_payload(), {"tenant": text(self.name)}, {}, {"tenant": text(self.other())}])
        self.change(self.points.OverwritePayload, p.SetPayloadRequest(payload=change), lambda payload: dict(change))

    def delete_payload(self):
        keys = self.random.choice([["n"], ["m", "n"], ["tenant"], ["n", "tenant"], []])
        self.change(self.points.DeletePayload, p.DeletePayloadRequest(keys=keys), lambda payload: {k: v for k, v in payload.items() if k not in keys})

    WEIGHTS = {"get": 6, "scroll": 1, "count": 5, "search": 8, "search_batch": 3, "upsert": 10, "upsert_stream": 2, "upsert_outside": 3, "upsert_packed": 1, "delete": 4,
               "set_payload": 5, "overwrite_payload": 4, "delete_payload": 4}

    def run(self, requests, stop):
        names, weights = list(self.WEIGHTS), list(self.WEIGHTS.values())
        made = dict.fromkeys(names, 0)
        for _ in range(requests):
            if stop.is_set():
                break
            name = self.random.choices(names, weights)[0]
            try:
                getattr(self, name)()
            except BaseException:
                stop.set()
                raise
            made[name] += 1
        return made


def run_all(cluster, tenants, requests, beside=lambda: None):
    """All tenants at once, while `beside` does something to the cluster; then what is there is compared with what they know."""
    earlier = [point.id for page in cluster.points.Scroll(p.ScrollRequest(collection="shared", read=PRIMARY), timeout=60) for point in page.points]
    if earlier:
        cluster.points.Delete(p.DeletePointsRequest(collection="shared", ids=earlier), timeout=60)
    stop = threading.Event()
    with ThreadPoolExecutor(TENANTS) as pool:
        runs = [pool.submit(tenant.run, requests // TENANTS, stop) for tenant in tenants]
        try:
            beside()
        except BaseException:
            stop.set()
            raise
        made = [run.result() for run in runs]
    total = {name: sum(some[name] for some in made) for name in made[0]}
    print(f"{sum(total.values())} requests: {total}; refused {sum(tenant.refused for tenant in tenants)}; "
          f"points {[len(tenant.own) for tenant in tenants]}")
    assert all(total.values()) and all(tenant.refused for tenant in tenants)
    # Everything there is belongs to one of them, as that one knows it.
    stored = {point.id.number: point for page in cluster.points.Scroll(
        p.ScrollRequest(collection="shared", parts=EVERYTHING, read=PRIMARY), timeout=60) for point in page.points}
    assert set(stored) == {i for tenant in tenants for i in tenant.own}
    for tenant in tenants:
        tenant.check([stored[i] for i in tenant.own])
        tenant.plain.close()


@pytest.mark.timeout(300 + REQUESTS // 50)
def test_callers_with_filters_find_and_change_their_own_points_only(cluster, seed):
    run_all(cluster, [Tenant(cluster, f"t{n}", seed + n) for n in range(TENANTS)], REQUESTS)


def test_filters_hold_while_shards_are_split_and_merged(cluster, seed):
    """The parts of a shard decide again what its log has, and come to the same."""
    done = []

    def ended(operation):
        found = next(one for one in cluster.cluster.Operations(cluster_pb2.ListOperationsRequest(), timeout=10).operations if one.id == operation.id)
        assert found.step not in ("cancelled", "failed"), found
        return found.step == "done"

    def reshard():
        for kind in ("split", "merge", "split"):
            shards = sorted(cluster.cluster.Shards(cluster_pb2.ListShardsRequest(collection="shared"), timeout=10).shards, key=lambda shard: shard.range_first)
            first, second = shards[0].shard, shards[1].shard
            operation = (cluster.cluster.Split(cluster_pb2.SplitRequest(collection="shared", shard=first), timeout=10) if kind == "split"
                         else cluster.cluster.Merge(cluster_pb2.MergeRequest(collection="shared", shard=first, other=second), timeout=10))
            wait_for(lambda operation=operation: ended(operation), kind, 120)
            done.append(kind)

    run_all(cluster, [Tenant(cluster, f"t{n}", seed + n) for n in range(TENANTS)], max(REQUESTS // 2, 6_000), reshard)
    assert len(done) == 3


def test_what_a_filter_kept_is_kept_after_a_crash_and_on_every_replica(cluster, seed):
    """The decision is in the log, so a replay makes it again."""
    tenant = Tenant(cluster, "crash", seed)
    tenant.own = {}
    points = [tenant.point(10_000 + i, tenant.vector(), {"tenant": text("crash")}) for i in range(50)]
    tenant.points.Upsert(p.UpsertRequest(collection="shared", points=points), timeout=30)
    stranger = Tenant(cluster, "stranger", seed + 1)
    ids = [common.PointId(number=10_000 + i) for i in range(50)]
    assert stranger.points.Delete(p.DeletePointsRequest(collection="shared", ids=ids), timeout=30).not_found == 50
    assert stranger.denied(lambda: stranger.points.Upsert(p.UpsertRequest(
        collection="shared", points=[stranger.point(10_007, stranger.vector(), {"tenant": text("stranger")})]), timeout=30))
    answer = stranger.points.SetPayload(p.SetPayloadRequest(collection="shared", ids=ids, payload={"tenant": text("stranger")}), timeout=30)
    assert (answer.applied, answer.not_found) == (0, 50)
    for worker in cluster.workers:
        worker.kill()
    for worker in cluster.workers:
        worker.start()
    cluster.wait_until_ready()

    def all_there():
        try:
            request = p.CountRequest(collection="shared", read=PRIMARY)
            return tenant.points.Count(request, timeout=30).count == 50 and stranger.points.Count(request, timeout=30).count == 0
        except grpc.RpcError:
            return False

    wait_for(all_there, "all points are there again", 60)
    for _ in range(20):
        found = tenant.points.Search(p.SearchRequest(collection="shared", query=p.Query(
            vector=common.Vector(data=tenant.vector().tobytes()), limit=100, exact=True)), timeout=30).points
        assert {point.id.number for point in found} == {10_000 + i for i in range(50)}
    for one in (tenant, stranger):
        one.plain.close()


def test_what_filters_cannot_be_put_on_is_refused(cluster):
    key = make_key(cluster, "kept", ["t0"])
    with grpc.insecure_channel(cluster.coordinator.address) as plain:
        channel = with_key(plain, key)
        from needletail.v1 import cluster_pb2, cluster_pb2_grpc, collections_pb2_grpc

        collections, points = collections_pb2_grpc.CollectionsStub(channel), points_pb2_grpc.PointsStub(channel)
        for call in [
            lambda: collections.Train(c.TrainCollectionRequest(name="shared"), timeout=10),
            lambda: collections.Update(c.UpdateCollectionRequest(name="shared", replication_factor=1), timeout=10),
            lambda: collections.Delete(c.DeleteCollectionRequest(name="shared"), timeout=10),
            lambda: cluster_pb2_grpc.ClusterStub(channel).Status(cluster_pb2.ClusterStatusRequest(), timeout=10),
            lambda: cluster_pb2_grpc.ClusterStub(channel).Shards(cluster_pb2.ListShardsRequest(collection="shared"), timeout=10),
        ]:
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
        # How far codecs are would say how many points there are.
        progress = collections.Get(c.GetCollectionRequest(name="shared"), timeout=10).codecs
        assert all(one.total == 0 and one.encoded == 0 for one in progress)
        # A promise of recall rests on all points, so there is none; the search is as good as one without.
        answer = points.Search(p.SearchRequest(collection="shared", query=p.Query(
            vector=common.Vector(data=np.zeros(DIMENSIONS, "f4").tobytes()), recall_target=0.9)), timeout=10)
        assert answer.recall.uncalibrated and answer.recall.sample_queries == 0
    stub = access_pb2_grpc.AccessStub(cluster.channel)
    condition = a.FilterCondition(key="tenant", values=[text("x")])
    for grant in (a.Grant(role=a.ROLE_ADMIN, collection="shared"), a.Grant(role=a.ROLE_READ, cluster=True)):
        with pytest.raises(grpc.RpcError) as caught:
            stub.CreateKey(a.CreateKeyRequest(name="no", grants=[grant], filter=[condition]), timeout=10)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_filters_name_booleans_numbers_and_several_values(cluster):
    stub = access_pb2_grpc.AccessStub(cluster.channel)
    conditions = [a.FilterCondition(key="open", values=[common.Value(bool_value=True)]),
                  a.FilterCondition(key="level", values=[common.Value(int_value=1), common.Value(int_value=2)])]
    key = stub.CreateKey(a.CreateKeyRequest(
        name="levels", grants=[a.Grant(role=a.ROLE_READ, collection="sh*")], filter=conditions), timeout=10).key
    contents = [(True, 1), (True, 2), (True, 3), (False, 1), (True, 1.0), (True, "1")]
    request = p.UpsertRequest(collection="shared")
    kinds = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}
    for index, content in enumerate(contents):
        payload = {name: common.Value(**{kinds[type(value)]: value}) for name, value in zip(("open", "level"), content)}
        request.points.add(id=common.PointId(number=20_000 + index), payload=payload)
    cluster.points.Upsert(request, timeout=10)
    with grpc.insecure_channel(cluster.coordinator.address) as plain:
        points = points_pb2_grpc.PointsStub(with_key(plain, key))
        ids = [common.PointId(number=20_000 + index) for index in range(len(contents))]
        found = points.Get(p.GetPointsRequest(collection="shared", ids=ids, read=PRIMARY), timeout=10).points
        assert [point.id.number for point in found] == [20_000, 20_001]
        assert points.Count(p.CountRequest(collection="shared", read=PRIMARY), timeout=10).count == 2
        with pytest.raises(grpc.RpcError) as caught:
            points.Delete(p.DeletePointsRequest(collection="shared", ids=ids), timeout=10)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_names_that_look_alike_are_different_names(cluster):
    """An "é" of one character and one of two: whoever gives out names takes these for two tenants."""
    names = ["caf\u00e9", "cafe\u0301"]
    channels = [grpc.insecure_channel(cluster.coordinator.address) for _ in names]
    try:
        callers = [points_pb2_grpc.PointsStub(with_key(channel, make_key(cluster, name, [name]))) for channel, name in zip(channels, names)]
        for number, (name, points) in enumerate(zip(names, callers), 30_000):
            points.Upsert(p.UpsertRequest(collection="shared", points=[p.Point(id=common.PointId(number=number), payload={"tenant": text(name)})]), timeout=10)
        for number, points in enumerate(callers, 30_000):
            ids = [common.PointId(number=30_000), common.PointId(number=30_001)]
            found = points.Get(p.GetPointsRequest(collection="shared", ids=ids, read=PRIMARY), timeout=10).points
            assert [point.id.number for point in found] == [number]
            assert points.Count(p.CountRequest(collection="shared", read=PRIMARY), timeout=10).count == 1
    finally:
        for channel in channels:
            channel.close()
