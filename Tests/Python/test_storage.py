"""What happens when files are damaged and disks are full, with real processes."""

import os
import pathlib
import subprocess
import tempfile

import grpc
import numpy as np
import pytest
from harness import BINARIES, Cluster, wait_for
from needletail.v1 import cluster_pb2, collections_pb2 as c, common_pb2 as common, points_pb2 as p


def create(cluster, name="s", dimensions=8):
    cluster.collections.Create(c.CreateCollectionRequest(name=name, fields=[c.VectorField(name="v", dimensions=dimensions, metric=c.METRIC_L2)]))


def write(cluster, first, count, name="s", dimensions=8, timeout=30):
    rows = np.random.default_rng(first).standard_normal((count, dimensions)).astype("f4")
    return cluster.points.Upsert(p.UpsertRequest(collection=name, packed=p.PackedPoints(ids=range(first, first + count), vectors=rows.tobytes())), timeout=timeout)


def count(cluster, name="s"):
    return cluster.points.Count(p.CountRequest(collection=name), timeout=20).count


def replica(cluster):
    return cluster.cluster.Shards(cluster_pb2.ListShardsRequest(collection="s")).shards[0].replicas[0]


def log_files(worker):
    return sorted((worker.folder / "data" / "replicas").glob("*/log/*.log"))


