"""Replicas: what was acknowledged survives the loss of a worker, and the others answer meanwhile."""

import shutil
import threading
import time

import grpc
import numpy as np
import pytest
from harness import Cluster, wait_for
from needletail.v1 import cluster_pb2
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

DIMENSIONS = 16


@pytest.fixture
def cluster():
    with Cluster(workers=3) as cluster:
        yield cluster


def create(cluster, name, replicas=2, shards=3, **options):
    field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)
    return cluster.collections.Create(
        c.CreateCollectionRequest(name=name, fields=[field], shard_count=shards, replication_factor=replicas, **options), timeout=30)


def vector(i, version=1):
    return np.random.default_rng([i, version]).standard_normal(DIMENSIONS).astype("f4")


def point(i, version=1):
    return p.Point(id=common.PointId(number=i), vectors={"v": common.Vector(data=vector(i, version).tobytes())},
                   payload={"version": common.Value(int_value=version)})


def upsert(cluster, name, ids, version=1, timeout=10, **options):
    request = p.UpsertRequest(collection=name, points=[point(i, version) for i in ids], options=p.WriteOptions(**options))
    return cluster.points.Upsert(request, timeout=timeout)


def shards(cluster, name):
    return cluster.cluster.Shards(cluster_pb2.ListShardsRequest(collection=name), timeout=10).shards


def wait_until_in_sync(cluster, name, replicas=2, seconds=30.0):
    def is_in_sync():
        return all(sum(r.in_sync and r.state == cluster_pb2.REPLICA_STATE_READY for r in s.replicas) == replicas for s in shards(cluster, name))

    wait_for(is_in_sync, f"{replicas} replicas of each shard in sync", seconds, cluster.describe)


def worker_of(cluster, node):
    nodes = cluster.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes
    address = next(n.address for n in nodes if n.id == node)
    return next(w for w in cluster.workers if w.address == address)


def primary_of(cluster, name, number=0):
    shard = next(s for s in shards(cluster, name) if s.shard == number)
    return worker_of(cluster, next(r.node for r in shard.replicas if r.primary))


def versions(cluster, name, read=p.READ_CONSISTENCY_PRIMARY):
    request = p.ScrollRequest(collection=name, parts=p.PointParts(payload=True), page=10_000, read=p.ReadOptions(consistency=read))
    return {s.id.number: s.payload["version"].int_value for page in cluster.points.Scroll(request, timeout=30) for s in page.points}


def test_replicas_hold_the_same_and_both_answer(cluster):
    create(cluster, "both")
    answer = upsert(cluster, "both", range(500))
    assert answer.applied == 500 and len(answer.shards) == 3 and answer.session
    wait_until_in_sync(cluster, "both")
    for shard in shards(cluster, "both"):
        assert len(shard.replicas) == 2 and sum(r.primary for r in shard.replicas) == 1 and len({r.node for r in shard.replicas}) == 2
    # Heartbeats tell, a little later.
    wait_for(lambda: [sum(s.replicas[i].points for s in shards(cluster, "both")) for i in range(2)] == [500, 500], "full counts", 10, cluster.describe)
    assert all(len({r.points for r in s.replicas}) == 1 for s in shards(cluster, "both"))
    # Any replica may answer; a session makes each as new as the write.
    session = answer.session
    for round in range(2, 30):
        session = upsert(cluster, "both", [7], version=round).session
        got = cluster.points.Get(p.GetPointsRequest(collection="both", ids=[common.PointId(number=7)], parts=p.PointParts(payload=True),
                                                    read=p.ReadOptions(session=session)), timeout=10)
        assert got.points[0].payload["version"].int_value == round
    assert versions(cluster, "both") == {i: 29 if i == 7 else 1 for i in range(500)}


