"""What processes tell Prometheus: every documented metric exists, and says what happened."""

import math
import pathlib
import re
import urllib.error
import urllib.request

import numpy as np
import pytest
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

from harness import Cluster, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]


def scrape(process):
    with urllib.request.urlopen(f"http://127.0.0.1:{process.admin_port}/metrics", timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return parse(answer.read().decode())


def parse(text):
    """Samples by name and labels; asserts that the text is well-formed."""
    samples, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            assert re.fullmatch(r"# HELP [a-z_]+ \S.*\.", line), line
        elif line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in types, f"{name} twice"
            types[name] = kind
        else:
            found = re.fullmatch(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)', line)
            assert found, line
            labels = dict(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
            key = (found[1], tuple(sorted(labels.items())))
            assert key not in samples, f"{key} twice"
            samples[key] = float(found[3])
            family = re.sub("_(bucket|sum|count)$", "", found[1]) if re.sub("_(bucket|sum|count)$", "", found[1]) in types else found[1]
            assert family in types, f"{line} has no type"
            assert types[family] != "counter" or family.endswith(("_total", "_sequence")), f"{family} is a counter"
    return samples


def total(samples, name, **labels):
    return math.fsum(value for (known, of), value in samples.items() if known == name and labels.items() <= dict(of).items())


@pytest.fixture(scope="module")
def measured():
    with Cluster(workers=2, worker_arguments=["--admin", "0"]) as running:
        running.collections.Create(c.CreateCollectionRequest(
            name="m", shard_count=2, replication_factor=2, fields=[c.VectorField(name="v", dimensions=8, metric=c.METRIC_L2)]), timeout=20)
        yield running


def search(cluster, number=1):
    query = p.Query(vector=common.Vector(data=np.full(8, number, dtype="f4").tobytes()), limit=5)
    return cluster.points.Search(p.SearchRequest(collection="m", query=query), timeout=20)


def test_what_happened_is_counted(measured):
    before = [scrape(process) for process in [measured.coordinator, *measured.workers]]
    vectors = np.random.default_rng(1).standard_normal((500, 8)).astype("f4")
    measured.points.Upsert(p.UpsertRequest(collection="m", packed=p.PackedPoints(ids=range(500), vectors=vectors.tobytes())), timeout=20)
    for number in range(30):
        search(measured, number)

    def reported():
        return total(scrape(measured.coordinator), "needletail_collection_points", collection="m") == 500

    wait_for(reported, "the points in the metrics", 20, measured.describe)
    coordinator, *workers = [scrape(process) for process in [measured.coordinator, *measured.workers]]

    def grown(name, **labels):
        return sum(total(now, name, **labels) - total(then, name, **labels) for now, then in zip([coordinator, *workers], before))

    assert grown("needletail_queries_total") == 30
    called = {"service": "needletail.v1.Points", "method": "Search"}
    assert grown("needletail_rpc_server_handled_total", code="OK", **called) == 30
    assert grown("needletail_rpc_server_duration_seconds_count", **called) == 30
    assert grown("needletail_rpc_server_duration_seconds_bucket", le="+Inf", **called) == 30
    # Two shards answer each query; a hedged one is answered more than twice.
    assert grown("needletail_shard_searches_total", result="whole") >= 60
    assert grown("needletail_search_distances_total") > 0 and grown("needletail_search_hops_total") > 0
    assert sum(total(worker, "needletail_replica_points", collection="m") for worker in workers) == 1000
    assert sum(total(worker, "needletail_replica_is_primary") for worker in workers) == 2
    # Each shard's write is in two logs, once.
    assert grown("needletail_log_records_total") >= 4 and grown("needletail_log_commits_total") >= 4
    assert grown("needletail_log_written_bytes_total") > 2 * 500 * 8 * 4
    assert total(coordinator, "needletail_nodes", state="alive") == 2 and total(coordinator, "needletail_coordinator_is_leader") == 1
    assert total(coordinator, "needletail_collection_replicas_wanted") == total(coordinator, "needletail_collection_replicas_in_sync") == 4
    for process in [coordinator, *workers]:
        assert total(process, "process_resident_memory_bytes") > 1 << 20 and total(process, "process_cpu_seconds_total") > 0


def test_codes_of_errors_are_told(measured):
    before = scrape(measured.coordinator)
    with pytest.raises(Exception, match="NOT_FOUND"):
        measured.points.Count(p.CountRequest(collection="nothing"), timeout=20)
    after = scrape(measured.coordinator)
    labels = {"service": "needletail.v1.Points", "method": "Count", "code": "NOT_FOUND"}
    assert total(after, "needletail_rpc_server_handled_total", **labels) == total(before, "needletail_rpc_server_handled_total", **labels) + 1
    assert total(after, "needletail_rpc_server_under_way", method="Count") == 0


def test_every_documented_metric_exists(measured):
    """And every one that exists is documented."""
    search(measured)
    table = re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([^|]*) \|", (ROOT / "Docs" / "metrics.md").read_text(), re.MULTILINE)
    documented = {name: kind for name, kind, _ in table}
    assert len(documented) == len(table) > 30
    found = {}
    for process in [measured.coordinator, *measured.workers]:
        with urllib.request.urlopen(f"http://127.0.0.1:{process.admin_port}/metrics", timeout=10) as answer:
            found |= dict(re.findall(r"^# TYPE (\S+) (\S+)$", answer.read().decode(), re.MULTILINE))
    # These come with samples of real queries, with what goes wrong, and with TLS (test_tls.py).
    rare = {"needletail_tls_expiry_timestamp_seconds", "needletail_sampled_recall", "needletail_local_intrinsic_dimension", "needletail_events_total", "needletail_trace_spans_total"}
    assert {name: kind for name, kind in documented.items() if name not in rare} == {k: v for k, v in found.items() if k not in rare}


def test_probes_say_what_a_worker_waits_for(measured):
    worker = measured.workers[0]
    for path in ["healthz", "readyz"]:
        with urllib.request.urlopen(f"http://127.0.0.1:{worker.admin_port}/{path}", timeout=10) as answer:
            assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{worker.admin_port}/nothing", timeout=10)
