"""What a backup and a restore take: `make bench-backups`. One JSON object a line.

100,000 points of 128 dimensions in 2 shards on 2 workers, with small payloads, in a folder on the same disk. Writes of single points go on
during the backups, and how long each took is looked at.
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests" / "Python"))
import conftest  # noqa: E402,F401  makes the stubs
import numpy as np  # noqa: E402
from harness import Cluster, wait_for  # noqa: E402
from needletail.v1 import backup_pb2 as b, backup_pb2_grpc  # noqa: E402
from needletail.v1 import collections_pb2 as c, common_pb2 as common, points_pb2 as p  # noqa: E402

POINTS = int(os.environ.get("NEEDLETAIL_POINTS", 100_000))
DIMENSIONS = 128


def write(cluster, first, count):
    rows = np.random.default_rng(first).standard_normal((count, DIMENSIONS)).astype("f4")
    points = [
        p.Point(id=common.PointId(number=first + i), vectors={"v": common.Vector(data=row.tobytes())}, payload={"n": common.Value(int_value=first + i)})
        for i, row in enumerate(rows)
    ]
    cluster.points.Upsert(p.UpsertRequest(collection="c", points=points), timeout=120)


def run(cluster, begin, **said):
    stub, start = backup_pb2_grpc.BackupsStub(cluster.channel), time.monotonic()
    begun = begin(stub)

    def ended():
        return next((one for one in stub.Operations(b.ListBackupOperationsRequest(), timeout=30).operations if one.id == begun.id and one.ended), None)

    found = wait_for(ended, "the operation's end", 600, cluster.describe)
    assert found.step == "done", found
    seconds = time.monotonic() - start
    print(json.dumps({**said, "seconds": round(seconds, 2), "bytes": found.bytes, "new_bytes": found.new_bytes,
                      "held_milliseconds": found.held_microseconds / 1000}), flush=True)
    return seconds


def main():
    folder = tempfile.mkdtemp(prefix="needletail-backups-")
    target = f"file://{folder}"
    with Cluster(workers=2) as cluster:
        cluster.collections.Create(c.CreateCollectionRequest(
            name="c", shard_count=2, fields=[c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)]), timeout=30)
        for first in range(0, POINTS, 2_000):
            write(cluster, first, 2_000)

        def back_up(name, **said):
            return run(cluster, lambda stub: stub.Create(b.CreateBackupRequest(collection="c", target=target, name=name), timeout=60), backup=name, **said)

        def rest():
            """A replica that rests for two seconds is checkpointed."""
            time.sleep(8)

        rest()
        back_up("first")
        rest()
        back_up("nothing-new")
        write(cluster, POINTS, POINTS // 100)
        back_up("one-percent-in-the-log")
        rest()
        back_up("one-percent-in-the-checkpoint")
        stop, times = threading.Event(), []

        def writer(number):
            i = 0
            while not stop.is_set():
                start = time.monotonic()
                write(cluster, 10_000_000 + number * 1_000_000 + i, 1)
                times.append(time.monotonic() - start)
                i += 1

        threads = [threading.Thread(target=writer, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for number in range(10):
            back_up(f"under-writes-{number}")
        stop.set()
        for thread in threads:
            thread.join()
        print(json.dumps({"writes": len(times), "median_milliseconds": round(1000 * float(np.median(times)), 2),
                          "longest_milliseconds": round(1000 * max(times), 2)}), flush=True)
        for name, shards in [("same", 0), ("more", 5)]:
            seconds = run(
                cluster, lambda stub: stub.Restore(b.RestoreBackupRequest(target=target, name="first", collection=name, shard_count=shards), timeout=60),
                restore=name, shards=shards or 2)
            print(json.dumps({"restore": name, "points_per_second": round(POINTS / seconds)}), flush=True)
    shutil.rmtree(folder)


main()
