"""The page's tables as rows of words and numbers; the template only lays them out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from dcr.encoder_names import EncoderName
from dcr.evaluation.comparison import BETTER, HIGHER, LOWER, WORSE, Comparison
from dcr.reporting.names import (
    EXPLANATIONS,
    benchmark_name,
    encoder_name,
    measure_name,
    metric_name,
    run_name,
)
from dcr.reporting.numbers import change_cell, show_interval, show_value
from dcr.reporting.rules import tell_rules
from dcr.validation.reasons import SHARD_REASONS

_SUMMARIES = ("mean", "acc", "acc1")


def build_findings(
    validation: Mapping[str, Any], policies: Mapping[str, str]
) -> dict[str, list[dict[str, str]]]:
    """Return what validation found as rows of ``rejected`` and of ``warned``, apart.

    Args:
        validation: see `dcr.validation.judging.summarize`.
        policies: of each reason; one that is unknown counts as rejecting.
    """
    rows: dict[str, list[dict[str, str]]] = {"rejected": [], "warned": []}
    for reason, count in validation["reasons"].items():
        shown = f"{count:,}{' shards' if reason in SHARD_REASONS else ''}"
        rows["warned" if policies.get(reason) == "warn" else "rejected"].append(
            {"name": reason, "count": shown}
        )
    return rows


def build_tiles(comparisons: Sequence[Comparison]) -> list[dict[str, str]]:
    """Return ``comparisons``, a tile each: what was, what is, and whether that is a change."""
    return [
        {
            "name": measure_name(c.key),
            "before": show_value(c.before.value, c.is_share),
            "unit": " %" * c.is_share,
            **change_cell(c),
        }
        for c in comparisons
    ]


def build_benchmark_tables(
    comparisons: Sequence[Comparison],
    sets: Sequence[Mapping[str, Any]] = (),
    survivors: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return one table a benchmark, before and after with intervals, in the order of the scores.

    Args:
        comparisons: of the product with the base.
        sets: see `dcr.evaluation.tables.set_records`; a table names those that its benchmark was
            computed on, and a row the rule that it is scored by, if there are several.
        survivors: ``benchmark.metric`` of those that survive the correction for their number.
    """
    tables = []
    rules = tell_rules(sets)
    for benchmark in dict.fromkeys(c.benchmark for c in comparisons):
        part = [c for c in comparisons if c.benchmark == benchmark]
        differences = [c.difference for c in part]
        extent = (
            max((abs(v) for d in differences for v in (d.value, d.low, d.high)), default=0) or 1.0
        )
        tables.append(
            {
                "name": benchmark_name(benchmark),
                "set": ", ".join(
                    s["dataset"] for s in sets if benchmark.partition("/")[0] in s["benchmarks"]
                ),
                "explanation": EXPLANATIONS.get(benchmark.partition("/")[0], ""),
                "unit": "%" if part[0].is_share else "",
                "ends": (WORSE, BETTER) if part[0].is_share else (LOWER, HIGHER),
                "rows": [
                    _benchmark_row(c, extent)
                    | {"rule": rules.get(c.key, ""), "survives": c.key in survivors}
                    for c in part
                ],
            }
        )
    return tables


def _benchmark_row(comparison: Comparison, extent: float) -> dict[str, Any]:
    share = comparison.is_share
    difference = comparison.difference
    return {
        "name": metric_name(comparison.metric),
        "is_summary": comparison.metric in _SUMMARIES,
        "before": show_value(comparison.before.value, share),
        "before_interval": show_interval((comparison.before.low, comparison.before.high), share),
        "after": show_value(comparison.after.value, share),
        "after_interval": show_interval((comparison.after.low, comparison.after.high), share),
        "plot": {
            "low": _place(difference.low, extent),
            "middle": _place(difference.value, extent),
            "high": _place(difference.high, extent),
        },
        **change_cell(comparison),
    }


def _place(value: float, extent: float) -> float:
    """Return a place from 4 to 96 on a line whose middle, 50, is no difference."""
    return round(50 + 46 * value / extent, 2)


def build_cost_table(runs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what each training run cost, and how it compares with the cheapest of stage 2.

    It is compared by seconds a step, as a multiple. ``seed`` is that of a further training of the
    method, None for the recipe's own.

    Args:
        runs: by name, ``stage1`` among them: ``steps``, ``seconds``, ``samples_per_second`` and
            ``trainable_parameters``, and in stage 2 its ``objective``.
    """
    per_step = {run: cost["seconds"] / max(1, cost["steps"]) for run, cost in runs.items()}
    cheapest = min((value for run, value in per_step.items() if run != "stage1"), default=0)
    return [
        {
            "name": run_name(run),
            "seed": EncoderName.parse(run).seed,
            "objective": encoder_name(cost.get("objective", run)),
            "steps": f"{cost['steps']:,}",
            "seconds": f"{cost['seconds']:,.1f}",
            "samples_per_second": f"{cost['samples_per_second']:,.1f}",
            "trainable_parameters": f"{cost['trainable_parameters']:,}",
            "relative": f"{per_step[run] / cheapest:.1f}×" if run != "stage1" and cheapest else "",
        }
        for run, cost in runs.items()
    ]


def build_gates(
    base_models: Mapping[str, Any], conditions: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return what must hold for the run to mean anything, with the numbers that decide it.

    Args:
        base_models: ``unet`` with noise errors by caption; empty where the models were not trained
            here.
        conditions: ``projector`` with noise errors by condition.
    """
    gates = []
    if unet := base_models.get("unet"):
        order = [
            (word, unet[key])
            for word, key in (
                ("true caption", "true_caption"),
                ("empty prompt", "empty_prompt"),
                ("wrong caption", "wrong_caption"),
            )
        ]
        gates.append(
            _gate(
                "The UNet uses its condition", "Noise error on held-out images, by caption.", order
            )
        )
    if projector := conditions.get("projector"):
        order = [
            ("projector, after stage 1", projector["after"]),
            ("empty prompt", projector["empty_prompt"]),
        ]
        note = f"Noise error on held-out images; before stage 1 it was {projector['before']:.4f}"
        if "wrong_image" in projector:
            note += f", with another image's condition it is {projector['wrong_image']:.4f}"
        gates.append(
            _gate("The projector tells the UNet more than an empty prompt", f"{note}.", order)
        )
    return gates


def _gate(name: str, note: str, order: Sequence[tuple[str, float]]) -> dict[str, Any]:
    values = [value for _, value in order]
    largest = max(values)
    return {
        "name": name,
        "note": note,
        "holds": all(a < b for a, b in pairwise(values)),
        "bars": [
            {"name": n, "value": f"{v:.4f}", "width": round(100 * v / largest, 2) if largest else 0}
            for n, v in order
        ],
    }


def flatten_parameters(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return every parameter as (dotted name, value), by name.

    The order of files is another one in every run.

    Args:
        parameters: by section, nested as the YAML is.
    """
    rows = []
    for name, value in sorted(parameters.items()):
        if isinstance(value, Mapping):
            rows += [(f"{name}.{key}", shown) for key, shown in flatten_parameters(value)]
        else:
            rows.append((name, str(value)))
    return rows
