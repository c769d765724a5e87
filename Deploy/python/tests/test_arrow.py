"""Parquet and Arrow in and out of a real cluster."""

import subprocess
import sys
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from needletail import Field, Point, arrow


def table(rng, rows, dimensions=8, **columns):
    vectors = rng.standard_normal((rows, dimensions)).astype("f4")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dimensions)
    return pa.table({"id": pa.array(range(rows), pa.uint64()), "v": lists, **columns}), vectors


def test_vectors_are_taken_from_the_columns_memory(rng):
    rows, vectors = table(rng, 100)
    found = arrow._rows(rows.column("v").combine_chunks(), "v")
    assert np.array_equal(found, vectors)
    assert not found.flags.owndata
    # A slice begins in the middle of the column's memory.
    assert np.array_equal(arrow._rows(rows.slice(30, 20).to_batches()[0].column(1), "v"), vectors[30:50])


def test_a_collection_goes_out_and_in_again(client, rng, tmp_path):
    fields = {"a": Field(8, "l2"), "b": Field(4, "l2", element="f16")}
    client.create_collection("from", fields, shards=2)
    kinds = [{"n": 1, "t": "x", "mixed": 1}, {"n": 2**62, "mixed": "text", "tags": ["a", None, 2]}, {"share": 0.25, "ok": True, "map": {"k": 1.5}}, {}]
    points = [Point(uuid.UUID(int=row + 1), {"a": rng.standard_normal(8).astype("f4")}, kinds[row % 4] | {"id": row}) for row in range(400)]
    for point in points[::3]:
        point.vectors["b"] = rng.standard_normal(4).astype("f2")
    client.upsert_points("from", points)
    assert arrow.export_file(client, "from", str(tmp_path / "all.parquet"), page=150) == 400
    # "b" is missing in most points, so the rows are read back one kind after the other.
    whole = pq.read_table(tmp_path / "all.parquet")
    assert whole.schema.field("n").type == pa.int64() and whole.schema.field("share").type == pa.float64()
    assert {"id", "payload.id"} <= set(whole.schema.names)
    client.create_collection("to", fields, shards=1)
    has_both = pa.compute.is_valid(whole.column("b"))
    columns = [name for name in whole.schema.names if name not in ("id", "a", "b")]
    assert arrow.import_batch(client, "to", whole.filter(has_both), vectors={"a": "a", "b": "b"}, payload=columns) == 134
    assert arrow.import_batch(client, "to", whole.filter(pa.compute.invert(has_both)), vectors={"a": "a"}, payload=columns) == 266

    def content(name):
        return {point.id: ({key: item for key, item in point.payload.items()}, {f: v.tolist() for f, v in point.vectors.items()})
                for point in client.scroll(name, with_vectors=True, read="primary")}

    before = {one: (payload | {"payload.id": payload["id"]}, vectors) for one, (payload, vectors) in content("from").items()}
    for payload, _ in before.values():
        del payload["id"]
    assert content("to") == before
    for name in ("from", "to"):
        client.delete_collection(name)


def test_files_by_the_command_line(cluster, client, rng, tmp_path):
    rows, vectors = table(rng, 1_000, title=pa.array([f"t{row}" for row in range(1_000)]))
    pq.write_table(rows.slice(0, 600), tmp_path / "1.parquet")
    pq.write_table(rows.slice(600), tmp_path / "2.parquet")
    client.create_collection("files", {"v": Field(8, "l2")})

    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "needletail", "--endpoint", cluster.coordinator.address, *arguments], capture_output=True, text=True,
                              timeout=120)

    done = run("import", "files", str(tmp_path / "1.parquet"), str(tmp_path / "2.parquet"))
    assert done.returncode == 0 and "1,000 points" in done.stdout, done.stderr
    found = client.get("files", [999], with_vectors=True, read="primary")[0]
    assert found.payload == {"title": "t999"} and np.array_equal(found.vectors["v"], vectors[999])
    done = run("export", "files", str(tmp_path / "out.parquet"))
    assert done.returncode == 0, done.stderr
    back = pq.read_table(tmp_path / "out.parquet").sort_by("id")
    assert back.column("title").to_pylist() == rows.column("title").to_pylist()
    done = run("import", "files", str(tmp_path / "1.parquet"), "--id", "nothing")
    assert done.returncode == 1 and "there is no column 'nothing'" in done.stderr
    done = run("import", "files", str(tmp_path / "none.parquet"))
    assert done.returncode == 1 and "none.parquet" in done.stderr
    client.delete_collection("files")


@pytest.mark.parametrize("column,says", [
    (pa.array([[1.0], None]), "without a vector"), (pa.array([[1.0], [1.0, 2.0]]), "different lengths"), (pa.array(["a", "b"]), "not lists of numbers"),
])
def test_columns_that_are_no_vectors_are_named(client, column, says):
    with pytest.raises((ValueError, TypeError), match=says):
        arrow.import_batch(client, "x", pa.table({"id": [1, 2], "v": column}), vectors="v")
