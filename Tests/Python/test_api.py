"""Every public method through a real grpcio client."""

import concurrent.futures
import json
import urllib.error
import urllib.request
import uuid

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from harness import UNLIMITED, wait_for
from needletail.v1 import cluster_pb2, collections_pb2 as c, common_pb2 as common, points_pb2 as p

ALL = p.PointParts(payload=True, vectors=True)


@pytest.fixture
def name(cluster):
    """A collection of two shards with fields a (l2, 4) and b (cosine, 3, f16)."""
    name = f"c-{uuid.uuid4()}"
    cluster.collections.Create(c.CreateCollectionRequest(name=name, shard_count=2, fields=[
        c.VectorField(name="a", dimensions=4, metric=c.METRIC_L2),
        c.VectorField(name="b", dimensions=3, metric=c.METRIC_COSINE, element=common.ELEMENT_F16)]))
    yield name
    cluster.collections.Delete(c.DeleteCollectionRequest(name=name, ignore_missing=True))


def number(value):
    return common.PointId(number=value)


def vec(*values):
    return common.Vector(values=values)


def refused(code, call, *arguments, **options):
    """The call fails with this status; returns the message."""
    with pytest.raises(grpc.RpcError) as caught:
        result = call(*arguments, **options)
        if hasattr(result, "__iter__") and not hasattr(result, "DESCRIPTOR"):
            list(result)
    assert caught.value.code() == code, caught.value
    assert caught.value.details()
    return caught.value.details()


def upsert(cluster, name, points):
    return cluster.points.Upsert(p.UpsertRequest(collection=name, points=points), timeout=20)


def get(cluster, name, *ids):
    return cluster.points.Get(p.GetPointsRequest(collection=name, ids=ids, parts=ALL), timeout=20)


def test_collections_live_and_die(cluster):
    name = f"c-{uuid.uuid4()}"
    request = c.CreateCollectionRequest(name=name, shard_count=3, fields=[
        c.VectorField(name="v", dimensions=7, metric=c.METRIC_DOT, graph=c.GraphParameters(m=8, ef_construction=64))])
    made = cluster.collections.Create(request)
    assert (made.name, made.shard_count, made.replication_factor) == (name, 3, 1)
    assert made.fields[0].graph.m == 8 and made.fields[0].dimensions == 7 and made.durability.every_commit
    assert cluster.collections.Get(c.GetCollectionRequest(name=name)) == made
    assert made in cluster.collections.List(c.ListCollectionsRequest()).collections
    refused(grpc.StatusCode.ALREADY_EXISTS, cluster.collections.Create, request)
    upsert(cluster, name, [p.Point(id=number(1), vectors={"": vec(*range(7))})])
    changed = cluster.collections.Update(c.UpdateCollectionRequest(name=name, durability=c.Durability(interval_milliseconds=50)))
    assert changed.durability.interval_milliseconds == 50
    assert len(get(cluster, name, number(1)).points) == 1
    assert cluster.collections.Delete(c.DeleteCollectionRequest(name=name)).deleted
    refused(grpc.StatusCode.NOT_FOUND, cluster.collections.Get, c.GetCollectionRequest(name=name))
    refused(grpc.StatusCode.NOT_FOUND, cluster.collections.Delete, c.DeleteCollectionRequest(name=name))
    assert not cluster.collections.Delete(c.DeleteCollectionRequest(name=name, ignore_missing=True)).deleted
    again = cluster.collections.Create(request)
    assert again.incarnation != made.incarnation
    assert cluster.points.Count(p.CountRequest(collection=name)).count == 0
    cluster.collections.Delete(c.DeleteCollectionRequest(name=name))


