"""The frozen UNet as a function of images' projections, over rows of the grid that DCR contrasts."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dcr.diffusion import Diffusion
from dcr.projector import condition


def build_predict(diffusion: Diffusion) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the UNet as a function of (noisy latents, timesteps, projections); the empty prompt is encoded once."""
    empty_prompt = diffusion.encode_prompts([""])

    def predict(noisy: torch.Tensor, timesteps: torch.Tensor, projections: torch.Tensor) -> torch.Tensor:
        columns = projections.shape[1]
        conditions = condition(empty_prompt, projections.flatten(0, 1))
        predictions = diffusion.predict(
            noisy.repeat_interleave(columns, dim=0), timesteps.repeat_interleave(columns), conditions
        )
        return predictions.unflatten(0, (-1, columns))

    return predict
