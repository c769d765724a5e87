"""Backups: a consistent state of a collection in a folder or in a bucket, and collections made from it."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
from harness import BINARIES, Cluster, free_ports, wait_for
from needletail.v1 import backup_pb2 as b
from needletail.v1 import backup_pb2_grpc, cluster_pb2
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

PRIMARY = p.ReadOptions(consistency=p.READ_CONSISTENCY_PRIMARY)

DIMENSIONS = 16


def create(cluster, name, shards=2, replicas=1, index=""):
    field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2, index=c.IndexSpec(spec=index) if index else None)
    cluster.collections.Create(
        c.CreateCollectionRequest(name=name, fields=[field], shard_count=shards, replication_factor=replicas), timeout=30)


def vectors(first, count, seed=1):
    return np.random.default_rng([seed, first]).standard_normal((count, DIMENSIONS)).astype("f4")


def write(cluster, name, first, count, seed=1, payload=True):
    rows = vectors(first, count, seed)
    points = [
        p.Point(id=common.PointId(number=first + i), vectors={"v": common.Vector(data=row.tobytes())},
                payload={"n": common.Value(int_value=first + i), "seed": common.Value(int_value=seed)} if payload else {})
        for i, row in enumerate(rows)
    ]
    cluster.points.Upsert(p.UpsertRequest(collection=name, points=points), timeout=60)


def contents(cluster, name):
    # Of the primaries: other replicas in sync may be a moment behind what was acknowledged.
    request = p.ScrollRequest(collection=name, parts=p.PointParts(payload=True, vectors=True), page=2_000, read=PRIMARY)
    return {
        one.id.number: (one.vectors["v"].data, sorted((key, value.SerializeToString()) for key, value in one.payload.items()))
        for page in cluster.points.Scroll(request, timeout=120) for one in page.points
    }


def nearest(cluster, name, count=20):
    """Of exact search: ids and scores."""
    queries = [p.Query(vector=common.Vector(data=row.tobytes()), limit=10, exact=True) for row in vectors(10**9, count)]
    answer = cluster.points.SearchBatch(p.SearchBatchRequest(collection=name, queries=queries, read=PRIMARY), timeout=60)
    return [[(one.id.number, one.score) for one in result.points] for result in answer.results]


class Failed(Exception):
    pass


def backups(cluster):
    return backup_pb2_grpc.BackupsStub(cluster.channel)


def end(cluster, operation, seconds=120):
    """The operation when it has ended."""
    def ended():
        try:
            found = backups(cluster).Operations(b.ListBackupOperationsRequest(), timeout=10).operations
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED), error
            return None
        return next((one for one in found if one.id == operation.id and one.ended), None)

    found = wait_for(ended, f"the end of operation {operation.id}", seconds, cluster.describe)
    if found.step == "failed":
        raise Failed(found.problem)
    return found


def back_up(cluster, name, target, backup):
    return end(cluster, backups(cluster).Create(b.CreateBackupRequest(collection=name, target=target, name=backup), timeout=30))


def restore(cluster, target, backup, name, **options):
    return end(cluster, backups(cluster).Restore(b.RestoreBackupRequest(target=target, name=backup, collection=name, **options), timeout=30))


def delete(cluster, target, backup):
    return end(cluster, backups(cluster).Delete(b.DeleteBackupRequest(target=target, name=backup), timeout=30))


def verify(cluster, target, backup):
    return backups(cluster).Verify(b.VerifyBackupRequest(target=target, name=backup), timeout=120)


def names(cluster):
    return {one.name for one in cluster.collections.List(c.ListCollectionsRequest(), timeout=10).collections}


def in_sync(cluster, name):
    found = cluster.cluster.Shards(cluster_pb2.ListShardsRequest(collection=name), timeout=10).shards
    return [sum(one.in_sync and one.state == cluster_pb2.REPLICA_STATE_READY for one in shard.replicas) for shard in found]


def objects(folder):
    return {path.name: path for path in pathlib.Path(folder).glob("objects/*/*")}


@pytest.fixture(scope="module")
def running():
    with Cluster(workers=3) as running:
        yield running


@pytest.fixture
def cluster(running):
    yield running
    drop(running, *names(running))


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="needletail-backups-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def drop(cluster, *collections):
    for name in collections:
        cluster.collections.Delete(c.DeleteCollectionRequest(name=name, ignore_missing=True), timeout=60)


def test_files_come_back_as_they_were(cluster, folder):
    create(cluster, "books", shards=3, replicas=2)
    for first in range(0, 12_000, 2_000):
        write(cluster, "books", first, 2_000)
    write(cluster, "books", 0, 500, seed=2)
    cluster.points.Delete(p.DeletePointsRequest(collection="books", ids=[common.PointId(number=i) for i in range(600, 700)]), timeout=30)
    target = f"file://{folder}"
    done = back_up(cluster, "books", target, "one")
    assert done.step == "done" and done.bytes == done.new_bytes > 12_000 * DIMENSIONS * 4 and 0 < done.held_microseconds < 1_000_000
    truth, found = contents(cluster, "books"), nearest(cluster, "books")
    # What comes later is not in it.
    write(cluster, "books", 50_000, 100)
    restore(cluster, target, "one", "again")
    assert contents(cluster, "again") == truth and len(truth) == 11_900
    assert nearest(cluster, "again") == found
    assert cluster.collections.Get(c.GetCollectionRequest(name="again"), timeout=10).replication_factor == 2
    # It is a collection like any other.
    wait_for(lambda: in_sync(cluster, "again") == [2, 2, 2], "replicas being filled", 60, cluster.describe)
    write(cluster, "again", 60_000, 100)
    assert len(contents(cluster, "again")) == 12_000
    listed = backups(cluster).List(b.ListBackupsRequest(target=target), timeout=10).backups
    assert [(one.name, one.collection, one.shards, one.problem) for one in listed] == [("one", "books", 3, "")]
    assert verify(cluster, target, "one").problems == []
    drop(cluster, "books", "again")


@pytest.mark.parametrize("before,after", [(2, 5), (5, 2)])
def test_another_number_of_shards(cluster, folder, before, after):
    create(cluster, "plenty", shards=before)
    for first in range(0, 6_000, 2_000):
        write(cluster, "plenty", first, 2_000)
    target = f"file://{folder}"
    back_up(cluster, "plenty", target, "one")
    truth, found = contents(cluster, "plenty"), nearest(cluster, "plenty")
    drop(cluster, "plenty")
    restore(cluster, target, "one", "plenty", shard_count=after)
    assert cluster.collections.Get(c.GetCollectionRequest(name="plenty"), timeout=10).shard_count == after
    assert contents(cluster, "plenty") == truth and nearest(cluster, "plenty") == found
    assert names(cluster) == {"plenty"}
    drop(cluster, "plenty")


def test_a_codec_comes_along_trained(cluster, folder):
    create(cluster, "coded", index="rotate,lvq8")
    for first in range(0, 6_000, 2_000):
        write(cluster, "coded", first, 2_000)

    def codec(name):
        return cluster.collections.Get(c.GetCollectionRequest(name=name), timeout=10).codecs[0]

    wait_for(lambda: codec("coded").version == 1 and codec("coded").encoded == codec("coded").total > 0, "codes", 60, cluster.describe)
    target = f"file://{folder}"
    back_up(cluster, "coded", target, "one")
    for name, shards in [("same", 0), ("other", 3)]:
        restore(cluster, target, "one", name, shard_count=shards)
        wait_for(lambda: codec(name).version == 1 and codec(name).encoded == codec(name).total > 0, f"codes of {name}", 60, cluster.describe)
        assert contents(cluster, name) == contents(cluster, "coded") and nearest(cluster, name) == nearest(cluster, "coded")
    drop(cluster, "coded", "same", "other")


def test_collections_that_are_empty_or_were_never_checkpointed(cluster, folder):
    target = f"file://{folder}"
    create(cluster, "empty", shards=2, replicas=2)
    back_up(cluster, "empty", target, "nothing")
    write(cluster, "empty", 0, 3)
    back_up(cluster, "empty", target, "three")
    for backup, count in [("nothing", 0), ("three", 3)]:
        for shards in (0, 3):
            restore(cluster, target, backup, "back", shard_count=shards)
            assert len(contents(cluster, "back")) == count
            write(cluster, "back", 100, 50)
            assert len(contents(cluster, "back")) == count + 50
            drop(cluster, "back")
    drop(cluster, "empty")


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_backup_under_writes_is_of_one_moment(cluster, folder, replicas):
    """Each writer writes one point after the other, to any shard. Of each writer the backup has a prefix: not a point without those before it."""
    create(cluster, "busy", shards=4, replicas=replicas)
    target, stop = f"file://{folder}", threading.Event()
    writers, acknowledged = 8, [0] * 8

    def run(writer):
        rows = vectors(writer, 100_000)
        number = 0
        while not stop.is_set():
            point = p.Point(id=common.PointId(number=writer * 1_000_000 + number), vectors={"v": common.Vector(data=rows[number].tobytes())})
            cluster.points.Upsert(p.UpsertRequest(collection="busy", points=[point]), timeout=30)
            number += 1
            acknowledged[writer] = number

    threads = [threading.Thread(target=run, args=[writer]) for writer in range(writers)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: min(acknowledged) > 20, "writes", 30, cluster.describe)
        begun, ended, held = [], [], []
        for number in range(5):
            begun.append(list(acknowledged))
            held.append(back_up(cluster, "busy", target, f"b{number}").held_microseconds)
            ended.append(list(acknowledged))
            enough = min(acknowledged) + 20
            wait_for(lambda: min(acknowledged) > enough, "more writes", 30, cluster.describe)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    print("writes were held for (ms):", [one / 1000 for one in held])
    for number in range(5):
        restore(cluster, target, f"b{number}", "then", shard_count=[0, 2][number % 2])
        found = contents(cluster, "then")
        for writer in range(writers):
            mine = sorted(i - writer * 1_000_000 for i in found if i // 1_000_000 == writer)
            assert mine == list(range(len(mine))), f"writer {writer} of backup {number} has gaps"
            # At most one write is under way at each moment.
            assert begun[number][writer] <= len(mine) <= ended[number][writer] + 1
        drop(cluster, "then")
    drop(cluster, "busy")


def test_a_second_backup_sends_what_changed(cluster, folder):
    create(cluster, "large", shards=2)
    for first in range(0, 40_000, 2_000):
        write(cluster, "large", first, 2_000)
    target = f"file://{folder}"

    def is_checkpointed():
        return back_up(cluster, "large", target, f"full-{time.monotonic_ns()}").new_bytes < 20_000

    # The last points of a load are in the log until its shards rest.
    wait_for(is_checkpointed, "a backup with nothing new", 60, cluster.describe)
    before = set(objects(folder))
    write(cluster, "large", 7, 1, seed=3)
    small = back_up(cluster, "large", target, "small")
    assert small.new_bytes < small.bytes / 100, (small.new_bytes, small.bytes)
    for first in range(100_000, 100_400, 200):
        write(cluster, "large", first, 200)
    percent = back_up(cluster, "large", target, "percent")
    print(f"a backup of {percent.bytes} bytes after 1 % more points sent {percent.new_bytes}; after one point {small.new_bytes}")
    assert percent.new_bytes < percent.bytes / 4
    restore(cluster, target, "percent", "back")
    assert contents(cluster, "back") == contents(cluster, "large")
    # What only the later ones had goes with them.
    listed = [one.name for one in backups(cluster).List(b.ListBackupsRequest(target=target), timeout=10).backups]
    assert listed[-2:] == ["small", "percent"]
    for name in listed[1:]:
        delete(cluster, target, name)
    assert set(objects(folder)) <= before
    restore(cluster, target, listed[0], "first")
    assert len(contents(cluster, "first")) == 40_000
    delete(cluster, target, listed[0])
    assert not objects(folder) and not list(pathlib.Path(folder).glob("backups/*"))
    drop(cluster, "large", "back", "first")


def test_into_another_cluster(cluster, folder):
    create(cluster, "moved", shards=3)
    write(cluster, "moved", 0, 2_000)
    target = f"file://{folder}"
    back_up(cluster, "moved", target, "one")
    truth = contents(cluster, "moved")
    with Cluster(workers=1) as other:
        restore(other, target, "one", "")
        assert contents(other, "moved") == truth
        restore(other, target, "one", "single", shard_count=1)
        assert contents(other, "single") == truth
        # Restarted, it is all there.
        other.workers[0].kill()
        other.workers[0].start()
        other.wait_until_ready()
        assert contents(other, "moved") == truth
        with pytest.raises(grpc.RpcError) as refusal:
            back_up(other, "moved", target, "two")
        assert refusal.value.code() == grpc.StatusCode.FAILED_PRECONDITION and "another cluster" in refusal.value.details()
    drop(cluster, "moved")


def test_what_cannot_be_is_refused(cluster, folder):
    create(cluster, "here")
    write(cluster, "here", 0, 500)
    target = f"file://{folder}"
    stub = backups(cluster)
    back_up(cluster, "here", target, "one")

    def refused(call, request, code, *words):
        with pytest.raises(grpc.RpcError) as refusal:
            call(request, timeout=30)
        assert refusal.value.code() == code and all(word in refusal.value.details() for word in words), refusal.value

    status = grpc.StatusCode
    refused(stub.Create, b.CreateBackupRequest(collection="none", target=target), status.NOT_FOUND, "none")
    refused(stub.Create, b.CreateBackupRequest(collection="here", target=target, name="one"), status.ALREADY_EXISTS, "one")
    refused(stub.Create, b.CreateBackupRequest(collection="here", target=target, name="../one"), status.INVALID_ARGUMENT, "name")
    refused(stub.Create, b.CreateBackupRequest(collection="here", target="/tmp"), status.INVALID_ARGUMENT, "file:///")
    refused(stub.Restore, b.RestoreBackupRequest(target=target, name="two"), status.NOT_FOUND, "backup list")
    refused(stub.Restore, b.RestoreBackupRequest(target=target, name="one"), status.ALREADY_EXISTS, "another name")
    many = b.RestoreBackupRequest(target=target, name="one", collection="many", replication_factor=7)
    refused(stub.Restore, many, status.FAILED_PRECONDITION, "needs as many shard workers")
    refused(stub.Restore, b.RestoreBackupRequest(target=target, name="one", collection="x", shard_count=1_000), status.INVALID_ARGUMENT, "256")
    refused(stub.Delete, b.DeleteBackupRequest(target=target, name="two"), status.NOT_FOUND, "two")
    refused(stub.Verify, b.VerifyBackupRequest(target=target, name="two"), status.NOT_FOUND, "two")
    refused(stub.Cancel, b.CancelBackupRequest(id="0" * 15 + "1"), status.NOT_FOUND)
    # A folder that cannot be made.
    file = pathlib.Path(folder) / "file"
    file.write_text("")
    refused(stub.Create, b.CreateBackupRequest(collection="here", target=f"file://{file}/below"), status.FAILED_PRECONDITION, "cannot be used")
    # No credentials.
    refused(stub.Create, b.CreateBackupRequest(collection="here", target="s3://bucket"), status.FAILED_PRECONDITION, "AWS_ACCESS_KEY_ID")
    wide = b.RestoreBackupRequest(target=target, name="one", collection="wide", shard_count=5, replication_factor=7)
    refused(stub.Restore, wide, status.FAILED_PRECONDITION, "needs as many shard workers")
    assert names(cluster) == {"here"}
    drop(cluster, "here")


def test_a_damaged_backup_is_found_and_leaves_nothing(cluster, folder):
    create(cluster, "fragile")
    write(cluster, "fragile", 0, 3_000)
    target = f"file://{folder}"
    back_up(cluster, "fragile", target, "one")
    largest = max(objects(folder).values(), key=lambda path: path.stat().st_size)
    whole = largest.read_bytes()

    def is_refused(shards):
        with pytest.raises(Failed, match="an object of the backup is (damaged|missing)"):
            restore(cluster, target, "one", "broken", shard_count=shards)
        wait_for(lambda: names(cluster) == {"fragile"}, "nothing half", 10, cluster.describe)
        folders = [path for worker in cluster.workers for path in (worker.folder / "data" / "replicas").iterdir()]
        assert not [path for path in folders if ".incoming" in path.name or ".ready" in path.name]

    largest.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert len(verify(cluster, target, "one").problems) == 1
    is_refused(0)
    is_refused(5)
    largest.unlink()
    assert "missing" in verify(cluster, target, "one").problems[0]
    is_refused(0)
    largest.write_bytes(whole)
    manifest = pathlib.Path(folder) / "backups" / "one"
    kept = manifest.read_bytes()
    manifest.write_bytes(kept[:-9] + b"x" + kept[-8:])
    with pytest.raises(grpc.RpcError) as refusal:
        restore(cluster, target, "one", "broken")
    assert refusal.value.code() == grpc.StatusCode.DATA_LOSS
    assert "damaged" in backups(cluster).List(b.ListBackupsRequest(target=target), timeout=10).backups[0].problem
    manifest.write_bytes(kept)
    restore(cluster, target, "one", "broken")
    assert contents(cluster, "broken") == contents(cluster, "fragile")
    drop(cluster, "fragile", "broken")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_at_the_target(cluster, folder):
    small = pathlib.Path(folder) / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True).returncode != 0:
        pytest.skip("this sandbox does not let us mount")
    try:
        create(cluster, "big")
        for first in range(0, 8_000, 2_000):
            write(cluster, "big", first, 2_000)
        with pytest.raises(Failed, match="disk is full"):
            back_up(cluster, "big", f"file://{small}", "one")
        assert not list(small.glob("backups/*")) and not list(small.glob("objects/*/.part-*"))
        assert backups(cluster).List(b.ListBackupsRequest(target=f"file://{small}"), timeout=10).backups == []
        # With room it goes on from what is there.
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        done = back_up(cluster, "big", f"file://{small}", "one")
        assert done.new_bytes < done.bytes
        restore(cluster, f"file://{small}", "one", "back")
        assert contents(cluster, "back") == contents(cluster, "big")
        drop(cluster, "big", "back")
    finally:
        subprocess.run(["umount", "-l", str(small)], capture_output=True)


@pytest.mark.parametrize("shards", [0, 3])
def test_a_restore_goes_on_when_a_worker_was_away(folder, shards):
    """The collection's places are there before its replicas are: a node that comes back without one may not be given up."""
    with Cluster(workers=3) as own:
        create(own, "a", shards=2, replicas=2)
        for first in range(0, 20_000, 2_000):
            write(own, "a", first, 2_000)
        truth = contents(own, "a")
        target = f"file://{folder}"
        back_up(own, "a", target, "one")
        begun = backups(own).Restore(b.RestoreBackupRequest(target=target, name="one", collection="b", shard_count=shards), timeout=30)
        away = own.workers[0]
        away.kill()
        # Until others would lead what it leads.
        wait_for(lambda: sum(node.alive for node in own.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes) == 2, "the worker's lease being over", 30, own.describe)
        away.start()
        assert end(own, begun, 45).step == "done"
        assert contents(own, "b") == truth
        left = [path for worker in own.workers for path in (worker.folder / "data").glob("orphaned/*")]
        assert not left, left


