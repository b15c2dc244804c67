"""D-Ability: do classes fall apart in feature space by themselves? k-means against the labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics.cluster import contingency_matrix
from threadpoolctl import threadpool_limits

from dcr.metrics.embeddings import linearized, normalize, weighted_mean


def cluster(
    embeddings: np.ndarray, num_clusters: int, seed: int, num_init: int = 10, batch_size: int = 0
) -> np.ndarray:
    """Return k-means clusters (N,) of the L2-normalised embeddings (N, d), the best of many starts.

    With a ``batch_size`` > 0 each step moves the centres by that many embeddings (mini-batch
    k-means; Sculley, WWW 2010), for sets of many hundred thousand; 0 is Lloyd's algorithm on all of
    them. Memory beside the normalised copy is O(N) either way: distances to the centres are taken
    in chunks, those between embeddings never. faiss is not used: on one thread its steps cost what
    scikit-learn's do, and its random starts find less (`benchmarks/clustering.py`).

    Runs on one thread: with more, scikit-learn adds up the centres in the order in which threads
    finish, and the last bits, now and then a cluster, change from run to run.

    Args:
        embeddings: (N, d), of any length.
        num_clusters: from 2 to N.
        seed: of the starts.
        num_init: starts, of which the one with the least inertia is kept.
        batch_size: embeddings of a mini-batch; 0 takes all at once.
    """
    if not 2 <= num_clusters <= len(embeddings):
        raise ValueError(
            f"num_clusters must lie in [2, {len(embeddings)} embeddings], got {num_clusters}"
        )
    if batch_size:
        kmeans = MiniBatchKMeans(
            num_clusters, batch_size=batch_size, n_init=num_init, random_state=seed
        )
    else:
        kmeans = KMeans(num_clusters, n_init=num_init, random_state=seed)
    with threadpool_limits(limits=1):
        clusters: np.ndarray = kmeans.fit_predict(normalize(embeddings))
    return clusters


def match_clusters(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return for each item (N,) whether its cluster is the one matched to its label.

    They are matched by the Hungarian method.

    Args:
        labels, clusters: (N,), an item's label and its cluster.
    """
    table = contingency_matrix(labels, clusters)
    rows, columns = linear_sum_assignment(table, maximize=True)
    matched = np.full(table.shape[1], -1)
    matched[columns] = rows
    _, label_ids = np.unique(labels, return_inverse=True)
    _, cluster_ids = np.unique(clusters, return_inverse=True)
    right: np.ndarray = matched[cluster_ids] == label_ids
    return right


def clustering_scores(
    labels: np.ndarray, clusters: np.ndarray, counts: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return ``acc``, ``nmi`` (arithmetic) and ``ari`` of clusters against labels.

    Args:
        labels, clusters: (N,), an item's label and its cluster.
        counts: (..., N), how often each item is drawn; once by default.
    """
    counts = np.ones(len(labels)) if counts is None else counts
    return clustering_statistics(labels, clusters)(counts)


def clustering_statistics(
    labels: np.ndarray, clusters: np.ndarray
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return a function from counts (..., N) to the scores of `clustering_scores`.

    It serves many resamples. Under resampling the clusters and their matching to labels stay those
    of the whole set: the interval tells of the sampling of items, not of the starts of k-means. NMI
    and ARI are taken to first order (`dcr.metrics.embeddings.linearized`): copies of an item always
    fall together, so that their plain replicates lie above the value, and their quantiles may leave
    it out.

    Args:
        labels, clusters: (N,), an item's label and its cluster.
    """
    labels = np.asarray(labels)
    clusters = np.asarray(clusters)
    if labels.shape != clusters.shape or labels.ndim != 1 or len(labels) == 0:
        raise ValueError(
            f"labels and clusters must have one shape (N,), got {labels.shape}, {clusters.shape}"
        )
    cells = np.unique(np.stack([labels, clusters]), axis=1, return_inverse=True)[1].ravel()
    sizes = [_group_sizes(ids) for ids in (cells, labels, clusters)]
    matched = match_clusters(labels, clusters)
    nmi = _normalized_mutual_information(*sizes)
    ari = _adjusted_rand_index(*sizes)

    def scores(counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return `clustering_scores`, items drawn ``counts`` (..., N) times."""
        return {
            "acc": weighted_mean(matched, counts),
            "nmi": np.clip(linearized(*nmi, counts), 0, 1),
            "ari": np.minimum(linearized(*ari, counts), 1),
        }

    return scores


def _group_sizes(ids: np.ndarray) -> np.ndarray:
    """Return for each item (N,) how many items have its id, as float64."""
    _, groups = np.unique(ids, return_inverse=True)
    return np.bincount(groups)[groups].astype(np.float64)


def _normalized_mutual_information(
    cell: np.ndarray, label: np.ndarray, cluster: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return NMI and its derivative in each item's count (N,).

    NMI is taken with the arithmetic mean of the entropies.

    Args:
        cell, label, cluster: (N,) how many items share an item's label and cluster, its label, its
            cluster.
    """
    number = len(cell)
    information = np.log(cell * number / (label * cluster))  # its mean is the mutual information
    entropies = -np.log(label / number) - np.log(cluster / number)
    total = entropies.mean()
    if total == 0:
        return 1.0, np.zeros(number)
    value = 2 * information.mean() / total
    return value, (2 * information - value * entropies) / (total * number)


def _adjusted_rand_index(
    cell: np.ndarray, label: np.ndarray, cluster: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return ARI and its derivative in item counts (N,), over pairs of different items.

    The arguments are as above.
    """
    number = len(cell)
    # The partners of each item.
    together, same_label, same_cluster = (sizes - 1 for sizes in (cell, label, cluster))
    pairs, by_label, by_cluster = (
        partners.sum() / 2 for partners in (together, same_label, same_cluster)
    )
    total = max(number * (number - 1) / 2, 1)
    expected = by_label * (by_cluster / total)
    d_expected = (
        same_label * by_cluster + by_label * same_cluster - expected * (number - 1)
    ) / total
    room = (by_label + by_cluster) / 2 - expected
    d_room = (same_label + same_cluster) / 2 - d_expected
    if room == 0:
        return 1.0, np.zeros(number)
    value = (pairs - expected) / room
    return value, (together - d_expected - value * d_room) / room
