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
from dcr.training.checkpoints import PROCESSES, Fingerprint
from dcr.training.contrast import Contrast, build_contrast
from dcr.training.runs import END_TO_END, STAGE1, Run

# Sections that any run takes numbers of. The others (stages, phases, signal, positives) reach a run
# through its stage and its contrast, which are told apart from these.
_SECTIONS = (
    "seed",
    "mixed_precision",
    "compile",
    "condition",
    "published",
    "held_out",
    "optimizer",
    "batches",
    "loss",
    "tuning",
    "views",
)
UNUSED = {
    "dcr": {"loss.contrast_weight", "loss.reconstruction_weight"},
    "naive": {
        "loss.target_weight",
        "loss.reconstruction_share",
        "loss.negatives_gradient",
        "batches.negatives_count",
    },
    "reconstruction": {
        "loss.temperature",
        "loss.target_weight",
        "loss.reconstruction_share",
        "loss.negatives_gradient",
        "loss.contrast_weight",
        "loss.reconstruction_weight",
        "batches.num_views",
        "batches.negatives_count",
        "batches.gather_negatives",
    },
}
"""By objective, numbers of others; a test trains with them changed, to the same bits."""
_UNUSED_PARTS = {"dcr": set(), "naive": {"loss"}, "reconstruction": {"loss", "views"}}
_OF_TUNING = {
    "lora": ("tuning.mode", "tuning.lora."),
    "last_blocks": ("tuning.mode", "tuning.num_blocks"),
}


def input_hashes(
    latents: LatentCache | OnlineLatents, backbone: Backbone, diffusion: Diffusion
) -> dict[str, str]:
    """Return hashes of the data and of the frozen models; take them before training casts the UNet.

    Of several sources, which samples they have and how often they are drawn from counts too.
    Weights alone do not tell a model: the last two hashes are of what decides about its outputs
    beside them.

    Args:
        latents: samples that are trained on, from a cache or not.
        backbone: the CLIP model as it was loaded.
        diffusion: as it was loaded, in float32.
    """
    drawn = {"mixture": json_hash(latents.sources)} if len(latents.sources) > 1 else {}
    return drawn | {
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
    contrast = build_contrast(run)
    values = _numbers(run) | {
        "objective": run.objective,
        "train_batch_size": run.stage.train_batch_size,
        "gradient_accumulation_steps": run.stage.gradient_accumulation_steps,
        "learning_rate": run.stage.learning_rate,
        "contrast": _contrast(contrast, parameters.signal.name),
        PROCESSES: parameters.processes.count,
    }
    if run.method == END_TO_END:
        values["projector_learning_rate"] = parameters.stage1.learning_rate
    if run.method not in (STAGE1, END_TO_END):
        assert projector is not None
        values["projector"] = tensors_hash(projector)
    own = {
        key: value
        for key, value in hashes.items()
        if key != "positives" or contrast.synthetic_weight
    }
    return values | _levers(run, contrast, start) | own | {"code": code_hash()}


def _numbers(run: Run) -> dict[str, Any]:
    """Return the parameters that the run takes, by dotted name."""
    course = run.parameters.course()
    found = {name: value for name, value in course.items() if name.split(".")[0] in _SECTIONS}
    found |= {f"loss.{name}": value for name, value in run.loss.model_dump().items()}
    found["published"] = sorted(
        part
        for part in run.parameters.published
        if part not in _UNUSED_PARTS[run.objective]
        and (part != "reduction" or run.method == STAGE1)
    )
    unused = {"loss.pull_to", *UNUSED[run.objective]}
    if run.objective == "reconstruction":
        unused |= {name for name in found if name.startswith("views.")}
    kept: tuple[str, ...] = _OF_TUNING.get(run.parameters.tuning.mode, ("tuning.mode",))
    if run.method == STAGE1:  # which trains the projector alone
        kept = ()
    unused |= {name for name in found if name.startswith("tuning.") and not name.startswith(kept)}
    return {name: value for name, value in found.items() if name not in unused}


def _contrast(contrast: Contrast, signal: str) -> dict[str, Any]:
    """Return what a run contrasts by; a signal's numbers do not tell which one it is."""
    values = asdict(contrast)
    del values["diagnostics"]  # measures and changes nothing
    del values["gathers"]  # stands among the numbers
    values["name"] = signal if contrast.signal else None
    return values


def _levers(run: Run, contrast: Contrast, start: dict[str, torch.Tensor] | None) -> dict[str, Any]:
    """Return what a run of one phase without decay does not depend on: it is absent there."""
    found: dict[str, Any] = {}
    if run.stage.learning_rate_decay != "none":
        found |= {
            "learning_rate_decay": run.stage.learning_rate_decay,
            "max_train_steps": run.max_train_steps,
        }
    if start is not None:
        found["start"] = tensors_hash(start)
        if run.loss.pull_to != "base" and contrast.asks_base(run.loss):
            found["pull_to"] = run.loss.pull_to
    if run.parameters.seed != run.held_out_seed:
        found["held_out_seed"] = run.held_out_seed
    return found


def code_hash() -> str:
    """Return the hash of the sources that training runs through.

    An edited loss must not find old results. What starts the training and waits for it is no part
    of it, nor what shows it to a person.
    """
    return fingerprints.code_hash(
        "dcr.training.stages",
        "dcr.training.views",
        "dcr.models.backbones",
        "dcr.models.diffusion",
    )
