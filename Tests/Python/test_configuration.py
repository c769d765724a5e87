"""Flags, environment and file: which says what, what is refused, and what changes while a process runs."""

import os
import signal
import subprocess
import sys
import threading

import grpc
import numpy as np
import pytest
from harness import BINARIES, ROOT, Cluster, wait_for
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

COORDINATOR, SHARD = "needletail-coordinator", "needletail-shard"


def run(program, *arguments, **environment):
    return subprocess.run([BINARIES / program, *map(str, arguments)], capture_output=True, text=True, timeout=30, env={**os.environ, **environment})


def shown(program, *arguments, **environment):
    """By name, the value and where it is from."""
    done = run(program, *arguments, "--print-config", **environment)
    assert done.returncode == 0, done.stderr
    lines = [line.split("#") for line in done.stdout.splitlines()]
    return {line[0].split(":")[0]: (line[0].partition(":")[2].strip(), line[1].strip()) for line in lines}


def test_flag_before_environment_before_file_before_default(tmp_path):
    file = tmp_path / "worker.yaml"
    file.write_text("# a worker\nzone: file\nweight: 2\nlog-level: debug\ncoordinator: [10.0.0.2:7460, 10.0.0.3:7460]\nrecall-sampling: no\n")
    found = shown(SHARD, "--config", file, "--zone", "flag", NEEDLETAIL_SHARD_ZONE="variable", NEEDLETAIL_SHARD_WEIGHT="3")
    assert found["zone"] == ("flag", "command line")
    assert found["weight"] == ("3", "NEEDLETAIL_SHARD_WEIGHT")
    assert found["log-level"] == ("debug", f"{file}:4, live")
    assert found["coordinator"] == ('["10.0.0.2:7460", "10.0.0.3:7460"]', f"{file}:5")
    assert found["recall-sampling"] == ("false", f"{file}:6")
    assert found["search-queue"] == ("4096", "default") and found["otlp"] == ("", "default, none")
    # A flag that is on by default, and the one that undoes it, are one setting.
    assert "no-recall-sampling" not in found and shown(SHARD)["recall-sampling"] == ("true", "default")
    assert shown(SHARD, "--config", file, "--recall-sampling")["recall-sampling"] == ("true", "command line")
    assert shown(SHARD, "--no-recall-sampling")["recall-sampling"] == ("false", "command line")
    # The file may be named by the environment, and lists be written with commas there.
    found = shown(SHARD, NEEDLETAIL_SHARD_CONFIG=str(file), NEEDLETAIL_SHARD_COORDINATOR="a:1,b:2")
    assert found["zone"][0] == "file" and found["coordinator"][0] == '["a:1", "b:2"]'


def test_a_flag_that_is_on_can_be_turned_off_everywhere(tmp_path):
    assert shown(SHARD)["recall-sampling"] == ("true", "default") and "no-recall-sampling" not in shown(SHARD)
    file = tmp_path / "worker.yaml"
    file.write_text("recall-sampling: false\n")
    assert shown(SHARD, "--config", file)["recall-sampling"] == ("false", f"{file}:1")
    assert shown(SHARD, "--config", file, "--recall-sampling")["recall-sampling"] == ("true", "command line")
    assert shown(SHARD, "--no-recall-sampling")["recall-sampling"] == ("false", "command line")
    assert shown(SHARD, NEEDLETAIL_SHARD_RECALL_SAMPLING="off")["recall-sampling"] == ("false", "NEEDLETAIL_SHARD_RECALL_SAMPLING")


@pytest.mark.parametrize("program", [COORDINATOR, SHARD])
def test_what_is_shown_says_the_same_as_a_file(program, tmp_path):
    before = run(program, "--print-config", "--log-level", "trace", "--drain-seconds", "7").stdout
    (tmp_path / "all.yaml").write_text(before)
    after = shown(program, "--config", tmp_path / "all.yaml")
    lines = {line.split(":")[0]: line.split("#")[0].partition(":")[2].strip() for line in before.splitlines()}
    assert {name: value for name, (value, _) in after.items()} == lines and after["log-level"][0] == "trace"


@pytest.mark.parametrize("text, words", [
    ("weihgt: 2", ["file.yaml:1", "weihgt is no setting", "did you mean weight?"]),
    ("zone: a\nlistn: x", ["file.yaml:2", "did you mean listen?"]),
    ("purple-monkeys: 2", ["purple-monkeys is no setting", "--help"]),
    ("weight: [1, 2]", ["file.yaml:1", "weight takes one value"]),
    ("recall-sampling: perhaps", ["file.yaml:1", "recall-sampling is true or false"]),
    ("weight: heavy", ["--weight is from", "file.yaml:1", "heavy"]),
    ("search-queue: 0", ["--search-queue", "file.yaml:1"]),
    ("weight: {", ["file.yaml is no YAML"]),
    ("zone: a\nzone: b", ["file.yaml", "twice", "zone"]),
    ("- weight", ["file.yaml", "mapping"]),
    ("zone:\n  name: a", ["zone takes one value"]),
])
def test_a_file_that_is_no_good_is_refused_with_its_place(tmp_path, text, words):
    file = tmp_path / "file.yaml"
    file.write_text(text)
    done = run(SHARD, "--config", file, "--data", tmp_path / "data")
    assert done.returncode != 0 and all(word in done.stderr for word in words), done.stderr