@pytest.mark.parametrize("change,word", [
    (dict(name=""), "name"), (dict(name="a b"), "name"), (dict(name="x" * 200), "name"), (dict(fields=[]), "field"),
    (dict(shard_count=257), "shard"), (dict(replication_factor=8), "replication"),
    (dict(fields=[c.VectorField(name="v", dimensions=0, metric=c.METRIC_L2)]), "dimensions"),
    (dict(fields=[c.VectorField(name="v", dimensions=16_385, metric=c.METRIC_L2)]), "dimensions"),
    (dict(fields=[c.VectorField(name="v", dimensions=4)]), "metric"),
    (dict(fields=[c.VectorField(name="v", dimensions=4, metric=99)]), "metric"),
    (dict(fields=[c.VectorField(name="v", dimensions=4, metric=c.METRIC_HAMMING)]), "hamming"),
    (dict(fields=[c.VectorField(name="v", dimensions=4, metric=c.METRIC_L2, graph=c.GraphParameters(m=3))]), "m"),
])
def test_wrong_definitions_say_what_is_wrong(cluster, change, word):
    good = dict(name=f"c-{uuid.uuid4()}", fields=[c.VectorField(name="v", dimensions=4, metric=c.METRIC_L2)])
    with pytest.raises(grpc.RpcError) as caught:
        cluster.collections.Create(c.CreateCollectionRequest(**(good | change)))
    assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED), caught.value
    assert word in caught.value.details()


def test_points_come_back_as_they_went(cluster, name):
    nested = common.Value(map_value=common.MapValue(entries={
        "null": common.Value(null_value=common.NULL_VALUE), "list": common.Value(list_value=common.ListValue(values=[
            common.Value(int_value=-(2**63)), common.Value(double_value=0.1), common.Value(bool_value=True)]))}))
    payload = {"text": common.Value(string_value="näh ☃"), "deep": nested, "": common.Value(string_value="")}
    identity = uuid.uuid4()
    b = np.array([1, -2, 0.5], "f2")
    points = [
        p.Point(id=number(2**64 - 1), vectors={"a": vec(1, 2, 3, 4), "b": common.Vector(data=b.tobytes(), element=common.ELEMENT_F16)}, payload=payload),
        p.Point(id=common.PointId(uuid_text=str(identity)), vectors={"a": vec(5, 6, 7, 8)}), p.Point(id=number(0))]
    answer = upsert(cluster, name, points)
    assert answer.applied == 3 and answer.not_found == 0 and all(shard.sequence > 0 for shard in answer.shards)
    found = get(cluster, name, common.PointId(uuid=identity.bytes), number(5), number(2**64 - 1), number(0))
    assert [point.id for point in found.points] == [common.PointId(uuid=identity.bytes), number(2**64 - 1), number(0)]
    assert found.points[1].payload == payload and dict(found.points[1].payload) == payload
    stored = found.points[1].vectors["b"]
    assert stored.data == b.tobytes() and stored.element == common.ELEMENT_F16
    assert np.array_equal(np.frombuffer(found.points[0].vectors["a"].data, "f4") if found.points[0].vectors["a"].data
                          else np.array(found.points[0].vectors["a"].values, "f4"), np.array([5, 6, 7, 8], "f4"))
    assert not found.points[2].vectors and not found.points[2].payload
    assert found.coverage.shards_answered == found.coverage.shards_total
    assert any(shard.applied_sequence > 0 for shard in found.coverage.shards)


def test_payload_operations_and_deletes(cluster, name):
    upsert(cluster, name, [p.Point(id=number(i), payload={"k": common.Value(int_value=i), "keep": common.Value(bool_value=True)}) for i in range(4)])
    one = {"k": common.Value(string_value="new")}
    answer = cluster.points.SetPayload(p.SetPayloadRequest(collection=name, ids=[number(0), number(99)], payload=one))
    assert (answer.applied, answer.not_found) == (1, 1)
    cluster.points.OverwritePayload(p.SetPayloadRequest(collection=name, ids=[number(1)], payload=one))
    cluster.points.DeletePayload(p.DeletePayloadRequest(collection=name, ids=[number(2)], keys=["k", "absent"]))
    found = {point.id.number: dict(point.payload) for point in get(cluster, name, *map(number, range(4))).points}
    assert found[0] == one | {"keep": common.Value(bool_value=True)}
    assert found[1] == one
    assert found[2] == {"keep": common.Value(bool_value=True)}
    answer = cluster.points.Delete(p.DeletePointsRequest(collection=name, ids=[number(3), number(99)]))
    assert (answer.applied, answer.not_found) == (1, 1)
    assert cluster.points.Count(p.CountRequest(collection=name)).count == 3
    assert not get(cluster, name, number(3)).points


