"""Tables that hold methods side by side.

They are all methods, the product and its rivals, and each as trained and as aligned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from dcr.encoder_names import EncoderName
from dcr.evaluation.comparison import Comparison
from dcr.metrics.direction import is_share
from dcr.reporting.headline import headline, select
from dcr.reporting.methods import Methods
from dcr.reporting.names import TEXT_BENCHMARKS, Scores, encoder_name, measure_name
from dcr.reporting.numbers import change_cell, show_value

Measures = Mapping[str, Sequence[str]]
"""Keys ``benchmark.metric`` by what they ask for, see `dcr.reporting.headline`."""


def measures_of(scores: Scores) -> list[str]:
    """Return the measures (``benchmark.metric``) in ``scores``, without types and attributes.

    They are in the order of ``scores``.
    """
    keys: dict[str, None] = {}
    for benchmarks in scores.values():
        for benchmark, metrics in benchmarks.items():
            keys |= dict.fromkeys(
                f"{benchmark}.{metric}" for metric in (("mean",) if "mean" in metrics else metrics)
            )
    return list(keys)


def build_method_table(methods: Methods) -> dict[str, Any]:
    """Return a table with a column for each of ``methods`` and a row a measure.

    Types and attributes are left out.
    """
    rows = [
        {
            "name": measure_name(key),
            "base": _show_score(methods.scores[methods.base], key) or "–",
            "cells": [_cell(methods, name, key) for name in methods.comparisons],
        }
        for key in measures_of(methods.scores)
    ]
    heads = [
        {"name": encoder_name(name), "seeds": _count(methods.seeds[name])}
        for name in methods.comparisons
    ]
    return {"base": encoder_name(methods.base), "methods": heads, "rows": rows}


def _count(seeds: Sequence[str]) -> str:
    return f"{len(seeds)} seeds" if len(seeds) > 1 else ""


def _cell(methods: Methods, name: str, key: str) -> dict[str, str] | None:
    if compared := select(methods.comparisons.get(name, ()), [key]):
        return change_cell(compared[0])
    shown = _show_score(methods.scores.get(name, {}), key)
    return (
        {"value": shown, "difference": "", "interval": "", "verdict": "", "sign": ""}
        if shown
        else None
    )


def _show_score(scores: Mapping[str, Any], key: str) -> str:
    benchmark, _, metric = key.partition(".")
    value = scores.get(benchmark, {}).get(metric)
    return "" if value is None else show_value(value, is_share(benchmark))


def build_sentences(
    comparisons: Mapping[str, Sequence[Comparison]], measures: Measures
) -> list[str]:
    """Return the headline sentence of every method; see `dcr.reporting.headline.headline`.

    Args:
        comparisons: of each method with the base.
        measures: of the headline.
    """
    return [
        headline(encoder_name(method), found, measures) for method, found in comparisons.items()
    ]


def build_rival_table(methods: Methods, measures: Measures) -> dict[str, Any]:
    """Return a table of the product minus each rival: a row a headline's measure, a column a rival.

    ``rivals`` have ``name`` and ``seeds``, the number of training seeds that both have.

    Args:
        methods: of which ``rivals`` are read.
        measures: of the headline; one that no rival shares with the product has no row.
    """
    keys = list(chain.from_iterable(measures.values()))
    rows = []
    for key in keys:
        cells = [
            change_cell(found[0]) if (found := select(c, [key])) else None
            for c in methods.rivals.values()
        ]
        if any(cells):
            rows.append({"name": measure_name(key), "cells": cells})
    heads = [
        {
            "name": encoder_name(name),
            "seeds": max((c.difference.num_seeds for c in found), default=0),
        }
        for name, found in methods.rivals.items()
    ]
    return {"rivals": heads, "rows": rows}


def build_alignment_table(methods: Methods, measures: Measures) -> dict[str, Any]:
    """Return a table of every encoder as trained, aligned, and of what alignment changed.

    Its columns are the headline's measures in two ``groups``: those of image features alone and
    those that ask images and texts together. An entry of ``encoders`` has ``name`` and ``rows``:
    words, and a cell for each column, which for the two encoders tells the difference from the
    base, and for the change that between the two.

    Args:
        methods: of which ``alignments`` are read; without any the table is empty.
        measures: of the headline.
    """
    keys = [key for key in chain.from_iterable(measures.values()) if _is_measured(methods, key)]
    of_images = [key for key in keys if not _asks_text(key)]
    of_both = [key for key in keys if _asks_text(key)]
    groups = [
        {"name": "Image features alone", "measures": [measure_name(key) for key in of_images]},
        {"name": "Images and texts together", "measures": [measure_name(key) for key in of_both]},
    ]
    encoders = [
        _alignment_rows(methods, pair, [*of_images, *of_both]) for pair in methods.alignments
    ]
    return {"groups": [group for group in groups if group["measures"]], "encoders": encoders}


def _asks_text(key: str) -> bool:
    return key.partition(".")[0].partition("/")[0] in TEXT_BENCHMARKS


def _is_measured(methods: Methods, key: str) -> bool:
    return any(select(found, [key]) for found in methods.alignments.values())


def _alignment_rows(methods: Methods, pair: tuple[str, str], keys: Sequence[str]) -> dict[str, Any]:
    trained, aligned = pair
    changes = {c.key: change_cell(c) | {"value": ""} for c in methods.alignments[pair]}
    rows = [
        {
            "name": "as it was" if trained == methods.base else "as trained",
            "cells": [_cell(methods, trained, key) for key in keys],
        },
        {"name": "aligned", "cells": [_cell(methods, aligned, key) for key in keys]},
        {"name": "change", "cells": [changes.get(key) for key in keys]},
    ]
    return {"name": encoder_name(EncoderName.parse(trained).method), "rows": rows}
