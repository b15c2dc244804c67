"""Made positives of every cached image, stored as shards of the latent cache's own format.

A shard of candidates has the name, the keys and the order of the latent shard it is made from; in
place of n crops it holds n candidates, and their latents as moments without spread. So
`LatentCache` reads it, and epoch e sees candidate e mod n.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from dcr.errors import UserError
from dcr.files import atomic_path
from dcr.fingerprints import code_hash, json_hash, weights_hash
from dcr.finite import require_finite
from dcr.latents import LatentCache, OnlineLatents
from dcr.latents.plan_file import write_plan
from dcr.latents.shard_writer import ShardWriter
from dcr.latents.vae import check_vae
from dcr.latents.writing import check_free_space, clean_stop, is_current, remove_strangers
from dcr.models.diffusion import Diffusion
from dcr.positives.clsp import sample_like
from dcr.progress import Bar, show_progress
from dcr.seeds import derive_seed

logger = logging.getLogger(__name__)

PIPELINE = "synthesis"
_PARTS = "parts"
_NO_SPREAD = -30.0  # the least log-variance that diffusers keeps
_OVERHEAD = 4096  # bytes of a sample's JSON, index row, headers and padding, rounded up


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


def plan_synthesis(
    latents: LatentCache | OnlineLatents,
    diffusion: Diffusion,
    options: SynthesisOptions,
    rank: int = 0,
    num_ranks: int = 1,
) -> SynthesisPlan:
    """Return what is to be made; nothing is computed yet but hashes.

    Args:
        latents: cache of the images to make positives of.
        diffusion: the frozen model that makes them.
        options: how they are made.
        rank, num_ranks: this process's share of the shards: every num_ranks-th, from the rank-th
            on.

    Raises:
        UserError: there is no cache of latents to start from, or it is of another VAE.
    """
    if isinstance(latents, OnlineLatents):
        raise UserError("synthesis starts from cached latents: set latents.mode to cache")
    check_vae(latents, diffusion)
    settings = {name: value for name, value in asdict(options).items() if name != "batch_size"}
    settings |= {"kind": "clsp", "dtype": "float32", "resize": "none"}
    settings |= {"diffusion": _model_hash(diffusion), "code": code_hash(__name__)}
    return SynthesisPlan(
        latents, diffusion, options, settings, shard_keys(latents, settings), rank, num_ranks
    )


def _model_hash(diffusion: Diffusion) -> str:
    parts = [weights_hash(part) for part in (diffusion.vae, diffusion.unet, diffusion.text_encoder)]
    return json_hash([parts, diffusion.settings()])


def shard_keys(latents: LatentCache, settings: dict[str, Any]) -> dict[str, str]:
    """Return the keys, by shard, of candidates that are made of ``latents`` with ``settings``,
    those of a plan.
    """
    return {name: json_hash([settings, key]) for name, key in latents.shard_keys().items()}


@dataclass(frozen=True)
class SynthesisPlan:
    """The shards of candidates that there should be.

    Attributes:
        latents: cache of the images that candidates are made of.
        diffusion: the frozen model that makes them.
        options: how they are made.
        settings: what decides about the bytes, the images apart.
        keys: of each shard.
        rank, num_ranks: this process's share of the shards.
    """

    latents: LatentCache
    diffusion: Diffusion
    options: SynthesisOptions
    settings: dict[str, Any]
    keys: dict[str, str]
    rank: int
    num_ranks: int

    def write(self, folder: str | Path) -> None:
        """Bring the folder to what it should be: make what is missing or stale, leave the rest
        untouched.

        Shards are written whole or not at all. The batches of a shard that is not whole yet are
        kept beside it, so a run that was stopped goes on at the next batch.

        Args:
            folder: where the shards of candidates lie; made if it is not there.

        Raises:
            UserError: the disk is too small or full; a latent shard is damaged, or a candidate is
                not finite.
        """
        folder = Path(folder)
        with clean_stop(folder, PIPELINE):
            folder.mkdir(parents=True, exist_ok=True)
            stale = [name for name in self.keys if not is_current(folder, name, self.keys[name])]
            self._prepare(folder, stale)
            mine = [name for name in list(self.keys)[self.rank :: self.num_ranks] if name in stale]
            self.latents.check_bytes(mine)
            count = sum(len(self.latents.positions(name)) for name in mine)
            with show_progress(total=count, desc="make positives", unit="image") as bar:
                for name in mine:
                    self._write_shard(folder, name, bar)
        kept = len(list(self.keys)[self.rank :: self.num_ranks]) - len(mine)
        logger.info("positives: %d shards made, %d kept, in %s", len(mine), kept, folder)

    def _prepare(self, folder: Path, stale: list[str]) -> None:
        """Say what will be done, write the plan, and remove what belongs to no shard any more."""
        count = sum(len(self.latents.positions(name)) for name in stale)
        logger.info(
            "positives: %d candidates of each of %d images; to make: %d images in %d shards",
            self.options.num_candidates, len(self.latents), count, len(stale),
        )  # fmt: skip
        check_free_space(folder, {name: self._num_bytes(name) for name in stale}, PIPELINE)
        write_plan(folder, "cache", self.settings, self.keys)
        remove_strangers(folder, self.keys, self.rank == 0)
        if self.rank == 0:
            current = {self._parts(folder, name) for name in stale}
            for parts in (folder / _PARTS).glob("*"):
                if parts not in current:
                    shutil.rmtree(
                        parts, ignore_errors=True
                    )  # another rank may have finished it meanwhile

    def _num_bytes(self, name: str) -> int:
        moments = self.latents[self.latents.positions(name)[0]]["moments"]
        crop = self.latents[self.latents.positions(name)[0]]["crop"]
        one = self.options.num_candidates * (crop.nbytes + moments.nbytes) + _OVERHEAD
        return (
            2 * len(self.latents.positions(name)) * one
        )  # batches lie beside the shard until it is whole

    def _parts(self, folder: Path, name: str) -> Path:
        return folder / _PARTS / self.keys[name]

    def _write_shard(self, folder: Path, name: str, bar: Bar) -> None:
        with atomic_path(folder / f"{name}.tar") as temporary, open(temporary, "wb") as file:
            writer = ShardWriter(file, self.keys[name], self.settings)
            for records, pixels, moments in self._batches(self._parts(folder, name), name):
                writer.add(records, pixels, moments)
                bar.update(len(records))
            writer.finish(num_upcast=0)
        shutil.rmtree(self._parts(folder, name))

    def _batches(
        self, parts: Path, name: str
    ) -> Iterator[tuple[list[dict[str, Any]], np.ndarray, np.ndarray]]:
        """Yield records, pixels uint8 (B, n, S, S, 3) and moments float32 (B, n, 2C, h, w) of
        each batch.
        """
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
            yield (
                self._records(chosen, keys, seeds),
                made["pixels"].numpy(),
                made["moments"].numpy(),
            )

    def _seeds(self, key: str) -> list[int]:
        return [
            derive_seed(self.options.seed, PIPELINE, key, n)
            for n in range(self.options.num_candidates)
        ]

    def _records(
        self, positions: range, keys: list[str], seeds: list[list[int]]
    ) -> list[dict[str, Any]]:
        """Return what is told of each sample; in place of a crop's box stands a candidate's
        seed.
        """
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
        """Return the candidates of some images: ``pixels`` uint8 (B, n, S, S, 3), ``moments`` (B,
        n, 2C, h, w).

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
        hidden = self.diffusion.encode_prompts(self._prompts(positions)).repeat_interleave(
            count, dim=0
        )
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
