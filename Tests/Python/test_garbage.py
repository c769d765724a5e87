"""Garbage into both ports of real processes: they live, stay small, keep what they acknowledged and go on answering.

NEEDLETAIL_GARBAGE_CASES sets how many cases are sent, over both processes; NEEDLETAIL_SEED replays a run.
"""

import os
import pathlib
import random
import resource
import socket
import struct
import subprocess
import sys
import threading
import time

import grpc
import grpc_tools
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from harness import ROOT, UNLIMITED, Cluster, Process, wait_for
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

CASES = int(os.environ.get("NEEDLETAIL_GARBAGE_CASES", "4000"))
BATCH = 100  # cases between two looks at the process
GROWTH = 256 << 20  # bytes a process may have gained at the end
PATIENCE = 10  # seconds for a health check: generous, because the machine may be busy
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
KEPT = 500


# What the bytes look like.


def mutate(rng, data, others, most=6):
    """A few bit flips, replaced bytes, cuts, duplications, insertions and splices with other recordings."""
    data = bytearray(data)
    for _ in range(rng.randint(1, most)):
        if not data:
            break
        at = rng.randrange(len(data))
        end = min(len(data), at + rng.randint(1, 40))
        kind = rng.randrange(8)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end] * rng.randint(1, 20)
        elif kind == 4:
            data[at:at] = rng.randbytes(end - at)
        elif kind == 5:
            del data[at:]
        elif kind == 6:
            data[at:end] = rng.choice([b"\x00", b"\xff", b"\x7f", b"\x80"]) * (end - at)
        else:
            other = rng.choice(others)
            data[at:] = other[rng.randrange(len(other) + 1):]
    return bytes(data)


def frames(data):
    """Offsets of the HTTP/2 frames of a recording."""
    offset = len(PREFACE) if data.startswith(PREFACE) else 0
    while offset + 9 <= len(data):
        yield offset
        offset += 9 + int.from_bytes(data[offset:offset + 3], "big")


def edit_lengths(rng, data):
    """Wrong lengths: of a frame, or of the gRPC message in a DATA frame."""
    data = bytearray(data)
    for offset in rng.sample(list(frames(data)), 1):
        value = rng.choice([0, 1, 8, 0xFFFF, 0xFFFFFF, rng.randrange(1 << 24), rng.randrange(200)])
        if data[offset + 3] == 0 and len(data) >= offset + 14 and rng.random() < 0.6:
            data[offset + 10:offset + 14] = struct.pack(">I", rng.choice([value, 0xFFFFFFFF, 0x7FFFFFFF, 1 << 26]))
        else:
            data[offset:offset + 3] = value.to_bytes(3, "big")
    return bytes(data)


def shuffle_frames(rng, data):
    """The frames of a recording, some left out, doubled or in another order."""
    starts = list(frames(data))
    pieces = [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)])]
    for _ in range(rng.randint(1, 3)):
        a, b = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        pieces[a:a + 1] = rng.choice([[], [pieces[a]] * rng.randint(2, 30), [pieces[b]], [pieces[b], pieces[a]]])
        if not pieces:
            break
    return data[:starts[0]] + b"".join(pieces)


def raw_case(rng, recordings):
    data = rng.choice(recordings)
    kind = rng.randrange(10)
    if kind == 0:
        return rng.randbytes(rng.randint(1, 5_000))
    if kind == 1:
        return PREFACE + SETTINGS + rng.randbytes(rng.randint(1, 5_000))
    if kind == 2:
        return edit_lengths(rng, data)
    if kind == 3:
        return shuffle_frames(rng, data)
    return mutate(rng, data, recordings)


def bodies_of(data):
    """The gRPC messages of a recording, of those that fit into one DATA frame."""
    for offset in frames(data):
        length = int.from_bytes(data[offset:offset + 3], "big")
        payload = data[offset + 9:offset + 9 + length]
        if data[offset + 3] == 0 and len(payload) > 5 and int.from_bytes(payload[1:5], "big") == len(payload) - 5:
            yield payload[5:]


class Recorder:
    """A TCP proxy that writes down what each of its clients says."""

    def __init__(self, port=None):
        self.target, self.said = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self.said.append(bytearray())
            for pair in [(server, client, None), (client, server, self.said[-1])]:
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    @staticmethod
    def pump(source, sink, log):
        try:
            while data := source.recv(1 << 16):
                if log is not None:
                    log += data
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()

    def recordings(self):
        return [bytes(said) for said in self.said if said.startswith(PREFACE)]

    def record(self, session):
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=[*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]) as channel:
            session(channel)
        self.close()
        return self.recordings()[0]


