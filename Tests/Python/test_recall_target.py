"""Queries that ask for a recall: what they get, measured with queries that no calibration has seen, and what is said of it."""

import subprocess

import grpc
import numpy as np
import pytest
from harness import BINARIES, wait_for
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p
from test_codecs import codec, create, load, sample

TARGETS = [0.9, 0.95, 0.99]


def query(vector, **options):
    return p.Query(vector=common.Vector(data=vector.tobytes()), **options)


def batch(cluster, name, vectors, **options):
    results = []
    for start in range(0, len(vectors), 100):
        queries = [query(vector, **options) for vector in vectors[start:start + 100]]
        results += cluster.points.SearchBatch(p.SearchBatchRequest(collection=name, queries=queries), timeout=120).results
    return results


def search(cluster, name, vector, **options):
    return cluster.points.Search(p.SearchRequest(collection=name, query=query(vector, **options)), timeout=60)


def ids(result):
    return {point.id.number for point in result.points}


def settle(cluster, name, vector, sample_queries=0, **options):
    """Asks until every shard is calibrated, on so many real queries."""
    def estimate():
        found = search(cluster, name, vector, **options).recall
        return found if not found.uncalibrated and found.sample_queries >= sample_queries else None

    return wait_for(estimate, "calibration", 180, cluster.describe)


def measure(cluster, name, vectors, target, limit=10):
    exact = batch(cluster, name, vectors, exact=True, limit=limit)
    found = batch(cluster, name, vectors, recall_target=target, limit=limit)
    recall = sum(len(ids(a) & ids(b)) for a, b in zip(exact, found)) / (limit * len(vectors))
    return recall, found[0].recall


@pytest.fixture(scope="module")
def split():
    """Points, and queries of their kind: some to calibrate on, some to measure with."""
    order = np.random.default_rng(19).permutation(5_000)
    vectors = sample("vectors.f16bin")[order]
    return vectors[:3_800], vectors[3_800:4_400], vectors[4_400:]


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("index", ["hnsw(m=8)", "hnsw(m=8),lvq4"])
def test_held_out_queries_find_what_was_asked_for(cluster, split, shards, index):
    points, asked, held_out = split
    # Beyond a thousand points a shard walks; fewer are compared one by one.
    name = f"asked-{shards}-{'lvq' in index}"
    create(cluster, name, shards=shards, spec=index)
    copies = np.concatenate([points, *(points + np.random.default_rng(n).normal(0, 0.03, points.shape).astype("f4") for n in (1, 2))])
    load(cluster, name, copies)
    if "lvq" in index:
        wait_for(lambda: (lambda s: s.version == 1 and s.encoded == s.total)(codec(cluster, name)), "encoding", 60, cluster.describe)
    batch(cluster, name, asked)
    settle(cluster, name, asked[0], sample_queries=200, recall_target=0.9)
    for target in TARGETS:
        recall, estimate = measure(cluster, name, held_out, target)
        print(f"{shards} shards, {index}, target {target}: recall {recall:.4f}, {estimate}".replace("\n", " "))
        assert estimate.target_unreachable or target - 0.01 <= recall <= min(1, target + 0.04)
        if estimate.target_unreachable:
            assert estimate.recall < target


def test_before_there_are_queries_points_stand_in_for_them(cluster, split):
    points, asked, held_out = split
    create(cluster, "fresh", spec="hnsw(m=8)")
    load(cluster, "fresh", points[:800])
    # Few points are compared one by one.
    recall, estimate = measure(cluster, "fresh", held_out[:50], 0.9)
    assert recall == 1 and estimate.recall == 1 and not estimate.uncalibrated
    load(cluster, "fresh", points[800:], first=800)
    first = search(cluster, "fresh", held_out[0], recall_target=0.9, limit=20)
    assert first.recall.uncalibrated and len(first.points) == 20
    estimate = settle(cluster, "fresh", held_out[0], recall_target=0.9, limit=20)
    assert estimate.sample_queries == 0
    found = batch(cluster, "fresh", held_out[:150], recall_target=0.9, limit=20)
    exact = batch(cluster, "fresh", held_out[:150], exact=True, limit=20)
    recall = sum(len(ids(a) & ids(b)) for a, b in zip(exact, found)) / (20 * 150)
    print(f"on stand-ins, target 0.9: recall {recall:.4f}")
    assert recall >= 0.86
    # With enough queries the calibration is made again of them; and again when the points have become many more.
    batch(cluster, "fresh", asked[:250])
    settle(cluster, "fresh", held_out[0], sample_queries=200, recall_target=0.9, limit=20)
    load(cluster, "fresh", points + np.float32(0.01), first=10_000)
    assert search(cluster, "fresh", held_out[0], recall_target=0.9, limit=20).recall.uncalibrated
    settle(cluster, "fresh", held_out[0], sample_queries=200, recall_target=0.9, limit=20)


def test_a_target_out_of_reach_is_said_to_be(cluster, split):
    points, asked, held_out = split
    create(cluster, "coarse", spec="prefix8,f32,rescore1")
    load(cluster, "coarse", points)
    wait_for(lambda: (lambda s: s.version == 1 and s.encoded == s.total)(codec(cluster, "coarse")), "encoding", 60, cluster.describe)
    batch(cluster, "coarse", asked[:300])
    estimate = settle(cluster, "coarse", asked[0], sample_queries=200, recall_target=0.99)
    recall, estimate = measure(cluster, "coarse", held_out[:200], 0.99)
    assert estimate.target_unreachable and estimate.recall < 0.99 and abs(estimate.recall - recall) < 0.05
    cli = subprocess.run([BINARIES / "needletail", "search", "coarse", "--id", "7", "--recall", "0.99", "--endpoint", cluster.coordinator.address],
                         capture_output=True, text=True, timeout=60)
    assert cli.returncode == 0 and "recall 0.99 is out of reach: expected " in cli.stderr, cli.stderr
    cli = subprocess.run([BINARIES / "needletail", "search", "coarse", "--id", "7", "--recall", "0.99", "--ef", "50"], capture_output=True, text=True)
    assert cli.returncode != 0 and "choose one" in cli.stderr, cli.stderr


@pytest.mark.parametrize("options,words", [
    (dict(ef=64, recall_target=0.9), "recall_target and ef both say how thoroughly to search; choose one"),
    (dict(exact=True, recall_target=0.9), "recall_target and exact both say"),
    (dict(recall_target=1.0), "must be above 0 and below 1, not 1.0; for all of the nearest set exact"),
    (dict(recall_target=-0.5), "must be above 0"), (dict(recall_target=float("nan")), "must be above 0"),
    (dict(recall_target=0.9, limit=1_001), "a limit of at most 1000")])
def test_what_cannot_be_meant_is_refused(cluster, rng, options, words):
    if not any(one.name == "refusing" for one in cluster.collections.List(c.ListCollectionsRequest()).collections):
        create(cluster, "refusing", dimensions=4)
    vector = rng.standard_normal(4).astype("f4")
    for ask in (lambda: search(cluster, "refusing", vector, **options), lambda: batch(cluster, "refusing", vector[None], **options)):
        with pytest.raises(grpc.RpcError) as error:
            ask()
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT and words in error.value.details(), error.value.details()
    assert not search(cluster, "refusing", vector, limit=3).HasField("recall")
