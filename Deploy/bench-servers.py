"""This project beside a server of its kind, Milvus 2.3 standalone, on one machine and in one run: make bench-servers.

Both get the same vectors, and the same Python loop sends them requests that were serialised before the clock runs and reads the answers
after it stopped, so the loop costs both the same. What is compared has equal recall: of each server the least `ef` that reaches the target.
The servers take turns; the figures are medians of the turns. One JSON object a line.
"""

import argparse
import asyncio
import json
import pathlib
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc_tools
import numpy as np
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[1]
EFS = [10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80, 96, 112, 136, 160, 200, 260, 340, 500]
LIMIT, ROWS = 10, 5_000
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def read(path):
    kind = {".fbin": "f4", ".f16bin": "f2", ".u8bin": "u1", ".i8bin": "i1"}[pathlib.Path(path).suffix]
    count, dimensions = np.fromfile(path, "u4", 2)
    return np.fromfile(path, kind, offset=8).reshape(count, dimensions).astype("f4")


def nearest(base, queries):
    squares = (base**2).sum(1)
    best = []
    for start in range(0, len(queries), 200):
        distances = squares - 2 * queries[start : start + 200] @ base.T
        best.append(np.argpartition(distances, LIMIT, axis=1)[:, :LIMIT])
    return np.concatenate(best)


def show(**figures):
    print(json.dumps(figures), flush=True)


class Ours:
    name = "needletail"

    def __init__(self, workers, codec):
        from harness import Cluster
        from needletail.v1 import collections_pb2, common_pb2, points_pb2

        self.c, self.common, self.p, self.codec, self.shards = collections_pb2, common_pb2, points_pb2, codec, workers
        self.cluster = Cluster(workers)
        self.address = self.cluster.coordinator.address
        self.upsert, self.search = "/needletail.v1.Points/Upsert", "/needletail.v1.Points/Search"

    def create(self, dimensions):
        index = self.c.IndexSpec(spec=f"hnsw(m=16,ef_construction=200),{self.codec}")
        field = self.c.VectorField(name="v", dimensions=dimensions, metric=self.c.METRIC_L2, index=index)
        self.cluster.collections.Create(self.c.CreateCollectionRequest(name="b", fields=[field], shard_count=self.shards), timeout=60)

    def rows(self, ids, vectors):
        packed = self.p.PackedPoints(ids=ids, vectors=vectors.tobytes())
        return self.p.UpsertRequest(collection="b", packed=packed).SerializeToString()

    def check(self, answer):
        pass

    def finish(self):
        """Points can be found when they are acknowledged; this waits until graphs walk on codes as well."""
        while self.codec != "none":
            state = self.cluster.collections.Get(self.c.GetCollectionRequest(name="b"), timeout=60).codecs[0]
            if state.version > 0 and state.encoded == state.total > 0:
                return
            time.sleep(0.02)

    def query(self, vector, ef):
        query = self.p.Query(vector=self.common.Vector(data=vector.tobytes()), limit=LIMIT, ef=ef)
        return self.p.SearchRequest(collection="b", query=query).SerializeToString()

    def ids(self, answer):
        return [point.id.number for point in self.p.SearchResponse.FromString(answer).points]

    def stop(self):
        self.cluster.__exit__(None)


class Milvus:
    """HNSW with M 16 and efConstruction 200, under its weakest consistency, which is its quickest."""

    name = "milvus"

    def __init__(self, folder):
        from milvus import MilvusServer
        from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections
        from pymilvus.client.prepare import Prepare
        from pymilvus.grpc_gen import milvus_pb2

        self.server = MilvusServer()
        self.server.set_base_dir(folder)
        self.server.start()
        self.address = f"127.0.0.1:{self.server.listen_port}"
        connections.connect(host="127.0.0.1", port=self.server.listen_port)
        self.prepare, self.messages = Prepare, milvus_pb2
        self.types = (Collection, CollectionSchema, DataType, FieldSchema)
        service = "/milvus.proto.milvus.MilvusService/"
        self.upsert, self.search = service + "Insert", service + "Search"

    def create(self, dimensions):
        collection, schema, kind, field = self.types
        fields = [field("id", kind.INT64, is_primary=True, auto_id=False), field("v", kind.FLOAT_VECTOR, dim=dimensions)]
        self.collection = collection("b", schema(fields), shards_num=1)
        self.fields = [field.to_dict() for field in fields]

    def rows(self, ids, vectors):
        entities = [{"name": "id", "type": self.types[2].INT64, "values": [int(i) for i in ids]},
                    {"name": "v", "type": self.types[2].FLOAT_VECTOR, "values": vectors.tolist()}]
        return self.prepare.batch_insert_param("b", entities, "_default", self.fields).SerializeToString()

    def check(self, answer):
        status = self.messages.MutationResult.FromString(answer).status
        assert status.error_code == 0 and status.code == 0, status

    def finish(self):
        from pymilvus import utility

        self.collection.flush()
        self.collection.create_index("v", {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 16, "efConstruction": 200}})
        utility.wait_for_index_building_complete("b")
        self.collection.load()

    def query(self, vector, ef):
        request = self.prepare.search_requests_with_expr("b", [vector.tolist()], "v", {"metric_type": "L2", "params": {"ef": ef}}, LIMIT)
        request.guarantee_timestamp = 1
        return request.SerializeToString()

    def ids(self, answer):
        results = self.messages.SearchResults.FromString(answer)
        assert results.status.error_code == 0 and results.status.code == 0, results.status
        return list(results.results.ids.int_id.data)

    def stop(self):
        self.server.stop()


