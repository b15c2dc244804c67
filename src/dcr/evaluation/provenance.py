"""What belongs together of an evaluation.

Scores and tables are refused that were not computed from each other, or not from the encoders of
the training at hand.

Records are plain values, as they come from JSON; `dcr.training.provenance` has those of a training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dcr.encoder_names import BASE
from dcr.errors import UserError
from dcr.fingerprints import json_hash
from dcr.parameters import EvaluationParameters
from dcr.training.provenance import Record, check_parameters, encoder_hashes

if TYPE_CHECKING:
    import pandas as pd

_EVALUATE = "run `kedro run --pipelines evaluation`"
_NO_SCORE = {
    "batch_size",
    "num_workers",
    "num_ranks",
    "rank",
    "model_name",
    "language",
    "diva_results",
}


def evaluation_course(parameters: EvaluationParameters) -> dict[str, Any]:
    """Return those ``parameters`` that scores and intervals depend on."""
    values = parameters.model_dump(mode="json")
    return {name: value for name, value in values.items() if name not in _NO_SCORE}


def check_evaluation(record: Record, parameters: EvaluationParameters) -> None:
    """Refuse the ``record`` of scores computed with other ``parameters`` than the recipe's."""
    check_parameters(
        "evaluation", record.get("evaluation"), evaluation_course(parameters), _EVALUATE
    )


def evaluation_record(
    parameters: EvaluationParameters, encoders: Mapping[str, str], tables: Mapping[str, str]
) -> dict[str, Any]:
    """Return what `this_seed.json` keeps of an evaluation.

    Args:
        parameters: section `evaluation`.
        encoders: hash of each encoder, see `dcr.alignment.record.evaluated_hashes`.
        tables: hash of each table that was written, see `table_hashes`.
    """
    return {
        "evaluation": evaluation_course(parameters),
        "encoders": dict(encoders),
        "tables": dict(tables),
    }


def table_hashes(**tables: Mapping[str, Any] | pd.DataFrame) -> dict[str, str]:
    """Return hashes by name, of JSON tables and of data frames."""
    return {
        name: json_hash(table) if isinstance(table, Mapping) else _frame_hash(table)
        for name, table in tables.items()
    }


def check_scores(
    evaluated: Record,
    trained: Record,
    method: str,
    tables: Mapping[str, str],
    scores: Mapping[str, Record],
    aligned: Mapping[str, str] | None = None,
) -> None:
    """Refuse scores of other encoders than those at hand, and tables of several evaluations.

    Args:
        evaluated: `this_seed.json`. trained: `training.json`. method: the product's.
        tables: hashes of the tables at hand.
        scores: by encoder; one that answered no set has none, and there is nothing that could be of
            other weights.
        aligned: hash of each encoder, where an alignment may have followed training.
    """
    found = evaluated.get("encoders")
    made = aligned or encoder_hashes(trained)
    if not isinstance(found, Mapping):
        raise UserError(
            f"the scores are of an earlier version and do not tell of which encoders; {_EVALUATE}"
        )
    for name in dict.fromkeys((BASE, method, *scores)):
        has_scores = bool(scores.get(name, True))
        if name in made and has_scores and found.get(name) != made[name]:
            raise UserError(
                f"the scores of {name} are of other weights than those that training or alignment"
                f" made or started from; {_EVALUATE}"
            )
    for name, digest in tables.items():
        if evaluated.get("tables", {}).get(name) != digest:
            raise UserError(
                f"{name} and this_seed.json are not of one evaluation: it was cut before its end;"
                f" {_EVALUATE}"
            )


def check_seed(evaluated: Record, seeds: Mapping[str, Record]) -> None:
    """Refuse the records of ``seeds`` if this seed's is not of the evaluation ``evaluated``."""
    if json_hash(seeds.get(f"seed_{evaluated['seed']}")) != json_hash(evaluated):
        raise UserError(
            f"seeds/seed_{evaluated['seed']}.json is not of the evaluation in this_seed.json;"
            f" {_EVALUATE}"
        )


def check_sweep_run(
    name: str, trained: Record, evaluated: Record, tables: Mapping[str, Any]
) -> None:
    """Refuse a sweep's run, ``<signal>-<seed>``, whose training or tables are of another one.

    Args:
        name: of the run.
        trained, evaluated: its `training.json` and `this_seed.json`.
        tables: its ``scores``, and others that evaluation wrote, by name.
    """
    parameters = trained.get("parameters") or {}
    if f"{parameters.get('signal.name')}-{parameters.get('seed')}" != name:
        raise UserError(
            f"sweep/{name} holds a training of another signal or seed; run the sweep again"
        )
    try:
        check_scores(
            evaluated, trained, parameters["method"], table_hashes(**tables), tables["scores"]
        )
    except UserError as exc:
        raise UserError(f"sweep/{name}: {exc}, for this run of the sweep") from exc


def _frame_hash(table: pd.DataFrame) -> str:
    digest = hashlib.sha256()
    for name in table.columns:
        cells = [name, *map(_shown, table[name].tolist())]
        digest.update("\x1f".join(cells).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _shown(cell: Any) -> str:
    """Return a cell's text; of an array all its bytes, where str would leave some out."""
    return cell.tobytes().hex() if hasattr(cell, "tobytes") else str(cell)
