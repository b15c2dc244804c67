"""Nodes of pipeline `evaluation`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.parameters import AlignmentParameters, EvaluationParameters, TrainingParameters

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import torch

    from dcr.data.benchmark_sets import BenchmarkSet, NamedSet
    from dcr.evaluation import Result
    from dcr.models.backbones import Backbone


SetOpener = Callable[[], "BenchmarkSet"]
Encoders = dict[str, Callable[[], "Backbone"]]


def gather_encoders(
    training: TrainingParameters,
    training_record: dict[str, Any],
    backbone: Backbone,
    encoder: Backbone,
    baselines: Encoders,
    more_encoders: Encoders,
    alignment: AlignmentParameters,
    alignments: dict[str, Callable[[], dict[str, torch.Tensor]]],
    alignment_record: dict[str, Any],
) -> Encoders:
    """Name the base encoder, the trained one, the baselines and any others, in the order in which
    they are shown.

    Where an alignment followed training, each of them but the others is there twice, see
    `dcr.encoder_names`.

    Args:
        training, alignment: the recipe's sections as they are now.
        training_record, alignment_record: `training.json` and `alignment.json`, with hashes of what
            was made.
        backbone, encoder: the base, and the encoder of the recipe's method.
        baselines: what loads the encoder of each other method and seed, by name.
        more_encoders: what loads encoders that the recipe brings, under names that no other has.
        alignments: what loads the maps of each encoder, by name.

    Raises:
        UserError: the encoders are not those of the training that the record and the parameters
            tell of, or the alignment is not of them.
    """
    from dcr.alignment import both_forms, check_alignment
    from dcr.training import provenance

    provenance.check_training(training_record, training)
    provenance.check_backbone(training_record, backbone)
    provenance.check_encoder(training_record, training.method, encoder)

    def checked(method: str) -> Backbone:
        """Load the baseline of a ``method``, or refuse one that training did not write."""
        baseline = baselines[method]()
        provenance.check_encoder(training_record, method, baseline)
        return baseline

    others = {method: partial(checked, method) for method in baselines}
    taken = {"base": lambda: backbone, training.method: lambda: encoder, **others}
    check_alignment(alignment_record, alignment, training_record)
    if alignment.form != "none":
        taken = both_forms(taken, alignments, alignment_record)
    for name in more_encoders:
        if name in taken:
            raise UserError(
                f"more_encoders: the name {name!r} is that of an encoder of this recipe; take"
                " another"
            )
    return {**taken, **more_encoders}


def gather_sets(
    parameters: EvaluationParameters,
    mmvp_vlm: SetOpener | None,
    classification: SetOpener | None,
    retrieval: SetOpener | None,
    more_sets: dict[str, tuple[str, SetOpener]],
) -> list[NamedSet]:
    """List the sets that the recipe evaluates.

    Args:
        parameters: its ``sets`` are those to list.
        mmvp_vlm, classification, retrieval: what opens each of the recipe's own, None where it has
            none.
        more_sets: kind and opener of further sets, by name.
    """
    from dcr.data.benchmark_sets import choose_sets

    own = {"mmvp_vlm": mmvp_vlm, "classification": classification, "retrieval": retrieval}
    return choose_sets(parameters.sets, own, more_sets)


def evaluate_encoders(
    parameters: EvaluationParameters, encoders: Encoders, sets: list[NamedSet], cache: Path
) -> tuple[dict[str, list[Result]], list[dict[str, str]], dict[str, str]]:
    """Evaluate every encoder, one after the other, on the recipe's sets.

    Args:
        parameters: section `evaluation`.
        encoders: what loads each, by name. sets: those to evaluate on. cache: folder of embeddings
            and results.

    Returns:
        results by encoder, what could not be evaluated, and hashes of the encoders' weights.
    """
    from dataclasses import asdict

    from dcr.evaluation import EvaluationCache, EvaluationOptions, evaluate_encoders
    from dcr.fingerprints import weights_hash

    hashes: dict[str, str] = {}

    def hashed(name: str) -> Backbone:
        """Load the encoder called ``name``, and keep the hash of its weights."""
        backbone = encoders[name]()
        hashes[name] = weights_hash(backbone.model)
        return backbone

    options = EvaluationOptions.of(parameters)
    openers = {name: partial(hashed, name) for name in encoders}
    evaluations, failures = evaluate_encoders(openers, sets, options, EvaluationCache(cache))
    return evaluations, [asdict(failure) for failure in failures], hashes


def embed_sets(
    parameters: EvaluationParameters, encoders: Encoders, sets: list[NamedSet], cache: Path
) -> None:
    """Fill the cache of embeddings with this process's share of the sets' parts.

    Args:
        parameters: ``rank`` and ``num_ranks`` are this process's share where torchrun gives none.
        encoders, sets, cache: as in `evaluate_encoders`.
    """
    from dcr.evaluation import EvaluationCache, EvaluationOptions, embed_parts
    from dcr.latents import pick_rank

    rank = pick_rank(parameters.rank, parameters.num_ranks)
    embed_parts(encoders, sets, EvaluationOptions.of(parameters), EvaluationCache(cache), *rank)


def record_results(
    parameters: EvaluationParameters, evaluations: dict[str, list[Result]]
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Gather scores, their intervals, and one record a result, from the ``evaluations``, which are
    results by encoder.

    ``parameters`` give the names of model and language that stand in the records.
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
    """Keep the scores under the seed that training ran with, beside those of its other seeds, and
    what they are of.

    Args:
        parameters, alignment: sections `evaluation` and `alignment`, on which the scores depend.
        record: `training.json`. encoder_hashes: of the weights that were evaluated, by encoder.
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
        method: the encoder that stands for "after". scores: by encoder, set and metric.
    """
    from dcr.evaluation.exchange import diva_results

    results = diva_results(scores, parameters.model_name, method) if parameters.diva_results else {}
    return {"pred_result": results} if results else {}


def tabulate_outcomes(
    evaluations: dict[str, list[Result]],
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Gather from the ``evaluations`` what each encoder got right, item by item, and MMVP-VLM's
    per-question tables.
    """
    from dcr.evaluation.tables import answers_tables, outcomes_table

    return outcomes_table(evaluations), answers_tables(evaluations)


def tabulate_measurements(evaluations: dict[str, list[Result]]) -> pd.DataFrame:
    """Gather every measure in the ``evaluations`` with its replicates, so that differences are
    taken draw by draw.
    """
    from dcr.evaluation.measurements import measure, measurements_table

    return measurements_table(measure(evaluations))


def compare_encoders(
    parameters: EvaluationParameters, training_record: dict[str, Any], measurements: pd.DataFrame
) -> dict[str, Any]:
    """Compare every encoder, and every method over its training seeds, with the base in every
    measure.

    Args:
        parameters: gives the confidence level. training_record: tells which encoders are seeds of
            one method.
        measurements: the table of `tabulate_measurements`.
    """
    from dcr.evaluation.comparison import comparison_records
    from dcr.evaluation.judge import Judge
    from dcr.evaluation.measurements import read_measurements
    from dcr.training.provenance import BASE, trained_methods

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