def test_keys_of_payloads_are_the_same_when_their_bytes_are(cluster, name):
    """An é of one character and one of two look alike, and are two keys: to this client, to what is stored, and so to every operation."""
    one, two = "caf\u00e9", "cafe\u0301"
    both = {one: common.Value(int_value=1), two: common.Value(int_value=2), "in": common.Value(map_value=common.MapValue(entries={
        one: common.Value(string_value=one), two: common.Value(string_value=two)}))}
    upsert(cluster, name, [p.Point(id=number(1), payload=both), *[p.Point(id=number(id)) for id in (2, 3, 4)]])
    cluster.points.SetPayload(p.SetPayloadRequest(collection=name, ids=[number(2)], payload=both))
    cluster.points.OverwritePayload(p.SetPayloadRequest(collection=name, ids=[number(3), number(4)], payload=both))
    cluster.points.DeletePayload(p.DeletePayloadRequest(collection=name, ids=[number(4)], keys=[two]))
    cluster.points.SetPayload(p.SetPayloadRequest(collection=name, ids=[number(3)], payload={two: common.Value(int_value=3)}))
    found = {point.id.number: dict(point.payload) for point in get(cluster, name, *map(number, range(1, 5))).points}
    assert found == {1: both, 2: both, 3: both | {two: common.Value(int_value=3)}, 4: {key: both[key] for key in (one, "in")}}


def test_payloads_do_not_grow_beyond_their_limit(cluster, name):
    upsert(cluster, name, [p.Point(id=number(1), payload={"small": common.Value(int_value=1)})])
    big = common.Value(string_value="x" * 600_000)
    cluster.points.SetPayload(p.SetPayloadRequest(collection=name, ids=[number(1)], payload={"a": big}))
    message = refused(grpc.StatusCode.INVALID_ARGUMENT, cluster.points.SetPayload,
                      p.SetPayloadRequest(collection=name, ids=[number(1)], payload={"b": big}))
    assert "stays as it was" in message
    assert set(get(cluster, name, number(1)).points[0].payload) == {"small", "a"}


def test_each_query_of_a_batch_gets_what_it_asked(cluster, name):
    upsert(cluster, name, [p.Point(id=number(i), vectors={"a": vec(i, 0, 0, 0)}, payload={"n": common.Value(int_value=i)}) for i in range(20)])
    asked = [p.PointParts(), p.PointParts(payload=True), p.PointParts(vectors=True), ALL]
    queries = [p.Query(field="a", vector=vec(3, 0, 0, 0), limit=5, parts=parts) for parts in asked]
    results = cluster.points.SearchBatch(p.SearchBatchRequest(collection=name, queries=queries)).results
    for parts, result in zip(asked, results, strict=True):
        assert len(result.points) == 5
        assert all(bool(point.payload) == parts.payload and bool(point.vectors) == parts.vectors for point in result.points)


def test_a_new_collection_is_ready_at_once(cluster):
    """Without waiting for the workers' next heartbeats, of which there is one a second."""
    for _ in range(10):
        name = f"c-{uuid.uuid4()}"
        cluster.collections.Create(c.CreateCollectionRequest(name=name, shard_count=4, fields=[c.VectorField(name="v", dimensions=2, metric=c.METRIC_L2)]))
        status = cluster.status()
        states = [r.state for s in cluster.cluster.Shards(cluster_pb2.ListShardsRequest(collection=name)).shards for r in s.replicas]
        assert states == [cluster_pb2.REPLICA_STATE_READY] * 4
        assert status.shards_ready == status.shards_total
        cluster.collections.Delete(c.DeleteCollectionRequest(name=name))


