"""The two steps that benchmarks/step.py compares: the published formulation, plainly written, and
the trainer's own.

Notation: B batch, m the UNet's cross-attention width, H x W image size, C x h x w latent shape.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from dcr import Projector
from dcr.data.views import ViewAugmentation
from dcr.devices import deterministic_algorithms
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from dcr.models.diffusion import Diffusion
from dcr.training.batches import Batch, make_batch
from dcr.training.contrast import build_contrast
from dcr.training.distributed.processes import Processes
from dcr.training.model import ConditionModel, add_lora
from dcr.training.precision import WEIGHT_DTYPES, cast_frozen, make_ready
from dcr.training.step import MicroStep

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from diffusion_models import scaled_down_diffusion
from full_size import full_size_diffusion
from training_world import parameters, run_of

VIEW = ViewAugmentation(0.1, 0.1, 0.1, 0.05, 0.5, 0.5, (0.9, 1.0), (0.9, 1.1))
TEMPERATURE = 0.1


@dataclass(frozen=True)
class Setting:
    """What is measured: models ``full`` or ``small``, precision ``no`` or ``bf16``; see
    `main`'s options. Further values are the trainer's alone.
    """

    device: str
    models: str
    batch_size: int
    image_size: int
    rows_per_chunk: int
    compile: bool
    mixed_precision: str
    gradient_checkpointing: str
    constant_prompt: bool = True
    shared_prefix: bool = True
    folded_upsampling: bool = True
    split_gates: bool = False
    channels_last: bool = False
    cuda_graphs: bool = False
    deterministic: bool = False


def build_models(setting: Setting) -> tuple[ConditionModel, Diffusion]:
    """Return a tower with LoRA as published, a projector and a diffusion model, the same random
    weights every time.
    """
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        build = full_size_diffusion if setting.models == "full" else scaled_down_diffusion
        diffusion = build(Path(folder))
    backbone = OpenClipBackbone.build(tower_config(setting))
    backbone.model.requires_grad_(False)
    add_lora(backbone, parameters().tuning.lora)
    width = diffusion.unet.config.cross_attention_dim
    projector = Projector(backbone.embed_dim, width).requires_grad_(False)
    model = ConditionModel(backbone, projector)
    for parameter in model.trainable().values():
        # LoRA's factor B starts at 0, which leaves A without gradient.
        torch.nn.init.normal_(parameter, std=0.02)
    return model.to(setting.device), diffusion.to(setting.device)


def tower_config(setting: Setting) -> dict[str, Any]:
    """Return open_clip's configuration of ViT-L/14, or of a small tower, at the image size."""
    if setting.models == "full":
        config = open_clip.get_model_config("ViT-L-14-quickgelu")
        return config | {"vision_cfg": config["vision_cfg"] | {"image_size": setting.image_size}}
    vision = {
        "image_size": setting.image_size,
        "patch_size": 16,
        "width": 128,
        "layers": 4,
        "head_width": 32,
    }
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    return {"embed_dim": 64, "vision_cfg": vision, "text_cfg": text}


def draw_samples(setting: Setting, diffusion: Diffusion) -> dict[str, Any]:
    """Return what the loader would: random crops, and moments as the VAE gives them for noise."""
    generator, size = torch.Generator().manual_seed(1), setting.image_size
    crops = torch.randint(
        256, (setting.batch_size, size, size, 3), generator=generator, dtype=torch.uint8
    )
    side = size // 2 ** (len(diffusion.vae.config.block_out_channels) - 1)
    mean = torch.randn(
        setting.batch_size, diffusion.unet.config.in_channels, side, side, generator=generator
    )
    keys = [str(number) for number in range(setting.batch_size)]
    return {"keys": keys, "crops": crops, "moments": torch.cat([mean, mean - 10], dim=1)}


