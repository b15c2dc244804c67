"""CLIP_benchmark's WebDataset layout, local or behind a URL: classification and retrieval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from dcr.data.benchmark_sets.class_names import describe_class_names, read_class_names
from dcr.data.benchmark_sets.files import Folder, split_lines
from dcr.data.benchmark_sets.parts import ClassificationSet, Part, RetrievalSet, Sample
from dcr.data.benchmark_sets.splits import choose_splits, split_of
from dcr.data.benchmark_sets.tar_parts import Members, Parse, TarPart
from dcr.errors import UserError

TEMPLATES = "zeroshot_classification_templates.txt"
KIND = "dataset_type.txt"
SPLITS = ("train", "test")
_KINDS = {
    "classification": "classification",
    "retrieval": "retrieval",
    "image_caption_selection": "caption_selection",
}


def open_clip_benchmark(folder: Folder) -> ClassificationSet | RetrievalSet:
    """Open the set in ``folder``, of the kind that `kind_of` tells.

    Raises:
        UserError: its files do not fit together.
    """
    if kind_of(folder) == "retrieval":
        splits, notes = find_splits(folder, caption_sample)
        return RetrievalSet(folder.name, str(folder), splits, notes=tuple(notes))
    names = read_class_names(folder)
    splits, notes = find_splits(folder, partial(_classification_sample, num_classes=len(names)))
    notes += describe_class_names(names)
    return ClassificationSet(
        folder.name, str(folder), splits, names, read_templates(folder), notes=tuple(notes)
    )


def kind_of(folder: Folder) -> str:
    """Return which kind the set in ``folder`` is: classification, retrieval or caption_selection.

    As in CLIP_benchmark, a set whose folder says nothing is one of classification.
    """
    kind = folder.read_text(KIND).strip().lower() if folder.has_file(KIND) else "classification"
    if kind not in _KINDS:
        raise UserError(
            f"{folder.place(KIND)} must say one of {', '.join(_KINDS)}, got {kind[:40]!r}"
        )
    return _KINDS[kind]


def read_templates(folder: Folder) -> list[str]:
    """Return the lines of the templates' file in ``folder``, each of which must hold ``{c}``."""
    templates = folder.read_lines(TEMPLATES)
    for template in templates:
        if "{c}" not in template:
            raise UserError(
                f"{folder.place(TEMPLATES)}: every template must hold {{c}}, got {template[:80]!r}"
            )
    return templates


def is_clip_benchmark(folder: Folder) -> bool:
    """Tell whether a local folder has this layout."""
    return folder.has_file(KIND) or any(
        _holds_tars(folder, name) for name in folder.folders() if split_of(name)
    )


def _holds_tars(folder: Folder, split: str) -> bool:
    return any(folder.has_file(f"{split}/{name}") for name in ("nshards.txt", "0.tar"))


def find_splits(folder: Folder, parse: Parse) -> tuple[dict[str, list[Part]], list[str]]:
    """Return the parts of each split of the set in ``folder``, and what must be told of them.

    Args:
        folder: local, or behind a URL.
        parse: makes a sample of the members of a tar.

    Raises:
        UserError: there is no test split, or tars do not fit ``nshards.txt``.
    """
    if folder.is_local:
        names = [name for name in folder.folders() if split_of(name)]
    else:  # over http no folder can be listed
        names = [name for name in SPLITS if folder.has_file(f"{name}/nshards.txt")]
    chosen, notes = choose_splits(names, folder)
    if "test" not in chosen:
        raise UserError(f"{folder} has no test split: {folder.place('test')} does not exist")
    splits = {split: _list_tars(folder, name, parse) for split, name in chosen.items()}
    return splits, [
        *notes,
        *(note for parts in splits.values() for note in _describe_surplus(folder, parts)),
    ]


def _list_tars(folder: Folder, split: str, parse: Parse) -> list[Part]:
    counter = f"{split}/nshards.txt"
    text = folder.read_text(counter).strip()
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:
        where = folder.place(counter)
        raise UserError(
            f"{where} must hold the number of shards, from 1 to 1000000, got {text[:40]!r}"
        )
    names = [f"{split}/{index}.tar" for index in range(int(text))]
    for name in names:
        if not folder.has_file(name):
            raise UserError(
                f"{folder.place(name)} is missing: {folder.place(counter)} announces {text} shards,"
                f" 0.tar to {int(text) - 1}.tar"
            )
    return [TarPart(folder, name, parse) for name in names]


def _describe_surplus(folder: Folder, parts: Sequence[Part]) -> list[str]:
    split = parts[0].name.partition("/")[0]
    if folder.has_file(surplus := f"{split}/{len(parts)}.tar"):
        return [
            f"left out: tars from {surplus} on, since {split}/nshards.txt announces {len(parts)}"
        ]
    return []


def _classification_sample(members: Members, num_classes: int) -> Sample:
    return Sample(
        members.key,
        members.image(),
        members.where,
        label=_label_of(members, num_classes),
        attributes=_attributes_of(members),
    )


def caption_sample(members: Members) -> Sample:
    """Return the sample of an image and its captions, one a line, from ``members`` of a tar.

    Raises:
        UserError: image or captions are missing.
    """
    captions = tuple(split_lines(members.text("txt")))
    if not captions:
        raise UserError(
            f"{members.where} has no caption: its txt member must hold one caption a line"
        )
    return Sample(members.key, members.image(), members.where, captions=captions)


def _label_of(members: Members, num_classes: int) -> int:
    text = members.text("cls").strip()
    if not text.isdecimal() or len(text) > 9 or int(text) >= num_classes:
        raise UserError(
            f"the class index of {members.where} must lie in 0 to {num_classes - 1} (the lines of"
            f" classnames.txt), got {text[:40]!r}"
        )
    return int(text)


def _attributes_of(members: Members) -> dict[str, int | str] | None:
    if "json" not in members.contents:
        return None
    text = members.text("json")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the json member of {members.where} is not valid JSON") from error
    attributes = metadata.get("attributes") if isinstance(metadata, dict) else None
    if attributes is None:
        return None
    if not isinstance(attributes, dict) or not all(
        isinstance(value, int | str) for value in attributes.values()
    ):
        raise UserError(
            f"the attributes of {members.where} must map names to whole numbers or words"
        )
    return attributes
