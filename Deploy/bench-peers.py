"""Recall against queries a second of this project and its peers, in turns, one search thread: make bench-peers.

Runs `needletail-bench ann` and the peer libraries one after the other, several rounds of all, and writes the medians as tables (stdout,
Markdown) and as curves (SVG, one a set).
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

EFS = [10, 11, 12, 13, 15, 17, 20, 25, 30, 40, 60, 80, 120, 160, 240, 320, 480]
TARGETS = [0.90, 0.95, 0.99]
COLOURS = ["#0a7d5a", "#12b886", "#74c69d", "#c92a2a", "#1971c2", "#e8590c", "#862e9c", "#495057"]


def read(path):
    kind = {".fbin": "f4", ".f16bin": "f2", ".u8bin": "u1", ".i8bin": "i1"}[pathlib.Path(path).suffix]
    count, dimensions = np.fromfile(path, "u4", 2)
    return np.fromfile(path, kind, offset=8).reshape(count, dimensions).astype("f4")


class Peers:
    """The peer libraries with M 16, efConstruction 200 (SVS: degree 32, window 200), two threads to build and one to search."""

    def __init__(self, base, queries, metric):
        if metric == "cosine":
            base, queries = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (base, queries))
        self.base, self.queries, self.product = base, queries, metric != "l2"
        import faiss

        flat = faiss.IndexFlatIP(base.shape[1]) if self.product else faiss.IndexFlatL2(base.shape[1])
        flat.add(base)
        self.truth = flat.search(queries, 10)[1]

    def hnswlib(self):
        import hnswlib

        index = hnswlib.Index("ip" if self.product else "l2", self.base.shape[1])
        index.init_index(len(self.base), M=16, ef_construction=200)
        index.add_items(self.base, num_threads=2)

        def search(ef):
            index.set_ef(ef)
            return index.knn_query(self.queries, 10, num_threads=1)[0]

        return search

    def faiss(self):
        import faiss

        faiss.omp_set_num_threads(2)
        index = faiss.IndexHNSWFlat(self.base.shape[1], 16, faiss.METRIC_INNER_PRODUCT if self.product else faiss.METRIC_L2)
        index.hnsw.efConstruction = 200
        index.add(self.base)
        faiss.omp_set_num_threads(1)

        def search(ef):
            index.hnsw.efSearch = ef
            return index.search(self.queries, 10)[1]

        return search

    def usearch(self):
        from usearch.index import Index

        index = Index(ndim=self.base.shape[1], metric="ip" if self.product else "l2sq", dtype="f32", connectivity=16, expansion_add=200)
        index.add(np.arange(len(self.base)), self.base, threads=2)

        def search(ef):
            index.expansion_search = ef
            return index.search(self.queries, 10, threads=1).keys

        return search

    def svs(self):
        import svs

        parameters = svs.VamanaBuildParameters(alpha=0.95 if self.product else 1.2, graph_max_degree=32, window_size=200)
        distance = svs.DistanceType.MIP if self.product else svs.DistanceType.L2
        index = svs.Vamana.build(parameters, self.base, distance, num_threads=2)
        index.num_threads = 1

        def search(ef):
            index.search_window_size = ef
            return index.search(self.queries, 10)[0]

        return search

    def measure(self, name):
        begin = time.perf_counter()
        search = getattr(self, name)()
        yield {"engine": name, "phase": "build", "seconds": time.perf_counter() - begin}
        for ef in EFS:
            best = float("inf")
            for _ in range(3):
                begin = time.perf_counter()
                found = search(ef)
                best = min(best, time.perf_counter() - begin)
            hits = sum(len(set(map(int, row)) & set(map(int, true))) for row, true in zip(found, self.truth))
            recall = hits / (10 * len(self.queries))
            yield {"engine": name, "phase": "search", "ef": ef, "recall": recall, "qps": len(self.queries) / best}
            if recall >= 0.9995:
                return


def ours(options, codec):
    command = [options.bench, "ann", "--base", options.base, "--query", options.query, "--metric", options.metric, "--codec", codec]
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        yield json.loads(line)


def curve(lines):
    """Medians of recall and qps by ef."""
    runs = {}
    for line in lines:
        if line["phase"] == "search":
            runs.setdefault(line["ef"], []).append((line["recall"], line["qps"]))
    return sorted(tuple(statistics.median(column) for column in zip(*pairs)) for pairs in runs.values())


def at(points, target):
    """Queries a second at a recall, linear between neighbours; None beyond the curve."""
    best = [(recall, max(qps for _, qps in points[index:])) for index, (recall, _) in enumerate(points)]
    if best[-1][0] < target:
        return None
    for (low, slow), (high, fast) in zip(best, best[1:]):
        if low < target <= high:
            return slow + (fast - slow) * (target - low) / (high - low)
    return best[0][1]


def plot(curves, title, path):
    """Recall 0.8 … 1 to the right, queries a second upwards on a logarithmic scale."""
    rates = [qps for points in curves.values() for recall, qps in points if recall >= 0.8]
    low, high = np.log10(min(rates)), np.log10(max(rates))

    def place(recall, qps):
        return 60 + (recall - 0.8) / 0.2 * 560, 360 - (np.log10(qps) - low) / max(high - low, 1e-9) * 320

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="820" height="410" font-family="sans-serif" font-size="12">',
             f'<rect width="820" height="410" fill="white"/><text x="60" y="22" font-size="14">{title}</text>']
    for recall in (0.8, 0.85, 0.9, 0.95, 1.0):
        x = place(recall, 10**low)[0]
        parts.append(f'<line x1="{x:.0f}" y1="40" x2="{x:.0f}" y2="360" stroke="#ddd"/><text x="{x - 12:.0f}" y="378">{recall:g}</text>')
    for rate in [base * 10**power for power in range(2, 7) for base in (1, 2, 5)]:
        if low <= np.log10(rate) <= high:
            y = place(0.8, rate)[1]
            parts.append(f'<line x1="60" y1="{y:.0f}" x2="620" y2="{y:.0f}" stroke="#ddd"/><text x="8" y="{y + 4:.0f}">{rate:,}</text>')
    for number, (engine, points) in enumerate(sorted(curves.items())):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in points if point[0] >= 0.8)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="632" y="{60 + number * 20}" fill="{colour}">{engine}</text>')
    parts.append('<text x="290" y="398">recall@10</text><text x="8" y="38">queries a second</text></svg>')
    pathlib.Path(path).write_text("\n".join(parts) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", default=".build/release/needletail-bench")
    parser.add_argument("--base", required=True)
    parser.add_argument("--query", required=True)
    parser.add_argument("--metric", default="l2", choices=["l2", "cosine", "dot"])
    parser.add_argument("--codecs", default="none;lvq8;lvq4", help="index specs, separated by semicolons")
    parser.add_argument("--peers", default="hnswlib,faiss,usearch,svs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", help="where to write the curves (SVG)")
    options = parser.parse_args()
    peers = Peers(read(options.base), read(options.query), options.metric)
    lines = {}
    for _ in range(options.rounds):
        for codec in options.codecs.split(";"):
            lines.setdefault("needletail " + codec, []).extend(ours(options, codec))
        for name in filter(None, options.peers.split(",")):
            lines.setdefault(name, []).extend(peers.measure(name))
        print(".", end="", file=sys.stderr, flush=True)
    curves = {engine: curve(of_engine) for engine, of_engine in lines.items()}
    name = pathlib.Path(options.base).name
    print(f"\n### {name}, {options.metric}\n\n| | qps at 0.90 | at 0.95 | at 0.99 | build, 2 threads |\n| --- | --- | --- | --- | --- |")
    for engine, points in curves.items():
        seconds = statistics.median(line["seconds"] for line in lines[engine] if line["phase"] == "build")
        rates = [at(points, target) for target in TARGETS]
        print(f"| {engine} | " + " | ".join(f"{rate:,.0f}" if rate else "–" for rate in rates) + f" | {seconds:.1f} s |")
    for label, mine in (("best codec", lambda e: e.startswith("needletail")), ("no codec", lambda e: e == "needletail none")):
        ratios = []
        for target in TARGETS:
            us = max((at(p, target) or 0 for e, p in curves.items() if mine(e)), default=0)
            them = max((at(p, target) or 0 for e, p in curves.items() if not e.startswith("needletail")), default=0)
            ratios.append(f"{us / them:.2f}" if us and them else "–")
        print(f"| ratio to the best peer, {label} | " + " | ".join(ratios) + " | |")
    if options.plot:
        plot(curves, f"{name}, {options.metric}", options.plot)


main()
