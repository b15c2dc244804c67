"""Decoding and cropping, in worker processes, in the order of the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from dcr.data.crops import Crop, base_crop, center_crop
from dcr.data.decoding import decode_rgb
from dcr.data.developing import DecodingError
from dcr.data.shards import Sample, read_validated
from dcr.errors import UserError
from dcr.latents.loading import load_ahead
from dcr.latents.options import LatentOptions


@dataclass(frozen=True)
class CropTask:
    """Some accepted samples of one input shard, in its order.

    Attributes:
        shard: its path or URL.
        hashes: of the images, by offset in the tar.
        captions: as validation chose them, likewise.
    """

    shard: str
    hashes: dict[int, str]
    captions: dict[int, str | None]

    def part(self, offsets: Iterable[int]) -> CropTask:
        """Return the task of some of its samples, by their ``offsets`` in the tar, in bytes."""
        chosen = list(offsets)
        hashes = {at: self.hashes[at] for at in chosen}
        captions = {at: self.captions[at] for at in chosen}
        return CropTask(self.shard, hashes, captions)


class CropBatch(NamedTuple):
    """Crops of some samples.

    Attributes:
        crops: uint8 (B, n, S, S, 3).
        records: per sample ``key``, ``caption``, ``sha256`` and ``crops`` (box, flip).
    """

    crops: torch.Tensor
    records: list[dict[str, Any]]


def load_crops(
    task: CropTask, options: LatentOptions, numbers: Sequence[int] | None = None
) -> CropBatch:
    """Decode and crop the samples of a task.

    Args:
        task: samples of one input shard.
        options: say how crops are cut.
        numbers: which crops of each image; all that are stored when None.

    Raises:
        UserError: see `dcr.data.shards.read_validated`; or an image cannot be decoded.
    """
    crops = []
    records = []
    numbers = range(options.crops_per_image) if numbers is None else numbers
    for sample in read_validated(task.shard, task.hashes):
        image_hash = task.hashes[sample.offset]
        cut = _cut(sample, image_hash, options, numbers)
        crops.append(np.stack([crop.pixels for crop in cut]))
        places = [{"box": list(crop.box), "flip": crop.flip} for crop in cut]
        caption = task.captions[sample.offset]
        records.append(
            {"key": sample.key, "caption": caption, "sha256": image_hash, "crops": places}
        )
    return CropBatch(torch.from_numpy(np.stack(crops)), records)


def _cut(
    sample: Sample, image_hash: str, options: LatentOptions, numbers: Sequence[int]
) -> list[Crop]:
    assert sample.image is not None  # `read_validated` yields no others
    try:
        image = decode_rgb(sample.image)
    except DecodingError as exc:
        raise UserError(
            f"sample {sample.key} cannot be decoded ({exc}); run `kedro run --pipelines validation`"
            " on this machine"
        ) from exc
    if options.crop_mode == "center":
        return [center_crop(image, options.image_size)] * len(numbers)
    size = options.image_size
    flip = options.horizontal_flip
    return [base_crop(image, size, image_hash, options.scale, number, flip) for number in numbers]


def iterate_crops(
    tasks: list[CropTask], options: LatentOptions, pin_memory: bool
) -> Iterator[CropBatch]:
    """Yield the crops of each of ``tasks``, in order, decoded ahead by worker processes.

    Args:
        tasks: each becomes one batch.
        options: say how crops are cut.
        pin_memory: put crops where a GPU can read them directly.
    """
    workers = min(options.num_workers, len(tasks))
    return load_ahead(partial(load_crops, options=options), tasks, workers, "latents", pin_memory)