def test_damage_before_the_tail_refuses_and_repair_helps():
    with Cluster(workers=1) as cluster:
        create(cluster)
        for first in range(0, 500, 50):
            write(cluster, first, 50)
        worker = cluster.workers[0]
        worker.kill()
        log = log_files(worker)[0]
        data = bytearray(log.read_bytes())
        data[len(data) // 2] ^= 0xFF
        log.write_bytes(data)
        worker.start()
        wait_for(lambda: replica(cluster).state == cluster_pb2.REPLICA_STATE_FAILED, "the replica failing")
        reason = replica(cluster).reason
        assert str(log) in reason and "repair --replica" in reason and "offset" in reason or ":" in reason
        with pytest.raises(grpc.RpcError) as caught:
            count(cluster)
        assert caught.value.code() == grpc.StatusCode.DATA_LOSS and "needletail-shard repair" in caught.value.details()
        folder = str(log.parent.parent)
        refused = subprocess.run([BINARIES / "needletail-shard", "repair", "--replica", folder], capture_output=True, text=True)
        assert refused.returncode != 0 and "another process" in refused.stderr, "not while the worker runs"
        worker.stop()
        repaired = subprocess.run([BINARIES / "needletail-shard", "repair", "--replica", folder], capture_output=True, text=True)
        assert repaired.returncode == 0 and ".damaged" in repaired.stdout, repaired.stderr
        worker.start()
        cluster.wait_until_ready()
        left = count(cluster)
        assert 0 < left < 500 and left % 50 == 0, "whole batches before the damage"
        write(cluster, 1_000, 50)
        assert count(cluster) == left + 50


def test_a_torn_tail_is_cut_and_reported():
    with Cluster(workers=1) as cluster:
        create(cluster)
        write(cluster, 0, 50)
        worker = cluster.workers[0]
        worker.kill()
        with open(log_files(worker)[0], "ab") as log:
            log.write(os.urandom(37))
        worker.start()
        cluster.wait_until_ready()
        assert count(cluster) == 50
        # A worker answers before it says so.
        wait_for(lambda: "37 bytes of an unfinished write were cut off" in worker.output(), "the worker saying so")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_makes_read_only_and_recovers():
    small = pathlib.Path(tempfile.mkdtemp(prefix="needletail-small-"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(small)], capture_output=True).returncode != 0:
        pytest.skip("this sandbox does not let us mount")
    ballast = small / "ballast"
    try:
        with Cluster(workers=1) as cluster:
            worker = cluster.workers[0]
            worker.stop()
            worker.folder = small
            worker.start()
            wait_for(lambda: cluster.status().nodes_alive >= 1, "the worker registering")
            create(cluster, dimensions=256)
            write(cluster, 0, 100, dimensions=256)
            ballast.write_bytes(bytes(os.statvfs(small).f_bavail * os.statvfs(small).f_frsize - (2 << 20)))
            acknowledged = 100
            with pytest.raises(grpc.RpcError) as caught:
                for first in range(1_000, 20_000, 200):
                    write(cluster, first, 200, dimensions=256)
                    acknowledged += 200
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, caught.value
            assert count(cluster) == acknowledged, "searches and reads go on"
            query = p.Query(vector=common.Vector(values=[0] * 256), limit=5)
            assert len(cluster.points.Search(p.SearchRequest(collection="s", query=query), timeout=20).points) == 5
            wait_for(lambda: replica(cluster).state == cluster_pb2.REPLICA_STATE_READ_ONLY, "the replica saying that it is read-only")
            ballast.unlink()

            def again():
                try:
                    return write(cluster, 50_000, 10, dimensions=256).applied == 10
                except grpc.RpcError as error:
                    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
                    return False

            wait_for(again, "writes resuming by themselves")
            assert count(cluster) == acknowledged + 10
            worker.kill()
            worker.start()
            cluster.wait_until_ready()
            assert count(cluster) == acknowledged + 10
    finally:
        subprocess.run(["umount", "-l", str(small)], capture_output=True)


def test_restart_maps_the_checkpoint_and_changes_nothing(rng):
    with Cluster(workers=1) as cluster:
        create(cluster, dimensions=32)
        write(cluster, 0, 10_000, dimensions=32)
        queries = [p.SearchRequest(collection="s", query=p.Query(vector=common.Vector(data=row.tobytes()), limit=10, ef=50))
                   for row in rng.standard_normal((50, 32)).astype("f4")]
        before = [cluster.points.Search(query).points for query in queries]
        cluster.workers[0].stop()
        cluster.workers[0].start()
        cluster.wait_until_ready()
        assert [cluster.points.Search(query).points for query in queries] == before, "the same graph, not another one"


def test_a_data_folder_serves_one_process_and_one_cluster():
    with Cluster(workers=1) as cluster, Cluster(workers=1) as other:
        worker = cluster.workers[0]
        second = subprocess.run([BINARIES / "needletail-shard", "--data", worker.folder / "data", "--listen", "127.0.0.1:0"],
                                capture_output=True, text=True, timeout=30)
        assert second.returncode != 0 and "another process uses this data folder" in second.stderr
        assert "needletail-shard: " in second.stderr and "failedPrecondition" not in second.stderr, "the sentence alone"
        create(cluster)
        write(cluster, 0, 50)
        worker.stop()
        # Nothing that changes by itself: the worker ends and says what to do.
        lost = subprocess.run([BINARIES / "needletail-shard", "--data", worker.folder / "data", "--listen", "127.0.0.1:0", "--coordinator",
                               other.coordinator.address], capture_output=True, text=True, timeout=30)
        assert lost.returncode == 1
        last = lost.stderr.splitlines()[-1]
        assert last.startswith("needletail-shard: shard worker ") and "belongs to cluster" in last and "another coordinator" in last, last
        assert other.status().nodes_total == 1
        worker.start()
        cluster.wait_until_ready()
        assert count(cluster) == 50


def test_coordinator_restart_forgets_nothing():
    with Cluster(workers=2) as cluster:
        create(cluster)
        write(cluster, 0, 100)
        cluster.coordinator.kill()
        cluster.coordinator.start()
        wait_for(lambda: cluster.status().nodes_alive == 2, "the workers coming back")
        cluster.wait_until_ready()
        assert count(cluster) == 100
        assert [entry.name for entry in cluster.collections.List(c.ListCollectionsRequest()).collections] == ["s"]


def test_dev_runs_a_whole_cluster_in_one_process():
    from harness import Process

    with tempfile.TemporaryDirectory() as folder:
        process = Process("needletail", folder, ["dev", "--admin", "0"]).start()
        try:
            with grpc.insecure_channel(process.address) as channel:
                from needletail.v1 import cluster_pb2_grpc, collections_pb2_grpc, points_pb2_grpc

                class Handle:
                    collections, points = collections_pb2_grpc.CollectionsStub(channel), points_pb2_grpc.PointsStub(channel)

                status = cluster_pb2_grpc.ClusterStub(channel)
                wait_for(lambda: status.Status(cluster_pb2.ClusterStatusRequest()).nodes_alive == 1, "the worker registering")
                create(Handle)
                write(Handle, 0, 200)
                process.stop()
                process.start()
                wait_for(lambda: status.Status(cluster_pb2.ClusterStatusRequest(), wait_for_ready=True).shards_ready == 1, "the shard serving again")
                assert count(Handle) == 200
        finally:
            process.stop()


def test_a_collection_deleted_behind_a_workers_back_is_set_aside():
    with Cluster(workers=1) as cluster:
        create(cluster)
        write(cluster, 0, 50)
        worker = cluster.workers[0]
        worker.kill()
        assert cluster.collections.Delete(c.DeleteCollectionRequest(name="s"), timeout=30).deleted
        create_fails(cluster)
        worker.start()
        orphaned = worker.folder / "data" / "orphaned"
        wait_for(lambda: orphaned.exists() and list(orphaned.iterdir()), "the replica being set aside")
        create(cluster)
        assert count(cluster) == 0, "another life of the name is empty"


def create_fails(cluster):
    """No worker is alive once the lease of the only one has run out."""
    def refused():
        try:
            create(cluster, name="t")
        except grpc.RpcError as error:
            # Until the lease is over the coordinator still tries to reach it.
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION), error
            return error.code() == grpc.StatusCode.FAILED_PRECONDITION and "needletail-shard" in error.details()
    wait_for(refused, "the creation of a collection being refused", 20)