def test_a_restore_can_be_cancelled(cluster, folder):
    create(cluster, "wanted", shards=2)
    for first in range(0, 20_000, 2_000):
        write(cluster, "wanted", first, 2_000)
    target = f"file://{folder}"
    back_up(cluster, "wanted", target, "one")
    stub = backups(cluster)

    def replicas():
        return {path.name for worker in cluster.workers for path in (worker.folder / "data" / "replicas").iterdir()}

    before = replicas()
    begun = stub.Restore(b.RestoreBackupRequest(target=target, name="one", collection="unwanted", shard_count=3), timeout=30)
    with pytest.raises(grpc.RpcError) as refusal:
        stub.Restore(b.RestoreBackupRequest(target=target, name="one", collection="unwanted"), timeout=30)
    assert refusal.value.code() == grpc.StatusCode.ALREADY_EXISTS
    # While it is read nothing is removed.
    with pytest.raises(grpc.RpcError) as refusal:
        stub.Delete(b.DeleteBackupRequest(target=target, name="one"), timeout=30)
    assert refusal.value.code() == grpc.StatusCode.ABORTED
    stub.Cancel(b.CancelBackupRequest(id=begun.id), timeout=30)
    assert end(cluster, begun).step == "cancelled"

    wait_for(lambda: replicas() == before, "the removal of what it made", 30, lambda: f"{replicas()} {cluster.describe()}")
    assert names(cluster) == {"wanted"}
    restore(cluster, target, "one", "unwanted")
    assert len(contents(cluster, "unwanted")) == 20_000
    drop(cluster, "wanted", "unwanted")


