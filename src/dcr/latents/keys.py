"""What the bytes of a latent shard depend on, as one hash.

Speed alone (batch size, workers, compilation, memory layout, device) is left out: it changes results by rounding
at most, and a cache is not made again because it was made faster.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.files import weights_hash
from dcr.latents.options import LatentOptions

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from dcr.diffusion import Diffusion
    from dcr.latents import LatentCache, OnlineLatents


def latent_settings(options: LatentOptions, vae: torch.nn.Module) -> dict[str, Any]:
    """Return everything but the samples that decides about a shard's bytes."""
    return {
        **options.crop_settings(),
        **vae_settings(vae),
        "mixed_precision": options.mixed_precision,
        "dtype": options.dtype,
    }


def vae_settings(vae: torch.nn.Module) -> dict[str, Any]:
    """Return what tells one VAE from another: a hash of weights and configuration, and the latents' scale."""
    config = {name: value for name, value in vae.config.items() if not name.startswith("_")}
    text = f"{weights_hash(vae)}\n{json.dumps(config, sort_keys=True)}"
    return {"vae": hashlib.sha256(text.encode()).hexdigest(), "scaling_factor": vae.config.scaling_factor}


def check_vae(latents: LatentCache | OnlineLatents, diffusion: Diffusion) -> None:
    """Refuse latents that were made, or planned, for the VAE of another diffusion model."""
    needed = vae_settings(diffusion.vae)
    if {name: latents.settings.get(name) for name in needed} != needed:
        raise UserError(
            f"{latents.folder} holds latents of another VAE than that of {diffusion.source}; make them again with "
            "`kedro run --pipelines latents`"
        )


def shard_key(settings: dict[str, Any], samples: pd.DataFrame) -> str:
    """Return the hex sha256 over the settings and each sample's ``key``, ``sha256`` of its image and ``caption``.

    Where a sample lies in the input shard is not part of it.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    columns = samples.reindex(columns=["key", "sha256", "caption"]).astype(object)
    for row in columns.itertuples(index=False):
        digest.update(json.dumps([value if isinstance(value, str) else None for value in row]).encode() + b"\n")
    return digest.hexdigest()
