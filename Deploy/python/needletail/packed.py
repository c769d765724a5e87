"""Upserts whose vectors go from the array to the wire in one copy."""

from __future__ import annotations

import numpy as np

from needletail.v1 import points_pb2
from needletail.values import ELEMENTS

# Numbers of the fields of `UpsertRequest` and `PackedPoints`, with wire type 2 (bytes).
_PACKED = points_pb2.UpsertRequest.DESCRIPTOR.fields_by_name["packed"].number << 3 | 2
_VECTORS = points_pb2.PackedPoints.DESCRIPTOR.fields_by_name["vectors"].number << 3 | 2


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def upsert(head: points_pb2.UpsertRequest, field: str, ids: np.ndarray, vectors: np.ndarray) -> bytes:
    """`head`, with the rows, as it goes over the wire. The message classes would copy the rows into a field and then into the message."""
    inner = points_pb2.PackedPoints(ids=ids.tolist(), field=field, element=ELEMENTS[vectors.dtype]).SerializeToString()
    start = bytes([_VECTORS]) + _varint(vectors.nbytes)
    length = len(inner) + len(start) + vectors.nbytes
    return b"".join([head.SerializeToString(), bytes([_PACKED]), _varint(length), inner, start, vectors.reshape(-1).view("u1").data])
