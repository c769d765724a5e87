"""The load tester against real clusters, and against servers that stall or only fail."""

import contextlib
import json
import os
import signal
import subprocess
import time
from concurrent import futures

import grpc
import pytest
from harness import BINARIES, ROOT, free_ports, wait_for
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p
from needletail.v1 import points_pb2_grpc

LOAD = str(BINARIES / "needletail-load")
SCENARIOS = ROOT / "Deploy" / "load"
# The machine may be busy with other things for longer than a second.
PATIENT = {"deadline": 20}


class Fake(points_pb2_grpc.PointsServicer):
    """Answers searches after `delay` seconds, and none during the first `stall` seconds of each second."""

    def __init__(self, delay=0.0, stall=0.0, error=None):
        self.delay, self.stall, self.error = delay, stall, error

    def Search(self, request, context):  # noqa: N802  gRPC's name
        if self.error:
            context.abort(self.error, "the fake server is out of order")
        left = self.stall - time.monotonic() % 1.0
        time.sleep(max(self.delay, left))
        return p.SearchResponse(
            points=[p.ScoredPoint(id=common.PointId(number=i)) for i in range(3)],
            coverage=common.Coverage(shards_total=1, shards_answered=1, shards=[common.ShardCoverage(shard=0, answered=True)]))