class Schema:
    """Every method of Proto/, and messages for them made from the descriptors."""

    def __init__(self, folder):
        protos = sorted(str(path.relative_to(ROOT / "Proto")) for path in (ROOT / "Proto").rglob("*.proto"))
        out = folder / "all.bin"
        include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
        # In a process of its own: these files are also in the pool of the generated stubs.
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'Proto'}", f"-I{include}", "--include_imports",
                        f"--descriptor_set_out={out}", *protos], check=True)
        described = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
        pool = descriptor_pool.DescriptorPool()
        for file in described.file:
            pool.Add(file)
        self.methods = []
        for file in described.file:
            for service in file.service:
                full = f"{file.package}.{service.name}"
                described_service = pool.FindServiceByName(full)
                self.methods += [(f"/{full}/{method.name}", method) for method in described_service.methods]

    def of(self, *packages):
        return [(path, method) for path, method in self.methods if path[1:].rpartition("/")[0] in packages]

    @staticmethod
    def message(rng, descriptor, words, depth=0):
        message = message_factory.GetMessageClass(descriptor)()
        for field in descriptor.fields:
            if rng.random() < 0.25 or depth > 6:
                continue
            repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                value_field = field.message_type.fields_by_name["value"]
                for _ in range(rng.randint(0, 2)):
                    entry = getattr(message, field.name)[rng.choice(words["text"])]
                    if value_field.message_type is not None:
                        entry.CopyFrom(Schema.message(rng, value_field.message_type, words, depth + 1))
            elif field.message_type is not None:
                for _ in range(rng.randint(0, 3) if repeated else 1):
                    part = Schema.message(rng, field.message_type, words, depth + 1)
                    target = getattr(message, field.name)
                    target.append(part) if repeated else target.CopyFrom(part)
            elif repeated:
                getattr(message, field.name).extend(Schema.scalar(rng, field, words) for _ in range(rng.randint(0, 5)))
            else:
                setattr(message, field.name, Schema.scalar(rng, field, words))
        return message

    @staticmethod
    def scalar(rng, field, words):
        if field.cpp_type == field.CPPTYPE_STRING:
            if field.type == field.TYPE_BYTES:
                return rng.choice([b"", rng.randbytes(rng.randint(0, 64)), np.zeros(4, "f4").tobytes(), np.full(4, np.nan, "f4").tobytes()])
            return rng.choice(words["text"])
        if field.cpp_type == field.CPPTYPE_ENUM:
            return rng.choice([value.number for value in field.enum_type.values] + [99])
        if field.cpp_type == field.CPPTYPE_BOOL:
            return rng.random() < 0.5
        if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
            return rng.choice([0.0, 1.5, -1e30, float("nan"), float("inf")])
        bits = 31 if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64) else 32 if field.cpp_type == field.CPPTYPE_UINT32 else 64
        if field.name == "incarnation" and rng.random() < 0.8:
            return words["incarnation"]
        return rng.choice([0, 1, 2, 3, 4, 10, 100, 1_000, (1 << bits) - 1, 1 << (bits - 1 if bits > 31 else 30), rng.randrange(1 << bits)])


# Who sends them.


