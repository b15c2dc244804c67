"""The two stages: the projector with the tower frozen, then LoRA on the tower with the projector frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dcr.backbones import Backbone
from dcr.diffusion import Diffusion
from dcr.errors import UserError
from dcr.latents import LatentCache
from dcr.projector import Projector
from dcr.seeds import derive_seed
from dcr.training.batches import Augmentation, BatchOptions
from dcr.training.checkpoints import Checkpoints
from dcr.training.data import split_positions
from dcr.training.model import ConditionModel, LoraOptions, adapter_state, add_lora, freeze_for_stage1
from dcr.training.objectives import ObjectiveOptions
from dcr.training.processes import Processes, alone
from dcr.training.run import RunOptions, RunResult
from dcr.training.step import MicroStep
from dcr.training.trainer import Trainer
from dcr.training.validation import HeldOutNoise


@dataclass
class Data:
    """What both stages read: cached latents, split by key, and a fixed held-out measurement."""

    latents: LatentCache
    positions: list[int]
    held_out: HeldOutNoise
    augmentation: Augmentation
    batches: BatchOptions

    @classmethod
    def open(
        cls,
        latents: LatentCache,
        diffusion: Diffusion,
        augmentation: Augmentation,
        validation_fraction: float,
        num_validation_samples: int,
        seed: int,
        batches: BatchOptions | None = None,
        mask_padding: bool = False,
    ) -> Data:
        """Split the samples and fix the held-out noise.

        Raises:
            UserError: the fraction leaves no sample on one side.
        """
        positions, held_out = split_positions(latents, validation_fraction)
        if not positions or not held_out:
            raise UserError(
                f"validation_fraction {validation_fraction} of {len(latents)} samples leaves {len(positions)} to train "
                f"on and {len(held_out)} held out; both need at least one: change it or bring more data"
            )
        noise = HeldOutNoise(latents, held_out, diffusion, augmentation, seed, num_validation_samples, 64, mask_padding)
        return cls(latents, positions, noise, augmentation, batches or BatchOptions())


def train_projector(
    backbone: Backbone,
    diffusion: Diffusion,
    data: Data,
    run: RunOptions,
    options: ObjectiveOptions,
    processes: Processes | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[Projector, RunResult, dict[str, float]]:
    """Stage 1. Return the projector, its run, and held-out noise errors under several conditions."""
    torch.manual_seed(derive_seed(run.seed, "projector"))
    projector = Projector(backbone.embed_dim, diffusion.unet.config.cross_attention_dim)
    model = ConditionModel(backbone, projector).to(diffusion.device)
    freeze_for_stage1(model)
    errors = {"empty_prompt": data.held_out.empty_prompt(), "before": data.held_out.model(model)}
    result = _fit(model, diffusion, data, run, options, processes, checkpoints)
    errors |= {"after": data.held_out.model(model), "wrong_image": data.held_out.wrong_image(model)}
    return projector, result, errors


def train_adapter(
    backbone: Backbone,
    diffusion: Diffusion,
    projector_state: dict[str, torch.Tensor],
    data: Data,
    run: RunOptions,
    options: ObjectiveOptions,
    lora: LoraOptions,
    processes: Processes | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[dict[str, torch.Tensor], RunResult]:
    """Stage 2. Return the adapter's weights in PEFT's names, and the run. ``backbone`` is changed in place."""
    projector = load_projector(projector_state).to(diffusion.device).requires_grad_(False)
    model = ConditionModel(backbone, projector).to(diffusion.device).requires_grad_(False)
    torch.manual_seed(derive_seed(run.seed, "lora", run.name))
    add_lora(backbone, lora)
    result = _fit(model, diffusion, data, run, options, processes, checkpoints)
    return adapter_state(backbone), result


def _fit(
    model: ConditionModel,
    diffusion: Diffusion,
    data: Data,
    run: RunOptions,
    options: ObjectiveOptions,
    processes: Processes | None,
    checkpoints: Checkpoints | None,
) -> RunResult:
    micro_step = MicroStep(model, diffusion, data.augmentation, run, options, data.batches, processes or alone())
    return Trainer(micro_step, data.latents, data.positions, lambda: data.held_out.model(model), checkpoints).fit()


def load_projector(state: dict[str, Any]) -> Projector:
    """Build a projector of the size its weights have.

    Raises:
        UserError: the weights are not a projector's.
    """
    try:
        out_features, in_features = state["1.weight"].shape
        projector = Projector(in_features, out_features)
        projector.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError) as exc:
        raise UserError(
            f"these weights are not a projector's ({exc}); train one with `kedro run --pipelines training`"
        ) from exc
    return projector.eval()