def test_interval_durability_survives_the_death_of_the_process():
    with Cluster(workers=1) as cluster:
        create(cluster)
        cluster.collections.Update(c.UpdateCollectionRequest(name="s", durability=c.Durability(interval_milliseconds=60_000)))
        for first in range(0, 500, 50):
            write(cluster, first, 50)
        cluster.workers[0].kill()
        cluster.workers[0].start()
        cluster.wait_until_ready()
        assert count(cluster) == 500


def test_a_metadata_folder_serves_one_coordinator():
    with Cluster(workers=1) as cluster:
        second = subprocess.run([BINARIES / "needletail-coordinator", "--data", cluster.coordinator.folder / "data", "--listen", "127.0.0.1:0", "--admin", "0"],
                                capture_output=True, text=True, timeout=30)
        assert second.returncode != 0 and "another process uses this data folder" in second.stderr
        assert "needletail-coordinator: " in second.stderr and "failedPrecondition" not in second.stderr, "the sentence alone"


def test_a_worker_that_is_running_ends_when_its_coordinator_is_another_clusters():
    with Cluster(workers=1) as cluster:
        worker = cluster.workers[0]
        cluster.coordinator.stop()
        # Down is no reason to end: the worker goes on trying.
        wait_for(lambda: "still trying" in worker.output(), "the worker missing its coordinator")
        assert worker.process.poll() is None
        (cluster.coordinator.folder / "data").rename(cluster.coordinator.folder / "old")
        cluster.coordinator.start()
        wait_for(lambda: worker.process.poll() is not None, "the worker ending")
        assert worker.process.returncode == 1 and "belongs to cluster" in worker.output().splitlines()[-1]
        cluster.coordinator.stop()
        (cluster.coordinator.folder / "data").rename(cluster.coordinator.folder / "new")
        (cluster.coordinator.folder / "old").rename(cluster.coordinator.folder / "data")
        cluster.coordinator.start()
        worker.start()
        wait_for(lambda: cluster.status().nodes_alive == 1, "the worker back in its cluster")


