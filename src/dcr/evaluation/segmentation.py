"""Patch tokens judged without a language model: which class does each pixel show?

Two readers of frozen tokens, learnt from patches of the train split, and asked on the test split:

- a linear layer, whose logits, one a patch, are upsampled bilinearly to the pixels (the linear
  segmentation of Oquab et al., 2024, DINOv2, section 7.4; there it is trained by AdamW with
  augmentation, here it is the optimum of a logistic regression, see
  `dcr.metrics.patch_readers.fit_linear`),
- the vote of the nearest patches, upsampled likewise (Balazevic et al., 2023, Towards In-Context
  Scene Understanding; see `dcr.metrics.patch_readers.vote_neighbours`).

Patches of the train split are drawn alike, without augmentation. Images are seen as the tower's own
preprocessing resizes and crops them, once, and so are masks: numbers are not those of sliding
windows over whole images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from dcr.data.benchmark_sets import SegmentationSet
from dcr.errors import UserError
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.overriding import keep_images
from dcr.evaluation.patch_tokens import TokenBatch, read_tokens
from dcr.evaluation.results import EvaluationOptions, Items, Result, outcomes_of, score
from dcr.fingerprints import code_hash
from dcr.metrics.patch_readers import LinearReader, fit_linear, vote_neighbours
from dcr.metrics.segmentation import class_ious, patch_shares, pixel_counts, segmentation_scores
from dcr.seeds import numpy_generator

TASK = "semantic_segmentation"
READERS = ("linear", "knn")


@dataclass(frozen=True)
class _Patches:
    """Patches of the train split: tokens (M, w) float32, and shares (M, C) of their classes."""

    tokens: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True)
class _Readers:
    """Both readers on the encoder's device.

    Attributes:
        weight, bias: (w, C) and (C,), float32, of the linear layer.
        memory: (M, w), tokens of length 1.
        shares: (M, C), each row of sum 1.
        num_neighbours, temperature: of the vote.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    memory: torch.Tensor
    shares: torch.Tensor
    num_neighbours: int
    temperature: float

    def read(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `READERS` say of the classes of ``tokens`` (P, w): (P, C) each."""
        votes = vote_neighbours(
            tokens, self.memory, self.shares, self.num_neighbours, self.temperature
        )
        return tokens @ self.weight + self.bias, votes


def evaluate_segmentation(
    embedder: Embedder, dataset: SegmentationSet, options: EvaluationOptions
) -> Iterator[Result]:
    """The mean IoU of both readers, over the pixels of all test images; an item is an image.

    Args:
        embedder: the encoder.
        dataset: the set.
        options: how many patches readers learn from, drawn by the bootstrap's seed, and how.

    Raises:
        UserError: an image or mask is broken, or readers have nothing to learn from.
    """
    names = embedder.words((dataset.fingerprint, "classes"), dataset.read_classes)

    def compute() -> np.ndarray:
        """Return the counts of each test image by reader, flattened to (N, 2 * 3 * C)."""
        return _count(embedder, dataset, len(names), options).reshape(-1, 2 * 3 * len(names))

    table = embedder.once(
        compute,
        f"pixel counts: {dataset.name}",
        lambda: {
            "pixel_counts": dataset.fingerprint,
            "code": code_hash(__name__),
            "options": _options_of(options),
        },
    )
    keys = dataset.names("test")
    kept = keep_images(dataset, keys)
    counts = table.reshape(len(keys), len(READERS), 3, len(names))[kept]
    yield _measure(dataset, [keys[place] for place in kept], names, counts, options)


def _options_of(options: EvaluationOptions) -> list[float]:
    return [
        options.num_segmentation_patches,
        options.num_segmentation_neighbours,
        options.segmentation_temperature,
        options.probe_inverse_regularization,
        options.probe_max_iterations,
        options.bootstrap.seed,
    ]


def _count(
    embedder: Embedder, dataset: SegmentationSet, num_classes: int, options: EvaluationOptions
) -> np.ndarray:
    """Return the `pixel_counts` of each test image by reader, (N, 2, 3, C)."""
    readers = _learn(embedder, _draw_patches(embedder, dataset, num_classes, options), options)
    counts = []
    for batch in read_tokens(embedder, dataset.splits["test"], f"{dataset.name} test"):
        for tokens, mask in zip(batch.tokens, batch.masks, strict=True):
            predicted = _predict(readers, tokens, batch.patches_a_side, mask.shape[0])
            counts.append([pixel_counts(mask, classes, num_classes) for classes in predicted])
    return np.array(counts)


def _draw_patches(
    embedder: Embedder, dataset: SegmentationSet, num_classes: int, options: EvaluationOptions
) -> _Patches:
    """Return patches of the train split in which a pixel counts.

    They are drawn alike where there are more than wanted.
    """
    tokens: list[np.ndarray] = []
    shares: list[np.ndarray] = []
    chosen = np.empty(0, dtype=np.int64)
    start = 0
    for batch in read_tokens(embedder, dataset.splits["train"], f"{dataset.name} train"):
        flat = batch.tokens.flatten(0, 1)
        if start == 0:
            chosen = _choose(len(dataset.names("train")) * batch.tokens.shape[1], options)
        own = chosen[slice(*np.searchsorted(chosen, [start, start + len(flat)]))] - start
        start += len(flat)
        found = _shares_of(batch, num_classes)[own]
        counted = found.sum(axis=1) > 0
        tokens.append(flat[torch.from_numpy(own[counted]).to(flat.device)].cpu().numpy())
        shares.append(found[counted])
    patches = _Patches(np.concatenate(tokens), np.concatenate(shares))
    if len(patches.tokens) == 0:
        raise UserError(
            f"{dataset.folder}: none of the drawn train patches has a pixel of a class: raise"
            " evaluation.num_segmentation_patches"
        )
    return patches


def _choose(num_patches: int, options: EvaluationOptions) -> np.ndarray:
    """Return which patches of the whole split are drawn, sorted."""
    wanted = options.num_segmentation_patches
    if num_patches <= wanted:
        return np.arange(num_patches)
    generator = numpy_generator(options.bootstrap.seed, "segmentation patches")
    return np.sort(generator.choice(num_patches, wanted, replace=False))


def _shares_of(batch: TokenBatch, num_classes: int) -> np.ndarray:
    return patch_shares(batch.masks, batch.patches_a_side, num_classes).reshape(-1, num_classes)


def _learn(embedder: Embedder, patches: _Patches, options: EvaluationOptions) -> _Readers:
    linear: LinearReader = fit_linear(
        patches.tokens,
        patches.shares,
        options.probe_inverse_regularization,
        options.probe_max_iterations,
    )
    device = embedder.backbone.device
    shares = torch.from_numpy(patches.shares).to(device)
    return _Readers(
        torch.from_numpy(linear.weight).float().to(device),
        torch.from_numpy(linear.bias).float().to(device),
        functional.normalize(torch.from_numpy(patches.tokens).to(device), dim=-1),
        shares / shares.sum(dim=1, keepdim=True),
        min(options.num_segmentation_neighbours, len(shares)),
        options.segmentation_temperature,
    )


def _predict(
    readers: _Readers, tokens: torch.Tensor, patches_a_side: int, side: int
) -> Iterator[np.ndarray]:
    """Yield the classes (S, S) that each reader says an image's pixels are of."""
    with torch.inference_mode():
        for found in readers.read(tokens):
            grid = found.T.reshape(1, -1, patches_a_side, patches_a_side)
            whole = functional.interpolate(grid, (side, side), mode="bilinear", align_corners=False)
            yield whole[0].argmax(dim=0).cpu().numpy()


def _measure(
    dataset: SegmentationSet,
    keys: list[str],
    names: list[str],
    counts: np.ndarray,
    options: EvaluationOptions,
) -> Result:
    """Return the result of ``counts`` (N, 2, 3, C) by image and reader."""

    def scores(draws: np.ndarray) -> dict[str, np.ndarray]:
        """Return the mean IoU by reader, images drawn ``draws`` (..., N) times."""
        return {
            f"{reader}_miou": segmentation_scores(counts[:, place], draws)["miou"]
            for place, reader in enumerate(READERS)
        }

    extra: dict[str, float] = {}
    for place, reader in enumerate(READERS):
        extra[f"{reader}_pixel_acc"] = float(segmentation_scores(counts[:, place])["pixel_acc"])
        ious = class_ious(counts[:, place].sum(axis=0, dtype=np.float64))
        extra |= {
            f"{reader}_iou_{name}": float(iou)
            for name, iou in zip(names, ious, strict=True)
            if not np.isnan(iou)
        }
    if np.isnan(extra["linear_pixel_acc"]):
        raise UserError(
            f"{dataset.folder}: no pixel of a class is left in its test masks, as the tower"
            " crops them"
        )
    linear = counts[:, 0].astype(np.float64)
    right = linear[:, 0].sum(axis=1) / np.maximum(linear[:, 2].sum(axis=1), 1)
    return Result(
        "segmentation",
        dataset.name,
        TASK,
        **score(scores, Items("image", keys), options.bootstrap),
        outcomes=outcomes_of(keys, ["linear"] * len(keys), right),
        extra=extra,
    )
