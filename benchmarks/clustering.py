"""Processor time and quality of k-means: Lloyd's algorithm, mini-batches, and faiss if it is
installed.

    pip install faiss-cpu
    python benchmarks/clustering.py --json clustering.json

Unit vectors around random centres, one start each, one thread. ``dcr.metrics.clustering.cluster``
is what evaluation calls; scikit-learn with random starts and faiss run the same number of Lloyd's
steps from the same kind of start.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from common import environment, measure, parser, tell
from dcr.metrics.clustering import cluster, clustering_scores
from dcr.metrics.embeddings import normalize

NUM_STEPS = 20


def make_embeddings(count: int, width: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors (N, d), float32, and their classes (N,)."""
    generator = np.random.default_rng(0)
    labels = generator.integers(num_classes, size=count)
    centres = generator.normal(size=(num_classes, width)).astype(np.float32)
    return normalize(
        centres[labels] + 3 * generator.normal(size=(count, width)).astype(np.float32)
    ), labels


def cluster_from_random_starts(embeddings: np.ndarray, num_clusters: int) -> np.ndarray:
    """Return the clusters of scikit-learn's Lloyd steps from random items, as faiss starts."""
    return KMeans(
        num_clusters, init="random", n_init=1, max_iter=NUM_STEPS, random_state=0
    ).fit_predict(embeddings)


def cluster_with_faiss(embeddings: np.ndarray, num_clusters: int) -> np.ndarray:
    """Return faiss's clusters; it would sample 256 items a cluster unless told to take all."""
    import faiss

    faiss.omp_set_num_threads(1)
    count, width = embeddings.shape
    kmeans = faiss.Kmeans(
        width, num_clusters, niter=NUM_STEPS, seed=0, max_points_per_centroid=count
    )
    kmeans.train(embeddings)
    return kmeans.index.search(embeddings, 1)[1].ravel()


def main() -> None:
    """Measure, print and write the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, default=100_000)
    arguments.add_argument("--width", type=int, default=512)
    arguments.add_argument("--classes", type=int, default=100)
    options = arguments.parse_args()
    embeddings, labels = make_embeddings(options.images, options.width, options.classes)
    kinds = {
        "k-means++, Lloyd": lambda: cluster(embeddings, options.classes, seed=0, num_init=1),
        "k-means++, mini-batches": lambda: cluster(
            embeddings, options.classes, 0, num_init=1, batch_size=10_000
        ),
        "random starts, Lloyd": lambda: cluster_from_random_starts(embeddings, options.classes),
        "faiss": lambda: cluster_with_faiss(embeddings, options.classes),
    }
    figures = {"images": options.images, "width": options.width, "classes": options.classes}
    for name, run in kinds.items():
        found = []
        try:
            with threadpool_limits(limits=1):
                seconds = measure(lambda run=run, found=found: found.append(run()))
        except ImportError:
            continue
        scores = {
            metric: round(float(value), 3)
            for metric, value in clustering_scores(labels, found[0]).items()
        }
        figures[name] = {"processor_s": round(seconds.processor, 1), **scores}
    tell(figures | environment("scikit-learn", "numpy"), options.json)


if __name__ == "__main__":
    main()