@contextlib.contextmanager
def fake(**settings):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=200))
    points_pb2_grpc.add_PointsServicer_to_server(Fake(**settings), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def scenario(folder, endpoint, phases, name="test", extra=""):
    file = folder / f"{name}.yaml"
    file.write_text(f"""
name: {name}
target: {{endpoints: "{endpoint}"}}
data: {{points: 50, dimensions: 4, queries: 5, truth: false}}
collection: {{create: false, load: false}}
{extra}
phases: {json.dumps(phases)}
""")
    return file


def run(file, folder, *arguments, out="out", timeout=120):
    done = subprocess.run(
        [LOAD, "run", str(file), "--out", str(folder / out), *arguments], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    return done


def result(folder, out="out"):
    return json.loads((folder / f"{out}.json").read_text())


def slices(phase, kind="search"):
    return [one["tallies"][kind] for segment in phase["segments"] for one in segment["slices"] if kind in one["tallies"]]


def total(phase, key, kind="search"):
    return sum(one[key] for one in slices(phase, kind))


def failed(phase, kind="search"):
    return sum(sum(one["failed"].values()) for one in slices(phase, kind))


def latencies(phase, kind="search"):
    """Milliseconds and how often, ascending."""
    counts = {}
    for one in slices(phase, kind):
        value = 0
        flat = one["latency"]
        for distance, count in zip(flat[::2], flat[1::2]):
            value += distance
            counts[value] = counts.get(value, 0) + count
    return [(value / 1000, counts[value]) for value in sorted(counts)]


def percentile(phase, wanted):
    seen, pairs = 0, latencies(phase)
    everything = sum(count for _, count in pairs)
    for value, count in pairs:
        seen += count
        if seen >= everything * wanted / 100:
            return value


def share_above(phase, milliseconds):
    pairs = latencies(phase)
    return sum(count for value, count in pairs if value > milliseconds) / sum(count for _, count in pairs)


def test_an_open_loop_shows_a_stall_that_a_closed_loop_hides(tmp_path):
    """The server holds answers back for 100 ms of every second. A tenth of independent clients wait, half of them for more than 50 ms; one
    client that waits for its answer meets the stall once a second, whatever it asks besides."""
    phases = [
        {"name": "open", "seconds": 8, "rate": 60, "arrivals": "constant", "search": PATIENT},
        {"name": "closed", "seconds": 4, "arrivals": "closed", "search": PATIENT},
    ]
    with fake(stall=0.1) as endpoint:
        done = run(scenario(tmp_path, endpoint, phases), tmp_path)
    assert done.returncode == 0, done.stderr
    opened, closed = result(tmp_path)["phases"]
    assert failed(opened) == failed(closed) == 0
    # p95 lies in the middle of the stall and p99 near its end.
    assert share_above(opened, 45) > 0.04 and percentile(opened, 99) > 80, latencies(opened)
    assert share_above(closed, 45) < share_above(opened, 45) / 2, latencies(closed)
    page = (tmp_path / "out.html").read_text()
    assert "open loop, constant" in page and "closed loop, 1 worker" in page and "Latency by percentile" in page


def test_requests_that_wait_for_a_place_are_not_forgiven(tmp_path):
    """Two at a time of 300 ms each cannot keep up with twenty a second: the wait of the rest is latency, and is told."""
    phases = [{"name": "one", "seconds": 3, "rate": 20, "arrivals": "constant", "search": PATIENT}]
    with fake(delay=0.3) as endpoint:
        done = run(scenario(tmp_path, endpoint, phases, extra="client: {outstanding: 2}"), tmp_path)
    assert done.returncode == 0, done.stderr
    phase = result(tmp_path)["phases"][0]
    assert total(phase, "answered") == 60
    # The last of 60 starts after 58 others, two at a time: 9 s after its time less the 3 s it was meant to wait.
    assert percentile(phase, 100) > 5000
    assert "had to wait" in done.stdout


class Agent:
    def __init__(self, folder, name):
        self.port_file = folder / f"{name}.port"
        self.process = subprocess.Popen(
            [LOAD, "agent", "--listen", "127.0.0.1:0", "--port-file", str(self.port_file)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port_file.exists, "a load process listening")
        self.address = f"127.0.0.1:{self.port_file.read_text().strip()}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(timeout=30) == 0
        self.process.wait()


def test_two_load_processes_are_one_load(tmp_path):
    """At equal distances two processes together send at the very moments of one, and their histograms add up."""
    phases = [{"name": "one", "seconds": 4, "rate": 50, "arrivals": "constant", "search": PATIENT}]
    with fake(delay=0.02) as endpoint, Agent(tmp_path, "a") as a, Agent(tmp_path, "b") as b:
        file = scenario(tmp_path, endpoint, phases)
        assert run(file, tmp_path, out="alone").returncode == 0
        # The same processes serve one run after the other.
        for _ in range(2):
            done = run(file, tmp_path, "--agents", f"{a.address},{b.address}", out="joined")
            assert done.returncode == 0, done.stderr
    alone, joined = result(tmp_path, "alone"), result(tmp_path, "joined")
    assert (alone["processes"], joined["processes"]) == (1, 2)
    for one in (alone["phases"][0], joined["phases"][0]):
        assert total(one, "answered") == 200 and failed(one) == 0 and percentile(one, 1) >= 20
        assert [s["tallies"]["search"]["ended"] for s in one["segments"][0]["slices"][:4]] == [50] * 4
    compared = subprocess.run([LOAD, "compare", str(tmp_path / "alone.json"), str(tmp_path / "joined.json")], capture_output=True, text=True)
    assert compared.returncode == 0 and "p99" in compared.stdout and "answered a second" in compared.stdout


def test_a_load_process_that_dies_ends_the_run_and_keeps_the_rest(tmp_path):
    phases = [{"name": "one", "seconds": 60, "rate": 50}]
    with fake() as endpoint, Agent(tmp_path, "a") as a, Agent(tmp_path, "b") as b:
        process = subprocess.Popen(
            [LOAD, "run", str(scenario(tmp_path, endpoint, phases)), "--out", str(tmp_path / "out"), "--agents", f"{a.address},{b.address}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        for line in process.stderr:
            if "answered/s" in line:
                break
        b.process.kill()
        said = process.stderr.read() + process.stdout.read()
        assert process.wait(timeout=30) == 1
    assert b.address in said and (tmp_path / "out.html").exists()
    assert total(result(tmp_path)["phases"][0], "answered") > 0


def test_a_target_that_only_fails_is_given_up(tmp_path):
    phases = [{"name": "one", "seconds": 60, "rate": 20}]
    with fake(error=grpc.StatusCode.UNAVAILABLE) as endpoint:
        done = run(scenario(tmp_path, endpoint, phases), tmp_path)
    assert done.returncode == 1
    assert "nothing but errors" in done.stderr and "out of order" in done.stderr
    phase = result(tmp_path)["phases"][0]
    assert total(phase, "answered") == 0 and failed(phase) > 0
    page = (tmp_path / "out.html").read_text()
    assert "Ended early" in page and "out of order" in page


def test_a_dead_target_is_named_at_once(tmp_path):
    file = tmp_path / "dead.yaml"
    [port] = free_ports(1)
    file.write_text(f'name: dead\ntarget: {{endpoints: "127.0.0.1:{port}"}}\nphases: [{{name: one}}]\n')
    done = run(file, tmp_path)
    assert done.returncode == 1 and f"127.0.0.1:{port} does not answer" in done.stderr and len(done.stderr.splitlines()) < 6
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("arguments, said", [
    (["--set", "phases[0].rate=0"], "phases[0].rate is a number, 0.1 to"),
    (["--set", "phases[0].qps=5"], "phases[0].qps is no key"),
    (["--set", "target.local.workers=many"], "target.local.workers is a whole number"),
    (["--agents", "nowhere:0:0"], "is no address"),
])
def test_mistakes_are_named(tmp_path, arguments, said):
    done = run(SCENARIOS / "steady-search.yaml", tmp_path, *arguments)
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_files_that_are_no_results_are_named(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    for command in (["report", str(tmp_path / "a.json")], ["compare", str(tmp_path / "a.json"), "none.json"], ["report", str(tmp_path / "none.json")]):
        done = subprocess.run([LOAD, *command], capture_output=True, text=True)
        assert done.returncode == 1 and "json" in done.stderr and len(done.stderr.splitlines()) == 1


def test_ctrl_c_keeps_what_was_measured(tmp_path):
    """In a terminal the signal goes to all processes of the group; those of the cluster are not in it."""
    process = subprocess.Popen(
        [LOAD, "run", str(SCENARIOS / "steady-search.yaml"), "--set", "phases[0].seconds=600", "--set", "phases[0].rate=50",
         "--set", "phases[0].search.deadline=20", "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, start_new_session=True)
    for line in process.stderr:
        if "answered/s" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    process.send_signal(signal.SIGINT)  # as `timeout` does, to the group and to the process
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "stopped by SIGINT" in err, err
    assert "The report is in" in out
    phase = result(tmp_path)["phases"][0]
    assert total(phase, "answered") > 0 and failed(phase) == 0
    assert phase["segments"][0]["seconds"] < 600
    assert "Ended early" in (tmp_path / "out.html").read_text()


def test_searches_go_on_when_a_node_is_lost(tmp_path):
    done = run(SCENARIOS / "node-loss.yaml", tmp_path, "--set", "phases[0].seconds=12", "--set", "phases[0].rate=60", "--set", "data.points=2000",
               "--set", "phases[0].search.deadline=20", "--set", "phases[0].faults=[{at: 3, kill: worker 1}, {at: 7, start: worker 1}]")
    assert done.returncode == 0, done.stderr
    [phase] = result(tmp_path)["phases"]
    assert failed(phase) == 0 and total(phase, "answered") == total(phase, "ended") > 500
    assert [mark["name"] for mark in phase["marks"]] == ["kill worker 1", "start worker 1"]
    assert all("problem" not in mark for mark in phase["marks"]), phase["marks"]
    # Answers were right all the while.
    assert total(phase, "right") > 0.9 * total(phase, "wanted") > 0
    page = (tmp_path / "out.html").read_text()
    assert "kill worker 1" in page and "well again after" in page


def test_a_whole_set_turns_over_and_answers_stay_right(tmp_path):
    patient = [word for number in range(3) for word in ("--set", f"phases[{number}].search.deadline=20")]
    done = run(SCENARIOS / "turnover.yaml", tmp_path, *patient, "--set", "data.points=1000", "--set", "data.spare=1000", "--set", "phases[0].seconds=1",
               "--set", "phases[1].seconds=6", "--set", "phases[1].rate=200", "--set", "phases[2].seconds=2", "--set", "phases[2].rate=50")
    assert done.returncode == 0, done.stderr
    before, turnover, after = result(tmp_path)["phases"]
    assert total(turnover, "points", "delete") > 1000
    for phase in (before, turnover, after):
        assert failed(phase) == 0
        assert total(phase, "right") > 0.95 * total(phase, "wanted") > 0
    assert total(after, "deletedFound") == total(after, "stale") == 0


def test_a_rate_is_found_and_a_bulk_load_measured(tmp_path):
    done = run(
        SCENARIOS / "bulk-load.yaml", tmp_path, "--set", "data.points=2000", "--set",
        "phases[1]={name: ramp, find: {from: 20, to: 40, milliseconds: 1000, step: 2, confirm: 2}}")
    assert done.returncode == 0, done.stderr
    load, ramp = result(tmp_path)["phases"]
    assert total(load, "points", "load") == 2000
    assert ramp["found"] == 40 and [segment["isMet"] for segment in ramp["segments"]] == [True] * 3
    assert "Throughput against latency" not in (tmp_path / "out.html").read_text()
    assert "highest rate" in done.stdout


def test_an_existing_collection_is_not_touched(tmp_path, cluster):
    file = tmp_path / "mine.yaml"
    file.write_text(f"""
name: mine
target: {{endpoints: "{cluster.coordinator.address}"}}
data: {{points: 200, dimensions: 4, queries: 5}}
collection: {{settle: 0}}
phases: [{{name: one, seconds: 1, rate: 20}}]
""")
    assert run(file, tmp_path).returncode == 0
    again = run(file, tmp_path)
    assert again.returncode == 1 and "is there already" in again.stderr
    assert run(file, tmp_path, "--set", "collection={create: false, load: false}").returncode == 0
    replaced = run(file, tmp_path, "--set", "collection.replace=true")
    assert replaced.returncode == 0 and "recall 1.0000" in replaced.stdout
