"""Parquet and Arrow, in and out.

A table has a column of ids (whole numbers, or UUIDs as text or 16 bytes), a column of fixed-size lists for each vector field, and any others
as payload. Payload columns keep their types; what Arrow has no common type for (keys whose values differ in kind) is JSON text, marked in the
column's metadata, so that an import gives back what an export took.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from needletail.client import ROWS, Client, Point
from needletail.v1 import collections_pb2, common_pb2

JSON = b"needletail.json"
WIDTHS = {common_pb2.ELEMENT_F16: pa.float16(), common_pb2.ELEMENT_U8: pa.uint8()}


def import_file(client: Client, collection: str, path: str | Sequence[str], **options: Any) -> int:
    """`import_batches` from Parquet or Arrow files, or a folder of them."""
    return import_batches(client, collection, pyarrow.dataset.dataset(path).to_batches(batch_size=ROWS), **options)


def import_batches(client: Client, collection: str, batches: Iterator[pa.RecordBatch], *, id: str = "id",
                   vectors: Mapping[str, str] | str | None = None, payload: Sequence[str] | None = None, streams: int = 2) -> int:
    """Writes every row as a point; returns how many. Points that are there already are replaced, so it may simply be run again.

    `vectors`: columns by field name, or the column of the only field; all columns of fixed-size lists when left out, named as their fields.
    `payload`: columns that become payload; all others when left out.
    """
    total = 0
    for batch in batches:
        if batch.num_rows:
            total += import_batch(client, collection, batch, id=id, vectors=vectors, payload=payload, streams=streams)
    return total


def import_batch(client: Client, collection: str, batch: pa.RecordBatch | pa.Table, *, id: str = "id",
                 vectors: Mapping[str, str] | str | None = None, payload: Sequence[str] | None = None, streams: int = 1) -> int:
    if isinstance(batch, pa.Table):
        return import_batches(client, collection, batch.to_batches(ROWS), id=id, vectors=vectors, payload=payload, streams=streams)
    columns = _columns(batch.schema, id, vectors)
    others = [name for name in batch.schema.names if name != id and name not in columns.values()] if payload is None else list(payload)
    for name in others:
        _column(batch, name)
    arrays = {field: _rows(_column(batch, name), name) for field, name in columns.items()}
    ids = _column(batch, id)
    if ids.null_count:
        raise ValueError(f"column {id!r} has rows without an id")
    # Rows of numbers alone need no message each.
    if len(arrays) == 1 and not others and pa.types.is_integer(ids.type):
        (field, array), = arrays.items()
        return client.upsert(collection, ids.cast(pa.uint64()).to_numpy(), array, field=field, streams=streams)
    kept = {name: _values(batch, name) for name in others}
    named = _ids(ids)

    def points() -> Iterator[Point]:
        for row, one in enumerate(named):
            yield Point(one, {field: array[row] for field, array in arrays.items()},
                        {name: column[row] for name, column in kept.items() if column[row] is not None})

    return client.upsert_points(collection, points(), streams=streams)


def export_file(client: Client, collection: str, path: str, *, with_vectors: bool = True, with_payload: bool = True, page: int = 1_000) -> int:
    """Writes every point to a Parquet file; returns how many. Reads the payloads twice: first for the kinds of their values."""
    schema, kinds = _schema(client, collection, with_vectors, with_payload, page)
    total = 0
    with pq.ParquetWriter(path, schema) as writer:
        for points in _pages(client.scroll(collection, with_payload=with_payload, with_vectors=with_vectors, page=page, read="primary"), page):
            writer.write_batch(_batch(points, schema, kinds))
            total += len(points)
    return total


# In

def _columns(schema: pa.Schema, id: str, vectors: Mapping[str, str] | str | None) -> dict[str, str]:
    if isinstance(vectors, str):
        return {"": vectors}
    if vectors is not None:
        return dict(vectors)
    found = [column.name for column in schema if column.name != id and pa.types.is_fixed_size_list(column.type)]
    return {"": found[0]} if len(found) == 1 else {name: name for name in found}


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    index = batch.schema.get_field_index(name)
    if index < 0:
        raise ValueError(f"there is no column {name!r}; there are {', '.join(map(repr, batch.schema.names))}")
    return batch.column(index)


def _rows(column: pa.Array, name: str) -> np.ndarray:
    """The column's own memory as an array of rows, if it is of fixed-size lists without gaps."""
    if column.null_count:
        raise ValueError(f"column {name!r} has rows without a vector; leave those rows out")
    if pa.types.is_fixed_size_list(column.type):
        width = column.type.list_size
    elif pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        widths = np.diff(column.offsets.to_numpy())
        if len(set(widths.tolist())) > 1:
            raise ValueError(f"column {name!r} has vectors of different lengths, {widths.min()} to {widths.max()}")
        width = int(widths[0])
    else:
        raise TypeError(f"column {name!r} holds {column.type}, not lists of numbers")
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), width)


