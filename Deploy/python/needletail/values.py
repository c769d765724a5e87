"""Between Python's values and the messages of the API."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from needletail.v1 import common_pb2

ELEMENTS = {
    np.dtype("<f4"): common_pb2.ELEMENT_F32,
    np.dtype("<f2"): common_pb2.ELEMENT_F16,
    np.dtype("u1"): common_pb2.ELEMENT_U8,
}
TYPES = {common_pb2.ELEMENT_UNSPECIFIED: np.dtype("<f4"), **{element: kind for kind, element in ELEMENTS.items()}}


def point_id(value: int | str | bytes | uuid.UUID) -> common_pb2.PointId:
    """A whole number that is not negative, or a UUID."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        if not 0 <= value < 2**64:
            raise ValueError(f"an id is 0 to 2^64 - 1, not {value}")
        return common_pb2.PointId(number=int(value))
    if isinstance(value, uuid.UUID):
        return common_pb2.PointId(uuid=value.bytes)
    if isinstance(value, (bytes, bytearray, memoryview)) and len(value) == 16:
        return common_pb2.PointId(uuid=bytes(value))
    if isinstance(value, str):
        return common_pb2.PointId(uuid=uuid.UUID(value).bytes)
    raise TypeError(f"an id is a whole number or a UUID, not {value!r}")


def from_point_id(message: common_pb2.PointId) -> int | uuid.UUID:
    return uuid.UUID(bytes=message.uuid) if message.WhichOneof("kind") == "uuid" else message.number


def rows(vectors: Any) -> np.ndarray:
    """A two-dimensional array in an element that the cluster knows, in row order. A copy only where the array is neither."""
    array = np.asarray(vectors)
    if array.ndim == 1:
        array = array.reshape(1, -1)
    if array.ndim != 2:
        raise ValueError(f"vectors are an array of n rows × d dimensions, not of shape {array.shape}")
    if array.dtype not in ELEMENTS:
        if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
            raise TypeError(f"vectors are of float32, float16 or uint8, not {array.dtype}")
        array = array.astype("<f4")
    return np.ascontiguousarray(array)


def vector(values: Any) -> common_pb2.Vector:
    array = rows(values)
    if len(array) != 1:
        raise ValueError(f"one vector is wanted, not {len(array)}")
    return common_pb2.Vector(data=array.tobytes(), element=ELEMENTS[array.dtype])


def from_vector(message: common_pb2.Vector) -> np.ndarray:
    """The vector, read-only: it lies in the message. Bits are left as bytes."""
    if message.data:
        return np.frombuffer(message.data, TYPES.get(message.element, np.dtype("u1")))
    return np.asarray(message.values, "<f4")


def value(item: Any) -> common_pb2.Value:
    """A JSON-like value; numbers keep whether they are whole."""
    if item is None:
        return common_pb2.Value(null_value=common_pb2.NULL_VALUE)
    if isinstance(item, (bool, np.bool_)):
        return common_pb2.Value(bool_value=bool(item))
    if isinstance(item, (int, np.integer)):
        return common_pb2.Value(int_value=int(item))
    if isinstance(item, (float, np.floating)):
        return common_pb2.Value(double_value=float(item))
    if isinstance(item, str):
        return common_pb2.Value(string_value=item)
    if isinstance(item, Mapping):
        return common_pb2.Value(map_value=common_pb2.MapValue(entries=payload(item)))
    if isinstance(item, (Sequence, np.ndarray)) and not isinstance(item, (bytes, bytearray)):
        return common_pb2.Value(list_value=common_pb2.ListValue(values=[value(part) for part in item]))
    raise TypeError(f"a payload holds null, booleans, numbers, text, lists and maps, not {type(item).__name__}")


def payload(items: Mapping[str, Any]) -> dict[str, common_pb2.Value]:
    return {str(key): value(item) for key, item in items.items()}


def from_value(message: common_pb2.Value) -> Any:
    kind = message.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    if kind == "list_value":
        return [from_value(part) for part in message.list_value.values]
    if kind == "map_value":
        return from_payload(message.map_value.entries)
    return getattr(message, kind)


def from_payload(entries: Mapping[str, common_pb2.Value]) -> dict[str, Any]:
    return {key: from_value(item) for key, item in entries.items()}