def test_nothing_acknowledged_is_lost_when_primaries_are_killed(cluster):
    create(cluster, "killed")
    wait_until_in_sync(cluster, "killed")
    acknowledged, running, errors = {}, True, []

    def write():
        version = 0
        while running:
            version += 1
            ids = range(version * 7 % 300, version * 7 % 300 + 5)
            try:
                upsert(cluster, "killed", ids, version)
                acknowledged.update({i: version for i in ids})
            except grpc.RpcError as error:
                errors.append(error)

    def search():
        query = p.Query(vector=common.Vector(data=vector(1).tobytes()), limit=5)
        while running:
            try:
                cluster.points.Search(p.SearchRequest(collection="killed", query=query), timeout=1)
            except grpc.RpcError as error:
                errors.append(error)

    threads = [threading.Thread(target=write), threading.Thread(target=search)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            count = len(acknowledged)
            wait_for(lambda: len(acknowledged) > count or len(acknowledged) == 304, "writes going on", 20, cluster.describe)
            worker = primary_of(cluster, "killed")
            epoch = shards(cluster, "killed")[0].epoch
            worker.kill()
            wait_for(lambda: shards(cluster, "killed")[0].epoch > epoch, "another primary", 20, cluster.describe)
            worker.start()
            wait_until_in_sync(cluster, "killed")
    finally:
        running = False
        for thread in threads:
            thread.join()
    assert not errors, errors[:3]
    found = versions(cluster, "killed")
    assert found == acknowledged


def test_a_named_write_is_carried_out_once(cluster):
    create(cluster, "once", shards=1)
    name = bytes(range(1, 17))
    first = upsert(cluster, "once", [1], version=5, operation_id=name)
    upsert(cluster, "once", [1], version=6)
    again = upsert(cluster, "once", [1], version=5, operation_id=name)
    assert again.shards[0].sequence == first.shards[0].sequence
    assert versions(cluster, "once") == {1: 6}
    # The next primary knows the name as well.
    primary_of(cluster, "once").kill()
    again = upsert(cluster, "once", [1], version=5, operation_id=name)
    assert again.shards[0].sequence == first.shards[0].sequence
    assert versions(cluster, "once") == {1: 6}


def test_too_few_in_sync_is_said_and_not_lowered(cluster):
    create(cluster, "strict", replicas=3, shards=1, min_in_sync=3)
    wait_until_in_sync(cluster, "strict", 3)
    upsert(cluster, "strict", range(10))
    backup = next(w for w in cluster.workers if w is not primary_of(cluster, "strict"))
    backup.kill()
    with pytest.raises(grpc.RpcError) as error:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            upsert(cluster, "strict", [1], version=2, timeout=10)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION and "in sync" in error.value.details()
    backup.start()
    wait_until_in_sync(cluster, "strict", 3)

    def is_written():
        # The primary hears of its set a moment after the cluster does.
        try:
            return upsert(cluster, "strict", [2], version=3).applied == 1
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
            return False

    wait_for(is_written, "writes again", 10, cluster.describe)
    assert versions(cluster, "strict")[2] == 3


def bulk(cluster, name, first, count, dimensions=256):
    random = np.random.default_rng(first)

    def requests():
        for start in range(first, first + count, 1000):
            ids = range(start, min(start + 1000, first + count))
            rows = random.standard_normal((len(ids), dimensions)).astype("f4")
            yield p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=ids, vectors=rows.tobytes()))

    return cluster.points.UpsertStream(requests(), timeout=120).applied


def found(cluster, name, vector, read=None):
    query = p.Query(vector=common.Vector(data=vector.tobytes()), limit=10, exact=True)
    answer = cluster.points.Search(p.SearchRequest(collection=name, query=query, read=read), timeout=20)
    return [(hit.id.number, hit.score) for hit in answer.points]


def test_a_replica_that_the_log_cannot_fill_is_given_a_checkpoint():
    dimensions, count = 256, 20_000
    with Cluster(workers=3, worker_arguments=["--log-segment", "1"]) as cluster:
        field = c.VectorField(name="v", dimensions=dimensions, metric=c.METRIC_L2)
        cluster.collections.Create(c.CreateCollectionRequest(name="grow", fields=[field], shard_count=2), timeout=30)
        assert bulk(cluster, "grow", 0, count) == count
        cluster.points.SetPayload(p.SetPayloadRequest(collection="grow", ids=[common.PointId(number=i) for i in range(100)],
                                                      payload={"kept": common.Value(bool_value=True)}), timeout=20)
        query = np.random.default_rng(99).standard_normal(dimensions).astype("f4")
        before = found(cluster, "grow", query)
        # The log's beginning has gone by now: 20 MB of records in segments of 1 MB, and checkpoints.
        logs = lambda: [f.name for w in cluster.workers for f in w.folder.glob("data/replicas/*/log/*.log")]
        wait_for(lambda: all(int(name[:20]) > 1 for name in logs()), "the logs' beginnings being removed", 60, cluster.describe)
        cluster.collections.Update(c.UpdateCollectionRequest(name="grow", replication_factor=2), timeout=30)
        # Writes go on meanwhile.
        assert bulk(cluster, "grow", count, 2000) == 2000
        wait_until_in_sync(cluster, "grow", 2, 120)
        total = count + 2000
        wait_for(lambda: sum(r.points for s in shards(cluster, "grow") for r in s.replicas) == 2 * total, "all points twice", 30, cluster.describe)
        # The new replicas alone.
        for number in range(2):
            primary_of(cluster, "grow", number)
        old = {s.shard: next(r.node for r in s.replicas if r.primary) for s in shards(cluster, "grow")}
        for worker in {worker_of(cluster, node) for node in old.values()}:
            epochs = {s.shard: s.epoch for s in shards(cluster, "grow")}
            mine = [number for number, node in old.items() if worker_of(cluster, node) is worker]
            worker.kill()
            wait_for(lambda: all(s.epoch > epochs[s.shard] for s in shards(cluster, "grow") if s.shard in mine), "another primary", 20, cluster.describe)
            worker.start()
            wait_until_in_sync(cluster, "grow", 2, 60)
        after = found(cluster, "grow", query, p.ReadOptions(consistency=p.READ_CONSISTENCY_PRIMARY))
        assert [hit for hit in after if hit[0] < count] == before[:len([hit for hit in after if hit[0] < count])]
        assert cluster.points.Count(p.CountRequest(collection="grow", read=p.ReadOptions(consistency=p.READ_CONSISTENCY_PRIMARY)), timeout=20).count == total
        got = cluster.points.Get(p.GetPointsRequest(collection="grow", ids=[common.PointId(number=i) for i in range(100)],
                                                    parts=p.PointParts(payload=True)), timeout=20)
        assert len(got.points) == 100 and all(point.payload["kept"].bool_value for point in got.points)
        # And back: the files of replicas that are no longer wanted go.
        cluster.collections.Update(c.UpdateCollectionRequest(name="grow", replication_factor=1), timeout=30)
        wait_until_in_sync(cluster, "grow", 1)
        wait_for(lambda: len(list(cluster.folder.glob("shard-*/data/replicas/*"))) == 2, "the other replicas' files being removed", 20, cluster.describe)
        assert cluster.points.Count(p.CountRequest(collection="grow", read=p.ReadOptions(consistency=p.READ_CONSISTENCY_PRIMARY)), timeout=20).count == total


