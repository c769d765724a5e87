"""Neighbouring shards are made one while reads and writes go on, and whoever leads finishes what another began."""

import contextlib
import signal
import subprocess
import time

import grpc
import numpy as np
import pytest
from harness import BINARIES, Cluster, wait_for
from needletail.v1 import cluster_pb2
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p
import test_backups as b
from test_moves import CALM, DIMENSIONS, PRIMARY, Several, create, events, move, operation, operations, rows, shards, write
from test_splits import Traffic, Unharmed, await_step, count, recall, scrolled, settled, split


def merge(door, name, shard, other):
    return door.cluster.Merge(cluster_pb2.MergeRequest(collection=name, shard=shard, other=other), timeout=10)


def numbers(door, name):
    return [s.shard for s in shards(door, name)]


def worker_of(cluster, node):
    address = next(n.address for n in cluster.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes if n.id == node)
    return next(w for w in cluster.workers if w.address == address)


def brought_together(door, name):
    """Both of two shards on the same nodes."""
    first, second = shards(door, name)
    here, there = ({r.node for r in s.replicas} for s in (first, second))
    for source, target in zip(sorted(there - here), sorted(here - there)):
        begun = move(door, name, second.shard, **{"from": source, "to": target})
        wait_for(lambda: operation(door, begun.id).step == "done", "the move", 60, lambda: f"{operations(door)}")
    return first.shard, second.shard


def equal_replicas(door, name):
    """All replicas have applied the same and are in sync."""
    return all(r.in_sync and r.applied_sequence == s.replicas[0].applied_sequence for s in shards(door, name) for r in s.replicas)


@pytest.mark.parametrize("replicas", [1, 2])
def test_two_shards_are_merged_under_reads_and_writes(replicas):
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "merged", replicas, 2)
        stable = set(range(6000))
        for start in range(0, 6000, 2000):
            write(cluster, "merged", range(start, start + 2000))
        first, second = brought_together(cluster, "merged")
        unharmed = Unharmed(cluster, "merged", stable)
        with Traffic([cluster], "merged", stable) as traffic:
            began = time.monotonic()
            begun = merge(cluster, "merged", second, first)
            assert begun.kind == "merge"
            await_step(cluster, begun.id, "done", 60, cluster.describe)
            print(f"{replicas} replicas: merged in {time.monotonic() - began:.2f} s, slowest write {traffic.slowest * 1000:.0f} ms")
            print([message for message in events(cluster) if "waited" in message])
            assert numbers(cluster, "merged") == [2]
            reads = traffic.reads
            wait_for(lambda: traffic.reads > reads + 5, "reads of the merged shard", 20)
        unharmed.check(traffic, replicas, replicas, loss=0.05)


def test_what_cannot_be_merged_is_refused():
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "refused", 1, 4)
        for pair, code, words in [
            ((0, 9), grpc.StatusCode.NOT_FOUND, "no shard 9"), ((0, 2), grpc.StatusCode.FAILED_PRECONDITION, "no neighbours"),
            ((1, 1), grpc.StatusCode.FAILED_PRECONDITION, "no neighbours"),
        ]:
            with pytest.raises(grpc.RpcError) as error:
                merge(cluster, "refused", *pair)
            assert error.value.code() == code and words in error.value.details(), error.value
        nodes = {s.shard: s.replicas[0].node for s in shards(cluster, "refused")}
        apart = next((a, b) for a, b in [(0, 1), (1, 2), (2, 3)] if nodes[a] != nodes[b])
        command = [str(BINARIES / "needletail"), "cluster", "merge", "refused", *map(str, apart), "--endpoint", cluster.coordinator.address]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert shown.returncode != 0 and "needletail cluster move refused" in shown.stderr, shown
        # The command that it names helps.
        text = " ".join(shown.stderr.split())
        helps = text[text.index("`needletail cluster move") + 1:].split("`")[0].split()
        helped = subprocess.run([str(BINARIES / "needletail"), *helps[1:], "--endpoint", cluster.coordinator.address], capture_output=True, text=True, timeout=30)
        assert helped.returncode == 0, helped
        await_step(cluster, helped.stdout.split()[1], "done", 30, cluster.describe)
        shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        await_step(cluster, shown.stdout.split()[1], "done", 30, cluster.describe)
        assert len(numbers(cluster, "refused")) == 3 and 4 in numbers(cluster, "refused")
        # Two empty shards are one that takes points.
        write(cluster, "refused", range(500))
        assert count(cluster, "refused") == 500 and len(scrolled(cluster, "refused")) == 500
        shown = subprocess.run([*command[:2], "operations", *command[-2:]], capture_output=True, text=True, timeout=30)
        assert "merge" in shown.stdout and "done" in shown.stdout


