"""CLIP_benchmark's WebDataset layout for its task ``image_caption_selection``."""

from __future__ import annotations

from collections.abc import Iterator

from dcr.data.benchmark_sets.caption_selection.groups import (
    MAX_MEMBERS,
    CaptionSelectionSet,
    Group,
)
from dcr.data.benchmark_sets.clip_benchmark import caption_sample, find_splits
from dcr.data.benchmark_sets.files import Folder
from dcr.data.benchmark_sets.parts import Part, Sample
from dcr.data.benchmark_sets.tar_parts import Members
from dcr.errors import UserError

RULES = ("group_score", "text_score", "image_score")


def open_web_dataset(folder: Folder) -> CaptionSelectionSet:
    """Open tars of samples of an image and its captions in ``txt``, one a line, the first right.

    The captions are read with the images, tar by tar; opening reads none of them.

    Args:
        folder: local, or behind a URL; ``dataset_type.txt`` says ``image_caption_selection``, or
            ``retrieval``, which is all that CLIP_benchmark writes itself.

    Raises:
        UserError: its files do not fit together.
    """
    splits, notes = find_splits(folder, _sample)
    parts = splits["test"]
    if "train" in splits:
        notes.append("left out: the train split, since nothing is learned from it")
    return CaptionSelectionSet(
        folder.name,
        str(folder),
        {"test": parts},
        groups=lambda: _groups(parts),
        published_rules=RULES,
        notes=tuple(notes),
    )


def _sample(members: Members) -> Sample:
    sample = caption_sample(members)
    if len(sample.captions) < 2:
        raise UserError(
            f"{members.where} has one caption: its txt member must hold the right one, then wrong"
            " ones, one a line"
        )
    if len(sample.captions) > MAX_MEMBERS:
        raise UserError(
            f"{members.where} has {len(sample.captions)} captions: a group has {MAX_MEMBERS} at"
            " most, one a line of its txt member"
        )
    return sample


def _groups(parts: list[Part]) -> Iterator[Group]:
    number = 0
    for part in parts:
        for sample in part.samples():
            name = f"{part.name}/{sample.key}"
            yield Group(name, (number,), sample.captions, ((0, 0),))
            number += 1
