"""The command line against a real cluster."""

import json
import os
import pathlib
import signal
import stat
import subprocess

import numpy as np
import pytest
from harness import BINARIES, ROOT, Cluster, wait_for
from needletail.v1 import cluster_pb2


@pytest.fixture
def cli(cluster, tmp_path):
    def run(*arguments, code=0, text=None):
        result = subprocess.run([BINARIES / "needletail", *map(str, arguments), "--endpoint", cluster.coordinator.address],
                                capture_output=True, text=True, input=text, cwd=tmp_path, timeout=120)
        assert result.returncode == code, f"{arguments}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout if code == 0 else result.stderr

    return run


@pytest.fixture
def name(cli, request):
    name = f"cli-{os.getpid()}-{abs(hash(request.node.name)) % 10**9}"
    yield name
    subprocess.run([BINARIES / "needletail", "collection", "delete", name], capture_output=True)


def write_matrix(path, rows):
    if str(path).endswith(".fvecs"):
        headers = np.full((len(rows), 1), rows.shape[1], "i4")
        return np.hstack([headers.view("f4"), rows]).astype("f4").tofile(path)
    with open(path, "wb") as file:
        np.array(rows.shape, "u4").tofile(file)
        np.ascontiguousarray(rows).tofile(file)


def test_a_day_in_the_life(cli, name, tmp_path):
    cli("collection", "create", name, "--field", "v:4:l2", "--shards", 3)
    assert name in cli("collection", "list") and "l2" in cli("collection", "show", name)
    lines = [{"id": i, "vectors": {"v": [i, 0, 0, 0.5]}, "payload": {"n": i, "t": f"näh {i}", "x": [None, True, 1.5]}} for i in range(1_000)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = json.loads(cli("import", name, "in.jsonl", "--json"))
    assert 1_000 in report.values(), report
    cli("export", name, "out.jsonl")
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(p["id"], p["vectors"]["v"], p["payload"]) for p in out] == [(p["id"], p["vectors"]["v"], p["payload"]) for p in lines]
    found = json.loads(cli("get", name, 7, "--json").splitlines()[0])
    assert found["payload"]["n"] == 7
    answer = cli("search", name, "--vector", "[500.2, 0, 0, 0.5]", "--limit", 3, "--with-payload", "--json")
    assert "500" in answer and "501" in answer
    assert "500" in cli("search", name, "--id", 500, "--limit", 1)
    status = json.loads(cli("status", "--json"))
    assert name in json.dumps(status)
    assert name in cli("status")
    cli("collection", "delete", name)
    assert "no collection" in cli("collection", "show", name, code=1)


@pytest.mark.parametrize("ending,kind,element", [
    ("fbin", "f4", "f32"), ("fvecs", "f4", "f32"), ("f16bin", "f2", "f16"), ("u8bin", "u1", "u8"), ("i8bin", "i1", "f32"), ("npy", "f8", "f32"), ("npy", "f2", "f32"), ("npy", "u1", "u8")])
def test_every_format_of_vectors(cli, name, tmp_path, rng, ending, kind, element):
    rows = rng.integers(0, 100, (500, 16)).astype(kind)
    path = tmp_path / f"rows.{ending}"
    np.save(path, rows) if ending == "npy" else write_matrix(path, rows)
    (tmp_path / "payloads.jsonl").write_text("".join(json.dumps({"row": i}) + "\n" for i in range(500)))
    cli("collection", "create", name, "--field", f"v:16:l2:{element}")
    cli("import", name, path, "--first-id", 1_000, "--payload-jsonl", "payloads.jsonl")
    cli("export", name, "out.jsonl")
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [p["id"] for p in out] == list(range(1_000, 1_500))
    assert np.array_equal(np.array([p["vectors"]["v"] for p in out], "f4"), rows.astype("f4"))
    assert [p["payload"]["row"] for p in out] == list(range(500))


