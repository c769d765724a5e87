"""Who may do what: keys, tokens, roles, limits, the audit log and the admin port, on real processes."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import importlib
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import threading
import time

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from harness import BINARIES, ROOT, UNLIMITED, Cluster, Etcd, Process, wait_for, with_key
from needletail.v1 import access_pb2 as a
from needletail.v1 import access_pb2_grpc
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p
from needletail.v1 import points_pb2_grpc
from receiver import Receiver

ADMIN = "the-administrators-key-of-these-tests"
SECRET = "the-secret-of-tokens-in-these-tests-"
Code = grpc.StatusCode
DIMENSIONS = 4


def encoded(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def token(grants=("read:books",), header=None, secret=SECRET, more=None, **claims):
    """A token; claims of None are left out."""
    body = {"sub": "somebody", "iss": "tests", "aud": "search", "exp": time.time() + 600, "needletail": {"grants": list(grants), **(more or {})}, **claims}
    head = encoded(header or {"alg": "HS256"}) + "." + encoded({key: value for key, value in body.items() if value is not None})
    return head + "." + encoded(hmac.new(secret.encode(), head.encode(), hashlib.sha256).digest())


class RSAKey:
    def __init__(self, folder, name):
        self.name, self.file = name, folder / f"{name}.pem"
        subprocess.run(["openssl", "genrsa", "-out", self.file, "2048"], check=True, capture_output=True)

    def public(self):
        return subprocess.run(["openssl", "rsa", "-in", self.file, "-pubout"], check=True, capture_output=True, text=True).stdout

    def jwk(self):
        found = subprocess.run(["openssl", "rsa", "-in", self.file, "-noout", "-modulus"], check=True, capture_output=True, text=True).stdout
        return {"kty": "RSA", "kid": self.name, "use": "sig", "n": encoded(bytes.fromhex(found.strip().split("=")[1])), "e": "AQAB"}

    def sign(self, **claims):
        body = {"sub": "robot", "iss": "tests", "aud": "search", "exp": time.time() + 600, "needletail": {"grants": ["read:books"]}, **claims}
        head = encoded({"alg": "RS256", "kid": self.name}) + "." + encoded(body)
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.file], input=head.encode(), check=True, capture_output=True).stdout
        return head + "." + encoded(signature)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def rsa(folder):
    key = RSAKey(folder, "first")
    (folder / "jwks.json").write_text(json.dumps({"keys": [key.jwk()]}))
    return key


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(folder, rsa, receiver):
    (folder / "admin").write_text(ADMIN + "\n")
    (folder / "secret").write_text(SECRET)
    arguments = ["--admin-key-file", folder / "admin", "--jwt-secret-file", folder / "secret", "--jwt-keys", folder / "jwks.json", "--jwt-issuer", "tests",
                 "--jwt-audience", "search", "--audit-log", folder / "audit", "--log-level", "trace", "--slow-query", "0ms",
                 "--otlp", receiver.url, "--trace-sample", "1"]
    with Cluster(workers=1, worker_arguments=["--log-level", "trace", "--otlp", receiver.url, "--admin", "0"], coordinator_arguments=[str(word) for word in arguments], key=ADMIN) as running:
        field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
        running.collections.Create(c.CreateCollectionRequest(name="books", fields=[field], shard_count=1), timeout=30)
        running.wait_until_ready()
        request = p.UpsertRequest(collection="books")
        for i in range(100):
            request.points.add(id=common.PointId(number=i), vectors={"v": common.Vector(values=[i, 0, 0, 0])})
        running.points.Upsert(request, timeout=30)
        yield running


def access(cluster):
    return access_pb2_grpc.AccessStub(cluster.channel)


def grants(*texts):
    found = []
    for text in texts:
        first, second = text.split(":")
        role, name = (second, None) if first == "cluster" else (first, second)
        found.append(a.Grant(role=a.Role.Value(f"ROLE_{role.upper()}"), collection=name or "", cluster=name is None))
    return found


def make_key(cluster, *texts, name="made", **more):
    return access(cluster).CreateKey(a.CreateKeyRequest(name=name, grants=grants(*texts), **more), timeout=10)


@contextlib.contextmanager
def points_of(address, key):
    with grpc.insecure_channel(address, options=UNLIMITED) as plain:
        yield points_pb2_grpc.PointsStub(with_key(plain, key))


def outcome(call):
    try:
        call()
        return Code.OK
    except grpc.RpcError as error:
        return error.code()


def count_outcome(cluster, key, collection="books"):
    with points_of(cluster.coordinator.address, key) as points:
        return outcome(lambda: points.Count(p.CountRequest(collection=collection), timeout=10))


# Keys

def test_without_a_key_or_with_a_wrong_one_nothing_is_told(cluster):
    made = make_key(cluster, "read:books")
    wrong = [None, "x", made.key + "x", made.key[:-1], made.key.upper(), "ndl_" + made.description.id + "_" + "A" * 43, ADMIN + "x", ADMIN[:-1], "a.b.c"]
    for key in wrong:
        assert count_outcome(cluster, key) == Code.UNAUTHENTICATED, key
    assert count_outcome(cluster, made.key) == Code.OK
    assert count_outcome(cluster, ADMIN) == Code.OK


def test_keys_are_shown_once_listed_expire_and_are_revoked(cluster):
    made = make_key(cluster, "read:books", "write:tenant-*", name="listed", expires_milliseconds=int(time.time() * 1000) + 60_000)
    assert made.key.startswith(f"ndl_{made.description.id}_") and len(made.key) == 60
    listed = access(cluster).ListKeys(a.ListKeysRequest(), timeout=10).keys
    mine = next(key for key in listed if key.id == made.description.id)
    assert mine.name == "listed" and list(mine.grants) == grants("read:books", "write:tenant-*") and mine.last_used_milliseconds == 0
    secret = made.key.rsplit("_", 1)[1] if made.key.count("_") == 2 else made.key[17:]
    assert secret not in str(listed)
    assert count_outcome(cluster, made.key) == Code.OK

    def is_noted():
        return next(key for key in access(cluster).ListKeys(a.ListKeysRequest(), timeout=10).keys if key.id == mine.id).last_used_milliseconds

    assert abs(wait_for(is_noted, "the use being noted") / 1000 - time.time()) < 60
    access(cluster).RevokeKey(a.RevokeKeyRequest(id=mine.id), timeout=10)
    # At the coordinator that was asked there is no moment in between.
    assert count_outcome(cluster, made.key) == Code.UNAUTHENTICATED
    assert outcome(lambda: access(cluster).RevokeKey(a.RevokeKeyRequest(id=mine.id), timeout=10)) == Code.NOT_FOUND
    brief = make_key(cluster, "read:books", expires_milliseconds=int(time.time() * 1000) + 1_500)
    assert count_outcome(cluster, brief.key) == Code.OK
    wait_for(lambda: count_outcome(cluster, brief.key) == Code.UNAUTHENTICATED, "the key expiring", 10)
    for request in (a.CreateKeyRequest(name="x"), a.CreateKeyRequest(name="", grants=grants("read:a")), a.CreateKeyRequest(name="x", grants=[a.Grant()]),
                    a.CreateKeyRequest(name="x", grants=grants("read:a"), expires_milliseconds=1),
                    a.CreateKeyRequest(name="x", grants=[a.Grant(role=a.ROLE_WRITE, cluster=True)]),
                    a.CreateKeyRequest(name="x", grants=grants("read:a"), limits=a.RequestLimits(requests_per_second=-1))):
        assert outcome(lambda request=request: access(cluster).CreateKey(request, timeout=10)) == Code.INVALID_ARGUMENT, request


def test_only_hashes_are_kept(cluster):
    made = make_key(cluster, "read:books", name="only-its-hash")
    stored = b"".join(path.read_bytes() for path in (cluster.folder / "coordinator" / "data").rglob("*") if path.is_file())
    assert b"only-its-hash" in stored and hashlib.sha256(made.key.encode()).digest() in stored
    assert made.key[17:].encode() not in stored and ADMIN.encode() not in stored


def test_revoked_at_one_coordinator_refused_at_the_other_within_seconds(tmp_path):
    etcd = Etcd(tmp_path / "etcd").start()
    (tmp_path / "admin").write_text(ADMIN)
    arguments = ["--admin", "0", "--metadata", f"etcd://127.0.0.1:{etcd.port}/access", "--admin-key-file", str(tmp_path / "admin")]
    doors = []
    try:
        for name in ("one", "two"):
            doors.append(Process("needletail-coordinator", tmp_path / name, arguments).start())
        with contextlib.ExitStack() as stack:
            plain = [stack.enter_context(grpc.insecure_channel(door.address)) for door in doors]
            admins = [access_pb2_grpc.AccessStub(with_key(channel, ADMIN)) for channel in plain]
            order = a.CreateKeyRequest(name="roaming", grants=grants("read:*", "cluster:admin"))
            made = wait_for(lambda: outcome(lambda: admins[0].ListKeys(a.ListKeysRequest(), timeout=5)) == Code.OK and admins[0].CreateKey(order, timeout=10),
                            "the first key")
            callers = [access_pb2_grpc.AccessStub(with_key(channel, made.key)) for channel in plain]
            for caller in callers:
                wait_for(lambda caller=caller: outcome(lambda: caller.WhoAmI(a.WhoAmIRequest(), timeout=5)) == Code.OK, "the key being known everywhere", 10)
            # What only the leader does is passed on to it in the caller's own name, whichever of them is asked.
            for number, channel in enumerate(plain):
                from needletail.v1 import cluster_pb2, cluster_pb2_grpc

                for key, wanted in ((made.key, Code.OK), (None, Code.UNAUTHENTICATED)):
                    stub = cluster_pb2_grpc.ClusterStub(with_key(channel, key))
                    assert wait_for(lambda stub=stub: (code := outcome(lambda: stub.Pause(cluster_pb2.PauseRequest(), timeout=5))) != Code.UNAVAILABLE
                                    and code, "a leader") == wanted, (number, key is None)
            # One that would ask nobody does not start beside them.
            opening = [str(BINARIES / "needletail-coordinator"), *arguments[:4], "--listen", "127.0.0.1:0", "--data", str(tmp_path / "three")]
            assert "--admin-key-file" in subprocess.run(opening, capture_output=True, text=True, timeout=30).stderr
            admins[1].RevokeKey(a.RevokeKeyRequest(id=made.description.id), timeout=10)
            for caller in callers:
                wait_for(lambda caller=caller: outcome(lambda: caller.WhoAmI(a.WhoAmIRequest(), timeout=5)) == Code.UNAUTHENTICATED, "refusal", 5)
    finally:
        for door in doors:
            door.stop()
        etcd.kill()


def test_a_cluster_with_keys_does_not_open_its_doors_because_a_flag_is_missing(tmp_path):
    (tmp_path / "admin").write_text(ADMIN)
    door = Process("needletail-coordinator", tmp_path / "door", ["--admin", "0", "--admin-key-file", str(tmp_path / "admin")]).start()
    with grpc.insecure_channel(door.address) as plain:
        access_pb2_grpc.AccessStub(with_key(plain, ADMIN)).CreateKey(a.CreateKeyRequest(name="x", grants=grants("read:*")), timeout=10)
    door.stop()
    command = [str(BINARIES / "needletail-coordinator"), "--admin", "0", "--listen", "127.0.0.1:0", "--data", str(door.folder / "data")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1 and "--admin-key-file" in ended.stderr
    (tmp_path / "short").write_text("guessable")
    ended = subprocess.run([*command, "--admin-key-file", str(tmp_path / "short")], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1 and "/dev/urandom" in ended.stderr and "guessable" not in ended.stderr
    # By the environment, as systemd and Kubernetes give secrets.
    environment = {**os.environ, "NEEDLETAIL_ADMIN_KEY": ADMIN}
    running = subprocess.Popen([*command, "--port-file", str(tmp_path / "port")], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for((tmp_path / "port").exists, "the coordinator")
        port = (tmp_path / "port").read_text().split()[0]
        with points_of(f"127.0.0.1:{port}", None) as points:
            assert outcome(lambda: points.Count(p.CountRequest(collection="x"), timeout=10)) == Code.UNAUTHENTICATED
        with points_of(f"127.0.0.1:{port}", ADMIN) as points:
            assert outcome(lambda: points.Count(p.CountRequest(collection="x"), timeout=10)) == Code.NOT_FOUND
    finally:
        running.terminate()
        running.wait(30)


def test_a_coordinator_that_asks_nobody_ends_when_another_makes_a_key(tmp_path):
    etcd = Etcd(tmp_path / "etcd").start()
    (tmp_path / "admin").write_text(ADMIN)
    arguments = ["--admin", "0", "--metadata", f"etcd://127.0.0.1:{etcd.port}/access"]
    careless = Process("needletail-coordinator", tmp_path / "careless", arguments).start()
    careful = Process("needletail-coordinator", tmp_path / "careful", [*arguments, "--admin-key-file", str(tmp_path / "admin")]).start()
    try:
        with grpc.insecure_channel(careful.address) as plain:
            order = a.CreateKeyRequest(name="first", grants=grants("read:*"))
            stub = access_pb2_grpc.AccessStub(with_key(plain, ADMIN))
            wait_for(lambda: outcome(lambda: stub.CreateKey(order, timeout=10)) == Code.OK, "the first key")
        wait_for(lambda: careless.process.poll() is not None, "the end of the careless one", 10)
        assert careless.process.returncode == 1 and "--admin-key-file" in careless.output()
    finally:
        careless.stopped = True
        if careless.process.poll() is None:
            careless.kill()
        careful.stop()
        etcd.kill()


def test_without_a_key_to_ask_for_the_newcomers_commands_work():
    with Cluster() as running:
        assert outcome(lambda: make_key(running, "read:x")) == Code.FAILED_PRECONDITION
        assert access(running).WhoAmI(a.WhoAmIRequest(), timeout=10).name == "anyone"
        running.collections.List(c.ListCollectionsRequest(), timeout=10)


# Tokens

def test_tokens_are_taken_as_they_say_and_refused_when_anything_is_wrong(cluster, rsa):
    now = time.time()
    assert count_outcome(cluster, token()) == Code.OK
    assert count_outcome(cluster, rsa.sign()) == Code.OK
    assert count_outcome(cluster, token(aud=["x", "search"])) == Code.OK
    assert count_outcome(cluster, token(exp=now - 5)) == Code.OK, "clocks differ a little"
    assert count_outcome(cluster, token(grants=["read:other"])) == Code.PERMISSION_DENIED
    whole, head = token(), token().rsplit(".", 1)[0]
    none = [f"{encoded({'alg': name})}.{whole.split('.')[1]}.{signature}" for name in ("none", "None", "NONE") for signature in ("", whole.split(".")[2])]
    wrong = [
        token(exp=now - 60), token(exp=None), token(nbf=now + 60), token(iss="others"), token(iss=None), token(aud="others"), token(aud=None), token(aud=["x"]),
        token(secret=SECRET + "x"), token(needletail=None), token(grants=["anything"]), token(more={"filter": {}}), token(more={"filter": {"x": None}}),
        head, head + ".", whole + "A", whole.replace(".", ",", 1), "..", *none,
        token(header={"alg": "HS512"}), token(header={"alg": "RS256", "kid": "first"}), token(header={"alg": "HS256", "crit": ["b64"]}),
        # Signed with what everybody knows.
        token(header={"alg": "HS256", "kid": "first"}, secret=rsa.public()), token(secret=rsa.public()),
        token(header={"alg": "RS256", "kid": "first"}, secret=rsa.public()),
        rsa.sign(exp=now - 60), rsa.sign(aud="others"), rsa.sign()[:-4] + "AAAA",
    ]
    for number, one in enumerate(wrong):
        assert count_outcome(cluster, one) == Code.UNAUTHENTICATED, (number, one)


def test_tokens_carry_filters_and_limits(cluster):
    kept = token(grants=["write:books"], more={"filter": {"shelf": ["a", 1]}, "limits": {"batch": 2}})
    with points_of(cluster.coordinator.address, kept) as points:
        assert points.Count(p.CountRequest(collection="books"), timeout=10).count == 0
        good = p.Point(id=common.PointId(number=7_000), payload={"shelf": common.Value(int_value=1)})
        assert points.Upsert(p.UpsertRequest(collection="books", points=[good]), timeout=10).applied == 1
        assert points.Count(p.CountRequest(collection="books", read=p.ReadOptions(consistency=p.READ_CONSISTENCY_PRIMARY)), timeout=10).count == 1
        assert outcome(lambda: points.Upsert(p.UpsertRequest(collection="books", points=[good] * 3), timeout=10)) == Code.INVALID_ARGUMENT
        assert points.Delete(p.DeletePointsRequest(collection="books", ids=[good.id, common.PointId(number=1)]), timeout=10).not_found == 1


@pytest.mark.parametrize("claim", [
    {"filters": {"shelf": "a"}}, {"filter": None}, {"limit": {"batch": 1}}, {"limits": None}, {"limits": {"bach": 1}}, {"limits": {"batch": None}},
], ids=str)
def test_a_claim_of_which_a_part_would_be_passed_over_is_refused(cluster, claim):
    """What stands beside the grants takes something away, so nothing there may be overlooked."""
    with points_of(cluster.coordinator.address, token(more=claim)) as points, pytest.raises(grpc.RpcError) as failure:
        points.Count(p.CountRequest(collection="books"), timeout=10)
    assert failure.value.code() == Code.UNAUTHENTICATED
    name = next(iter(claim["limits"] if claim.get("limits") else claim))
    assert f'"{name}"' in failure.value.details(), failure.value.details()


def test_a_key_set_is_read_again_when_it_changes(cluster, folder, rsa):
    second = RSAKey(folder, "second")
    former, later = rsa.sign(), second.sign()
    assert (count_outcome(cluster, former), count_outcome(cluster, later)) == (Code.OK, Code.UNAUTHENTICATED)
    try:
        # In one step, as one replaces files that others read.
        (folder / "new").write_text(json.dumps({"keys": [second.jwk()]}))
        (folder / "new").rename(folder / "jwks.json")
        wait_for(lambda: count_outcome(cluster, later) == Code.OK, "the new key", 10)
        assert count_outcome(cluster, former) == Code.UNAUTHENTICATED
        # One that cannot be read changes nothing, and is spoken of.
        (folder / "jwks.json").write_text("{")
        wait_for(lambda: "is no JSON web key set" in cluster.coordinator.output(1 << 20), "a warning", 10)
        assert count_outcome(cluster, later) == Code.OK
    finally:
        (folder / "jwks.json").write_text(json.dumps({"keys": [rsa.jwk()]}))
        wait_for(lambda: count_outcome(cluster, former) == Code.OK, "the old key", 10)


# Roles

def methods():
    """Every method of the public API, from what Proto/ says."""
    found = {}
    for path in sorted((ROOT / "Proto" / "needletail" / "v1").glob("*.proto")):
        module = importlib.import_module(f"needletail.v1.{path.stem}_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found[f"/{service.full_name}/{method.name}"] = method
    return found


# What this test takes for right, apart from what the coordinator does: the least role on the collection (c) or the cluster (k); "" for any caller.
# An f where callers with a filter may.
RIGHTS = {
    "Points": {**dict.fromkeys(["Get", "Scroll", "Count", "Search", "SearchBatch"], "c-read-f"),
               **dict.fromkeys(["Upsert", "UpsertStream", "Delete", "SetPayload", "OverwritePayload", "DeletePayload"], "c-write-f")},
    "Collections": {"Get": "c-read-f", "List": "any-f", "Update": "c-admin", "Train": "c-admin", "Delete": "c-admin", "Create": "k-admin"},
    "Cluster": {**dict.fromkeys(["Status", "Nodes", "Shards", "Plan", "Operations", "Events"], "k-read"),
                **dict.fromkeys(["Move", "Split", "Merge", "Cancel", "Drain", "Undrain", "Forget", "Pause", "Resume"], "k-admin")},
    "Backups": dict.fromkeys(["Create", "Restore", "Delete", "List", "Verify", "Operations", "Cancel"], "k-admin"),
    "Access": {**dict.fromkeys(["CreateKey", "ListKeys", "RevokeKey"], "k-admin"), "WhoAmI": "any-f"},
}
ORDER = ["read", "write", "admin"]


def is_allowed(right, held, is_filtered):
    if is_filtered and not right.endswith("-f"):
        return False
    if right.startswith("any") or "cluster:admin" in held:
        return True
    place, role = right.split("-")[:2]
    for grant in held:
        first, second = grant.split(":")
        if place == "k" and first == "cluster" and ORDER.index(second) >= ORDER.index(role):
            return True
        if place == "c" and first in ORDER and second in ("absent", "abs*", "*") and ORDER.index(first) >= ORDER.index(role):
            return True
    return False


def call(channel, path, method, collection):
    """Calls any method with a request that names the collection, where it names one."""
    request = message_factory.GetMessageClass(method.input_type)()
    for name in ("collection", "name"):
        field = method.input_type.fields_by_name.get(name)
        if field is not None and field.type == field.TYPE_STRING and "Access" not in path and "Backups" not in path:
            setattr(request, name, collection)
            break
    if method.name == "UpsertStream":
        # A message without points asks for nothing.
        request.points.add(id=common.PointId(number=1))
    # What is no request at all is told so, whoever sends it.
    if method.name == "Search":
        request.query.vector.values.extend([1, 2, 3, 4])
    if method.name == "SearchBatch":
        request.queries.add().vector.values.extend([1, 2, 3, 4])
    if "Backups" in path:
        # Somewhere that is nowhere.
        if "target" in method.input_type.fields_by_name:
            request.target = "file:///nonexistent/needletail-tests"
    answer = message_factory.GetMessageClass(method.output_type).FromString
    kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
    callable_ = getattr(channel, kind)(path, request_serializer=lambda one: one.SerializeToString(), response_deserializer=answer)
    result = callable_(iter([request]) if method.client_streaming else request, timeout=30)
    return list(result) if method.server_streaming else result


def test_every_method_asks_for_the_right_that_it_should(cluster):
    found = methods()
    assert {path.split("/")[1].rsplit(".", 1)[1] + "." + path.split("/")[2] for path in found} == {
        f"{service}.{name}" for service, names in RIGHTS.items() for name in names}, "a method without an entry here"
    kept = dict(filter=[a.FilterCondition(key="tenant", values=[common.Value(string_value="x")])])
    callers = [(held, False) for held in (["read:absent"], ["write:abs*"], ["admin:absent"], ["admin:other", "read:absent2"], ["admin:*"], ["cluster:read"],
                                          ["cluster:admin"], ["cluster:read", "write:absent"])] + [(["write:absent"], True), (["read:*"], True)]
    tried = 0
    with grpc.insecure_channel(cluster.coordinator.address, options=UNLIMITED) as plain:
        for path, method in found.items():
            assert outcome(lambda: call(plain, path, method, "absent")) == Code.UNAUTHENTICATED, path
        for held, is_filtered in callers:
            channel = with_key(plain, make_key(cluster, *held, **(kept if is_filtered else {})).key)
            for path, method in found.items():
                service, name = path.split("/")[1].rsplit(".", 1)[1], path.split("/")[2]
                code = outcome(lambda: call(channel, path, method, "absent"))
                tried += 1
                if is_allowed(RIGHTS[service][name], held, is_filtered):
                    assert code not in (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.INTERNAL, Code.UNKNOWN), (held, path, code)
                else:
                    assert code == Code.PERMISSION_DENIED, (held, is_filtered, path, code)
    print(f"{tried} calls by {len(callers)} callers of {len(found)} methods")


def test_refusals_do_not_say_what_there_is(cluster):
    key = make_key(cluster, "read:nothing-*").key
    for collection in ("books", "no such collection"):
        assert count_outcome(cluster, key, collection) == Code.PERMISSION_DENIED
    with grpc.insecure_channel(cluster.coordinator.address) as plain:
        from needletail.v1 import collections_pb2_grpc

        listed = collections_pb2_grpc.CollectionsStub(with_key(plain, key)).List(c.ListCollectionsRequest(), timeout=10)
        assert not listed.collections
        seen = collections_pb2_grpc.CollectionsStub(with_key(plain, make_key(cluster, "read:b*").key)).List(c.ListCollectionsRequest(), timeout=10)
        assert [one.name for one in seen.collections] == ["books"]


def test_a_stream_writes_only_where_it_may(cluster):
    key = make_key(cluster, "write:other").key
    point = p.Point(id=common.PointId(number=1))
    with points_of(cluster.coordinator.address, key) as points:
        for requests in ([p.UpsertRequest(collection="books", points=[point])], [p.UpsertRequest(collection="other"), p.UpsertRequest(
                collection="books", points=[point])]):
            assert outcome(lambda requests=requests: points.UpsertStream(iter(requests), timeout=10)) in (Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT)
        assert outcome(lambda: points.UpsertStream(iter([]), timeout=10)) == Code.OK


def test_a_stream_ends_when_its_key_is_revoked(cluster):
    made, over = make_key(cluster, "write:books"), threading.Event()
    point = p.Point(id=common.PointId(number=1_000), vectors={"v": common.Vector(values=[0, 0, 0, 0])})

    def requests():
        yield p.UpsertRequest(collection="books", points=[point])
        while not over.is_set():
            yield p.UpsertRequest(points=[point])

    with points_of(cluster.coordinator.address, made.key) as points, points_of(cluster.coordinator.address, ADMIN) as others:
        stream = points.UpsertStream.future(requests(), timeout=60)
        try:
            wait_for(lambda: others.Get(p.GetPointsRequest(collection="books", ids=[point.id]), timeout=10).points, "the stream's first point")
            access(cluster).RevokeKey(a.RevokeKeyRequest(id=made.description.id), timeout=10)
            assert outcome(lambda: stream.result(timeout=50)) == Code.UNAUTHENTICATED
        finally:
            over.set()


def test_names_of_writes_are_each_callers_own(cluster):
    keys = [make_key(cluster, "write:books").key for _ in range(2)]
    options = p.WriteOptions(operation_id=b"everybody's name")
    for number, key in enumerate(keys, 2_000):
        request = p.UpsertRequest(collection="books", points=[p.Point(id=common.PointId(number=number))], options=options)
        with points_of(cluster.coordinator.address, key) as points:
            first, again = points.Upsert(request, timeout=10), points.Upsert(request, timeout=10)
            assert first.applied == 1 and again.shards == first.shards, "the same caller's second attempt is the first"
            found = points.Get(p.GetPointsRequest(collection="books", ids=[common.PointId(number=number)], read=p.ReadOptions(
                consistency=p.READ_CONSISTENCY_PRIMARY)), timeout=10)
            assert len(found.points) == 1, "another caller's write is not this one"


def test_health_and_reflection_are_open_to_all(cluster):
    with grpc.insecure_channel(cluster.coordinator.address) as plain:
        check = plain.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes)
        assert check(b"", timeout=10) == b"\x08\x01"
        reflect = plain.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", request_serializer=bytes, response_deserializer=bytes)
        assert any(b"needletail.v1.Access" in answer for answer in reflect(iter([b"\x3a\x00"]), timeout=10))


# Limits

def test_limits_are_kept(cluster):
    limits = a.RequestLimits(request_bytes=2_000, batch=3, ef=64, limit=5)
    made = make_key(cluster, "write:books", limits=limits)
    assert access(cluster).ListKeys(a.ListKeysRequest(), timeout=10).keys[-1].limits == limits
    vector = common.Vector(values=[1, 2, 3, 4])
    ids = [common.PointId(number=i) for i in range(4)]

    with points_of(cluster.coordinator.address, made.key) as points:
        def search(**query):
            return outcome(lambda: points.Search(p.SearchRequest(collection="books", query=p.Query(vector=vector, **query)), timeout=10))

        assert search(limit=5) == Code.OK and search(limit=5, ef=64) == Code.OK
        for query in (dict(limit=6), dict(), dict(limit=5, ef=65), dict(limit=5, exact=True), dict(limit=5, recall_target=0.9)):
            assert search(**query) == Code.INVALID_ARGUMENT, query
        for wanted, count in ((Code.OK, 3), (Code.INVALID_ARGUMENT, 4)):
            batch = p.SearchBatchRequest(collection="books", queries=[p.Query(vector=vector, limit=1)] * count)
            writes = [p.Point(id=one) for one in ids[:count]]
            for request in (lambda batch=batch: points.SearchBatch(batch, timeout=10),
                            lambda count=count: points.Get(p.GetPointsRequest(collection="books", ids=ids[:count]), timeout=10),
                            lambda count=count: points.SetPayload(p.SetPayloadRequest(collection="books", ids=ids[:count], payload={
                                "x": common.Value(bool_value=True)}), timeout=10),
                            lambda writes=writes: points.UpsertStream(iter([p.UpsertRequest(collection="books", points=writes)]), timeout=10)):
                assert outcome(request) == wanted, count
        large = {"x": common.Value(string_value="x" * 2_000)}
        assert outcome(lambda: points.SetPayload(p.SetPayloadRequest(collection="books", ids=ids[:1], payload=large), timeout=10)) == Code.INVALID_ARGUMENT
        pages = list(points.Scroll(p.ScrollRequest(collection="books", limit=12, page=10_000), timeout=10))
        assert sum(len(page.points) for page in pages) == 12 and all(len(page.points) <= 5 for page in pages)


def test_a_rate_is_kept_and_says_when_to_come_again(cluster):
    key = make_key(cluster, "write:books", limits=a.RequestLimits(requests_per_second=5)).key
    other = make_key(cluster, "read:books").key
    request = p.CountRequest(collection="books")
    with points_of(cluster.coordinator.address, key) as points:
        codes, pushback = [], None
        for _ in range(30):
            try:
                points.Count(request, timeout=10)
                codes.append(Code.OK)
            except grpc.RpcError as error:
                codes.append(error.code())
                pushback = pushback or dict(error.trailing_metadata()).get("grpc-retry-pushback-ms")
        assert set(codes) == {Code.OK, Code.RESOURCE_EXHAUSTED} and codes[0] == Code.OK
        assert 1 <= int(pushback) <= 1_000
        assert count_outcome(cluster, other) == Code.OK
        wait_for(lambda: outcome(lambda: points.Count(request, timeout=10)) == Code.OK, "room again", 10)
        # A stream is not refused but slowed down.
        requests = [p.UpsertRequest(collection="books", points=[p.Point(id=common.PointId(number=8_000 + i))]) for i in range(8)]

        def stream():
            return outcome(lambda: points.UpsertStream(iter(requests), timeout=60))

        wait_for(lambda: stream() == Code.OK, "a stream going through", 30)


def test_limits_for_everybody_hold_without_keys_too():
    with Cluster(coordinator_arguments=["--limit-batch", "2", "--limit-results", "3"]) as running:
        ids = [common.PointId(number=i) for i in range(3)]
        assert outcome(lambda: running.points.Get(p.GetPointsRequest(collection="x", ids=ids), timeout=10)) == Code.INVALID_ARGUMENT
        assert outcome(lambda: running.points.Get(p.GetPointsRequest(collection="x", ids=ids[:2]), timeout=10)) == Code.NOT_FOUND


# The audit log

def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_changes_and_refusals_are_written_down(cluster, folder):
    made = make_key(cluster, "write:books", name="clerk")
    with grpc.insecure_channel(cluster.coordinator.address) as plain:
        points = points_pb2_grpc.PointsStub(with_key(plain, made.key))
        points.Upsert(p.UpsertRequest(collection="books", points=[p.Point(id=common.PointId(number=3))]), timeout=10, metadata=[("x-request-id", "audit-1")])
        points.Count(p.CountRequest(collection="books"), timeout=10, metadata=[("x-request-id", "audit-2")])
        outcome(lambda: points.Count(p.CountRequest(collection="secrets"), timeout=10, metadata=[("x-request-id", "audit-3")]))
        outcome(lambda: points_pb2_grpc.PointsStub(with_key(plain, "wrong-key-of-somebody")).Count(
            p.CountRequest(collection="books"), timeout=10, metadata=[("x-request-id", "audit-4")]))
        outcome(lambda: points.Delete(p.DeletePointsRequest(collection="books", ids=[common.PointId()]), timeout=10, metadata=[("x-request-id", "audit-5")]))
    # By JSON the peer is who asked for it, and not this process, whose word others do not know.
    path, own = "/needletail.v1.Points/Count", {"x-request-id": "audit-6", "content-type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", cluster.coordinator.admin_port, timeout=10, source_address=("127.0.0.2", 0))
    connection.request("POST", path, '{"collection": "books"}', own)
    assert connection.getresponse().status == 401
    connection.close()
    with grpc.insecure_channel(cluster.coordinator.address) as plain:
        outcome(lambda: points_pb2_grpc.PointsStub(plain).Count(
            p.CountRequest(collection="books"), timeout=10, metadata=[("x-request-id", "audit-7"), ("needletail-for", "1 2 10.9.8.7:6")]))
    found = {line["request"]: line for line in lines(folder / "audit") if line.get("request", "").startswith("audit-")}
    assert found.pop("audit-6")["peer"].startswith("127.0.0.2:")
    assert set(found) == {"audit-1", "audit-3", "audit-4", "audit-5", "audit-7"}, "reads that are allowed are not written down"
    assert all(line["peer"].startswith("127.0.0.1") and line["time"].endswith("Z") for line in found.values())
    expected = {"outcome": "OK", "method": "/needletail.v1.Points/Upsert", "collection": "books", "caller": "clerk", "key": made.description.id}
    assert {key: found["audit-1"][key] for key in expected} == expected
    assert (found["audit-3"]["outcome"], found["audit-3"]["collection"]) == ("PERMISSION_DENIED", "secrets")
    assert found["audit-4"]["outcome"] == "UNAUTHENTICATED" and "caller" not in found["audit-4"]
    assert found["audit-5"]["outcome"] == "INVALID_ARGUMENT"
    creations = [line for line in lines(folder / "audit") if line["method"].endswith("/CreateKey") and line["outcome"] == "OK"]
    assert creations and all(line["kind"] == "administrator" for line in creations)
    assert made.key[17:] not in (folder / "audit").read_text() and "wrong-key-of-somebody" not in (folder / "audit").read_text()
    assert stat.S_IMODE((folder / "audit").stat().st_mode) == 0o600


def test_long_names_do_not_fill_the_audit_log(cluster, folder):
    before = (folder / "audit").stat().st_size
    assert count_outcome(cluster, make_key(cluster, "read:books").key, collection="long" * 1_000_000) == Code.PERMISSION_DENIED
    assert (folder / "audit").stat().st_size - before < 10_000
    assert lines(folder / "audit")[-1]["collection"].startswith("longlong")


def test_the_audit_log_is_opened_anew_on_a_signal(cluster, folder):
    (folder / "audit").rename(folder / "audit.1")
    before = len(lines(folder / "audit.1"))
    cluster.coordinator.process.send_signal(signal.SIGHUP)
    wait_for((folder / "audit").exists, "a new file")
    make_key(cluster, "read:books")
    assert [line["method"] for line in lines(folder / "audit")] == ["/needletail.v1.Access/CreateKey"]
    assert len(lines(folder / "audit.1")) == before


@pytest.mark.parametrize("may_fail", [False, True])
def test_changes_that_nobody_can_account_for_are_not_made(tmp_path, may_fail):
    (tmp_path / "admin").write_text(ADMIN)
    # A symbolic link is not followed, so the full device is bound to the name by opening it as it is.
    arguments = ["--admin-key-file", str(tmp_path / "admin"), "--audit-log", "/dev/full", *(["--audit-may-fail"] if may_fail else [])]
    with Cluster(coordinator_arguments=arguments, key=ADMIN) as running:
        # The first line that is lost tells that lines are lost.
        outcomes = {outcome(lambda: make_key(running, "read:x")) for _ in range(3)}
        assert outcomes == ({Code.OK} if may_fail else {Code.OK, Code.UNAVAILABLE})
        with points_of(running.coordinator.address, ADMIN) as points:
            assert outcome(lambda: points.Count(p.CountRequest(collection="x"), timeout=10)) == Code.NOT_FOUND
        metrics = request(running, "GET", "/metrics")[1]
        lost = next(line for line in metrics.splitlines() if line.startswith("needletail_audit_failures_total"))
        assert float(lost.split()[-1]) >= 1


# The admin port

def request(cluster, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", cluster.coordinator.admin_port, timeout=10)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


JSON = dict(content_type="application/json")


def test_the_json_api_asks_for_keys_too(cluster):
    path, body = "/needletail.v1.Points/Count", '{"collection": "books"}'
    assert request(cluster, "POST", path, body, **JSON)[0] == 401
    assert request(cluster, "POST", path, body, **JSON, Authorization="Bearer wrong")[0] == 401
    assert request(cluster, "POST", path, body, **JSON, Authorization=f"Bearer {make_key(cluster, 'read:other').key}")[0] == 403
    status, answer = request(cluster, "POST", path, body, **JSON, Authorization=f"Bearer {make_key(cluster, 'read:books').key}")
    assert status == 200 and int(json.loads(answer)["count"]) >= 100
    limited = make_key(cluster, "read:books", limits=a.RequestLimits(requests_per_second=1)).key
    assert [request(cluster, "POST", path, body, **JSON, Authorization=f"Bearer {limited}")[0] for _ in range(3)][1:] == [429, 429]


def test_without_a_key_no_body_is_waited_for(cluster):
    """Nobody fills the coordinator's memory who may not ask it anything."""
    for key, length, status in ((None, 1_000, b"401"), ("wrong", 60_000_000, b"401"), (ADMIN, 99_000_000_000, b"413")):
        with socket.create_connection(("127.0.0.1", cluster.coordinator.admin_port), timeout=10) as connection:
            authorization = f"authorization: Bearer {key}\r\n" if key else ""
            connection.sendall(f"POST /needletail.v1.Points/Count HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{authorization}"
                               f"content-length: {length}\r\n\r\n{{".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 " + status), (key, length)


def test_probes_are_open_and_other_sites_get_nothing(cluster):
    for path in ("/healthz", "/readyz", "/metrics"):
        assert request(cluster, "GET", path, Host="anything.example.com")[0] == 200
    path, body, port = "/needletail.v1.Points/Count", '{"collection": "books"}', cluster.coordinator.admin_port
    good = dict(**JSON, Authorization=f"Bearer {make_key(cluster, 'read:books').key}")
    for host in ("127.0.0.1", f"localhost:{port}", "[::1]:7461", "coordinator-0:7461", "10.1.2.3"):
        assert request(cluster, "POST", path, body, **good, Host=host)[0] == 200, host
        assert request(cluster, "GET", "/", Host=host)[0] == 200, host
    for host in ("evil.example.com", f"rebound.example.com:{port}", "127.0.0.1.example.com", "1.2.3.4.5", "localhost.evil.com"):
        assert request(cluster, "POST", path, body, **good, Host=host)[0] == 403, host
        assert request(cluster, "GET", "/", Host=host)[0] == 403, host
    for origin in ("https://evil.example.com", "null", f"http://127.0.0.1:{port + 1}", "http://localhost"):
        assert request(cluster, "POST", path, body, **good, Origin=origin)[0] == 403, origin
    assert request(cluster, "POST", path, body, **good, Origin=f"http://127.0.0.1:{port}")[0] == 200
    assert request(cluster, "POST", path, body, **good, Sec_Fetch_Site="cross-site")[0] == 403
    # Whoever asks first whether they may (CORS) is not told that they may.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("OPTIONS", path, headers={"Origin": "https://evil.example.com", "Access-Control-Request-Method": "POST"})
    answer = connection.getresponse()
    assert answer.status >= 400 and not [name for name, _ in answer.getheaders() if name.lower().startswith("access-control")]
    connection.close()


def test_names_and_origins_can_be_allowed_and_metrics_guarded(tmp_path):
    (tmp_path / "admin").write_text(ADMIN)
    arguments = ["--admin-key-file", str(tmp_path / "admin"), "--admin-origin", "https://search.example.org", "--admin-origin", "other.example.org",
                 "--guard-metrics", "--audit-log", str(tmp_path / "audit")]
    with Cluster(coordinator_arguments=arguments, key=ADMIN) as running:
        good = dict(**JSON, Authorization=f"Bearer {ADMIN}")
        for headers in (dict(Host="search.example.org", Origin="https://search.example.org"), dict(Origin="https://search.example.org"),
                        dict(Host="other.example.org:7461")):
            assert request(running, "POST", "/needletail.v1.Cluster/Status", "{}", **good, **headers)[0] == 200, headers
        assert request(running, "POST", "/needletail.v1.Cluster/Status", "{}", **good, Host="third.example.org")[0] == 403
        assert request(running, "GET", "/metrics")[0] == 401
        assert request(running, "GET", "/metrics", Authorization=f"Bearer {make_key(running, 'read:*').key}")[0] == 403
        assert request(running, "GET", "/metrics", Authorization=f"Bearer {make_key(running, 'cluster:read').key}")[0] == 200
        assert request(running, "GET", "/healthz")[0] == 200
        refused = [line["outcome"] for line in lines(tmp_path / "audit") if line["method"] == "/metrics"]
        assert refused == ["UNAUTHENTICATED", "PERMISSION_DENIED"]


# Secrets, and the tools

def test_tools_take_keys_from_files_and_the_environment(cluster, tmp_path):
    (tmp_path / "admin").write_text(ADMIN + "\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NEEDLETAIL_")}

    def run(*words, code=0, **environment):
        command = [str(BINARIES / "needletail"), *map(str, words), "--endpoint", cluster.coordinator.address]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**clean, **environment})
        assert ended.returncode == code, ended.stderr
        return ended.stdout + ended.stderr

    assert "NEEDLETAIL_API_KEY" in run("access", "whoami", code=1)
    assert run("access", "whoami", NEEDLETAIL_API_KEY=ADMIN).startswith("administrator: ")
    by_file = ("--api-key-file", tmp_path / "admin")
    assert run("access", "whoami", *by_file).startswith("administrator: ")
    key = run("access", "keys", "create", "tool", "--grant", "write:books", "--filter", '{"shelf": ["a", "b"], "n": 1}', "--expires", "90d", "--rate", "10",
              "--max-batch", "7", *by_file).strip()
    who = json.loads(run("access", "whoami", "--json", NEEDLETAIL_API_KEY=key))
    assert who["name"] == "tool" and who["grants"] == ["write:books"] and who["filter"] == {"shelf": ["a", "b"], "n": [1]}
    assert (who["requests_per_second"], who["batch"]) == (10, 7)
    run("access", "keys", "create", "filed", "--grant", "cluster:read", "--grant", "read:*", "--out", tmp_path / "filed", *by_file)
    assert stat.S_IMODE((tmp_path / "filed").stat().st_mode) == 0o600
    assert "books" in run("collection", "list", "--api-key-file", tmp_path / "filed")
    assert "is not there yet" in run("access", "keys", "create", "x", "--grant", "read:x", "--out", tmp_path / "filed", *by_file, code=1)
    # Nothing is left of a key that was not made, and nothing of a filter left out.
    run("access", "keys", "create", "x", "--grant", "read:x", "--out", tmp_path / "other", "--api-key-file", tmp_path / "filed", code=1)
    assert not (tmp_path / "other").exists() and (tmp_path / "filed").exists()
    assert "named twice" in run("access", "keys", "create", "x", "--grant", "read:x", "--filter", '{"n": 1, "n": 2}', *by_file, code=1)
    assert '"shelf":["a","b"]' in run("access", "whoami", NEEDLETAIL_API_KEY=key)
    listed = json.loads(run("access", "keys", "list", "--json", *by_file))
    assert {"tool", "filed"} <= {one["name"] for one in listed}
    assert "tool" in run("access", "keys", "list", *by_file)
    run("access", "keys", "revoke", next(one["id"] for one in listed if one["name"] == "tool"), *by_file)
    assert "revoked" in run("access", "whoami", code=1, NEEDLETAIL_API_KEY=key)
    for grant in ("everything", "read:", "cluster:write"):
        assert "a grant" in (said := run("access", "keys", "create", "x", "--grant", grant, *by_file, code=1)) or "cluster" in said


