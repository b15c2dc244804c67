"""What the demo's base models are trained on, and the loop that all three share.

They are trained on the rendered shards in memory. The images of the demo fill three megabytes each
thousand at 32 pixels, so they are decoded once and kept as one uint8 tensor; nothing here is meant
for shards of real size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn

from dcr.data.decoding import decode_rgb
from dcr.data.developing import DecodingError
from dcr.data.shards import read_samples
from dcr.errors import UserError
from dcr.progress import show_progress
from dcr.seeds import derive_seed, torch_generator

T = TypeVar("T")


@dataclass(frozen=True)
class ImageSet:
    """Images, (N, 3, S, S) uint8, with their captions and attributes in the same order."""

    images: torch.Tensor
    captions: list[str]
    attributes: list[dict[str, int]]

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, indices: torch.Tensor) -> torch.Tensor:
        """Return pixels in [0, 1], (B, 3, S, S) float32, of the images at ``indices``, (B,)."""
        return self.images[indices].float() / 255

    def part(self, start: int, stop: int) -> ImageSet:
        """Return the images from ``start`` up to ``stop``."""
        return ImageSet(
            self.images[start:stop], self.captions[start:stop], self.attributes[start:stop]
        )


def load_images(shards: Sequence[str], image_size: int) -> ImageSet:
    """Decode every readable sample that states its attributes, as the models will see it.

    Args:
        shards: paths or URLs of tars.
        image_size: side in pixels; as for CLIP the shortest side is resized bicubically and the
            middle cropped.

    Raises:
        UserError: there is no such sample.
    """
    images = []
    captions = []
    attributes = []
    for shard in show_progress(shards, desc="reading shards", unit="shard"):
        for sample in read_samples(shard):
            image = decode_scene(sample.image, image_size)
            if image is not None and isinstance(sample.metadata.get("attributes"), dict):
                images.append(image)
                captions.append(sample.caption or "")
                attributes.append(sample.metadata["attributes"])
    if not images:
        raise UserError(
            f"the {len(shards)} shards hold no image with attributes, so the demo's base models"
            " cannot be trained on them; draw the demo's own with `kedro run --pipelines scenes`"
        )
    return ImageSet(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), captions, attributes
    )


def split_images(images: ImageSet, num_held_out: int) -> tuple[ImageSet, ImageSet]:
    """Return the images to train on, and the last ``num_held_out``, to measure the models on.

    Args:
        images: in the order of the shards.
        num_held_out: how many, from the end.

    Raises:
        UserError: nothing is left to train on.
    """
    num_training = len(images) - num_held_out
    if num_training < 1:
        raise UserError(
            f"num_held_out must be below the {len(images)} images of the shards, got {num_held_out}"
        )
    return images.part(0, num_training), images.part(num_training, len(images))


def optimise(
    model: torch.nn.Module,
    batch_loss: Callable[[torch.Tensor], torch.Tensor],
    num_items: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    description: str,
) -> None:
    """Train ``model`` in place with AdamW under a one-cycle learning rate.

    The progress bar shows loss and images/s.

    Args:
        model: its parameters are trained, and left in evaluation mode.
        batch_loss: maps the indices of a batch, (batch_size,), to a scalar loss.
        num_items: indices are below this; each is drawn once before any is drawn again.
        steps: number of batches.
        batch_size: number of indices in each.
        learning_rate: the largest of the cycle, reached after a tenth of the steps.
        seed: decides the order of the items.
        description: names what is trained: in the bar, and in the stream of its random numbers.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    batches = _batches(num_items, batch_size, torch_generator(seed, description, "order"))
    model.train()
    with show_progress(
        total=steps * batch_size, desc=f"training {description}", unit="image"
    ) as bar:
        for _, indices in zip(range(steps), batches, strict=False):
            loss = batch_loss(indices)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            bar.update(batch_size)
    model.eval()


@contextmanager
def only_used_tokens(model: nn.Module, tokens: torch.Tensor) -> Iterator[torch.Tensor]:
    """Shrink the token embedding to the rows that ``tokens`` name, and write these back at the end.

    Yields the tokens renumbered in the same order, so that the end token stays the highest, where
    open_clip pools; transformers pools at the end token's own number, so that of its models the
    hidden states alone mean something here. A few dozen of 49408 rows are used; the optimizer would
    walk through all of them at every step.

    Args:
        model: a text tower of open_clip or transformers, or a model with one, its embedding named
            ``token_embedding``.
        tokens: all that it will be trained on, int64 of any shape; yielded in the same shape.
    """
    owner = next(part for part in model.modules() if hasattr(part, "token_embedding"))
    whole = owner.token_embedding
    assert isinstance(whole, nn.Embedding)
    used, renumbered = tokens.unique(return_inverse=True)
    shrunk = nn.Embedding.from_pretrained(whole.weight.detach()[used], freeze=False)
    owner.token_embedding = shrunk
    yield renumbered
    with torch.no_grad():
        whole.weight[used] = shrunk.weight
    owner.token_embedding = whole


def seeded(build: Callable[[], T], seed: int, purpose: str) -> T:
    """Build a model whose first weights depend on ``seed`` alone; the global stream stays.

    Args:
        build: makes the model; it may draw from the global stream alone.
        seed: the run's.
        purpose: tells models of one seed apart.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, purpose, "weights"))
        return build()


def batched(num_items: int, batch_size: int) -> Sequence[torch.Tensor]:
    """Return the indices of ``num_items`` in order, ``batch_size`` at a time."""
    batches: Sequence[torch.Tensor] = torch.arange(num_items).split(batch_size)
    return batches


def _batches(num_items: int, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    waiting = torch.empty(0, dtype=torch.long)
    while True:
        while len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(num_items, generator=generator)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def decode_scene(image: bytes | None, image_size: int) -> np.ndarray | None:
    """Return (S, S, 3) uint8, or None for bytes that are no image, which validation tells of.

    Args:
        image: an encoded picture; None for a sample without one.
        image_size: S, in pixels.
    """
    try:
        decoded = decode_rgb(image or b"")
    except DecodingError:
        return None
    return np.asarray(ImageOps.fit(decoded, (image_size, image_size), Image.Resampling.BICUBIC))
