"""Nodes of pipeline `latents`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dcr.parameters import LatentsParameters

if TYPE_CHECKING:
    import pandas as pd

    from dcr.backbones import Backbone
    from dcr.diffusion import Diffusion


def encode_latents(
    parameters: LatentsParameters,
    manifest: pd.DataFrame,
    shards: list[str],
    backbone: Backbone,
    diffusion: Diffusion,
) -> dict[str, Callable[[], Iterator[tuple[str, bytes]]]]:
    """Crop every accepted sample to the backbone's size and encode it with the VAE, one shard at a time."""
    from dcr.latents import LatentOptions, plan_latents

    options = LatentOptions(
        image_size=backbone.image_size,
        scale=(parameters.crop_scale_min, parameters.crop_scale_max),
        batch_size=parameters.batch_size,
        dtype=parameters.dtype,
    )
    return plan_latents(manifest, shards, diffusion, options)
