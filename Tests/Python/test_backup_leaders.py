"""The leader is killed in the middle of each step of a backup, a restore and a deletion: the next one finishes it, exactly once."""

import contextlib
import pathlib
import shutil
import tempfile

import grpc
import pytest
from harness import wait_for
from needletail.v1 import backup_pb2 as b
from needletail.v1 import backup_pb2_grpc
from needletail.v1 import points_pb2 as p
from test_coordinators import Cluster, succeeds

POINTS = 30_000


@pytest.fixture(scope="module")
def cluster():
    running = Cluster()
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: running.close(True))
        running.doors[0].create("books")
        for first in range(0, POINTS, 2_000):
            wait_for(lambda: succeeds(lambda: running.doors[0].write("books", range(first, first + 2_000))), "a write", 20, running.describe)
        yield running


@pytest.fixture
def target():
    folder = tempfile.mkdtemp(prefix="needletail-backups-")
    yield f"file://{folder}"
    shutil.rmtree(folder, ignore_errors=True)


def backups(door):
    return backup_pb2_grpc.BackupsStub(door.channel)


def operation(door, begun):
    """As it is; None while there is nobody to say."""
    try:
        found = backups(door).Operations(b.ListBackupOperationsRequest(), timeout=5).operations
    except grpc.RpcError as error:
        passing = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
        assert error.code() in passing, error
        return None
    return next((one for one in found if one.id == begun.id), None)


def end(cluster, door, begun):
    def ended():
        found = operation(door, begun)
        return found if found and found.ended else None

    return wait_for(ended, "the operation's end", 90, cluster.describe)


def contents(door, name):
    """By exact order of ids: the points with their vectors."""
    request = p.ScrollRequest(collection=name, parts=p.PointParts(vectors=True), page=5_000,
                              read=p.ReadOptions(consistency=p.READ_CONSISTENCY_PRIMARY))
    return [(one.id.number, one.vectors["v"].data) for page in door.points.Scroll(request, timeout=60) for one in page.points]


def kill_leader_at(cluster, begin, step):
    """Begins something and kills the leader when it is seen to be at this step.
    Returns what was begun, one of the other coordinators, and whether the step was seen."""
    old = cluster.leader()
    other = next(door for door in cluster.doors if door is not old)
    begun = begin(other)
    seen = wait_for(lambda: (lambda now: now and (now.step == step or now.ended) and now)(operation(other, begun)), f"step {step}", 60, cluster.describe)
    old.process.kill()
    wait_for(lambda: other.leader() not in (None, old.address), "another leader", 20, cluster.describe)
    return begun, old, other, seen.step == step


def revive(cluster, old):
    old.connect()
    cluster.wait()


def test_a_backup(cluster, target):
    begun, old, other, seen = kill_leader_at(
        cluster, lambda door: backups(door).Create(b.CreateBackupRequest(collection="books", target=target, name="one"), timeout=20), "storing")
    assert seen, "the backup was over before the leader could be killed"
    assert end(cluster, other, begun).step == "done"
    assert [one.name for one in backups(other).List(b.ListBackupsRequest(target=target), timeout=20).backups] == ["one"]
    assert backups(other).Verify(b.VerifyBackupRequest(target=target, name="one"), timeout=60).problems == []
    wait_for(lambda: succeeds(lambda: other.write("books", range(10))), "writes", 20, cluster.describe)
    revive(cluster, old)


@pytest.mark.parametrize("step,shards", [("planning", 0), ("filling", 0), ("planning", 3), ("filling", 3), ("copying", 3)])
def test_a_restore(cluster, target, step, shards):
    door = cluster.doors[0]
    made = backups(door).Create(b.CreateBackupRequest(collection="books", target=target, name="one"), timeout=20)
    assert end(cluster, door, made).step == "done"
    truth = contents(door, "books")
    name = f"{step}-{shards}"
    begun, old, other, seen = kill_leader_at(
        cluster, lambda door: backups(door).Restore(
            b.RestoreBackupRequest(target=target, name="one", collection=name, shard_count=shards), timeout=20), step)
    # Planning may be too short to be seen.
    assert seen or step == "planning"
    # Nobody sees it before it is complete.
    assert name not in other.names() or contents(other, name) == truth
    assert end(cluster, other, begun).step == "done"
    wait_for(lambda: name in other.names(), "the collection", 10, cluster.describe)
    assert contents(other, name) == truth and len(truth) == POINTS
    assert len(other.shards(name)) == (shards or 2)
    revive(cluster, old)
    for one in cluster.doors:
        wait_for(lambda: name in one.names(), "the collection everywhere", 10, cluster.describe)
        assert not [other for other in one.names() if other.startswith("restore.")]

    # Of what was made on the way nothing is left: as many replicas as there are shards.
    def replicas():
        return [path.name for worker in cluster.workers for path in pathlib.Path(worker.folder / "data" / "replicas").iterdir()]

    wanted = sum(len(door.shards(one)) for one in cluster.doors[0].names())
    wait_for(lambda: len(replicas()) == wanted, "what was made on the way going", 20, lambda: f"{replicas()} {cluster.describe()}")
    # It was one operation all the time.
    assert len([one for one in backups(other).Operations(b.ListBackupOperationsRequest(), timeout=10).operations if one.collection == name]) == 1
    drop(cluster, name)


def drop(cluster, name):
    from needletail.v1 import collections_pb2 as c

    request = c.DeleteCollectionRequest(name=name, ignore_missing=True)
    wait_for(lambda: succeeds(lambda: cluster.doors[0].collections.Delete(request, timeout=20)), "its removal", 30, cluster.describe)


def test_a_deletion(cluster, target):
    door = cluster.doors[0]
    for name in ("one", "two"):
        made = backups(door).Create(b.CreateBackupRequest(collection="books", target=target, name=name), timeout=20)
        assert end(cluster, door, made).step == "done"
        door.write("books", range(POINTS, POINTS + 100))
    begun, old, other, _ = kill_leader_at(
        cluster, lambda door: backups(door).Delete(b.DeleteBackupRequest(target=target, name="one"), timeout=20), "removing")
    assert end(cluster, other, begun).step == "done"
    assert [one.name for one in backups(other).List(b.ListBackupsRequest(target=target), timeout=20).backups] == ["two"]
    assert backups(other).Verify(b.VerifyBackupRequest(target=target, name="two"), timeout=60).problems == []
    revive(cluster, old)