@pytest.mark.parametrize("replicas", [1, 2])
def test_splits_and_merges_follow_each_other(replicas):
    """What was split is merged, split elsewhere and merged again, under traffic; deletes and payloads with it."""
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "both", replicas, 1)
        stable = set(range(4000))
        for start in range(0, 4000, 2000):
            write(cluster, "both", range(start, start + 2000))
        with Traffic([cluster], "both", stable) as traffic:
            for round in range(3):
                begun = split(cluster, "both", numbers(cluster, "both")[0])
                await_step(cluster, begun.id, "done", 60, cluster.describe)
                if round == 1:
                    begun = split(cluster, "both", numbers(cluster, "both")[1])
                    await_step(cluster, begun.id, "done", 60, cluster.describe)
                while len(numbers(cluster, "both")) > 1:
                    begun = merge(cluster, "both", *numbers(cluster, "both")[:2])
                    await_step(cluster, begun.id, "done", 60, cluster.describe)
        traffic.check(cluster)
        wait_for(lambda: equal_replicas(cluster, "both"), "equal replicas", 30, cluster.describe)
        settled(cluster, replicas)
        print([message for message in events(cluster) if "waited" in message])


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_cancelled_merge_leaves_nothing(replicas):
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "cancelled", replicas, 2)
        for start in range(0, 12_000, 4000):
            write(cluster, "cancelled", range(start, start + 4000))
        pair = brought_together(cluster, "cancelled")
        begun = merge(cluster, "cancelled", *pair)
        try:
            cluster.cluster.Cancel(cluster_pb2.CancelRequest(id=begun.id), timeout=10)
            await_step(cluster, begun.id, "cancelled", 60, cluster.describe)
            assert numbers(cluster, "cancelled") == [0, 1]
            settled(cluster, 2 * replicas)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
        write(cluster, "cancelled", range(12_000, 12_010))
        assert count(cluster, "cancelled") == 12_010
        begun = merge(cluster, "cancelled", *pair)
        await_step(cluster, begun.id, "done", 60, cluster.describe)
        assert numbers(cluster, "cancelled") == [3]
        assert count(cluster, "cancelled") == 12_010


