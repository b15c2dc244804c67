"""The steps of a recipe's runs, built as the trainer builds them, and measured before any data."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from dcr.models.backbones import Backbone
from dcr.models.projector import build_projector
from dcr.planning.outlines import Outlines
from dcr.training.contrast import build_contrast
from dcr.training.cost import Cost, Plan, fits_whole, measure_image, measure_pair, plan
from dcr.training.counting import count
from dcr.training.distributed.processes import Processes
from dcr.training.memory import MEMORY_SHARE
from dcr.training.model import ConditionModel, freeze_for_stage1, prepare_tower
from dcr.training.precision import cast_frozen, make_ready
from dcr.training.runs import END_TO_END, STAGE1, Run
from dcr.training.step import MicroStep
from dcr.training.views import view_augmentation

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Step:
    """A run's step, of which nothing but shapes is known.

    Attributes:
        micro_step: of the run.
        cost: of one image and of one pair.
        trainable: what of the parameters that train this process has, by name.
        weight_bytes: of all models that the process keeps beside the step.
        keeping: the same with the tower's blocks kept, where memory is to decide, else None.
    """

    micro_step: MicroStep
    cost: Cost
    trainable: dict[str, torch.Tensor]
    weight_bytes: int
    keeping: Step | None = None

    @property
    def run(self) -> Run:
        """The run that this is a step of."""
        return self.micro_step.run

    def with_numbers(self, rows: int, batch_size: int | None = None) -> Step:
        """Return the step with other numbers of rows and images.

        Args:
            rows: ``rows_per_chunk``.
            batch_size: ``train_batch_size`` of both stages; None for the run's own.
        """
        p = self.run.parameters
        execution = p.execution.model_copy(update={"rows_per_chunk": rows})
        changes: dict[str, object] = {"execution": execution}
        if batch_size is not None:
            size = {"train_batch_size": batch_size}
            changes |= {name: getattr(p, name).model_copy(update=size) for name in _STAGES}
        keeping = self.keeping and self.keeping.with_numbers(rows, batch_size)
        micro_step = _of_run(self.micro_step, _changed(self.run, changes))
        return replace(self, micro_step=micro_step, keeping=keeping)

    def plan(self, memory: int | None = None) -> Plan:
        """Return what the step costs, by the trainer's own arithmetic.

        Args:
            memory: bytes of the card, by which rows are found where the run leaves them open.
        """
        if self.keeping and memory is not None and self.keeps_tower(memory):
            return self.keeping.plan(memory)
        free = None if memory is None else max(0, memory - self.weight_bytes)
        return plan(self.micro_step, self.cost, self.trainable, free)

    def keeps_tower(self, memory: int) -> bool:
        """Tell whether ``memory`` bytes let the tower's blocks be kept, by the trainer's rule."""
        kept, free = self.keeping, max(0, memory - self.weight_bytes)
        return kept is not None and fits_whole(kept.micro_step, kept.plan(memory), free)

    def fits(self, planned: Plan, memory: int) -> bool:
        """Tell whether the step as ``planned`` fits in ``memory`` bytes, by the trainer's rule."""
        return planned.step_bytes <= MEMORY_SHARE * (memory - self.weight_bytes)


_STAGES = ("stage1", "stage2")


