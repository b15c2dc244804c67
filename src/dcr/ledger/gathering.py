"""Evidence from files and from encoders.

It is what the recipe's own evaluation left, and what published weights are worth on the same sets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dcr.alignment import check_alignment, evaluated_hashes
from dcr.data.benchmark_sets import NamedSet
from dcr.encoder_names import group_seeds
from dcr.errors import UserError
from dcr.evaluation import (
    EvaluationCache,
    EvaluationOptions,
    Failure,
    evaluate_encoders,
)
from dcr.evaluation import provenance as scored
from dcr.evaluation.measurements import measure, read_measurements
from dcr.evaluation.tables import outcomes_table, set_records
from dcr.ledger.evidence import Part, count_items
from dcr.parameters import AlignmentParameters, EvaluationParameters, TrainingParameters
from dcr.parameters.section import did_you_mean
from dcr.training import provenance

if TYPE_CHECKING:
    import pandas as pd

    from dcr.models.backbones import Backbone
    from dcr.published.tables import PublishedTables

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """What a recipe's training and evaluation left.

    Attributes:
        trained, evaluated: `training.json` and `this_seed.json`.
        scores: by encoder, benchmark and metric.
        sets: records of the evaluation sets.
        measurements, outcomes: tables of the evaluation, draw by draw and item by item.
    """

    trained: Mapping[str, Any]
    evaluated: Mapping[str, Any]
    scores: Mapping[str, Any]
    sets: Sequence[Mapping[str, Any]]
    measurements: pd.DataFrame
    outcomes: pd.DataFrame


def read_own(
    files: Files | None,
    aligned: Mapping[str, Any],
    evaluation: EvaluationParameters,
    training: TrainingParameters,
    alignment: AlignmentParameters,
) -> Part:
    """Return what the recipe's own evaluation left; an empty part where there was none.

    Args:
        files: what training and evaluation left, None where one of them is missing.
        aligned: `alignment.json`, {} where there is none.
        evaluation, training, alignment: the recipe's sections as they are now.

    Raises:
        UserError: the files are not of one training and its evaluation, or of other parameters.
    """
    if files is None:
        logger.warning(
            "ledger.own names encoders of this recipe, which has no scores yet: run `kedro run"
            " --pipelines evaluation`"
        )
        return Part()
    trained = files.trained
    provenance.check_training(trained, training)
    scored.check_evaluation(files.evaluated, evaluation)
    check_alignment(aligned, alignment, trained)
    hashes = scored.table_hashes(
        scores=files.scores, measurements=files.measurements, outcomes=files.outcomes
    )
    made = evaluated_hashes(aligned, alignment, trained)
    method = training.method
    scored.check_scores(files.evaluated, trained, method, hashes, files.scores, made)
    return Part(
        read_measurements(files.measurements),
        files.sets,
        count_items(files.outcomes),
        frozenset(provenance.trained_methods(trained)),
    )


def measure_published(
    encoders: Mapping[str, Callable[[], Backbone]],
    sets: Sequence[NamedSet],
    options: EvaluationOptions,
    cache: EvaluationCache,
) -> tuple[Part, list[Failure]]:
    """Evaluate published encoders on the recipe's sets; return what was measured, and what failed.

    Args:
        encoders: what loads each, by its name in the tables.
        sets: of the recipe.
        options: how scores are computed.
        cache: where embeddings and results are kept.
    """
    if not encoders:
        return Part(), []
    evaluations, failures = evaluate_encoders(encoders, sets, options, cache)
    counts = count_items(outcomes_table(evaluations))
    return Part(measure(evaluations), set_records(sets, evaluations), counts), failures


def name_encoders(
    own: Mapping[str, str | None], measured: Sequence[str], tables: PublishedTables, part: Part
) -> dict[str, str]:
    """Return, by encoder of the tables, what stands for it here.

    Args:
        own: parameter ``ledger.own``; None is no encoder.
        measured: the published encoders that were evaluated here.
        tables: what is published.
        part: what the recipe's own evaluation left.

    Raises:
        UserError: ``own`` names an encoder that the tables do not, or one that is ``measured``,
            too.
    """
    names = {name: name for name in measured}
    seedless = group_seeds(part.measurements)
    for encoder, name in own.items():
        if name is None:
            continue
        if encoder not in tables.encoders:
            hint = did_you_mean(encoder, list(tables.encoders))
            raise UserError(
                f"ledger.own: {encoder!r} is no encoder of the published tables{hint}; see"
                " `published` in globals.yml"
            )
        if encoder in names:
            raise UserError(
                f"ledger.own: {encoder!r} is named in more_encoders, too: take it out of one of the"
                " two"
            )
        if seedless and name not in seedless:
            logger.warning(
                "ledger.own: %s is to be %r, which has no scores%s; there are: %s",
                *(encoder, name, did_you_mean(name, list(seedless)), ", ".join(seedless)),
            )
        names[encoder] = name
    return names
