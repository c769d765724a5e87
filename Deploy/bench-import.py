"""Rows a second that Ray workers load from Parquet, beside the command line's import of the same vectors. Run it with `make bench-import`."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "Tests" / "Python"))

import needletail  # noqa: E402
import needletail.ray  # noqa: E402
from harness import BINARIES, Cluster  # noqa: E402

ROWS, DIMENSIONS, WORKERS = int(os.environ.get("ROWS", 100_000)), 128, 4


def write(folder):
    vectors = np.random.default_rng(1).standard_normal((ROWS, DIMENSIONS)).astype("f4")
    with open(folder / "rows.fbin", "wb") as file:
        np.array([ROWS, DIMENSIONS], "u4").tofile(file)
        vectors.tofile(file)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSIONS)
    pq.write_table(pa.table({"id": pa.array(range(ROWS), pa.uint64()), "v": lists}), folder / "rows.parquet", row_group_size=5_000)


def main():
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    rates = {"command line": [], "ray": []}
    with tempfile.TemporaryDirectory(prefix="needletail-bench-") as name, Cluster(workers=2) as cluster:
        folder, endpoint = pathlib.Path(name), cluster.coordinator.address
        write(folder)
        with needletail.Client(endpoint) as client:
            for turn in range(4):
                for way in rates:
                    client.create_collection("rows", {"v": needletail.Field(DIMENSIONS, "l2")}, shards=2)
                    begin = time.monotonic()
                    if way == "ray":
                        assert needletail.ray.load(endpoint, "rows", str(folder / "rows.parquet"), progress=f"{name}/{turn}", workers=WORKERS) == ROWS
                    else:
                        subprocess.run([str(BINARIES / "needletail"), "import", "rows", str(folder / "rows.fbin"), "--endpoint", endpoint],
                                       check=True, capture_output=True)
                    # The first turn starts Ray's workers.
                    if turn:
                        rates[way].append(ROWS / (time.monotonic() - begin))
                    assert client.count("rows", read="primary") == ROWS
                    client.delete_collection("rows")
    medians = {way: round(statistics.median(values)) for way, values in rates.items()}
    print(json.dumps({"rows_per_second": medians, "ratio": round(medians["ray"] / medians["command line"], 2)}))


main()