def test_everything_deleted_and_loaded_again_is_found(cluster, name, rng):
    for _ in range(3):
        rows = rng.standard_normal((500, 4)).astype("f4")
        cluster.points.Upsert(p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=range(500), field="a", vectors=rows.tobytes())))
        query = p.Query(field="a", vector=common.Vector(data=rows[0].tobytes()), limit=500)
        assert len(cluster.points.Search(p.SearchRequest(collection=name, query=query)).points) >= 490
        cluster.points.Delete(p.DeletePointsRequest(collection=name, ids=[number(i) for i in range(500)]))
        assert not cluster.points.Search(p.SearchRequest(collection=name, query=query)).points


def test_scroll_is_complete_and_in_order(cluster, name):
    ids = [number(i * 7) for i in range(300)] + sorted((common.PointId(uuid=uuid.uuid4().bytes) for _ in range(50)), key=lambda i: i.uuid)
    upsert(cluster, name, [p.Point(id=i) for i in ids])
    pages = list(cluster.points.Scroll(p.ScrollRequest(collection=name, page=64)))
    assert max(len(page.points) for page in pages) <= 64
    assert [point.id for page in pages for point in page.points] == ids
    some = cluster.points.Scroll(p.ScrollRequest(collection=name, after=ids[9], limit=25, page=10))
    assert [point.id for page in some for point in page.points] == ids[10:35]


def test_streamed_upserts_and_batches(cluster, name, rng):
    rows = rng.standard_normal((2_000, 4)).astype("f4")
    requests = (p.UpsertRequest(collection=name if start == 0 else "", packed=p.PackedPoints(
        ids=range(start, start + 100), field="a", vectors=rows[start:start + 100].tobytes())) for start in range(0, 2_000, 100))
    answer = cluster.points.UpsertStream(requests, timeout=60)
    assert (answer.applied, answer.requests) == (2_000, 20)
    queries = [p.Query(field="a", vector=common.Vector(data=rows[i].tobytes()), limit=3, exact=i % 2 == 0) for i in range(20)]
    batch = cluster.points.SearchBatch(p.SearchBatchRequest(collection=name, queries=queries))
    assert [result.points[0].id.number for result in batch.results] == list(range(20))
    assert all(len(result.points) == 3 for result in batch.results)
    assert batch.coverage.shards_answered == 2 and batch.work.distances > 0
    single = cluster.points.Search(p.SearchRequest(collection=name, query=queries[4]))
    assert single.points == batch.results[4].points
    assert single.points[0].distance == 0 and single.points[1].score == -single.points[1].distance
    # An error in the middle of a stream ends it with that error.
    wrong = [p.UpsertRequest(collection=name, points=[p.Point(id=number(1))]), p.UpsertRequest(points=[p.Point(id=number(2), vectors={"a": vec(1)})])]
    assert "dimensions" in refused(grpc.StatusCode.INVALID_ARGUMENT, cluster.points.UpsertStream, iter(wrong), timeout=20)


