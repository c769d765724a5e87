"""TLS between real processes: who is let in and who is not, what both sides say, and certificates that are replaced meanwhile."""

import datetime
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
from certificates import DAY, Authority, Pair, Security
from grpc_health.v1 import health_pb2, health_pb2_grpc
from harness import BINARIES, UNLIMITED, Cluster, Process, wait_for
from needletail.internal.v1 import shard_pb2, shard_pb2_grpc
from needletail.v1 import cluster_pb2, cluster_pb2_grpc
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

STATUS = cluster_pb2.ClusterStatusRequest()


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A cluster with TLS on every port."""
    security = Security(tmp_path_factory.mktemp("tls"))
    with Cluster(workers=2, worker_arguments=["--admin", "0"], security=security) as running:
        yield running


def needletail(*arguments, **environment):
    return subprocess.run([BINARIES / "needletail", *map(str, arguments)], capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin", **environment})


def refusal(address, credentials, method=lambda channel: cluster_pb2_grpc.ClusterStub(channel).Status(STATUS, timeout=10)):
    """How a call ended that must not succeed."""
    with grpc.secure_channel(address, credentials) as channel, pytest.raises(grpc.RpcError) as error:
        method(channel)
    return error.value


def scraped(process, security, name, **labels):
    context = ssl.create_default_context(cafile=security.nodes.file)
    with urllib.request.urlopen(f"https://127.0.0.1:{process.admin_port}/metrics", context=context, timeout=10) as answer:
        text = answer.read().decode()
    wanted = name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else "")
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(wanted + " "))


def handshake(port, context, host="127.0.0.1", alpn=("h2",)):
    """One TLS connection by Python's ssl: version, suite, protocol."""
    context.set_alpn_protocols(list(alpn))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain, server_hostname=host) as encrypted:
        encrypted.do_handshake()
        return encrypted.version(), encrypted.cipher()[0], encrypted.selected_alpn_protocol()


def context(security, pair=None):
    made = ssl.create_default_context(cafile=security.nodes.file)
    if pair:
        made.load_cert_chain(pair.file, pair.key_file)
    return made


def ports(cluster):
    """All that the processes listen on."""
    return [port for process in [cluster.coordinator, *cluster.workers] for port in (process.port, process.admin_port)]


# What is let in


def test_everything_works_encrypted(secure):
    secure.collections.Create(c.CreateCollectionRequest(
        name="books", fields=[c.VectorField(name="v", dimensions=8, metric=c.METRIC_L2)], shard_count=4, replication_factor=2), timeout=30)
    rows = np.random.default_rng(1).standard_normal((500, 8)).astype("f4")
    secure.points.Upsert(p.UpsertRequest(collection="books", packed=p.PackedPoints(ids=range(500), vectors=rows.tobytes())), timeout=30)
    query = p.Query(vector=common.Vector(data=rows[7].tobytes()), limit=1, exact=True)
    read = p.ReadOptions(consistency=p.READ_CONSISTENCY_PRIMARY)
    assert secure.points.Search(p.SearchRequest(collection="books", query=query, read=read), timeout=30).points[0].id.number == 7
    security = secure.security
    shown = needletail("status", "--endpoint", f"https://{secure.coordinator.address}", "--tls-authority", security.nodes.file)
    assert shown.returncode == 0 and "2 of 2 nodes alive, 4 of 4 shards ready" in shown.stdout, shown
    # By the environment, and with an address that does not say https://.
    shown = needletail("status", NEEDLETAIL_ENDPOINT=secure.coordinator.address, NEEDLETAIL_TLS_AUTHORITY=str(security.nodes.file))
    assert shown.returncode == 0, shown
    shown = needletail("status", NEEDLETAIL_ENDPOINT=f"https://{secure.coordinator.address}", NEEDLETAIL_TLS_AUTHORITY=str(security.nodes.file),
                       NEEDLETAIL_TLS_CERTIFICATE=str(security.user.file), NEEDLETAIL_TLS_KEY=str(security.user.key_file))
    assert shown.returncode == 0, shown
    # The console's way in, which ends in a call to the process's own port.
    asked = urllib.request.Request(f"https://127.0.0.1:{secure.coordinator.admin_port}/needletail.v1.Cluster/Status", b"{}", {"content-type": "application/json"})
    with urllib.request.urlopen(asked, context=context(security), timeout=10) as answer:
        assert b'"nodesAlive":2' in answer.read()


