"""The noise error on a fixed held-out set: equal images, latents, noise, timesteps at every call.

The loss of a step is noisy, because a few timesteps decide it; this one only moves when the weights
do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from dcr.latents import LatentCache, OnlineLatents
from dcr.models.diffusion import Diffusion
from dcr.training.batches import Augmentation, Batch, make_batch, to_pixels
from dcr.training.data import collate
from dcr.training.model import ConditionModel
from dcr.training.precision import autocast
from dcr.training.unet.predictor import Predictor


@dataclass(frozen=True)
class _HeldOut:
    """What is read of a batch, on the device for the whole run.

    Images are bytes, a quarter of what pixels take, and there are no views.

    Shapes: crops (B, H, W, 3) uint8; the others as in `dcr.training.batches.Batch`.
    """

    crops: torch.Tensor
    noisy_latents: torch.Tensor
    targets: torch.Tensor
    timesteps: torch.Tensor

    @classmethod
    def of(cls, crops: torch.Tensor, batch: Batch) -> _HeldOut:
        """Keep what is read of ``batch``, and the ``crops`` it was made of, on its device."""
        on_device = crops.to(batch.pixels.device, non_blocking=True)
        return cls(on_device, batch.noisy_latents, batch.targets, batch.timesteps)

    @property
    def pixels(self) -> torch.Tensor:
        """Return the images, (B, 3, H, W) in [0, 1]."""
        return to_pixels(self.crops, self.crops.device)


class HeldOutNoise:
    """Noise error per condition on held-out samples.

    Args:
        latents: all samples.
        positions: of the held-out samples; the first ``num_samples`` are used.
        diffusion: frozen, on the device that measures.
        augmentation: makes views, which are not looked at.
        seed: of latents, noise and timesteps.
        batch_size: of one pass of tower and UNet.
        mask_padding: of the empty prompt, see `dcr.training.unet.predictor.Predictor`.
    """

    def __init__(
        self,
        latents: LatentCache | OnlineLatents,
        positions: Sequence[int],
        diffusion: Diffusion,
        augmentation: Augmentation,
        seed: int,
        num_samples: int,
        batch_size: int,
        mask_padding: bool = False,
    ) -> None:
        chosen = list(positions)[:num_samples]
        self._diffusion = diffusion
        self.seed = seed
        self.mask_padding = mask_padding
        self._predict = Predictor(diffusion, mask_padding=mask_padding)
        self._width = diffusion.unet.config.cross_attention_dim
        self._batches = []
        for first in range(0, len(chosen), batch_size):
            collated = collate([latents[i] for i in chosen[first : first + batch_size]])
            batch = make_batch(collated, diffusion, augmentation, seed, f"held out {first}")
            self._batches.append(_HeldOut.of(collated["crops"], batch))

    def empty_prompt(self) -> float:
        """Return the noise error with the empty prompt, which says nothing of the image."""
        return self._mean_error(
            lambda batch: torch.zeros(len(batch.crops), self._width, device=batch.crops.device)
        )

    def model(self, model: ConditionModel) -> float:
        """Return the noise error with the condition that ``model`` makes of each image."""
        was_training = model.training
        model.eval()
        error = self._mean_error(lambda batch: model(batch.pixels)[1])
        model.train(was_training)
        return error

    def wrong_image(self, model: ConditionModel) -> float:
        """Return the noise error when each image gets its neighbour's condition from ``model``."""
        return self._mean_error(lambda batch: model(batch.pixels)[1].roll(1, dims=0))

    def first_images(self, count: int) -> torch.Tensor:
        """Return the first images, (N, 3, H, W) in [0, 1], ``count`` of them or a batch."""
        return self._batches[0].pixels[:count]

    @property
    def latent_shape(self) -> torch.Size:
        """The shape of one image's latents, (C, h, w)."""
        return self._batches[0].targets.shape[1:]

    @torch.no_grad()
    def _mean_error(self, project: Callable[[_HeldOut], torch.Tensor]) -> float:
        """Return the error under a condition, in the UNet's precision, as training does."""
        errors = []
        count = 0
        for batch in self._batches:
            with autocast(self._diffusion.device, self._diffusion.dtype):
                projections = project(batch).float()
            predictions = self._predict(batch.noisy_latents, batch.timesteps, projections[:, None])[
                :, 0
            ].float()
            errors.append(F.mse_loss(predictions, batch.targets, reduction="sum"))
            count += batch.targets.numel()
        return float(sum(torch.stack(errors).tolist()) / count)