def test_wrong_requests_say_what_is_wrong(cluster, name):
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    search = lambda **query: refused(invalid, cluster.points.Search, p.SearchRequest(collection=name, query=p.Query(**query)))
    assert "field" in search(vector=vec(1, 2, 3, 4))  # two fields: the empty name is ambiguous
    assert "\"nope\"" in search(field="nope", vector=vec(1, 2, 3, 4))
    for word, values in (("dimensions", (1, 2, 3)), ("NaN", (1, 2, 3, float("nan")))):
        message = search(field="a", vector=vec(*values))
        assert word in message and "did not answer" not in message, message
        query = p.Query(field="a", vector=vec(*values))
        message = refused(invalid, cluster.points.Search, p.SearchRequest(collection=name, query=query, allow_partial=True))
        assert word in message and "did not answer" not in message, message
    assert "limit" in search(field="a", vector=vec(1, 2, 3, 4), limit=10_001)
    assert "ef" in search(field="a", vector=vec(1, 2, 3, 4), ef=70_000)
    search(field="a", vector=common.Vector(values=[1], data=b"1234"))
    search(field="a", vector=common.Vector(data=b"123"))
    search(field="a", vector=common.Vector(data=b"1234" * 4, element=77))
    write = lambda **point: refused(invalid, upsert, cluster, name, [p.Point(**point)])
    assert "id" in write(vectors={"a": vec(1, 2, 3, 4)})
    write(id=common.PointId(uuid=b"short"))
    write(id=common.PointId(uuid_text="not a uuid"))
    assert "\"c\"" in write(id=number(1), vectors={"c": vec(1)})
    assert "payload" in write(id=number(1), payload={"big": common.Value(string_value="x" * (1 << 20))})
    # Deeper than Python's own protobuf will build: written as bytes.
    raw = cluster.channel.unary_unary("/needletail.v1.Points/Upsert", lambda x: x, lambda x: x)
    assert "deep" in refused(invalid, raw, deep_payload(name, 100))
    assert "deep" in refused(invalid, raw, deep_payload(name, 5_000))
    refused(invalid, upsert, cluster, name, [])
    refused(invalid, upsert, cluster, name, [p.Point(id=number(i)) for i in range(10_001)])
    refused(grpc.StatusCode.NOT_FOUND, upsert, cluster, "nowhere", [p.Point(id=number(1))])
    refused(grpc.StatusCode.NOT_FOUND, cluster.points.Count, p.CountRequest(collection="nowhere"))
    refused(grpc.StatusCode.NOT_FOUND, cluster.points.Scroll, p.ScrollRequest(collection="nowhere"))
    assert cluster.points.Count(p.CountRequest(collection=name)).count == 0


def field(number, content):
    """A length-delimited field of the protobuf wire format."""
    def varint(value):
        return bytes([value & 127 | 128] + list(varint(value >> 7))) if value > 127 else bytes([value])
    return varint(number << 3 | 2) + varint(len(content)) + content


def deep_payload(name, levels):
    """An UpsertRequest whose payload has a list in a list in a list …"""
    value = b""
    for _ in range(levels):
        value = field(6, field(1, value))
    point = field(1, b"\x08\x01") + field(3, field(1, b"deep") + field(2, value))
    return field(1, name.encode()) + field(2, point)


def test_deadlines_and_cancellation(cluster, name, rng):
    rows = rng.standard_normal((5_000, 4)).astype("f4")
    cluster.points.Upsert(p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=range(5_000), field="a", vectors=rows.tobytes())))
    scroll = cluster.points.Scroll(p.ScrollRequest(collection=name, page=1))
    next(scroll)
    scroll.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        list(scroll)
    assert caught.value.code() == grpc.StatusCode.CANCELLED
    # Cancelled calls leave the server as it was.
    assert cluster.points.Count(p.CountRequest(collection=name), timeout=10).count == 5_000
    # A search that the deadline cuts short says so: an error, or a partial answer when that is allowed.
    queries = [p.Query(field="a", vector=common.Vector(data=row.tobytes()), limit=1_000, exact=True) for row in rows[:1_000]]
    request = p.SearchBatchRequest(collection=name, queries=queries)
    refused(grpc.StatusCode.DEADLINE_EXCEEDED, cluster.points.SearchBatch, request, timeout=0.03)
    assert cluster.points.Count(p.CountRequest(collection=name), timeout=10).count == 5_000