def test_versions_suites_and_protocols(secure):
    for process in [secure.coordinator, *secure.workers]:
        for port, protocol in [(process.port, "h2"), (process.admin_port, "http/1.1")]:
            pair = secure.security.pairs["coordinator"]
            assert handshake(port, context(secure.security, pair), alpn=("h2", "http/1.1"))[::2] == ("TLSv1.3", protocol)
            older = context(secure.security, pair)
            older.maximum_version = ssl.TLSVersion.TLSv1_2
            version, suite, _ = handshake(port, older)
            assert version == "TLSv1.2" and re.fullmatch("ECDHE-ECDSA-(AES(128|256)-GCM-SHA(256|384)|CHACHA20-POLY1305)", suite), suite

            oldest = context(secure.security, pair)
            oldest.minimum_version, oldest.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            oldest.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.raises(ssl.SSLError, match="PROTOCOL|alert"):
                handshake(port, oldest)
            weak = context(secure.security, pair)
            weak.maximum_version = ssl.TLSVersion.TLSv1_2
            weak.set_ciphers("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:AES128-GCM-SHA256:@SECLEVEL=0")
            with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE|handshake failure"):
                handshake(port, weak)
    wait_for(lambda: "neither TLS 1.2 nor 1.3" in secure.coordinator.output(), "the log to tell of old versions", describe=secure.coordinator.output)
    wait_for(lambda: "no cipher suite" in secure.coordinator.output(), "the log to tell of weak suites", describe=secure.coordinator.output)


# Who is not


BAD = {
    "nobody": (lambda s: None, "showed no certificate"),
    "expired": (lambda s: s.nodes.node("shard", "expired", begin=-9 * DAY, end=-DAY), "expired at"),
    "not yet valid": (lambda s: s.nodes.node("shard", "early", begin=DAY), "valid from"),
    "of a stranger": (lambda s: Authority(s.nodes.folder / "elsewhere", "elsewhere").node("shard", "stranger"), "none of the authorities"),
    # The same name does not make it the same authority.
    "of a namesake": (lambda s: Authority(s.nodes.folder / "namesake", "authority").node("shard", "namesake"), "none of the authorities"),
    "self-signed": (lambda s: s.nodes.node("shard", "own", self_signed=True), "signed by itself"),
    "for servers only": (lambda s: s.nodes.node("shard", "server-only", usages=("server",)), "extended key usage"),
    "of a user": (lambda s: s.user, "none of the authorities"),
    # The authority of users must not make nodes.
    "of a user who claims to be a node": (lambda s: s.users.node("shard", "mallory"), "none of the authorities"),
    "signed by a node": (lambda s: signed_by(s.pairs["shard"], s), "none of the authorities"),
}


def signed_by(pair, security):
    """A certificate that a node's key has signed, as if it were an authority."""
    forger = Authority(security.nodes.folder / "forged", "forger")
    forger.pair = pair
    made = forger.node("shard", "forged")
    made.write([pair])
    return made


@pytest.mark.parametrize("kind", BAD)
def test_a_worker_lets_only_nodes_in(secure, kind):
    make, words = BAD[kind]
    worker = secure.workers[0]
    pair = make(secure.security)
    # The port itself, before any call.
    health = refusal(worker.address, secure.security.credentials(pair), lambda channel: health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(), timeout=10))
    assert health.code() is grpc.StatusCode.UNAVAILABLE, health
    name = pair.file.stem if pair else ""
    wait_for(lambda: any(words in line and name in line for line in worker.output().splitlines()), "the log to say why", describe=worker.output)
    # And by the project's own client: its words say what to do.
    files = ["--tls-certificate", pair.file, "--tls-key", pair.key_file] if pair else []
    shown = needletail("status", "--timeout", 10, "--endpoint", f"https://{worker.address}", "--tls-authority", secure.security.nodes.file, *files)
    assert shown.returncode == 1 and ("wants a certificate" if not pair else "does not accept our certificate") in shown.stderr, shown


def test_a_certificate_without_a_role_is_no_node(secure):
    plain = secure.security.nodes.issue("plain")
    told = refusal(secure.workers[0].address, secure.security.credentials(plain), lambda channel: health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(), timeout=10))
    assert told.code() is grpc.StatusCode.PERMISSION_DENIED and "needletail://" in told.details() and "plain" in told.details(), told


