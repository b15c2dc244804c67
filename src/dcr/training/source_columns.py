"""The numbers of a mixture's sources in a step's row: their names, and sums that become means.

A name holds neither slash nor dot. DVCLive and W&B read those as levels, of which a number that
stands by itself, like ``loss``, cannot have one below it; and MLflow takes few other characters.
"""

from __future__ import annotations

import math

_MARK = "-"  # in no name of a number; a source's own name may hold it


def source_column(name: str, source: str) -> str:
    """Return how the number ``name`` of a ``source`` is called: ``<name>-<source>``."""
    return f"{name}{_MARK}{source}"


def split_column(column: str) -> tuple[str, str | None]:
    """Return what `source_column` was given; a ``column`` that is of no source has None for it."""
    name, mark, source = column.partition(_MARK)
    return name, source if mark else None


def of_sources(row: dict[str, float], num_batches: int) -> dict[str, float]:
    """Return a step's numbers with sums over sources made means, NaN where a source was not drawn.

    Args:
        row: means over ``num_batches`` batches of what `dcr.training.objectives.base.by_source`
            returned, beside other numbers.
        num_batches: of all processes and micro-steps.
    """
    found = dict(row)
    for column, value in row.items():
        name, source = split_column(column)
        if source is None:
            continue
        count = row[source_column("samples", source)]
        if name == "samples":
            found[column] = round(value * num_batches)
        else:
            found[column] = value / count if count else math.nan
    return found
