"""Records of a training and an evaluation that belong to the files at hand, for the tests of
who joins them.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from dcr.alignment import apply_maps
from dcr.evaluation.provenance import evaluation_record, table_hashes
from dcr.fingerprints import tensors_hash, weights_hash
from dcr.parameters import AlignmentParameters, EvaluationParameters, TrainingParameters
from dcr.training.provenance import training_course

CONF = Path(__file__).parents[2] / "conf" / "base"
SAMPLES = "5a" * 32


def alignment(form: str = "none", **changes: Any) -> AlignmentParameters:
    """Return the parameters of an alignment."""
    values = yaml.safe_load((CONF / "parameters_alignment.yml").read_text())["alignment"]
    return AlignmentParameters(**values | {"form": form} | changes)


def training_record(
    parameters: TrainingParameters,
    backbone: Any,
    encoders: dict[str, Any],
    adapters: dict[str, dict] | None = None,
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
        "parameters": training_course(parameters),
        "conditions": {},
        "products": {
            "projector": tensors_hash(projector or {}),
            "adapters": {
                method: tensors_hash(weights) for method, weights in (adapters or {}).items()
            },
            "encoders": {
                method: weights_hash(encoder.model) for method, encoder in encoders.items()
            },
        },
        **others,
    }


def alignment_record(
    parameters: AlignmentParameters, encoders: dict[str, Any], maps: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return what alignment would write of these maps of encoders, by their names as trained,
    ``base`` among them.
    """
    told = {
        name: {
            "chosen": {"step": 1, "held_out_loss": 0.5},
            "hashes": {
                "encoder": weights_hash(encoder.model),
                "maps": tensors_hash(maps[name]),
                "aligned": weights_hash(apply_maps(deepcopy(encoder), maps[name]).model),
            },
        }
        for name, encoder in encoders.items()
    }
    return {"form": parameters.form, "parameters": parameters.course(), "encoders": told}


def this_seed(
    parameters: EvaluationParameters, trained: dict[str, Any], **tables: Any
) -> dict[str, Any]:
    """Return what evaluation would write of the encoders of a training, and of these tables."""
    encoders = {"base": trained["hashes"]["backbone"], **trained["products"]["encoders"]}
    kept = {"seed": trained["seed"], "configuration": "c", "scores": tables["scores"]}
    return kept | evaluation_record(parameters, encoders, table_hashes(**tables))
