"""What was measured of encoders, in every resample too: differences are taken draw by draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dcr.errors import UserError
from dcr.evaluation.results import Result

COLUMNS = ("encoder", "benchmark", "metric", "value", "items", "replicates")
"""Of the table that keeps measurements, one row each; see `measurements_table`."""


@dataclass(frozen=True)
class Measured:
    """One measure of one encoder.

    Attributes:
        value: what it is on all items.
        replicates: (R,) float32, what it is in every resample of them.
        items: hash of the items and of how they were drawn.
    """

    value: float
    replicates: np.ndarray
    items: str

    def __sub__(self, before: Measured) -> Measured:
        """Return the paired difference from ``before``.

        Raises:
            UserError: the two are not of the same items.
        """
        check_items([self, before])
        return Measured(self.value - before.value, self.replicates - before.replicates, self.items)


def check_items(measured: Sequence[Measured]) -> None:
    """Raise UserError unless all in ``measured`` are of the same items and the same draws."""
    if len({one.items for one in measured}) > 1:
        raise UserError(
            "two scores are of other items, or of other resamples of them, so that their difference"
            " has no interval; evaluate both on one set in the same way: `kedro run --pipelines"
            " evaluation`"
        )


Measurements = Mapping[str, Mapping[str, Mapping[str, Measured]]]
"""{encoder: {benchmark: {metric: what was measured}}}"""


def measure(
    evaluations: Mapping[str, Sequence[Result]],
) -> dict[str, dict[str, dict[str, Measured]]]:
    """Return the measurements in ``evaluations``, the results of each encoder by its name."""
    return {
        encoder: {
            result.benchmark: {
                metric: Measured(result.scores[metric], replicates, result.items)
                for metric, replicates in result.replicates.items()
            }
            for result in results
        }
        for encoder, results in evaluations.items()
    }


def measurements_table(measurements: Measurements) -> pd.DataFrame:
    """Return ``measurements``, one a row, with :data:`COLUMNS`.

    ``replicates`` holds an array in each row.
    """
    rows = [
        (encoder, benchmark, metric, measured.value, measured.items, measured.replicates)
        for encoder, benchmarks in measurements.items()
        for benchmark, metrics in benchmarks.items()
        for metric, measured in metrics.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_measurements(table: pd.DataFrame) -> dict[str, dict[str, dict[str, Measured]]]:
    """Return the measurements that `measurements_table` put into ``table``."""
    measurements: dict[str, dict[str, dict[str, Measured]]] = {}
    for row in table.itertuples():
        metrics = measurements.setdefault(row.encoder, {}).setdefault(row.benchmark, {})
        metrics[row.metric] = Measured(
            row.value, np.asarray(row.replicates, dtype=np.float32), row.items
        )
    return measurements
