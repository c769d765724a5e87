"""Loading a collection from many Ray workers.

`load` reads Parquet files; what is done is written down, so that one that was killed goes on where it was. `Sink` takes any Ray dataset.
Rows are written under their ids, so what is written twice is there once.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.dataset
import pyarrow.parquet as pq
import ray
from ray.data.datasource import Datasink

from needletail import arrow
from needletail.client import Client


class Sink(Datasink):
    """For `dataset.write_datasink(needletail.ray.Sink("10.0.0.2:7460", "books"), concurrency=4)`: a column of ids, vectors and payload as
    `needletail.arrow` reads them. A task that Ray runs again writes the same points again."""

    def __init__(self, endpoint: str, collection: str, *, id: str = "id", vectors: Mapping[str, str] | str | None = None,
                 payload: Sequence[str] | None = None, timeout: float = 120.0):
        self.endpoint, self.collection, self.timeout = endpoint, collection, timeout
        self.columns = {"id": id, "vectors": vectors, "payload": payload}

    def write(self, blocks: Iterable[Any], ctx: Any) -> int:
        with Client(self.endpoint, timeout=self.timeout) as client:
            return sum(arrow.import_batch(client, self.collection, ray.data.block.BlockAccessor.for_block(block).to_arrow(), **self.columns)
                       for block in blocks)

    def get_name(self) -> str:
        return "Needletail"


def load(endpoint: str, collection: str, paths: str | Sequence[str], *, progress: str, workers: int = 4, id: str = "id",
         vectors: Mapping[str, str] | str | None = None, payload: Sequence[str] | None = None, timeout: float = 120.0) -> int:
    """Writes all rows of Parquet files, row group by row group, from `workers` Ray tasks at a time; returns how many rows this run wrote.

    `progress`: a folder that all workers share, one for a load. A row group that is acknowledged leaves an empty file there, and is not
    written again; started anew after a crash it goes on with the rest. Delete the folder to load again.
    """
    folder = pathlib.Path(progress).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    units = [unit for unit in _units(paths) if not (folder / _mark(collection, unit)).exists()]
    columns = {"id": id, "vectors": vectors, "payload": payload}
    pending, total = [], 0
    # No more tasks than workers are given out, so that what a crash interrupts is little.
    for unit in units:
        if len(pending) >= workers:
            done, pending = ray.wait(pending)
            total += sum(ray.get(done))
        pending.append(_load_group.remote(endpoint, collection, unit, columns, timeout, str(folder)))
    return total + sum(ray.get(pending))


def _units(paths: str | Sequence[str]) -> list[tuple[str, int, int]]:
    """Files with their size and each of their row groups."""
    files = sorted(pyarrow.dataset.dataset(paths, format="parquet").files)
    return [(os.path.abspath(file), os.path.getsize(file), group) for file in files for group in range(pq.ParquetFile(file).num_row_groups)]


def _mark(collection: str, unit: tuple[str, int, int]) -> str:
    return hashlib.sha256(repr((collection, unit)).encode()).hexdigest()[:32]


@ray.remote(num_cpus=0.25, max_retries=3)
def _load_group(endpoint: str, collection: str, unit: tuple[str, int, int], columns: dict, timeout: float, progress: str) -> int:
    path, _, group = unit
    table = pq.ParquetFile(path).read_row_group(group)
    with Client(endpoint, timeout=timeout) as client:
        written = arrow.import_batch(client, collection, table, **columns)
    # After all is acknowledged: a crash in between writes the group once more, under the same ids.
    (pathlib.Path(progress) / _mark(collection, unit)).touch()
    return written
