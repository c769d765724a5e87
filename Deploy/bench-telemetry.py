"""What telemetry costs: one JSON object a line. Run it with `make bench-telemetry`.

Two clusters with the same points are asked at once, each by a `needletail-load` of its own in a closed loop, so that both have the same machine in the same
seconds; one has the flags of one arm, the other those of another, and in the next round the other way round:

- off:     no traces, no log of slow queries, text logs, nobody asks for metrics
- on:      metrics of all processes asked for each second, 1% of the requests traced and sent to a receiver, slow queries logged, JSON logs
- traced, scraped, slow, json: one part of `on` each
- unsampled: as off, and no query asked again exactly for its recall
- before:  as off, older binaries (NEEDLETAIL_BEFORE_BIN)

Compared is what a search takes of the processors, of all processes of its cluster together: with no processor idle, throughput is lost as that grows. What
the programs in Python that ask for metrics and take traces here need is not counted. COMPARE=traced:off,json:off compares those instead.

Then the sampler's recall is compared with that of all the queries asked, each measured against its exact answer.
"""

import contextlib
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from concurrent import futures

import grpc
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Python")]

import conftest  # noqa: E402, F401  makes the stubs
import harness  # noqa: E402
from needletail.v1 import cluster_pb2  # noqa: E402
from needletail.v1 import collections_pb2 as c  # noqa: E402
from needletail.v1 import common_pb2 as common  # noqa: E402
from needletail.v1 import points_pb2 as p  # noqa: E402

PAIRS = int(os.environ.get("PAIRS", 5))
SECONDS = int(os.environ.get("SECONDS_EACH", 10))
POINTS, DIMENSIONS, CLIENTS = 100_000, 128, 12
SAMPLES, EF = 600, 160
BEFORE = os.environ.get("NEEDLETAIL_BEFORE_BIN")


class Receiver:
    """Takes every batch of spans as bytes."""

    def __init__(self):
        self.batches = self.bytes = 0
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(self.export)
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
            "opentelemetry.proto.collector.trace.v1.TraceService", {"Export": handler})])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def export(self, request, _):
        self.batches += 1
        self.bytes += len(request)
        return b""


