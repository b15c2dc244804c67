"""Which latent shards there should be, and which of them must be computed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from dcr.data.shards import name_shards, read_validated
from dcr.errors import UserError
from dcr.latents.cropping import CropTask
from dcr.latents.encoding import STORED_DTYPES
from dcr.latents.keys import latent_settings, shard_key
from dcr.latents.making import encode_shards
from dcr.latents.online import write_online
from dcr.latents.options import LatentOptions
from dcr.latents.plan_file import Sources, write_plan
from dcr.latents.planned import make_task, plan_sources
from dcr.latents.writing import check_free_space, clean_stop, is_current, remove_strangers
from dcr.progress import show_progress
from dcr.ranks import read_ranks

if TYPE_CHECKING:
    import pandas as pd
    from diffusers import AutoencoderKL

    from dcr.models.diffusion import Diffusion

logger = logging.getLogger(__name__)
_OVERHEAD = 4096  # bytes of a sample's JSON, index row, headers and padding, rounded up


def plan_latents(
    manifest: pd.DataFrame,
    shards: list[str],
    diffusion: Diffusion,
    options: LatentOptions,
    weights: Mapping[str, float],
    rank: int = 0,
    num_ranks: int = 1,
) -> LatentPlan:
    """Return what is to be encoded; nothing is read or computed yet but the VAE's hash.

    Args:
        manifest: accepted samples with columns ``shard``, ``offset`` (in the tar), ``sha256``,
            ``key``, ``caption``, ``source``.
        shards: paths or URLs of the input shards; a latent shard is named like its input.
        diffusion: whose VAE is to encode.
        options: how samples become crops and moments.
        weights: of each source, by name, > 0.
        rank, num_ranks: this process's share of the shards: every num_ranks-th, from the rank-th
            on.

    Raises:
        UserError: the manifest is empty, names a shard that is not there, or has no sample of a
            source; or there is no such rank.
    """
    if manifest.empty:
        raise UserError(
            "the manifest holds no accepted sample; see validation.html for the reasons"
        )
    if not 0 <= rank < num_ranks:
        raise UserError(
            f"latents.rank is {rank}: it must be at least 0 and below num_ranks, {num_ranks}"
        )
    paths = {name: shard for shard, name in name_shards(shards).items()}
    samples = manifest.sort_values(["shard", "offset"], kind="stable", ignore_index=True)
    if missing := sorted(set(samples["shard"]) - paths.keys()):
        raise UserError(
            f"shard {missing[0]} is in the manifest but not in the input; run `kedro run"
            " --pipelines validation`"
        )
    settings = latent_settings(options, diffusion.vae)
    tables = {str(name): rows for name, rows in samples.groupby("shard")}
    keys = {name: shard_key(settings, rows) for name, rows in tables.items()}
    tasks = {name: make_task(paths[name], rows) for name, rows in tables.items()}
    sources = plan_sources(samples, weights)
    return LatentPlan(
        samples, tasks, keys, settings, options, diffusion.vae, rank, num_ranks, sources
    )


def pick_rank(rank: int, num_ranks: int) -> tuple[int, int]:
    """Return torchrun's rank and number of processes, else ``rank`` and ``num_ranks``."""
    return read_ranks() or (rank, num_ranks)


