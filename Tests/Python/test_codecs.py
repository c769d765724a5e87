"""Fields whose graphs walk on codes: what is declared and refused, how they are trained, and what a crash leaves of it."""

import json
import subprocess

import grpc
import numpy as np
import pytest
from harness import BINARIES, ROOT, Cluster, wait_for
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p


def create(cluster, name, metric=c.METRIC_COSINE, dimensions=384, shards=1, **index):
    field = c.VectorField(name="v", dimensions=dimensions, metric=metric, index=c.IndexSpec(**index))
    return cluster.collections.Create(c.CreateCollectionRequest(name=name, shard_count=shards, fields=[field]), timeout=60)


def test_an_index_comes_back_as_text_and_in_parts(cluster):
    made = create(cluster, "declared", spec="leanvec160 -> hnsw(m=24) -> lvq8 -> rescore50")
    index = made.fields[0].index
    assert index.spec == "leanvec160,hnsw(m=24),lvq8,rescore(50)"
    assert index.transform.leanvec.dimensions == 160 and not index.transform.leanvec.query_aware
    assert index.graph.m == made.fields[0].graph.m == 24 and index.codec == "lvq8" and index.rescore.count == 50
    assert cluster.collections.Get(c.GetCollectionRequest(name="declared")).fields == made.fields
    # What came back can be sent again, and the parts without the text say the same.
    cluster.collections.Create(c.CreateCollectionRequest(name="again", fields=made.fields))
    index.spec = ""
    assert create(cluster, "parts", transform=index.transform, graph=index.graph, codec=index.codec, rescore=index.rescore).fields[0].index.spec \
        == "leanvec160,hnsw(m=24),lvq8,rescore(50)"


@pytest.mark.parametrize("spec,metric,words,code", [
    ("lvq9", c.METRIC_L2, "is no stage", grpc.StatusCode.INVALID_ARGUMENT),
    ("pca500,lvq8", c.METRIC_L2, "does not fit 384", grpc.StatusCode.INVALID_ARGUMENT),
    ("pca100", c.METRIC_L2, "a transform needs a codec", grpc.StatusCode.INVALID_ARGUMENT),
    ("whiten100,lvq8", c.METRIC_DOT, "whitening changes inner products", grpc.StatusCode.INVALID_ARGUMENT),
    ("rescore(file)", c.METRIC_L2, "distances are exact already", grpc.StatusCode.INVALID_ARGUMENT)])
def test_an_index_that_cannot_be_is_refused_in_the_validators_words(cluster, spec, metric, words, code):
    with pytest.raises(grpc.RpcError) as error:
        create(cluster, "refused", metric, spec=spec)
    assert error.value.code() == code and words in error.value.details(), error.value.details()


def test_the_command_line_takes_and_shows_indexes(cluster):
    def cli(*arguments):
        command = [BINARIES / "needletail", *arguments, "--endpoint", cluster.coordinator.address]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    made = cli("collection", "create", "cli-codecs", "--field", "a:64:l2", "--field", "b:32:dot", "--index", "lvq8", "--index", "b=pca16,hnsw(m=8),f16",
               "--m", "20")
    assert made.returncode == 0, made.stderr
    shown = cli("collection", "show", "cli-codecs").stdout
    assert "hnsw(m=20),lvq8" in shown and "pca16,hnsw(m=8),f16" in shown
    assert [field["index"] for field in json.loads(cli("collection", "show", "cli-codecs", "--json").stdout)["fields"]] \
        == ["hnsw(m=20),lvq8", "pca16,hnsw(m=8),f16"]
    assert "is no stage" in cli("collection", "create", "x", "--field", "a:64:l2", "--index", "xq8").stderr


def sample(name):
    """Rows of the sample that ships with the project."""
    raw = (ROOT / "Sources" / "needletail" / "Resources" / "sample" / name).read_bytes()
    rows, columns = np.frombuffer(raw[:8], "u4")
    return np.frombuffer(raw[8:], "f2").reshape(rows, columns).astype("f4")


