"""The two stages: the projector with a frozen tower, then the reverse; or both at once."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from dcr.errors import UserError
from dcr.models.backbones import Backbone
from dcr.models.diffusion import Diffusion
from dcr.models.projector import (
    Projector,
    TokenProjector,
    build_projector,
    load_published_projector,
)
from dcr.parameters.training.parts import Tuning
from dcr.seeds import derive_seed
from dcr.training.guards import check_errors
from dcr.training.model import (
    ConditionModel,
    freeze_for_stage1,
    frozen_copy,
    load_tower,
    merge_tower,
    prepare_tower,
    tower_state,
)
from dcr.training.runs import RunResult
from dcr.training.work import Work


def train_projector(
    backbone: Backbone, diffusion: Diffusion, work: Work, condition: str = "broadcast"
) -> tuple[Projector | TokenProjector, RunResult, dict[str, float]]:
    """Stage 1. Return the projector, its run, and held-out noise errors under several conditions.

    ``backbone`` and ``diffusion`` stay as they are, ``work`` is the run's, ``condition`` a kind of
    `build_projector`.
    """
    if work.run.parameters.mixed_precision != "no":
        backbone = frozen_copy(backbone)  # whose weights are cast for this run
    model = _untrained_projector(backbone, diffusion, work.run.seed, condition)
    freeze_for_stage1(model)
    held_out = work.data.held_out
    errors = {"empty_prompt": held_out.empty_prompt(), "before": held_out.model(model)}
    result = work.fit(model, diffusion)
    errors |= {"after": held_out.model(model), "wrong_image": held_out.wrong_image(model)}
    check_errors(work.run.name, errors)
    return model.projector, result, errors


def import_projector(
    backbone: Backbone, diffusion: Diffusion, work: Work, path: str
) -> tuple[Projector | TokenProjector, RunResult, dict[str, float]]:
    """Take stage 1's projector from a file; return what `train_projector` does.

    The run has no steps.

    Args:
        backbone, diffusion: whose widths the projector must have.
        work: data to measure on, and the seed of the projector that the file's is measured against.
        path: see `load_published_projector`.

    Raises:
        UserError: the file is no projector's, or one of other sizes.
    """
    model = _untrained_projector(backbone, diffusion, work.run.seed, "broadcast")
    held_out = work.data.held_out
    own = model.projector.state_dict()
    errors = {"empty_prompt": held_out.empty_prompt(), "before": held_out.model(model)}
    state = load_published_projector(path)
    if any(state[name].shape != own[name].shape for name in own):
        sizes = "{} to {}".format(*reversed(state["1.weight"].shape))
        raise UserError(
            f"stage1.projector_file {path} projects {sizes}, but {backbone.source} and the"
            f" diffusion model need {backbone.embed_dim} to {len(own['3.bias'])}: it was trained on"
            " others"
        )
    model.projector.load_state_dict(state)
    errors |= {"after": held_out.model(model), "wrong_image": held_out.wrong_image(model)}
    check_errors(work.run.name, errors)
    return model.projector, RunResult(pd.DataFrame(), 0, 0, 0.0, 0.0, 0), errors


def train_adapter(
    backbone: Backbone,
    diffusion: Diffusion,
    projector_state: dict[str, torch.Tensor],
    work: Work,
    tuning: Tuning,
    start: dict[str, torch.Tensor] | None = None,
) -> tuple[dict[str, torch.Tensor], RunResult]:
    """Train stage 2, or a phase of it; return the tower's trained weights and the run.

    ``backbone`` is changed in place.

    Args:
        diffusion, projector_state: what the tower is trained through, both frozen.
        work, tuning: data and numbers of the run, and what of the tower trains.
        start: the trained weights that the phase before left, by which it goes on; None for the
            first.
    """
    projector = load_projector(projector_state).to(diffusion.device)
    model = ConditionModel(backbone, projector).to(diffusion.device).requires_grad_(False)
    # By the objective, as flat methods are called: whatever method a first phase is of, it begins
    # alike.
    return _train_tower(model, diffusion, work, tuning, work.run.objective, start)


def train_end_to_end(
    backbone: Backbone,
    diffusion: Diffusion,
    work: Work,
    tuning: Tuning,
    condition: str = "broadcast",
) -> tuple[dict[str, torch.Tensor], RunResult, Projector | TokenProjector]:
    """Train both stages at once, from stage 1's start; return the trained projector as well.

    ``backbone``, ``diffusion``, ``work`` and ``tuning`` as in `train_adapter`, ``condition`` as in
    `train_projector`.
    """
    model = _untrained_projector(backbone, diffusion, work.run.seed, condition)
    model.requires_grad_(False).projector.requires_grad_(True)
    state, result = _train_tower(model, diffusion, work, tuning, "end_to_end")
    return state, result, model.projector


def _train_tower(
    model: ConditionModel,
    diffusion: Diffusion,
    work: Work,
    tuning: Tuning,
    purpose: str,
    start: dict[str, torch.Tensor] | None = None,
) -> tuple[dict[str, torch.Tensor], RunResult]:
    """Train the tower, whose first adapter is drawn for ``purpose``, or from ``start``."""
    base = (
        _find_base(model.backbone, work.run.loss.pull_to, tuning, start)
        if work.contrast.asks_base(work.run.loss)
        else None
    )
    torch.manual_seed(derive_seed(work.run.seed, "lora", purpose))
    prepare_tower(model.backbone, tuning)
    if start is not None:
        load_tower(model.backbone, tuning, start)
    result = work.fit(model, diffusion, base)
    return tower_state(model.backbone, tuning), result


def _find_base(
    backbone: Backbone,
    pull_to: str,
    tuning: Tuning,
    start: dict[str, torch.Tensor] | None,
) -> Backbone:
    """Return a frozen copy of the tower that the loss pulls to.

    It is that of before stage 2, or as the phase found it.
    """
    base = frozen_copy(backbone)
    if pull_to == "phase" and start is not None:
        merge_tower(base, tuning, start)
        base.model.requires_grad_(False).eval()
    return base


def _untrained_projector(
    backbone: Backbone, diffusion: Diffusion, seed: int, condition: str
) -> ConditionModel:
    torch.manual_seed(derive_seed(seed, "projector"))
    projector = build_projector(backbone, diffusion.unet.config.cross_attention_dim, condition)
    return ConditionModel(backbone, projector).to(diffusion.device)


def load_projector(state: dict[str, Any]) -> Projector | TokenProjector:
    """Build a projector of the kind and size that its weights, ``state``, have.

    Raises:
        UserError: the weights are not a projector's.
    """
    projector: Projector | TokenProjector
    try:
        if "patches.1.weight" in state:
            out_features, embed_dim = state["embedding.1.weight"].shape
            projector = TokenProjector(embed_dim, state["patches.1.weight"].shape[1], out_features)
        else:
            out_features, in_features = state["1.weight"].shape
            projector = Projector(in_features, out_features)
        projector.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError) as exc:
        raise UserError(
            f"these weights are not a projector's ({exc}); train one with `kedro run --pipelines"
            " training`"
        ) from exc
    return projector.eval()
