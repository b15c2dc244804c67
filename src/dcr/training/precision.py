"""The numbers that a run computes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from dcr.training.unet.gates import split_gates
from dcr.training.unet.upsampling import fold_upsampling

if TYPE_CHECKING:
    from dcr.models.diffusion import Diffusion
    from dcr.parameters.training.parts import Execution

_CAST_BY_AUTOCAST = (nn.Linear, nn.Conv2d)
WEIGHT_DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return the context where float32 modules compute in ``dtype`` on ``device``."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


class Precision:
    """Tower and UNet in the run's precision, losses in float32.

    In fp16 losses are scaled on their way back.

    Args:
        mixed_precision: ``no`` (float32), ``bf16`` or ``fp16``.
        device: where the run computes.
        num_parts: micro-steps of an optimizer step, over which gradients are averaged.

    Attributes:
        scaler: of losses and gradients; a checkpoint keeps its state.
    """

    def __init__(self, mixed_precision: str, device: torch.device, num_parts: int = 1) -> None:
        self.scaler = torch.amp.GradScaler(device.type, enabled=mixed_precision == "fp16")
        self._dtype = WEIGHT_DTYPES[mixed_precision]
        self._device = device
        self._num_parts = num_parts

    def autocast(self) -> torch.autocast:
        """Return the context where float32 modules compute in the run's precision."""
        return autocast(self._device, self._dtype)

    def encode(
        self, model: nn.Module, pixels: torch.Tensor, features: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a model's image features (B, d) and projections (B, m), float32, of pixels.

        These are (B, 3, H, W) in [0, 1].

        Args:
            model: tower and projector, as `dcr.training.model.ConditionModel`.
            pixels: of images and views.
            features: theirs, (B, d), where they are known.
        """
        with self.autocast():
            found, projections = model(pixels, features)
        return found.float(), projections.float()

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a micro-step's loss, a scalar, to those of the optimizer step."""
        self.scaler.scale(loss / self._num_parts).backward()


def make_ready(
    diffusion: Diffusion, device: torch.device, mixed_precision: str, execution: Execution
) -> None:
    """Put the diffusion model on the device, in place, and its UNet into the run's precision.

    It is frozen as it was loaded. Its hashes are those of other weights from here on: take them
    before.

    Args:
        diffusion: in float32, or as an earlier job left it.
        device: where the job computes.
        mixed_precision: see `Precision`; VAE and text encoder stay in float32.
        execution: whether the UNet's upsampling is folded and its gates are split, whether it
            computes its blocks again in the backward pass, and whether its convolutions have
            channels last.
    """
    diffusion.to(device)
    if execution.folded_upsampling:
        fold_upsampling(diffusion.unet)  # before its weights are rounded
    if execution.split_gates:
        split_gates(diffusion.unet)
    if diffusion.dtype != WEIGHT_DTYPES[mixed_precision]:
        # torch's own `to`: diffusers' warns that casting is not loading
        nn.Module.to(diffusion.unet, WEIGHT_DTYPES[mixed_precision])
    if execution.channels_last:
        diffusion.unet.to(memory_format=torch.channels_last)
    if execution.gradient_checkpointing == "all":
        diffusion.unet.enable_gradient_checkpointing()


def cast_frozen(module: nn.Module, mixed_precision: str) -> None:
    """Put the frozen weights of linear layers and convolutions into the run's precision, in place.

    Autocast casts them in every pass, since it remembers those alone that train; cast once they
    give the same bits. Norms, embeddings and what trains stay in float32. What reads weights that
    are to be kept must have read them before.

    Args:
        module: computes under autocast of this precision from here on.
        mixed_precision: see `Precision`.
    """
    dtype = WEIGHT_DTYPES[mixed_precision]
    for layer in module.modules():
        if isinstance(layer, _CAST_BY_AUTOCAST):
            for parameter in layer.parameters(recurse=False):
                if not parameter.requires_grad:
                    parameter.data = parameter.data.to(dtype)