def _ids(column: pa.Array) -> list:
    if pa.types.is_integer(column.type):
        return column.to_pylist()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return [uuid.UUID(text) for text in column.to_pylist()]
    if pa.types.is_fixed_size_binary(column.type) or pa.types.is_binary(column.type):
        return [uuid.UUID(bytes=raw) for raw in column.to_pylist()]
    if isinstance(column, pa.ExtensionArray):
        return column.to_pylist()
    raise TypeError(f"ids are whole numbers or UUIDs, not {column.type}")


def _values(batch: pa.RecordBatch, name: str) -> list:
    column = batch.schema.field(name)
    items = _column(batch, name).to_pylist()
    if (column.metadata or {}).get(JSON):
        return [None if item is None else json.loads(item) for item in items]
    return items


# Out

def _pages(points: Iterator[Point], size: int) -> Iterator[list[Point]]:
    some: list[Point] = []
    for point in points:
        some.append(point)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def _schema(client: Client, collection: str, with_vectors: bool, with_payload: bool, page: int) -> tuple[pa.Schema, dict[str, str]]:
    spec: collections_pb2.Collection = client.collection(collection)
    has_uuid, kinds = False, {}
    for point in client.scroll(collection, with_payload=with_payload, page=page, read="primary"):
        has_uuid = has_uuid or isinstance(point.id, uuid.UUID)
        for key, item in point.payload.items():
            if item is not None:
                kinds[key] = _common(kinds.get(key), _kind(item))
    # Numbers and UUIDs beside each other have text in common only.
    fields = [pa.field("id", pa.string() if has_uuid else pa.uint64(), nullable=False)]
    if with_vectors:
        for vector in spec.fields:
            width = (vector.dimensions + 7) // 8 if vector.element == common_pb2.ELEMENT_BIT else vector.dimensions
            kind = pa.uint8() if vector.element == common_pb2.ELEMENT_BIT else WIDTHS.get(vector.element, pa.float32())
            fields.append(pa.field(vector.name, pa.list_(kind, width)))
    taken = {field.name for field in fields}
    types = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "text": pa.string()}
    names = {}
    for key, kind in sorted(kinds.items()):
        name = key
        while name in taken:
            name = f"payload.{name}"
        taken.add(name)
        names[name] = key
        json_text = kind not in types
        fields.append(pa.field(name, types.get(kind, pa.string()), metadata={JSON: b"1"} if json_text else None))
    return pa.schema(fields), names


def _kind(item: Any) -> str:
    if isinstance(item, bool):
        return "bool"
    if isinstance(item, int):
        return "int"
    if isinstance(item, float):
        return "float"
    return "text" if isinstance(item, str) else "json"


def _common(known: str | None, kind: str) -> str:
    # Whole numbers and others stay apart: as float64 a large whole number would change.
    return kind if known in (None, kind) else "json"


def _batch(points: list[Point], schema: pa.Schema, names: dict[str, str]) -> pa.RecordBatch:
    columns = []
    for field in schema:
        if field.name == "id":
            items = [str(uuid.UUID(int=point.id)) if isinstance(point.id, int) and pa.types.is_string(field.type) else point.id for point in points]
            columns.append(pa.array([str(item) for item in items] if pa.types.is_string(field.type) else items, field.type))
        elif field.name in names:
            items = [point.payload.get(names[field.name]) for point in points]
            if (field.metadata or {}).get(JSON):
                items = [None if item is None else json.dumps(item) for item in items]
            columns.append(pa.array(items, field.type))
        else:
            columns.append(_lists([point.vectors.get(field.name) for point in points], field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _lists(rows: list, kind: pa.FixedSizeListType) -> pa.Array:
    missing = np.fromiter((row is None for row in rows), bool, len(rows))
    blank = np.zeros(kind.list_size, kind.value_type.to_pandas_dtype())
    flat = np.concatenate([blank if row is None else row for row in rows])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, kind.value_type), type=kind, mask=pa.array(missing))
