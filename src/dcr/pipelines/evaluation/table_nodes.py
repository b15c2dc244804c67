"""Nodes of pipeline `evaluation` that make tables of its results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcr.encoder_names import BASE
from dcr.errors import UserError
from dcr.parameters import AlignmentParameters, EvaluationParameters

if TYPE_CHECKING:
    import pandas as pd

    from dcr.evaluation import NamedSet, Result


def record_results(
    parameters: EvaluationParameters, evaluations: dict[str, list[Result]]
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Gather scores, their intervals, and one record a result.

    Args:
        parameters: give the names of model and language that stand in the records.
        evaluations: results by encoder.
    """
    from dcr.evaluation.tables import intervals_table, result_records, scores_table

    records = result_records(evaluations, parameters.model_name, parameters.language)
    return scores_table(evaluations), intervals_table(evaluations), records


def record_sets(sets: list[NamedSet], evaluations: dict[str, list[Result]]) -> list[dict[str, Any]]:
    """Tell which ``sets`` were evaluated, and what was left out of each in the ``evaluations``."""
    from dcr.evaluation.tables import set_records

    return set_records(sets, evaluations)


def record_seed(
    parameters: EvaluationParameters,
    alignment: AlignmentParameters,
    record: dict[str, Any],
    encoder_hashes: dict[str, str],
    scores: dict[str, Any],
    intervals: dict[str, Any],
    comparisons: dict[str, Any],
    outcomes: pd.DataFrame,
    measurements: pd.DataFrame,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Keep the scores, and what they are of, under the seed that training ran with.

    Args:
        parameters, alignment: sections `evaluation` and `alignment`, on which the scores depend.
        record: `training.json`.
        encoder_hashes: of what the evaluated encoders are made of, by name.
        scores, intervals, comparisons, outcomes, measurements: the tables, whose hashes are kept
            beside the scores.
    """
    from dcr.evaluation.exchange import seed_record
    from dcr.evaluation.provenance import evaluation_record, table_hashes

    tables = table_hashes(
        scores=scores,
        intervals=intervals,
        comparisons=comparisons,
        outcomes=outcomes,
        measurements=measurements,
    )
    kept = seed_record(scores, record, alignment.course()) | evaluation_record(
        parameters, encoder_hashes, tables
    )
    return kept, {f"seed_{record['seed']}": kept}


def write_for_others(
    parameters: EvaluationParameters, method: str, scores: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Put MMVP-VLM before and after into DIVA's file, if the recipe wants it.

    Args:
        parameters: whether the file is wanted, and the name of the model in it.
        method: the encoder that stands for "after".
        scores: by encoder, set and metric.
    """
    from dcr.evaluation.exchange import diva_results

    results = diva_results(scores, parameters.model_name, method) if parameters.diva_results else {}
    return {"pred_result": results} if results else {}


def tabulate_outcomes(
    evaluations: dict[str, list[Result]],
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Gather from the ``evaluations`` what each encoder got right, item by item and by question."""
    from dcr.evaluation.tables import answers_tables, outcomes_table

    return outcomes_table(evaluations), answers_tables(evaluations)


def tabulate_measurements(evaluations: dict[str, list[Result]]) -> pd.DataFrame:
    """Gather the ``evaluations``' measures with replicates, to take differences draw by draw."""
    from dcr.evaluation.measurements import measure, measurements_table

    return measurements_table(measure(evaluations))


def compare_encoders(
    parameters: EvaluationParameters, training_record: dict[str, Any], measurements: pd.DataFrame
) -> dict[str, Any]:
    """Compare every encoder, and every method over its training seeds, with the base.

    Args:
        parameters: gives the confidence level.
        training_record: tells which encoders are seeds of one method.
        measurements: the table of `tabulate_measurements`.
    """
    from dcr.evaluation.comparison import comparison_records
    from dcr.evaluation.judge import Judge
    from dcr.evaluation.measurements import read_measurements
    from dcr.training.provenance import trained_methods

    judge = Judge(
        read_measurements(measurements), parameters.confidence, trained_methods(training_record)
    )
    others = [name for name in judge.names if name != BASE] if BASE in judge.names else []
    return {name: comparison_records(judge.compare(BASE, name)) for name in others}


def tell_failures(failures: list[dict[str, str]], *written: Any) -> None:
    """End the run with an error if anything could not be evaluated.

    Args:
        failures: ``set``, ``encoder`` and ``error`` of each.
        written: scores and tables; they come in so that they are written first.
    """
    from dcr.evaluation import Failure, describe_failures

    if failures:
        raise UserError(describe_failures([Failure(**failure) for failure in failures]))