class Steps:
    """Measures the steps of a recipe's runs; what is alike is measured once.

    Args:
        models: that the recipe trains and trains by.

    Attributes:
        flops_of_image: of the VAE's encoder and of the image tower for one image, without gradient;
            known once a step was measured.
    """

    flops_of_image: tuple[int, int]

    def __init__(self, models: Outlines) -> None:
        self._models = models
        self._images: dict[str, dict[str, int]] = {}
        self._pairs: dict[str, dict[str, int]] = {}
        self._made: dict[str, Step] = {}

    def of(self, run: Run) -> Step:
        """Return the step of ``run``."""
        if run.parameters.execution.gradient_checkpointing == "auto":
            keeping = None if run.is_sharded or run.method == STAGE1 else self._set(run, "none")
            again = self._set(run, "tower")
            return replace(again, micro_step=_of_run(again.micro_step, run), keeping=keeping)
        image, pair = _keys(run)
        if image + pair not in self._made:
            with self._models.opened():
                self._made[image + pair] = self._measure(run, image, pair)
        made = self._made[image + pair]
        return replace(made, micro_step=_of_run(made.micro_step, run))

    def _set(self, run: Run, checkpointing: str) -> Step:
        execution = run.parameters.execution
        changed = execution.model_copy(update={"gradient_checkpointing": checkpointing})
        return self.of(_changed(run, {"execution": changed}))

    @property
    def _any(self) -> MicroStep:
        """A step that has been measured, whose models all others have too."""
        return next(iter(self._made.values())).micro_step

    @property
    def image_size(self) -> int:
        """Side of the tower's input in pixels."""
        return self._any.model.backbone.image_size

    @property
    def vae(self) -> AutoencoderKL:
        """The VAE, of which the configuration counts."""
        return self._any.diffusion.vae

    @property
    def num_parameters(self) -> tuple[int, int]:
        """Numbers of parameters of the backbone, adapters included, and of the diffusion model."""
        step = self._any
        parts = (step.diffusion.unet, step.diffusion.vae, step.diffusion.text_encoder)
        return _num_parameters([step.model.backbone.model]), _num_parameters(parts)

    def _measure(self, run: Run, image: str, pair: str) -> Step:
        backbone = self._models.backbone()
        whole = _num_bytes([backbone.model])
        micro_step = self._build(run, backbone)
        size = backbone.image_size
        if not self._made:
            self.flops_of_image = _flops_of_image(micro_step, size)
        if image not in self._images:
            self._images[image] = measure_image(micro_step, size)
        if pair not in self._pairs:
            self._pairs[pair] = measure_pair(micro_step, size)
        trainable: dict[str, torch.Tensor] = {**micro_step.model.trainable()}
        if run.is_sharded:
            count = run.parameters.processes.count
            trainable = {name: p.detach()[: -(-len(p) // count)] for name, p in trainable.items()}
        is_copied = run.method != STAGE1 or run.parameters.mixed_precision != "no"
        kept = _step_bytes(micro_step) + is_copied * whole
        cost = Cost(**self._images[image], **self._pairs[pair])
        return Step(micro_step, cost, trainable, kept)

    def _build(self, run: Run, backbone: Backbone) -> MicroStep:
        """Return the run's micro-step, as `dcr.training.stages` and `dcr.training.work` have it."""
        p = run.parameters
        diffusion = self._models.diffusion()
        width = diffusion.unet.config.cross_attention_dim
        model = ConditionModel(backbone, build_projector(backbone, width, p.condition))
        contrast = build_contrast(run)
        base = self._models.backbone() if contrast.asks_base(run.loss) else None
        if run.method == STAGE1:
            freeze_for_stage1(model)
        else:
            model.requires_grad_(False).projector.requires_grad_(run.method == END_TO_END)
            prepare_tower(backbone, p.tuning)
        if base:
            base.model.requires_grad_(False)
        if not run.is_sharded:
            for module in (model, base.visual) if base else (model,):
                cast_frozen(module, p.mixed_precision)
        make_ready(diffusion, _CPU, p.mixed_precision, p.execution)
        processes = Processes(0, p.processes.count, _CPU)
        views = view_augmentation(p, backbone.preprocessing)
        micro_step = MicroStep(model, diffusion, views, run, contrast, processes, base)
        micro_step.model.train()
        return micro_step


def _keys(run: Run) -> tuple[str, str]:
    """Return what an image's cost depends on, and what a pair's does."""
    p = run.parameters
    own = run.method if run.method in (STAGE1, END_TO_END) else "stage2"
    asks_base = build_contrast(run).asks_base(run.loss)
    shared = (p.mixed_precision, p.condition, p.processes.count, p.takes("prompt_mask"))
    execution = p.execution
    image = (*shared, own, p.tuning, execution.gradient_checkpointing, asks_base, run.is_sharded)
    savings = (execution.constant_prompt, execution.shared_prefix, execution.folded_upsampling)
    recomputed = execution.gradient_checkpointing == "all"
    return str(image), str((*shared, *savings, recomputed, run.loss.negatives_gradient))


@torch.no_grad()
def _flops_of_image(step: MicroStep, size: int) -> tuple[int, int]:
    """Return the operations of the VAE's encoder and of the image tower for ``size`` pixels."""
    pixels = torch.zeros(1, 3, size, size)
    vae = count((), lambda _: step.diffusion.encode_moments(pixels), 1)
    tower = count((), lambda _: step.precision.encode(step.model, pixels), 1)
    return vae.num_flops, tower.num_flops


def _changed(run: Run, changes: dict[str, object]) -> Run:
    return replace(run, parameters=run.parameters.model_copy(update=changes))


def _of_run(micro_step: MicroStep, run: Run) -> MicroStep:
    """Return a step of the same models with another run's numbers."""
    changed = copy(micro_step)
    changed.run = run
    changed.contrast = build_contrast(run)
    return changed


def _step_bytes(micro_step: MicroStep) -> int:
    """Return the bytes of the weights that the step computes with, text towers among them."""
    model, diffusion = micro_step.model, micro_step.diffusion
    base = [micro_step.base.model] if micro_step.base else []
    parts = [diffusion.unet, diffusion.vae, diffusion.text_encoder]
    return _num_bytes([model.backbone.model, model.projector, *parts, *base])


def _num_parameters(modules: Iterable[nn.Module]) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def _num_bytes(modules: Iterable[nn.Module]) -> int:
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    return sum(t.numel() * t.element_size() for t in tensors)