@pytest.mark.parametrize("size", [4 << 20, 64 << 20])
def test_large_messages(cluster, size):
    name = f"c-{uuid.uuid4()}"
    dimensions = 16_384
    cluster.collections.Create(c.CreateCollectionRequest(name=name, fields=[
        c.VectorField(name="v", dimensions=dimensions, metric=c.METRIC_L2, graph=c.GraphParameters(m=4, ef_construction=8))]))
    count = size // (dimensions * 4)
    rows = np.random.default_rng(1).standard_normal((count, dimensions)).astype("f4")
    answer = cluster.points.Upsert(p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=range(count), vectors=rows.tobytes())), timeout=120)
    assert answer.applied == count
    found = cluster.points.Get(p.GetPointsRequest(collection=name, ids=[number(i) for i in range(count - 1)], parts=p.PointParts(vectors=True)), timeout=60)
    assert [point.id.number for point in found.points] == list(range(count - 1))
    data = found.points[3].vectors["v"]
    assert np.array_equal(np.frombuffer(data.data, "f4") if data.data else np.array(data.values, "f4"), rows[3])
    cluster.collections.Delete(c.DeleteCollectionRequest(name=name))


def test_a_message_beyond_the_limit_is_refused(cluster, name):
    huge = p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=[1], field="a", vectors=bytes(70 << 20)))
    refused(grpc.StatusCode.RESOURCE_EXHAUSTED, cluster.points.Upsert, huge, timeout=60)
    assert cluster.points.Count(p.CountRequest(collection=name)).count == 0


def test_gzip(cluster, name, rng):
    rows = np.zeros((1_000, 4), "f4")
    packed = p.PackedPoints(ids=range(1_000), field="a", vectors=rows.tobytes())
    channel = grpc.insecure_channel(cluster.coordinator.address, options=UNLIMITED, compression=grpc.Compression.Gzip)
    from needletail.v1 import points_pb2_grpc

    points = points_pb2_grpc.PointsStub(channel)
    assert points.Upsert(p.UpsertRequest(collection=name, packed=packed), timeout=20).applied == 1_000
    assert points.Count(p.CountRequest(collection=name), timeout=20).count == 1_000
    channel.close()


def test_acknowledged_when_durable(cluster, name):
    answer = cluster.points.Upsert(p.UpsertRequest(collection=name, points=[p.Point(id=number(5))], acknowledge=p.ACKNOWLEDGE_DURABLE))
    assert answer.shards[0].sequence >= 1
    wait_for(lambda: get(cluster, name, number(5)).points, "the write becoming visible")


def test_many_clients_at_once(cluster, name):
    def work(worker):
        for i in range(20):
            upsert(cluster, name, [p.Point(id=number(worker * 1_000 + i), vectors={"a": vec(worker, i, 0, 0)})])
            found = cluster.points.Search(p.SearchRequest(collection=name, query=p.Query(field="a", vector=vec(worker, i, 0, 0), limit=1)), timeout=20)
            assert found.points[0].id.number == worker * 1_000 + i, "a write is visible once it is acknowledged"

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert cluster.points.Count(p.CountRequest(collection=name)).count == 320


def test_cluster_services(cluster, name):
    upsert(cluster, name, [p.Point(id=number(i)) for i in range(50)])
    wait_for(lambda: sum(r.points for s in cluster.cluster.Shards(cluster_pb2.ListShardsRequest(collection=name)).shards for r in s.replicas) == 50,
             "the workers reporting 50 points")
    shards = cluster.cluster.Shards(cluster_pb2.ListShardsRequest(collection=name)).shards
    assert [shard.shard for shard in shards] == [0, 1]
    assert shards[0].range_first == 0 and shards[1].range_last == 2**64 - 1 and shards[0].range_last + 1 == shards[1].range_first
    assert all(replica.state == cluster_pb2.REPLICA_STATE_READY for shard in shards for replica in shard.replicas)
    assert len({replica.node for shard in shards for replica in shard.replicas}) == 2, "placed evenly"
    nodes = cluster.cluster.Nodes(cluster_pb2.ListNodesRequest()).nodes
    assert len(nodes) == 2 and all(node.alive and node.disk_bytes >= 0 for node in nodes)
    status = cluster.status()
    assert status.nodes_alive == 2 and len(status.cluster_id) == 16 and status.version
    refused(grpc.StatusCode.NOT_FOUND, cluster.cluster.Shards, cluster_pb2.ListShardsRequest(collection="nowhere"))


