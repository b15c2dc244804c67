"""D-Ability: do classes fall apart in feature space by themselves? k-means against the labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics.cluster import contingency_matrix
from threadpoolctl import threadpool_limits

from dcr.metrics.embeddings import normalize, weighted_mean


def cluster(
    embeddings: np.ndarray, num_clusters: int, seed: int, num_init: int = 10, batch_size: int = 0
) -> np.ndarray:
    """Return k-means clusters (N,) of the L2-normalised embeddings (N, d), the best of ``num_init`` starts.

    With a ``batch_size`` > 0 each step moves the centres by that many embeddings (mini-batch k-means; Sculley, WWW
    2010), which for a million embeddings takes minutes instead of hours; 0 is Lloyd's algorithm on all of them. Memory
    beside the normalised copy is O(N) either way: distances to the centres are taken in chunks, those between
    embeddings never.

    Runs on one thread: with more, scikit-learn adds up the centres in the order in which threads finish, and
    the last bits, now and then a cluster, change from run to run.
    """
    if not 2 <= num_clusters <= len(embeddings):
        raise ValueError(f"num_clusters must lie in [2, {len(embeddings)} embeddings], got {num_clusters}")
    if batch_size:
        kmeans = MiniBatchKMeans(num_clusters, batch_size=batch_size, n_init=num_init, random_state=seed)
    else:
        kmeans = KMeans(num_clusters, n_init=num_init, random_state=seed)
    with threadpool_limits(limits=1):
        return kmeans.fit_predict(normalize(embeddings))


def match_clusters(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return for each item (N,) whether its cluster is the one matched to its label (Hungarian method)."""
    table = contingency_matrix(labels, clusters)
    rows, columns = linear_sum_assignment(table, maximize=True)
    matched = np.full(table.shape[1], -1)
    matched[columns] = rows
    _, label_ids = np.unique(labels, return_inverse=True)
    _, cluster_ids = np.unique(clusters, return_inverse=True)
    return matched[cluster_ids] == label_ids


def clustering_scores(
    labels: np.ndarray, clusters: np.ndarray, counts: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return ``acc``, ``nmi`` (arithmetic) and ``ari`` of clusters (N,) against labels (N,); counts are (..., N)."""
    counts = np.ones(len(labels)) if counts is None else counts
    return clustering_statistics(labels, clusters)(counts)


def clustering_statistics(labels: np.ndarray, clusters: np.ndarray) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return a function from counts (..., N) to the scores of `clustering_scores`, for many resamples.

    Items are sorted into the cells of labels and clusters once. Under resampling the clusters and their matching to
    labels stay those of the whole set: the interval tells of the sampling of items, not of the starts of k-means.
    """
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    if labels.shape != clusters.shape or labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"labels and clusters must have one shape (N,), got {labels.shape}, {clusters.shape}")
    pairs = np.unique(np.stack([labels, clusters]), axis=1, return_inverse=True)[1].ravel()
    members = [_membership(ids) for ids in (pairs, labels, clusters)]
    cells_label, cells_cluster = _parents(pairs, labels), _parents(pairs, clusters)
    matched = match_clusters(labels, clusters)

    def scores(counts: np.ndarray) -> dict[str, np.ndarray]:
        counts = np.asarray(counts, dtype=np.float64)
        tables = [np.atleast_2d(counts) @ member for member in members]
        nmi = _normalized_mutual_information(*tables, cells_label, cells_cluster)
        return {
            "acc": weighted_mean(matched, counts),
            "nmi": nmi.reshape(counts.shape[:-1])[()],
            "ari": _adjusted_rand_index(*tables).reshape(counts.shape[:-1])[()],
        }

    return scores


def _membership(ids: np.ndarray) -> csr_array:
    """Return a matrix (N, M) that sums draws (R, N) up over items of each distinct id."""
    values, positions = np.unique(ids, return_inverse=True)
    return csr_array((np.ones(len(ids)), (np.arange(len(ids)), positions)), shape=(len(ids), len(values)))


def _parents(cells: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return for each distinct cell the position of its id among the distinct ids."""
    _, first = np.unique(cells, return_index=True)
    return np.unique(ids, return_inverse=True)[1][first]


def _entropy(table: np.ndarray, total: np.ndarray) -> np.ndarray:
    share = table / total
    return -np.sum(share * np.log(np.where(share > 0, share, 1)), axis=1)


def _normalized_mutual_information(joint, by_label, by_cluster, cell_label, cell_cluster) -> np.ndarray:
    total = joint.sum(axis=1, keepdims=True)
    expected = by_label[:, cell_label] * by_cluster[:, cell_cluster] / total
    ratio = np.divide(joint, expected, out=np.ones_like(joint), where=joint > 0)
    information = np.sum(joint / total * np.log(ratio), axis=1)
    mean_entropy = (_entropy(by_label, total) + _entropy(by_cluster, total)) / 2
    return np.divide(information, mean_entropy, out=np.ones_like(information), where=mean_entropy > 0)


def _adjusted_rand_index(joint, by_label, by_cluster) -> np.ndarray:
    def pairs(table: np.ndarray) -> np.ndarray:
        return np.sum(table * (table - 1) / 2, axis=1)

    total = pairs(joint.sum(axis=1, keepdims=True))
    expected = pairs(by_label) * pairs(by_cluster) / np.maximum(total, 1)
    highest = (pairs(by_label) + pairs(by_cluster)) / 2
    room = highest - expected
    return np.divide(pairs(joint) - expected, room, out=np.ones_like(room), where=room > 0)