def spoil_log(worker):
    log = next(worker.folder.glob("data/replicas/*/log/*.log"))
    content = bytearray(log.read_bytes())
    content[100] ^= 1
    log.write_bytes(content)


def test_a_primary_whose_files_are_damaged_is_replaced_and_filled_anew(cluster):
    create(cluster, "damaged", shards=1)
    wait_until_in_sync(cluster, "damaged")
    for start in range(0, 500, 50):
        upsert(cluster, "damaged", range(start, start + 50))
    worker, epoch = primary_of(cluster, "damaged"), shards(cluster, "damaged")[0].epoch
    worker.kill()
    spoil_log(worker)
    worker.start()
    # Its node lives, its replica does not; the other one takes over, and writes need not wait for ever.
    wait_for(lambda: shards(cluster, "damaged")[0].epoch > epoch, "another primary", 20, cluster.describe)
    assert primary_of(cluster, "damaged") is not worker
    upsert(cluster, "damaged", [1000], timeout=20)
    # Nobody has to do anything: the other one has all, and fills it.
    wait_until_in_sync(cluster, "damaged", 2, 60)
    aside = list((worker.folder / "data" / "damaged").iterdir())
    assert len(aside) == 1 and list((aside[0] / "log").iterdir()), "what was damaged is kept"
    assert "it is filled anew. Look at the disk" in worker.output()
    for start in range(1100, 1400, 50):
        upsert(cluster, "damaged", range(start, start + 50))
    # A second time it waits until somebody has looked.
    worker.kill()
    spoil_log(worker)
    worker.start()
    wait_for(lambda: "are damaged, and not for the first time: check the disk" in worker.output(), "the worker asking for help", 30, cluster.describe)
    upsert(cluster, "damaged", [1001], timeout=20)
    broken = next(r for r in shards(cluster, "damaged")[0].replicas if not r.primary)
    assert broken.state == cluster_pb2.REPLICA_STATE_FAILED and "checksum" in broken.reason, broken
    shutil.rmtree(aside[0])
    wait_until_in_sync(cluster, "damaged", 2, 60)
    primary_of(cluster, "damaged").kill()
    wait_for(lambda: primary_of(cluster, "damaged") is worker, "the refilled replica leading", 20, cluster.describe)
    assert len(versions(cluster, "damaged")) == 802


def test_a_member_without_its_files_does_not_pass_for_an_empty_shard(cluster):
    create(cluster, "gone", shards=1)
    wait_until_in_sync(cluster, "gone")
    upsert(cluster, "gone", range(100))
    primary = primary_of(cluster, "gone")
    backup = next(w for w in cluster.workers if w is not primary and list(w.folder.glob("data/replicas/*")))
    # Both go; the backup comes back without its files, which count as in sync, and alone.
    primary.kill()
    backup.kill()
    replica = next(backup.folder.glob("data/replicas/*"))
    replica.rename(backup.folder / "moved-away")
    backup.start()
    # The leader has asked it, and says that nobody can take over.
    wait_for(lambda: "has no primary" in cluster.coordinator.output(20_000), "the leader giving up", 20, cluster.describe)
    assert not list(backup.folder.glob("data/replicas/*")), "an empty replica was made in place of one that counts as in sync"
    with pytest.raises(grpc.RpcError):
        upsert(cluster, "gone", [7], version=9, timeout=2)
    primary.start()
    wait_until_in_sync(cluster, "gone", 2, 60)
    assert versions(cluster, "gone") == {i: 1 for i in range(100)}