def test_roles_are_told_apart(secure):
    """A worker's shards are for coordinators, and the membership at a coordinator is for workers."""
    worker, door = secure.workers[0].address, secure.coordinator.address
    pairs, credentials = secure.security.pairs, secure.security.credentials

    def drop(channel):
        shard_pb2_grpc.ShardWorkerStub(channel).DropReplica(shard_pb2.ShardId(), timeout=10)

    def heartbeat(channel):
        shard_pb2_grpc.MembershipStub(channel).Heartbeat(shard_pb2.HeartbeatRequest(), timeout=10)

    assert refusal(worker, credentials(pairs["shard"]), drop).code() is grpc.StatusCode.PERMISSION_DENIED
    with grpc.secure_channel(worker, credentials(pairs["coordinator"])) as channel:
        assert len(shard_pb2_grpc.ShardWorkerStub(channel).Status(shard_pb2.Empty(), timeout=10).SerializeToString()) > 0
    assert refusal(door, credentials(pairs["coordinator"]), heartbeat).code() is grpc.StatusCode.PERMISSION_DENIED
    assert refusal(door, credentials(pairs["shard"]), heartbeat).code() is not grpc.StatusCode.PERMISSION_DENIED


def test_users_do_not_reach_what_is_internal(secure):
    """The coordinator's port is for users; its internal services are not."""
    security, door = secure.security, secure.coordinator.address

    def heartbeat(channel):
        shard_pb2_grpc.MembershipStub(channel).Heartbeat(shard_pb2.HeartbeatRequest(), timeout=10)

    def resign(channel):
        shard_pb2_grpc.MembershipStub(channel).Resign(shard_pb2.Resignation(), timeout=10)

    for method in (heartbeat, resign):
        nobody = refusal(door, security.credentials(), method)
        assert nobody.code() is grpc.StatusCode.UNAUTHENTICATED and "certificate of the nodes' authority" in nobody.details(), nobody
        for user in (security.user, security.users.node("shard", "mallory"), security.nodes.issue("plain")):
            told = refusal(door, security.credentials(user), method)
            assert told.code() is grpc.StatusCode.PERMISSION_DENIED and user.file.stem in told.details(), told
    # The same people are welcome as users.
    for pair in (None, security.user):
        with grpc.secure_channel(door, security.credentials(pair)) as channel:
            assert cluster_pb2_grpc.ClusterStub(channel).Status(STATUS, timeout=10).nodes_alive == 2
    # Who shows a certificate shows a good one.
    assert refusal(door, security.credentials(security.users.issue("late", hosts=(), begin=-9 * DAY, end=-DAY))).code() is grpc.StatusCode.UNAVAILABLE
    wait_for(lambda: "late, is not good: it expired" in secure.coordinator.output(), "the log to say why", describe=secure.coordinator.output)
    # Nor does the way over HTTP lead there, though the coordinator itself makes the call.
    asked = urllib.request.Request(f"https://127.0.0.1:{secure.coordinator.admin_port}/needletail.internal.v1.Membership/Heartbeat", b"{}",
                                   {"content-type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(asked, context=context(security), timeout=10)
    assert error.value.code in (404, 501)


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def heartbeat_by_hand(encrypted):
    """One call in HTTP/2 without a library, since those of gRPC do not let a session be taken over."""
    fields = {":method": "POST", ":scheme": "https", ":path": "/needletail.internal.v1.Membership/Heartbeat", ":authority": "a", "te": "trailers",
              "content-type": "application/grpc"}
    block = b"".join(b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in fields.items())
    encrypted.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 4, 1, block) + frame(0, 1, 1, bytes(5)))
    received = b""
    while True:
        received += encrypted.recv(1 << 14)
        rest = received
        while len(rest) >= 9 and len(rest) >= 9 + int.from_bytes(rest[:3], "big"):
            if rest[3] == 1 and rest[4] & 1:
                return
            rest = rest[9 + int.from_bytes(rest[:3], "big"):]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_that_goes_on_is_the_same_person(secure, version):
    """A client that resumes a session shows no certificate again; it stays who it was, and becomes nobody else."""
    security, door = secure.security, secure.coordinator

    def counted(code):
        return scraped(door, security, "needletail_rpc_server_handled_total", service="needletail.internal.v1.Membership", method="Heartbeat", code=code)

    mallory = security.users.node("shard", "mallory")
    for pair, code in [(None, "UNAUTHENTICATED"), (security.user, "PERMISSION_DENIED"), (mallory, "PERMISSION_DENIED"),
                       (security.pairs["coordinator"], "PERMISSION_DENIED"), (security.pairs["shard"], "INVALID_ARGUMENT")]:
        made = context(security, pair)
        made.minimum_version = made.maximum_version = version
        made.set_alpn_protocols(["h2"])
        session, before = None, counted(code)
        for number in (1, 2):
            with socket.create_connection(("127.0.0.1", door.port), timeout=10) as plain, made.wrap_socket(
                    plain, server_hostname="127.0.0.1", session=session) as encrypted:
                heartbeat_by_hand(encrypted)
                assert encrypted.session_reused == (number == 2), "this tests nothing unless the second session is the first one's"
                session = encrypted.session
            assert counted(code) == before + number, (pair and pair.file.stem, number)


