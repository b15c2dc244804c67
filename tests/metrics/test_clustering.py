import tracemalloc
from itertools import combinations, permutations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from threadpoolctl import threadpool_limits

from dcr.metrics.bootstrap import Bootstrap
from dcr.metrics.clustering import cluster, clustering_scores, clustering_statistics, match_clusters


def blobs(num_classes: int = 5, per_class: int = 40, spread: float = 0.0, seed: int = 0):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class)
    noise = generator.normal(size=(len(labels), 12)) * spread
    return (np.eye(12)[labels] + noise).astype(np.float32), labels


def random_partition(num_items: int = 300, seed: int = 0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(4, size=num_items)
    return labels, np.where(
        generator.random(num_items) < 0.6, labels, generator.integers(5, size=num_items)
    )


def test_perfect_features_score_1():
    embeddings, labels = blobs(spread=0.02)
    scores = clustering_scores(labels, cluster(embeddings, 5, seed=0))
    np.testing.assert_allclose(list(scores.values()), 1.0)


def test_the_length_of_embeddings_does_not_matter():
    embeddings, labels = blobs(spread=0.02)
    lengths = np.random.default_rng(1).uniform(0.01, 100, size=(len(labels), 1))
    assert clustering_scores(labels, cluster(embeddings * lengths, 5, seed=0))["acc"] == 1


def test_features_without_classes_score_chance():
    embeddings, _ = blobs(spread=100, per_class=200)
    labels = np.random.default_rng(3).integers(5, size=len(embeddings))
    scores = clustering_scores(labels, cluster(embeddings, 5, seed=0))
    assert abs(scores["ari"]) < 0.01
    assert scores["nmi"] < 0.03
    assert 0.2 <= scores["acc"] < 0.3


def test_a_constant_encoder_finds_one_cluster():
    _, labels = blobs()
    with pytest.warns(UserWarning, match="distinct clusters"):
        scores = clustering_scores(labels, cluster(np.ones((len(labels), 4)), 5, seed=0))
    np.testing.assert_allclose(
        [scores["acc"], scores["nmi"], scores["ari"]], [0.2, 0, 0], atol=1e-12
    )


@pytest.mark.parametrize("seed", range(3))
def test_scores_agree_with_scikit_learn_and_with_all_matchings(seed):
    labels, clusters = random_partition(seed=seed)
    scores = clustering_scores(labels, clusters)
    assert scores["nmi"] == pytest.approx(normalized_mutual_info_score(labels, clusters), abs=1e-12)
    assert scores["ari"] == pytest.approx(adjusted_rand_score(labels, clusters), abs=1e-12)
    best = max(np.mean(np.array(names)[clusters] == labels) for names in permutations(range(5)))
    assert scores["acc"] == pytest.approx(best, abs=1e-12)
    assert match_clusters(labels, clusters).mean() == scores["acc"]


def pair_rand_index(labels, clusters, weights):
    """The adjusted Rand index by a loop over all pairs of different items, each weighed by its
    items.
    """
    together = by_label = by_cluster = total = 0.0
    for (i, first), (j, second) in combinations(enumerate(zip(labels, clusters, strict=True)), 2):
        weight, (same_label, same_cluster) = (
            weights[i] * weights[j],
            (a == b for a, b in zip(first, second, strict=True)),
        )
        together += weight * (same_label and same_cluster)
        by_label, by_cluster, total = (
            by_label + weight * same_label,
            by_cluster + weight * same_cluster,
            total + weight,
        )
    expected = by_label * by_cluster / total
    return (together - expected) / ((by_label + by_cluster) / 2 - expected)


def nmi_of_weights(labels, clusters, weights):
    """NMI by loops over a table of summed weights."""
    share = np.zeros((4, 5))
    np.add.at(share, (labels, clusters), weights / weights.sum())
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    cells = [(i, j) for i in range(4) for j in range(5) if share[i, j]]
    information = sum(share[i, j] * np.log(share[i, j] / rows[i] / columns[j]) for i, j in cells)
    return 2 * information / -sum(p * np.log(p) for p in (*rows, *columns) if p)


@pytest.mark.parametrize(("metric", "loops"), [("nmi", nmi_of_weights), ("ari", pair_rand_index)])
def test_resamples_move_the_score_by_its_derivative_in_each_items_weight(metric, loops):
    labels, clusters = random_partition(num_items=40)
    value = clustering_scores(labels, clusters)[metric]
    assert value == pytest.approx(loops(labels, clusters, np.ones(40)), abs=1e-12)
    moved = clustering_scores(labels, clusters, 1 + np.eye(40))[metric]
    for item, row in enumerate(np.eye(40) * 1e-4):
        slope = (loops(labels, clusters, 1 + row) - loops(labels, clusters, 1 - row)) / 2e-4
        assert moved[item] - value == pytest.approx(slope, abs=1e-7)


def test_intervals_are_as_wide_as_the_score_varies_from_sample_to_sample_and_hold_it():
    bootstrap = Bootstrap(300, 0.95, 0)
    samples = [random_partition(400, seed) for seed in range(150)]
    values = {
        name: [clustering_scores(*sample)[name] for sample in samples] for name in ("nmi", "ari")
    }
    widths = {name: [] for name in values}
    for sample in samples[:10]:
        intervals = bootstrap.intervals(clustering_statistics(*sample), 400)
        for name, value in clustering_scores(*sample).items():
            low, high = intervals[name]
            assert low < value < high
            widths.get(name, []).append(high - low)
    for name, spread in values.items():
        assert np.mean(widths[name]) == pytest.approx(2 * 1.96 * np.std(spread), rel=0.15)


def test_a_perfect_clustering_has_no_spread():
    labels = np.repeat(np.arange(5), 8)
    for low, high in (
        Bootstrap(50, 0.95, 0).intervals(clustering_statistics(labels, labels), 40).values()
    ):
        assert low == high == pytest.approx(1)


def test_labels_need_not_be_consecutive():
    labels, clusters = random_partition()
    renamed = clustering_scores(labels * 7 - 3, clusters * 11 + 5)
    for name, value in clustering_scores(labels, clusters).items():
        assert renamed[name] == pytest.approx(value, abs=1e-12)


def test_clusters_are_the_same_bit_for_bit_whatever_the_threads():
    embeddings, _ = blobs(spread=0.6, per_class=400)
    runs = []
    for threads in (1, 2, 4):
        with threadpool_limits(limits=threads):
            runs.append(cluster(embeddings, 5, seed=0, num_init=2))
    assert all(np.array_equal(run, runs[0]) for run in runs)


@pytest.mark.parametrize("batch_size", [32, 300, 10_000])
def test_mini_batches_find_classes_that_fall_apart_and_the_same_ones_each_time(batch_size):
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 200)
    features = np.eye(6)[labels] + generator.normal(scale=0.05, size=(1200, 6))
    first, second = (
        cluster(features, 6, seed=3, num_init=3, batch_size=batch_size) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert clustering_scores(labels, first) == pytest.approx({"acc": 1.0, "nmi": 1.0, "ari": 1.0})


def test_mini_batches_take_no_memory_between_pairs_of_items():
    features = np.random.default_rng(0).normal(size=(60_000, 8)).astype(np.float32)
    tracemalloc.start()
    cluster(features, 5, seed=0, num_init=1, batch_size=4096)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The distances of all pairs would be 7500 times the features.
    assert peak < 20 * features.nbytes


def test_more_clusters_than_items_is_an_error():
    with pytest.raises(ValueError, match=r"num_clusters must lie in \[2, 3 embeddings\], got 4"):
        cluster(np.eye(3), 4, seed=0)
