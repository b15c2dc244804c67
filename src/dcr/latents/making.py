"""Input shards into latent shards: what a shard's bytes come from, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dcr.latents.cropping import CropBatch, CropTask, iterate_crops
from dcr.latents.encoding import Launched, MomentsEncoder, to_stored
from dcr.latents.options import LatentOptions
from dcr.latents.writing import write_latent_shard
from dcr.progress import Bar, show_progress

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


def encode_shards(
    folder: Path,
    tasks: Mapping[str, CropTask],
    keys: Mapping[str, str],
    settings: dict[str, Any],
    vae: AutoencoderKL,
    options: LatentOptions,
) -> int:
    """Write a latent shard a task; return how many crops were encoded again in float32.

    Args:
        folder: where ``<name>.tar`` is written.
        tasks: by the name of the shard, its samples.
        keys: of the shards by name.
        settings: what decides about the bytes, the samples apart.
        vae: in float32.
        options: how samples become crops and moments.
    """
    batches = {name: _split(task, options.images_per_batch) for name, task in tasks.items()}
    encoder = MomentsEncoder(vae, options)
    encoded = encode_batches(
        [part for parts in batches.values() for part in parts], options, encoder
    )
    count = sum(len(task.hashes) for task in tasks.values())
    with show_progress(total=count, desc="encode latents", unit="image") as bar:
        for name, parts in batches.items():
            own = _count(islice(encoded, len(parts)), bar)
            write_latent_shard(folder / f"{name}.tar", keys[name], settings, own, encoder)
    return encoder.num_upcast


def encode_batches(
    tasks: list[CropTask], options: LatentOptions, encoder: MomentsEncoder
) -> Iterator[tuple[CropBatch, np.ndarray]]:
    """Yield each task's crops with their moments in the stored dtype, (B, n, 2C, h, w), in order.

    The VAE works on the next batch while this one is taken.

    Args:
        tasks: each becomes one batch.
        options: how samples become crops, and the dtype that moments are stored in.
        encoder: built with the same options.
    """
    waiting = None
    for batch in iterate_crops(tasks, options, pin_memory=encoder.device.type == "cuda"):
        launched = batch, encoder.launch(batch.crops.flatten(0, 1))
        if waiting is not None:
            yield _finish(*waiting, options, encoder)
        waiting = launched
    if waiting is not None:
        yield _finish(*waiting, options, encoder)


def _finish(
    batch: CropBatch, launched: Launched, options: LatentOptions, encoder: MomentsEncoder
) -> tuple[CropBatch, np.ndarray]:
    keys = [record["key"] for record in batch.records for _ in range(batch.crops.shape[1])]
    moments = to_stored(encoder.finish(launched, keys), options.dtype, keys)
    return batch, moments.reshape(*batch.crops.shape[:2], *moments.shape[1:])


def _split(task: CropTask, size: int) -> list[CropTask]:
    offsets = iter(task.hashes)  # itertools.batched needs Python 3.12
    return [task.part(part) for part in iter(lambda: list(islice(offsets, size)), [])]


def _count(
    encoded: Iterator[tuple[CropBatch, np.ndarray]], bar: Bar[None]
) -> Iterator[tuple[CropBatch, np.ndarray]]:
    for batch, moments in encoded:
        yield batch, moments
        bar.update(len(batch.records))
