"""Loading from Ray workers: a real Ray in local mode, killed in the middle."""

import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import wait_for
from needletail import Field

ROWS, GROUP, DIMENSIONS = 20_000, 500, 32
LOADER = """
import sys, ray, needletail.ray
endpoint, paths, progress = sys.argv[1:]
ray.init(num_cpus=1, include_dashboard=False, logging_level="error", log_to_driver=False)
print("wrote", needletail.ray.load(endpoint, "rows", paths, progress=progress, workers=4), flush=True)
"""
SINK = """
import sys, ray, needletail.ray
endpoint, paths = sys.argv[1:]
ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
ray.data.read_parquet(paths).write_datasink(needletail.ray.Sink(endpoint, "sink"), concurrency=2)
"""


@pytest.fixture
def rows(rng, tmp_path):
    vectors = rng.standard_normal((ROWS, DIMENSIONS)).astype("f4")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSIONS)
    folder = tmp_path / "rows"
    folder.mkdir()
    table = pa.table({"id": pa.array(range(ROWS), pa.uint64()), "v": lists, "n": pa.array(range(ROWS))})
    for part in range(2):
        pq.write_table(table.slice(part * ROWS // 2, ROWS // 2), folder / f"{part}.parquet", row_group_size=GROUP)
    return folder, vectors


def start(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)


def end(process):
    """The driver and all that it started: they are one session."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    process.communicate()


def test_a_load_that_was_killed_goes_on(cluster, client, rows, tmp_path):
    folder, vectors = rows
    progress = tmp_path / "progress"
    client.create_collection("rows", {"v": Field(DIMENSIONS, "l2")}, shards=2)
    first = start(LOADER, cluster.coordinator.address, folder, progress)
    try:
        wait_for(lambda: progress.is_dir() and len(list(progress.iterdir())) >= 8, "a part of the load", 120)
        before = len(list(progress.iterdir()))
    finally:
        end(first)
    assert before < ROWS // GROUP, "killed in the middle"
    second = start(LOADER, cluster.coordinator.address, folder, progress)
    try:
        out, err = second.communicate(timeout=200)
        assert second.returncode == 0, err
    finally:
        end(second)
    # What was marked is not written again, and nothing is missing or twice.
    assert int(out.split()[-1]) <= ROWS - before * GROUP
    ids = [point.id for point in client.scroll("rows", read="primary", page=5_000)]
    assert ids == list(range(ROWS))
    for point in client.get("rows", range(0, ROWS, 997), with_vectors=True, read="primary"):
        assert point.payload == {"n": point.id} and np.array_equal(point.vectors["v"], vectors[point.id])
    client.delete_collection("rows")


def test_any_dataset_has_a_sink(cluster, client, rows):
    folder, _ = rows
    client.create_collection("sink", {"v": Field(DIMENSIONS, "l2")}, shards=2)
    process = start(SINK, cluster.coordinator.address, folder)
    try:
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
    finally:
        end(process)
    assert client.count("sink", read="primary") == ROWS
    client.delete_collection("sink")