# Who connects looks, too


IMPOSTORS = {
    "of another host": (lambda s: s.nodes.node("coordinator", "elsewhere", hosts=("10.1.2.3", "elsewhere.example")), "it is for 10.1.2.3, elsewhere.example and not for 127.0.0.1"),
    "of a stranger": (lambda s: Authority(s.nodes.folder / "foreign", "foreign").node("coordinator", "foreigner"), "none of the authorities"),
}


@pytest.mark.parametrize("kind", IMPOSTORS)
def test_clients_look_at_the_certificate_of_the_cluster(secure, tmp_path, kind):
    make, words = IMPOSTORS[kind]
    made = make(secure.security)
    authority = secure.security.nodes if kind == "of another host" else Authority(made.file.parent, "unused")
    folder = made.file.parent
    trusted = authority.file if kind == "of another host" else folder / "foreign.pem"
    process = Process("needletail-coordinator", tmp_path / "c", [
        "--admin", "0", "--tls-certificate", str(made.file), "--tls-key", str(made.key_file), "--tls-authority", str(trusted)]).start()
    try:
        shown = needletail("status", "--endpoint", f"https://{process.address}", "--tls-authority", secure.security.nodes.file)
        assert shown.returncode == 1 and words in shown.stderr, shown
        if kind == "of another host":
            named = needletail("status", "--endpoint", f"https://{process.address}", "--tls-authority", secure.security.nodes.file,
                               "--tls-server-name", "elsewhere.example")
            assert named.returncode == 0, named
        wait_for(lambda: "does not accept our certificate" in process.output(), "the coordinator's log to tell of it", describe=process.output)
    finally:
        process.stop()


def test_a_worker_looks_at_whom_it_joins(secure, tmp_path):
    """What answers at a coordinator's address must be one: a worker's certificate, or one without a role, is none."""
    folder = secure.security.nodes.folder
    for name, pair in {"shard": secure.security.pairs["shard"], "plain": secure.security.nodes.issue("plain-server")}.items():
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(pair.file, pair.key_file)
        server.set_alpn_protocols(["h2"])
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(0.1)
            worker = Process("needletail-shard", tmp_path / name, ["--coordinator", f"127.0.0.1:{listener.getsockname()[1]}", "--log-level", "debug",
                                                                  *secure.security.flags("shard")])
            ended = threading.Event()

            def accept():
                while not ended.is_set():
                    try:
                        with server.wrap_socket(listener.accept()[0], server_side=True) as peer:
                            assert not peer.recv(1 << 14).startswith(b"PRI"), "the worker said something to what is no coordinator"
                    except OSError:
                        pass

            thread = threading.Thread(target=accept)
            thread.start()
            try:
                worker.start()
                wait_for(lambda: "lacks the URI needletail://coordinator" in worker.output(), "the worker to say why it does not join", describe=worker.output)
            finally:
                ended.set()
                thread.join()
                worker.stop()
    assert folder.exists()


# Without TLS