@pytest.mark.parametrize("victim", ["primary", "backup"])
def test_a_worker_dies_during_a_merge(victim):
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "dying", 2, 4)
        stable = set(range(8000))
        for start in range(0, 8000, 2000):
            write(cluster, "dying", range(start, start + 2000))
        with Traffic([cluster], "dying", stable) as traffic:
            for round in range(3):
                first, second = numbers(cluster, "dying")[:2]
                whole = next(s for s in shards(cluster, "dying") if s.shard == first)
                worker = worker_of(cluster, next(r.node for r in whole.replicas if r.primary == (victim == "primary")))
                begun = merge(cluster, "dying", first, second)
                # At other moments each time.
                end = time.monotonic() + 0.15 * round
                wait_for(lambda: time.monotonic() > end, "the moment", 5)
                worker.kill()
                wait_for(lambda: operation(cluster, begun.id).step in ["done", "dropping", "preparing", "sealing"], "a step", 20)
                worker.start()
                await_step(cluster, begun.id, "done", 90, cluster.describe)
                wait_for(lambda: all(r.in_sync for s in shards(cluster, "dying") for r in s.replicas), "all in sync", 60, cluster.describe)
        traffic.check_points(cluster)
        assert not traffic.errors, (len(traffic.errors), traffic.errors[:3])
        settled(cluster, 2)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_worker_hangs_while_writes_wait(replicas):
    """Then both shards go on in other epochs, and are merged when it is back."""
    with Cluster(workers=replicas, coordinator_arguments=CALM) as cluster:
        create(cluster, "hung", replicas, 2)
        write(cluster, "hung", range(2000))
        came_to = set()
        for round in range(6):
            begun = merge(cluster, "hung", *numbers(cluster, "hung"))
            wait_for(lambda: operation(cluster, begun.id).step != "preparing", "the seal", 30, cluster.describe)
            cluster.workers[-1].process.send_signal(signal.SIGSTOP)
            try:
                if operation(cluster, begun.id).step == "sealing":
                    wait_for(lambda: came_to.add(operation(cluster, begun.id).step) or operation(cluster, begun.id).step != "sealing", "the end of its patience", 20)
            finally:
                cluster.workers[-1].process.send_signal(signal.SIGCONT)
            wait_for(lambda: came_to.add(operation(cluster, begun.id).step) or operation(cluster, begun.id).step == "done", "the merge", 60, cluster.describe)
            write(cluster, "hung", [10_000 + round])
            assert count(cluster, "hung") == 2000 + round + 1
            wait_for(lambda: all(r.in_sync for s in shards(cluster, "hung") for r in s.replicas), "all in sync", 30, cluster.describe)
            begun = split(cluster, "hung", numbers(cluster, "hung")[0])
            await_step(cluster, begun.id, "done", 60, cluster.describe)
        print("the merges came to", came_to)


def test_the_next_leader_finishes_a_merge_from_any_step():
    cluster = Several()
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.close)
        create(cluster.doors[0], "led", 3, 8)
        for door in cluster.doors:
            wait_for(lambda: "led" in door.names(), "the collection everywhere", 10)
        for start in range(0, 6000, 2000):
            write(cluster.doors[0], "led", range(start, start + 2000))
        order = ["preparing", "sealing", "dropping", "done"]
        killed_at = []
        for round in range(7):
            leader = cluster.leader()
            other = next(door for door in cluster.doors if door is not leader)
            parts = numbers(other, "led")
            wait_for(lambda: all(r.in_sync for s in shards(other, "led") for r in s.replicas), "all in sync", 30, cluster.describe)
            begun = merge(leader, "led", *parts[:2])
            seen, deadline = None, time.monotonic() + 30
            while time.monotonic() < deadline:
                now = operation(other, begun.id)
                if now and order.index(now.step) >= round % 4:
                    seen = now.step
                    break
            leader.process.kill()
            killed_at.append(seen)
            wait_for(lambda: other.leader() == other.address, "another leader", 30, cluster.describe)
            await_step(other, begun.id, "done", 60, cluster.describe)
            after = numbers(other, "led")
            assert len(after) == len(parts) - 1 and not set(parts[:2]) & set(after)
            assert count(other, "led") == 6000 + round
            write(other, "led", [10_000 + round])
            leader.connect()
            for door in cluster.doors:
                wait_for(lambda: door.status().nodes_alive == 3 and len(door.status().coordinators) == 2 and door.leader(), "everyone knowing everyone", 30,
                         cluster.describe)
        print("killed while the merge was", killed_at)
        assert len(set(killed_at)) >= 2
        assert {one.step for one in operations(cluster.doors[0])} == {"done"} and len(operations(cluster.doors[0])) == 7
        ids = scrolled(cluster.doors[1], "led")
        assert len(ids) == len(set(ids)) == 6007
        settled(cluster, 3)


