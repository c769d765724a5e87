"""Fields whose graphs walk on codes: what is declared and refused."""

import json
import subprocess

import grpc
import pytest
from harness import BINARIES
from needletail.v1 import collections_pb2 as c


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
    ("lvq8,rescore(50,file)", c.METRIC_L2, "from memory only", grpc.StatusCode.UNIMPLEMENTED)])
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
    assert "is no stage" in cli("collection", "create", "x", "--field", "a:64:l2", "--index", "pq8").stderr
