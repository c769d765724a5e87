"""Exact search through the cluster against numpy brute force; recall of the graph through the cluster."""

import itertools

import grpc
import numpy as np
import pytest
from harness import Cluster
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

names = (f"collection-{number}" for number in itertools.count())
METRIC = {"l2": c.METRIC_L2, "cosine": c.METRIC_COSINE, "dot": c.METRIC_DOT, "hamming": c.METRIC_HAMMING}


def create(cluster, dimensions, metric, shards=1, element=common.ELEMENT_F32, **graph):
    name = next(names)
    cluster.collections.Create(c.CreateCollectionRequest(
        name=name, shard_count=shards,
        fields=[c.VectorField(name="v", dimensions=dimensions, metric=METRIC[metric], element=element, graph=c.GraphParameters(**graph))]))
    return name


def load(cluster, name, vectors, element=common.ELEMENT_F32, batch=500):
    def requests():
        for start in range(0, len(vectors), batch):
            rows = vectors[start:start + batch]
            yield p.UpsertRequest(collection=name, packed=p.PackedPoints(
                ids=range(start, start + len(rows)), vectors=np.ascontiguousarray(rows).tobytes(), element=element))

    assert cluster.points.UpsertStream(requests(), timeout=280).applied == len(vectors)


def search(cluster, name, query, element=common.ELEMENT_F32, **options):
    request = p.SearchRequest(collection=name, query=p.Query(vector=common.Vector(data=query.tobytes(), element=element), **options))
    return cluster.points.Search(request, timeout=60).points


def truth(metric, base, query):
    """Scores of all rows in float64."""
    if metric == "hamming":
        return -np.unpackbits(base ^ query, axis=1).sum(axis=1).astype(float)
    base, query = base.astype("f8"), query.astype("f8")
    if metric == "l2":
        return -((base - query) ** 2).sum(axis=1)
    dots = base @ query
    return dots / (np.linalg.norm(base, axis=1) * np.linalg.norm(query)) if metric == "cosine" else dots


@pytest.mark.parametrize("shards", [1, 2, 4, 8])
@pytest.mark.parametrize("metric,element", [
    ("l2", common.ELEMENT_F32), ("cosine", common.ELEMENT_F32), ("dot", common.ELEMENT_F32), ("l2", common.ELEMENT_U8),
    ("cosine", common.ELEMENT_F16), ("hamming", common.ELEMENT_BIT)])
def test_exact_search_equals_brute_force(cluster, rng, shards, metric, element):
    count, dimensions = 1500, 48
    if element == common.ELEMENT_BIT:
        base, queries = rng.integers(0, 256, (count, dimensions // 8), "u1"), rng.integers(0, 256, (20, dimensions // 8), "u1")
    elif element == common.ELEMENT_U8:
        base, queries = rng.integers(0, 256, (count, dimensions), "u1"), rng.integers(0, 256, (20, dimensions), "u1")
    else:
        kind = "f2" if element == common.ELEMENT_F16 else "f4"
        base, queries = rng.standard_normal((count, dimensions)).astype(kind), rng.standard_normal((20, dimensions)).astype(kind)
    base[7] = base[1234]  # equal scores must come in order of ids
    name = create(cluster, dimensions, metric, shards, element)
    load(cluster, name, base, element)
    for query in [*queries, base[7]]:
        scores = truth(metric, base, query)
        expected = sorted(range(count), key=lambda row: (-scores[row], row))[:10]
        found = search(cluster, name, query, element, exact=True)
        for point, row in zip(found, expected, strict=True):
            assert abs(point.score - scores[row]) <= 1e-5 * max(1, abs(scores[row]))
            assert point.id.number == row or abs(scores[point.id.number] - scores[row]) < 1e-6
    assert [point.id.number for point in search(cluster, name, base[7], element, exact=True)[:2]] == [7, 1234] or metric == "dot"


def recall(cluster, name, queries, ef):
    hits = 0
    for query in queries:
        exact = {point.id.number for point in search(cluster, name, query, exact=True)}
        hits += len(exact & {point.id.number for point in search(cluster, name, query, ef=ef)})
    return hits / (10 * len(queries))


def normalised(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f4")


def test_recall_on_intrinsic_dimension_32(cluster, rng):
    """F2 of the catalogue: 30,000 × 256 in a random subspace of 32 dimensions."""
    basis = rng.standard_normal((32, 256))
    base, queries = (normalised(rng.standard_normal((count, 32)) @ basis) for count in (30_000, 200))
    name = create(cluster, 256, "cosine", shards=2)
    load(cluster, name, base)
    at64, at128 = recall(cluster, name, queries, 64), recall(cluster, name, queries, 128)
    print(f"recall@10: {at64} at ef 64, {at128} at ef 128")
    assert at64 >= 0.90 and at128 >= 0.97


def test_recall_of_inner_product_with_unequal_norms(cluster, rng):
    """F2 of the catalogue: raw inner product, log-normal norms with σ 0.5."""
    basis = rng.standard_normal((32, 256))
    base, queries = (normalised(rng.standard_normal((count, 32)) @ basis) for count in (30_000, 200))
    base = (base * np.exp(0.5 * rng.standard_normal((len(base), 1)))).astype("f4")
    name = create(cluster, 256, "dot", shards=2)
    load(cluster, name, base)
    at256 = recall(cluster, name, queries, 256)
    print(f"recall@10: {at256} at ef 256")
    assert at256 >= 0.90


def test_an_overload_is_refused_with_the_time_to_come_again():
    with Cluster(workers=1, worker_arguments=["--search-threads", "1", "--search-queue", "2"]) as cluster:
        name = create(cluster, 64, "l2", shards=1)
        rows = np.random.default_rng(1).standard_normal((20_000, 64)).astype("f4")
        load(cluster, name, rows)
        request = p.SearchRequest(collection=name, query=p.Query(vector=common.Vector(data=rows[7].tobytes()), limit=3, exact=True))
        calls = [cluster.points.Search.future(request, timeout=60) for _ in range(200)]
        refused = 0
        for call in calls:
            if call.code() == grpc.StatusCode.OK:
                assert call.result().points[0].id.number == 7
                continue
            assert call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "requests wait" in call.details(), call.details()
            assert int(dict(call.trailing_metadata())["grpc-retry-pushback-ms"]) >= 1
            refused += 1
        assert 0 < refused < len(calls)
        assert cluster.points.Search(request, timeout=60).points[0].id.number == 7
