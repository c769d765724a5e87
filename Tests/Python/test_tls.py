"""TLS between real processes: who is let in and who is not, and what both sides say."""

import re
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
from certificates import DAY, Authority, Security, context, scraped
from grpc_health.v1 import health_pb2, health_pb2_grpc
from harness import BINARIES, Cluster, Process, wait_for
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


def handshake(port, context, host="127.0.0.1", alpn=("h2",)):
    """One TLS connection by Python's ssl: version, suite, protocol."""
    context.set_alpn_protocols(list(alpn))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain, server_hostname=host) as encrypted:
        encrypted.do_handshake()
        return encrypted.version(), encrypted.cipher()[0], encrypted.selected_alpn_protocol()


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
        shard_pb2_grpc.ShardWorkerStub(channel).Status(shard_pb2.Empty(), timeout=10)
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
    """What answers at a coordinator's address must be one: a worker's certificate, one without a role, or of another host, is none."""
    nodes, role = secure.security.nodes, "lacks the URI needletail://coordinator"
    cases = {"shard": (secure.security.pairs["shard"], role), "plain": (nodes.issue("plain-server"), role),
             "elsewhere": (nodes.node("coordinator", "elsewhere", hosts=("elsewhere.example",)), "it is for elsewhere.example and not for 127.0.0.1")}
    for name, (pair, words) in cases.items():
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
                wait_for(lambda: words in worker.output(), "the worker to say why it does not join", describe=worker.output)
            finally:
                ended.set()
                thread.join()
                worker.stop()


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


def test_who_knocks_often_does_not_fill_the_log(tmp_path):
    security = Security(tmp_path / "tls")
    door = Process("needletail-coordinator", tmp_path / "c", ["--admin", "0", *security.flags("coordinator")]).start()
    try:
        for _ in range(250):
            with socket.create_connection(("127.0.0.1", door.port)) as one:
                one.sendall(b"GET / HTTP/1.1\r\n\r\n")
                one.settimeout(10)
                while one.recv(1 << 12):
                    pass
        wait_for(lambda: scraped(door, security, "needletail_tls_handshakes_failed_total") == 250, "all to be counted")
        lines = door.output(1 << 30).count("connection refused")
        assert 100 <= lines < 250, lines
    finally:
        door.stop()


def test_a_client_that_stays_is_sent_away(tmp_path):
    """One that got its last answer and does not close, on the admin port: it neither keeps its connection nor the process from ending."""
    security = Security(tmp_path / "tls")
    for number, flags in enumerate(([], security.flags("coordinator"))):
        door = Process("needletail-coordinator", tmp_path / f"{number}", ["--admin", "0", *flags]).start()
        try:
            clients = []
            for _ in range(2):
                plain = socket.create_connection(("127.0.0.1", door.admin_port), timeout=30)
                made = context(security)
                made.set_alpn_protocols(["http/1.1"])
                clients.append(made.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=True) if flags else plain)
                clients[-1].sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            while clients[0].recv(1 << 12):
                pass
            # Its socket is gone on the other side: what is sent there comes back as a reset.
            def is_reset(client):
                try:
                    client.sendall(b"x")
                    return False
                except OSError:
                    return True

            wait_for(lambda: is_reset(clients[0]), "the connection to be closed")
        finally:
            door.stop()


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