def test_a_file_that_is_no_good_is_not_told_whole(tmp_path):
    file = tmp_path / "file.yaml"
    file.write_text("zone: 'secret-word\n" + "# secret-word\n" * 1_000)
    done = run(SHARD, "--config", file)
    assert done.returncode == 1 and "line" in done.stderr and "secret-word" not in done.stderr and len(done.stderr) < 500, done.stderr
    done = run(SHARD, "--config", file, "--config", file)
    assert done.returncode == 1 and "--config is given twice" in done.stderr
    file.write_text('zone: "a\\nb"\n')
    (tmp_path / "again.yaml").write_text(run(SHARD, "--config", file, "--print-config").stdout)
    assert shown(SHARD, "--config", tmp_path / "again.yaml")["zone"][0] == '"a\\nb"'


def test_variables_that_mean_nothing_are_refused(tmp_path):
    done = run(SHARD, "--data", tmp_path, NEEDLETAIL_SHARD_WIEGHT="2")
    assert done.returncode == 1 and "NEEDLETAIL_SHARD_WIEGHT means nothing; did you mean NEEDLETAIL_SHARD_WEIGHT?" in done.stderr, done.stderr
    done = run(COORDINATOR, "--data", tmp_path, NEEDLETAIL_COORDINATOR_MOVES="many")
    assert done.returncode != 0 and "--moves is from the variable NEEDLETAIL_COORDINATOR_MOVES" in done.stderr, done.stderr
    done = run(SHARD, "--config", tmp_path / "none.yaml")
    assert done.returncode == 1 and "cannot be read" in done.stderr and "none.yaml" in done.stderr
    # What Kubernetes says of a service that is named like the program is no setting.
    links = {"SERVICE_HOST": "10.0.0.1", "SERVICE_PORT_GRPC": "7470", "PORT": "tcp://10.0.0.1:7470", "PORT_7470_TCP_ADDR": "10.0.0.1"}
    assert shown(SHARD, **{f"NEEDLETAIL_SHARD_{name}": value for name, value in links.items()})["zone"][1] == "default, none"
    # Other things that the program does, and its help, need no configuration.
    assert run(SHARD, "repair", "--help", NEEDLETAIL_SHARD_WIEGHT="2").returncode == 0


@pytest.mark.parametrize("script", ["reference.py", "api_reference.py"])
def test_references_are_what_the_programs_and_protos_say(script):
    done = subprocess.run([sys.executable, ROOT / "Deploy" / script, "--check"], capture_output=True, text=True,
                          env={**os.environ, "NEEDLETAIL_BIN": str(BINARIES)})
    assert done.returncode == 0, done.stderr


def test_settings_change_under_load_without_a_failed_request(tmp_path):
    coordinator, shard = tmp_path / "coordinator.yaml", tmp_path / "shard.yaml"
    coordinator.write_text("rest: 500\n")
    shard.write_text("copy-rate: 0\n")
    with Cluster(workers=2, coordinator_arguments=["--config", str(coordinator)], worker_arguments=["--config", str(shard)]) as cluster:
        field = c.VectorField(name="v", dimensions=8, metric=c.METRIC_L2)
        cluster.collections.Create(c.CreateCollectionRequest(name="c", fields=[field], shard_count=2, replication_factor=2), timeout=30)
        failures, answered, over = [], [], threading.Event()

        def load(number):
            random = np.random.default_rng(number)
            while not over.is_set():
                vector = random.standard_normal(8).astype("f4").tobytes()
                try:
                    cluster.points.Upsert(p.UpsertRequest(collection="c", packed=p.PackedPoints(ids=[len(answered)], vectors=vector)), timeout=5)
                    cluster.points.Search(p.SearchRequest(collection="c", query=p.Query(vector=common.Vector(data=vector), limit=3)), timeout=5)
                    answered.append(number)
                except grpc.RpcError as error:
                    failures.append(error)

        threads = [threading.Thread(target=load, args=[number]) for number in range(3)]
        for thread in threads:
            thread.start()

        def says(process, *words):
            return lambda: all(word in process.output() for word in words)

        try:
            worker = cluster.workers[0]
            for round in range(5):
                shard.write_text(f"copy-rate: {round + 1}MB\n")
                worker.process.send_signal(signal.SIGHUP)
                wait_for(lambda: worker.output().count("the configuration was read again") == round + 1, "the new configuration", 20, worker.output)
                before = len(answered)
                wait_for(lambda: len(answered) > before + 20, "requests being answered", 20, cluster.describe)
            assert says(worker, "changed=copy-rate")(), worker.output()
            # What does not change at run time, and what is no good.
            coordinator.write_text("rest: 400\nleader-lease: 3000\n")
            cluster.coordinator.process.send_signal(signal.SIGHUP)
            wait_for(says(cluster.coordinator, "changed=rest", "settings=leader-lease", "with the next start only"), "the warning", 20, cluster.describe)
            coordinator.write_text("rest: never\n")
            cluster.coordinator.process.send_signal(signal.SIGHUP)
            wait_for(says(cluster.coordinator, "the configuration stays as it was"), "the refusal", 20, cluster.describe)
            # Every search is slow now, and said to be.
            coordinator.write_text("rest: 500\nslow-query: 1us\nlog-level: notice\n")
            cluster.coordinator.process.send_signal(signal.SIGHUP)
            wait_for(says(cluster.coordinator, "notice", "slow query"), "slow queries in the log", 20, cluster.describe)
            before = len(answered)
            wait_for(lambda: len(answered) > before + 20, "requests being answered", 20, cluster.describe)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert not failures and len(answered) > 100, failures[:3]