class Step:
    """A step on models of its own. What is timed is calling it; ``run`` and
    ``compute_gradients`` are its own.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.model, self.diffusion = build_models(setting)
        self.collated = draw_samples(setting, self.diffusion)

    def __call__(self, number: int) -> None:
        """Take step ``number``, from samples as the loader gives them to gradients in the model."""
        self.model.zero_grad(set_to_none=True)
        self.run(number)

    def compare(self, size: int) -> tuple[float, torch.Tensor]:
        """Return loss and gradient of the first ``size`` samples as one fixed batch, in float32
        without dropout.
        """
        self.model.eval().zero_grad(set_to_none=True)
        samples = {name: values[:size] for name, values in self.collated.items()}
        loss = self.compute_gradients(make_batch(samples, self.diffusion, VIEW, 0, 0))
        return loss, torch.cat([p.grad.flatten() for p in self.model.trainable().values()]).cpu()

    def prepare(self) -> None:
        """Go over to the precision that is measured, and to training."""
        self.model.train()

    def run(self, number: int) -> None:
        """Make a batch and compute its gradients."""
        raise NotImplementedError

    def compute_gradients(self, batch: Batch) -> float:
        """Leave the gradients of the DCR loss in the model; return the loss."""
        raise NotImplementedError


class PlainStep(Step):
    """The published formulation: VAE and empty prompt encoded, views made image by image on the
    CPU, one B x B grid.
    """

    dtype = torch.float32

    def prepare(self) -> None:
        super().prepare()
        self.dtype = WEIGHT_DTYPES[self.setting.mixed_precision]
        for part in (self.diffusion.unet, self.diffusion.vae, self.diffusion.text_encoder):
            if part.dtype != self.dtype:
                part.to(self.dtype)
        crop = v2.RandomResizedCrop(self.setting.image_size, VIEW.scale, VIEW.ratio, antialias=True)
        jitter = v2.ColorJitter(VIEW.brightness, VIEW.contrast, VIEW.saturation, VIEW.hue)
        flips = (
            v2.RandomHorizontalFlip(VIEW.horizontal_flip),
            v2.RandomVerticalFlip(VIEW.vertical_flip),
        )
        self.augment = v2.Compose([jitter, *flips, crop])

    def run(self, number: int) -> None:
        diffusion, device = self.diffusion, self.setting.device
        images = self.collated["crops"].permute(0, 3, 1, 2) / 255
        views = torch.stack([self.augment(image) for image in images]).to(device)
        pixels = images.to(device)
        mean, log_variance = (part.float() for part in diffusion.encode_moments(pixels))
        latents = diffusion.scale_latents(
            mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        )
        noise = torch.randn_like(latents)
        timesteps = torch.randint(diffusion.num_timesteps, (len(latents),), device=device)
        noisy, targets = (
            f(latents, noise, timesteps) for f in (diffusion.add_noise, diffusion.target)
        )
        self.compute_gradients(Batch([], pixels, views, noisy, targets, timesteps))

    def compute_gradients(self, batch: Batch) -> float:
        size = len(batch.pixels)
        empty = self.diffusion.encode_prompts([""])
        with torch.autocast(self.setting.device, self.dtype, enabled=self.dtype != torch.float32):
            conditions, view_conditions = (
                self.model(p)[1] for p in (batch.pixels, batch.view_pixels)
            )
        # Both are (B, T, m).
        own, of_views = (empty + c.float()[:, None] for c in (conditions, view_conditions))
        noisy, timesteps = (
            t.repeat_interleave(size, 0) for t in (batch.noisy_latents, batch.timesteps)
        )
        grid = self.diffusion.predict(noisy, timesteps, own.repeat(size, 1, 1)).unflatten(
            0, (size, size)
        )
        views = self.diffusion.predict(batch.noisy_latents, batch.timesteps, of_views)
        loss = published_loss(grid, views, batch.targets)
        loss.backward()
        return loss.item()


def published_loss(grid: torch.Tensor, views: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the DCR loss of predictions (B, B, C, h, w), (B, C, h, w), and targets, as its
    formula stands.
    """
    grid, views, targets = grid.float().flatten(2), views.float().flatten(1), targets.flatten(1)
    anchors = grid.diagonal().T  # (B, C * h * w)
    of_views, of_targets = (F.cosine_similarity(anchors, p) / TEMPERATURE for p in (views, targets))
    others = ~torch.eye(len(grid), dtype=torch.bool, device=grid.device)
    of_grid = F.cosine_similarity(anchors[:, None], grid, dim=-1) / TEMPERATURE
    denominators = of_views.exp() + of_targets.exp() + (of_grid.exp() * others).sum(dim=1)
    return (
        -0.5
        * ((of_views.exp() / denominators).log() + (of_targets.exp() / denominators).log()).mean()
    )


class TrainerStep(Step):
    """The trainer's own micro-step: cached moments, batched views, row by row, with all exact
    savings.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.micro_step = self.build("no", "none")
        if setting.compile:
            self.micro_step.compile_blocks()

    def build(self, mixed_precision: str, gradient_checkpointing: str) -> MicroStep:
        """Return the trainer's micro-step on these models."""
        numbers = {
            "mixed_precision": mixed_precision,
            "compile": self.setting.compile,
            "stage2.train_batch_size": self.setting.batch_size,
            "loss.temperature": TEMPERATURE,
            "monitoring.contrast_diagnostics": False,
            "execution.constant_prompt": self.setting.constant_prompt,
            "execution.shared_prefix": self.setting.shared_prefix,
            "execution.folded_upsampling": self.setting.folded_upsampling,
            "execution.split_gates": self.setting.split_gates,
            "execution.rows_per_chunk": self.setting.rows_per_chunk,
            "execution.gradient_checkpointing": gradient_checkpointing,
            "execution.channels_last": self.setting.channels_last,
            "execution.cuda_graphs": self.setting.cuda_graphs,
        }
        run = run_of(parameters(**numbers), "dcr")
        processes = Processes(0, 1, torch.device(self.setting.device))
        make_ready(self.diffusion, processes.device, mixed_precision, run.parameters.execution)
        return MicroStep(self.model, self.diffusion, VIEW, run, build_contrast(run), processes)

    def algorithms(self) -> AbstractContextManager[None]:
        """Return the context in which the step computes."""
        return deterministic_algorithms(self.setting.deterministic)

    def prepare(self) -> None:
        super().prepare()
        cast_frozen(self.model, self.setting.mixed_precision)
        self.micro_step = self.build(
            self.setting.mixed_precision, self.setting.gradient_checkpointing
        )

    def run(self, number: int) -> None:
        self.micro_step(self.collated, number, self.setting.rows_per_chunk)

    def compute_gradients(self, batch: Batch) -> float:
        return self.micro_step.objective.step(batch, self.setting.rows_per_chunk)["loss"]
