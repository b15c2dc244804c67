"""Positives of cached images, made by the diffusion model: what a shard's bytes come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from dcr.files import atomic_path
from dcr.finite import require_finite
from dcr.latents.cache import LatentCache
from dcr.latents.shard_writer import ShardWriter
from dcr.models.diffusion import Diffusion
from dcr.positives.clsp import sample_like
from dcr.seeds import derive_seed

PIPELINE = "synthesis"
_NO_SPREAD = -30.0  # the least log-variance that diffusers keeps


@dataclass(frozen=True)
class SynthesisOptions:
    """How candidates are made; see conf/base/parameters_synthesis.yml."""

    num_candidates: int
    num_steps: int
    eta: float
    sample_weight: float
    condition: Literal["none", "caption"]
    seed: int
    batch_size: int

    @property
    def images_per_batch(self) -> int:
        """How many images' candidates fill one pass of the UNet."""
        return max(1, self.batch_size // self.num_candidates)


@dataclass(frozen=True)
class Maker:
    """Makes candidates of cached images.

    Attributes:
        latents: cache of the images.
        diffusion: the frozen model.
        options: how candidates are made.
        settings: what decides about the bytes, the images apart.
    """

    latents: LatentCache
    diffusion: Diffusion
    options: SynthesisOptions
    settings: dict[str, Any]

    def write_shard(self, file: BinaryIO, name: str, key: str, parts: Path) -> Iterator[int]:
        """Write the candidates of one latent shard, and yield the images of each batch.

        Args:
            file: new and open for writing; it can seek.
            name: of the latent shard.
            key: of the new one.
            parts: folder where each batch lies once it is made.

        Raises:
            UserError: a candidate is not finite.
        """
        writer = ShardWriter(file, key, self.settings)
        for records, pixels, moments in self._batches(parts, name):
            writer.add(records, pixels, moments)
            yield len(records)
        writer.finish(num_upcast=0)

    def _batches(
        self, parts: Path, name: str
    ) -> Iterator[tuple[list[dict[str, Any]], np.ndarray, np.ndarray]]:
        """Yield records, pixels uint8 (B, n, S, S, 3), moments float32 (B, n, 2C, h, w) a batch."""
        positions = self.latents.positions(name)
        for first in range(0, len(positions), self.options.images_per_batch):
            chosen = positions[first : first + self.options.images_per_batch]
            keys = [self.latents.key(position) for position in chosen]
            seeds = [self._seeds(key) for key in keys]
            path = parts / f"{first:08d}.safetensors"
            if not path.exists():
                with atomic_path(path) as temporary:
                    save_file(self.make(chosen, seeds), temporary)
            made = load_file(path)
            records = self._records(chosen, keys, seeds)
            yield records, made["pixels"].numpy(), made["moments"].numpy()

    def _seeds(self, key: str) -> list[int]:
        return [
            derive_seed(self.options.seed, PIPELINE, key, n)
            for n in range(self.options.num_candidates)
        ]

    def _records(
        self, positions: range, keys: list[str], seeds: list[list[int]]
    ) -> list[dict[str, Any]]:
        """Return what is told of each sample; for a crop's box stands a candidate's seed."""
        records = [self.latents.record(position) for position in positions]
        return [
            {
                "key": key,
                "caption": record["caption"],
                "sha256": record["sha256"],
                "crops": [{"seed": s} for s in own],
            }
            for key, record, own in zip(keys, records, seeds, strict=True)
        ]

    @torch.no_grad()
    def make(self, positions: range, seeds: list[list[int]]) -> dict[str, torch.Tensor]:
        """Return candidates, ``pixels`` uint8 (B, n, S, S, 3), ``moments`` (B, n, 2C, h, w).

        Args:
            positions: of the images in the cache.
            seeds: n of each image.
        """
        options = self.options
        count = options.num_candidates
        means = [
            torch.from_numpy(self.latents[position]["moments"]).chunk(2)[0]
            for position in positions
        ]
        anchors = self.diffusion.scale_latents(torch.stack(means)).repeat_interleave(count, dim=0)
        hidden = self.diffusion.encode_prompts(self._prompts(positions))
        hidden = hidden.repeat_interleave(count, dim=0)
        latents = sample_like(
            self.diffusion, anchors, hidden, [seed for own in seeds for seed in own],
            options.num_steps, options.eta, options.sample_weight,
        )  # fmt: skip
        pixels = self.diffusion.decode_latents(latents).float()
        for number, drawn in enumerate(zip(latents, pixels, strict=True)):
            key = self.latents.key(positions[number // count])
            found = dict(zip(("latent", "picture"), drawn, strict=True))
            require_finite(
                found, f"a positive made of {key}", "give a diffusion model whose weights are sound"
            )
        pixels = (pixels * 255).round().to("cpu", torch.uint8)
        mean = self.diffusion.unscale_latents(latents).cpu()
        moments = torch.cat([mean, torch.full_like(mean, _NO_SPREAD)], dim=1)
        parts = {"pixels": pixels.permute(0, 2, 3, 1), "moments": moments}
        return {name: part.unflatten(0, (-1, count)).contiguous() for name, part in parts.items()}

    def _prompts(self, positions: range) -> list[str]:
        if self.options.condition == "none":
            return [""] * len(positions)
        return [self.latents.record(position)["caption"] or "" for position in positions]
