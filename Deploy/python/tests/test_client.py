"""The client against a real cluster."""

import threading
import uuid

import grpc
import numpy as np
import pytest
from needletail import Client, Field, NeedletailError, Point, packed, values
from needletail.v1 import points_pb2


def test_points_come_back_as_they_were(client, rng):
    client.create_collection("all", {"text": Field(8, "l2"), "small": Field(4, "l2", element="u8")}, shards=2)
    named = uuid.UUID("c0ffee00-0000-4000-8000-000000000001")
    vector = rng.standard_normal(8).astype("f4")
    payload = {"title": "x", "n": 2**60, "share": 0.5, "on": True, "none": None, "tags": ["a", 1], "map": {"k": [None, False]}}
    assert client.upsert_points("all", [Point(7, {"text": vector, "small": np.array([1, 2, 3, 255], "u1")}, payload), Point(named, {"text": vector})]) == 2
    seven, by_name = client.get("all", [7, named], with_vectors=True, read="primary")
    assert seven.payload == payload and np.array_equal(seven.vectors["text"], vector) and seven.vectors["small"].tolist() == [1, 2, 3, 255]
    assert by_name.id == named and client.count("all", read="primary") == 2
    client.set_payload("all", [7], {"title": "y"})
    assert client.get("all", [7], read="primary")[0].payload == payload | {"title": "y"}
    assert client.delete("all", [7, 8]) == 1
    assert [point.id for point in client.scroll("all", read="primary")] == [named]
    client.delete_collection("all")


def test_searches_find_what_brute_force_finds(client, rng):
    base, queries = rng.standard_normal((3_000, 16)).astype("f4"), rng.standard_normal((20, 16)).astype("f4")
    client.create_collection("many", {"v": Field(16, "l2")}, shards=2)
    assert client.upsert("many", range(3_000), base) == 3_000
    truth = [np.argsort(((base - query) ** 2).sum(1))[:5].tolist() for query in queries]
    assert [[hit.id for hit in hits] for hits in client.search_batch("many", queries, limit=5, exact=True, read="primary")] == truth
    hit = client.search("many", queries[0], limit=5, exact=True, with_vectors=True, read="primary")[0]
    assert np.array_equal(hit.vectors["v"], base[truth[0][0]])
    assert [point.id for point in client.scroll("many", page=700, read="primary")] == list(range(3_000))
    client.delete_collection("many")


@pytest.mark.parametrize("kind", ["f4", "f2", "u1"])
def test_packed_rows_are_what_the_message_classes_make(kind, rng):
    rows = (rng.random((300, 7)) * 200).astype(kind)
    ids = rng.integers(0, 2**63, 300, "u8")
    head = points_pb2.UpsertRequest(collection="c")
    head.options.operation_id = b"0123456789abcdef"
    made = points_pb2.UpsertRequest.FromString(packed.upsert(head, "v", ids, rows))
    head.packed.CopyFrom(points_pb2.PackedPoints(ids=ids.tolist(), field="v", vectors=rows.tobytes(), element=values.ELEMENTS[rows.dtype]))
    assert made == head


def test_bad_input_is_refused_before_it_is_sent(client):
    for wrong, kind in [
        (lambda: client.upsert("x", [1, 2], np.zeros((3, 4), "f4")), ValueError), (lambda: client.upsert("x", [1], np.zeros((1, 2, 3))), ValueError),
        (lambda: client.get("x", [-1]), ValueError), (lambda: client.get("x", ["no uuid"]), ValueError), (lambda: client.get("x", [1.5]), TypeError),
        (lambda: client.upsert_points("x", [Point(1, {}, {"a": object()})]), TypeError), (lambda: client.count("x", read="some"), ValueError),
        (lambda: client.create_collection("x", {"v": Field(3, "euclid")}), ValueError),
        (lambda: client.search("x", np.array(["a"])), TypeError),
    ]:
        with pytest.raises(kind):
            wrong()


def test_errors_say_what_the_cluster_said(client):
    with pytest.raises(NeedletailError) as error:
        client.count("nowhere")
    assert error.value.code is grpc.StatusCode.NOT_FOUND and "needletail collection list" in error.value.message
    with Client("127.0.0.1:1", timeout=1) as nobody, pytest.raises(NeedletailError) as error:
        nobody.count("x")
    assert error.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_writes_go_on_while_the_coordinator_is_started_again(cluster, client, rng):
    """Every write is there once, and none has failed."""
    client.create_collection("on", {"v": Field(4, "l2")}, shards=2)
    rows = rng.standard_normal((200, 4)).astype("f4")
    begun, failed = threading.Event(), []

    def write():
        try:
            for start in range(0, 200, 2):
                client.upsert("on", range(start, start + 2), rows[start:start + 2], streams=1)
                if start == 20:
                    begun.set()
        except NeedletailError as error:
            failed.append(error)
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait()
    cluster.coordinator.kill()
    cluster.coordinator.start()
    writer.join()
    assert not failed and client.count("on", read="primary") == 200
    client.delete_collection("on")


def test_the_key_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    from harness import Cluster

    admin = "the-administrators-key-for-this-package"
    (tmp_path / "admin").write_text(admin + "\n")
    with Cluster(coordinator_arguments=["--admin-key-file", str(tmp_path / "admin")], key=admin) as running:
        with Client(running.coordinator.address) as client, pytest.raises(NeedletailError) as refused:
            client.collection("none")
        assert refused.value.code == grpc.StatusCode.UNAUTHENTICATED
        with Client(running.coordinator.address, api_key_file=tmp_path / "admin") as client:
            client.create_collection("kept", {"v": Field(2, "l2")})
        monkeypatch.setenv("NEEDLETAIL_API_KEY", admin)
        with Client(running.coordinator.address) as client:
            assert client.upsert("kept", [1], np.ones((1, 2), "f4")) == 1
            assert client.collection("kept").name == "kept"
