"""What decides the course of a run, so that no checkpoint is taken for another run's."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from dcr import fingerprints
from dcr.fingerprints import json_hash, tensors_hash, weights_hash
from dcr.latents import LatentCache, OnlineLatents
from dcr.models.backbones import Backbone
from dcr.models.diffusion import Diffusion
from dcr.parameters import TrainingParameters
from dcr.parameters.training import WITHOUT_EFFECT
from dcr.training.checkpoints import PROCESSES, Fingerprint
from dcr.training.options import batch_options, objective_options, run_options, tuning_options
from dcr.training.runs import END_TO_END, STAGE1, Run

_FREE = {"name", "max_train_steps", *WITHOUT_EFFECT}  # a longer run goes on from a shorter one
_LEVERS = {"learning_rate_decay", "pull_to"}  # of which many runs do not depend
_UNUSED = {
    "dcr": {"contrast_weight", "reconstruction_weight"},
    "naive": {
        "target_weight",
        "reconstruction_share",
        "negatives_count",
        "negatives_gradient",
        "published_loss",
    },
    "reconstruction": {
        *(
            "temperature",
            "target_weight",
            "reconstruction_share",
            "contrast_weight",
            "reconstruction_weight",
        ),
        *(
            "contrast",
            "num_views",
            "negatives_count",
            "negatives_gradient",
            "gather_negatives",
            "published_loss",
        ),
    },
}
"""By objective, numbers of others; a test trains with them changed, to the same bits."""


def input_hashes(
    latents: LatentCache | OnlineLatents, backbone: Backbone, diffusion: Diffusion
) -> dict[str, str]:
    """Return hashes of the data and of the frozen models; take them before training casts the UNet.

    Weights alone do not tell a model: the last two hashes are of what decides about its outputs
    beside them.

    Args:
        latents: samples that are trained on, from a cache or not.
        backbone: the CLIP model as it was loaded.
        diffusion: as it was loaded, in float32.
    """
    return {
        "data": latents.fingerprint(),
        "samples": latents.content_hash(),
        "backbone": weights_hash(backbone.model),
        "vae": weights_hash(diffusion.vae),
        "unet": weights_hash(diffusion.unet),
        "text_encoder": weights_hash(diffusion.text_encoder),
        "backbone_settings": json_hash(backbone.settings()),
        "diffusion_settings": json_hash(diffusion.settings()),
    }


def run_fingerprint(
    run: Run,
    hashes: dict[str, str],
    projector: dict[str, torch.Tensor] | None,
    start: dict[str, torch.Tensor] | None = None,
) -> Fingerprint:
    """Return the fingerprint of stage 1, or of a run of stage 2 with its projector.

    Only what the run depends on is in it: a number that another method takes leaves this one's
    checkpoints as they are, and so does the run's name. Runs of one fingerprint are one up to the
    shorter one's end.

    Args:
        run: of stage 1 or 2.
        hashes: of `input_hashes`, and of made positives under ``positives``.
        projector: stage 1's weights; None for stage 1 itself.
        start: the tower's trained weights that a phase goes on from; None where it starts from the
            base.
    """
    parameters = run.parameters
    objective = objective_options(run)
    values: dict[str, Any] = {
        **asdict(run_options(run)),
        **asdict(objective),
        **asdict(batch_options(parameters)),
    }
    del values["contrast"]["diagnostics"]  # measures and changes nothing
    values["contrast"]["name"] = (
        parameters.signal if values["contrast"]["signal"] else None
    )  # numbers do not tell
    values = {
        key: value for key, value in values.items() if key not in _FREE | _LEVERS | _unused(run)
    }
    if run.objective != "reconstruction":
        values |= {
            key: value for key, value in parameters.model_dump().items() if key.startswith("view_")
        }
        values["published_views"] = parameters.published_views
    if run.method != STAGE1:
        values |= _tuning(parameters)
    if run.method not in (STAGE1, END_TO_END):
        values["projector"] = tensors_hash(projector)
    for key in (
        "validation_fraction",
        "num_validation_samples",
        "condition",
        "published_normalization",
    ):
        values[key] = getattr(parameters, key)
    own = {
        key: value
        for key, value in hashes.items()
        if key != "positives" or objective.contrast.synthetic_weight
    }
    processes = {PROCESSES: parameters.num_processes * parameters.num_hosts}
    return values | _levers(run, start) | own | processes | {"code": code_hash()}


def _levers(run: Run, start: dict[str, torch.Tensor] | None) -> dict[str, Any]:
    """Return what a run of one phase without decay does not depend on: it is absent there."""
    options = run_options(run)
    objective = objective_options(run)
    found: dict[str, Any] = {}
    if options.learning_rate_decay != "none":
        found |= {
            "learning_rate_decay": options.learning_rate_decay,
            "max_train_steps": options.max_train_steps,
        }
    if start is not None:
        found["start"] = tensors_hash(start)
        if objective.pull_to != "base" and objective.asks_base:
            found["pull_to"] = objective.pull_to
    if run.parameters.seed != run.held_out_seed:
        found["held_out_seed"] = run.held_out_seed
    return found


def _unused(run: Run) -> set[str]:
    others = _UNUSED[run.objective]
    return others if run.method == END_TO_END else others | {"projector_learning_rate"}


def _tuning(parameters: TrainingParameters) -> dict[str, Any]:
    """Return what of the tower trains, without the numbers of other ways."""
    options = tuning_options(parameters)
    numbers = {
        "lora": {"lora": asdict(options.lora)},
        "last_blocks": {"num_blocks": options.num_blocks},
        "full": {},
    }
    return {
        f"tuning_{key}": value
        for key, value in ({"mode": options.mode} | numbers[options.mode]).items()
    }


def code_hash() -> str:
    """Return the hash of the sources that training runs through: an edited loss must not find old
    results.

    What starts the training and waits for it is no part of it, nor what shows it to a person.
    """
    return fingerprints.code_hash(
        "dcr.training.stages",
        "dcr.training.options",
        "dcr.models.backbones",
        "dcr.models.diffusion",
    )
