"""The guides for newcomers and for those in trouble: their commands are run, what they say is to be seen is looked for, and what they quote is in the sources."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time

import pytest
import yaml
from guides import commands, fences, follow, missing, run, steps
from harness import BINARIES, ROOT, Etcd, Process, wait_for
from messages import printed

DOCS = ROOT / "Docs"


def enter(place):
    """What the second line of most guides does: the shell knows the cluster."""
    lines = run("Deploy/local/cluster.py environment", place).splitlines()
    place |= dict(line.removeprefix("export ").split("=", 1) for line in lines)


# Every command

def test_every_command_of_the_documents_is_run_by_a_test():
    """Tests name the sections whose bash blocks they run, all of a section's. What cannot run here is in sh blocks, which test_deploy looks at."""
    tests = "\n".join(file.read_text() for folder in ("Tests/Python", "Deploy/python/tests") for file in (ROOT / folder).glob("test_*.py"))
    claimed = set(re.findall(r'\b(?:commands|steps|follow)\("([^"]+)", "([^"]+)"', tests))
    files = {file.name: file for file in [ROOT / "README.md", *DOCS.glob("*.md")]}
    there = {(name, heading) for name, file in files.items() for heading, language, _ in fences(file.read_text()) if language == "bash"}
    assert there <= claimed, f"no test runs {sorted(there - claimed)}"
    assert claimed <= there, f"tests run what is not there: {sorted(claimed - there)}"
    # A test that leaves some of a section's blocks aside would hide a new one.
    assert not re.findall(r"[*]_ = commands|commands\([^)]*\)\[", tests)


def test_blocks_are_read_as_they_are_written():
    text = "# One\n```bash\n# no heading\na\n```\n```text\nseen\n```\n## Two\n```sh\nb\n```\n"
    assert list(fences(text)) == [("One", "bash", "# no heading\na\n"), ("One", "text", "seen\n"), ("Two", "sh", "b\n")]
    shown = "NAME   STATE\n4f2a   alive  1.5 s\n"
    assert missing(["NAME  STATE", "…  alive …"], shown) is None and missing(["…  dead …"], shown) == "…  dead …"


