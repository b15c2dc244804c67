"""Nodes of pipelines `latents` and `verify`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dcr.parameters import LatentsParameters, RecipeParameters, VerifyParameters

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from dcr.latents import LatentPlan, Verification
    from dcr.models.backbones import Backbone
    from dcr.models.diffusion import Diffusion


def encode_latents(
    parameters: LatentsParameters,
    manifest: pd.DataFrame,
    shards: list[str],
    backbone: Backbone,
    diffusion: Diffusion,
    recipe: RecipeParameters,
) -> LatentPlan:
    """Plan the crops of every accepted sample and their moments; saving computes them.

    Crops have the backbone's size.

    Args:
        parameters: section `latents`; ``rank`` and ``num_ranks`` are this process's share where
            torchrun gives none.
        manifest: a row for each accepted sample.
        shards: paths or URLs of the tars that the samples lie in.
        backbone: gives the size of the crops, in pixels.
        diffusion: its VAE encodes them.
        recipe: names the sources, and how often each is drawn from.
    """
    from dcr.latents import pick_rank, plan_latents

    options = parameters.options(backbone.image_size)
    ranks = pick_rank(parameters.rank, parameters.num_ranks)
    return plan_latents(manifest, shards, diffusion, options, recipe.weights, *ranks)


def verify_latents(
    latents: LatentsParameters,
    verify: VerifyParameters,
    manifest: pd.DataFrame,
    shards: list[str],
    backbone: Backbone,
    diffusion: Diffusion,
    recipe: RecipeParameters,
    folder: Path,
) -> tuple[dict[str, Any], Verification, LatentPlan]:
    """Reread every latent shard and encode a random sample of images again; list what fails.

    Args:
        latents: section `latents`, by which the shards are planned anew.
        verify: section `verify`: how many samples are encoded again, and how far their moments may
            differ.
        manifest, shards, backbone, diffusion, recipe: as `encode_latents` takes them.
        folder: where the latent shards lie.

    Returns:
        the findings, once as plain values, and the plan that they were checked against.
    """
    from dataclasses import asdict

    from dcr.latents import verify_latents

    plan = encode_latents(latents, manifest, shards, backbone, diffusion, recipe)
    found = verify_latents(plan, folder, verify.num_samples, verify.tolerance, verify.seed)
    return asdict(found), found, plan


def repair_latents(
    parameters: VerifyParameters, verification: Verification, plan: LatentPlan
) -> Iterator[tuple[LatentPlan, list[str]]]:
    """Have the failing shards computed again, or say which they are.

    Args:
        parameters: section `verify`; without its ``repair`` nothing is computed.
        verification, plan: what `verify_latents` found, and what should have been there.

    Raises:
        UserError: shards fail, and the recipe does not ask for their repair.
    """
    from dcr.errors import UserError
    from dcr.latents import describe_failures

    if verification.failures and not parameters.repair:
        raise UserError(
            f"{describe_failures(verification)}; set verify.repair to true to make them again"
        )
    if verification.failures:
        yield plan, list(verification.failures)
