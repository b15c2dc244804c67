"""One micro-step: a batch made, its loss computed by a method, its gradients left in the model."""

from __future__ import annotations

import logging
from typing import Any

import torch

from dcr.backbones import Backbone, transformer_blocks
from dcr.diffusion import Diffusion
from dcr.seeds import derive_seed
from dcr.training.batches import Augmentation, Batch, BatchOptions, make_batch
from dcr.training.model import ConditionModel
from dcr.training.objectives import OBJECTIVES, ObjectiveOptions
from dcr.training.predictor import Predictor
from dcr.training.processes import Processes
from dcr.training.run import WEIGHT_DTYPES, RunOptions

_log = logging.getLogger(__name__)


class MicroStep:
    """Computes gradients of a run's loss, in the run's precision; the loss itself is float32.

    Args:
        model: image tower and projector; whatever in it requires a gradient gets one.
        diffusion: frozen; its UNet is cast to the run's precision.
        augmentation: makes the positive views.
        run, options, batches: numbers of the run, of its loss, and of how batches are drawn.
        processes: that train together; each has ``train_batch_size`` samples of its own.
        base: the encoder as it was before training, where the loss pulls towards its embeddings or asks it for
            neighbours.
    """

    def __init__(
        self,
        model: ConditionModel,
        diffusion: Diffusion,
        augmentation: Augmentation,
        run: RunOptions,
        options: ObjectiveOptions,
        batches: BatchOptions,
        processes: Processes,
        base: Backbone | None = None,
    ) -> None:
        self.model, self.diffusion, self.augmentation, self.run = model, diffusion, augmentation, run
        self.options, self.batches, self.processes, self.base = options, batches, processes, base
        self.scaler = torch.amp.GradScaler(diffusion.device.type, enabled=run.mixed_precision == "fp16")
        if diffusion.dtype != WEIGHT_DTYPES[run.mixed_precision]:
            diffusion.unet.to(WEIGHT_DTYPES[run.mixed_precision])
        if run.gradient_checkpointing != "none":
            model.backbone.enable_gradient_checkpointing()
        if run.gradient_checkpointing == "all":
            diffusion.unet.enable_gradient_checkpointing()
        self.predict = Predictor(diffusion, *_exact_savings(run), run.published_prompt_mask)

    def __call__(self, collated: dict[str, Any], number: int) -> tuple[dict[str, float], Batch]:
        """Add this process's gradients of micro-step ``number`` to the model's; return losses and what was seen."""
        self.seed_dropout(number)
        batch = make_batch(
            collated, self.diffusion, self.augmentation, self.run.seed, number, self.processes, self.batches
        )
        if self.base:
            self._ask_base(batch)
        return self.compute_gradients(self.run.objective, batch, self.options), batch

    def compile_blocks(self) -> None:
        """Compile the transformer blocks of tower and UNet, where the time goes, in place."""
        for block in transformer_blocks(self.model.tower):
            block.compile()
        self.diffusion.unet.compile_repeated_blocks()

    @property
    def is_plain_contrast(self) -> bool:
        """Whether DCR's loss is its contrast and nothing else."""
        return self.options.is_plain_contrast and not self.batches.snr_gamma

    def compute_gradients(self, objective: str, batch: Batch, options: ObjectiveOptions) -> dict[str, float]:
        """Add the gradients of an objective on a batch to the model's; return its losses."""
        return OBJECTIVES[objective](self.encode, self.predict, batch, options, self._backward, self.processes)

    @torch.no_grad()
    def _ask_base(self, batch: Batch) -> None:
        with self._autocast():
            own = self.base.encode_image(batch.pixels).float()
            if self.options.contrast.resampler:
                views = self.base.encode_image(batch.view_pixels[: len(batch.pixels)]).float()
                batch.clip_features = own, views
        if self.options.base_embedding_weight:
            batch.base_features = own

    def encode(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return image features and projections, float32, computed in the run's precision."""
        with self._autocast():
            features, projections = self.model(pixels)
        return features.float(), projections.float()

    def _autocast(self) -> torch.autocast:
        dtype = WEIGHT_DTYPES[self.run.mixed_precision]
        return torch.autocast(self.diffusion.device.type, dtype, enabled=dtype != torch.float32)

    def _backward(self, loss: torch.Tensor) -> None:
        self.scaler.scale(loss / self.run.gradient_accumulation_steps).backward()

    def seed_dropout(self, number: int) -> None:
        """LoRA's dropout draws from the global stream: seed it by the step, and apart in every process."""
        others = [self.processes.rank] if self.processes.rank else []
        torch.manual_seed(derive_seed(self.run.seed, "dropout", number, *others))


def _exact_savings(run: RunOptions) -> tuple[bool, bool]:
    """Return whether the empty prompt's keys and values are constant, and the prefix shared, as far as they can be.

    Both stand in the UNet during the forward pass alone: what is computed again in the backward pass misses them, and
    compiled blocks do not see that their modules are replaced.
    """
    asked = run.constant_prompt, run.shared_prefix
    checkpointed = run.gradient_checkpointing == "all"
    savings = (run.constant_prompt and not checkpointed, run.shared_prefix and not checkpointed and not run.compile)
    if savings != asked:
        _log.info("%s: gradient checkpointing and compile leave no place for all exact savings.", run.name)
    return savings
