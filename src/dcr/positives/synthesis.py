"""Which shards of made positives there should be, and which of them must be made.

A shard of candidates has the name, the keys and the order of the latent shard it is made from; in
place of n crops it holds n candidates, and their latents as moments without spread. So
`LatentCache` reads it, and epoch e sees candidate e mod n.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dcr.errors import UserError
from dcr.files import atomic_path
from dcr.fingerprints import code_hash, json_hash, weights_hash
from dcr.latents import LatentCache, OnlineLatents
from dcr.latents.plan_file import write_plan
from dcr.latents.vae import check_vae
from dcr.latents.writing import check_free_space, clean_stop, is_current, remove_strangers
from dcr.models.diffusion import Diffusion
from dcr.positives.making import PIPELINE, Maker, SynthesisOptions
from dcr.progress import Bar, show_progress

logger = logging.getLogger(__name__)

_PARTS = "parts"
_OVERHEAD = 4096  # bytes of a sample's JSON, index row, headers and padding, rounded up


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
    settings |= {"diffusion": _model_hash(diffusion), "code": code_hash("dcr.positives.making")}
    return SynthesisPlan(
        latents, diffusion, options, settings, shard_keys(latents, settings), rank, num_ranks
    )


def _model_hash(diffusion: Diffusion) -> str:
    parts = [weights_hash(part) for part in (diffusion.vae, diffusion.unet, diffusion.text_encoder)]
    return json_hash([parts, diffusion.settings()])


def shard_keys(latents: LatentCache, settings: dict[str, Any]) -> dict[str, str]:
    """Return by shard the keys of candidates made of ``latents`` with a plan's ``settings``."""
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
        """Bring the folder to what it should be: make only what is missing or stale.

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
        write_plan(folder, "cache", self.settings, self.keys, self.latents.sources)
        remove_strangers(folder, self.keys, self.rank == 0)
        if self.rank == 0:
            current = {self._parts(folder, name) for name in stale}
            for parts in (folder / _PARTS).glob("*"):
                if parts not in current:  # another rank may have finished it meanwhile
                    shutil.rmtree(parts, ignore_errors=True)

    def _num_bytes(self, name: str) -> int:
        positions = self.latents.positions(name)
        sample = self.latents[positions[0]]
        arrays: int = sample["crop"].nbytes + sample["moments"].nbytes
        one = self.options.num_candidates * arrays + _OVERHEAD
        return 2 * len(positions) * one  # batches lie beside the shard until it is whole

    def _parts(self, folder: Path, name: str) -> Path:
        return folder / _PARTS / self.keys[name]

    def _write_shard(self, folder: Path, name: str, bar: Bar[None]) -> None:
        maker = Maker(self.latents, self.diffusion, self.options, self.settings)
        parts = self._parts(folder, name)
        with atomic_path(folder / f"{name}.tar") as temporary, open(temporary, "wb") as file:
            for count in maker.write_shard(file, name, self.keys[name], parts):
                bar.update(count)
        shutil.rmtree(parts)
