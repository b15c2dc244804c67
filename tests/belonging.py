"""Records of a training and an evaluation that belong to the files at hand, for the tests of who joins them."""

from __future__ import annotations

from typing import Any

from dcr.files import tensors_hash, weights_hash
from dcr.parameters import EvaluationParameters, TrainingParameters
from dcr.provenance import evaluation_record, table_hashes, training_course

SAMPLES = "5a" * 32


def training_record(
    parameters: TrainingParameters,
    backbone: Any,
    encoders: dict[str, Any],
    adapters: dict[str, dict] | None = None,
    projector: dict | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Return what training would write of these products; ``others`` take the place of its entries."""
    return {
        "seed": parameters.seed,
        "runs": {},
        "hashes": {
            "data": "d",
            "samples": SAMPLES,
            "backbone": weights_hash(backbone.model),
            "vae": "v",
            "unet": "u",
            "text_encoder": "t",
        },
        "parameters": training_course(parameters),
        "conditions": {},
        "products": {
            "projector": tensors_hash(projector or {}),
            "adapters": {method: tensors_hash(weights) for method, weights in (adapters or {}).items()},
            "encoders": {method: weights_hash(encoder.model) for method, encoder in encoders.items()},
        },
        **others,
    }


def this_seed(
    parameters: EvaluationParameters, trained: dict[str, Any], outcomes: Any, **tables: Any
) -> dict[str, Any]:
    """Return what evaluation would write of the encoders of a training, and of these tables."""
    encoders = {"base": trained["hashes"]["backbone"], **trained["products"]["encoders"]}
    kept = {"seed": trained["seed"], "configuration": "c", "scores": tables["scores"]}
    return kept | evaluation_record(parameters, encoders, table_hashes(outcomes, **tables))