@dataclass(frozen=True)
class LatentPlan:
    """The latent shards that there should be.

    Attributes:
        samples: the accepted samples, in the order of the cache.
        tasks: all samples of each shard, by its name.
        keys: of each shard, likewise.
        settings: what decides about the bytes, the samples apart.
        options: how samples become crops and moments.
        vae: in float32.
        rank, num_ranks: this process's share of the shards.
        sources: that the shards are of.
    """

    samples: pd.DataFrame
    tasks: dict[str, CropTask]
    keys: dict[str, str]
    settings: dict[str, Any]
    options: LatentOptions
    vae: AutoencoderKL
    rank: int
    num_ranks: int
    sources: Sources

    @property
    def crop_shape(self) -> tuple[int, int, int, int]:
        """Shape of one sample's crops, (n, S, S, 3)."""
        return crop_shape(self.options)

    @property
    def moments_shape(self) -> tuple[int, int, int, int]:
        """Shape of one sample's moments, (n, 2C, h, w)."""
        return moments_shape(self.options, self.vae)

    def num_bytes(self, name: str) -> int:
        """Return about how many bytes the shard ``name`` takes."""
        return len(self.tasks[name].hashes) * sample_bytes(self.options, self.vae)

    def write(self, folder: str | Path, again: Collection[str] = ()) -> None:
        """Bring the folder to what it should be: compute only what is missing or stale.

        Each shard is written whole or not at all, so a run that was stopped goes on where it was.
        In mode ``online`` only the list of images is written.

        Args:
            folder: where the latent shards lie; made if it is not there.
            again: shards to compute even if they seem current.

        Raises:
            UserError: an image changed since validation; moments are not finite; the disk is too
                small or full.
        """
        folder = Path(folder)
        with clean_stop(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if self.options.mode == "online":
                paths = {name: task.shard for name, task in self.tasks.items()}
                return write_online(
                    folder,
                    self.samples,
                    paths,
                    self.keys,
                    self.settings,
                    self.options,
                    self.sources,
                )
            stale = [
                name
                for name in self.tasks
                if name in again or not is_current(folder, name, self.keys[name])
            ]
            self._prepare(folder, stale)
            mine = list(self.tasks)[self.rank :: self.num_ranks]
            if self.options.check_images:
                self._check_images([name for name in mine if name not in stale])
            made = [name for name in mine if name in set(stale)]
            self._encode(folder, made)
        logger.info(
            "latents: %d shards made, %d kept, in %s", len(made), len(mine) - len(made), folder
        )

    def _prepare(self, folder: Path, stale: list[str]) -> None:
        """Say what will be done, write the plan, and remove what belongs to no shard any more."""
        self._log(folder, stale)
        check_free_space(folder, {name: self.num_bytes(name) for name in stale})
        write_plan(folder, "cache", self.settings, self.keys, self.sources)
        remove_strangers(folder, self.keys, self.rank == 0)

    def _log(self, folder: Path, stale: list[str]) -> None:
        count = sum(len(self.tasks[name].hashes) for name in stale)
        logger.info(
            "latents: %d images in %d shards, %.2f GB; to encode: %d images in %d shards, %.2f GB;"
            " free: %.2f GB",
            len(self.samples),
            len(self.tasks),
            sum(map(self.num_bytes, self.tasks)) / 1e9,
            count,
            len(stale),
            sum(map(self.num_bytes, stale)) / 1e9,
            shutil.disk_usage(folder).free / 1e9,
        )

    def _check_images(self, names: list[str]) -> None:
        def check(name: str) -> None:
            """Read every image of the shard ``name``, whose hash is compared."""
            for _ in read_validated(self.tasks[name].shard, self.tasks[name].hashes):
                pass

        with ThreadPoolExecutor(max(1, self.options.num_workers)) as pool:
            list(
                show_progress(
                    pool.map(check, names), total=len(names), desc="check images", unit="shard"
                )
            )

    def _encode(self, folder: Path, names: list[str]) -> None:
        if not names:
            return
        start = perf_counter()
        tasks = {name: self.tasks[name] for name in names}
        num_upcast = encode_shards(folder, tasks, self.keys, self.settings, self.vae, self.options)
        seconds = perf_counter() - start
        count = sum(len(task.hashes) for task in tasks.values())
        logger.info(
            "latents: encoded %d images in %.1f s, %.1f images/s", count, seconds, count / seconds
        )
        if num_upcast:
            logger.warning(
                "latents: %d crops overflowed %s and were encoded again in float32",
                num_upcast,
                self.options.mixed_precision,
            )


def crop_shape(options: LatentOptions) -> tuple[int, int, int, int]:
    """Return the shape of one sample's crops under ``options``, (n, S, S, 3)."""
    return options.crops_per_image, options.image_size, options.image_size, 3


def moments_shape(options: LatentOptions, vae: AutoencoderKL) -> tuple[int, int, int, int]:
    """Return the shape of one sample's moments of ``vae`` under ``options``, (n, 2C, h, w)."""
    side = options.image_size // 2 ** (len(vae.config.block_out_channels) - 1)
    return options.crops_per_image, 2 * vae.config.latent_channels, side, side


def sample_bytes(options: LatentOptions, vae: AutoencoderKL) -> int:
    """Return about how many bytes of a latent shard a sample takes.

    Args:
        options: how it becomes crops and moments.
        vae: that encodes it; its configuration alone is read.
    """
    moments = int(np.prod(moments_shape(options, vae))) * STORED_DTYPES[options.dtype].itemsize
    return int(np.prod(crop_shape(options))) + moments + _OVERHEAD