def method(channel, name):
    return channel.unary_unary(name, request_serializer=bytes, response_deserializer=bytes)


def load(server, base):
    """Seconds from the first request until the points are found by index; four requests are under way at a time."""
    server.create(base.shape[1])
    batches = [server.rows(range(start, min(start + ROWS, len(base))), base[start : start + ROWS]) for start in range(0, len(base), ROWS)]
    with grpc.insecure_channel(server.address, options=OPTIONS) as channel, ThreadPoolExecutor(4) as pool:
        send = method(channel, server.upsert)
        begin = time.perf_counter()
        for answer in pool.map(lambda batch: send(batch, timeout=600), batches):
            server.check(answer)
        sent = time.perf_counter() - begin
        server.finish()
        took = time.perf_counter() - begin
    show(phase="load", server=server.name, points=len(base), acknowledged_seconds=round(sent, 2), searchable_seconds=round(took, 2))
    return took


def one_stream(server, requests, seconds):
    with grpc.insecure_channel(server.address, options=OPTIONS) as channel:
        call, latencies, answers = method(channel, server.search), [], []
        call(requests[0], timeout=30)
        end = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < end:
            answers.append(call(requests[len(answers) % len(requests)], timeout=30))
            latencies.append(time.perf_counter() - begin)
    return answers, latencies


async def streams(server, requests, seconds, count):
    """So many coroutines of one thread, each sending one request after the other on a connection of its own."""
    latencies = []

    async def stream(first):
        own = [("grpc.use_local_subchannel_pool", 1), *OPTIONS]
        async with grpc.aio.insecure_channel(server.address, options=own) as channel:
            call, at = method(channel, server.search), first
            await call(requests[at % len(requests)], timeout=30)
            while (begin := time.perf_counter()) < end:
                await call(requests[at % len(requests)], timeout=30)
                latencies.append(time.perf_counter() - begin)
                at += count

    end = time.perf_counter() + seconds
    await asyncio.gather(*(stream(first) for first in range(count)))
    return latencies


def recall(server, truth, queries, ef):
    """Over all queries, one after the other."""
    with grpc.insecure_channel(server.address, options=OPTIONS) as channel:
        call = method(channel, server.search)
        found = [server.ids(call(server.query(query, ef), timeout=30)) for query in queries]
    return float(np.mean([len(set(ids) & set(map(int, best))) / LIMIT for ids, best in zip(found, truth)]))


def least_effort(server, truth, queries, target):
    low, high = 0, len(EFS) - 1
    while low < high:
        middle = (low + high) // 2
        if recall(server, truth, queries, EFS[middle]) >= target:
            high = middle
        else:
            low = middle + 1
    return EFS[low], recall(server, truth, queries, EFS[low])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--query", required=True)
    parser.add_argument("--points", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--codec", default="lvq8")
    options = parser.parse_args()
    stubs = tempfile.mkdtemp(prefix="needletail-bench-")
    protos = sorted(str(path.relative_to(ROOT / "Proto")) for path in (ROOT / "Proto" / "needletail").rglob("*.proto"))
    include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    assert protoc.main(["protoc", f"-I{ROOT / 'Proto'}", f"-I{include}", f"--python_out={stubs}", f"--grpc_python_out={stubs}", *protos]) == 0
    sys.path[:0] = [stubs, str(ROOT / "Tests" / "Python")]

    base, queries = read(options.base)[: options.points], read(options.query)[:1000]
    truth = nearest(base, queries)
    # Milvus first: what it does in the background after a load is over by the time it is measured.
    servers, loads = [], {}
    try:
        for make in (lambda: Milvus(f"{stubs}/milvus"), lambda: Ours(options.workers, options.codec)):
            servers.append(make())
            loads[servers[-1].name] = load(servers[-1], base)
        compare(servers, options, truth, queries)
        show(phase="load", ratio=round(loads["needletail"] / loads["milvus"], 3))
    finally:
        for server in servers:
            server.stop()


def compare(servers, options, truth, queries):
    for target in (0.95, 0.99):
        requests = {}
        for server in servers:
            ef, reached = least_effort(server, truth, queries, target)
            requests[server.name] = [server.query(query, ef) for query in queries]
            show(phase="recall", server=server.name, target=target, ef=ef, recall=round(reached, 4))
        for count in (1, 16):
            rates, tails = {}, {}
            for turn in range(options.rounds):
                for server in servers:
                    sent = requests[server.name]
                    if count == 1:
                        answers, latencies = one_stream(server, sent, options.seconds)
                        for answer in answers[::97]:
                            server.ids(answer)
                    else:
                        latencies = asyncio.run(streams(server, sent, options.seconds, count))
                    rates.setdefault(server.name, []).append(len(latencies) / options.seconds)
                    tails.setdefault(server.name, []).append(float(np.percentile(latencies, 99)) * 1000)
                    show(phase="search", server=server.name, target=target, streams=count, turn=turn,
                         per_second=round(rates[server.name][-1]), p50_ms=round(float(np.percentile(latencies, 50)) * 1000, 3),
                         p99_ms=round(tails[server.name][-1], 3))
            rate, tail = ({name: statistics.median(values) for name, values in figures.items()} for figures in (rates, tails))
            show(phase="ratio", target=target, streams=count, searches_per_second=round(rate["needletail"] / rate["milvus"], 2),
                 p99=round(tail["needletail"] / tail["milvus"], 3))


main()
