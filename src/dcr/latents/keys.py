"""What the bytes of a latent shard depend on, as one hash.

Speed alone (batch size, workers, compilation, memory layout, device) is left out: it changes
results by rounding at most, and a cache is not made again because it was made faster.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from dcr.fingerprints import code_hash
from dcr.latents.options import LatentOptions
from dcr.latents.vae import vae_settings

if TYPE_CHECKING:
    import pandas as pd
    from diffusers import AutoencoderKL


def latent_settings(options: LatentOptions, vae: AutoencoderKL) -> dict[str, Any]:
    """Return everything but the samples that decides about a shard's bytes.

    Args:
        options: how samples become crops and moments.
        vae: in float32.
    """
    return {
        "code": code_hash("dcr.latents.making"),
        **options.crop_settings(),
        **vae_settings(vae),
        "mixed_precision": options.mixed_precision,
        "dtype": options.dtype,
    }


def shard_key(settings: dict[str, Any], samples: pd.DataFrame) -> str:
    """Return the hex sha256 over the settings and each sample's key, image hash and caption.

    Where a sample lies in the input shard is not part of it.

    Args:
        settings: of `latent_settings`.
        samples: a row for each sample of the shard, in its order, columns ``key``, ``sha256`` and
            ``caption``; a caption that is no text counts as none.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    columns = samples.reindex(columns=["key", "sha256", "caption"]).astype(object)
    for row in columns.itertuples(index=False):
        values = [value if isinstance(value, str) else None for value in row]
        digest.update(json.dumps(values).encode() + b"\n")
    return digest.hexdigest()