@pytest.mark.parametrize("program", ["needletail-coordinator", "needletail-shard", "needletail"])
def test_nothing_listens_for_others_unencrypted(tmp_path, program):
    command = [BINARIES / program, *(["dev"] if program == "needletail" else []), "--data", tmp_path / "data"]
    for host in ("0.0.0.0:0", "[::]:0", "localhost.example:0", "127.1:0"):
        ended = subprocess.run([*command, "--listen", host], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 1 and "--insecure" in ended.stderr and "--tls-certificate" in ended.stderr, ended
    allowed = Process(program, tmp_path / "allowed", ["dev"] if program == "needletail" else [], host="0.0.0.0").start()
    allowed.stop()


def test_plaintext_and_tls_do_not_meet(secure, tmp_path):
    """Neither hangs, and each says what to write."""
    door = secure.coordinator.address
    plain = Process("needletail-coordinator", tmp_path / "plain", ["--admin", "0"]).start()
    try:
        for address in [door, secure.workers[0].address]:
            shown = needletail("status", "--endpoint", f"http://{address}")
            assert shown.returncode == 1 and "write https://" in shown.stderr, shown
        shown = needletail("status", "--endpoint", f"https://{plain.address}", "--tls-authority", secure.security.nodes.file)
        assert shown.returncode == 1 and "does not speak TLS; without TLS its address is written http://" in shown.stderr, shown
        wait_for(lambda: "it does not speak TLS" in secure.coordinator.output(), "the log to tell of plaintext", describe=secure.coordinator.output)
        wait_for(lambda: "It speaks TLS, and this port does not" in plain.output(), "the log to tell of TLS", describe=plain.output)
        with grpc.insecure_channel(door) as channel, pytest.raises(grpc.RpcError) as error:
            cluster_pb2_grpc.ClusterStub(channel).Status(STATUS, timeout=10)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(urllib.error.HTTPError) as told:
            urllib.request.urlopen(f"http://127.0.0.1:{secure.coordinator.admin_port}/readyz", timeout=10)
        assert told.value.code == 400 and b"write https://" in told.value.read()
        # A worker without TLS and a coordinator with it.
        worker = Process("needletail-shard", tmp_path / "worker", ["--coordinator", door]).start()
        worker.stop()
        assert secure.status().nodes_total == 2
    finally:
        plain.stop()


def test_a_stalled_handshake_is_ended(secure):
    """Neither silence nor a drip holds a connection, on any port."""
    begun = []
    for port in ports(secure):
        silent = socket.create_connection(("127.0.0.1", port))
        dripping = socket.create_connection(("127.0.0.1", port))
        dripping.sendall(bytes.fromhex("16030100"))
        begun += [silent, dripping]
    for one in begun:
        one.settimeout(60)
        while True:
            try:
                if not one.recv(1 << 12):
                    break
            except ConnectionResetError:
                break
        one.close()


# Files


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
        wait_for(lambda: fingerprint(door.port, security) == pair.certificate.public_bytes(pair_encoding()), "the good file")
        expired = security.nodes.node("coordinator", "coordinator", begin=-9 * DAY, end=-DAY)
        wait_for(lambda: reloads("failed") == 2, "the expired certificate to be counted")
        assert "expired at" in door.output() and fingerprint(door.port, security) != expired.certificate.public_bytes(pair_encoding())

        # One that ends soon is warned of.
        security.nodes.node("coordinator", end=5 * DAY)
        wait_for(lambda: re.search(r"--tls-certificate expires in [45] days", door.output()), "the warning", describe=door.output)


def pair_encoding():
    from cryptography.hazmat.primitives.serialization import Encoding
    return Encoding.DER


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


class Load(threading.Thread):
    """Reads and writes, each call on a connection of its own half of the time."""

    def __init__(self, cluster, number):
        super().__init__()
        self.cluster, self.random = cluster, np.random.default_rng(number)
        self.done, self.failures, self.running = 0, [], True

    def run(self):
        from needletail.v1 import points_pb2_grpc
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
        rounds = [0.0]

        def all_loaded(what):
            """Every process has read its files again since the last time."""
            rounds[0] += 1
            wait_for(lambda: all(scraped(one, security, "needletail_tls_reloads_total", result="loaded") >= rounds[0] for one in processes), what, 60,
                     lambda: "\n".join(one.output(1000) for one in processes))
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
            security.nodes.renew()
            security.nodes.pair.write([old])
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


def test_no_log_tells_of_keys(secure, tmp_path):
    """Neither the private keys nor where they are; last, so that all that went wrong above is in the logs."""
    security = Security(tmp_path / "tls")
    with Cluster(workers=1, coordinator_arguments=["--log-level", "trace"], worker_arguments=["--log-level", "trace"], security=security) as talkative:
        talkative.coordinator.process.send_signal(signal.SIGHUP)
        security.pairs["shard"].key_file.write_text("rubbish")
        wait_for(lambda: "no private key in PEM" in talkative.workers[0].output(1 << 30), "the bad key to be told of", describe=talkative.workers[0].output)
        logs = [one.output(1 << 30) for one in [talkative.coordinator, *talkative.workers, secure.coordinator, *secure.workers]]
        keys = [pair.key_pem.decode().splitlines()[1] for given in (security, secure.security) for pair in given.pairs.values()]
        for log in logs:
            assert ".key" not in log and "PRIVATE" not in log
            assert not any(key in log for key in keys)
        security.pairs["shard"].write()
