"""What was measured here, as the ledger needs it: by the names that published tables use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dcr.data.benchmark_sets import OVERRIDES
from dcr.evaluation.measurements import Measured, Measurements
from dcr.evaluation.several_sets import average_measured
from dcr.metrics.bootstrap import Bootstrap

if TYPE_CHECKING:
    import pandas as pd

    from dcr.published.tables import Table


@dataclass(frozen=True)
class Part:
    """What one evaluation left.

    Attributes:
        measurements: of its encoders, by their names here.
        sets: records of its evaluation sets, see `dcr.evaluation.tables.set_records`.
        counts: distinct items by (encoder, benchmark).
        trained: methods that were trained here.
    """

    measurements: Measurements = field(default_factory=dict)
    sets: Sequence[Mapping[str, Any]] = ()
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    trained: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Evidence:
    """Measurements, and what they are of.

    Attributes:
        measurements: of every encoder, by its name here.
        trained: methods that were trained here.
        sets: records of the evaluation sets, see `dcr.evaluation.tables.set_records`.
        counts: distinct items by (encoder, benchmark).
        names: by encoder of the tables, the name of what stands for it here, without seed.
        bootstrap: how items were resampled.
    """

    measurements: Measurements
    trained: Collection[str]
    sets: Sequence[Mapping[str, Any]]
    counts: Mapping[tuple[str, str], int]
    names: Mapping[str, str]
    bootstrap: Bootstrap

    def benchmark(self, table: Table, name: str) -> str | None:
        """Return the name here of a ``table``'s benchmark on the set ``name``.

        None means that the set was not scored by it.
        """
        record = next((one for one in self.sets if one["name"] == name), None)
        found = [] if record is None else record["benchmarks"]
        return next((one for one in found if _is_of(one, table.benchmark)), None)

    def why_not(self, table: Table) -> str:
        """Return why no score here is of a ``table``'s sets by its rule; "" if some may be."""
        known = {one["name"] for one in self.sets}
        if absent := [name for name in table.sets if name not in known]:
            return f"no evaluation set here is called {', '.join(absent)}"
        for name in table.sets:
            benchmark = self.benchmark(table, name)
            if benchmark is None:
                return f"{name} was not scored by {table.benchmark}"
            rule = self._rule(name, benchmark, table.metric)
            if rule is not None and rule != table.rule:
                return f"it is scored by {rule} here, and by {table.rule} in the table"
        return ""

    def scores(self, table: Table) -> dict[str, Measured]:
        """Return the measure of a ``table`` by encoder, the mean over its sets.

        Encoders that do not have it on all sets are left out.
        """
        benchmarks = {name: self.benchmark(table, name) or "" for name in table.sets}
        found = {}
        for encoder, measured in self.measurements.items():
            by_set = {
                name: measured[benchmark][table.metric]
                for name, benchmark in benchmarks.items()
                if table.metric in measured.get(benchmark, {})
            }
            if len(by_set) == len(benchmarks):
                found[encoder] = average_measured(by_set, self.bootstrap)
        return found

    def num_items(self, table: Table, encoder: str) -> int | None:
        """Return how many items of a ``table``'s sets an ``encoder`` was measured on.

        None means that it is not known.
        """
        total = 0
        for name in table.sets:
            count = self.counts.get((encoder, self.benchmark(table, name) or ""))
            if count is None:
                return None
            total += count
        return total

    def _rule(self, name: str, benchmark: str, metric: str) -> str | None:
        record = next(one for one in self.sets if one["name"] == name)
        rule: str | None = record["rules"].get(benchmark, {}).get(metric, {}).get("rule")
        return rule


def combine(parts: Sequence[Part], names: Mapping[str, str], bootstrap: Bootstrap) -> Evidence:
    """Return the evidence of several evaluations on the same sets.

    Of an encoder that several have the last one's counts.

    Args:
        parts: what each left.
        names: by encoder of the tables, what stands for it.
        bootstrap: how items were resampled in all of them.
    """
    measurements = {name: own for part in parts for name, own in part.measurements.items()}
    counts = {key: number for part in parts for key, number in part.counts.items()}
    sets: dict[str, dict[str, Any]] = {}
    for record in (record for part in parts for record in part.sets):
        known = sets.setdefault(record["name"], {"benchmarks": [], "rules": {}})
        sets[record["name"]] = {
            "name": record["name"],
            "benchmarks": list(dict.fromkeys([*known["benchmarks"], *record["benchmarks"]])),
            "rules": {**known["rules"], **record.get("rules", {})},
        }
    trained = frozenset(name for part in parts for name in part.trained)
    return Evidence(measurements, trained, list(sets.values()), counts, names, bootstrap)


def count_items(outcomes: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Return the distinct items by (encoder, benchmark) of a table of ``outcomes``."""
    counts = outcomes.groupby(["encoder", "benchmark"])["item"].nunique()
    return {(str(encoder), str(name)): int(n) for (encoder, name), n in counts.items()}


def _is_of(benchmark: str, family: str) -> bool:
    """Return whether a benchmark of one set is of a family, and of the set as it was published."""
    name, _, dataset = benchmark.partition("/")
    return name == family and OVERRIDES not in dataset.split("+")
