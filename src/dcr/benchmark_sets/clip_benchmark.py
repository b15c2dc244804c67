"""CLIP_benchmark's WebDataset layout, for classification and retrieval."""

from __future__ import annotations

import json
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dcr.benchmark_sets.files import IMAGE_EXTENSIONS, decode_image, read_lines, read_text
from dcr.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

_BROKEN_ARCHIVE = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)


@dataclass(frozen=True)
class Sample:
    """One sample: ``label`` and ``attributes`` in classification sets, ``captions`` in retrieval sets."""

    key: str
    image: Image.Image | None
    label: int = -1
    attributes: dict[str, int | str] | None = None
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassificationSet:
    """A classification set in CLIP_benchmark's layout; templates hold ``{c}`` where the class name goes."""

    name: str
    folder: Path
    class_names: list[str]
    templates: list[str]

    def has_split(self, split: str) -> bool:
        """Tell whether the folder of ``split`` is there."""
        return (self.folder / split).is_dir()

    def samples(self, split: str) -> Iterator[Sample]:
        """Yield key, image, class index and, where a ``json`` member holds them, attributes."""
        for members in _read_split(self.folder, split):
            where = f"sample {members['__key__']!r} of {members['__url__']}"
            yield Sample(
                key=members["__key__"],
                image=_image_of(members, where),
                label=_label_of(members, where, len(self.class_names)),
                attributes=_attributes_of(members, where),
            )


@dataclass(frozen=True)
class RetrievalSet:
    """A retrieval set in CLIP_benchmark's layout."""

    name: str
    folder: Path

    def samples(self, split: str) -> Iterator[Sample]:
        """Yield key, image and captions, one a line of the ``txt`` member."""
        for members in _read_split(self.folder, split):
            where = f"sample {members['__key__']!r} of {members['__url__']}"
            captions = tuple(line for line in _text_of(members, "txt", where).splitlines() if line.strip())
            if not captions:
                raise UserError(f"{where} has no caption: its txt member must hold one caption a line")
            yield Sample(key=members["__key__"], image=_image_of(members, where), captions=captions)


def open_clip_benchmark(folder: Path) -> ClassificationSet | RetrievalSet:
    """Open a folder of this layout; one that says nothing of its type holds classes, as in CLIP_benchmark."""
    if not (folder / "test").is_dir():
        raise UserError(f"{folder} is no benchmark set: neither Questions.csv (MMVP-VLM) nor test/ (CLIP_benchmark)")
    kind_file = folder / "dataset_type.txt"
    kind = read_text(kind_file).strip().lower() if kind_file.exists() else "classification"
    if kind == "retrieval":
        return RetrievalSet(folder.name, folder)
    if kind != "classification":
        raise UserError(f"{kind_file} must say classification or retrieval, got {kind[:40]!r}")
    class_names = read_lines(folder / "classnames.txt")
    templates_file = folder / "zeroshot_classification_templates.txt"
    templates = read_lines(templates_file)
    for template in templates:
        if "{c}" not in template:
            raise UserError(f"{templates_file}: every template must hold {{c}}, got {template[:80]!r}")
    return ClassificationSet(folder.name, folder, class_names, templates)


def _read_split(folder: Path, split: str) -> Iterator[dict]:
    """Yield each sample of a split as webdataset groups it: ``__key__``, ``__url__``, undecoded members."""
    import webdataset as wds

    counter = folder / split / "nshards.txt"
    text = read_text(counter).strip()
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:
        raise UserError(f"{counter} must hold the number of shards, from 1 to 1000000, got {text[:40]!r}")
    for index in wds.split_by_node(range(int(text))):
        shard = folder / split / f"{index}.tar"
        if not shard.is_file():
            raise UserError(f"{shard} is missing: {counter} announces {text} shards, 0.tar to {int(text) - 1}.tar")
        samples = iter(wds.tarfile_samples([{"url": str(shard)}]))
        num_samples = 0
        while (members := _next_sample(samples, shard)) is not None:
            num_samples += 1
            yield members
        if num_samples == 0:
            raise UserError(f"{shard} is empty: a shard holds at least one sample (make it again or fix {counter})")


def _next_sample(samples: Iterator[dict], shard: Path) -> dict | None:
    try:
        return next(samples, None)
    except _BROKEN_ARCHIVE as error:
        reason = str(error.args[0] if error.args else error)
        raise UserError(f"{shard} cannot be read as a tar of samples ({reason}): make it again") from error


def _image_of(members: dict, where: str) -> Image.Image:
    extension = next((name for name in IMAGE_EXTENSIONS if name in members), None)
    if extension is None:
        raise UserError(f"{where} has no image: expected one of {', '.join(IMAGE_EXTENSIONS)}")
    return decode_image(members[extension], where)


def _text_of(members: dict, extension: str, where: str) -> str:
    if extension not in members:
        raise UserError(f"{where} has no {extension} member")
    try:
        return members[extension].decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"the {extension} member of {where} is not UTF-8 text") from error


def _label_of(members: dict, where: str, num_classes: int) -> int:
    text = _text_of(members, "cls", where).strip()
    if not text.isdecimal() or len(text) > 9 or int(text) >= num_classes:
        raise UserError(
            f"the class index of {where} must lie in 0 to {num_classes - 1} (the lines of classnames.txt),"
            f" got {text[:40]!r}"
        )
    return int(text)


def _attributes_of(members: dict, where: str) -> dict[str, int | str] | None:
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
    if not isinstance(attributes, dict) or not all(isinstance(value, int | str) for value in attributes.values()):
        raise UserError(f"the attributes of {where} must map names to whole numbers or words")
    return attributes
