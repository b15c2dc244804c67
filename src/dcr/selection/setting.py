"""What a setting is: all that decides about the encoder but stage 1, data, models and seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dcr.parameters import AlignmentParameters, TrainingParameters
from dcr.training.runs import END_TO_END, method_runs

_NAMES = ("seed", "stage2_seeds", "method", "baselines", "phases")  # told by the phases themselves

Setting = Mapping[str, Any]
"""``{"stage2": [the parameters of each phase], "alignment": {...}}``, as plain values."""


def describe_setting(
    training: TrainingParameters, alignment: AlignmentParameters
) -> dict[str, Any]:
    """Return the setting of a recipe, or of a candidate, whatever its method is called.

    Args:
        training, alignment: its sections; of the phases those of its method count.
    """
    phases = []
    for run in method_runs(training, training.method):
        numbers = {
            name: value for name, value in run.parameters.course().items() if name not in _NAMES
        }
        phases.append(
            {"objective": END_TO_END if run.method == END_TO_END else run.objective, **numbers}
        )
    return {"stage2": phases, "alignment": alignment.course()}


def compare_settings(chosen: Setting, own: Setting) -> list[str]:
    """Return in words where an ``own`` setting differs from the ``chosen``, nothing if nowhere.

    Parameters that one of the two does not know, because they came later or were withdrawn, count
    on neither side.
    """
    if len(chosen["stage2"]) != len(own["stage2"]):
        return [f"{len(own['stage2'])} phases of stage 2 instead of {len(chosen['stage2'])}"]
    found = []
    for number, (theirs, ours) in enumerate(
        zip(chosen["stage2"], own["stage2"], strict=True), start=1
    ):
        place = f" in phase {number}" if len(chosen["stage2"]) > 1 else ""
        found += [f"{words}{place}" for words in _differences(theirs, ours)]
    return found + [
        f"alignment.{words}" for words in _differences(chosen["alignment"], own["alignment"])
    ]


def _differences(chosen: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    both = [name for name in chosen if name in own]
    return [
        f"{name} {own[name]!r} instead of {chosen[name]!r}"
        for name in both
        if own[name] != chosen[name]
    ]