def test_health_and_reflection(cluster):
    for process, services in [(cluster.coordinator, ["needletail.v1.Points", "needletail.v1.Collections", "needletail.v1.Cluster"]),
                              (cluster.workers[0], ["needletail.internal.v1.ShardWorker"])]:
        with grpc.insecure_channel(process.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            serving = health_pb2.HealthCheckResponse.SERVING
            for service in ["", *services]:
                wait_for(lambda: health.Check(health_pb2.HealthCheckRequest(service=service)).status == serving, f"{service} serving")
            watch = health.Watch(health_pb2.HealthCheckRequest(service=""))
            assert next(watch).status == serving
            watch.cancel()
            refused(grpc.StatusCode.NOT_FOUND, health.Check, health_pb2.HealthCheckRequest(service="nope"))
            database = ProtoReflectionDescriptorDatabase(channel)
            assert set(services) <= set(database.get_services())
            described = database.FindFileContainingSymbol(services[0])
            assert services[0].split(".")[-1] in [service.name for service in described.service]


def ask(cluster, path):
    """Status and JSON of a GET on the admin port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{cluster.coordinator.admin_port}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error) if error.code == 503 else None


def test_probes_over_http(cluster):
    assert ask(cluster, "/healthz")[0] == 200
    wait_for(lambda: ask(cluster, "/readyz") == (200, {"ready": True, "reasons": []}), "readiness")
    assert ask(cluster, "/nope")[0] == 404


def test_unknown_methods(cluster):
    call = cluster.channel.unary_unary("/needletail.v1.Points/Nope", lambda x: x, lambda x: x)
    refused(grpc.StatusCode.UNIMPLEMENTED, call, b"")
    call = cluster.channel.unary_unary("/needletail.v1.Points/Search", lambda x: x, lambda x: x)
    refused(grpc.StatusCode.INVALID_ARGUMENT, call, b"\xff\xff\xff\xff")


def test_a_missing_shard_is_never_hidden(name, cluster):
    """Own processes, because one of them dies."""
    from harness import Cluster

    with Cluster(workers=2) as own:
        own.collections.Create(c.CreateCollectionRequest(name="half", shard_count=2, fields=[c.VectorField(name="v", dimensions=2, metric=c.METRIC_L2)]))
        upsert(own, "half", [p.Point(id=number(i), vectors={"v": vec(i, 0)}) for i in range(100)])
        own.workers[0].kill()
        query = p.Query(vector=vec(0, 0), limit=100, exact=True)
        assert "1 of 2 shards" in refused(grpc.StatusCode.UNAVAILABLE, own.points.Search, p.SearchRequest(collection="half", query=query), timeout=20)
        partial = own.points.Search(p.SearchRequest(collection="half", query=query, allow_partial=True), timeout=20)
        assert (partial.coverage.shards_total, partial.coverage.shards_answered) == (2, 1)
        assert 0 < len(partial.points) < 100
        assert [shard.answered for shard in partial.coverage.shards].count(False) == 1 and any(shard.error for shard in partial.coverage.shards)
        refused(grpc.StatusCode.UNAVAILABLE, own.points.Count, p.CountRequest(collection="half"), timeout=20)
        with grpc.insecure_channel(own.coordinator.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            wait_for(lambda: health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.NOT_SERVING, "health saying so")
        status, state = ask(own, "/readyz")
        assert status == 503 and "half" in state["reasons"][0]
        own.workers[0].start()
        own.wait_until_ready()
        assert len(own.points.Search(p.SearchRequest(collection="half", query=query), timeout=20).points) == 100
