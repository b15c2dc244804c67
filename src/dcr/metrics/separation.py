"""D-Ability without clusters: how much of the spread of features lies between classes."""

from __future__ import annotations

import numpy as np

from dcr.metrics.embeddings import linearized, sum_by_class

# Mean squared distance of unit vectors, below which they are one point but for rounding.
_NO_SPREAD = 1e-12


def between_class_share(
    embeddings: np.ndarray, labels: np.ndarray, counts: np.ndarray | None = None
) -> np.ndarray:
    """Return the share of the variance of unit features that lies between classes, in [0, 1].

    sum_c n_c |mu_c - mu|^2 / sum_i |x_i - mu|^2 with x_i of unit length, mu_c the mean of class c's
    n_c features and mu that of all: 0 if all classes have one mean, 1 if every class is one point.
    It is tr S_B / tr S_T of the scatter matrices, a trace criterion of class separability
    (Fukunaga, Introduction to Statistical Pattern Recognition, 1990, ch. 10), and eta squared, the
    correlation ratio of the analysis of variance (Fisher, Statistical Methods for Research Workers,
    1925), summed over dimensions. Unlike NMI and ACC it needs no k-means, whose starts add noise.
    Features that are all one point have no variance, and a share of 0.

    Under resampling it is taken to first order (`dcr.metrics.embeddings.linearized`): a class drawn
    with replacement repeats items and so has less spread around its mean, and plain replicates lie
    above the value, by more than their own deviation where classes have few items. In simulations
    such intervals never held the value.

    Args:
        embeddings: (N, d).
        labels: (N,).
        counts: (..., N), how often each item is drawn.
    """
    unit, classes, sums = sum_by_class(embeddings, labels)
    means = sums / np.bincount(classes)[:, None]
    to_mean = np.square(unit - unit.mean(axis=0)).sum(axis=1)
    to_class = np.square(unit - means[classes]).sum(axis=1)
    total = to_mean.sum()
    if total <= _NO_SPREAD * len(unit):
        return linearized(0.0, np.zeros(len(unit)), counts)
    within = to_class.sum() / total
    # Means minimise the sums of squares, so that an item's weight moves each sum by the item's own
    # square alone.
    influence = (within * to_mean - to_class) / total
    share: np.ndarray = np.clip(linearized(1 - within, influence, counts), 0, 1)
    return share