def test_a_collection_with_a_damaged_checkpoint_can_be_deleted_and_made_again():
    """What the error says, which is all that helps: there is no other copy."""
    with Cluster(workers=1) as cluster:
        create(cluster)
        write(cluster, 0, 3_000)
        worker = cluster.workers[0]
        worker.stop()
        manifest = replica_folder(worker, 3_000) / "checkpoint" / "MANIFEST"
        data = bytearray(manifest.read_bytes())
        data[len(data) // 2] ^= 0xFF
        manifest.write_bytes(data)
        worker.start()
        wait_for(lambda: replica(cluster).state == cluster_pb2.REPLICA_STATE_FAILED, "the replica failing")
        assert "delete the collection and import it again" in replica(cluster).reason
        cluster.collections.Delete(c.DeleteCollectionRequest(name="s"))
        assert not list((worker.folder / "data" / "replicas").iterdir()), "its files are gone"
        create(cluster)
        write(cluster, 0, 50)
        assert count(cluster) == 50


def test_what_is_missing_or_damaged_is_never_deleted_or_served_around():
    """A replica without its assignment, with another's, or without its log; a node without its identity."""
    with Cluster(workers=1) as cluster:
        create(cluster)
        cluster.collections.Create(c.CreateCollectionRequest(name="other", fields=[c.VectorField(name="v", dimensions=8, metric=c.METRIC_L2)]))
        write(cluster, 0, 3_000)
        write(cluster, 0, 50, name="other")
        worker = cluster.workers[0]
        worker.stop()
        shard = replica_folder(worker, 3_000)
        assignment = (shard / "assignment").read_bytes()
        for damage in (None, b"", assignment[:5], bytes([assignment[0] ^ 1]) + assignment[1:], assignment[:20] + bytes([assignment[20] ^ 1]) + assignment[21:]):
            (shard / "assignment").unlink() if damage is None else (shard / "assignment").write_bytes(damage)
            worker.start()
            wait_for(lambda: "cannot be served and is left as it is" in worker.output(), "the worker saying so")
            assert count(cluster, "other") == 50, "the other replica serves"
            worker.stop()
            (worker.folder / "log").write_text("")
            assert list((shard / "log").iterdir()) and (shard / "checkpoint" / "MANIFEST").exists()
            (shard / "assignment").write_bytes(assignment)
        logs = {file: file.read_bytes() for file in (shard / "log").iterdir()}
        for file in logs:
            file.unlink()
        worker.start()
        with pytest.raises(grpc.RpcError) as caught:
            wait_for(lambda: count(cluster) and False, "an error")
        while caught.value.code() == grpc.StatusCode.UNAVAILABLE:
            with pytest.raises(grpc.RpcError) as caught:
                count(cluster)
        assert caught.value.code() == grpc.StatusCode.DATA_LOSS and "files are missing" in caught.value.details()
        worker.stop()
        for file, content in logs.items():
            file.write_bytes(content)
        identity = (worker.folder / "data" / "node").read_bytes()
        for damage in (None, identity[:3] + bytes([identity[3] ^ 1]) + identity[4:]):
            path = worker.folder / "data" / "node"
            path.unlink() if damage is None else path.write_bytes(damage)
            result = subprocess.run([BINARIES / "needletail-shard", "--data", worker.folder / "data", "--listen", "127.0.0.1:0"],
                                    capture_output=True, text=True, timeout=30)
            assert result.returncode != 0 and "copy" in result.stderr
            path.write_bytes(identity)
        worker.start()
        cluster.wait_until_ready()
        assert count(cluster) == 3_000


def replica_folder(worker, points):
    """The replica with the most bytes in its checkpoint."""
    return max((worker.folder / "data" / "replicas").iterdir(), key=lambda folder: sum(f.stat().st_size for f in (folder / "checkpoint").iterdir()))


def test_a_changed_durability_reaches_a_worker_that_was_away():
    with Cluster(workers=2) as cluster:
        cluster.collections.Create(c.CreateCollectionRequest(name="s", shard_count=4, fields=[c.VectorField(name="v", dimensions=8, metric=c.METRIC_L2)]))
        write(cluster, 0, 100)
        assignments = lambda: {path: path.read_bytes() for worker in cluster.workers for path in (worker.folder / "data" / "replicas").glob("*/assignment")}
        before = assignments()
        cluster.workers[0].kill()
        request = c.UpdateCollectionRequest(name="s", durability=c.Durability(interval_milliseconds=60_000))
        with pytest.raises(grpc.RpcError) as caught:
            cluster.collections.Update(request, timeout=30)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE and "is stored" in caught.value.details()
        cluster.workers[0].start()
        wait_for(lambda: all(after != before[path] for path, after in assignments().items()), "all four replicas following")
        cluster.wait_until_ready()
        wait_for(lambda: counted(cluster) == 100, "all points")


def counted(cluster):
    try:
        return count(cluster)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error


def test_a_copied_data_folder_is_refused():
    from harness import Process
    import shutil

    with Cluster(workers=1) as cluster:
        create(cluster)
        write(cluster, 0, 100)
        worker = cluster.workers[0]
        worker.stop()
        copy = worker.folder.parent / "copy"
        copy.mkdir()
        shutil.copytree(worker.folder / "data", copy / "data")
        worker.start()
        cluster.wait_until_ready()
        twin = Process("needletail-shard", copy, ["--coordinator", cluster.coordinator.address]).start()
        try:
            wait_for(lambda: "copy of its data folder" in twin.output(), "the copy being refused")
            write(cluster, 100, 100)
            assert count(cluster) == 200
        finally:
            twin.stop()
