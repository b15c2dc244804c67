"""Which VAE latents are of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.fingerprints import fingerprint, weights_hash

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

    from dcr.latents.cache import LatentCache
    from dcr.latents.online import OnlineLatents
    from dcr.models.diffusion import Diffusion


def vae_settings(vae: AutoencoderKL) -> dict[str, Any]:
    """Return what tells ``vae`` from another: hash of weights and configuration, latents' scale."""
    config = {name: value for name, value in vae.config.items() if not name.startswith("_")}
    return {
        "vae": fingerprint(weights=weights_hash(vae), config=config),
        "scaling_factor": vae.config.scaling_factor,
    }


def check_vae(latents: LatentCache | OnlineLatents, diffusion: Diffusion) -> None:
    """Refuse latents that were made, or planned, for the VAE of another diffusion model.

    Args:
        latents: whose settings tell their VAE.
        diffusion: the model at hand, its VAE in float32.

    Raises:
        UserError: the VAEs differ.
    """
    needed = vae_settings(diffusion.vae)
    if {name: latents.settings.get(name) for name in needed} != needed:
        raise UserError(
            f"{latents.folder} holds latents of another VAE than that of {diffusion.source}; make"
            " them again with `kedro run --pipelines latents`"
        )
