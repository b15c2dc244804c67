"""Records of a training and an evaluation that belong to the files at hand, for the tests of
who joins them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dcr.evaluation.provenance import evaluation_record, table_hashes
from dcr.fingerprints import tensors_hash, weights_hash
from dcr.parameters import AlignmentParameters, EvaluationParameters, TrainingParameters
from dcr.training.provenance import encoder_hashes

CONF = Path(__file__).parents[2] / "conf" / "base"
SAMPLES = "5a" * 32


def alignment(form: str = "none", **changes: Any) -> AlignmentParameters:
    """Return the parameters of an alignment."""
    values = yaml.safe_load((CONF / "parameters_alignment.yml").read_text())["alignment"]
    return AlignmentParameters(**values | {"form": form} | changes)


def training_record(
    parameters: TrainingParameters,
    backbone: Any,
    adapters: dict[str, dict],
    projector: dict | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Return what training would write of these products; ``others`` take the place of its
    entries.
    """
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
        "parameters": parameters.course(),
        "conditions": {},
        "products": {
            "projector": tensors_hash(projector or {}),
            "adapters": {name: tensors_hash(weights) for name, weights in adapters.items()},
        },
        **others,
    }


def alignment_record(
    parameters: AlignmentParameters, trained: dict[str, Any], maps: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return what alignment would write of these maps of the encoders of a training, by their names
    as trained, ``base`` among them.
    """
    told = {
        name: {"chosen": {"step": 1, "held_out_loss": 0.5}, "maps_hash": tensors_hash(own)}
        for name, own in maps.items()
    }
    return {
        "form": parameters.form,
        "parameters": parameters.course(),
        "encoders": told,
        "made_from": encoder_hashes(trained),
    }


def this_seed(
    parameters: EvaluationParameters, trained: dict[str, Any], **tables: Any
) -> dict[str, Any]:
    """Return what evaluation would write of the encoders of a training, and of these tables."""
    kept = {"seed": trained["seed"], "configuration": "c", "scores": tables["scores"]}
    encoders = encoder_hashes(trained)
    return kept | evaluation_record(parameters, encoders, table_hashes(**tables))