def test_a_replica_that_was_away_joins_the_merged_shard():
    """Its files of the parents, and of a merged shard that it made itself, are of no use: it begins with a checkpoint of another node's."""
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "away", 2, 2)
        for start in range(0, 4000, 2000):
            write(cluster, "away", range(start, start + 2000))
        with Traffic([cluster], "away", set(range(4000))) as traffic:
            worker = worker_of(cluster, next(r.node for r in shards(cluster, "away")[0].replicas if not r.primary))
            begun = merge(cluster, "away", 0, 1)
            worker.kill()
            wait_for(lambda: numbers(cluster, "away") == [2], "the merged shard", 60, cluster.describe)
            worker.start()
            wait_for(lambda: all(r.in_sync for s in shards(cluster, "away") for r in s.replicas), "all in sync", 30, cluster.describe)
            await_step(cluster, begun.id, "done", 30, cluster.describe)
            # And leads, when the other one is away.
            other = next(one for one in cluster.workers if one is not worker)
            other.kill()
            wait_for(lambda: all(worker_of(cluster, r.node) is worker for s in shards(cluster, "away") for r in s.replicas if r.primary), "another primary", 30)
            other.start()
            wait_for(lambda: all(r.in_sync for s in shards(cluster, "away") for r in s.replicas), "all in sync again", 30, cluster.describe)
        traffic.check_points(cluster)
        assert not traffic.errors, (len(traffic.errors), traffic.errors[:3])


def test_operations_that_came_in_part_before_the_merge_are_done_once():
    """A write to both shards, sent again by its name after the merge: what was done stays as it is, and is not done again."""
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "named", 2, 2)
        ids = list(range(200))

        def upsert(version, name):
            request = p.UpsertRequest(collection="named", packed=p.PackedPoints(ids=ids, vectors=rows(ids, version).tobytes()),
                                      options=p.WriteOptions(operation_id=name))
            cluster.points.Upsert(request, timeout=20)

        old = bytes(range(16))
        upsert(1, old)
        upsert(2, bytes(range(16, 32)))
        begun = merge(cluster, "named", 0, 1)
        await_step(cluster, begun.id, "done", 60, cluster.describe)

        def check():
            upsert(1, old)
            found = cluster.points.Get(p.GetPointsRequest(collection="named", ids=[common.PointId(number=i) for i in ids], parts=p.PointParts(vectors=True),
                                                          read=PRIMARY), timeout=20).points
            assert len(found) == 200
            assert all(np.array_equal(np.frombuffer(f.vectors["v"].data, "f4"), rows([f.id.number], 2)[0]) for f in found)

        check()
        # The next primary knows it too, also one that has it from a checkpoint.
        for worker in cluster.workers:
            worker.kill()
            wait_for(lambda: all(any(r.primary and worker_of(cluster, r.node) is not worker for r in s.replicas) for s in shards(cluster, "named")), "a primary", 30)
            check()
            worker.start()
            wait_for(lambda: all(r.in_sync for s in shards(cluster, "named") for r in s.replicas), "all in sync", 30, cluster.describe)
        for worker in cluster.workers:
            worker.stop()
        for worker in cluster.workers:
            worker.start()
        cluster.wait_until_ready()
        check()


