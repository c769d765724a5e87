"""Measures hnswlib in the schema of `needletail-bench ann`, one search thread: make bench-ann."""

import argparse
import json
import pathlib
import time

import hnswlib
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--base", required=True)
parser.add_argument("--query", required=True)
parser.add_argument("--metric", default="l2", choices=["l2", "cosine", "dot"])
parser.add_argument("--k", type=int, default=10)
parser.add_argument("--efs", default="10,15,20,30,40,60,80,120,160,240,320,480")
options = parser.parse_args()


def read(path):
    kind = {".fbin": "f4", ".f16bin": "f2", ".u8bin": "u1", ".i8bin": "i1"}[pathlib.Path(path).suffix]
    count, dimensions = np.fromfile(path, "u4", 2)
    return np.fromfile(path, kind, offset=8).reshape(count, dimensions).astype("f4")


base, queries = read(options.base), read(options.query)
if options.metric == "cosine":
    base, queries = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (base, queries))
common = dict(dataset=pathlib.Path(options.base).name, metric=options.metric, n=len(base), d=base.shape[1], engine="hnswlib")
space = "l2" if options.metric == "l2" else "ip"
exact = hnswlib.BFIndex(space, base.shape[1])
exact.init_index(len(base))
exact.add_items(base)
truth, _ = exact.knn_query(queries, options.k)
begin = time.perf_counter()
index = hnswlib.Index(space, base.shape[1])
index.init_index(len(base), M=16, ef_construction=200)
index.add_items(base, num_threads=2)
print(json.dumps(common | dict(phase="build", seconds=round(time.perf_counter() - begin, 2))), flush=True)
for ef in map(int, options.efs.split(",")):
    index.set_ef(ef)
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        found, _ = index.knn_query(queries, options.k, num_threads=1)
        best = min(best, time.perf_counter() - begin)
    recall = np.mean([len(set(a) & set(b)) / options.k for a, b in zip(found, truth)])
    print(json.dumps(common | dict(phase="search", ef=ef, recall=round(float(recall), 5), qps=round(len(queries) / best, 1), threads=1)), flush=True)
    if recall >= 0.9995:
        break