def load(cluster, name, rows, first=0):
    for start in range(0, len(rows), 500):
        block = rows[start:start + 500]
        ids = range(first + start, first + start + len(block))
        cluster.points.Upsert(p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=ids, vectors=block.tobytes())), timeout=60)


def search(cluster, name, query, **options):
    request = p.SearchRequest(collection=name, query=p.Query(vector=common.Vector(data=query.tobytes()), **options))
    return [(point.id.number, point.score) for point in cluster.points.Search(request, timeout=60).points]


def codec(cluster, name):
    return cluster.collections.Get(c.GetCollectionRequest(name=name), timeout=10).codecs[0]


def wait_until_encoded(cluster, name, version=1):
    wait_for(lambda: (lambda state: state.version == version and state.encoded == state.total > 0)(codec(cluster, name)), "encoding", 60,
             cluster.describe)


def check(cluster, name, queries, least=0.95):
    """recall@10 against exact search; every score is the exact one."""
    hits = 0
    for query in queries:
        exact = search(cluster, name, query, exact=True, limit=100)
        found = search(cluster, name, query)
        hits += len({point for point, _ in found} & {point for point, _ in exact[:10]})
        scores = dict(exact)
        assert all(scores[point] == score for point, score in found if point in scores)
    recall = hits / (10 * len(queries))
    print(f"recall@10: {recall}")
    assert recall >= least, recall


def test_a_collection_is_trained_by_itself_and_stays_so_after_a_crash():
    vectors, queries = sample("vectors.f16bin"), sample("queries.f16bin")
    with Cluster(workers=2) as cluster:
        create(cluster, "words", shards=4, spec="lvq8")
        load(cluster, "words", vectors[:1_500])
        assert codec(cluster, "words").version == 0
        check(cluster, "words", queries[:50])
        load(cluster, "words", vectors[1_500:], first=1_500)
        wait_until_encoded(cluster, "words")
        check(cluster, "words", queries)
        # The codes are in the checkpoint of every replica when it comes to rest.
        folder = cluster.workers[0].folder / "data" / "replicas"
        manifests = lambda: [path / "checkpoint" / "MANIFEST" for path in folder.iterdir()]
        wait_for(lambda: all(path.exists() and b"field-0-codes-1" in path.read_bytes() for path in manifests()), "checkpoints with codes", 60, cluster.describe)
        before = [search(cluster, "words", query, ef=400) for query in queries]
        cluster.workers[0].kill()
        cluster.workers[0].start()
        cluster.wait_until_ready()
        wait_until_encoded(cluster, "words")
        assert [search(cluster, "words", query, ef=400) for query in queries] == before
        check(cluster, "words", queries)
        shown = subprocess.run([BINARIES / "needletail", "status", "--endpoint", cluster.coordinator.address], capture_output=True, text=True)
        assert "trained version 1" in shown.stdout, shown.stdout + shown.stderr


def test_training_on_request(cluster, rng):
    vectors, queries = sample("vectors.f16bin")[:1_000], sample("queries.f16bin")
    create(cluster, "asked", shards=2, spec="leanvec96(queries),lvq8,rescore50")
    request = c.TrainCollectionRequest(name="asked", field="v", queries=queries.tobytes())
    with pytest.raises(grpc.RpcError) as error:
        cluster.collections.Train(request, timeout=60)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION and "load more" in error.value.details()
    load(cluster, "asked", vectors)
    with pytest.raises(grpc.RpcError) as error:
        cluster.collections.Train(c.TrainCollectionRequest(name="asked"), timeout=60)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "give a sample" in error.value.details()
    assert cluster.collections.Train(request, timeout=60).codecs[0].version == 1
    wait_until_encoded(cluster, "asked")
    check(cluster, "asked", queries[:100])


def test_a_crash_while_encoding_and_writes_to_a_trained_collection():
    vectors, queries = sample("vectors.f16bin"), sample("queries.f16bin")
    with Cluster(workers=1) as cluster:
        create(cluster, "crash", shards=2, spec="lvq8")
        load(cluster, "crash", vectors[:3_000])
        wait_for(lambda: codec(cluster, "crash").version == 1, "training", 60, cluster.describe)
        # Wherever the replicas are with it: what has no codes in a checkpoint is encoded again.
        for first in (3_000, 4_000):
            cluster.workers[0].kill()
            cluster.workers[0].start()
            cluster.wait_until_ready()
            wait_until_encoded(cluster, "crash")
            load(cluster, "crash", vectors[first:first + 1_000], first=first)
            check(cluster, "crash", queries[:100])


