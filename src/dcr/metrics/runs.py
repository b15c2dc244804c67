"""Mean and spread of a score over training seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from dcr.metrics.bootstrap import percentile_interval


@dataclass(frozen=True)
class Spread:
    """A score over R runs that differ in their seed.

    mean; std: of a single run (divisor R - 1), NaN for one run; interval: Student's confidence
    interval of the mean, (NaN, NaN) for one run.
    """

    num_runs: int
    mean: float
    std: float
    interval: tuple[float, float]


def spread_over_runs(values: Sequence[float], confidence: float) -> Spread:
    """Return mean and spread of one score over runs.

    Args:
        values: (R,), one a run.
        confidence: coverage of the interval, in (0, 1).
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0 or not 0 < confidence < 1:
        raise ValueError(
            f"values must be (R,) with R > 0 and confidence in (0, 1), got {scores.shape},"
            f" {confidence}"
        )
    mean = float(scores.mean())
    number = len(scores)
    if number == 1:
        return Spread(1, mean, float("nan"), (float("nan"), float("nan")))
    std = float(scores.std(ddof=1))
    reach = float(student.ppf((1 + confidence) / 2, number - 1)) * std / number**0.5
    return Spread(number, mean, std, (mean - reach, mean + reach))


def interval_over_seeds_and_items(
    values: Sequence[float],
    replicates: np.ndarray,
    confidence: float,
    num_other_seeds: int | None = None,
) -> tuple[float, float]:
    """Return the interval (low, high) of a score's mean over S training seeds on the same N items.

    The score of seed s may be a difference between two encoders. It is modelled as

        d_s = d + a_s + (mean over items i of b_i + c_si)

    with independent effects of the seed (variance A), of the item (B) and of both together (C), so
    that the mean over seeds has the variance A / S + B / N + C / (S N). Two parts of it can be
    seen:

    - The seeds' values vary by A + C / N, so that SE_seeds^2, their variance over S, estimates A /
      S + C / (S N). The items' own effect, which all seeds share, is not in it.
    - One draw of items for all seeds gives the mean over seeds again. Over draws its variance
      SE_items^2 estimates B / N + C / (S N).

    So SE^2 = SE_seeds^2 + SE_items^2, in which C / (S N) counts twice: where seeds answer items
    unlike each other, the interval errs to be wide, by a factor of 2^0.5 at most. The interval is
    the mean -+ t SE with Student's t of the degrees of freedom nu that Welch and Satterthwaite give
    (Satterthwaite, Biometrics Bulletin 1946): SE_seeds^2 has S - 1, SE_items^2 as good as
    infinitely many, hence nu = (S - 1) SE^4 / SE_seeds^4. It lies between S - 1, where the seeds
    alone vary, and infinity, where they do not vary at all.

    One seed says nothing of another: its interval is the percentile interval over items alone.

    The mean over K other seeds, as somebody else's training has them, is d and K effects of its
    own: its distance from the mean over these has A (1/S + 1/K) in place of A / S. Seeds' values
    vary by A + C / N, so that SE_seeds^2 is their variance times 1/S + 1/K, all else as above. The
    interval that holds such a mean is wider than that of d, however many seeds there are here.

    Args:
        values: (S,), one a seed.
        replicates: (S, R), the same values in R resamples of the items; a column is one draw for
            all seeds.
        confidence: the interval's coverage, in (0, 1).
        num_other_seeds: K, for the interval of the mean over as many other seeds; None for that of
            d.
    """
    scores, draws = _check(values, replicates)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    if len(scores) == 1:
        return percentile_interval(draws[0], confidence)
    error, freedom = _error(scores, draws, num_other_seeds)
    reach = student.ppf((1 + confidence) / 2, freedom) * error
    return float(scores.mean() - reach), float(scores.mean() + reach)


def p_value_over_seeds_and_items(
    values: Sequence[float], replicates: np.ndarray, num_other_seeds: int | None = None
) -> float:
    """Return the two-sided p value of a mean difference over S training seeds being zero.

    For several seeds it is that of Student's t of `interval_over_seeds_and_items`: the interval of
    a confidence leaves out zero just where p is below 1 minus it. For one seed it is the normal
    approximation with the deviation of the resamples. The share of resamples beyond zero would
    match their percentile interval, but R of them tell no p below 2 / R, and a correction for many
    measures asks for smaller ones; the approximation leans on the tails of a normal, which means
    over items approach.

    Args:
        values, replicates: (S,) and (S, R), differences, as for the interval.
        num_other_seeds: K, for the p value of the mean over as many other seeds being zero.
    """
    scores, draws = _check(values, replicates)
    mean = abs(scores.mean())
    error, freedom = (float(np.nanstd(draws[0])), np.inf)
    if len(scores) > 1:
        error, freedom = _error(scores, draws, num_other_seeds)
    if error == 0:
        return float(mean == 0)
    return float(2 * student.sf(mean / error, freedom))


def _check(values: Sequence[float], replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores = np.asarray(values, dtype=np.float64)
    draws = np.asarray(replicates, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0 or draws.shape[:1] != scores.shape:
        raise ValueError(
            "values (S,) and replicates (S, R) must be of S > 0 seeds, got"
            f" {scores.shape} and {draws.shape}"
        )
    return scores, draws


def _error(
    scores: np.ndarray, draws: np.ndarray, num_other_seeds: int | None
) -> tuple[float, float]:
    """Return the standard error of a mean over several seeds, and its degrees of freedom.

    With other seeds it is that of the distance from the mean over those.
    """
    number = len(scores)
    parts = 1 / number + (0 if num_other_seeds is None else 1 / num_other_seeds)
    seeds_error = scores.std(ddof=1) * parts**0.5
    items_error = np.nanstd(draws.mean(axis=0))
    error = np.hypot(seeds_error, items_error)
    freedom = (number - 1) * (error / seeds_error) ** 4 if seeds_error > 0 else np.inf
    return float(error), float(freedom)
