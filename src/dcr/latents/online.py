"""Latents without a cache: fresh crops, encoded in training by the same code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.files import atomic_path, sha256_file
from dcr.fingerprints import json_hash
from dcr.latents.cache import LatentCache
from dcr.latents.cropping import CropTask, load_crops
from dcr.latents.options import LatentOptions
from dcr.latents.plan_file import OfSources, Sources, read_plan, sources_of_shards, write_plan

if TYPE_CHECKING:
    import pandas as pd

SAMPLES_NAME = "samples.parquet"
_COLUMNS = ("key", "shard", "offset", "sha256", "caption")


def open_latents(folder: str | Path) -> LatentCache | OnlineLatents:
    """Open what the pipeline `latents` left: cached shards, or in mode ``online`` a list of images.

    Args:
        folder: of the latents.

    Raises:
        UserError: there is nothing, or it is incomplete.
    """
    return OnlineLatents(folder) if read_plan(folder)["mode"] == "online" else LatentCache(folder)


def write_online(
    folder: Path,
    samples: pd.DataFrame,
    paths: dict[str, str],
    keys: dict[str, str],
    settings: dict[str, Any],
    options: LatentOptions,
    sources: Sources,
) -> None:
    """Write what `OnlineLatents` reads.

    Args:
        folder: of the latents.
        samples: columns ``key``, ``shard``, ``offset``, ``sha256``, ``caption``; in the order of
            positions.
        paths, keys: of the input shards by name; a key stands for all that the latents of its
            samples depend on.
        settings: what decides about the latents, the samples apart.
        options: what is asked of them.
        sources: that the shards are of.
    """
    with atomic_path(folder / SAMPLES_NAME) as temporary:
        samples[list(_COLUMNS)].to_parquet(temporary, index=False)
        listed = {"options": asdict(options), "samples": sha256_file(temporary)}
    shards = {name: {"path": path, "key": keys[name]} for name, path in paths.items()}
    write_plan(folder, "online", settings | listed, shards, sources)


class OnlineLatents(OfSources, Sequence[dict[str, Any]]):
    """Random access to samples whose crops are cut on demand, their moments left to training.

    Args:
        folder: where `write_online` wrote.

    Attributes:
        settings: what decides about the latents, the samples apart.
        sources: that the shards are of, see `dcr.latents.plan_file`.

    Raises:
        UserError: its files are damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        import pandas as pd

        self.folder = Path(folder)
        plan = read_plan(folder)
        self.settings: dict[str, Any] = plan["settings"]
        self.sources = plan["sources"]
        self._source_of = sources_of_shards(self.sources)
        try:
            if sha256_file(self.folder / SAMPLES_NAME) != self.settings["samples"]:
                raise ValueError("it is not the list that the plan was written with")
            samples = pd.read_parquet(self.folder / SAMPLES_NAME)
            options = self.settings["options"]
            self.options = LatentOptions(**{**options, "scale": tuple(options["scale"])})
            self._samples = {name: samples[name].to_numpy() for name in _COLUMNS}
            self._paths = {name: shard["path"] for name, shard in plan["shards"].items()}
            self._keys = [shard["key"] for _, shard in sorted(plan["shards"].items())]
        except (OSError, ValueError, TypeError, KeyError) as exc:
            raise UserError(
                f"{folder}/{SAMPLES_NAME} cannot be read ({exc}); write it with `kedro run"
                " --pipelines latents`"
            ) from exc

    def __len__(self) -> int:
        return len(self._samples["key"])

    def __getitem__(  # type: ignore[override]  # no slices, but crops by epoch
        self, place: int | tuple[int, int]
    ) -> dict[str, Any]:
        """Return a sample's ``key``, ``crop`` (uint8, (S, S, 3)), ``encoding`` (`LatentOptions`).

        Args:
            place: position, or (position, epoch): every epoch has its own crop, the first n those
                of a cache.

        Raises:
            UserError: the image changed since validation.
        """
        position, epoch = place if isinstance(place, tuple) else (place, 0)
        batch = load_crops(self._task(position), self.options, [epoch])
        return {
            "key": self.key(position),
            "crop": batch.crops[0, 0].numpy(),
            "encoding": self.options,
        }

    def record(self, position: int) -> dict[str, Any]:
        """Return what is told of the sample at ``position``, box and flip of its first crop too."""
        record = load_crops(self._task(position), self.options, [0]).records[0]
        return {
            **{name: record[name] for name in ("caption", "sha256", "crops")},
            "resize": "bicubic",
        }

    def caption(self, position: int) -> str | None:
        """Return the caption, as validation chose it, of the sample at ``position``, or None."""
        caption: str | None = self._samples["caption"][position]
        return caption

    def key(self, position: int) -> str:
        """Return the key of the sample at ``position``."""
        key: str = self._samples["key"][position]
        return key

    def source(self, position: int) -> str:
        """Return the name of the source of the sample at ``position``."""
        return self._source_of[self._samples["shard"][position]]

    def content_hash(self) -> str:
        """Return the hex sha256 over every sample's key and image hash, in order."""
        digest = hashlib.sha256()
        for key, image_hash in zip(self._samples["key"], self._samples["sha256"], strict=True):
            digest.update(f"{key} {image_hash}\n".encode())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """Return a hex sha256 over what the samples' crops and moments depend on, in order."""
        return json_hash(["online", self._keys])

    def _task(self, position: int) -> CropTask:
        shard, offset, image_hash, caption = (
            self._samples[name][position] for name in _COLUMNS[1:]
        )
        return CropTask(self._paths[shard], {int(offset): image_hash}, {int(offset): caption})
