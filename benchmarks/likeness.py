"""Time, memory and recall of the search among features: near duplicates, outliers, and images of
other sets among a million unit vectors of 512; and, beside it, the search among perceptual hashes.

    python benchmarks/likeness.py [--count 1000000] [--threads 2] [--parts near,hashes]

The vectors are made: clusters around random centres, in blocks of 10 000 that
are read from a file of halves, as features are kept. A hundredth of them are near copies of
earlier ones (cosine 0.97), a thousandth belong to no cluster. Recall is the share of planted copies
that are found, and for neighbours the share of the eight nearest that comparing with all finds, of
200 vectors. Processor time counts where others compute on the same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from time import perf_counter, process_time

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from dcr.likeness.searching import add_unlike, build_index, distances, nearest_of
from dcr.metrics.embeddings import normalize

BLOCK = 10_000
WIDTH = 512
THRESHOLD = 0.95
NUM_NEIGHBOURS = 8


def near(rng: np.random.Generator, vectors: np.ndarray, cosine: float) -> np.ndarray:
    noise = normalize(rng.standard_normal(vectors.shape, np.float32))
    noise = normalize(noise - (noise * vectors).sum(axis=1, keepdims=True) * vectors)
    return cosine * vectors + np.float32(np.sqrt(1 - cosine**2)) * noise


def block(number: int, num_clusters: int) -> np.ndarray:
    """Return vectors (BLOCK, WIDTH): of clusters, then copies of the block's first, then loners."""
    rng = np.random.default_rng([1, number])
    centres = normalize(np.random.default_rng(0).standard_normal((num_clusters, WIDTH), np.float32))
    vectors = near(rng, centres[rng.integers(0, num_clusters, BLOCK)], 0.7)
    copies, loners = BLOCK // 100, BLOCK // 1000
    source = vectors[:copies] if number == 0 else block_head(number - 1, num_clusters, copies)
    vectors[-copies - loners : -loners] = near(rng, source, 0.97)
    vectors[-loners:] = normalize(rng.standard_normal((loners, WIDTH), np.float32))
    return vectors


def block_head(number: int, num_clusters: int, count: int) -> np.ndarray:
    """Return the first ``count`` vectors of a block without its copies."""
    rng = np.random.default_rng([1, number])
    centres = normalize(np.random.default_rng(0).standard_normal((num_clusters, WIDTH), np.float32))
    return near(rng, centres[rng.integers(0, num_clusters, BLOCK)], 0.7)[:count]


class Watch:
    """What a part took: seconds by the wall, of processors, and this process's memory after it."""

    def __enter__(self) -> Watch:
        self._starts = perf_counter(), process_time()
        return self

    def __exit__(self, *_: object) -> None:
        status = Path("/proc/self/status").read_text()
        resident, peak = (
            int(re.search(rf"{name}:\s*(\d+) kB", status)[1]) for name in ("VmRSS", "VmHWM")
        )
        self.took = {
            "wall_s": round(perf_counter() - self._starts[0], 1),
            "processor_s": round(process_time() - self._starts[1], 1),
            "resident_gib": round(resident / 2**20, 2),
            "peak_gib": round(peak / 2**20, 2),
        }


def search(count: int, parts: list[str]) -> dict[str, object]:
    """Draw ``count`` vectors into a file, and search among them."""
    num_clusters = max(10, count // 500)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vectors")
        with Watch() as watch, path.open("wb") as file:
            for number in range(count // BLOCK):
                file.write(block(number, num_clusters).astype(np.float16).data)
        print(json.dumps({"drawing": watch.took}), flush=True)
        return search_file(path, count, num_clusters, parts)


def search_file(path: Path, count: int, num_clusters: int, parts: list[str]) -> dict[str, object]:
    """Search among the vectors of a file of halves."""

    def blocks() -> Iterator[np.ndarray]:
        for number in range(count // BLOCK):
            place = 2 * BLOCK * WIDTH * number
            kept = np.fromfile(path, np.float16, BLOCK * WIDTH, offset=place)
            yield kept.reshape(BLOCK, WIDTH).astype(np.float32)

    results: dict[str, object] = {}

    def note(name: str, watch: Watch, **found: object) -> None:
        results[name] = {**watch.took, **found}
        print(json.dumps({name: results[name]}), flush=True)

    with Watch() as watch:
        index = build_index(blocks, count)
    note("learning the cells", watch)
    with Watch() as watch:
        leaders = add_unlike(index, blocks, THRESHOLD)
    place = np.arange(count) % BLOCK
    copies, loners = BLOCK // 100, BLOCK // 1000
    planted = (place >= BLOCK - copies - loners) & (place < BLOCK - loners)
    note(
        "near duplicates",
        watch,
        recall=float((leaders[planted] >= 0).mean()),
        wrong=int((leaders[~planted] >= 0).sum()),
    )
    if "outliers" in parts:
        with Watch() as watch:
            far = distances(index, blocks, NUM_NEIGHBOURS)
        lone = place >= BLOCK - loners
        note(
            "outliers",
            watch,
            least_of_loners=float(far[lone].min()),
            most_of_others=float(far[~lone].max()),
        )
        note("neighbours", watch, recall=recall(index, blocks, num_clusters))
    if "others" in parts:
        others = near(np.random.default_rng(9), block_head(0, num_clusters, BLOCK), 0.97)
        with Watch() as watch:
            second = build_index(lambda: [others], BLOCK)
            add_unlike(second, lambda: [others], None)
            found = nearest_of(second, blocks, THRESHOLD)
        own = np.flatnonzero(found[:BLOCK] == np.arange(BLOCK))
        note("images of other sets", watch, sets=BLOCK, recall=len(own) / (BLOCK - copies - loners))
    return results


def recall(index: object, blocks: object, num_clusters: int) -> float:
    """Return the share of the eight nearest that the index finds, of 200 vectors."""
    queries = block(0, num_clusters)[:200]
    best = np.full((200, NUM_NEIGHBOURS + 1), -np.inf, np.float32)
    places = np.full((200, NUM_NEIGHBOURS + 1), -1)
    start = 0
    for vectors in blocks():
        both = np.concatenate([best, queries @ vectors.T], axis=1)
        names = np.concatenate([places, np.tile(start + np.arange(len(vectors)), (200, 1))], axis=1)
        order = np.argsort(-both, axis=1)[:, : NUM_NEIGHBOURS + 1]
        best, places = (np.take_along_axis(one, order, axis=1) for one in (both, names))
        start += len(vectors)
    _, found = index.nearest(queries, NUM_NEIGHBOURS + 1)
    shares = [np.isin(true, got).mean() for true, got in zip(places, found, strict=True)]
    return round(float(np.mean(shares)), 4)


def measure(count: int, parts: list[str]) -> dict[str, object]:
    """Run the parts that are asked for, on ``count`` vectors or hashes."""
    results = search(count, parts)
    if "hashes" in parts:
        from validation import find_near  # here, as it would count in the others' memory

        with Watch() as watch:
            found = find_near(count)
        results["hashes"] = {**watch.took, **found}
        print(json.dumps({"hashes": results["hashes"]}), flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", default="near,outliers,others,hashes")
    arguments = parser.parse_args()
    with threadpool_limits(arguments.threads):  # of what is loaded: faiss's and numpy's
        results = measure(arguments.count, arguments.parts.split(","))
    results |= {
        "count": arguments.count,
        "threads": arguments.threads,
        "faiss": faiss.__version__,
        "load": round(os.getloadavg()[0], 1),
        "date": date.today().isoformat(),
    }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
