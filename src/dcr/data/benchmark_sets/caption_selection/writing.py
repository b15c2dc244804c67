"""A set of any layout of caption selection, written as ``groups.jsonl`` beside its images."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from dcr.data.benchmark_sets.caption_selection.groups import CaptionSelectionSet, Group
from dcr.data.benchmark_sets.caption_selection.jsonl import GROUPS
from dcr.data.benchmark_sets.converting import image_extension
from dcr.data.benchmark_sets.parts import Box
from dcr.errors import UserError
from dcr.files import atomic_folder
from dcr.progress import show_progress

_Written = tuple[str, Box | None]  # the path of an image, and its box


def write_jsonl(dataset: CaptionSelectionSet, target: Path) -> None:
    """Write a set to ``target``, whole or not at all.

    Images keep their bytes, and equal ones are written once.

    Args:
        dataset: the set; each of its images is decoded once, so that a broken one is found here.
        target: a folder that must not exist yet.

    Raises:
        UserError: ``target`` is there, or an image or a group is broken.
    """
    if target.exists():
        raise UserError(f"{target} is there already: name a new folder, or remove it first")
    with atomic_folder(target) as place:
        (place / "images").mkdir(parents=True)
        images = _write_images(dataset, place)
        with open(place / GROUPS, "w", encoding="utf-8", newline="\n") as file:
            for group in dataset.groups():
                line = _line(group, images, dataset.published_rules)
                file.write(f"{json.dumps(line, ensure_ascii=False)}\n")


def _write_images(dataset: CaptionSelectionSet, place: Path) -> list[_Written]:
    """Return each sample's path and box."""
    paths: dict[bytes, str] = {}
    written: list[_Written] = []
    for sample in show_progress(dataset.samples("test"), desc="write", unit="image"):
        digest = hashlib.sha256(sample.content).digest()
        if digest not in paths:
            paths[digest] = f"images/{len(paths):08d}.{image_extension(sample)}"
            (place / paths[digest]).write_bytes(sample.content)
        written.append((paths[digest], sample.box))
    return written


def _line(group: Group, images: list[_Written], rules: tuple[str, ...]) -> dict[str, Any]:
    line: dict[str, Any] = {
        "group": group.name,
        "images": [
            path if box is None else {"file": path, "box": list(box)}
            for path, box in (images[place] for place in group.images)
        ],
        "captions": list(group.captions),
        "pairs": [list(pair) for pair in group.pairing],
    }
    if group.type:
        line["type"] = group.type
    if rules:
        line["rules"] = list(rules)
    return line
