"""`Deploy/local`, by the commands of the guide: real etcd, coordinators, workers and Prometheus, and nothing left of them."""

import json
import os
import pathlib
import re
import signal
import subprocess
import urllib.request

from guides import commands, run
from harness import BINARIES, ROOT, wait_for

PROGRAM = ROOT / "Deploy" / "local" / "cluster.py"


def table(environment):
    """The lines of `status`, by process, and its exit code."""
    shown = subprocess.run([PROGRAM, "status"], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)
    rows = [line.split(maxsplit=5) for line in shown.stdout.splitlines()[1:]]
    return {row[0]: {"state": row[1], "pid": row[2], "address": row[3]} for row in rows}, shown.returncode


def endpoint(environment):
    return table(environment)[0]["coordinator-1"]["address"]


def is_everywhere(environment):
    """Whether every replica has applied all of the sample: a search asks any of them."""
    shards = json.loads(run("needletail cluster shards --json", environment))
    points = [{one["points"] for one in shard["replicas"]} for shard in shards]
    return all(len(some) == 1 for some in points) and sum(map(sum, points)) == 5000


def nearest(environment):
    shown = run("needletail search notes --id 42 --limit 3 --json", environment)
    return [json.loads(line)["id"] for line in shown.splitlines()]


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_guide_to_one_machine(place):
    first, fault, end = commands("deployment.md", "On one machine")
    up, *rest = first.splitlines()
    run(up, place)
    found, code = table(place)
    assert code == 0 and len(found) == 9 and {one["state"] for one in found.values()} == {"ready"}, found
    place["NEEDLETAIL_ENDPOINT"] = found["coordinator-1"]["address"]
    shown = run("\n".join(rest), place)
    assert "3 of 3 nodes alive, 3 of 3 shards ready" in shown and "leader" in shown, shown
    wait_for(lambda: is_everywhere(place), "all replicas to have the points")
    answer = nearest(place)

    lines = fault.splitlines()
    run(lines[0], place)
    states = {name: one["state"] for name, one in table(place)[0].items()}
    assert states["shard-2"] == states["etcd-1"] == "stopped", states
    run("\n".join(lines[1:]), place)
    assert nearest(place) == answer

    def scraped():
        with urllib.request.urlopen(f"http://{found['prometheus']['address']}/api/v1/query?query=up==1", timeout=10) as asked:
            return len(json.load(asked)["data"]["result"]) == 5

    wait_for(scraped, "Prometheus to ask all five", 60)

    pids = [one["pid"] for one in table(place)[0].values()]
    down, delete = end.splitlines()
    run(down, place)
    assert not any(is_running(pid) for pid in pids)
    assert {one["state"] for one in table(place)[0].values()} == {"stopped"}
    run(up, place)
    place["NEEDLETAIL_ENDPOINT"] = endpoint(place)
    run("Deploy/wait-in-sync.sh 60", place)
    assert nearest(place) == answer
    pids = [one["pid"] for one in table(place)[0].values()]
    run(delete, place)
    assert not any(is_running(pid) for pid in pids) and not pathlib.Path(place["NEEDLETAIL_LOCAL"]).exists()


def test_the_guide_to_encryption(place):
    """Its second block, in Python, is run by the tests of the package."""
    block, _ = commands("deployment.md", "Encrypted")
    first, rest = block.split("\n", 1)
    run(first, place)
    shown = run(rest, place)
    assert re.search(r'\{"count":"?5000"?', shown.splitlines()[-1]), shown
    found, code = table(place)
    assert code == 0 and len(found) == 9 and {one["state"] for one in found.values()} == {"ready"}, found

    def scraped():
        with urllib.request.urlopen(f"http://{found['prometheus']['address']}/api/v1/query?query=up==1", timeout=10) as asked:
            return len(json.load(asked)["data"]["result"]) == 5

    wait_for(scraped, "Prometheus to ask all five by HTTPS", 60)
    # Nothing but Prometheus answers without TLS, and etcd nobody without a certificate.
    folder = pathlib.Path(place["NEEDLETAIL_LOCAL"])
    for name, ports in json.loads((folder / "cluster.json").read_text())["ports"].items():
        for port in ports if name != "prometheus" else []:
            plain = subprocess.run(["curl", "--silent", "--http0.9", "--max-time", "10", f"http://127.0.0.1:{port}/"], capture_output=True, text=True)
            assert plain.returncode != 0 or "HTTPS" in plain.stdout or "https://" in plain.stdout, (name, plain)
    stranger = subprocess.run(["curl", "--silent", "--cacert", folder / "tls" / "authority.pem", f"https://{found['etcd-1']['address']}/health"], capture_output=True)
    assert stranger.returncode != 0, stranger
    # It goes on encrypted, without being told again; and one that began without TLS stays so.
    run(f"{PROGRAM} down", place)
    run(f"{PROGRAM} up", place)
    assert table(place)[1] == 0 and endpoint(place) == found["coordinator-1"]["address"]
    assert "https://" in run(f"{PROGRAM} environment", place)


