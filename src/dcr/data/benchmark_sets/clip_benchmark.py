"""CLIP_benchmark's WebDataset layout, for classification and retrieval; local or behind a URL."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from dcr.data.benchmark_sets.class_names import describe_class_names, read_class_names
from dcr.data.benchmark_sets.files import IMAGE_EXTENSIONS, Folder, split_lines
from dcr.data.benchmark_sets.parts import ClassificationSet, Part, RetrievalSet, Sample
from dcr.data.benchmark_sets.splits import choose_splits, split_of
from dcr.data.shards.reading import MAX_IMAGE_BYTES, MAX_TEXT_BYTES
from dcr.data.shards.sample import split_name
from dcr.data.shards.tar_fields import TarDamaged
from dcr.data.shards.tar_headers import Member, read_members
from dcr.data.shards.tar_streams import TarStream
from dcr.errors import UserError

TEMPLATES = "zeroshot_classification_templates.txt"
KIND = "dataset_type.txt"
SPLITS = ("train", "test")
_TEXTS = ("cls", "txt", "json")
logger = logging.getLogger(__name__)

Members = dict[str, bytes]
Parse = Callable[[Members, str], Sample]


@dataclass(frozen=True)
class TarPart(Part):
    """One tar of a split; ``parse`` makes a sample of its members and of words that say where
    they are.
    """

    folder: Folder
    name: str
    parse: Parse = field(repr=False)

    def _hash(self) -> str:
        return self.folder.sha256(self.name)

    def samples(self) -> Iterator[Sample]:
        shard = self.folder.place(self.name)
        num_samples = 0
        with self.folder.open(self.name) as stream:
            groups = _read_tar(stream, shard)
            while (members := _next_group(groups, shard)) is not None:
                num_samples += 1
                yield self.parse(members, f"sample {members['__key__']!r} of {shard}")
        if num_samples == 0:
            raise UserError(
                f"{shard} is empty: a shard holds at least one sample (make it again or fix"
                " nshards.txt)"
            )


def open_clip_benchmark(folder: Folder) -> ClassificationSet | RetrievalSet:
    """Open the set in ``folder``, of the kind that `kind_of` tells; UserError if its files do
    not fit together.
    """
    if kind_of(folder) == "retrieval":
        splits, notes = _find_splits(folder, _retrieval_sample)
        return RetrievalSet(folder.name, str(folder), splits, notes=tuple(notes))
    names = read_class_names(folder)
    splits, notes = _find_splits(folder, partial(_classification_sample, num_classes=len(names)))
    notes += describe_class_names(names)
    return ClassificationSet(
        folder.name, str(folder), splits, names, read_templates(folder), notes=tuple(notes)
    )


def kind_of(folder: Folder) -> str:
    """Return which kind the set in ``folder`` is, ``retrieval`` or ``classification``.

    As in CLIP_benchmark, a set whose folder says nothing is one of classification.
    """
    kind = folder.read_text(KIND).strip().lower() if folder.has_file(KIND) else "classification"
    if kind not in ("classification", "retrieval"):
        raise UserError(
            f"{folder.place(KIND)} must say classification or retrieval, got {kind[:40]!r}"
        )
    return kind


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


def _find_splits(folder: Folder, parse: Parse) -> tuple[dict[str, list[Part]], list[str]]:
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


def _read_tar(stream: BinaryIO, shard: str) -> Iterator[Members]:
    """Yield the members of each sample that sets use, undecoded, and its key; tell of members
    of no sample.
    """
    tar = TarStream(stream)
    sample = Members()
    num_passed_over = 0
    first = ""
    for member in read_members(tar.read):
        if member.is_folder:
            continue
        name = split_name(member.name) if member.is_file else None
        if name is None:
            num_passed_over += 1
            first = first or member.name
            continue
        key, extension = name
        if sample and sample["__key__"] != key:
            yield sample
            sample = Members()
        sample.setdefault("__key__", key)
        if extension in sample:
            raise TarDamaged(f"{member.name[:80]!r}: duplicate file name in tar file")
        if extension in (*IMAGE_EXTENSIONS, *_TEXTS):
            sample[extension] = _content(tar, member, extension, sample)
    if sample:
        yield sample
    if num_passed_over:
        logger.warning("%s: %d members were passed over, %r first", shard, num_passed_over, first)


def _content(tar: TarStream, member: Member, extension: str, sample: Members) -> bytes:
    limit = (
        MAX_TEXT_BYTES if extension in _TEXTS else MAX_IMAGE_BYTES - sum(map(len, sample.values()))
    )
    if member.size > limit:
        raise TarDamaged(
            f"{member.name[:80]!r} is too large: a sample has at most {MAX_IMAGE_BYTES >> 20} MiB,"
            f" a text {MAX_TEXT_BYTES >> 20}"
        )
    content = tar.read(member.offset_data, member.size)
    if len(content) < member.size:
        raise TarDamaged("it is cut short within a member")
    return content


def _next_group(groups: Iterator[Members], shard: str) -> Members | None:
    try:
        return next(groups, None)
    except (TarDamaged, OSError) as error:
        raise UserError(
            f"{shard} cannot be read as a tar of samples ({error}): make it again"
        ) from error


def _classification_sample(members: Members, where: str, num_classes: int) -> Sample:
    return Sample(
        members["__key__"],
        _image_of(members, where),
        where,
        label=_label_of(members, where, num_classes),
        attributes=_attributes_of(members, where),
    )


def _retrieval_sample(members: Members, where: str) -> Sample:
    captions = tuple(split_lines(_text_of(members, "txt", where)))
    if not captions:
        raise UserError(f"{where} has no caption: its txt member must hold one caption a line")
    return Sample(members["__key__"], _image_of(members, where), where, captions=captions)


def _image_of(members: Members, where: str) -> bytes:
    extension = next((name for name in IMAGE_EXTENSIONS if name in members), None)
    if extension is None:
        raise UserError(f"{where} has no image: expected one of {', '.join(IMAGE_EXTENSIONS)}")
    return members[extension]


def _text_of(members: Members, extension: str, where: str) -> str:
    if extension not in members:
        raise UserError(f"{where} has no {extension} member")
    try:
        return members[extension].decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"the {extension} member of {where} is not UTF-8 text") from error


def _label_of(members: Members, where: str, num_classes: int) -> int:
    text = _text_of(members, "cls", where).strip()
    if not text.isdecimal() or len(text) > 9 or int(text) >= num_classes:
        raise UserError(
            f"the class index of {where} must lie in 0 to {num_classes - 1} (the lines of"
            f" classnames.txt), got {text[:40]!r}"
        )
    return int(text)


def _attributes_of(members: Members, where: str) -> dict[str, int | str] | None:
    if "json" not in members:
        return None
    try:
        metadata = json.loads(_text_of(members, "json", where))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"the json member of {where} is not valid JSON") from error
    attributes = metadata.get("attributes") if isinstance(metadata, dict) else None
    if attributes is None:
        return None
    if not isinstance(attributes, dict) or not all(
        isinstance(value, int | str) for value in attributes.values()
    ):
        raise UserError(f"the attributes of {where} must map names to whole numbers or words")
    return attributes
