"""Files of TLS with real processes: what is wrong with them is said, and they are replaced while the cluster is at work."""

import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import grpc
import numpy as np
import pytest
from certificates import DAY, Security, context, scraped
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from guides import commands, run
from harness import BINARIES, ROOT, UNLIMITED, Cluster, Process, wait_for
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p
from needletail.v1 import points_pb2_grpc


@pytest.mark.parametrize("program, role", [("needletail-coordinator", "coordinator"), ("needletail-shard", "shard")])
def test_what_is_wrong_with_files_is_said_at_the_start(tmp_path, program, role):
    security = Security(tmp_path / "tls")
    good, other = security.pairs[role], security.nodes.issue("plain")
    nobodys = tmp_path / "secret-place.key"
    cases = [
        (good.file, good.key_file, tmp_path / "missing.pem", "missing.pem"),
        (tmp_path / "missing.pem", good.key_file, security.nodes.file, "missing.pem"),
        (good.file, nobodys, security.nodes.file, "private key of --tls-key"),
        (good.file, good.file, security.nodes.file, "no private key in PEM"),
        (good.key_file, good.key_file, security.nodes.file, "no certificates in PEM"),
        (good.file, other.key_file, security.nodes.file, "does not belong to the certificate"),
        (other.file, other.key_file, security.nodes.file, f"needletail://{role}"),
        (good.file, good.key_file, security.users.file, "none of the authorities"),
    ]
    expired = security.nodes.node(role, "expired", begin=-9 * DAY, end=-DAY)
    cases.append((expired.file, expired.key_file, security.nodes.file, "expired at"))
    for certificate, key, authority, words in cases:
        ended = subprocess.run([BINARIES / program, "--data", tmp_path / "data", "--listen", "127.0.0.1:0", "--tls-certificate", certificate, "--tls-key", key,
                                "--tls-authority", authority], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 1 and words in ended.stderr, (words, ended)
        assert "secret-place" not in ended.stderr
    for flags, words in [(["--tls-certificate", str(good.file)], "go together"), ([*security.flags(role), "--insecure"], "leave --insecure out")]:
        ended = subprocess.run([BINARIES / program, "--data", tmp_path / "data", "--listen", "127.0.0.1:0", *flags], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 1 and words in ended.stderr, ended


def fingerprint(port, security):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context(security).wrap_socket(plain, server_hostname="127.0.0.1") as peer:
        return peer.getpeercert(binary_form=True)


def test_new_certificates_are_taken_without_a_restart(tmp_path):
    security = Security(tmp_path / "tls")
    pair = security.pairs["coordinator"]
    with Cluster(workers=1, security=security) as cluster:
        door = cluster.coordinator

        def reloads(result):
            return scraped(door, security, "needletail_tls_reloads_total", result=result)

        before = fingerprint(door.port, security)
        security.nodes.node("coordinator", end=200 * DAY)
        # By itself, on both ports; the connection of before goes on.
        wait_for(lambda: fingerprint(door.port, security) != before and fingerprint(door.admin_port, security) != before, "the new certificate")
        assert cluster.status().nodes_alive == 1
        assert abs(scraped(door, security, "needletail_tls_expiry_timestamp_seconds", file="certificate") - time.time() - 200 * 86_400) < 3600
        loaded = reloads("loaded")
        assert loaded >= 1 and reloads("failed") == 0

        # Upon a signal, whatever the files' dates.
        door.process.send_signal(signal.SIGHUP)
        wait_for(lambda: reloads("loaded") > loaded, "SIGHUP to be heard")

        # Files that are no good change nothing, and are told of.
        current = fingerprint(door.port, security)
        pair.file.write_text("rubbish")
        wait_for(lambda: reloads("failed") == 1, "the bad file to be counted")
        assert "those of before stay in use" in door.output() and "no certificates in PEM" in door.output()
        assert fingerprint(door.port, security) == current
        pair.write()
        wait_for(lambda: fingerprint(door.port, security) == pair.certificate.public_bytes(Encoding.DER), "the good file")
        expired = security.nodes.node("coordinator", "coordinator", begin=-9 * DAY, end=-DAY)
        wait_for(lambda: reloads("failed") == 2, "the expired certificate to be counted")
        assert "expired at" in door.output() and fingerprint(door.port, security) != expired.certificate.public_bytes(Encoding.DER)

        # One that ends soon is warned of.
        security.nodes.node("coordinator", end=5 * DAY)
        wait_for(lambda: re.search(r"--tls-certificate expires in [45] days", door.output()), "the warning", describe=door.output)


def test_links_are_followed(tmp_path):
    """As Kubernetes does it: the files are links through a folder that is a link, and that one is swapped."""
    security = Security(tmp_path / "first")
    mounted = tmp_path / "mounted"
    mounted.mkdir()

    def point_to(name):
        draft = mounted / "..draft"
        draft.symlink_to(tmp_path / name)
        draft.rename(mounted / "..data")

    point_to("first")
    for name in ("coordinator.pem", "coordinator.key", "authority.pem"):
        (mounted / name).symlink_to(f"..data/{name}")
    process = Process("needletail-coordinator", tmp_path / "c", [
        "--tls-certificate", str(mounted / "coordinator.pem"), "--tls-key", str(mounted / "coordinator.key"), "--tls-authority", str(mounted / "authority.pem")])
    process.start()
    try:
        before = fingerprint(process.port, security)
        second = tmp_path / "second"
        second.mkdir()
        made = security.nodes.node("coordinator")
        for file in (made.file, made.key_file, security.nodes.file):
            (second / file.name).write_bytes(file.read_bytes())
        point_to("second")
        wait_for(lambda: fingerprint(process.port, security) != before, "the new certificate", describe=process.output)
    finally:
        process.stop()


def test_the_guide_to_certificates(tmp_path):
    """What its commands make is what it says, and the steps to other authorities leave everybody trusted in between."""
    folder, environment = tmp_path / "tls", {"HOME": str(tmp_path)}
    block, = commands("security.md", "Making certificates")
    run(block, environment)

    def certificate(name):
        return x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())

    def names(name):
        try:
            found = certificate(name).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return set()
        return {str(one.value) for one in found}

    assert names("coordinator-1") == {"coordinator-1.example", "10.0.0.2", "needletail://coordinator"}
    assert names("shard-1") == {"shard-1.example", "10.0.0.5", "needletail://shard"} and names("etcd-1") == {"10.0.0.7"} and names("alice") == set()
    for name in ("authority", "client-authority", "coordinator-1", "shard-1", "etcd-1", "alice"):
        assert (folder / f"{name}.key").stat().st_mode & 0o777 == 0o600
        certificate(name).verify_directly_issued_by(certificate("client-authority" if name in ("alice", "client-authority") else "authority"))
    assert "there already" in subprocess.run([BINARIES / "needletail", "certificates", "init", "--folder", folder], capture_output=True, text=True).stderr

    def good(pair, authorities):
        """Whether a client that trusts these takes the pair for a server's."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*pair)
        client = ssl.create_default_context(cadata=authorities)
        ends = [ssl.MemoryBIO() for _ in range(2)]
        one = client.wrap_bio(ends[0], ends[1], server_hostname="shard-1.example")
        other = server.wrap_bio(ends[1], ends[0], server_side=True)
        for _ in range(6):
            for side in (one, other):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError:
                    return False
        return one.version() is not None

    def copy(name):
        for ending in ("pem", "key"):
            (tmp_path / f"{name}.{ending}").write_bytes((folder / f"shard-1.{ending}").read_bytes())
        return tmp_path / f"{name}.pem", tmp_path / f"{name}.key"

    old, authorities = copy("old"), [(folder / "authority.pem").read_text()]
    again = [line for line in block.splitlines() if " shard-1 " in line][0]
    for step in re.findall(r"`(needletail certificates (?:new-authorities|retire) [^`]*)`", (ROOT / "Docs" / "security.md").read_text()):
        run(step, environment)
        authorities.append((folder / "authority.pem").read_text())
        if "new-authorities" in step:
            run(again, environment)
            new = copy("new")
    first, both, last = authorities
    assert [good(old, trusted) for trusted in (first, both, last)] == [True, True, False]
    assert [good(new, trusted) for trusted in (first, both, last)] == [False, True, True]


class Load(threading.Thread):
    """Reads and writes, each call on a connection of its own half of the time."""

    def __init__(self, cluster, number):
        super().__init__()
        self.cluster, self.random = cluster, np.random.default_rng(number)
        self.done, self.failures, self.running = 0, [], True

    def run(self):
        security = self.cluster.security
        kept = grpc.secure_channel(self.cluster.coordinator.address, security.credentials(), options=UNLIMITED)
        while self.running:
            isolated = [("grpc.use_local_subchannel_pool", 1)]
            channel = kept if self.random.random() < 0.5 else grpc.secure_channel(self.cluster.coordinator.address, security.credentials(), options=isolated)
            points = points_pb2_grpc.PointsStub(channel)
            rows = self.random.standard_normal((4, 8)).astype("f4")
            try:
                points.Upsert(p.UpsertRequest(collection="books", packed=p.PackedPoints(ids=self.random.integers(0, 1000, 4).tolist(), vectors=rows.tobytes())),
                              timeout=20)
                points.Search(p.SearchRequest(collection="books", query=p.Query(vector=common.Vector(data=rows[0].tobytes()), limit=3)), timeout=20)
                self.done += 2
            except grpc.RpcError as error:
                self.failures.append(f"{error.code()} {error.details()}")
            if channel is not kept:
                channel.close()
        kept.close()


@pytest.mark.timeout(600)
def test_all_certificates_and_the_authority_are_replaced_under_load(tmp_path):
    """The authority by way of a file with the old and the new one, as the guide says; not one request fails."""
    security = Security(tmp_path / "tls")
    with Cluster(workers=3, worker_arguments=["--admin", "0"], security=security) as cluster:
        cluster.collections.Create(c.CreateCollectionRequest(
            name="books", fields=[c.VectorField(name="v", dimensions=8, metric=c.METRIC_L2)], shard_count=3, replication_factor=2), timeout=30)
        cluster.wait_until_ready()
        processes = [cluster.coordinator, *cluster.workers]
        def counts():
            return [scraped(one, security, "needletail_tls_reloads_total", result="loaded") for one in processes]

        loaded = counts()

        def all_loaded(what):
            """Every process has read its files again since the last time. They are looked at every two seconds, and two files that change one after the
            other may be read twice: so the counts have to rest as well."""
            seen = [(time.monotonic(), counts())]

            def rests():
                now = counts()
                if now != seen[-1][1]:
                    seen.append((time.monotonic(), now))
                return all(one > before for one, before in zip(now, loaded)) and time.monotonic() - seen[-1][0] > 5

            wait_for(rests, what, 60, lambda: "\n".join(one.output(1000) for one in processes))
            loaded[:] = counts()
            assert all(scraped(one, security, "needletail_tls_reloads_total", result="failed") == 0 for one in processes)

        load = [Load(cluster, number) for number in range(3)]
        for one in load:
            one.start()

        def progress():
            reached = [one.done + 20 for one in load]
            wait_for(lambda: all(one.done >= want or one.failures for one, want in zip(load, reached)), "the load to go on", 60)

        try:
            progress()
            old = security.nodes.pair
            security.nodes.renew([old])
            all_loaded("both authorities")
            progress()
            for role in ("coordinator", "shard"):
                security.pairs[role] = security.nodes.node(role)
            all_loaded("the new certificates")
            progress()
            # New connections between the processes, too.
            cluster.workers[0].process.send_signal(signal.SIGSTOP)
            cluster.workers[0].process.send_signal(signal.SIGCONT)
            security.nodes.pair.write()
            all_loaded("the new authority alone")
            progress()
        finally:
            for one in load:
                one.running = False
            for one in load:
                one.join()
        assert [one.failures for one in load] == [[], [], []]
        assert cluster.status().nodes_alive == 3
        # Whoever comes with a certificate of the old authority is a stranger now, and who trusts only the old one finds strangers.
        worker = Process("needletail-shard", cluster.folder / "late", ["--coordinator", cluster.coordinator.address, *security.flags("shard")]).start()
        cluster.workers.append(worker)
        wait_for(lambda: cluster.status().nodes_alive == 4, "a new worker to join")


def test_no_log_tells_of_keys(tmp_path):
    """Neither the private keys nor where they are."""
    security = Security(tmp_path / "tls")
    with Cluster(workers=1, coordinator_arguments=["--log-level", "trace"], worker_arguments=["--log-level", "trace"], security=security) as talkative:
        talkative.coordinator.process.send_signal(signal.SIGHUP)
        security.pairs["shard"].key_file.write_text("rubbish")
        wait_for(lambda: "no private key in PEM" in talkative.workers[0].output(1 << 30), "the bad key to be told of", describe=talkative.workers[0].output)
        logs = [one.output(1 << 30) for one in [talkative.coordinator, *talkative.workers]]
        keys = [pair.key_pem.decode().splitlines()[1] for pair in security.pairs.values()]
        for log in logs:
            assert ".key" not in log and "PRIVATE" not in log
            assert not any(key in log for key in keys)
        security.pairs["shard"].write()