def test_a_cluster_stays_as_it_began(place):
    run(f"{PROGRAM} up --without-prometheus", place)
    assert "https://" not in run(f"{PROGRAM} environment", place)
    refused = subprocess.run([PROGRAM, "up", "--tls"], env={**os.environ, **place}, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "began without TLS" in refused.stderr, refused


def test_the_guide_to_upgrades(place):
    run(f"{PROGRAM} up --without-prometheus", place)
    before, _ = table(place)
    # Of a coordinator that is restarted, too, the workers and the other coordinator know; the guide needs any one that lives.
    place["NEEDLETAIL_ENDPOINT"] = before["coordinator-2"]["address"]
    run("needletail collection create notes --field text:384:cosine --shards 3 --replicas 2", place)
    run("needletail import notes Sources/needletail/Resources/sample/vectors.f16bin", place)
    block, = commands("upgrade.md", "Compose and processes of one machine")
    run(block, place)
    run("Deploy/wait-in-sync.sh 60", place)
    after, code = table(place)
    assert code == 0 and all((after[name]["pid"] == before[name]["pid"]) == (name.startswith("etcd") or name == "prometheus") for name in before)
    assert "5000 points" in run("needletail status", place)


def test_what_dies_is_told_and_started_again(place):
    run(f"{PROGRAM} up --without-prometheus", place)
    found, _ = table(place)
    os.kill(int(found["shard-1"]["pid"]), signal.SIGKILL)
    wait_for(lambda: table(place)[0]["shard-1"]["state"] == "dead", "the death to be told")
    assert table(place)[1] == 1
    run(f"{PROGRAM} up shard-1", place)
    again, code = table(place)
    assert code == 0 and again["shard-1"]["pid"] != found["shard-1"]["pid"]
    assert all(again[name]["pid"] == found[name]["pid"] for name in found if name != "shard-1"), "others were started anew"

    # A number that now is another process's is left alone: this test's own, say.
    file = pathlib.Path(place["NEEDLETAIL_LOCAL"]) / "cluster.json"
    known = json.loads(file.read_text())
    known["processes"]["prometheus"] = {"pid": os.getpid(), "birth": 1}
    file.write_text(json.dumps(known))
    assert table(place)[0]["prometheus"]["state"] == "dead"
    run(f"{PROGRAM} down", place)


def test_what_fails_says_why_and_leaves_nothing(place, tmp_path):
    def attempt(*arguments):
        return subprocess.run([PROGRAM, *arguments], env={**os.environ, **place}, capture_output=True, text=True, timeout=60)

    missing = attempt("up", "--bin", str(tmp_path))
    assert missing.returncode == 1 and "make build" in missing.stderr, missing.stderr
    assert "no such process: shard-9" in attempt("up", "shard-9").stderr
    for name in ("needletail-coordinator", "needletail-shard"):
        script = tmp_path / name
        script.write_text("#!/bin/sh\necho 'out of luck' >&2\nexit 3\n" if name == "needletail-shard" else f"#!/bin/sh\nexec {BINARIES / name} \"$@\"\n")
        script.chmod(0o755)
    broken = attempt("up", "--bin", str(tmp_path), "--without-prometheus")
    assert broken.returncode == 1 and "out of luck" in broken.stderr, broken.stderr
    assert {one["state"] for one in table(place)[0].values()} <= {"stopped"}


def test_waiting_for_replicas_tells_what_lacks(place):
    wait = ROOT / "Deploy" / "wait-in-sync.sh"
    everything = {**os.environ, **place, "PATH": f"{BINARIES}:{os.environ['PATH']}"}
    alone = subprocess.run([wait, "0"], env={**everything, "NEEDLETAIL_ENDPOINT": "127.0.0.1:1"}, capture_output=True, text=True, timeout=60)
    assert alone.returncode == 2, alone
    run(f"{PROGRAM} up --without-prometheus", place)
    place["NEEDLETAIL_ENDPOINT"] = endpoint(place)
    run(f"{wait} 60", place)
    run("needletail collection create books --field v:8:l2 --shards 2 --replicas 3", place)
    # Other things than replicas have states, too.
    run("needletail collection create notes --field text:384:cosine --index lvq8 --replicas 2", place)
    run("needletail import notes Sources/needletail/Resources/sample/vectors.f16bin", place)
    run(f"{wait} 60", place)
    run(f"{PROGRAM} down shard-3", place)
    missing = subprocess.run([wait, "5"], env={**everything, **place}, capture_output=True, text=True, timeout=60)
    assert missing.returncode == 1 and re.search(r'"in_sync":false|"state":"', missing.stderr), missing
    run(f"{PROGRAM} up", place)
    run(f"{wait} 60", place)

    # A worker that went away for good, after a drain, is not waited for.
    run("needletail collection update books --replicas 2", place)
    run(f"needletail cluster drain {table(place)[0]['shard-3']['address']} --wait 60", place)
    run(f"{PROGRAM} down shard-3", place)
    run(f"{wait} 60", place)
    assert "2 of 3 nodes alive" in run("needletail status", place)