class Target:
    """One of the processes, its recordings and its methods."""

    def __init__(self, process, services, schema, words, seed):
        self.process, self.words = process, words
        self.rng = random.Random(f"{seed}/{process.executable}")
        self.methods = schema.of(*services)
        assert self.methods, services
        self.recordings, self.half_open, self.sent = [], [], 0
        self.codes = {}
        self.good = {path: [] for path, _ in self.methods}  # bodies that were answered: what lies near them gets far
        self.loose = []  # recorded bodies of any method

    def open(self):
        self.channel = grpc.insecure_channel(self.process.address, options=[*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)])
        self.call = {}
        for path, method in self.methods:
            kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
            self.call[path] = getattr(self.channel, kind)(path, lambda x: x, lambda x: x)
        return self

    def rss(self):
        for line in pathlib.Path(f"/proc/{self.process.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
        raise AssertionError("no VmRSS")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.process.pid}/fd"))

    def well(self):
        """Alive, and answers the health check on a connection of its own."""
        assert self.process.process.poll() is None, f"{self.process.executable} ended: {self.process.output()}"
        with grpc.insecure_channel(self.process.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)

    def raw(self, count):
        """Connections of their own: some read, some hang up at once, some stay half open for a while."""
        waiting = []
        for _ in range(count):
            data = raw_case(self.rng, self.recordings)
            self.sent += 1
            try:
                connection = socket.create_connection(("127.0.0.1", self.process.port), timeout=PATIENCE)
            except OSError as error:
                raise AssertionError(f"{self.process.executable} takes no connection: {error}; {self.process.output()}")
            try:
                cut = self.rng.randrange(len(data) + 1)
                connection.sendall(data[:cut])
                connection.sendall(data[cut:])
                end = self.rng.randrange(4)
                if end == 0:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                    connection.close()
                elif end == 1:
                    connection.shutdown(socket.SHUT_WR)
                    waiting.append(connection)
                elif end == 2:
                    self.half_open.append(connection)
                else:
                    connection.close()
            except OSError:
                connection.close()  # the server had heard enough
        for connection in waiting:
            connection.settimeout(PATIENCE)
            try:
                while connection.recv(1 << 16):
                    pass
            except TimeoutError:
                raise AssertionError(f"{self.process.executable} neither answers nor closes")
            except OSError:
                pass
            connection.close()
        for connection in self.half_open[:-100]:
            connection.close()
        del self.half_open[:-100]

    def body(self, path, method):
        body = self.any_body(path, method)
        # The scratch collection is what most cases are about: it stays.
        return body.replace(b"scratch", b"scraped") if path.endswith("Collections/Delete") else body

    def any_body(self, path, method):
        near = self.good[path] if self.rng.random() < 0.8 else self.loose
        if near and self.rng.random() < 0.6:
            data = self.rng.choice(near)
            return mutate(self.rng, data, near, most=2) if self.rng.random() < 0.8 else data
        message = Schema.message(self.rng, method.input_type, self.words)
        data = message.SerializeToString()
        kind = self.rng.randrange(4)
        if kind == 0:
            return data
        if kind == 1:
            return self.rng.randbytes(self.rng.randint(0, 300))
        return mutate(self.rng, data or b"\x0a\x00", [b"\x0a\x05hello\x10\xff\xff\xff\xff\x0f", data])

    def bodies(self, count):
        """Proper calls of every method around wrong messages; every one must come to an end."""
        running = []
        for _ in range(count):
            path, method = self.rng.choice(self.methods)
            request = self.body(path, method)
            first = request
            self.sent += 1
            if method.client_streaming:
                request = iter([request, *(self.body(path, method) for _ in range(self.rng.randint(0, 3)))])
            call = self.call[path]
            if method.server_streaming:
                running.append((path, first, True, call(request, timeout=5)))
            else:
                running.append((path, first, False, call.future(request, timeout=30)))
        for path, body, streams, call in running:
            try:
                if not streams:
                    call.result(timeout=60)
                elif path.endswith("/Watch"):
                    next(call)
                    call.cancel()
                else:
                    for _ in call:
                        pass
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
            except StopIteration:
                code = "OK"
            self.codes[code] = self.codes.get(code, 0) + 1
            if code == "OK" and body:
                self.good[path] = [*self.good[path], body][-20:]
            assert code not in ("UNKNOWN", "INTERNAL", "DATA_LOSS"), f"{path} answers {code}"

    def crowd(self, count):
        """Many silent connections at once."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * count)), hard))
        connections = []
        try:
            for number in range(count):
                connection = socket.create_connection(("127.0.0.1", self.process.port), timeout=PATIENCE)
                connections.append(connection)
                if number % 2:
                    connection.sendall((PREFACE + SETTINGS)[:number % 34])
            self.well()
        finally:
            for connection in connections:
                connection.close()

    def close(self):
        for connection in self.half_open:
            connection.close()
        self.half_open.clear()
        self.channel.close()


def public_session(channel, name, creates):
    from needletail.v1 import collections_pb2_grpc, points_pb2_grpc

    collections, points = collections_pb2_grpc.CollectionsStub(channel), points_pb2_grpc.PointsStub(channel)
    if creates:
        collections.Create(c.CreateCollectionRequest(name=name, fields=[c.VectorField(name="v", dimensions=4, metric=c.METRIC_L2)]))
    ids = [common.PointId(number=i) for i in range(5)]
    points.Upsert(p.UpsertRequest(collection=name, points=[
        p.Point(id=id, vectors={"v": common.Vector(values=[id.number, 1, 2, 3])}, payload={"k": common.Value(string_value="text")}) for id in ids]))
    points.UpsertStream(iter([p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=[7, 8], vectors=np.ones((2, 4), "f4").tobytes()))] * 2))
    query = p.Query(vector=common.Vector(values=[1, 2, 3, 4]), limit=3)
    points.Search(p.SearchRequest(collection=name, query=query), timeout=20)
    points.SearchBatch(p.SearchBatchRequest(collection=name, queries=[query] * 3))
    points.Get(p.GetPointsRequest(collection=name, ids=ids, parts=p.PointParts(payload=True, vectors=True)))
    list(points.Scroll(p.ScrollRequest(collection=name, page=2)))
    points.Delete(p.DeletePointsRequest(collection=name, ids=ids[:2]))
    points.Count(p.CountRequest(collection=name))
    health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    if creates:
        collections.Delete(c.DeleteCollectionRequest(name=name))


def public_requests(name):
    """Right requests to begin with."""
    ids = [common.PointId(number=1), common.PointId(uuid=bytes(range(16)))]
    value = common.Value(list_value=common.ListValue(values=[common.Value(string_value="x"), common.Value(double_value=2)]))
    query = p.Query(vector=common.Vector(values=[1, 2, 3, 4]), limit=3, parts=p.PointParts(payload=True, vectors=True))
    yield "/needletail.v1.Collections/Create", c.CreateCollectionRequest(name="made", shard_count=2, fields=[
        c.VectorField(name="v", dimensions=4, metric=c.METRIC_COSINE, graph=c.GraphParameters(m=8, ef_construction=64))])
    yield "/needletail.v1.Collections/Update", c.UpdateCollectionRequest(name=name, durability=c.Durability(interval_milliseconds=50))
    yield "/needletail.v1.Points/Upsert", p.UpsertRequest(collection=name, points=[
        p.Point(id=id, vectors={"v": common.Vector(values=[1, 2, 3, 4])}, payload={"k": value}) for id in ids])
    yield "/needletail.v1.Points/UpsertStream", p.UpsertRequest(collection=name, packed=p.PackedPoints(
        ids=range(10), vectors=np.ones((10, 4), "f4").tobytes()))
    yield "/needletail.v1.Points/SetPayload", p.SetPayloadRequest(collection=name, ids=ids, payload={"k": value})
    yield "/needletail.v1.Points/OverwritePayload", p.SetPayloadRequest(collection=name, ids=ids, payload={"k": value})
    yield "/needletail.v1.Points/DeletePayload", p.DeletePayloadRequest(collection=name, ids=ids, keys=["k"])
    yield "/needletail.v1.Points/Delete", p.DeletePointsRequest(collection=name, ids=ids)
    yield "/needletail.v1.Points/Get", p.GetPointsRequest(collection=name, ids=ids, parts=query.parts)
    yield "/needletail.v1.Points/Scroll", p.ScrollRequest(collection=name, after=ids[0], limit=50, page=7, parts=query.parts)
    yield "/needletail.v1.Points/Search", p.SearchRequest(collection=name, query=query)
    yield "/needletail.v1.Points/SearchBatch", p.SearchBatchRequest(collection=name, queries=[query] * 3)


def any_session(target):
    """Valid and nearly valid calls of every method, for processes whose services have no stubs here."""
    def session(channel):
        for path, method in target.methods:
            if method.client_streaming or method.server_streaming:
                continue
            call = channel.unary_unary(path, lambda x: x, lambda x: x)
            for _ in range(2):
                try:
                    call(target.body(path, method), timeout=20)
                except grpc.RpcError:
                    pass
    return session


def create(cluster, name, shards=1):
    cluster.collections.Create(c.CreateCollectionRequest(name=name, shard_count=shards, fields=[
        c.VectorField(name="v", dimensions=4, metric=c.METRIC_L2)]), timeout=20)


def check_kept(cluster, rows):
    ids = [common.PointId(number=i) for i in range(KEPT)]
    found = cluster.points.Get(p.GetPointsRequest(collection="kept-data", ids=ids, parts=p.PointParts(vectors=True, payload=True)), timeout=20).points
    assert [point.id.number for point in found] == list(range(KEPT))
    for point, row in zip(found, rows):
        data = point.vectors["v"]
        assert np.array_equal(np.frombuffer(data.data, "f4") if data.data else np.array(data.values, "f4"), row)
        assert point.payload["number"].int_value == point.id.number
    assert cluster.points.Count(p.CountRequest(collection="kept-data"), timeout=20).count == KEPT
    for i in range(0, KEPT, 25):
        query = p.Query(vector=common.Vector(data=rows[i].tobytes()), limit=1)
        answer = cluster.points.Search(p.SearchRequest(collection="kept-data", query=query), timeout=20)
        assert answer.points[0].id.number == i and answer.points[0].distance == 0


def sweep(cluster):
    """Removes the collections that the garbage happened to create."""
    for collection in cluster.collections.List(c.ListCollectionsRequest(), timeout=60).collections:
        if collection.name not in ("kept-data", "scratch"):
            cluster.collections.Delete(c.DeleteCollectionRequest(name=collection.name, ignore_missing=True), timeout=60)
    try:
        create(cluster, "scratch")
    except grpc.RpcError as error:
        # Garbage heartbeats announce workers that do not exist; what is placed on one of those cannot be made.
        assert error.code() in (grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error


@pytest.mark.timeout(max(120, CASES // 20))
def test_garbage_into_every_port(seed, tmp_path):
    rows = np.random.default_rng(seed).standard_normal((KEPT, 4)).astype("f4")
    schema = Schema(tmp_path)
    with Cluster(workers=0) as cluster:
        # The coordinator reaches the worker through a recorder.
        between = Recorder()
        worker = Process("needletail-shard", cluster.folder / "shard-0", [
            "--coordinator", cluster.coordinator.address, "--advertise", f"127.0.0.1:{between.port}"]).start()
        cluster.workers.append(worker)
        between.target = worker.port
        wait_for(lambda: cluster.status().nodes_alive == 1, "the worker registering")
        create(cluster, "scratch")
        public_session(cluster.channel, "scratch", False)
        public_session(cluster.channel, "recorded", True)
        # Only what was said before the kept data existed is mutated later: garbage that is a right write may change what it names.
        internal = between.recordings()
        create(cluster, "kept-data", 2)
        cluster.points.Upsert(p.UpsertRequest(collection="kept-data", points=[
            p.Point(id=common.PointId(number=i), vectors={"v": common.Vector(data=rows[i].tobytes())}, payload={"number": common.Value(int_value=i)})
            for i in range(KEPT)]), timeout=20)
        scratch = cluster.collections.Get(c.GetCollectionRequest(name="scratch"), timeout=20)
        incarnation = scratch.incarnation if isinstance(scratch.incarnation, int) else int(scratch.incarnation, 16)
        words = {"text": ["", "scratch", "v", "nope", "x" * 300, "ünï", "127.0.0.1:1", "a b"], "incarnation": incarnation}
        reflection = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
        public = [f"needletail.v1.{name}" for name in ("Collections", "Points", "Cluster")]
        coordinator = Target(cluster.coordinator, [*public, "needletail.internal.v1.Membership", *reflection], schema, words, seed)
        shard = Target(cluster.workers[0], ["needletail.internal.v1.ShardWorker", *reflection], schema, words, seed)
        targets = [coordinator, shard]
        coordinator.recordings = [
            Recorder(cluster.coordinator.port).record(lambda channel, creates=creates, name=name: public_session(channel, name, creates))
            for name, creates in [("scratch", False)] * 4 + [("recorded", True)]]
        coordinator.recordings.append(Recorder(cluster.coordinator.port).record(any_session(coordinator)))
        shard.recordings = [Recorder(worker.port).record(any_session(shard)) for _ in range(3)] + internal * 3
        shard.loose = [body for data in internal for body in bodies_of(data)]
        assert shard.loose
        for path, request in public_requests("scratch"):
            coordinator.good[path].append(request.SerializeToString())
        for target in targets:
            target.open()
            target.raw(BATCH // 2)
            target.bodies(BATCH // 2)
            target.well()
        sweep(cluster)
        before = {target: (target.rss(), target.descriptors()) for target in targets}
        peak = {target: 0 for target in targets}
        started = time.monotonic()
        while sum(target.sent for target in targets) < CASES:
            for target in targets:
                target.raw(BATCH)
                target.bodies(BATCH)
                target.well()
                peak[target] = max(peak[target], target.rss())
            sweep(cluster)
        for target in targets:
            target.crowd(500)
            target.well()
            target.close()
        sweep(cluster)
        for target in targets:
            size, files = before[target]
            wait_for(lambda: target.descriptors() <= files + 50, f"{target.process.executable} closing its connections and files")
            wait_for(lambda: target.rss() - size < GROWTH, f"{target.process.executable} giving back memory: {size} B before, {target.rss()} B now")
            print(f"{target.process.executable}: {target.sent} cases, RSS {size >> 20} -> {target.rss() >> 20} MiB (peak {peak[target] >> 20}), "
                  f"files {files} -> {target.descriptors()}, calls ended {target.codes}")
        print(f"{time.monotonic() - started:.1f} s")
        check_kept(cluster, rows)
        # New work goes on too, and what was acknowledged survives a restart after all this.
        cluster.workers[0].stop()
        cluster.workers[0].start()
        wait_for(lambda: try_check(cluster, rows), "the kept data being served after a restart", 60)
        between.close()


def try_check(cluster, rows):
    try:
        check_kept(cluster, rows)
        return True
    except grpc.RpcError:
        return False
