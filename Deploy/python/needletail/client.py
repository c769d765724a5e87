"""The client: collections, points, searches."""

from __future__ import annotations

import os
import pathlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from needletail import packed, values
from needletail.retries import NeedletailError, calling
from needletail.tls import TLS, tls_of
from needletail.v1 import collections_pb2, collections_pb2_grpc, points_pb2, points_pb2_grpc

METRICS = {"l2": collections_pb2.METRIC_L2, "cosine": collections_pb2.METRIC_COSINE, "dot": collections_pb2.METRIC_DOT,
           "hamming": collections_pb2.METRIC_HAMMING}
CONSISTENCIES = {"any": points_pb2.READ_CONSISTENCY_ANY_IN_SYNC, "primary": points_pb2.READ_CONSISTENCY_PRIMARY}
# Of one request; the server takes ten thousand points or 64 MiB.
ROWS, BYTES = 5_000, 8 << 20
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
Id = int | str | bytes | uuid.UUID


@dataclass(frozen=True)
class Field:
    """A vector field of a collection. `index` as in "leanvec160,hnsw(m=16),lvq8"; empty for a graph on the stored vectors."""

    dimensions: int
    metric: str
    index: str = ""
    element: str = "f32"


@dataclass
class Point:
    """`vectors` by the names of their fields; "" is the only field of a collection that has one."""

    id: Id
    vectors: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Hit:
    """A point that a search found; better ones have larger scores and smaller distances."""

    id: int | uuid.UUID
    score: float
    distance: float
    payload: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)


def _authorization(file: str | os.PathLike[str] | None) -> list[tuple[str, str]]:
    key = (pathlib.Path(file).read_text() if file else os.environ.get("NEEDLETAIL_API_KEY", "")).strip()
    return [("authorization", f"Bearer {key}")] if key else []


