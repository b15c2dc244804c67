"""Classes of pixels: what share of each class a patch shows, and how well predictions lie on masks.

Notation: N images, C classes, S side of a square mask in pixels, g patches a side. A mask holds
class indices, uint8; `IGNORED` counts nowhere.
"""

from __future__ import annotations

import numpy as np

IGNORED = 255
"""The index of pixels that count nowhere, as VOC's outlines of objects."""


def patch_shares(masks: np.ndarray, patches_a_side: int, num_classes: int) -> np.ndarray:
    """Return what share of each patch's pixels is of each class, (N, g * g, C) float32.

    A row adds up to the share of pixels that count: to 0 where all are ignored.

    Args:
        masks: (N, S, S) uint8; g divides S.
        patches_a_side: g, of a grid of square patches, counted row by row.
        num_classes: C; larger indices but `IGNORED` are refused.
    """
    number, side = masks.shape[:2]
    if side % patches_a_side:
        raise ValueError(f"{patches_a_side} patches a side do not divide {side} pixels")
    counted = masks != IGNORED
    if (masks[counted] >= num_classes).any():
        raise ValueError(f"masks must hold classes below {num_classes} or {IGNORED}")
    length = side // patches_a_side
    place = np.arange(side) // length
    patch = place[:, None] * patches_a_side + place
    num_patches = patches_a_side**2
    cell = (np.arange(number)[:, None, None] * num_patches + patch) * num_classes + masks
    counts = np.bincount(cell[counted], minlength=number * num_patches * num_classes)
    shares = counts.reshape(number, num_patches, num_classes) / length**2
    return np.asarray(shares, dtype=np.float32)


def pixel_counts(mask: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Return how many pixels of each class are predicted right, are predicted, and are there.

    They are (3, C) int64, all that is needed of a confusion matrix, which adds up over images.

    Args:
        mask: (S, S) uint8; ignored pixels are counted in none of the three.
        predicted: (S, S), classes of all pixels.
        num_classes: C.
    """
    if mask.shape != predicted.shape:
        raise ValueError(
            f"mask and predicted must have one shape, got {mask.shape} and {predicted.shape}"
        )
    counted = mask != IGNORED
    truth = mask[counted].astype(np.int64)
    found = predicted[counted].astype(np.int64)
    return np.stack(
        [np.bincount(part, minlength=num_classes) for part in (truth[truth == found], found, truth)]
    )


def class_ious(counts: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each class, (..., C) float64.

    It is NaN for a class that is neither there nor predicted.

    Args:
        counts: (..., 3, C), sums over images of what `pixel_counts` gives.
    """
    right, predicted, there = np.moveaxis(np.asarray(counts, dtype=np.float64), -2, 0)
    union = predicted + there - right
    ious: np.ndarray = np.divide(right, union, out=np.full_like(union, np.nan), where=union > 0)
    return ious


def segmentation_scores(
    counts: np.ndarray, draws: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return ``miou``, the mean of `class_ious`, and ``pixel_acc``, the share of right pixels.

    Both are of the pixels of all drawn images together (Everingham et al., 2015, for the mean IoU),
    not means over images. The mean is over the classes that are there or predicted anywhere, as in
    mmsegmentation; to a draw without a pixel of one of them its IoU in all images stands in, since
    the mean over fewer classes would be that of another measure. NaN where no pixel counts.

    Args:
        counts: (N, 3, C), see `pixel_counts`.
        draws: (..., N), how often each image is drawn; once by default.
    """
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    drawn = np.ones(len(counts)) if draws is None else draws
    sums = (drawn @ flat).reshape(*np.shape(drawn)[:-1], *counts.shape[1:])
    whole = class_ious(flat.sum(axis=0).reshape(counts.shape[1:]))
    known = ~np.isnan(whole)
    ious = class_ious(sums)[..., known]
    ious = np.where(np.isnan(ious), whole[known], ious)
    right = sums[..., 0, :].sum(axis=-1)
    there = sums[..., 2, :].sum(axis=-1)
    return {
        "miou": np.where(there > 0, ious.mean(axis=-1), np.nan) if known.any() else there * np.nan,
        "pixel_acc": _share(right, there),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    empty = np.full(np.shape(whole), np.nan)
    share: np.ndarray = np.divide(part, whole, out=empty, where=np.asarray(whole) > 0)
    return share