class Scraper:
    """Asks for the metrics of all processes each second, as Prometheus does."""

    def __init__(self, processes):
        self.processes, self.done, self.count = processes, threading.Event(), 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.done.wait(1):
            for process in self.processes:
                with urllib.request.urlopen(f"http://127.0.0.1:{process.admin_port}/metrics", timeout=10) as answer:
                    answer.read()
            self.count += 1

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def scenario(folder, cluster, loads):
    """Loads the points, or asks for `SECONDS`."""
    path = folder / ("load.yaml" if loads else "turn.yaml")
    collection = "{shards: 2, settle: 3}" if loads else "{shards: 2, create: false, load: false}"
    path.write_text(f"""
name: telemetry
target: {{endpoints: ["{cluster.coordinator.address}"]}}
client: {{connections: 2}}
data: {{points: {POINTS}, dimensions: {DIMENSIONS}, queries: 200}}
collection: {collection}
phases:
  - {{name: turn, seconds: {2 if loads else SECONDS}, arrivals: closed, workers: {CLIENTS}, search: {{ef: 64}}}}
""")
    out = folder / "result"
    command = [str(harness.BINARIES / "needletail-load"), "run", str(path), "--out", str(out), "--quiet"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout + run.stderr
    [segment] = json.loads(pathlib.Path(f"{out}.json").read_text())["phases"][0]["segments"]
    return sum(tally["completed"] for one in segment["slices"] for tally in one["tallies"].values())


def processor_time(cluster):
    """Of all its processes, in microseconds."""
    ticks = 0
    for process in [cluster.coordinator, *cluster.workers]:
        user, system = pathlib.Path(f"/proc/{process.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        ticks += int(user) + int(system)
    return ticks * 1e6 / os.sysconf("SC_CLK_TCK")


def start(cluster, arm):
    """The cluster's processes again, with an arm's binaries and flags."""
    for process in [cluster.coordinator, *cluster.workers]:
        process.stop()
    for process in [cluster.coordinator, *cluster.workers]:
        process.binaries = arm["binaries"]
        process.arguments = arm["coordinator"] if process is cluster.coordinator else ["--coordinator", cluster.coordinator.address, *arm["worker"]]
        process.start()
    harness.wait_for(lambda: cluster.status().nodes_alive == len(cluster.workers), "all workers registering")
    cluster.wait_until_ready()


def turn(folder, cluster, arm):
    """The microseconds of processor time that a search took."""
    scraper = Scraper([cluster.coordinator, *cluster.workers]) if arm["scraped"] else contextlib.nullcontext()
    with scraper:
        before = processor_time(cluster)
        count = scenario(folder, cluster, loads=False)
        return (processor_time(cluster) - before) / count


def compare(folders, clusters, what, of, against):
    """By how much more `of` takes than `against`, of pairs of rounds in which the clusters change places."""
    ratios, times = [], []
    for number in range(2 * PAIRS):
        order = clusters if number % 2 == 0 else clusters[::-1]
        for cluster, arm in zip(order, (of, against)):
            start(cluster, arm)
        with futures.ThreadPoolExecutor(2) as both:
            times.append(list(both.map(turn, folders, order, (of, against))))
        ratios.append(times[-1][0] / times[-1][1])
    pairs = sorted(math.sqrt(one * other) for one, other in zip(ratios[::2], ratios[1::2]))
    print(json.dumps({
        "what": what, "more_processor_time_percent": round(100 * (statistics.median(pairs) - 1), 2),
        "of_pairs_percent": [round(100 * (ratio - 1), 2) for ratio in pairs],
        "microseconds_a_search": [round(statistics.median(time), 1) for time in zip(*times)]}), flush=True)


def recall(cluster):
    """One shard, so that its own recall is that of whole answers."""
    random = np.random.default_rng(2)
    field = c.VectorField(name="v", dimensions=48, metric=c.METRIC_L2)
    cluster.collections.Create(c.CreateCollectionRequest(name="recall", shard_count=1, fields=[field]), timeout=30)
    for start in range(0, 20_000, 1000):
        rows = random.standard_normal((1000, 48)).astype("f4")
        cluster.points.Upsert(p.UpsertRequest(collection="recall", packed=p.PackedPoints(ids=range(start, start + 1000), vectors=rows.tobytes())), timeout=60)
    queries = [random.standard_normal(48).astype("f4").tobytes() for _ in range(1000)]

    def found(query, **how):
        request = p.SearchRequest(collection="recall", query=p.Query(vector=common.Vector(data=query), limit=10, **how))
        return {hit.id.number for hit in cluster.points.Search(request, timeout=20).points}

    full = statistics.mean(len(found(query, ef=EF) & found(query, exact=True)) / 10 for query in queries)
    while True:
        for query in queries:
            found(query, ef=EF)
        [shard] = cluster.cluster.Shards(cluster_pb2.ListShardsRequest(collection="recall"), timeout=10).shards
        sampled = shard.replicas[0].sampled_recall
        if shard.replicas[0].recall_samples >= SAMPLES:
            break
    print(json.dumps({
        "what": "the sampler's recall against that of 1000 queries", "sampled": round(sampled, 4), "samples": shard.replicas[0].recall_samples,
        "full": round(full, 4), "difference": round(sampled - full, 4)}), flush=True)


def main():
    receiver = Receiver()
    admin = ["--admin", "0"]
    traces = [*admin, "--otlp", f"http://127.0.0.1:{receiver.port}", "--log-format", "json"]

    def arm(coordinator=admin, worker=admin, scraped=False, binaries=harness.BINARIES):
        return {"coordinator": coordinator, "worker": worker, "scraped": scraped, "binaries": binaries}

    traced, logged = [*admin, "--otlp", f"http://127.0.0.1:{receiver.port}"], [*admin, "--log-format", "json"]
    arms = {
        "off": arm(), "on": arm([*traces, "--trace-sample", "0.01", "--slow-query", "100ms"], traces, scraped=True),
        "unsampled": arm(worker=[*admin, "--no-recall-sampling"]), "traced": arm([*traced, "--trace-sample", "0.01"], traced),
        "scraped": arm(scraped=True), "slow": arm([*admin, "--slow-query", "100ms"]), "json": arm(logged, logged)}
    comparisons = os.environ.get("COMPARE", "on:off,off:unsampled" + (",on:before,off:before" if BEFORE else ""))
    if BEFORE:
        arms["before"] = arm(binaries=pathlib.Path(BEFORE))
    with contextlib.ExitStack() as stack:
        clusters = [stack.enter_context(harness.Cluster(workers=2, worker_arguments=admin)) for _ in range(2)]
        folders = [pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in clusters]
        for folder, cluster in zip(folders, clusters):
            scenario(folder, cluster, loads=True)
        for comparison in comparisons.split(","):
            of, against = comparison.split(":")
            compare(folders, clusters, f"{of}, against {against}", arms[of], arms[against])
        assert receiver.batches > 0 or not {"on", "traced"} & set(comparisons.replace(":", ",").split(",")), "no spans came"
        start(clusters[0], arms["off"])
        recall(clusters[0])


main()
