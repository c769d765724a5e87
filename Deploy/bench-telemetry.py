"""What telemetry costs, in turns: one JSON object a line. Run it with `make bench-telemetry`.

One cluster is started again and again from the same data, so that its graphs are the same, with the flags of one arm:

- off:     no traces, no log of slow queries, text logs, nobody asks for metrics
- on:      metrics of all processes asked for each second, 1% of the requests traced and sent to a receiver, slow queries logged, JSON logs
- unsampled: as off, and no query asked again exactly for its recall
- before:  as off, older binaries (NEEDLETAIL_BEFORE_BIN; left out without)

The arms take turns, in another order each round. `needletail-load` asks in a closed loop that leaves no processor idle; an arm's figure is the median of
its rounds. Throughput wants a machine without other work; the instructions that a search takes of all processes (by perf, where it can count them) are
the same whatever else runs. The receiver runs on this machine, and takes what it gets unread, as its cost is not ours.

Then the sampler's recall is compared with that of all the queries asked, each measured against its exact answer.
"""

import contextlib
import json
import os
import pathlib
import signal
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
    # The first seconds warm up what was started just now, the last one may be cut off.
    return statistics.mean(counts[2:SECONDS]), sum(counts)


class Instructions:
    """Counts those of a cluster's processes; `count` is None where perf cannot."""

    def __init__(self, cluster):
        self.ids, self.count = ",".join(str(process.process.pid) for process in [cluster.coordinator, *cluster.workers]), None

    def __enter__(self):
        try:
            self.perf = subprocess.Popen(["perf", "stat", "-x,", "-e", "instructions", "-p", self.ids], stderr=subprocess.PIPE, text=True)
        except OSError:
            self.perf = None
        return self

    def __exit__(self, *_):
        if self.perf:
            self.perf.send_signal(signal.SIGINT)
            counted = [line.split(",")[0] for line in self.perf.communicate()[1].splitlines() if "instructions" in line]
            self.count = int(counted[0]) if counted and counted[0].isdigit() else None


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
    """Searches a second, and the instructions that one took."""
    start(cluster, arm)
    scraper = Scraper([cluster.coordinator, *cluster.workers]) if arm["scraped"] else contextlib.nullcontext()
    with scraper, Instructions(cluster) as instructions:
        rate, count = scenario(folder, cluster, loads=False)
    return rate, (instructions.count or 0) / count


def turns(cluster, arms):
    """By arm: what each of its turns came to."""
    measured = {name: [] for name in arms}
    names = list(arms)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        scenario(folder, cluster, loads=True)
        for number in range(ROUNDS):
            for name in names[number % len(names):] + names[:number % len(names)]:
                measured[name].append(turn(folder, cluster, arms[name]))
            print(json.dumps({"round": number, **{name: [round(value) for value in of[-1]] for name, of in measured.items()}}), flush=True)
    return measured


def costs(measured, what, of, against):
    """Of medians, and the middle half of the rounds' own ratios."""
    def median(name, index):
        return statistics.median(one[index] for one in measured[name])

    each = sorted(1 - a[0] / b[0] for a, b in zip(measured[of], measured[against]))
    quarters = [round(100 * value, 2) for value in (each[len(each) // 4], each[-1 - len(each) // 4])]
    instructions = {name: round(median(name, 1)) for name in (of, against)}
    print(json.dumps({
        "what": what, "throughput_lost_percent": round(100 * (1 - median(of, 0) / median(against, 0)), 2), "middle_half_of_rounds_percent": quarters,
        "more_instructions_percent": round(100 * (instructions[of] / instructions[against] - 1), 2) if instructions[against] else None,
        "per_second": {name: round(median(name, 0)) for name in (of, against)}, "instructions_a_search": instructions}), flush=True)


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

    arms = {
        "off": arm(), "on": arm([*traces, "--trace-sample", "0.01", "--slow-query", "100ms"], traces, scraped=True),
        "unsampled": arm(worker=[*admin, "--no-recall-sampling"])}
    if BEFORE:
        arms["before"] = arm(binaries=pathlib.Path(BEFORE))
    with harness.Cluster(workers=2, worker_arguments=admin) as cluster:
        measured = turns(cluster, arms)
        costs(measured, "all telemetry on, against off", "on", "off")
        costs(measured, "the recall sampler", "off", "unsampled")
        if BEFORE:
            costs(measured, "all on, against the older binaries", "on", "before")
            costs(measured, "all off, against the older binaries", "off", "before")
        assert receiver.batches > 0, "no spans came"
        start(cluster, arms["off"])
        recall(cluster)


main()
