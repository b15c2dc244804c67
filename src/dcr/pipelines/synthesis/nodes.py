"""Nodes of pipeline `synthesis`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcr.parameters import SynthesisParameters

if TYPE_CHECKING:
    from dcr.latents import LatentCache
    from dcr.models.backbones import Backbone
    from dcr.models.diffusion import Diffusion
    from dcr.positives.synthesis import SynthesisPlan


def synthesize_positives(
    parameters: SynthesisParameters, latents: LatentCache, diffusion: Diffusion
) -> SynthesisPlan:
    """Plan the positives of every cached image; saving makes them.

    Args:
        parameters: section `synthesis`; ``rank`` and ``num_ranks`` are this process's share where
            torchrun gives none.
        latents: the cached images.
        diffusion: the model that makes the positives.
    """
    from dataclasses import fields

    from dcr.latents import pick_rank
    from dcr.positives.making import SynthesisOptions
    from dcr.positives.synthesis import plan_synthesis

    options = SynthesisOptions(
        **{f.name: getattr(parameters, f.name) for f in fields(SynthesisOptions)}
    )
    return plan_synthesis(
        latents, diffusion, options, *pick_rank(parameters.rank, parameters.num_ranks)
    )


def show_positives(
    parameters: SynthesisParameters,
    latents: LatentCache,
    candidates: LatentCache,
    backbone: Backbone,
) -> tuple[dict[str, float], dict[str, Any], str]:
    """Measure how like their images some positives are, and show them, for the report too.

    Args:
        parameters: says how many images are shown (``num_examples``).
        latents, candidates: the images and the positives that were made of them.
        backbone: the encoder that likeness is measured with.

    Returns:
        the measures, what the report shows, and a page of its own.
    """
    import torch

    from dcr.pages import fill_template
    from dcr.positives.page import show_candidates

    @torch.no_grad()
    def encode(pixels: torch.Tensor) -> torch.Tensor:
        """Return the base's features of ``pixels``, on the CPU in float32."""
        return backbone.encode_image(pixels.to(backbone.device)).float().cpu()

    pictures = show_candidates(latents, candidates, encode, parameters.num_examples)
    page = fill_template("dcr.positives", "page.html", **pictures)
    made_from = {"samples": latents.content_hash(), "positives": candidates.fingerprint()}
    return pictures["measures"], pictures | {"made_from": made_from}, page
