"""What decides the course of a run, so that no checkpoint is taken for another run's."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch

import dcr
from dcr.backbones import Backbone
from dcr.diffusion import Diffusion
from dcr.files import sha256_file, tensors_hash, weights_hash
from dcr.latents import LatentCache
from dcr.parameters import TrainingParameters
from dcr.parameters.training import WITHOUT_EFFECT
from dcr.training.checkpoints import Fingerprint
from dcr.training.options import END_TO_END, STAGE1, batch_options, objective_options, run_options, tuning_options

_FREE = {"name", "max_train_steps", *WITHOUT_EFFECT}  # a longer run goes on from a shorter one
_CODE = (
    *("training", "losses", "positives", "backbones"),
    *("projector.py", "decoding.py", "transforms.py", "diffusion.py", "seeds.py"),
)


def input_hashes(latents: LatentCache, backbone: Backbone, diffusion: Diffusion) -> dict[str, str]:
    """Return hashes of the data and of the frozen models' weights; take them before training casts the UNet."""
    return {
        "data": latents.content_hash(),
        "backbone": weights_hash(backbone.model),
        "vae": weights_hash(diffusion.vae),
        "unet": weights_hash(diffusion.unet),
    }


def run_fingerprint(
    parameters: TrainingParameters,
    name: str,
    hashes: dict[str, str],
    projector: dict[str, torch.Tensor] | None,
) -> Fingerprint:
    """Return the fingerprint of stage 1, or of a method's run with its projector."""
    values: dict[str, Any] = {**asdict(run_options(parameters, name)), **asdict(objective_options(parameters, name))}
    del values["contrast"]["diagnostics"]  # measures and changes nothing
    values["contrast"]["name"] = parameters.signal if values["contrast"]["signal"] else None  # numbers do not tell
    values |= asdict(batch_options(parameters))
    values |= {k: v for k, v in parameters.model_dump().items() if k.startswith(("view_", "published_"))}
    if name != STAGE1:
        values |= {f"tuning_{key}": value for key, value in asdict(tuning_options(parameters)).items()}
    if name not in (STAGE1, END_TO_END):
        values["projector"] = tensors_hash(projector)
    values |= {"validation_fraction": parameters.validation_fraction, "condition": parameters.condition}
    return {key: value for key, value in values.items() if key not in _FREE} | hashes | {"code": code_hash()}


@cache
def code_hash() -> str:
    """Return the hash of the sources that training runs through: an edited loss must not find old results."""
    digest = hashlib.sha256()
    for part in _CODE:
        path = Path(dcr.__file__).parent / part
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{part}/{file.name} {sha256_file(file)}\n".encode())
    return digest.hexdigest()