class Client:
    """A connection to a cluster through any of its coordinators. Threads may share it.

    Calls are made again while the cluster says that this helps, within `timeout` seconds each; writes carry an operation id, so one that is
    made again is carried out once. Errors of the cluster are `NeedletailError`.
    """

    def __init__(self, endpoint: str | None = None, *, timeout: float = 30.0, tls: TLS | None = None, credentials: grpc.ChannelCredentials | None = None,
                 metadata: Sequence[tuple[str, str]] = (), api_key_file: str | os.PathLike[str] | None = None):
        """`endpoint` is host:port, with TLS https://host:port; without it NEEDLETAIL_ENDPOINT, else 127.0.0.1:7460. Of an address that says
        neither https:// nor http:// TLS is wanted when `tls` is given, or the environment has a variable of it. `credentials` replaces all that.
        The API key or token is what `api_key_file` has, or NEEDLETAIL_API_KEY; none where both are absent."""
        self.endpoint, chosen, options = tls_of(endpoint or os.environ.get("NEEDLETAIL_ENDPOINT", "127.0.0.1:7460"), tls)
        credentials = credentials or chosen
        self.timeout = timeout
        self.metadata = (*metadata, *_authorization(api_key_file))
        self.channel = (grpc.secure_channel(self.endpoint, credentials, options=OPTIONS + options) if credentials
                        else grpc.insecure_channel(self.endpoint, options=OPTIONS))
        self.collections = collections_pb2_grpc.CollectionsStub(self.channel)
        self.points = points_pb2_grpc.PointsStub(self.channel)
        self._upsert = self.channel.unary_unary("/needletail.v1.Points/Upsert", request_serializer=bytes,
                                                response_deserializer=points_pb2.WriteResponse.FromString)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.channel.close()

    def _call(self, method, request, timeout: float | None = None):
        return calling(lambda left: method(request, timeout=left, metadata=self.metadata), self.timeout if timeout is None else timeout)

    # Collections

    def create_collection(self, name: str, fields: Mapping[str, Field], *, shards: int = 1, replicas: int = 1) -> None:
        """Fails with ALREADY_EXISTS when there is one."""
        elements = {"f32": 1, "f16": 2, "u8": 3, "bit": 4}
        messages = []
        for label, spec in fields.items():
            if spec.metric not in METRICS or spec.element not in elements:
                raise ValueError(f"a field's metric is one of {', '.join(METRICS)}, its element one of {', '.join(elements)}; got {spec}")
            message = collections_pb2.VectorField(name=label, dimensions=spec.dimensions, metric=METRICS[spec.metric], element=elements[spec.element])
            if spec.index:
                message.index.spec = spec.index
            messages.append(message)
        request = collections_pb2.CreateCollectionRequest(name=name, fields=messages, shard_count=shards, replication_factor=replicas)
        # Not made again: the second of two would fail though the first had made it.
        try:
            self.collections.Create(request, timeout=self.timeout, metadata=self.metadata)
        except grpc.RpcError as error:
            raise NeedletailError(error.code(), error.details() or "") from None

    def collection(self, name: str) -> collections_pb2.Collection:
        return self._call(self.collections.Get, collections_pb2.GetCollectionRequest(name=name))

    def delete_collection(self, name: str, *, ignore_missing: bool = True) -> None:
        self._call(self.collections.Delete, collections_pb2.DeleteCollectionRequest(name=name, ignore_missing=ignore_missing))

    # Writing

    def upsert(self, collection: str, ids: Any, vectors: Any, *, field: str = "", streams: int = 2) -> int:
        """Writes one vector a point, without payload, in as many requests as it takes; returns how many points were written.

        `ids`: n whole numbers. `vectors`: an array of n × d float32, float16 or uint8, which goes to the wire without being copied first.
        """
        array = values.rows(vectors)
        numbers = np.ascontiguousarray(ids, "u8").reshape(-1)
        if len(numbers) != len(array):
            raise ValueError(f"{len(numbers)} ids for {len(array)} vectors")
        step = max(1, min(ROWS, BYTES // max(1, array.shape[1] * array.itemsize)))

        def send(start: int) -> int:
            request = packed.upsert(self._upsert_head(collection), field, numbers[start:start + step], array[start:start + step])
            return self._call(self._upsert, request).applied

        return sum(self._side_by_side(send, range(0, len(array), step), streams))

    def upsert_points(self, collection: str, points: Iterable[Point], *, streams: int = 2, batch: int = 500) -> int:
        """Writes points with any vectors and payload; `points` may be an endless stream, of which no more than some batches are held."""

        def send(some: list[Point]) -> int:
            request = self._upsert_head(collection)
            for point in some:
                message = request.points.add(id=values.point_id(point.id), payload=values.payload(point.payload))
                for label, vector in point.vectors.items():
                    message.vectors[label].CopyFrom(values.vector(vector))
            return self._call(self.points.Upsert, request).applied

        return sum(self._side_by_side(send, _batches(points, batch), streams))

    @staticmethod
    def _upsert_head(collection: str) -> points_pb2.UpsertRequest:
        request = points_pb2.UpsertRequest(collection=collection)
        request.options.operation_id = os.urandom(16)
        return request

    @staticmethod
    def _side_by_side(send, items: Iterable, streams: int) -> Iterator[int]:
        """Results of `send` for each item, so many at a time; the items are taken as they are needed."""
        if streams <= 1:
            yield from map(send, items)
            return
        with ThreadPoolExecutor(streams) as pool:
            under_way: set[Future] = set()
            for item in items:
                if len(under_way) >= streams:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
                under_way.add(pool.submit(send, item))
            for future in under_way:
                yield future.result()

    def delete(self, collection: str, ids: Iterable[Id]) -> int:
        """Returns how many there were."""
        total = 0
        for some in _batches(ids, ROWS):
            request = points_pb2.DeletePointsRequest(collection=collection, ids=[values.point_id(one) for one in some])
            request.options.operation_id = os.urandom(16)
            total += self._call(self.points.Delete, request).applied
        return total

    def set_payload(self, collection: str, ids: Iterable[Id], payload: Mapping[str, Any]) -> None:
        """Sets these keys and leaves others as they are."""
        for some in _batches(ids, ROWS):
            request = points_pb2.SetPayloadRequest(collection=collection, ids=[values.point_id(one) for one in some], payload=values.payload(payload))
            request.options.operation_id = os.urandom(16)
            self._call(self.points.SetPayload, request)

    # Reading

    def get(self, collection: str, ids: Iterable[Id], *, with_payload: bool = True, with_vectors: bool = False, read: str = "any") -> list[Point]:
        """Those that exist, in the order asked for."""
        found: list[Point] = []
        for some in _batches(ids, 1_000):
            request = points_pb2.GetPointsRequest(collection=collection, ids=[values.point_id(one) for one in some], read=_read(read),
                                                  parts=points_pb2.PointParts(payload=with_payload, vectors=with_vectors))
            found += map(_point, self._call(self.points.Get, request).points)
        return found

    def count(self, collection: str, *, read: str = "any") -> int:
        return self._call(self.points.Count, points_pb2.CountRequest(collection=collection, read=_read(read))).count

    def scroll(self, collection: str, *, with_payload: bool = True, with_vectors: bool = False, after: Id | None = None, page: int = 0,
               read: str = "any") -> Iterator[Point]:
        """All points in order of their ids. When the stream breaks it goes on after the last point that came."""
        parts = points_pb2.PointParts(payload=with_payload, vectors=with_vectors)
        last = None if after is None else values.point_id(after)
        while True:
            request = points_pb2.ScrollRequest(collection=collection, parts=parts, page=page, read=_read(read), after=last)
            begun = calling(lambda left: _Begun(self.points.Scroll(request, metadata=self.metadata)), self.timeout)
            try:
                for response in begun:
                    for message in response.points:
                        last = message.id
                        yield _point(message)
                return
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or not begun.has_given:
                    raise NeedletailError(error.code(), error.details() or "") from None

    def search(self, collection: str, vector: Any, *, limit: int = 10, field: str = "", ef: int = 0, recall: float = 0.0, exact: bool = False,
               with_payload: bool = False, with_vectors: bool = False, read: str = "any", timeout: float | None = None) -> list[Hit]:
        """The nearest points, best first. `recall` asks for that share of the true nearest instead of `ef`."""
        query = self._query(vector, limit, field, ef, recall, exact, with_payload, with_vectors)
        request = points_pb2.SearchRequest(collection=collection, query=query, read=_read(read))
        return [_hit(point) for point in self._call(self.points.Search, request, timeout).points]

    def search_batch(self, collection: str, vectors: Any, *, limit: int = 10, field: str = "", ef: int = 0, recall: float = 0.0,
                     exact: bool = False, with_payload: bool = False, with_vectors: bool = False, read: str = "any") -> list[list[Hit]]:
        """One list a row of `vectors`."""
        found: list[list[Hit]] = []
        for some in _batches(values.rows(vectors), 200):
            queries = [self._query(row, limit, field, ef, recall, exact, with_payload, with_vectors) for row in some]
            request = points_pb2.SearchBatchRequest(collection=collection, queries=queries, read=_read(read))
            found += [[_hit(point) for point in result.points] for result in self._call(self.points.SearchBatch, request).results]
        return found

    @staticmethod
    def _query(vector, limit, field, ef, recall, exact, with_payload, with_vectors) -> points_pb2.Query:
        return points_pb2.Query(field=field, vector=values.vector(vector), limit=limit, ef=ef, recall_target=recall, exact=exact,
                                parts=points_pb2.PointParts(payload=with_payload, vectors=with_vectors))


class _Begun:
    """A stream of which the first answer has come, so that a failure to begin can be told from one on the way."""

    def __init__(self, stream):
        self.stream = stream
        self.has_given = False
        self.first = next(stream, None)

    def __iter__(self):
        if self.first is not None:
            self.has_given = True
            yield self.first
            yield from self.stream


def _read(consistency: str) -> points_pb2.ReadOptions:
    if consistency not in CONSISTENCIES:
        raise ValueError(f"read is \"any\" or \"primary\", not {consistency!r}")
    return points_pb2.ReadOptions(consistency=CONSISTENCIES[consistency])


def _batches(items: Iterable, size: int) -> Iterator[list]:
    some: list = []
    for item in items:
        some.append(item)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def _vectors(entries) -> dict[str, np.ndarray]:
    return {label: values.from_vector(vector) for label, vector in entries.items()}


def _point(message: points_pb2.StoredPoint) -> Point:
    return Point(values.from_point_id(message.id), _vectors(message.vectors), values.from_payload(message.payload))


def _hit(message: points_pb2.ScoredPoint) -> Hit:
    return Hit(values.from_point_id(message.id), message.score, message.distance, values.from_payload(message.payload), _vectors(message.vectors))
