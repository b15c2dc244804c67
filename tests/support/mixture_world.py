"""A world whose images are of two sources, one of few images that are drawn more often."""

from __future__ import annotations

from pathlib import Path

from dcr.data.shards import read_samples, write_shard
from dcr.latents import LatentOptions, LatentPlan, plan_latents
from dcr.models.diffusion import Diffusion, load_diffusion
from latent_world import manifest_of
from training_world import write_world

WEIGHTS = {"few": 1.0, "many": 3.0}
FEW = 10


def plan_mixture(folder: Path, diffusion: Diffusion, weights=WEIGHTS, **changes) -> LatentPlan:
    """Plan the latents of both sources; ``changes`` are of `LatentOptions`."""
    shards = [str(folder / "shards" / f"{name}.tar") for name in ("few", "many")]
    manifest = manifest_of(shards)
    manifest["source"] = manifest["shard"]
    options = LatentOptions(
        **{"image_size": 32, "scale": (0.9, 1.0), "batch_size": 8, "dtype": "float32"} | changes
    )
    return plan_latents(manifest, shards, diffusion, options, weights)


def write_mixture(folder: Path) -> Path:
    """Write a world as `write_world` does, its first images in one shard, the others in another."""
    write_world(folder)
    samples = list(read_samples(str(folder / "shards" / "00000.tar")))
    (folder / "shards" / "00000.tar").unlink()
    write_shard(folder / "shards", "few", samples[:FEW])
    write_shard(folder / "shards", "many", samples[FEW:])
    plan_mixture(folder, load_diffusion(str(folder / "diffusion"))).write(folder / "latents")
    return folder