class S3:
    """An S3 service, and buckets in it."""

    def __init__(self, folder, **environment):
        self.port = free_ports(1)[0]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log = open(pathlib.Path(folder) / "s3.log", "wb")
        self.process = subprocess.Popen(
            [str(pathlib.Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(self.port)], stdout=self.log, stderr=self.log,
            env={**os.environ, **environment})
        wait_for(self.answers, "the S3 service answering", 60)

    def answers(self):
        try:
            with urllib.request.urlopen(self.endpoint + "/moto-api/", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, method, path):
        """Without a right signature, which the service does not ask for unless told to."""
        headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20200101/us-east-1/s3/aws4_request"}
        request = urllib.request.Request(self.endpoint + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def keys(self, bucket, prefix=""):
        return re.findall(r"<Key>([^<]*)</Key>", self.ask("GET", f"/{bucket}?list-type=2&prefix={prefix}"))

    def environment(self):
        return {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-sees", "AWS_REGION": "eu-north-1",
                "AWS_ENDPOINT_URL": self.endpoint}

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def s3(monkeypatch, request):
    folder = tempfile.mkdtemp(prefix="needletail-s3-")
    running = S3(folder, **getattr(request, "param", {}))
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    yield running
    running.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_bucket_is_as_good_as_a_folder(s3):
    s3.ask("PUT", "/bucket")
    with Cluster(workers=2) as cluster:
        create(cluster, "books", shards=2)
        for first in range(0, 6_000, 2_000):
            write(cluster, "books", first, 2_000)
        target = "s3://bucket/a/b"
        first = back_up(cluster, "books", target, "one")
        again = back_up(cluster, "books", target, "two")
        assert again.new_bytes < again.bytes / 10 and first.new_bytes > first.bytes * 0.9
        truth, found = contents(cluster, "books"), nearest(cluster, "books")
        listed = backups(cluster).List(b.ListBackupsRequest(target=target), timeout=30).backups
        assert [one.name for one in listed] == ["one", "two"]
        assert verify(cluster, target, "one").problems == []
        for shards in (0, 3):
            restore(cluster, target, "one", f"back-{shards}", shard_count=shards)
            assert contents(cluster, f"back-{shards}") == truth and nearest(cluster, f"back-{shards}") == found
        delete(cluster, target, "one")
        assert verify(cluster, target, "two").problems == []
        delete(cluster, target, "two")
        assert s3.keys("bucket") == ["a/b/target"]
        # What is wrong is said, and nothing is left.
        with pytest.raises(grpc.RpcError) as refusal:
            back_up(cluster, "books", "s3://nowhere/x", "one")
        assert refusal.value.code() == grpc.StatusCode.NOT_FOUND and "bucket does not exist" in refusal.value.details()
        s3.process.kill()
        with pytest.raises(grpc.RpcError) as refusal:
            back_up(cluster, "books", target, "one")
        assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE and "AWS_ENDPOINT_URL" in refusal.value.details()
        for process in [cluster.coordinator, *cluster.workers]:
            assert "a-secret-that-nobody-sees" not in process.output(10**7)
        assert b"a-secret" not in b"".join(path.read_bytes() for path in cluster.folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("s3", [{"INITIAL_NO_AUTH_ACTION_COUNT": "1"}], indirect=True)
def test_credentials_that_are_refused(s3):
    # After this request the service checks signatures.
    s3.ask("PUT", "/bucket")
    with Cluster(workers=1) as cluster:
        create(cluster, "books", shards=1)
        write(cluster, "books", 0, 10)
        with pytest.raises(grpc.RpcError) as refusal:
            back_up(cluster, "books", "s3://bucket/x", "one")
        assert refusal.value.code() == grpc.StatusCode.PERMISSION_DENIED and "AWS_SECRET_ACCESS_KEY" in refusal.value.details()
        assert "a-secret" not in refusal.value.details()


def test_a_service_that_fails_now_and_then(s3, monkeypatch):
    """Requests are tried again: a proxy before the service answers every fifth one with 503."""
    import http.server

    counts = {"asked": 0, "refused": 0}

    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            counts["asked"] += 1
            if counts["asked"] % 5 == 0:
                counts["refused"] += 1
                status, headers, data = 503, {}, b"<Error><Code>SlowDown</Code></Error>"
            else:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
                headers["Content-Type"] = "application/octet-stream"
                request = urllib.request.Request(s3.endpoint + self.path, data=body or None, method=self.command, headers=headers)
                try:
                    with urllib.request.urlopen(request, timeout=10) as found:
                        status, headers, data = found.status, dict(found.headers), found.read()
                except urllib.error.HTTPError as error:
                    status, headers, data = error.code, dict(error.headers), error.read()
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() in ("etag", "content-type"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    s3.ask("PUT", "/bucket")
    try:
        with Cluster(workers=1) as cluster:
            create(cluster, "books", shards=1)
            write(cluster, "books", 0, 3_000)
            back_up(cluster, "books", "s3://bucket", "one")
            restore(cluster, "s3://bucket", "one", "back")
            assert contents(cluster, "back") == contents(cluster, "books")
        assert counts["refused"] > 5
    finally:
        server.shutdown()


def run(endpoint, *arguments, code=0):
    done = subprocess.run(
        [str(BINARIES / "needletail"), *map(str, arguments), "--endpoint", endpoint], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done


def test_the_command_line(cluster, folder):
    create(cluster, "shelf", shards=2)
    write(cluster, "shelf", 0, 2_000)
    endpoint, target = cluster.coordinator.address, f"file://{folder}"
    assert "make one with" in run(endpoint, "backup", "list", target).stdout
    said = run(endpoint, "backup", "create", "shelf", target, "--name", "monday").stdout
    assert re.match(r"backed up shelf as monday: .* KiB, of which .* KiB were new; writes were held for [0-9.]+ ms", said), said
    told = json.loads(run(endpoint, "backup", "create", "shelf", target, "--json").stdout)
    assert told["step"] == "done" and re.fullmatch(r"shelf-\d{8}T\d{6}Z", told["name"]) and told["new_bytes"] < told["bytes"] / 10
    listed = run(endpoint, "backup", "list", target).stdout
    assert "monday" in listed and told["name"] in listed and "shelf" in listed
    assert [one["name"] for one in json.loads(run(endpoint, "backup", "list", target, "--json").stdout)] == ["monday", told["name"]]
    assert "is whole" in run(endpoint, "backup", "verify", target, "monday").stdout
    assert "as collection shelf2" in run(endpoint, "backup", "restore", target, "monday", "--as", "shelf2", "--shards", 3).stdout
    assert contents(cluster, "shelf2") == contents(cluster, "shelf")
    assert "exists already" in run(endpoint, "backup", "restore", target, "monday", code=1).stderr
    begun = json.loads(run(endpoint, "backup", "restore", target, "monday", "--as", "shelf3", "--no-wait", "--json").stdout)
    assert not begun["ended"]
    wait_for(lambda: "shelf3" in names(cluster), "the restore that nobody waits for", 30, cluster.describe)
    known = json.loads(run(endpoint, "backup", "operations", "--json").stdout)
    assert begun["id"] in [one["id"] for one in known]
    assert "has ended already" in run(endpoint, "backup", "cancel", begun["id"], code=1).stderr
    assert "were freed" in run(endpoint, "backup", "delete", target, "monday").stdout
    victim = next(iter(objects(folder).values()))
    victim.write_bytes(b"x" * victim.stat().st_size)
    found = run(endpoint, "backup", "verify", target, told["name"], code=1)
    assert "is damaged" in found.stderr and victim.name in found.stderr
    assert json.loads(run(endpoint, "backup", "verify", target, told["name"], "--json", code=1).stdout)["problems"]
    assert "backup list" in run(endpoint, "backup", "delete", target, "monday", code=1).stderr
    drop(cluster, "shelf", "shelf2", "shelf3")