def test_a_field_is_trained_again_while_it_serves():
    vectors, queries = sample("vectors.f16bin"), sample("queries.f16bin")
    with Cluster(workers=2) as cluster:
        create(cluster, "again", shards=2, spec="pca96,lvq8")
        load(cluster, "again", vectors[:4_000])
        wait_until_encoded(cluster, "again")
        check(cluster, "again", queries[:50])
        for version, killed in ((2, cluster.workers[0]), (3, cluster.workers[1]), (4, None)):
            command = [BINARIES / "needletail", "collection", "train", "again", "--field", "v", "--endpoint", cluster.coordinator.address]
            trained = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert trained.returncode == 0 and f"trained version {version}" in trained.stdout, trained.stdout + trained.stderr
            load(cluster, "again", vectors[4_000:4_500] + np.float32(version / 100), first=10_000 * version)
            check(cluster, "again", queries[:50])
            if killed:
                # In the middle of it, or before, or after: the workers have the model with their next heartbeat.
                killed.kill()
                killed.start()
                cluster.wait_until_ready()
                check(cluster, "again", queries[:50])
            wait_until_encoded(cluster, "again", version)
            check(cluster, "again", queries[:100])


@pytest.mark.parametrize("spec,least", [("pq32", 0.98), ("pq96x4", 0.98), ("rq8", 0.95), ("pca128,pq32,rescore200", 0.97)])
def test_codebooks_are_learned_and_searched(cluster, spec, least):
    vectors, queries = sample("vectors.f16bin"), sample("queries.f16bin")
    name = "books-" + spec.replace(",", "-")
    create(cluster, name, shards=2, spec=spec)
    load(cluster, name, vectors)
    wait_until_encoded(cluster, name)
    check(cluster, name, queries, least)
    assert cluster.collections.Get(c.GetCollectionRequest(name=name)).fields[0].index.codec == spec.split(",")[min(1, spec.count(","))]


def test_too_few_vectors_for_a_codebook_are_told(cluster):
    create(cluster, "few", spec="pq32")
    load(cluster, "few", sample("vectors.f16bin")[:200])
    with pytest.raises(grpc.RpcError) as error:
        cluster.collections.Train(c.TrainCollectionRequest(name="few"), timeout=60)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION and "256" in error.value.details()


def test_codebooks_too_large_for_the_metadata_are_refused(cluster):
    with pytest.raises(grpc.RpcError) as error:
        create(cluster, "large", dimensions=8192, spec="rq8")
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "too large" in error.value.details()


def test_vectors_may_lie_in_a_file():
    vectors, queries = sample("vectors.f16bin"), sample("queries.f16bin")

    def mapped(worker):
        """Bytes of files that are memory, and have no name."""
        maps = open(f"/proc/{worker.process.pid}/maps").read().splitlines()
        ranges = [line.split()[0].split("-") for line in maps if "-rows.memory" in line and "(deleted)" in line]
        return sum(int(end, 16) - int(start, 16) for start, end in ranges)

    with Cluster(workers=1) as cluster:
        worker = cluster.workers[0]
        create(cluster, "filed", shards=2, spec="lvq8,rescore(file)")
        load(cluster, "filed", vectors[:4_000])
        wait_until_encoded(cluster, "filed")
        check(cluster, "filed", queries[:100])
        assert mapped(worker) >= 4_000 * 384 * 4
        for first in (4_000, 4_500):
            worker.kill()
            worker.start()
            cluster.wait_until_ready()
            wait_until_encoded(cluster, "filed")
            load(cluster, "filed", vectors[first:first + 500], first=first)
            check(cluster, "filed", queries[:100])
        assert mapped(worker) >= 5_000 * 384 * 4
        assert not list((worker.folder / "data").rglob("*.memory"))
