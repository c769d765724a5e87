"""What telemetry costs, in turns: one JSON object a line. Run it with `make bench-telemetry`.

Clusters of the same binaries stand side by side with the same points, one for each arm:

- off:     no traces, no log of slow queries, text logs, nobody asks for metrics
- on:      metrics of all processes asked for each second, 1% of the requests traced and sent to a receiver, slow queries logged, JSON logs
- unsampled: as off, and no query asked again exactly for its recall
- before:  as off, older binaries (NEEDLETAIL_BEFORE_BIN; left out without)

They are loaded in turns, in another order each round, by `needletail-load` in a closed loop that leaves no processor idle; an arm's figure is the
median of its rounds. The receiver runs on this machine, and takes what it gets unread, as its cost is not ours.

Then the sampler's recall is compared with that of all the queries asked, each measured against its exact answer.
"""

import json
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

ROUNDS = int(os.environ.get("ROUNDS", 9))
SECONDS = int(os.environ.get("SECONDS_EACH", 10))
POINTS, DIMENSIONS, CLIENTS = 100_000, 128, 24
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
    result = json.loads(pathlib.Path(f"{out}.json").read_text())
    [segment] = result["phases"][0]["segments"]
    counts = [sum(tally["completed"] for tally in one["tallies"].values()) for one in segment["slices"]]
    # The first second has connections to make, the last one may be cut off.
    return statistics.mean(counts[1:SECONDS]), sum(counts)


def processor_time(cluster):
    """Seconds of all processes of a cluster: fields 14 and 15 of proc(5)."""
    seconds = 0
    for process in [cluster.coordinator, *cluster.workers]:
        fields = pathlib.Path(f"/proc/{process.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def turn(folder, cluster):
    """Searches a second, and what one took of the cluster's processors, in microseconds."""
    before = processor_time(cluster)
    rate, count = scenario(folder, cluster, loads=False)
    return rate, 1e6 * (processor_time(cluster) - before) / count


def turns(arms):
    """By arm: what each of its turns came to."""
    measured = {name: [] for name in arms}
    names = list(arms)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for cluster in arms.values():
            scenario(folder, cluster, loads=True)
        for number in range(ROUNDS):
            for name in names[number % len(names):] + names[:number % len(names)]:
                cluster = arms[name]
                if name == "on":
                    with Scraper([cluster.coordinator, *cluster.workers]):
                        measured[name].append(turn(folder, cluster))
                else:
                    measured[name].append(turn(folder, cluster))
            print(json.dumps({"round": number, **{name: [round(of[-1][0]), round(of[-1][1], 1)] for name, of in measured.items()}}), flush=True)
    return measured


def costs(measured, what, of, against):
    """Of medians, and the middle half of the rounds' own ratios. Processor time says more on a machine that has other work."""
    def median(name, index):
        return statistics.median(one[index] for one in measured[name])

    each = sorted(1 - a[0] / b[0] for a, b in zip(measured[of], measured[against]))
    quarters = [round(100 * value, 2) for value in (each[len(each) // 4], each[-1 - len(each) // 4])]
    print(json.dumps({
        "what": what, "throughput_lost_percent": round(100 * (1 - median(of, 0) / median(against, 0)), 2), "middle_half_of_rounds_percent": quarters,
        "processor_time_more_percent": round(100 * (median(of, 1) / median(against, 1) - 1), 2),
        "per_second": {name: round(median(name, 0)) for name in (of, against)},
        "processor_microseconds": {name: round(median(name, 1), 1) for name in (of, against)}}), flush=True)


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
    traces = ["--otlp", f"http://127.0.0.1:{receiver.port}", "--log-format", "json"]
    admin = ["--admin", "0"]
    arms = {
        "off": harness.Cluster(workers=2, worker_arguments=admin),
        "on": harness.Cluster(
            workers=2, worker_arguments=[*admin, *traces], coordinator_arguments=[*traces, "--trace-sample", "0.01", "--slow-query", "100ms"]),
        "unsampled": harness.Cluster(workers=2, worker_arguments=[*admin, "--no-recall-sampling"]),
    }
    if BEFORE:
        ours, harness.BINARIES = harness.BINARIES, pathlib.Path(BEFORE)
        arms["before"] = harness.Cluster(workers=2, worker_arguments=admin)
        harness.BINARIES = ours
    try:
        measured = turns(arms)
        costs(measured, "all telemetry on, against off", "on", "off")
        costs(measured, "the recall sampler", "off", "unsampled")
        if BEFORE:
            costs(measured, "all on, against the older binaries", "on", "before")
            costs(measured, "all off, against the older binaries", "off", "before")
        assert receiver.batches > 0, "no spans came"
        recall(arms["off"])
    finally:
        for cluster in arms.values():
            cluster.__exit__(None)


main()
