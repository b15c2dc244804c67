"""The latent cache: for every accepted sample the uint8 crop and its VAE moments, in one tar per input shard.

A sample is three members: ``<key>.crop.npy`` (uint8, (H, W, 3), the pixels the VAE saw and CLIP will see),
``<key>.moments.npy`` (mean and log-variance stacked, (2C, h, w), unscaled) and ``<key>.json`` (caption, image
hash, crop box). Training draws the latent from the moments, so the distribution is stored and not one draw.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from dcr.diffusion import Diffusion
from dcr.errors import UserError
from dcr.shards import Sample, name_shards, read_samples, split_name
from dcr.transforms import base_crop

if TYPE_CHECKING:
    import pandas as pd

DTYPES = {"float32": np.float32, "float16": np.float16}


@dataclass(frozen=True)
class LatentOptions:
    """How a sample becomes a crop and moments.

    image_size: side of the crop in pixels, CLIP's own. scale: range of the crop's share of the image's area.
    batch_size: images in one pass of the VAE. dtype: of the stored moments, ``float32`` or ``float16``.
    """

    image_size: int
    scale: tuple[float, float]
    batch_size: int
    dtype: str


def plan_latents(
    manifest: pd.DataFrame, shards: list[str], diffusion: Diffusion, options: LatentOptions
) -> dict[str, Callable[[], Iterator[tuple[str, bytes]]]]:
    """Return, per latent shard, a function that encodes it.

    Args:
        manifest: accepted samples with columns ``shard``, ``offset`` (in the tar), ``sha256``.
        shards: paths or URLs of the input shards; a latent shard is named like its input.

    Raises:
        UserError: the manifest is empty, or names a shard that is not there.
    """
    if manifest.empty:
        raise UserError("the manifest holds no accepted sample; see validation.html for the reasons")
    paths = {name: shard for shard, name in name_shards(shards).items()}
    accepted = {
        str(name): dict(zip(rows["offset"], rows["sha256"], strict=True)) for name, rows in manifest.groupby("shard")
    }
    if missing := sorted(accepted.keys() - paths.keys()):
        raise UserError(
            f"shard {missing[0]} is in the manifest but not in the input; run `kedro run --pipelines validation`"
        )
    bar = tqdm(total=len(manifest), desc="encode latents", unit="image")
    return {
        name: partial(_encode_shard, paths[name], hashes, diffusion, options, bar) for name, hashes in accepted.items()
    }


def _encode_shard(
    shard: str, hashes: dict[int, str], diffusion: Diffusion, options: LatentOptions, bar: tqdm
) -> Iterator[tuple[str, bytes]]:
    samples = (sample for sample in read_samples(shard) if sample.offset in hashes)
    for batch in _batches(samples, options.batch_size):
        yield from encode_batch(batch, hashes, diffusion, options)
        bar.update(len(batch))


def encode_batch(
    batch: list[Sample], hashes: dict[int, str], diffusion: Diffusion, options: LatentOptions
) -> Iterator[tuple[str, bytes]]:
    """Yield the members of some samples, in their order.

    Args:
        hashes: sha256 of the image bytes, by the sample's offset in its tar; it alone seeds the crop.

    Raises:
        UserError: the image changed since validation, or the VAE's values are not finite in the stored dtype.
    """
    crops, boxes = zip(*(_crop(sample, hashes[sample.offset], options) for sample in batch), strict=True)
    pixels = torch.from_numpy(np.stack(crops)).to(diffusion.device).permute(0, 3, 1, 2) / 255
    moments = torch.cat(diffusion.encode_moments(pixels), dim=1).float().cpu().numpy()
    for sample, crop, box, values in zip(batch, crops, boxes, moments.astype(DTYPES[options.dtype]), strict=True):
        if not np.isfinite(values).all():
            raise UserError(f"sample {sample.key}: the VAE's latents are not finite in {options.dtype}; use float32")
        record = {"caption": sample.caption, "sha256": hashes[sample.offset], "box": box}
        yield f"{sample.key}.crop.npy", _npy(crop)
        yield f"{sample.key}.moments.npy", _npy(values)
        yield f"{sample.key}.json", json.dumps(record, sort_keys=True).encode()


def _batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    iterator = iter(samples)  # itertools.batched needs Python 3.12
    while batch := list(islice(iterator, size)):
        yield batch


def _crop(sample: Sample, image_hash: str, options: LatentOptions) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    if sample.image is None or hashlib.sha256(sample.image).hexdigest() != image_hash:
        raise UserError(f"sample {sample.key} changed since validation; run `kedro run --pipelines validation`")
    with Image.open(io.BytesIO(sample.image)) as image:
        return base_crop(image, options.image_size, image_hash, options.scale)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


class LatentCache(Sequence):
    """Random access to the samples of latent shards, read by position from the tars.

    Only an index of offsets is kept in memory. Samples are ordered by shard name, then by place in the shard.

    Args:
        folder: where the latent shards lie.

    Raises:
        UserError: the folder holds no latent shard, or a shard is not a tar.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.shards = sorted(self.folder.glob("*.tar"))
        if not self.shards:
            raise UserError(f"{folder}: no latent shards; make them with `kedro run --pipelines latents`")
        self._index = [entry for number, shard in enumerate(self.shards) for entry in _index_shard(number, shard)]
        self._files: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return ``key``, ``crop`` (uint8, (H, W, 3)), ``moments`` (float32, (2C, h, w)) of one sample."""
        shard, key, members = self._index[position]
        crop, moments = (self._read_npy(shard, *members[name]) for name in ("crop.npy", "moments.npy"))
        return {"key": key, "crop": crop, "moments": moments.astype(np.float32)}

    def record(self, position: int) -> dict[str, Any]:
        """Return caption, image hash and crop box of one sample."""
        shard, _, members = self._index[position]
        return json.loads(self._read(shard, *members["json"]))

    def key(self, position: int) -> str:
        """Return a sample's key."""
        return self._index[position][1]

    def content_hash(self) -> str:
        """Return the hex sha256 over every sample's key and image hash, in order."""
        digest = hashlib.sha256()
        for position in range(len(self)):
            digest.update(f"{self.key(position)} {self.record(position)['sha256']}\n".encode())
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # open files do not cross to loader workers

    def _read(self, shard: int, offset: int, size: int) -> bytes:
        if shard not in self._files:
            self._files[shard] = os.open(self.shards[shard], os.O_RDONLY)
        return os.pread(self._files[shard], size, offset)

    def _read_npy(self, shard: int, offset: int, size: int) -> np.ndarray:
        return np.load(io.BytesIO(self._read(shard, offset, size)), allow_pickle=False)


def _index_shard(number: int, shard: Path) -> Iterator[tuple[int, str, dict[str, tuple[int, int]]]]:
    members: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                key, extension = split_name(info.name) or (info.name, "")
                members.setdefault(key, {})[extension] = (info.offset_data, info.size)
    except tarfile.TarError as exc:
        raise UserError(f"{shard}: not a whole tar ({exc}); delete it and run `kedro run --pipelines latents`") from exc
    for key, parts in members.items():
        if missing := {"crop.npy", "moments.npy", "json"} - parts.keys():
            raise UserError(
                f"{shard}: sample {key} lacks {', '.join(sorted(missing))}; delete the shard and encode again"
            )
        yield number, key, parts