def test_links_lead_somewhere():
    """Between the documents, to sections too."""
    def anchors(file):
        titles = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", file.read_text(), flags=re.M | re.S), re.M)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    for file in [ROOT / "README.md", *DOCS.glob("*.md")]:
        text = re.sub(r"^```.*?^```", "", file.read_text(), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith(("http", "mailto")):
                continue
            path, _, anchor = target.partition("#")
            other = (file.parent / path).resolve() if path else file
            assert other.exists(), f"{file.name}: {target}"
            assert not anchor or anchor in anchors(other), f"{file.name}: {target}"


# The tutorial

@pytest.mark.timeout(300)
def test_the_tutorial(place):
    """From Python is run by the tests of the package."""
    follow("tutorial.md", "Start a cluster", place)
    enter(place)
    (block, shown), = steps("tutorial.md", "Make a collection and fill it")
    first = run(block, place)
    # A replica that answers may be a moment behind.
    wait_for(lambda: missing(shown, first + run("needletail collection show notes", place)) is None, "all points to be counted")
    follow("tutorial.md", "Search", place)
    follow("tutorial.md", "Over HTTP", place)
    follow("tutorial.md", "Look at it", place)
    (hundred, shown), (target, found) = steps("tutorial.md", "Recall of real queries")
    run(hundred, place)
    wait_for(lambda: missing(shown, run("needletail status", place)) is None, "recall to be sampled")
    assert missing(found, run(target, place)) is None
    (kill, found), (write, noticed), (again, well) = steps("tutorial.md", "Kill a worker")
    assert missing(found, run(kill, place)) is None
    wait_for(lambda: "2 of 3 nodes alive" in run("needletail status", place), "the death to be noticed")
    assert missing(noticed, run(write, place)) is None
    assert missing(well, run(again, place)) is None
    follow("tutorial.md", "Clean up", place)


# Troubleshooting

def quoted():
    return [line for _, language, text in fences((DOCS / "troubleshooting.md").read_text()) if language == "message" for line in text.splitlines()]


def test_quoted_messages_are_those_that_the_programs_print():
    assert len(quoted()) > 80
    lost = [line for line in quoted() if line not in printed()]
    assert not lost, lost
    assert "this is said by nobody" not in printed()


def test_symptoms_are_many_and_every_alert_is_one():
    text = (DOCS / "troubleshooting.md").read_text()
    symptoms, alerts = text.split("\n## Alerts\n")
    assert len(re.findall(r"^### ", symptoms, re.M)) >= 40
    rules = [rule for group in yaml.safe_load((ROOT / "Deploy" / "prometheus" / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    assert {rule["alert"] for rule in rules} == set(re.findall(r"^### (\w+)$", alerts, re.M))
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"Docs/troubleshooting.md#{rule['alert'].lower()}"


def test_where_to_look_first(place):
    run("Deploy/local/cluster.py up --without-prometheus", place)
    enter(place)
    block, = commands("troubleshooting.md", "Where to look first")
    shown = run(block, place)
    assert '"ready": true' in shown and "nothing to move" in shown and "no moves, splits or merges" in shown
    subprocess.run(["kill", "-9", run("Deploy/local/cluster.py status | awk '$1 == \"shard-1\" {print $3}'", place).strip()], check=True)
    wait_for(lambda: " dead " in run(block, place), "the death to be told")


# Backups and disasters

@pytest.fixture
def filled(place):
    """A cluster with the sample in it, each shard on two workers."""
    run("Deploy/local/cluster.py up --without-prometheus", place)
    enter(place)
    run("needletail collection create notes --field text:384:cosine --shards 3 --replicas 2", place)
    run("needletail import notes Sources/needletail/Resources/sample/vectors.f16bin", place)
    return place


@pytest.mark.timeout(300)
def test_the_guide_to_backups(filled, tmp_path):
    filled["BACKUPS"] = f"file://{tmp_path}/backups"
    follow("backup.md", "Making backups", filled)
    follow("backup.md", "Restoring", filled)
    run("needletail collection delete notes-again && needletail collection delete notes-wide", filled)
    # Of all that there are, the last seven stay.
    block, = commands("backup.md", "On a schedule")
    for number in range(8):
        run(block, filled)
        # Names that nobody chose are of the second.
        second = int(time.time())
        wait_for(lambda: int(time.time()) > second, "another second", 5)
        kept = run('needletail backup list "$BACKUPS"', filled)
        assert kept.count(" notes ") == min(number + 2, 7) and ("tuesday" in kept) == (number < 6), kept
    for name in re.findall(r"^(notes-\S+)", kept, re.M):
        run(f'needletail backup verify "$BACKUPS" {name}', filled)


@pytest.mark.timeout(300)
def test_the_guide_to_a_lost_worker(filled):
    pid = run("Deploy/local/cluster.py status | awk '$1 == \"shard-2\" {print $3}'", filled).strip()
    subprocess.run(["kill", "-9", pid], check=True)
    wait_for(lambda: " dead " in run("needletail cluster nodes", filled), "the death to be noticed")
    block, = commands("backup.md", "A worker is lost")
    shown = run(block, filled)
    assert "0 replicas are left" in shown and "is forgotten" in shown
    # Long before --lost-after the others have all replicas.
    run("Deploy/wait-in-sync.sh 100", filled)
    assert "dead" not in run("needletail cluster nodes", filled)
    # A worker that is gone for good is no reason for an alert.
    assert 'needletail_nodes{state="silent"} 0' in run('curl --silent "$NEEDLETAIL_CONSOLE/metrics"', filled)


@pytest.mark.timeout(300)
def test_etcd_comes_back_from_a_snapshot(tmp_path):
    """By the commands of the guide, with this machine's addresses and without TLS."""
    block, = [text for heading, language, text in fences((DOCS / "backup.md").read_text()) if (heading, language) == ("etcd has lost its quorum", "sh")]
    save, restore = map(shlex.split, block.splitlines())
    etcd = Etcd(tmp_path / "etcd").start()
    client, peer = f"http://127.0.0.1:{etcd.port}", f"http://127.0.0.1:{etcd.peer_port}"
    for flag in ("--cacert", "--cert", "--key"):
        del save[save.index(flag):save.index(flag) + 2]
    for words, values in ((save, {"--endpoints": client}), (restore, {"--name": "m", "--data-dir": f"{etcd.folder}/data", "--initial-advertise-peer-urls": peer,
                                                                     "--initial-cluster": f"m={peer}"})):
        for flag, value in values.items():
            words[words.index(flag) + 1] = value

    def etcdctl(words):
        subprocess.run(words, cwd=tmp_path, env={**os.environ, "ETCDCTL_API": "3"}, check=True, capture_output=True, timeout=60)

    def process(program, name, *flags):
        return Process(program, tmp_path / name, [*flags, "--admin", "0"])

    doors = [process("needletail-coordinator", f"c{number}", "--metadata", f"etcd://127.0.0.1:{etcd.port}/prod").start() for number in (1, 2)]
    workers = [process("needletail-shard", f"s{number}", "--coordinator", ",".join(door.address for door in doors)).start() for number in (1, 2)]
    place = {"NEEDLETAIL_ENDPOINT": doors[0].address}

    def are_there():
        return "2 of 2 nodes alive, 2 of 2 shards ready" in run("needletail status", place)

    try:
        wait_for(lambda: "2 of 2 nodes alive" in run("needletail status", place), "the workers")
        run("needletail collection create notes --field text:384:cosine --shards 2 --replicas 2", place)
        run("needletail import notes Sources/needletail/Resources/sample/vectors.f16bin", place)
        etcdctl(save)
        # First etcd: a worker that stops hands its primaries over, which the copy would not know.
        etcd.kill()
        for one in [*workers, *doors]:
            one.stop()
        shutil.rmtree(etcd.folder / "data")
        etcdctl(restore)
        etcd.start()
        for one in [*doors, *workers]:
            one.start()
        wait_for(are_there, "all to be back")
        run("needletail import notes Sources/needletail/Resources/sample/vectors.f16bin", place)
        run("Deploy/wait-in-sync.sh 60", place)
        assert re.search(r"^1 +42 ", run("needletail search notes --id 42 --limit 3", place), re.M)
    finally:
        for one in [*workers, *doors]:
            one.kill()
        etcd.kill()


@pytest.mark.timeout(300)
def test_what_an_older_copy_of_the_metadata_is_good_for(tmp_path):
    door = Process("needletail-coordinator", tmp_path / "c", ["--admin", "0"]).start()
    workers = [Process("needletail-shard", tmp_path / f"s{number}", ["--coordinator", door.address]).start() for number in (1, 2, 3)]
    place = {"NEEDLETAIL_ENDPOINT": door.address}

    def shows(*words):
        return all(word in run("needletail status", place) for word in words)

    try:
        wait_for(lambda: shows("3 of 3 nodes alive"), "the workers")
        run("needletail collection create notes --field text:384:cosine --shards 3 --replicas 2", place)
        run("needletail import notes Sources/needletail/Resources/sample/vectors.f16bin", place)
        door.stop()
        shutil.copytree(door.folder / "data", tmp_path / "copy")
        door.start()
        # After the copy: another primary somewhere, and a collection.
        workers[0].kill()
        wait_for(lambda: "failover" in run("needletail cluster events", place), "another primary")
        workers[0].start()
        run("Deploy/wait-in-sync.sh 60", place)
        run("needletail collection create later --field v:4:l2 --shards 1", place)
        later = json.loads(run("needletail collection show later --json", place))["incarnation"]

        for one in [*workers, door]:
            one.stop()
        shutil.move(door.folder / "data", tmp_path / "lost")
        # With an empty folder it is another cluster, and workers end without touching anything.
        door.start()
        data = workers[0].folder / "data"
        stranger = subprocess.run([BINARIES / "needletail-shard", "--data", data, "--listen", "127.0.0.1:0", "--coordinator", door.address],
                                  capture_output=True, text=True, timeout=60)
        assert stranger.returncode == 1 and "belongs to cluster" in stranger.stderr and list((data / "replicas").iterdir()), stranger
        door.stop()
        shutil.rmtree(door.folder / "data")
        shutil.copytree(tmp_path / "copy", door.folder / "data")
        for one in [door, *workers]:
            one.start()
        wait_for(lambda: list(tmp_path.glob(f"s*/data/orphaned/{later}-0")), "the later collection's replica to be set aside")
        wait_for(lambda: shows("3 of 3 nodes alive, 3 of 3 shards ready"), "searches")
        refused = subprocess.run([BINARIES / "needletail", "export", "notes", tmp_path / "notes.jsonl", "--timeout", "5"], env={**os.environ, **place},
                                 capture_output=True, text=True, timeout=120)
        assert refused.returncode == 1 and "--any-replica" in refused.stderr, refused
        assert re.search(r"^1 +42 ", run("needletail search notes --id 42 --limit 3 --any-replica", place), re.M)
        run(f"needletail export notes {tmp_path}/notes.jsonl --any-replica", place)
        assert sum(1 for _ in open(tmp_path / "notes.jsonl")) == 5000
        refused = subprocess.run([BINARIES / "needletail", "backup", "create", "notes", f"file://{tmp_path}/backups"], env={**os.environ, **place},
                                 capture_output=True, text=True, timeout=120)
        assert refused.returncode == 1 and "read the cluster map again" in refused.stderr, refused
    finally:
        for one in [*workers, door]:
            if one.process.poll() is None:
                one.kill()


# Tuning

@pytest.mark.timeout(300)
def test_the_guide_to_tuning(place):
    run("Deploy/local/cluster.py up --without-prometheus", place)
    enter(place)
    place["WORKER"] = run("Deploy/local/cluster.py status | awk '$1 == \"shard-1\" {print $5}'", place).strip().removesuffix("/readyz")
    follow("tuning.md", "Measure first", place)
    (tune, shown), (search, found) = steps("tuning.md", "Codec and recall")
    assert missing(shown, run(tune, place)) is None
    output = run(search, place)
    assert missing(found, output) is None, output
    wait_for(lambda: " trained version 1\n" in run("needletail collection show tuned", place), "the codec")
    follow("tuning.md", "Memory", place)
    follow("tuning.md", "Shards and replicas", place)
    follow("tuning.md", "Loading", place)
    follow("tuning.md", "Threads and queues", place)
    follow("tuning.md", "Reads, consistency, hedging", place)
    follow("tuning.md", "Checkpoints, logs, restarts", place)
