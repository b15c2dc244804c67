"""One micro-step: a batch made, its loss computed by a method, its gradients left in the model."""

from __future__ import annotations

import logging
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D

from dcr.models.backbones import Backbone, transformer_blocks
from dcr.models.diffusion import Diffusion
from dcr.parameters.training.parts import Loss
from dcr.seeds import derive_seed
from dcr.training.batches import Augmentation, Batch, make_batch
from dcr.training.contrast import Contrast
from dcr.training.distributed.processes import Processes
from dcr.training.model import ConditionModel
from dcr.training.objectives import OBJECTIVES, Objective
from dcr.training.precision import Precision
from dcr.training.runs import Run
from dcr.training.unet.predictor import Predictor

# Of one kind of block: some fifteen shapes of weights in the UNet, each for the first size of a
# chunk and then for all others.
_MAX_GRAPHS = 64
_log = logging.getLogger(__name__)


class MicroStep:
    """Computes gradients of a run's loss, in the run's precision; the loss itself is float32.

    Args:
        model: image tower and projector; whatever in it requires a gradient gets one.
        diffusion: frozen, its UNet in the run's precision; see `dcr.training.precision.make_ready`.
        augmentation: makes the positive views.
        run: whose numbers hold, of its loss and of how batches are drawn.
        contrast: what the run contrasts by.
        processes: that train together; each has ``train_batch_size`` samples of its own.
        base: the encoder as it was before training, where the loss pulls towards its embeddings or
            asks it for neighbours.

    Attributes:
        knows_features: whether batches bring what the frozen tower says of their images.
        may_recompute_tower: whether memory is to decide about `recompute_tower`.
    """

    def __init__(
        self,
        model: ConditionModel,
        diffusion: Diffusion,
        augmentation: Augmentation,
        run: Run,
        contrast: Contrast,
        processes: Processes,
        base: Backbone | None = None,
    ) -> None:
        self.model = model
        self.diffusion = diffusion
        self.augmentation = augmentation
        self.run = run
        self.contrast = contrast
        self.processes = processes
        self.base = base
        self.knows_features = False
        asked = run.parameters.execution.gradient_checkpointing
        # What a sharded model leaves free is known only once its weights are sharded.
        is_open = asked == "auto" and not run.is_sharded
        self.may_recompute_tower = is_open and any(
            parameter.requires_grad for parameter in model.tower.parameters()
        )
        if asked != "none" and not is_open:
            self.recompute_tower()
        self.precision = Precision(
            run.parameters.mixed_precision,
            diffusion.device,
            run.stage.gradient_accumulation_steps,
        )
        self.predict = Predictor(
            diffusion, *_exact_savings(run), run.parameters.takes("prompt_mask")
        )
        self.objective = self.build_objective(run.objective, run.loss, contrast)

    def __call__(
        self, collated: dict[str, Any], number: int, rows_per_chunk: int
    ) -> tuple[dict[str, float], Batch]:
        """Add micro-step ``number``'s gradients to the model's; return losses and its batch.

        The gradients are those of this process.
        """
        self.seed_dropout(number)
        batch = make_batch(
            collated,
            self.diffusion,
            self.augmentation,
            self.run.seed,
            number,
            self.processes,
            self.run.parameters.batches,
            self.run.parameters.published,
        )
        if self.base:
            self._ask(self.base, batch)
        return self.objective.step(batch, rows_per_chunk), batch

    def build_objective(self, name: str, loss: Loss, contrast: Contrast) -> Objective:
        """Return an objective on this model, the run's own or another one to measure by.

        Args:
            name: ``dcr``, ``naive`` or ``reconstruction``.
            loss: its weights and temperature.
            contrast: what it contrasts by.
        """
        return OBJECTIVES[name](
            loss, contrast, self.model, self.predict, self.precision, self.processes
        )

    def recompute_tower(self) -> None:
        """From now on compute the image tower's blocks again in the backward pass."""
        self.may_recompute_tower = False
        self.model.backbone.enable_gradient_checkpointing()

    def compile_blocks(self) -> None:
        """Compile the blocks of tower and UNet, where time and memory go, in place.

        All blocks of a kind are one function to PyTorch, which compiles it once a shape: for every
        width of the UNet and size of a chunk (whole, the last, of diagnostics, of held-out images).
        Beyond its limit it would give up and run the rest uncompiled, those of later runs in this
        process too. Of a transformer block of the UNet that is computed in part once a row, which
        saves more, the feed-forward layers alone are compiled; residual blocks of which a row
        shares anything are not.

        CUDA graphs are made of the UNet's blocks alone: gradients of the tower's weights gather
        over micro-steps, in memory that a graph would write over.
        """
        torch.compiler.reset()  # the graphs of runs before
        torch._dynamo.config.recompile_limit = _MAX_GRAPHS
        for block in transformer_blocks(self.model.tower):
            block.compile()
        unet = self.diffusion.unet
        mode = None
        if self.run.parameters.execution.cuda_graphs:
            mode = "reduce-overhead"
            # What graphs return holds until the UNet's next call. A second hook changes nothing.
            unet.register_forward_pre_hook(_begin_graphs)
        shared = self.predict.shared_modules()
        for block in unet.modules():
            is_whole = shared.isdisjoint(block.modules())
            if isinstance(block, BasicTransformerBlock):
                part = block if is_whole else block.ff
                part.compile(mode=mode)
            elif isinstance(block, ResnetBlock2D) and is_whole:
                block.compile(mode=mode)

    @property
    def is_plain_contrast(self) -> bool:
        """Whether DCR's loss is its contrast and nothing else."""
        return self.contrast.is_plain(self.run.loss) and not self.run.parameters.batches.snr_gamma

    @torch.no_grad()
    def _ask(self, base: Backbone, batch: Batch) -> None:
        """Put what the base encoder says of the images into the batch."""
        with self.precision.autocast():
            own = base.encode_image(batch.pixels).float()
            if self.contrast.resampler:
                views = base.encode_image(batch.view_pixels[: len(batch.pixels)]).float()
                batch.clip_features = own, views
        if self.run.loss.base_embedding_weight:
            batch.base_features = own

    def seed_dropout(self, number: int) -> None:
        """Seed LoRA's dropout, of the global stream, by the micro-step's ``number`` and rank."""
        others = [self.processes.rank] if self.processes.rank else []
        torch.manual_seed(derive_seed(self.run.seed, "dropout", number, *others))


def _begin_graphs(*_: object) -> None:
    torch.compiler.cudagraph_mark_step_begin()


def _exact_savings(run: Run) -> tuple[bool, bool]:
    """Return whether the empty prompt's keys and values are constant, and the prefix shared.

    They are as far as they can be. Both stand in the UNet during the forward pass alone: what is
    computed again in the backward pass misses them. Folded upsampling is part of the UNet itself.
    """
    asked = run.parameters.execution.constant_prompt, run.parameters.execution.shared_prefix
    if run.parameters.execution.gradient_checkpointing != "all" or not any(asked):
        return asked
    _log.info(
        "%s: gradient checkpointing leaves no place for constant_prompt and shared_prefix.",
        run.name,
    )
    return False, False
