"""Outcomes of candidates that are known beforehand, for the tests of what is made of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import yaml

from dcr.evaluation.comparison import comparison_records
from dcr.evaluation.judge import Judge
from dcr.fingerprints import json_hash
from dcr.parameters import AlignmentParameters, SelectionParameters
from dcr.reporting.p_against_d import plot_p_against_d
from dcr.reporting.selection_page import render_selection
from dcr.selection.record import make_record, tabulate_scores
from dcr.selection.setting import describe_setting
from measured import mean_of
from project import PROJECT
from training_world import parameters

RULE = {
    "improve": [
        {"measure": "probes.mean", "scale": 0.01},
        {"measure": "clustering.acc", "scale": 0.02},
    ],
    "keep": [{"measure": "zero_shot.acc1", "loss": 0.01}],
}
BASE = {"probes.mean": 0.60, "clustering.acc": 0.50, "zero_shot.acc1": 0.90}
NUM_ITEMS = 200
BOTH = {"probes.mean": 0.02, "clustering.acc": 0.02, "zero_shot.acc1": 0.0}
DETAIL = {"probes.mean": 0.05, "clustering.acc": -0.01, "zero_shot.acc1": 0.0}
GREEDY = {"probes.mean": 0.05, "clustering.acc": 0.05, "zero_shot.acc1": -0.02}


def section(name: str) -> dict[str, Any]:
    return yaml.safe_load((PROJECT / "conf/base" / f"parameters_{name}.yml").read_text())[name]


def alignment(**changes: Any) -> AlignmentParameters:
    """Return the section `alignment` of base."""
    return AlignmentParameters(**section("alignment") | changes)


def selection(*names: str, **changes: Any) -> SelectionParameters:
    """Return a declared search of candidates that differ in their temperature."""
    candidates = [
        {"name": name, "training": {"loss": {"temperature": 0.1 * (i + 1)}}}
        for i, name in enumerate(names)
    ]
    return SelectionParameters(
        **section("selection") | RULE | {"candidates": candidates, "seeds": [7, 8]} | changes
    )


def outcome(
    number: int, gains: dict[str, float], form: str = "none", seconds: float = 360.0
) -> dict[str, Any]:
    """Return what becomes of candidate ``number`` with these gains over :data:`BASE`, after a way
    through JSON.

    Its two seeds lie a point above and below; the base aligned in the same way has half a point
    more of everything.
    """
    setting = describe_setting(
        parameters(**{"loss.temperature": 0.1 * number}), alignment(form=form)
    )
    encoders = {"base": BASE, "dcr@7": _shift(gains, 0.01), "dcr@8": _shift(gains, -0.01)}
    if form != "none":
        encoders["base_aligned"] = {key: value + 0.005 for key, value in BASE.items()}
    measured = {
        name: _nest({key: _answers(value) for key, value in own.items()})
        for name, own in encoders.items()
    }
    judge = Judge(measured, 0.95, {"dcr"})
    told = {
        "candidate": f"number {number}",
        "overrides": {"training": {"loss": {"temperature": 0.1 * number}}, "alignment": {}},
        "setting": setting,
        "settings_tried": [json_hash(setting)],
        "made_of": {"setting": json_hash(setting), "seeds": [7, 8], "backbone": "b" * 64},
        "method": "dcr",
        "runs": {
            seed: {"dcr": {"objective": "dcr", "steps": 6, "seconds": 1.0}} for seed in ("7", "8")
        },
        "scores": {name: _nest(own) for name, own in encoders.items()},
        "comparisons": {
            other: comparison_records(judge.compare(other, "dcr"))
            for other in encoders
            if other.startswith("base")
        },
        "seconds": seconds,
    }
    return json.loads(json.dumps(told))


def outcomes() -> dict[str, dict[str, Any]]:
    """Return the outcomes of a search of three candidates: one is chosen, one is outdone, one
    loses names.
    """
    return {
        "both": outcome(1, BOTH),
        "detail": outcome(2, DETAIL),
        "greedy": outcome(3, GREEDY, form="text"),
    }


def record(
    found: dict[str, Any], before: tuple[dict[str, Any], ...] = (), **changes: Any
) -> dict[str, Any]:
    """Return the record of outcomes after a way through JSON."""
    made = make_record(selection(*found, **changes), found, [*found.values(), *before])
    return json.loads(json.dumps(made))


def page(recipe: str = "example", **changes: Any) -> str:
    """Return the page of :func:`outcomes`."""
    found = outcomes()
    plot = plot_p_against_d(*tabulate_scores(found), ["probes.mean"], ["clustering.acc"])
    return render_selection(recipe, 0.95, record(found, **changes), plot)


def _shift(gains: dict[str, float], by: float) -> dict[str, float]:
    return {key: value + gains[key] + by for key, value in BASE.items()}


def _nest(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        benchmark, _, metric = key.partition(".")
        nested.setdefault(benchmark, {})[metric] = value
    return nested


def _answers(share: float) -> Any:
    """Return the mean over items of which this share is answered."""
    return mean_of(np.arange(NUM_ITEMS) < round(share * NUM_ITEMS))
