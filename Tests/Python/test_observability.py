"""What people and machines see of a cluster: logs, slow queries, probes."""

import json
import re
import subprocess
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

from harness import BINARIES, Cluster, Etcd, Process, wait_for
from test_metrics import scrape, total

DIMENSIONS = 8
REPORTS = ["--log-format", "json", "--log-level", "debug"]


def create(cluster, replicas=1):
    field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
    cluster.collections.Create(c.CreateCollectionRequest(name="o", shard_count=2, replication_factor=replicas, fields=[field]), timeout=20)
    cluster.wait_until_ready()


def search(cluster, name=None, **options):
    query = p.Query(vector=common.Vector(data=np.full(DIMENSIONS, 0.12345, dtype="f4").tobytes()), limit=7, **options)
    metadata = [("x-request-id", name)] if name else []
    return cluster.points.Search(p.SearchRequest(collection="o", query=query), timeout=20, metadata=metadata)


def lines(process):
    """Every line of the log; each is an object of its own."""
    found = []
    for line in (process.folder / "log").read_text().splitlines():
        one = json.loads(line)
        assert {"time", "level", "logger", "message"} <= one.keys(), line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", one["time"]), line
        found.append(one)
    return found


def probe(process, path, accept=None):
    request = urllib.request.Request(f"http://127.0.0.1:{process.admin_port}/{path}", headers={"Accept": accept} if accept else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


@pytest.fixture(scope="module")
def telling():
    with Cluster(workers=2, worker_arguments=["--admin", "0", *REPORTS], coordinator_arguments=[*REPORTS, "--slow-query", "0ms"]) as running:
        create(running)
        vectors = np.random.default_rng(1).standard_normal((200, DIMENSIONS)).astype("f4")
        running.points.Upsert(p.UpsertRequest(collection="o", packed=p.PackedPoints(ids=range(200), vectors=vectors.tobytes())), timeout=20)
        yield running


def test_lines_of_a_request_name_it_in_every_process(telling):
    search(telling, "find-me-again")

    def named(process):
        return [line for line in lines(process) if line.get("request_id") == "find-me-again" and line["message"] == "call ended"]

    for process in [telling.coordinator, *telling.workers]:
        # The worker's line comes when its call has ended, the answer may be here before that.
        [line] = wait_for(lambda: named(process), "the line of the call", 10)
        assert line["level"] == "debug" and line["code"] == "OK" and line["took_ms"] > 0


def test_slow_queries_are_told_without_vectors(telling):
    search(telling, "slow-one", ef=33)
    record = wait_for(lambda: [r for r in lines(telling.coordinator) if r["message"] == "slow query" and r["request_id"] == "slow-one"], "the record", 10)[0]
    assert record["level"] == "notice" and record["collection"] == "o" and record["field"] == "" and record["queries"] == 1
    assert record["limit"] == 7 and record["ef"] == 33 and record["exact"] is False
    assert set(record["stages"]) == {"plan_ms", "gather_ms", "merge_ms"} and sum(record["stages"].values()) <= record["took_ms"] + 0.01
    assert {shard["shard"] for shard in record["shards"]} == {0, 1}
    for shard in record["shards"]:
        assert shard["outcome"] == "complete" and shard["hops"] > 0 and shard["searched_ms"] > 0 and shard["waited_ms"] >= 0 and shard["node"]
    assert record["hops"] == sum(shard["hops"] for shard in record["shards"])
    assert record["distances"] == sum(shard["distances"] for shard in record["shards"])
    assert "vector" not in json.dumps(record) and "0.12345" not in json.dumps(record)


def test_slow_queries_are_told_in_moderation(telling):
    def records():
        return [r for r in lines(telling.coordinator) if r["message"] == "slow query"]

    count = 0
    while not any("suppressed" in r for r in records()):
        for _ in range(30):
            search(telling)
        count += 30
        assert count < 100_000
    # Each query is either told or counted; those after the last record are not told yet.
    told = sum(1 + r.get("suppressed", 0) for r in records())
    assert 0 <= total(scrape(telling.coordinator), "needletail_slow_queries_total") - told <= count


def test_text_lines_name_requests_too():
    with Cluster(workers=1, coordinator_arguments=["--log-level", "debug"]) as cluster:
        cluster.collections.List(c.ListCollectionsRequest(), timeout=10, metadata=[("x-request-id", "in-words")])
        wait_for(lambda: re.search(r"debug.*request_id=in-words.*call ended", cluster.coordinator.output()), "the line", 10)


def test_flags_are_checked():
    for arguments, what in [(["--log-format", "xml"], "--log-format"), (["--otlp", "nowhere"], "--otlp"), (["--slow-query", "soon"], "--slow-query"),
                            (["--trace-sample", "2"], "--trace-sample")]:
        ended = subprocess.run([BINARIES / "needletail-coordinator", *arguments], capture_output=True, text=True, timeout=20)
        assert ended.returncode != 0 and what in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_probes_say_why(telling):
    for process in [telling.coordinator, *telling.workers]:
        assert probe(process, "healthz", "text/plain") == (200, "ok\n")
        assert json.loads(probe(process, "healthz")[1])["status"] == "ok"
        assert probe(process, "readyz", "text/plain") == (200, "ready\n")
        for path in ["healthz", "readyz"]:
            head = urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{process.admin_port}/{path}", method="HEAD"), timeout=10)
            assert (head.status, head.read()) == (200, b""), "as some load balancers ask"
        assert json.loads(probe(process, "readyz")[1]) == {"ready": True, "reasons": []}
    gone = telling.workers[1]
    gone.kill()
    status, text = wait_for(lambda: (lambda one: one if one[0] == 503 else None)(probe(telling.coordinator, "readyz", "text/plain")), "the reason", 20)
    assert text.startswith("not ready\nshard ") and "is not alive" in text
    told = json.loads(probe(telling.coordinator, "readyz")[1])
    assert told["ready"] is False and told["reasons"] == text.splitlines()[1:]
    gone.start()
    wait_for(lambda: probe(telling.coordinator, "readyz")[0] == 200 and probe(gone, "readyz")[0] == 200, "everything ready again", 30)


def test_a_worker_names_the_replica_that_it_does_not_serve():
    with Cluster(workers=1, worker_arguments=["--admin", "0"]) as cluster:
        create(cluster)
        vectors = np.random.default_rng(1).standard_normal((500, DIMENSIONS)).astype("f4")
        for first in range(0, 500, 50):
            part = vectors[first:first + 50]
            cluster.points.Upsert(
                p.UpsertRequest(collection="o", packed=p.PackedPoints(ids=range(first, first + 50), vectors=part.tobytes())), timeout=20)
        [worker] = cluster.workers
        worker.kill()
        log = sorted(worker.folder.glob("data/replicas/*/log/*.log"))[0]
        data = bytearray(log.read_bytes())
        data[len(data) // 2] ^= 0xFF
        log.write_bytes(data)
        worker.start()

        def failed():
            status, text = probe(worker, "readyz", "text/plain")
            return status == 503 and str(log) in text and text

        assert wait_for(failed, "the reason", 20).startswith("not ready\nshard ")
        assert probe(worker, "healthz")[0] == 200


def test_a_process_that_drains_says_so():
    with Cluster(workers=1) as cluster:
        create(cluster)
        more = threading.Event()

        def requests():
            yield p.UpsertRequest(collection="o", packed=p.PackedPoints(ids=[1], vectors=np.zeros(DIMENSIONS, dtype="f4").tobytes()))
            more.wait(30)

        call = cluster.points.UpsertStream.future(requests(), timeout=40)
        wait_for(lambda: cluster.points.Count(p.CountRequest(collection="o"), timeout=10).count == 1, "the stream's first points", 20)
        cluster.coordinator.process.terminate()
        status, text = wait_for(lambda: (lambda one: one if one[0] == 503 else None)(probe(cluster.coordinator, "readyz", "text/plain")), "the reason", 10)
        assert "draining" in text
        assert probe(cluster.coordinator, "healthz")[0] == 200
        more.set()
        call.result(timeout=20)
        assert cluster.coordinator.process.wait(timeout=20) == 0
        cluster.coordinator.stopped = True


def test_a_coordinator_without_its_metadata_store_says_so(tmp_path):
    etcd = Etcd(tmp_path / "etcd").start()
    coordinator = Process("needletail-coordinator", tmp_path / "coordinator", ["--admin", "0", "--metadata", f"etcd://127.0.0.1:{etcd.port}"]).start()
    try:
        wait_for(lambda: probe(coordinator, "readyz")[0] == 200, "a leader", 20)
        etcd.kill()
        status, text = wait_for(lambda: (lambda one: one if one[0] == 503 else None)(probe(coordinator, "readyz", "text/plain")), "the reason", 20)
        assert "no metadata store: " in text
        assert probe(coordinator, "healthz")[0] == 200
        etcd.start()
        wait_for(lambda: probe(coordinator, "readyz")[0] == 200, "the store being found again", 30)
    finally:
        coordinator.kill()
        etcd.kill()
