"""Retrieval and MMVP-VLM sets from folders of images and a table, in layouts other tools read."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from dcr.data.benchmark_sets.clip_benchmark import KIND
from dcr.data.benchmark_sets.converting import image_extension, write_lines, write_split
from dcr.data.benchmark_sets.files import IMAGE_EXTENSIONS, Folder
from dcr.data.benchmark_sets.listing import Listing
from dcr.data.benchmark_sets.mmvp_vlm import IMAGE_FOLDERS
from dcr.data.benchmark_sets.parts import Sample
from dcr.errors import UserError
from dcr.files import atomic_folder
from dcr.progress import show_progress

CAPTIONS = "captions.csv"
PAIRS = "pairs.csv"
_CAPTION_COLUMNS = ("image", "caption")
_PAIR_COLUMNS = ("type", "first_image", "first_statement", "second_image", "second_statement")


def build_retrieval(source: Path, target: Path, max_shard_bytes: int = 1 << 28) -> None:
    """Write images with captions in CLIP_benchmark's layout, whole or not at all.

    Images keep their bytes.

    Args:
        source: a folder of images. Their captions are the rows of ``captions.csv`` (columns image
            and caption, several rows an image), or else the lines of the ``.txt`` beside each.
        target: a folder that must not exist yet.
        max_shard_bytes: of images after which a tar ends.

    Raises:
        UserError: an image has no caption, is missing or cannot be decoded.
    """
    check_new(target)
    folder = open_source(source)
    captions = _captions_of_table(folder) if folder.has_file(CAPTIONS) else _captions_beside(folder)
    if not captions:
        raise UserError(f"{source} has no image of type {', '.join(IMAGE_EXTENSIONS)}")
    with atomic_folder(target) as place:
        write_lines(place / KIND, ["retrieval"])
        samples = show_progress(
            _retrieval_samples(folder, captions), desc="write", unit="image", total=len(captions)
        )
        write_split(place / "test", iter(samples), max_shard_bytes)


def build_mmvp(source: Path, target: Path) -> None:
    """Write pairs of images in MMVP-VLM's layout, whole or not at all; images keep their bytes.

    Args:
        source: a folder with ``pairs.csv``: a row a pair, of type, first_image, first_statement,
            second_image and second_statement. Statements go without "a photo of", which the
            benchmark puts before them.
        target: a folder that must not exist yet.

    Raises:
        UserError: a row is incomplete, or an image is missing or cannot be decoded.
    """
    check_new(target)
    folder = open_source(source)
    rows = [
        row
        for pair in _read_table(folder, PAIRS, _PAIR_COLUMNS)
        for row in (pair[:3], (pair[0], *pair[3:]))
    ]
    with atomic_folder(target) as place:
        questions = [("Question ID", "Type", "Statement")]
        for number, row in enumerate(show_progress(rows, desc="write", unit="image"), 1):
            kind, image, statement = row
            if "/" in kind or "\\" in kind or kind in (".", ".."):
                raise UserError(
                    f"{folder.place(PAIRS)}: a type is the name of a folder, got {kind!r}"
                )
            sample = _sample_of(folder, image)
            path = place / IMAGE_FOLDERS[0] / kind / f"{number}.{image_extension(sample)}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sample.content)
            questions.append((str(number), kind, statement))
        with open(place / "Questions.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(questions)


def check_new(target: Path) -> None:
    """Raise UserError if the folder ``target`` is there already."""
    if target.exists():
        raise UserError(f"{target} is there already: name a new folder, or remove it first")


def open_source(source: Path) -> Folder:
    """Return the folder ``source``; UserError if there is none."""
    if not source.is_dir():
        raise UserError(f"there is no folder {source}")
    return Folder(str(source))


def _captions_of_table(folder: Folder) -> dict[str, list[str]]:
    captions = defaultdict(list)
    for image, caption in _read_table(folder, CAPTIONS, _CAPTION_COLUMNS):
        captions[image].append(caption)
    return captions


def _captions_beside(folder: Folder) -> dict[str, list[str]]:
    images = Listing(Path(folder.path)).images(Path(folder.path))
    return {image: folder.read_lines(str(Path(image).with_suffix(".txt"))) for image in images}


def _retrieval_samples(folder: Folder, captions: dict[str, list[str]]) -> Iterator[Sample]:
    for image, texts in captions.items():
        yield _sample_of(folder, image, tuple(" ".join(text.split()) for text in texts))


def _sample_of(folder: Folder, image: str, captions: tuple[str, ...] = ()) -> Sample:
    """Return an image of the folder; one that lies elsewhere is refused."""
    inside = Path(folder.path).resolve()
    if not (inside / image).resolve().is_relative_to(inside):
        raise UserError(
            f"{folder}: image {image!r} lies outside of the folder: tables name images inside it"
        )
    return Sample(image, folder.read_bytes(image), folder.place(image), captions=captions)


def _read_table(folder: Folder, name: str, columns: Sequence[str]) -> list[tuple[str, ...]]:
    where = folder.place(name)
    try:
        lines = list(csv.reader(io.StringIO(folder.read_text(name), newline=""), strict=True))
    except csv.Error as error:
        raise UserError(f"{where} is not a readable csv file: {error}") from error
    if not lines or [cell.strip() for cell in lines[0]] != list(columns):
        raise UserError(f"{where} must begin with a line of its columns, {','.join(columns)}")
    rows = [tuple(cell.strip() for cell in line) for line in lines[1:] if line]
    for number, row in enumerate(rows, 2):
        if len(row) != len(columns) or not all(row):
            raise UserError(
                f"{where}, row {number}: expected {', '.join(columns)}, none empty, got"
                f" {','.join(row)[:80]!r}"
            )
    if not rows:
        raise UserError(f"{where} has no row below its columns")
    return rows