@pytest.mark.parametrize("by_file", [True, False])
def test_load_is_sent_with_a_key(cluster, tmp_path, by_file):
    (tmp_path / "key").write_text(make_key(cluster, "write:books").key)
    (tmp_path / "steady.yaml").write_text(f"""
name: steady
target: {{endpoints: "{cluster.coordinator.address}"}}
data: {{points: 50, dimensions: {DIMENSIONS}, queries: 5, truth: false}}
collection: {{name: books, create: false, load: false}}
phases: [{{name: one, seconds: 1, rate: 50, mix: {{search: 1}}}}]
""")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NEEDLETAIL_")}
    command = [str(BINARIES / "needletail-load"), "run", "steady.yaml", "--quiet"]
    failed = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=60)
    assert "searches was answered" in failed.stdout, failed.stdout + failed.stderr
    words, environment = (["--api-key-file", "key"], clean) if by_file else ([], {**clean, "NEEDLETAIL_API_KEY": (tmp_path / "key").read_text()})
    ended = subprocess.run([*command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0 and "searches was answered" not in ended.stdout, ended.stdout + ended.stderr


def test_secrets_are_in_no_log_trace_error_or_argument(cluster, folder, receiver):
    """After all that was done to it, with logs of the finest grain and a trace of every request."""
    made = make_key(cluster, "read:books", name="secretive")
    tokens = [token(), token(exp=1), token(secret="x")]
    for key in [made.key, made.key + "x", *tokens, "Bearer-less secret of somebody"]:
        count_outcome(cluster, key)
        request(cluster, "POST", "/needletail.v1.Points/Count", '{"collection": "books"}', **JSON, Authorization=f"Bearer {key}")
    said = "".join(process.output(1 << 30) for process in [cluster.coordinator, *cluster.workers])
    said += "".join(path.read_text() for path in folder.glob("audit*"))
    said += pathlib.Path(f"/proc/{cluster.coordinator.process.pid}/cmdline").read_text()
    said += request(cluster, "GET", "/metrics")[1]
    refused = f"refused-{time.monotonic_ns()}"
    with points_of(cluster.coordinator.address, "another wrong one".replace(" ", "-")) as points:
        outcome(lambda: points.Count(p.CountRequest(collection="books"), timeout=10, metadata=[("x-request-id", refused)]))
    wait_for(lambda: any(refused in span.attributes.values() for span in receiver.spans()), "the trace of a refused request")
    said += "".join(f"{span} {span.message} {span.state}" for span in receiver.spans())
    assert "coordinator listens" in said and "needletail.v1.Points/Count" in said
    for secret in [ADMIN, SECRET, made.key, made.key[17:], "Bearer-less", *[one.rsplit(".", 1)[1] for one in tokens], *[one.split(".")[1] for one in tokens]]:
        assert secret not in said


def test_the_guide_names_tests_that_there_are():
    """Docs/access.md says of each statement which test shows it."""
    guide = (ROOT / "Docs" / "access.md").read_text()
    python = {name for path in (ROOT / "Tests" / "Python").glob("test_*.py") for name in re.findall(r"^def test_(\w+)", path.read_text(), re.MULTILINE)}
    swift = "\n".join(path.read_text() for path in (ROOT / "Tests").rglob("*Tests.swift"))
    named = [name for name in re.findall(r"(?<!\*)\*([A-Za-z_][\w.]+)\*(?!\*)", guide) if name != "italics"]
    assert len(named) > 30
    for name in named:
        suite, _, test = name.partition(".")
        if suite[0].isupper():
            assert f"struct {suite}" in swift and (not test or f"func {test}(" in swift), name
        else:
            assert name in python, name
