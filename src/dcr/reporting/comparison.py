"""What changed between two encoders, how surely, and the sentence that says so.

Scores are fractions in [0, 1]; words and differences on the page are percentage points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from dcr.errors import UserError
from dcr.metrics.bootstrap import Bootstrap
from dcr.reporting.names import is_share, measure_name

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""{encoder: {benchmark: {metric: value}}}; intervals have (low, high) as values."""

BETTER, WORSE, NOISE = "better", "worse", "within noise"
HIGHER, LOWER = "higher", "lower"

_MEAN_OF_GROUPS = ("mean", "mean_per_class_recall")
_MEAN_OF_ITEMS = ("acc", "acc1", "lp_acc1")


@dataclass(frozen=True)
class Comparison:
    """One measure of an encoder against the base.

    interval: confidence interval of the difference from items answered by both encoders, or None where the
        measure is no mean over items (NMI, ARI); ``verdict`` then asks whether the two intervals are disjoint.
    """

    benchmark: str
    metric: str
    before: float
    after: float
    before_interval: tuple[float, float]
    after_interval: tuple[float, float]
    interval: tuple[float, float] | None

    @property
    def key(self) -> str:
        """The measure as ``benchmark.metric``."""
        return f"{self.benchmark}.{self.metric}"

    @property
    def difference(self) -> float:
        """After minus before."""
        return self.after - self.before

    @property
    def is_share(self) -> bool:
        """Whether the measure is a fraction in [0, 1] of which more is better."""
        return is_share(self.benchmark)

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` (``higher`` or ``lower`` where there is no better), or ``within noise``."""
        if self.interval is None:
            low = self.after_interval[0] - self.before_interval[1]
            high = self.after_interval[1] - self.before_interval[0]
        else:
            low, high = self.interval
        if low <= 0 <= high:
            return NOISE
        return (BETTER if low > 0 else WORSE) if self.is_share else (HIGHER if low > 0 else LOWER)


def compare(
    scores: Scores, intervals: Scores, outcomes: pd.DataFrame, before: str, after: str, bootstrap: Bootstrap
) -> list[Comparison]:
    """Compare two encoders in every measure that both have, in the order of ``scores``.

    Args:
        scores, intervals: see :data:`Scores`.
        outcomes: one row per encoder, benchmark, item and group, with ``correct`` in [0, 1].
        before, after: names of the encoders.
        bootstrap: resamples the items that both encoders answered.

    Raises:
        UserError: an encoder has no scores.
    """
    for encoder in (before, after):
        if encoder not in scores:
            raise UserError(
                f"scores of encoder {encoder!r} are missing (there are {', '.join(scores)}); "
                "run `kedro run --pipelines evaluation` again"
            )
    return [
        Comparison(
            benchmark,
            metric,
            before=value,
            after=scores[after][benchmark][metric],
            before_interval=tuple(intervals[before][benchmark][metric]),
            after_interval=tuple(intervals[after][benchmark][metric]),
            interval=_paired_interval(pairs, sets, metric, bootstrap),
        )
        for benchmark, metrics in scores[before].items()
        for pairs, sets in [_pair_benchmark(outcomes, benchmark, before, after)]
        for metric, value in metrics.items()
        if metric in scores[after].get(benchmark, {})
    ]


def _pair_benchmark(
    outcomes: pd.DataFrame, benchmark: str, before: str, after: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the items that both encoders answered: those of the benchmark itself, and those of its sets."""
    pairs = pair_outcomes(outcomes, benchmark, before, after)
    return pairs, _pair_sets(outcomes, benchmark, before, after) if pairs.empty else pairs


def _paired_interval(
    pairs: pd.DataFrame, sets: pd.DataFrame, metric: str, bootstrap: Bootstrap
) -> tuple[float, float] | None:
    groups = None
    if pairs.empty and metric in _MEAN_OF_ITEMS:  # a mean over sets: each set keeps its weight
        pairs = sets
        groups = pairs["set"].to_numpy()
    elif metric in set(pairs["group"]):
        pairs = pairs[pairs["group"] == metric]
    elif metric in _MEAN_OF_GROUPS and pairs["item"].is_unique:
        groups = pairs["group"].to_numpy()
    elif metric in _MEAN_OF_GROUPS:  # every item stands in every group: the item is what is drawn
        pairs = pairs.groupby("item", sort=False)[["before", "after"]].mean()
    elif metric not in _MEAN_OF_ITEMS:
        return None
    if pairs.empty:
        return None
    _, low, high = bootstrap.paired_difference(pairs["before"].to_numpy(), pairs["after"].to_numpy(), groups)
    return low, high


def _pair_sets(outcomes: pd.DataFrame, benchmark: str, before: str, after: str) -> pd.DataFrame:
    """Return the items of all sets of a benchmark, ``<benchmark>/<set>``, that both encoders answered."""
    names = [name for name in outcomes["benchmark"].unique() if name.startswith(f"{benchmark}/")]
    parts = [pair_outcomes(outcomes, name, before, after).assign(set=name) for name in names]
    return pd.concat(parts) if parts else pd.DataFrame(columns=["item", "group", "before", "after", "set"])


def pair_outcomes(outcomes: pd.DataFrame, benchmark: str, before: str, after: str) -> pd.DataFrame:
    """Return the items of a benchmark that both encoders answered: item, group, before, after."""
    keys = ["item", "group"]
    sides = [
        outcomes.loc[(outcomes["benchmark"] == benchmark) & (outcomes["encoder"] == encoder), [*keys, "correct"]]
        for encoder in (before, after)
    ]
    pairs = sides[0].merge(sides[1], on=keys, suffixes=("_before", "_after"), sort=False)
    return pairs.rename(columns={"correct_before": "before", "correct_after": "after"})


def select(comparisons: Iterable[Comparison], keys: Sequence[str]) -> list[Comparison]:
    """Return the comparisons named by ``keys`` (``benchmark.metric``) in that order; absent ones are left out."""
    by_key = {comparison.key: comparison for comparison in comparisons}
    return [by_key[key] for key in keys if key in by_key]


def headline(name: str, comparisons: Sequence[Comparison]) -> str:
    """Say in one sentence what got better, what got worse and what cannot be told.

    Args:
        name: of the method, as the sentence's subject.
        comparisons: the headline measures against the base.
    """
    if not comparisons:
        return f"{name} and the base encoder have no measure in common."
    groups = {verdict: [c for c in comparisons if c.verdict == verdict] for verdict in (BETTER, WORSE, NOISE)}
    quiet = _enumerate([measure_name(c.key) for c in groups[NOISE]])
    if len(groups[NOISE]) == len(comparisons):
        return f"{name} moved {quiet} within noise: no difference from the base encoder can be claimed."
    changes = [
        f"{verb} {_enumerate([f'{measure_name(c.key)} by {abs(c.difference) * 100:.1f} points' for c in group])}"
        for verb, group in (("raised", groups[BETTER]), ("lowered", groups[WORSE]))
        if group
    ]
    sentence = f"{name} {' and '.join(changes)}"
    return f"{sentence}; {quiet} moved within noise." if quiet else f"{sentence}."


def _enumerate(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
