"""The mean of a benchmark over several sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dcr.evaluation.measurements import Measured
from dcr.evaluation.results import Result
from dcr.fingerprints import json_hash
from dcr.metrics.bootstrap import Bootstrap, percentile_interval
from dcr.seeds import numpy_generator

MEAN_OF_SETS = "mean_of_sets"
"""The task of a result that stands for several sets."""


def average_sets(results: Mapping[str, Sequence[Result]], bootstrap: Bootstrap) -> list[Result]:
    """Return for each benchmark the mean of its results over sets, in the metrics that all have.

    Without such a metric there is none. Every set counts alike. Its resamples are independent of
    the other sets': the mean's replicates are the means of one resample of each.

    Args:
        results: by set.
        bootstrap: how they were resampled.
    """
    orders = {name: order_of_resamples(name, bootstrap) for name in results}
    benchmarks = dict.fromkeys(result.benchmark for found in results.values() for result in found)
    averages = [
        _average(benchmark, results, orders, bootstrap.confidence) for benchmark in benchmarks
    ]
    return [average for average in averages if average.scores]


def average_measured(measured: Mapping[str, Measured], bootstrap: Bootstrap) -> Measured:
    """Return the mean of one measure over sets, as `average_sets` takes it; of one set its own.

    Args:
        measured: by the name of the set.
        bootstrap: how they were resampled.
    """
    if len(measured) == 1:
        return next(iter(measured.values()))
    replicates = [
        one.replicates[order_of_resamples(name, bootstrap)] for name, one in measured.items()
    ]
    return Measured(
        float(np.mean([one.value for one in measured.values()])),
        np.mean(replicates, axis=0),
        json_hash({name: one.items for name, one in measured.items()}),
    )


def order_of_resamples(name: str, bootstrap: Bootstrap) -> np.ndarray:
    """Return an order (R,) of a set's resamples, the same for every encoder.

    Sets of one size are resampled by the same draws, of which item i of each would count equally
    often.

    Args:
        name: of the set.
        bootstrap: how it was resampled.
    """
    return numpy_generator(bootstrap.seed, "mean of sets", name).permutation(
        bootstrap.num_resamples
    )


def _average(
    benchmark: str,
    results: Mapping[str, Sequence[Result]],
    orders: Mapping[str, np.ndarray],
    confidence: float,
) -> Result:
    found = {
        name: result
        for name, own in results.items()
        for result in own
        if result.benchmark == benchmark
    }
    first, *others = found.values()
    metrics = [
        metric
        for metric in first.replicates
        if all(metric in result.replicates for result in others)
    ]
    replicates = {
        metric: np.mean(
            [result.replicates[metric][orders[name]] for name, result in found.items()], axis=0
        )
        for metric in metrics
    }
    return Result(
        benchmark,
        f"mean of {len(found)} sets",
        MEAN_OF_SETS,
        scores={
            metric: float(np.mean([result.scores[metric] for result in found.values()]))
            for metric in metrics
        },
        intervals={
            metric: percentile_interval(values, confidence) for metric, values in replicates.items()
        },
        unit=f"{first.unit}, set by set",
        items=json_hash({name: result.items for name, result in found.items()}),
        replicates=replicates,
        rules={metric: first.rules[metric] for metric in metrics if metric in first.rules},
        chance={
            metric: float(np.mean([result.chance[metric] for result in found.values()]))
            for metric in metrics
            if all(metric in result.chance for result in found.values())
        },
    )