def test_small_shards_are_merged_by_size_and_not_split_again():
    limit = 4 << 20
    with Cluster(workers=1, coordinator_arguments=[*CALM, "--split-above", str(limit), "--merge-below", str(limit // 2)]) as cluster:
        create(cluster, "small", 1, 1)
        for start in range(0, 16_000, 4000):
            write(cluster, "small", range(start, start + 4000))
        wait_for(lambda: len(shards(cluster, "small")) >= 2 and all(one.step == "done" for one in operations(cluster)), "the splits", 120, cluster.describe)
        ids = [common.PointId(number=i) for i in range(500, 16_000)]
        for start in range(0, len(ids), 1000):
            cluster.points.Delete(p.DeletePointsRequest(collection="small", ids=ids[start:start + 1000]), timeout=30)
        wait_for(lambda: len(shards(cluster, "small")) == 1, "the merges", 120, cluster.describe)
        wait_for(lambda: all(one.step == "done" for one in operations(cluster)), "the ends", 30)
        assert {one.kind for one in operations(cluster)} == {"split", "merge"}
        assert count(cluster, "small") == 500
        begun = len(operations(cluster))
        write(cluster, "small", range(500, 600))
        assert len(operations(cluster)) == begun and count(cluster, "small") == 600


def test_a_collection_is_deleted_while_two_shards_are_merged():
    with Cluster(workers=2, coordinator_arguments=CALM) as cluster:
        create(cluster, "gone", 2, 2)
        for start in range(0, 12_000, 4000):
            write(cluster, "gone", range(start, start + 4000))
        begun = merge(cluster, "gone", 0, 1)
        wait_for(lambda: len(list(cluster.folder.glob("shard-*/data/replicas/*"))) > 4, "the merged shard", 30, cluster.describe)
        cluster.collections.Delete(c.DeleteCollectionRequest(name="gone"), timeout=30)
        wait_for(lambda: operation(cluster, begun.id).step in ["failed", "done"], "the end of the merge", 30, lambda: f"{operations(cluster)}")
        wait_for(lambda: not list(cluster.folder.glob("shard-*/data/replicas/*")), "no files", 20,
                 lambda: str(list(cluster.folder.glob("shard-*/data/replicas/*"))) + cluster.describe())


def test_backups_moves_and_codes_of_merged_shards(tmp_path):
    with Cluster(workers=3, coordinator_arguments=CALM) as cluster:
        field = c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2, index=c.IndexSpec(spec="lvq8"))
        cluster.collections.Create(c.CreateCollectionRequest(name="coded", fields=[field], shard_count=2, replication_factor=1), timeout=30)
        for start in range(0, 6000, 2000):
            points = [p.Point(id=common.PointId(number=i), vectors={"v": common.Vector(data=row.tobytes())}, payload={"n": common.Value(int_value=i)})
                      for i, row in zip(range(start, start + 2000), rows(range(start, start + 2000)))]
            cluster.points.Upsert(p.UpsertRequest(collection="coded", points=points), timeout=30)

        def is_coded():
            codec = cluster.collections.Get(c.GetCollectionRequest(name="coded"), timeout=10).codecs[0]
            return codec.version > 0 and codec.encoded == codec.total > 0

        wait_for(is_coded, "codes", 60, cluster.describe)
        queries = rows(range(50_000, 50_040))
        before = recall(cluster, "coded", queries)
        pair = brought_together(cluster, "coded")
        await_step(cluster, merge(cluster, "coded", *pair).id, "done", 60, cluster.describe)
        wait_for(is_coded, "codes of the merged shard", 60, cluster.describe)
        assert recall(cluster, "coded", queries) >= before - 0.05

        def whole(name):
            ids = [common.PointId(number=i) for i in range(6000)]
            answer = cluster.points.Get(p.GetPointsRequest(collection=name, ids=ids, parts=p.PointParts(payload=True), read=PRIMARY), timeout=30)
            return {one.id.number: one.payload["n"].int_value for one in answer.points} == {i: i for i in range(6000)}

        assert whole("coded")
        target = f"file://{tmp_path}"
        b.back_up(cluster, "coded", target, "after")
        b.restore(cluster, target, "after", "again")
        assert whole("again")
        # To another node, and with another replica.
        merged = shards(cluster, "coded")[0]
        node = next(n.id for n in cluster.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes if n.id != merged.replicas[0].node)
        begun = move(cluster, "coded", merged.shard, **{"from": merged.replicas[0].node, "to": node})
        wait_for(lambda: operation(cluster, begun.id).step == "done", "the move", 60, cluster.describe)
        assert whole("coded")
        await_step(cluster, split(cluster, "coded", merged.shard).id, "done", 60, cluster.describe)
        assert whole("coded") and len(shards(cluster, "coded")) == 2
