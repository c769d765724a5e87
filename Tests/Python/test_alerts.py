"""A real Prometheus reads the rules in Deploy/prometheus and fires each of them when its cause is there, and none before."""

import json
import pathlib
import re
import subprocess
import urllib.parse
import urllib.request

import grpc
import numpy as np
import pytest
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

from certificates import DAY, Security
from harness import Cluster, Process, free_ports, wait_for

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "Deploy" / "prometheus"
RULES = (DEPLOY / "alerts.yml").read_text()
ALERTS = re.findall(r"alert: (\w+)", RULES)
DIMENSIONS = 64


class Prometheus:
    """Asks the processes every second, and fires as soon as an expression holds twice."""

    def __init__(self, folder, targets, authority=None):
        """With an authority it asks by HTTPS."""
        self.folder, self.port = folder, free_ports(1)[0]
        folder.mkdir()
        (folder / "alerts.yml").write_text(re.sub(r"for: \w+", "for: 1s", RULES))
        jobs = [{"job_name": "needletail", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in targets]}]}]
        if authority:
            jobs[0] |= {"scheme": "https", "tls_config": {"ca_file": str(authority)}}
        (folder / "prometheus.yml").write_text(json.dumps(
            {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["alerts.yml"], "scrape_configs": jobs}))
        self.log = open(folder / "log", "ab")

    def __enter__(self):
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
             f"--web.listen-address=127.0.0.1:{self.port}"], stdout=self.log, stderr=self.log)
        wait_for(lambda: self.up() > 0, "Prometheus to have asked the processes", 60, self.output)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def output(self):
        return (self.folder / "log").read_text()[-3000:]

    def ask(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return {}

    def up(self):
        return len(self.ask("query?query=up==1").get("result", []))

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.ask("alerts").get("alerts", []) if alert["state"] == "firing"}

    def evaluations(self):
        groups = self.ask("rules").get("groups", [])
        return groups[0]["lastEvaluation"] if groups else None

    def wait(self, *names):
        wait_for(lambda: set(names) <= self.firing(), f"{names} to fire", 90, lambda: f"{self.firing()} {self.ask('rules')} {self.output()}")


def test_the_rules_are_sound():
    checked = subprocess.run(["promtool", "check", "rules", str(DEPLOY / "alerts.yml")], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = subprocess.run(["promtool", "check", "config", str(DEPLOY / "prometheus.yml")], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def certificates(folder):
    """A coordinator whose certificate ends soon, asked by HTTPS, and then one whose new file is rubbish."""
    security = Security(folder / "tls")
    coordinator = Process("needletail-coordinator", folder / "encrypted", ["--admin", "0", *security.flags("coordinator")]).start()
    try:
        with Prometheus(folder / "by-https", [coordinator.admin_port], security.nodes.file) as prometheus:
            first = prometheus.evaluations()
            wait_for(lambda: prometheus.evaluations() != first, "the rules to be evaluated again", 60, prometheus.output)
            assert not {"NeedletailCertificateExpires", "NeedletailCertificatesBroken"} & prometheus.firing()
            security.nodes.node("coordinator", end=13 * DAY)
            prometheus.wait("NeedletailCertificateExpires")
            security.pairs["coordinator"].file.write_text("rubbish")
            prometheus.wait("NeedletailCertificatesBroken")
    finally:
        coordinator.stop()


@pytest.mark.timeout(600)
def test_each_alert_fires_when_its_cause_is_there(tmp_path):
    random = np.random.default_rng(1)
    arguments = ["--admin", "0", "--search-threads", "1", "--search-queue", "2"]
    with Cluster(workers=2, worker_arguments=arguments) as cluster:
        for name, replicas in [("alone", 1), ("twice", 2)]:
            field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
            cluster.collections.Create(c.CreateCollectionRequest(name=name, fields=[field], shard_count=2, replication_factor=replicas), timeout=30)
            rows = random.standard_normal((10_000, DIMENSIONS)).astype("f4")
            for start in range(0, len(rows), 2000):
                packed = p.PackedPoints(ids=range(start, start + 2000), vectors=rows[start:start + 2000].tobytes())
                cluster.points.Upsert(p.UpsertRequest(collection=name, packed=packed), timeout=30)

        def query(name, **options):
            vector = common.Vector(data=random.standard_normal(DIMENSIONS).astype("f4").tobytes())
            return p.SearchRequest(collection=name, query=p.Query(vector=vector, limit=10, **options))

        processes = [cluster.coordinator, *cluster.workers]
        with Prometheus(tmp_path / "prometheus", [process.admin_port for process in processes]) as prometheus:
            wait_for(lambda: prometheus.up() == 3, "all processes to be asked", 60, prometheus.output)
            first = prometheus.evaluations()
            wait_for(lambda: prometheus.evaluations() != first, "the rules to be evaluated again", 60, prometheus.output)
            assert prometheus.firing() == set()

            board = json.loads((DEPLOY.parent / "grafana" / "needletail.json").read_text())
            for expression in [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]:
                asked = expression.replace("$__rate_interval", "10s").replace("$collection", ".*")
                assert "result" in prometheus.ask("query?query=" + urllib.parse.quote(asked)), expression

            def until(*names):
                """Goes on with what provokes the alerts until they fire."""
                def step():
                    for call in [cluster.points.Search.future(query("alone", ef=10), timeout=5) for _ in range(64)]:
                        call.code()
                    return set(names) <= prometheus.firing()
                return step

            # One thread, room for two in the queue, and 64 at once; a graph of Gaussian noise, walked with as small an ef as there is.
            wait_for(until("NeedletailOverload", "NeedletailRecallLow"), "overload and recall to be told", 120, lambda: f"{prometheus.ask('alerts')}")

            # Where the checkpoint's folder was there is a file now.
            folder = next((cluster.workers[0].folder / "data" / "replicas").iterdir()) / "checkpoint"

            def replaced():
                try:
                    folder.rename(folder.with_name(f"checkpoint-{random.integers(1 << 30)}"))
                    folder.write_text("")
                    return True
                except OSError:
                    return False  # One that was being written made it anew.

            wait_for(replaced, "a file in the folder's place", 30)

            def write():
                rows = random.standard_normal((2000, DIMENSIONS)).astype("f4")
                for name in ["alone", "twice"]:
                    try:
                        cluster.points.Upsert(p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=range(2000), vectors=rows.tobytes())), timeout=10)
                    except grpc.RpcError:
                        pass  # The replica may be read-only by now.
                return {"NeedletailCheckpointsFail", "NeedletailReplicaReadOnly"} <= prometheus.firing()

            wait_for(write, "a checkpoint to fail", 120, lambda: f"{prometheus.ask('alerts')}")

            cluster.workers[1].kill()
            prometheus.wait("NeedletailWorkerSilent", "NeedletailShardsMissing", "NeedletailReplicasMissing")
            wait_for(until("NeedletailErrors"), "errors to be told", 120, lambda: f"{prometheus.ask('alerts')}")

            cluster.coordinator.kill()
            prometheus.wait("NeedletailNoLeader")
    certificates(tmp_path)
    assert set(ALERTS) == {
        "NeedletailOverload", "NeedletailRecallLow", "NeedletailCheckpointsFail", "NeedletailReplicaReadOnly", "NeedletailWorkerSilent",
        "NeedletailShardsMissing", "NeedletailReplicasMissing", "NeedletailErrors", "NeedletailNoLeader",
        "NeedletailCertificateExpires", "NeedletailCertificatesBroken"}, "an alert that this test does not provoke"
