"""Crops to moments: the VAE in the precision asked for, else in float32 where that fails."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from dcr.devices import tell_slow_precision
from dcr.errors import UserError
from dcr.latents.options import LatentOptions

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

    from dcr.models.diffusion import Diffusion

PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# NumPy has no bfloat16: its bits are stored as unsigned integers.
STORED_DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}


class Launched(NamedTuple):
    """Crops whose raw moments, (N, 2C, h, w) on the CPU, are there once ``event`` is reached."""

    crops: torch.Tensor
    parameters: torch.Tensor
    event: torch.cuda.Event | None


class MomentsEncoder:
    """The VAE's encoder as a function from crops to moments that are finite or refused.

    The VAE given is not changed. ``num_upcast`` counts the crops that were encoded again in float32
    because a smaller precision gave values that are not finite, as VAEs made for float32 do in
    fp16.

    Args:
        vae: a diffusers autoencoder in float32.
        options: precision, memory layout, compilation and stored dtype are read.
        device: where it runs; by default where the VAE is.
    """

    def __init__(
        self, vae: AutoencoderKL, options: LatentOptions, device: torch.device | None = None
    ) -> None:
        device = device or next(vae.parameters()).device
        self.options = options
        self.device = device
        self.num_upcast = 0
        self._source = vae
        self._dtype = PRECISIONS[options.mixed_precision]
        tell_slow_precision(device, options.mixed_precision, "latents")
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        # torch's own `to`: diffusers' warns that casting is not loading.
        self._vae = torch.nn.Module.to(  # type: ignore[call-overload]  # the overloads lack it
            deepcopy(vae), device, self._dtype, memory_format=layout
        )
        self._exact: AutoencoderKL | None = None
        self._run = torch.compile(self._parameters) if options.compile else self._parameters

    def launch(self, crops: torch.Tensor) -> Launched:
        """Start encoding crops, uint8 (N, S, S, 3).

        On a CUDA device this returns before the work is done, so that the next batch can be
        prepared meanwhile.
        """
        count = len(crops)
        padded = crops
        if self.options.compile and count < self.options.batch_size:  # one shape, compiled once
            padded = F.pad(crops, (0, 0, 0, 0, 0, 0, 0, self.options.batch_size - count))
        parameters = self._run(self._vae, self._pixels(padded))[:count]
        if self.device.type != "cuda":
            return Launched(crops, parameters.cpu(), None)
        copied = parameters.to("cpu", non_blocking=True)
        event = torch.cuda.Event()
        # This device's stream copies; another GPU may be the current one.
        event.record(torch.cuda.current_stream(self.device))
        return Launched(crops, copied, event)

    def finish(self, launched: Launched, keys: Sequence[str]) -> torch.Tensor:
        """Return mean and log-variance, float32 (N, 2C, h, w) on the CPU, of what `launch` started.

        Args:
            launched: what `launch` returned.
            keys: of the N crops' samples, for the error.

        Raises:
            UserError: the values of one of ``keys`` are not finite even in float32.
        """
        if launched.event is not None:
            launched.event.synchronize()
        parameters = launched.parameters.float()
        bad = ~parameters.isfinite().flatten(1).all(1)
        if bad.any():
            parameters = parameters.clone()
            parameters[bad] = self._encode_exactly(
                launched.crops[bad], [k for k, b in zip(keys, bad, strict=True) if b]
            )
        mean, log_variance = parameters.chunk(2, dim=1)
        return torch.cat([mean, log_variance.clamp(-30, 20)], dim=1)  # diffusers' own bounds

    def encode(self, crops: torch.Tensor, keys: Sequence[str]) -> torch.Tensor:
        """Return the moments of ``crops``, uint8 (N, S, S, 3), as `finish` does, by ``keys``."""
        return self.finish(self.launch(crops), keys)

    def _encode_exactly(self, crops: torch.Tensor, keys: Sequence[str]) -> torch.Tensor:
        if self._dtype == torch.float32:
            raise _not_finite(keys[0])
        self.num_upcast += len(crops)
        if self._exact is None:
            self._exact = torch.nn.Module.to(deepcopy(self._source), self.device, torch.float32)
        parts = [
            self._parameters(self._exact, self._pixels(crop[None], torch.float32)).cpu()
            for crop in crops
        ]
        for key, part in zip(keys, parts, strict=True):
            if not part.isfinite().all():
                raise _not_finite(key)
        return torch.cat(parts)

    def _pixels(self, crops: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        # This is the channels-last layout.
        pixels = crops.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        pixels = pixels if self.options.channels_last else pixels.contiguous()
        return (pixels / 255 * 2 - 1).to(dtype or self._dtype)  # scaled in float32, rounded once

    @staticmethod
    @torch.no_grad()
    def _parameters(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
        # Before the clamp, which would hide an overflow.
        parameters: torch.Tensor = vae.encode(pixels).latent_dist.parameters
        return parameters


def _not_finite(key: str) -> UserError:
    return UserError(
        f"sample {key}: the VAE's latents are not finite in float32; give a VAE whose weights are"
        " sound"
    )


def to_stored(moments: torch.Tensor, dtype: str, keys: Sequence[str]) -> np.ndarray:
    """Return moments as they are stored; bfloat16 as its bits in uint16.

    Args:
        moments: float32, (N, 2C, h, w).
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        keys: of their samples, N, for the error.

    Raises:
        UserError: the values of one of ``keys`` overflow the stored dtype.
    """
    moments = moments.to(getattr(torch, dtype))
    finite = moments.isfinite().flatten(1).all(1)
    if not finite.all():
        key = keys[int((~finite).nonzero()[0])]
        raise UserError(
            f"sample {key}: its latents overflow {dtype}; set latents.dtype to bfloat16 or float32"
        )
    moments = moments.view(torch.uint16) if dtype == "bfloat16" else moments
    return moments.numpy().astype(STORED_DTYPES[dtype], copy=False)


def from_stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return moments as float32 from stored ``values``, which were rounded to ``dtype``."""
    if dtype == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)


def encode_collated(collated: dict[str, Any], diffusion: Diffusion) -> torch.Tensor:
    """Return moments, float32 (B, 2C, h, w) on the CPU, of crops that were not encoded before.

    The same encoder and the same rounding as the cache's, so the same crop gives the same moments.

    Args:
        collated: ``keys``, ``crops`` uint8 (B, S, S, 3), and ``encoding``, the options they are
            encoded with.
        diffusion: whose VAE encodes them, on its device.
    """
    options = collated["encoding"]
    encoder = _encoder(diffusion.vae, options, diffusion.device)
    moments = encoder.encode(collated["crops"], collated["keys"])
    return torch.from_numpy(
        from_stored(to_stored(moments, options.dtype, collated["keys"]), options.dtype)
    )


@lru_cache(maxsize=1)
def _encoder(vae: AutoencoderKL, options: LatentOptions, device: torch.device) -> MomentsEncoder:
    return MomentsEncoder(vae, options, device)
