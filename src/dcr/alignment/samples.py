"""The images that training saw and held out, with their captions, and unit embeddings of both.

Embeddings go to a temporary file and are read from it where they are needed, so that memory holds a
batch of them whatever their number is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch.nn import functional as F

from dcr.errors import UserError
from dcr.latents import LatentCache, OnlineLatents
from dcr.latents.loading import load_ahead
from dcr.progress import show_progress
from dcr.seeds import numpy_generator
from dcr.training.data import split_positions

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone

T = TypeVar("T")
Latents = LatentCache | OnlineLatents


@dataclass(frozen=True)
class Split:
    """Some samples.

    Attributes:
        positions: in the latents, in order.
        captions: theirs, None where they are not read.
    """

    positions: list[int]
    captions: list[str] | None = None

    def __len__(self) -> int:
        return len(self.positions)


def choose_samples(
    latents: Latents,
    validation_fraction: float,
    max_images: int,
    seed: int,
    captions: tuple[bool, bool],
) -> tuple[Split, Split]:
    """Return the samples to fit on, which training trained on, and those to choose by, held out.

    Args:
        latents: those that training read, with the samples' keys and captions.
        validation_fraction: of the training, which the split by keys depends on.
        max_images: how many of each part at most, drawn by ``seed``; 0 for all.
        captions: for each part, whether captions are needed; samples without one are then left out.

    Raises:
        UserError: fewer than 2 samples are left in a part.
    """
    fit, held_out = (
        _split(latents, _draw(positions, max_images, seed, name), wanted)
        for name, positions, wanted in zip(
            ("fit", "held out"),
            split_positions(latents, validation_fraction),
            captions,
            strict=True,
        )
    )
    for name, part, wanted in (("training", fit, captions[0]), ("held-out", held_out, captions[1])):
        if len(part) < 2:
            what = " with a caption" if wanted else ""
            raise UserError(
                f"{latents.folder} has {len(part)} {name} samples{what}, but an alignment needs 2"
                " or more: set alignment.form to"
                f" {'image, which reads no captions, or to ' * wanted}none, or change"
                " training.held_out.fraction"
            )
    return fit, held_out


def _draw(positions: list[int], max_images: int, seed: int, name: str) -> list[int]:
    if max_images == 0 or len(positions) <= max_images:
        return positions
    chosen = numpy_generator(seed, "alignment samples", name).choice(
        len(positions), max_images, replace=False
    )
    return [positions[place] for place in sorted(chosen)]


def _split(latents: Latents, positions: list[int], with_captions: bool) -> Split:
    if not with_captions:
        return Split(positions)
    captions = {position: latents.caption(position) for position in positions}
    kept = {
        place: caption
        for place, caption in captions.items()
        if isinstance(caption, str) and caption.strip()
    }
    return Split(list(kept), list(kept.values()))


def embed_samples(
    backbone: Backbone,
    latents: Latents,
    split: Split,
    batch_size: int,
    num_workers: int,
    description: str,
) -> np.ndarray:
    """Return unit image embeddings, (N, d) float32, of the first crops of the samples, in order.

    Args:
        backbone: whose image tower embeds them.
        latents: where the crops, uint8, are read.
        split: the N samples.
        batch_size: crops in one pass of the tower.
        num_workers: processes that read ahead; 0 reads between passes.
        description: for the progress bar and for errors.
    """
    places = _batches(split.positions, batch_size)
    crops = load_ahead(partial(_load_crops, latents), places, num_workers, "alignment")

    def encode(batch: torch.Tensor) -> torch.Tensor:
        """Return embeddings (B, d), not normalised, of ``batch``: crops (B, H, W, 3), uint8."""
        pixels = batch.to(backbone.device).permute(0, 3, 1, 2).float() / 255
        return backbone.encode_image(pixels)

    return _store(map(encode, crops), len(split), backbone.embed_dim, description)


def embed_captions(
    backbone: Backbone, captions: Sequence[str], batch_size: int, description: str
) -> np.ndarray:
    """Return unit text embeddings, (N, d) float32, in order.

    Args:
        backbone: whose text tower embeds them.
        captions: N texts.
        batch_size: texts in one pass of the tower.
        description: for the progress bar and for errors.
    """
    batches = map(backbone.encode_text, _batches(captions, batch_size))
    return _store(batches, len(captions), backbone.embed_dim, description)


def _load_crops(latents: Latents, positions: list[int]) -> torch.Tensor:
    return torch.from_numpy(np.stack([latents[position]["crop"] for position in positions]))


def _batches(items: Sequence[T], size: int) -> list[list[T]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _store(
    batches: Iterable[torch.Tensor], number: int, width: int, description: str
) -> np.ndarray:
    """Return the rows at unit length, mapped from a file that is gone when the array is."""
    with TemporaryFile() as file:
        for part in _with_progress(batches, number, description):
            unit = F.normalize(part.float(), dim=1).cpu()
            if not bool(unit.isfinite().all()):
                raise UserError(
                    f"the encoder gives NaN or infinity for {description}: train it again"
                )
            unit.numpy().tofile(file)
        file.flush()
        return np.memmap(file, np.float32, mode="r", shape=(number, width))


@torch.inference_mode()
def _with_progress(
    batches: Iterable[torch.Tensor], number: int, description: str
) -> Iterator[torch.Tensor]:
    with show_progress(total=number, desc=description, unit="item", leave=False) as progress:
        for batch in batches:
            yield batch
            progress.update(len(batch))
