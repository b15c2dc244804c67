"""What a set's overrides change, in its words and in its embeddings: none are computed anew."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dcr.data.benchmark_sets import (
    CaptionSelectionSet,
    ClassificationSet,
    Group,
    MMVPSet,
    Pair,
    RetrievalSet,
    SegmentationSet,
)
from dcr.data.benchmark_sets.caption_selection.groups import check_pairing
from dcr.data.benchmark_sets.overrides import Override
from dcr.errors import UserError
from dcr.metrics.caption_selection import Pairing


def override_labels(
    dataset: ClassificationSet, keys: Sequence[str], labels: np.ndarray
) -> tuple[list[int], np.ndarray]:
    """Return which images stay, and the labels (N,) of all, corrected.

    Args:
        dataset: the set; the value of a correction is the name of a class.
        keys: (N,), of the test images.
        labels: (N,), their classes.

    Raises:
        UserError: an item is not there, or a value is no name of one class.
    """
    kept, corrections = dataset.overrides.select(keys)
    corrected = labels.copy()
    for place, override in corrections.items():
        if dataset.class_names.count(override.value) != 1:
            raise UserError(
                f"{override.where}: the value must be the name of one class, got"
                f" {override.value[:80]!r}"
            )
        corrected[place] = dataset.class_names.index(override.value)
    return kept, corrected


def override_captions(
    dataset: RetrievalSet, keys: Sequence[str], captions: Sequence[str], owner: np.ndarray
) -> tuple[list[int], list[str], np.ndarray]:
    """Return which images stay, their captions, and each caption's image among those that stay.

    Args:
        dataset: the set; the value of a correction is the image's captions, one a line.
        keys: (N,), of the images. captions: (T,), of all of them.
        owner: (T,), the image of each caption.

    Raises:
        UserError: an item is not there.
    """
    kept, corrections = dataset.overrides.select(keys)
    found: list[str] = []
    owners: list[int] = []
    for number, place in enumerate(kept):
        if place in corrections:
            own = [line.strip() for line in corrections[place].value.split("\n") if line.strip()]
        else:
            own = [captions[at] for at in np.flatnonzero(owner == place).tolist()]
        found += own
        owners += [number] * len(own)
    return kept, found, np.array(owners)


def override_groups(dataset: CaptionSelectionSet, groups: Sequence[Group]) -> list[Group]:
    """Return the groups that stay, corrected.

    Args:
        dataset: the set; the value of a correction is the pairing, as ``0-1 1-0`` for image 0 with
            caption 1 and image 1 with caption 0.
        groups: all of it.

    Raises:
        UserError: an item is not there, or a value is no pairing of its group.
    """
    kept, corrections = dataset.overrides.select([group.name for group in groups])
    return [
        _correct_group(groups[place], corrections[place]) if place in corrections else groups[place]
        for place in kept
    ]


def _correct_group(group: Group, override: Override) -> Group:
    pairs = override.value.split()
    if not all(re.fullmatch(r"[0-9]{1,3}-[0-9]{1,3}", pair) for pair in pairs):
        raise UserError(
            f"{override.where}: the value must hold pairs of image and caption, such as 0-1 1-0,"
            f" got {override.value[:80]!r}"
        )
    pairing: Pairing = tuple(
        (int(image), int(caption)) for image, _, caption in (p.partition("-") for p in pairs)
    )
    check_pairing(pairing, len(group.images), len(group.captions), override.where)
    return replace(group, pairing=pairing)


def keep_images(dataset: SegmentationSet, names: Sequence[str]) -> list[int]:
    """Return which images stay; all where the set's overrides are not asked for.

    Args:
        dataset: the set, whose images can be dropped.
        names: (N,), of its test images.

    Raises:
        UserError: an item is not there, or is to be corrected.
    """
    if not dataset.is_overridden:
        return list(range(len(names)))
    kept, corrections = dataset.overrides.select(names)
    for override in corrections.values():
        raise UserError(
            f"{override.where}: a mask cannot be corrected by a table; drop the image, or replace"
            " its file"
        )
    return kept


def override_pairs(
    dataset: MMVPSet, names: Sequence[str]
) -> tuple[list[int], list[Pair], list[bool]]:
    """Return which pairs stay, those pairs corrected, and whether the texts of each are exchanged.

    Args:
        dataset: the set; the value of a correction is ``swap``, which exchanges the two texts.
        names: (P,), of its pairs.

    Raises:
        UserError: an item is not there, or a value is another word.
    """
    kept, corrections = dataset.overrides.select(names)
    _check_swaps(corrections)
    swapped = [place in corrections for place in kept]
    pairs = [
        replace(pair, texts=pair.texts[::-1]) if is_swapped else pair
        for pair, is_swapped in zip((dataset.pairs[place] for place in kept), swapped, strict=True)
    ]
    return kept, pairs, swapped


def _check_swaps(corrections: Mapping[int, Override]) -> None:
    for override in corrections.values():
        if override.value != "swap":
            raise UserError(
                f"{override.where}: of a pair the texts can be exchanged, by the value swap, got"
                f" {override.value[:80]!r}"
            )
