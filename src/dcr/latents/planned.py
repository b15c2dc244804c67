"""What a plan of latents takes from the manifest: samples to crop, and the sources they are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dcr.errors import UserError
from dcr.latents.cropping import CropTask
from dcr.latents.plan_file import Sources

if TYPE_CHECKING:
    import pandas as pd


def plan_sources(samples: pd.DataFrame, weights: Mapping[str, float]) -> Sources:
    """Return the sources of the accepted samples.

    Args:
        samples: columns ``shard`` and ``source``.
        weights: of each source, by name.

    Raises:
        UserError: a source has no sample, or is none of the recipe's.
    """
    if "source" not in samples:
        raise UserError(
            "the manifest is of an earlier version; run `kedro run --pipelines validation`"
        )
    of_shards = samples.groupby("shard")["source"].first()
    if strange := sorted(set(of_shards) - weights.keys()):
        raise UserError(
            f"source {strange[0]}: is in the manifest and no longer in the recipe; run `kedro run"
            " --pipelines validation`"
        )
    if empty := sorted(weights.keys() - set(of_shards)):
        raise UserError(
            f"source {empty[0]}: no sample of it was accepted, see validation.html, or it came into"
            " the recipe since; run `kedro run --pipelines validation`, or leave it out of"
            " `sources`"
        )
    return {
        name: {"weight": weight, "shards": sorted(of_shards.index[of_shards == name])}
        for name, weight in sorted(weights.items())
    }


def make_task(path: str, rows: pd.DataFrame) -> CropTask:
    """Return what is to be cropped of a shard.

    Args:
        path: of the shard, or its URL.
        rows: its accepted samples; columns ``offset``, ``sha256``, ``caption``.
    """
    offsets = rows["offset"].tolist()
    captions = [caption if isinstance(caption, str) else None for caption in rows["caption"]]
    return CropTask(
        path,
        dict(zip(offsets, rows["sha256"], strict=True)),
        dict(zip(offsets, captions, strict=True)),
    )