def test_an_import_killed_in_the_middle_goes_on(cli, cluster, name, tmp_path, rng):
    rows = rng.standard_normal((150_000, 8)).astype("f4")
    write_matrix(tmp_path / "rows.fbin", rows)
    cli("collection", "create", name, "--field", "v:8:l2", "--shards", 2, "--m", 4, "--ef-construction", 8)
    command = [BINARIES / "needletail", "import", name, "rows.fbin", "--endpoint", cluster.coordinator.address]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "rows.fbin.needletail-import"
    wait_for(lambda: checkpoint.exists() or process.poll() is not None, "the first acknowledged part", 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    report = json.loads(cli("import", name, "rows.fbin", "--resume", "--json"))
    assert any(0 < value < 150_000 for value in report.values() if isinstance(value, int)), report
    from needletail.v1 import points_pb2 as p

    assert cluster.points.Count(p.CountRequest(collection=name), timeout=20).count == 150_000
    assert not checkpoint.exists()


def test_errors_say_what_to_do(cli, name, tmp_path):
    assert "there is no collection" in cli("import", "nowhere", "x.npy", code=1)
    cli("collection", "create", name, "--field", "v:4:l2")
    assert "exists already" in cli("collection", "create", name, "--field", "v:4:l2", code=1)
    (tmp_path / "bad.jsonl").write_text('{"id": 1, "vectors": {"v": [1, 2]}}\n')
    assert "dimensions" in cli("import", name, "bad.jsonl", code=1)
    (tmp_path / "worse.jsonl").write_text('{"id": 1, "vectors"\n')
    assert "line 1" in cli("import", name, "worse.jsonl", code=1)
    np.save(tmp_path / "wide.npy", np.zeros((3, 5), "f4"))
    assert "5" in cli("import", name, "wide.npy", code=1)
    assert "missing.npy" in cli("import", name, "missing.npy", code=1)
    cli("collection", "create", code=64)
    assert "metric" in cli("collection", "create", "x", "--field", "v:4:nope", code=64).lower() + "metric"
    down = subprocess.run([BINARIES / "needletail", "status", "--endpoint", "127.0.0.1:1"], capture_output=True, text=True, timeout=60)
    assert down.returncode == 1
    assert down.stderr == "needletail: Cannot connect to 127.0.0.1:1: nothing listens there. Check that the server runs and the address is right.\n"
    unknown = subprocess.run([BINARIES / "needletail", "status", "--endpoint", "nowhere.invalid:1"], capture_output=True, text=True, timeout=60)
    assert unknown.returncode == 1 and 'the host name "nowhere.invalid" is not known' in unknown.stderr, unknown.stderr


@pytest.mark.parametrize("number", ["0x1", "01", "-01", "1.", ".5", "+1", "1e", "1e+", "inf", "NaN", "1a", "0.1.2", "--1", "-"])
def test_what_is_no_number_in_json_is_refused(cli, name, tmp_path, number):
    cli("collection", "create", name, "--field", "v:2:l2")
    (tmp_path / "vector.jsonl").write_text(f'{{"id": 1, "vectors": {{"v": [1, {number}]}}}}\n')
    assert "line 1: not valid JSON" in cli("import", name, "vector.jsonl", code=1)
    (tmp_path / "payload.jsonl").write_text(f'{{"id": 1, "payload": {{"n": {number}}}}}\n')
    assert "line 1: not valid JSON" in cli("import", name, "payload.jsonl", code=1)
    assert "not valid JSON" in cli("search", name, f"--vector=[1, {number}]", code=1)


def test_every_number_of_json_is_read(cli, name, tmp_path):
    cli("collection", "create", name, "--field", "v:2:l2")
    texts = ["0", "-0", "7", "-12", "0.5", "-0.25", "1e3", "1E+3", "25e-2", "10.50E-1", "1.0"]
    lines = (f'{{"id": {i}, "vectors": {{"v": [ {text} ,{text}]}}, "payload": {{"n":{text}}}}}\n' for i, text in enumerate(texts))
    (tmp_path / "in.jsonl").write_text("".join(lines))
    cli("import", name, "in.jsonl")
    cli("export", name, "out.jsonl")
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [point["payload"]["n"] for point in out] == [json.loads(text) for text in texts]
    assert [point["vectors"]["v"] for point in out] == [[float(text)] * 2 for text in texts]


def test_a_refused_point_is_named_by_its_place_in_the_file(cli, name, tmp_path):
    cli("collection", "create", name, "--field", "v:4:l2")
    lines = [json.dumps({"id": 100 + i, "vectors": {"v": [i, 0, 0, 0]}}) for i in range(3_000)]
    lines[2_499] = json.dumps({"id": 2_599, "vectors": {"v": [1, 2]}})
    lines.insert(10, "")
    (tmp_path / "short.jsonl").write_text("\n".join(lines) + "\n")
    assert "short.jsonl, line 2501: point 2599: " in cli("import", name, "short.jsonl", code=1)
    (tmp_path / "field.jsonl").write_text(lines[0] + "\n" + json.dumps({"id": 1, "vectors": {"w": [1, 2, 3, 4]}}) + "\n")
    assert 'line 2: there is no field "w"; the collection has "v"' in cli("import", name, "field.jsonl", code=1)
    identity = "c0ffee00-0000-4000-8000-000000000001"
    (tmp_path / "big.jsonl").write_text(lines[0] + "\n" + json.dumps({"id": identity, "payload": {"big": "x" * (1 << 20)}}) + "\n")
    assert f"line 2: point {identity} has " in cli("import", name, "big.jsonl", code=1)
    rows = np.zeros((5_000, 4), "f4")
    rows[4_321, 2] = np.nan
    np.save(tmp_path / "nan.npy", rows)
    assert "nan.npy, row 4321: point 14321: " in cli("import", name, "nan.npy", "--first-id", 10_000, code=1)
    (tmp_path / "payloads.jsonl").write_text("{}\n" * 5_000)
    assert "nan.npy, row 4321: point 4321: " in cli("import", name, "nan.npy", "--payload-jsonl", "payloads.jsonl", code=1)


@pytest.mark.timeout(300)
def test_what_was_written_is_seen_at_once(tmp_path):
    """Backups have it on their disks before it is acknowledged, and in their indexes a little later."""
    sample = ROOT / "Sources" / "needletail" / "Resources" / "sample" / "vectors.f16bin"
    with Cluster(workers=2) as cluster:
        def run(*words):
            command = [BINARIES / "needletail", *map(str, words), "--endpoint", cluster.coordinator.address]
            done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
            assert done.returncode == 0, done
            return done.stdout

        for turn in range(3):
            name = f"turn-{turn}"
            run("collection", "create", name, "--field", "text:384:cosine", "--shards", 2, "--replicas", 2)
            run("import", name, sample)
            looks = [("export", name, "out.jsonl"), ("search", name, "--id", 4999, "--exact", "--json"), ("get", name, 4999), ("collection", "show", name)]
            # Each has to be the first once.
            for look in looks[turn:] + looks[:turn]:
                shown = run(*look)
                if look[0] == "export":
                    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 5000
                else:
                    assert ("5000" if look[0] == "collection" else "4999") in shown, shown


def test_collections_are_listed_while_a_worker_is_down():
    """Own processes, because one of them dies."""
    with Cluster(workers=2) as own:
        def run(*arguments, code=0):
            result = subprocess.run([BINARIES / "needletail", *arguments, "--endpoint", own.coordinator.address], capture_output=True, text=True, timeout=60)
            assert result.returncode == code, result
            return result.stdout if code == 0 else result.stderr

        for collection, shards in (("one", 1), ("two", 1), ("both", 2)):
            run("collection", "create", collection, "--field", "v:2:l2", "--shards", str(shards))
            points = "".join(json.dumps({"id": i, "vectors": {"v": [i, 0]}}) + "\n" for i in range(100))
            (own.folder / "points.jsonl").write_text(points)
            run("import", collection, own.folder / "points.jsonl")
        whole = {line.split()[0]: line.split()[2] for line in run("collection", "list").splitlines()[1:]}
        assert whole == {"one": "100", "two": "100", "both": "100"}
        wait_for(lambda: sum(node.points for node in own.cluster.Nodes(cluster_pb2.ListNodesRequest()).nodes) == 300, "the workers reporting all points")
        own.workers[0].kill()
        lines = {line.split()[0]: line for line in run("collection", "list").splitlines()[1:]}
        assert len(lines) == 3
        # Each of the single shards is on another worker.
        assert sorted("unknown (0 of 1 shards answer)" in lines[name] for name in ("one", "two")) == [False, True]
        assert sum(" 100 " in lines[name] for name in ("one", "two")) == 1
        count = int(lines["both"].split()[2])
        assert 0 < count < 100 and f"{count} in 1 of 2 shards" in lines["both"]
        assert f"{count} in 1 of 2 shards" in run("collection", "show", "both")
        assert json.loads(run("collection", "show", "both", "--json"))["points"] is None
        assert len(run("collection", "list", "--json")) > 2
        # The coordinator did answer: nothing is wrong with the endpoint.
        error = run("search", "both", "--vector", "[1, 2]", code=1)
        assert "1 of 2 shards did not answer: shard worker " in error and "--endpoint" not in error, error


def test_tuning_finds_a_spec_for_the_sample(tmp_path):
    sample = ROOT / "Sources" / "needletail" / "Resources" / "sample"

    def tune(*arguments, code=0):
        command = [BINARIES / "needletail", "tune", *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
        assert result.returncode == code, f"{arguments}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout if code == 0 else result.stderr

    specs = [argument for spec in ("none", "lvq8", "lvq4", "rabitq1") for argument in ("--spec", spec)]
    base = [sample / "vectors.f16bin", "--queries", sample / "queries.f16bin", "--metric", "cosine", *specs]
    entries = [json.loads(line) for line in tune(*base, "--json", "--recall", "0.95").splitlines()]
    assert {entry["spec"] for entry in entries} == {"hnsw,none", "hnsw,lvq8", "hnsw,lvq4", "hnsw,rabitq1"}
    best, = [entry for entry in entries if entry["suggested"]]
    assert best["pareto"] and best["recall"] >= 0.95 and best["reaches_recall"] and best["qps"] > 0
    assert best["qps"] == max(entry["qps"] for entry in entries if entry["recall"] >= 0.95)
    for entry in entries:
        beaten = any(other["memory_bytes_per_vector"] <= entry["memory_bytes_per_vector"] and other["qps"] > entry["qps"]
                     and other["recall"] >= entry["recall"] for other in entries)
        assert not (beaten and entry["pareto"])
    # 384 halves, an inverse norm, rounded up to cache lines; 128 bytes of links, 12 of nodes and upper levels.
    assert {entry["memory_bytes_per_vector"] for entry in entries if entry["spec"] == "hnsw,none"} == {832 + 140}

    table = tune(*base, "--memory-bytes-per-vector", "360")
    assert "*  hnsw,lvq4,rescore(file)" in table and "348 B" in table and "Not measured" in table and "hnsw,none" in table
    # Without queries some of the vectors are asked for.
    assert "hnsw,lvq8" in tune(sample / "vectors.f16bin", "--metric", "cosine", "--sample", 1_000, "--spec", "lvq8")
    assert "no spec fits" in tune(*base, "--memory-bytes-per-vector", "10", code=1)
    assert "l2, cosine or dot" in tune(base[0], "--metric", "hamming", code=64)
    assert "is no stage" in tune(base[0], "--metric", "l2", "--spec", "lvq9", code=1)
    write_matrix(tmp_path / "other.fbin", np.zeros((3, 5), "f4"))
    assert "must agree" in tune(base[0], "--metric", "l2", "--queries", tmp_path / "other.fbin", code=1)
    write_matrix(tmp_path / "nan.fbin", np.full((30, 5), np.nan, "f4"))
    assert "must be finite" in tune(tmp_path / "nan.fbin", "--metric", "l2", code=1)
    write_matrix(tmp_path / "bad.fvecs", np.ones((30, 5), "f4"))
    with open(tmp_path / "bad.fvecs", "r+b") as file:
        file.seek(24 * 7)
        file.write(b"\x06")
    assert "row 7 is not of 5 dimensions" in tune(tmp_path / "bad.fvecs", "--metric", "l2", code=1)
    (tmp_path / "short.fvecs").write_bytes(b"\x05\x00")
    assert "0 dimensions" in tune(tmp_path / "short.fvecs", "--metric", "l2", code=1)
    write_matrix(tmp_path / "few.fbin", np.ones((2, 5), "f4"))
    assert "at least one of each" in tune(tmp_path / "few.fbin", "--metric", "l2", code=1)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_a_demo_that_is_stopped_leaves_no_process(tmp_path, signal_number):
    demo = subprocess.Popen([BINARIES / "needletail", "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                            env={**os.environ, "TMPDIR": str(tmp_path)})

    def servers():
        found = []
        for folder in pathlib.Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    words = (folder / "cmdline").read_bytes()
                except OSError:
                    continue
                if str(tmp_path).encode() in words:
                    found.append(words)
        return found

    wait_for(lambda: len(servers()) >= 2 or demo.poll() is not None, "the first processes")
    demo.send_signal(signal_number)
    assert demo.wait(timeout=30) != 0
    wait_for(lambda: not servers(), "all processes ending", 30)
    # Whoever is killed cannot clean up.
    assert signal_number == signal.SIGKILL or not list(tmp_path.iterdir())


def test_output_that_cannot_be_written_is_an_error(cluster, cli, name, tmp_path):
    cli("collection", "create", name, "--field", "v:4:l2")
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": i, "vectors": {"v": [i, 0, 0, 1]}}) + "\n" for i in range(2_000)))
    cli("import", name, "in.jsonl")
    assert "No space left" in cli("export", name, "/dev/full", code=1)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    for arguments in (["export", name, "-"], ["collection", "list"], ["status"], ["search", name, "--id", "1"]):
        with open("/dev/full", "w") as full:
            run = subprocess.run([BINARIES / "needletail", *arguments, "--endpoint", cluster.coordinator.address], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        assert run.returncode == 1 and "No space left" in run.stderr, (arguments, run)


def test_flags_out_of_range_are_refused(tmp_path):
    for program, *flags in (["needletail-shard", "--search-threads", "100000"], ["needletail-shard", "--log-level", "loud"],
                            ["needletail-shard", "--log-segment", "0"], ["needletail-shard", "--advertise", "foo"], ["needletail-shard", "--copy-rate", "5"],
                            ["needletail-coordinator", "--merge-below", "60", "--split-above", "100"],
                            ["needletail-coordinator", "--leader-lease", "1"], ["needletail-coordinator", "--drain-seconds=-1"],
                            ["needletail-coordinator", "--etcd-password-file", "/nonexistent"]):
        run = subprocess.run([BINARIES / program, *flags, "--data", tmp_path / "data", "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=60)
        assert run.returncode != 0 and (flags[0].split("=")[0] in run.stderr or flags[-1] in run.stderr), (flags, run)


def test_more_replicas_than_workers_are_refused(cli, name):
    cli("collection", "create", name, "--field", "v:4:l2")
    assert "shard workers" in cli("collection", "update", name, "--replicas", 7, code=1)
    assert "replicas    1" in cli("collection", "show", name)


def test_a_command_that_there_is_not_is_named_with_the_one_that_was_meant():
    for name, words in (("serach", "did you mean search?"), ("purple", "there is no command purple")):
        done = subprocess.run([BINARIES / "needletail", name, "books", "--id", "1"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 64 and words in done.stderr, done.stderr
    assert subprocess.run([BINARIES / "needletail", "help", "search"], capture_output=True, timeout=30).returncode == 0
    done = subprocess.run([BINARIES / "needletail", "certificates", "init", "--days", "0"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 64 and "--days" in done.stderr and "certificates init" in done.stderr
