"""Nodes of pipeline `evaluation`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcr.parameters import EvaluationParameters

if TYPE_CHECKING:
    import pandas as pd

    from dcr.backbones import Backbone
    from dcr.benchmark_sets import BenchmarkSet
    from dcr.evaluation import EvaluationOptions, Result
    from dcr.metrics.bootstrap import Bootstrap


def evaluate_encoders(
    parameters: EvaluationParameters,
    method: str,
    backbone: Backbone,
    encoder: Backbone,
    baselines: dict[str, Callable[[], Backbone]],
    mmvp_vlm: Callable[[], BenchmarkSet],
    classification: Callable[[], BenchmarkSet],
    retrieval: Callable[[], BenchmarkSet],
) -> dict[str, list[Result]]:
    """Evaluate the base encoder, the trained one and the baselines, one after the other, on the recipe's sets."""
    from dcr.evaluation import evaluate_encoder

    openers = {"mmvp_vlm": mmvp_vlm, "classification": classification, "retrieval": retrieval}
    sets = [openers[name]() for name in parameters.sets]
    encoders = {"base": lambda: backbone, method: lambda: encoder, **baselines}
    return {
        name: evaluate_encoder(load(), sets, _evaluation_options(parameters), description=name)
        for name, load in encoders.items()
    }


def record_results(
    parameters: EvaluationParameters, evaluations: dict[str, list[Result]]
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Gather scores, their intervals, and one record a result."""
    from dcr.evaluation.tables import intervals_table, result_records, scores_table

    records = result_records(evaluations, parameters.model_name, parameters.language)
    return scores_table(evaluations), intervals_table(evaluations), records


def tabulate_outcomes(evaluations: dict[str, list[Result]]) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Gather what each encoder got right, item by item, and MMVP-VLM's per-question tables."""
    from dcr.evaluation.tables import answers_tables, outcomes_table

    return outcomes_table(evaluations), answers_tables(evaluations)


def compare_encoders(parameters: EvaluationParameters, outcomes: pd.DataFrame) -> dict[str, Any]:
    """Compare every encoder with the base on the same items: difference, interval, items gained and lost."""
    from dcr.evaluation.tables import compare_with_base

    return compare_with_base(outcomes, _bootstrap(parameters))


def _bootstrap(parameters: EvaluationParameters) -> Bootstrap:
    from dcr.metrics.bootstrap import Bootstrap

    return Bootstrap(parameters.num_resamples, parameters.confidence, parameters.seed)


def _evaluation_options(parameters: EvaluationParameters) -> EvaluationOptions:
    from dcr.evaluation import EvaluationOptions

    return EvaluationOptions(
        batch_size=parameters.batch_size,
        kmeans_seeds=parameters.kmeans_seeds,
        kmeans_num_init=parameters.kmeans_num_init,
        num_neighbours=parameters.num_neighbours,
        probe_inverse_regularization=parameters.probe_inverse_regularization,
        probe_max_iterations=parameters.probe_max_iterations,
        recall_at=parameters.recall_at,
        bootstrap=_bootstrap(parameters),
    )
