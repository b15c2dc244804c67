"""Results in files of other projects, and results of one recipe over its training seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dcr.fingerprints import fingerprint

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
BASE = "base"
MMVP = "mmvp_vlm"


def diva_results(
    scores: Scores, model: str, encoder: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Return MMVP-VLM before and after as DIVA's ``pred_result.json`` holds it.

    ``{results_before: {model: {type: percent, ..., average_score: percent}}, results_final_after:
    ...}``; {} where MMVP-VLM was not evaluated.

    Args:
        scores: {encoder: {benchmark: {metric: fraction}}}, of the base and of ``encoder`` at least.
        model: what the file calls the model.
        encoder: the encoder after training; before it is the base.
    """

    def show(benchmarks: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
        """Return what DIVA's file holds of one encoder, from its ``benchmarks``.

        These are fractions by metric.
        """
        types = {name: 100 * value for name, value in benchmarks[MMVP].items() if name != "mean"}
        return {model: {**types, "average_score": 100 * benchmarks[MMVP]["mean"]}}

    if any(MMVP not in scores.get(name, {}) for name in (BASE, encoder)):
        return {}
    return {"results_before": show(scores[BASE]), "results_final_after": show(scores[encoder])}


def seed_record(
    scores: Scores, record: Mapping[str, Any], alignment: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a run says of its training seed: the seed, scores, and what other seeds share.

    Args:
        scores: of all encoders.
        alignment: the parameters of what followed training.
        record: what training wrote, with ``seed``, ``parameters``, and ``hashes`` of data, frozen
            models and code.
    """
    course = {name: value for name, value in record["parameters"].items() if name != "seed"}
    configuration = fingerprint(
        training=course,
        alignment=dict(alignment),
        hashes=record["hashes"],
        base=scores.get(BASE, {}),
    )
    return {"seed": record["seed"], "configuration": configuration, "scores": scores}


def select_runs(records: Iterable[Mapping[str, Any]], configuration: str) -> dict[int, Scores]:
    """Return the scores by seed of the runs of one configuration.

    They differ in nothing but their seed.

    Args:
        records: of any runs, see `seed_record`.
        configuration: the fingerprint that the chosen ones share.
    """
    return {
        record["seed"]: record["scores"]
        for record in sorted(records, key=lambda record: record["seed"])
        if record["configuration"] == configuration
    }
